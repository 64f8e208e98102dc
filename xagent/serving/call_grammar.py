"""What a forced call must look like, as a grammar: the protocol's own words, an offered name, arguments of the tool's schema."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xagent.chat.message import Message, ToolCall, ToolSpec
from xagent.chat.protocol import Protocol
from xagent.chat.protocol.objects import dump_arguments
from xagent.inference.engine import Grammar
from xagent.inference.prompting import PromptBuilder
from xagent.model.json_grammar import as_written

_NOTHING = "{}"
"""No arguments, as they are written."""


@dataclass(frozen=True)
class _Written:
    """How a protocol writes calls of a tool: the words before the arguments, behind them, and from another call's to them."""

    head: str
    tail: str
    between: str | None


def call_grammars(prompts: PromptBuilder, tools: Sequence[ToolSpec], begun: str, many: bool) -> list[Grammar]:
    """Give the grammars that a call of one of these tools may be kept to, the narrowest first.

    The first holds arguments to their schemas; parameters that a schema does not list are not allowed, unless it says so. The
    second, for schemas that can't be held, makes of them any JSON object. Empty where the protocol writes a tool's arguments
    otherwise than as JSON.

    Args:
        begun: how the reply begins already, see :func:`xagent.serving.prompt.call_opening`: no part of the grammar. Where it
            holds the arguments' bracket there is none.
        many: further calls may follow the first.
    """
    written = [_written(prompts.protocol, tools[0].name, tool) for tool in tools]
    calls = [one for one in written if one is not None and one.head.startswith(begun)]
    if len(calls) < len(tools) or len({one.tail for one in calls}) > 1:
        return []
    many = many and all(one.between is not None for one in calls)
    schemas = [{"type": "object", "additionalProperties": False, **tool.parameters} for tool in tools]
    loose: list[dict[str, Any]] = [{"type": "object"} for _ in tools]
    return [Grammar(_lark(prompts, calls, begun, chosen, many)) for chosen in (schemas, loose)]


def _written(protocol: Protocol, before: str, tool: ToolSpec) -> _Written | None:
    """Take the wording of a tool's call, alone and behind one of tool ``before``, from calls that are written.

    None where arguments are not JSON: ``internlm2`` writes those of its interpreter as code.
    """

    def write(*calls: tuple[str, dict[str, Any]]) -> str:
        return protocol.write_reply(Message("assistant", tool_calls=tuple(ToolCall(*call) for call in calls)))

    head, found, tail = write((tool.name, {})).rpartition(_NOTHING)
    some = dict.fromkeys(list(tool.parameters.get("properties") or "a")[:1], "x")
    if not found or write((tool.name, some)) != head + dump_arguments(some) + tail:
        return None
    first = write((before, {})).rpartition(_NOTHING)[0] + _NOTHING
    both = write((before, {}), (tool.name, {}))
    whole = both.startswith(first) and both.endswith(_NOTHING + tail)
    return _Written(head, tail, both[len(first) : len(both) - len(_NOTHING + tail)] if whole else None)


def _lark(prompts: PromptBuilder, calls: Sequence[_Written], begun: str, schemas: Sequence[Mapping[str, Any]], many: bool) -> str:
    rules = [f"arguments_{index}: %json {json.dumps(as_written(schema))}" for index, schema in enumerate(schemas)]

    def choice(words: Sequence[str]) -> str:
        return "\n    | ".join(f"{_literal(prompts, text)} arguments_{index}" for index, text in enumerate(words))

    rules += [f"first: {choice([call.head.removeprefix(begun) for call in calls])}"]
    if many:
        rules += [f"next: {choice([call.between or '' for call in calls])}"]
    return "\n".join([f"start: first {'next* ' if many else ''}{_literal(prompts, calls[0].tail)}", *rules]) + "\n"


def _literal(prompts: PromptBuilder, text: str) -> str:
    """Write words as literals, and the protocol's special tokens, which no words can be, by their ids."""
    special = {token.content: place for place, token in prompts.tokenizer.added_tokens_decoder.items() if token.special}
    known = [token for token in prompts.protocol.special_tokens if token in special]
    parts = re.split(f"({'|'.join(map(re.escape, known))})", text) if known else [text]
    return " ".join(f"<[{special[part]}]>" if part in known else json.dumps(part, ensure_ascii=False) for part in parts if part)
