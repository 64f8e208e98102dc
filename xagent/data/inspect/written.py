"""Calls that stand written in an assistant's text, in the wording of any protocol."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from xagent.chat.message import ToolCall
from xagent.chat.protocol import PROTOCOLS, get_protocol
from xagent.chat.protocol.thinking import split_thought
from xagent.chat.reply import Part, Reply

BARE_JSON = "llama3_json"
# What a mark must be followed by, or a call hold, so that it is no word like any other.
_FIELD_CALL = re.compile(r"^[ \t]*(?:Action Input|ACTION_INPUT)[ \t]*[:：]|✿ARGS✿", re.MULTILINE)
_TAGGED_CALL = re.compile(r"<tool_call>\s*\{|<\|action_start\|>\s*<\|(?:plugin|interpreter)\|>")
_BARE_CALL = re.compile(r"\s*(?:<\|python_tag\|>\s*)?\{")
_BARE_HINT = re.compile(r"[\"'](?:parameters|arguments)[\"']")
_WORDINGS = {"<tool_call>": "hermes", "<|action_start|>": "internlm2", "✿": "✿FUNCTION✿", "ACTION": "ACTION_INPUT"}


@dataclass(frozen=True)
class WrittenCall:
    """A call in a text.

    Attributes:
        wording: the protocol whose words it has (``react`` for ``function_call`` too, whose words are the same), or its mark
            where it is of none: ``✿FUNCTION✿`` (Qwen 1.5), ``ACTION_INPUT``.
        text: its words.
    """

    wording: str
    text: str

    def is_read_by(self, protocol: str) -> bool:
        """Tell whether a protocol's parser reads it."""
        return bool(get_protocol(protocol).parse(self.text).calls)

    @property
    def is_readable(self) -> bool:
        """Tell whether it is complete: a parser reads it, or, where none knows its words, its arguments are an object."""
        if self.wording in PROTOCOLS:
            return self.is_read_by(self.wording)
        return bool(Reply(self.text).arguments)


def written_calls(text: str) -> list[WrittenCall]:
    """Find the calls that stand written in a text, whole or broken.

    The marks are those of ``xagent.chat.reply``; what follows a call as its observation, and a thought in tags at the beginning,
    hold none. Bare JSON is read by Llama 3's parser; an object that describes a tool is no call.
    """
    said = split_thought(text)[1]
    calls: list[WrittenCall] = []
    position = 0
    for part in sorted(Reply(said).parts, key=lambda part: part.start):
        if part.start < position or not _is_mark(part, said):
            continue
        calls += _bare_calls(said[position : part.start])
        position = part.end
        if part.kind == "call":
            words = said[part.start : part.end]
            calls.append(WrittenCall(_wording(words[: part.opening]), words))
    return [*calls, *_bare_calls(said[position:])]


def _is_mark(part: Part, text: str) -> bool:
    """Tell whether a part is an observation, or a call with marks around it."""
    if part.kind != "call" or _BARE_CALL.match(text, part.start):
        return part.kind == "observation"
    pattern = _TAGGED_CALL if text.startswith("<", part.start) else _FIELD_CALL
    return pattern.search(text, part.start, part.end) is not None


def _wording(mark: str) -> str:
    return next((wording for sign, wording in _WORDINGS.items() if sign in mark), "react")


def _bare_calls(text: str) -> Iterator[WrittenCall]:
    if not _BARE_HINT.search(text):
        return
    for call in PROTOCOLS[BARE_JSON].parse(text).calls:
        if not _describes_tool(call):
            words = json.dumps({"name": call.name, "parameters": dict(call.arguments)}, ensure_ascii=False)
            yield WrittenCall(BARE_JSON, words)


def _describes_tool(call: ToolCall) -> bool:
    """Tell whether the arguments are a JSON schema: a tool's description has a name and parameters too."""
    return call.arguments.get("type") == "object" and "properties" in call.arguments
