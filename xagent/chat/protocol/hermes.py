"""Hermes, which Qwen2.5 speaks too: schemas in ``<tools>``, calls in ``<tool_call>``, results in ``<tool_response>``.

Format: https://github.com/NousResearch/Hermes-Function-Calling and the chat template of Qwen2.5-Instruct.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import ClassVar

from xagent.chat.message import Message, ToolSpec
from xagent.chat.protocol.base import ParsedReply
from xagent.chat.protocol.objects import read_object
from xagent.chat.protocol.scan import Scan, object_to_call
from xagent.chat.protocol.thinking import TAGS, ThinkingProtocol, write_thought

_CALL = re.compile("<tool_call>")
_CALL_OR_RESULT = re.compile("<tool_call>|<tool_response>")
_END = re.compile(r"[\s}\]]*</tool_call>")  # models close a bracket too many now and then
_HEADER = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>"
)
_FOOTER = (
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
    '<tool_call></tool_call> XML tags:\n<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
)


class HermesProtocol(ThinkingProtocol):
    """One JSON object in its own tags for every call."""

    name: ClassVar[str] = "hermes"
    telltale: ClassVar[re.Pattern[str]] = re.compile(f"<tool_call>|<tool_response>|{TAGS}")
    result_separator: ClassVar[str] = "\n"

    def render_system(self, tools: Sequence[ToolSpec], system: str = "") -> str:
        """Give the system text as Qwen2.5's own chat template words it."""
        lines = "".join("\n" + json.dumps(tool.to_openai(), ensure_ascii=False) for tool in tools)
        text = _HEADER + lines + _FOOTER
        return f"{system}\n\n{text}" if system else text

    def write_reply(self, message: Message) -> str:
        """Write thought, text and calls, each call in its own tags."""
        parts = write_thought(message.reasoning) + ([message.content] if message.content else [])
        for call in message.tool_calls:
            body = json.dumps({"name": call.name, "arguments": dict(call.arguments)}, ensure_ascii=False)
            parts.append(f"<tool_call>\n{body}\n</tool_call>")
        return "\n".join(parts)

    def render_result(self, content: str, name: str | None = None) -> str:
        """Write one result in its tags."""
        return f"<tool_response>\n{content}\n</tool_response>"

    def parse_said(self, thought: str | None, said: str) -> ParsedReply:
        """Read the calls and the text around them; tags inside a call's strings are data."""
        scan = Scan(said)
        while found := scan.search(_CALL_OR_RESULT if scan.calls else _CALL):
            if found[0] == "<tool_response>":
                scan.stop(found.start())
                break
            read = read_object(said, found.end())
            call = object_to_call(read[0], "arguments", "parameters") if read else "a <tool_call> holds no complete call"
            if read is None or isinstance(call, str):
                return scan.incomplete(thought, str(call), found.start())
            end = _END.match(said, read[1])
            scan.take([call], found.start(), end.end() if end else read[1])
        return scan.reply(thought)
