"""Self-cognition data: questions about who the model is, with places for its name and its author."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from xagent.chat.message import Conversation, Message
from xagent.data.formats import alpaca_map_fn, openai_map_fn, sharegpt_tool_map_fn
from xagent.errors import ConfigError, DataError

MapFn = Callable[[Mapping[str, Any]], Conversation]
_FIELD = re.compile(r"\{\{\s*(name|author)\s*\}\}", re.IGNORECASE)
_CHINESE = re.compile(r"[\u3400-\u9fff]")
_LANGUAGES = ("zh", "en")


@dataclass(frozen=True)
class SelfCognitionMap:
    """A map function that puts name and author into a row before it is read; see :func:`self_cognition_map_fn_factory`."""

    names: Mapping[str, str]
    authors: Mapping[str, str]
    dataset_map_fn: MapFn | None = None

    def __call__(self, row: Mapping[str, Any]) -> Conversation:
        """Read a row.

        Raises:
            DataError: its ``tag`` is neither zh nor en, or it can't be read.
        """
        language = _language(row)
        values = {"name": self.names[language], "author": self.authors[language]}
        filled = {key: _filled(value, values) for key, value in row.items() if key != "tag"}
        return (self.dataset_map_fn or read_by_keys)(filled)


def self_cognition_map_fn_factory(
    model_name: str | tuple[str, str], model_author: str | tuple[str, str], dataset_map_fn: MapFn | None = None
) -> SelfCognitionMap:
    """Make a map function that puts the model's name and author into self-cognition data, in the language of each row.

    ``{{NAME}}`` and ``{{AUTHOR}}`` (in any case) are replaced in every text of a row. The language is the row's ``tag``, ``zh``
    or ``en``; without a tag it is Chinese if the row has a Chinese character, else English.

    Args:
        model_name: (Chinese, English), or one text for both (SWIFT's ``--model_name``).
        model_author: (Chinese, English), or one text for both (SWIFT's ``--model_author``).
        dataset_map_fn: reads the filled-in row. Default: by its keys, as ``{query, response}``, alpaca, OpenAI messages or
            ShareGPT conversations.

    Raises:
        ConfigError: a name or author is missing or empty.
    """
    return SelfCognitionMap(_both("model_name", model_name), _both("model_author", model_author), dataset_map_fn)


def _both(key: str, given: Any) -> dict[str, str]:
    values = (given, given) if isinstance(given, str) else given
    if not isinstance(values, (list, tuple)) or len(values) != 2 or not all(isinstance(text, str) and text for text in values):
        raise ConfigError(f"{key} must be a text or (Chinese, English), such as ('小智', 'Xiao Zhi'), got {given!r}")
    return dict(zip(_LANGUAGES, values, strict=True))


def _language(row: Mapping[str, Any]) -> str:
    tag = row.get("tag")
    if tag is None:
        return "zh" if _any_chinese(row) else "en"
    if tag not in _LANGUAGES:
        raise DataError(f"a self-cognition record's 'tag' must be zh or en, got {tag!r}")
    return str(tag)


def _any_chinese(value: Any) -> bool:
    if isinstance(value, str):
        return _CHINESE.search(value) is not None
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    return any(_any_chinese(one) for one in inner)


def _filled(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _FIELD.sub(lambda match: values[match[1].lower()], value)
    if isinstance(value, Mapping):
        return {key: _filled(inner, values) for key, inner in value.items()}
    return [_filled(inner, values) for inner in value] if isinstance(value, (list, tuple)) else value


def placeholder_in(text: str) -> str | None:
    """Give the first place for a name or an author in a text, as it stands there; None where there is none."""
    found = _FIELD.search(text) if "{{" in text else None
    return found[0] if found else None


def read_by_keys(row: Mapping[str, Any]) -> Conversation:
    """Read a filled-in row by what its keys say that it is.

    Raises:
        DataError: they say nothing, or it can't be read.
    """
    for key, map_fn in _READERS.items():
        if key in row:
            return map_fn(row)
    raise DataError(f"a self-cognition record needs one of the keys {', '.join(_READERS)}, got keys {sorted(row)}")


def _query_response(row: Mapping[str, Any]) -> Conversation:
    for key in ("query", "response"):
        if not isinstance(row.get(key), str):
            raise DataError(f"a query/response record needs the text {key!r}, got keys {sorted(row)}")
    system = [Message("system", row["system"])] if row.get("system") else []
    return Conversation((*system, Message("user", row["query"]), Message("assistant", row["response"])))


_READERS: dict[str, MapFn] = {
    "query": _query_response,
    "instruction": alpaca_map_fn,
    "messages": openai_map_fn,
    "conversations": sharegpt_tool_map_fn,
}
