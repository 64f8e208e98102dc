"""Llama 3's JSON-based tool calling: ``{"name": ..., "parameters": {...}}``, results from ``ipython``.

Format: the chat template of Llama-3.1-Instruct with custom tools in the system message, and
https://www.llama.com/docs/model-cards-and-prompt-formats/llama3_1/#json-based-tool-calling. Its dates are left out: tokenised
data must not depend on the day.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, ClassVar

from xagent.chat.message import Message, ToolCall, ToolSpec
from xagent.chat.protocol.base import ParsedReply
from xagent.chat.protocol.objects import read_value
from xagent.chat.protocol.scan import Scan, object_to_call
from xagent.chat.protocol.thinking import TAGS, ThinkingProtocol, write_thought

_HEADER = (
    "You have access to the following functions. To call a function, please respond with JSON for a function call. "
    'Respond in the format {"name": function name, "parameters": dictionary of argument name and its value}. '
    "Do not use variables.\n\n"
)
# Where an object with quoted keys, or a list of objects, begins (or is cut): code in braces is not even tried.
_FIRST = re.compile(r"""^[ \t]*(?:<\|python_tag\|>)?[ \t]*(?=\{\s*(?:["'}]|\Z)|\[\s*\{)""", re.MULTILINE)
_NEXT = re.compile(r"\s*[;,]?\s*(?:<\|python_tag\|>)?\s*(?=[{\[])")
_BEGUN = re.compile(r"""\[?\s*\{\s*["'](?:name|type|function)["']\s*:""")
_ARGUMENTS = ("parameters", "arguments")


class Llama3JsonProtocol(ThinkingProtocol):
    """A call is a JSON object at the beginning of a line; several follow each other, one a line."""

    name: ClassVar[str] = "llama3_json"
    telltale: ClassVar[re.Pattern[str]] = re.compile(rf"[{{\[]|{TAGS}")
    result_separator: ClassVar[str] = "\n"

    def render_system(self, tools: Sequence[ToolSpec], system: str = "") -> str:
        """Give the tools as Llama 3.1 is shown them; the conversation's own text follows, as in its template."""
        listed = "\n\n".join(json.dumps(tool.to_openai(), ensure_ascii=False, indent=4) for tool in tools)
        return _HEADER + listed + (f"\n\n{system}" if system else "")

    def write_reply(self, message: Message) -> str:
        """Write thought, text and calls."""
        parts = write_thought(message.reasoning) + ([message.content] if message.content else [])
        for call in message.tool_calls:
            parts.append(json.dumps({"name": call.name, "parameters": dict(call.arguments)}, ensure_ascii=False))
        return "\n".join(parts)

    def render_result(self, content: str, name: str | None = None) -> str:
        """Give the result as it is."""
        return content

    def result_speaker(self, name: str | None = None) -> str | None:
        """Results come from ``ipython``."""
        return "ipython"

    def parse_said(self, thought: str | None, said: str) -> ParsedReply:
        """Read the calls, also several on a line or in a list; objects that are no calls, and other text, are content."""
        scan = Scan(said)
        found = scan.search(_FIRST)
        while found:
            read = read_value(said, found.end())
            calls = _calls(read[0]) if read else _begun(said, found.end())
            if isinstance(calls, str):
                return scan.incomplete(thought, calls, found.start())
            end = read[1] if read else found.end() + 1
            if calls:
                scan.take(calls, found.start(), end)
            else:
                scan.skip(end)
            found = (_NEXT.match(said, end) if calls else None) or scan.search(_FIRST)
        return scan.reply(thought)


def _begun(text: str, start: int) -> str | list[ToolCall]:
    """Say why a call that begins here can't be read; no calls where none begins."""
    is_cut = '{"name":'.startswith("".join(text[start : start + 40].split())) and len(text) - start <= 40
    return f"a call without an end: {text[start : start + 200]}" if is_cut or _BEGUN.match(text, start) else []


def _calls(value: Any) -> str | list[ToolCall]:
    """Give the calls that a value is; why it can't be read where it is meant as one; none where it is something else."""
    entries = value if isinstance(value, list) else [value]
    if not entries or not all(_is_call(entry) for entry in entries):
        return []
    calls = [object_to_call(_named(entry), *_ARGUMENTS) for entry in entries]
    faults = [call for call in calls if isinstance(call, str)]
    return faults[0] if faults else [call for call in calls if isinstance(call, ToolCall)]


def _is_call(value: Any) -> bool:
    return isinstance(value, dict) and "name" in _named(value) and any(key in value for key in _ARGUMENTS)


def _named(value: dict[str, Any]) -> dict[str, Any]:
    """Give a call with its name as ``name``: some models write it as ``function``."""
    named = isinstance(value.get("function"), str) and "name" not in value
    return {**value, "name": value["function"]} if named else value
