"""One line of a raw Agent-FLAN file -> its messages and id, or the fault in it."""

from __future__ import annotations

import json
from typing import Any

# Role names of https://huggingface.co/datasets/internlm/Agent-FLAN, and what others write for them.
ROLES = {"system": "system", "user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "bot": "assistant"}


class RowFault(ValueError):
    """What is wrong with a line; the caller knows where it is."""


def parse_row(line: bytes) -> tuple[list[dict[str, Any]], str | None]:
    """Read one line.

    Returns:
        Messages with ``role`` (system, user or assistant), ``content`` and ``loss`` (True, False or None); and the id.

    Raises:
        RowFault: it is no UTF-8, no JSON, or has another shape.
    """
    try:
        return _parse_conversation(json.loads(line.decode("utf-8")))
    except UnicodeDecodeError as error:
        raise RowFault(f"is no UTF-8 at byte {error.start + 1} of the line; convert the file to UTF-8") from None
    except json.JSONDecodeError as error:
        raise RowFault(f"is no valid JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:  # also of whoever shows it
        raise RowFault("is nested too deeply to be a conversation") from None
    except RowFault:
        raise
    except ValueError:  # Python reads, and shows, numbers of 4,300 digits and no more
        raise RowFault("holds a number of too many digits to be a conversation") from None


def _parse_conversation(row: Any) -> tuple[list[dict[str, Any]], str | None]:
    if not isinstance(row, dict) or not isinstance(row.get("conversation"), list):
        raise RowFault(f"expected an object with a list 'conversation', got {_describe(row)}")
    if not row["conversation"]:
        raise RowFault("the conversation is empty")
    messages = [_parse_message(message, index) for index, message in enumerate(row["conversation"])]
    return messages, _parse_id(row.get("id"))


def _parse_message(message: Any, index: int) -> dict[str, Any]:
    if not isinstance(message, dict):
        raise RowFault(f"message {index}: expected an object with 'role' and 'content', got {_describe(message)}")
    role, content, loss = message.get("role"), message.get("content"), message.get("loss")
    if not isinstance(role, str) or role not in ROLES:
        raise RowFault(f"message {index}: unknown role {role!r}; expected one of {', '.join(ROLES)}")
    if not isinstance(content, str):
        raise RowFault(f"message {index} (role {role!r}): content must be text, got {_describe(content)}")
    if loss is not None and not isinstance(loss, bool):
        raise RowFault(f"message {index} (role {role!r}): loss must be true, false or missing, got {loss!r}")
    return {"role": ROLES[role], "content": _storable(content, index), "loss": loss}


def _parse_id(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return None if value is None else _storable(value, None)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise RowFault(f"id must be text or a number, got {_describe(value)}")


def _storable(text: str, index: int | None) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        where = "id" if index is None else f"message {index}"
        raise RowFault(f"{where}: holds half of a surrogate pair (\\ud800-\\udfff), which is no character") from None
    return text


def _describe(value: Any) -> str:
    if isinstance(value, dict):
        return f"an object with the keys {', '.join(sorted(map(str, value))) or '(none)'}"[:200]
    return f"{type(value).__name__} {value!r}"[:200]
