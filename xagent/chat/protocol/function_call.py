"""LLaMA-Factory's default tool format, which its templates without a format of their own train on (Yi, among others).

Format: ``DefaultToolUtils`` in https://github.com/hiyouga/LLaMA-Factory, ``src/llamafactory/data/tool_utils.py``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, ClassVar

from xagent.chat.message import Message, ToolSpec
from xagent.chat.protocol.base import ParsedReply
from xagent.chat.protocol.fields import FieldPattern, read_fields, write_name
from xagent.chat.protocol.objects import dump_arguments
from xagent.chat.protocol.thinking import TAGS, ThinkingProtocol, write_thought
from xagent.chat.protocol.tools import Parameter, parameters_of, schema_beyond_parameters

_PATTERN = FieldPattern("Action", "Action Input")
_FORMAT = (
    "Use the following format if using a tool:\n```\nAction: tool name (one of [{names}])\n"
    "Action Input: the input to the tool, in a JSON format representing the kwargs "
    '(e.g. ```{"input": "hello world", "num_beams": 5}```)\n```\n'
)


class FunctionCallProtocol(ThinkingProtocol):
    """``Action:`` and ``Action Input:`` lines; an answer is plain text, a result stands as it is."""

    name: ClassVar[str] = "function_call"
    telltale: ClassVar[re.Pattern[str]] = re.compile(f"{_PATTERN.after_action.pattern}|{TAGS}", re.MULTILINE)
    result_separator: ClassVar[str] = "\n"

    def render_system(self, tools: Sequence[ToolSpec], system: str = "") -> str:
        """Give LLaMA-Factory's text for these tools, after the conversation's own and a blank line."""
        listed = "".join(map(_describe, tools))
        text = f"You have access to the following tools:\n{listed}"
        text += _FORMAT.replace("{names}", ", ".join(tool.name for tool in tools))
        return f"{system}\n\n{text}" if system else text

    def write_reply(self, message: Message) -> str:
        """Write thought, text and calls."""
        parts = write_thought(message.reasoning) + ([message.content] if message.content else [])
        for call in message.tool_calls:
            parts.append(f"Action: {write_name(call.name)}\nAction Input: {dump_arguments(call.arguments)}")
        return "\n".join(parts)

    def render_result(self, content: str, name: str | None = None) -> str:
        """Give the result as it is."""
        return content

    def parse_said(self, thought: str | None, said: str) -> ParsedReply:
        """Read the calls and the text around them."""
        found = read_fields(said, _PATTERN)
        calls = tuple(found.calls)
        if found.error:
            return ParsedReply("incomplete", found.text, thought, calls, found.error, found.rest)
        return ParsedReply("calls" if calls else "answer", found.text, thought, calls, rest=found.rest)


def _describe(tool: ToolSpec) -> str:
    listed = "".join(map(_line, parameters_of(tool)))
    further = schema_beyond_parameters(tool)
    schema = f"Tool Schema: {_json(further)}\n" if further else ""
    return f"> Tool Name: {tool.name}\nTool Description: {tool.description}\nTool Args:\n{listed}{schema}\n"


def _line(parameter: Parameter) -> str:
    """Give a parameter's line; what LLaMA-Factory's form has no place for follows as ``schema``."""
    schema, items = parameter.schema, parameter.schema.get("items")
    kind = f"{schema.get('type', '')}{', required' if parameter.required else ''}"
    line = f"  - {parameter.name} ({kind}): {schema.get('description', '')}"
    shown = ["type", "description"]
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        line += f", should be one of [{', '.join(map(_plain, schema['enum']))}]"
        shown.append("enum")
    if isinstance(items, dict) and set(items) == {"type"}:
        line += f", where each item should be {items['type']}"
        shown.append("items")
    further = parameter.beyond(*shown)
    return line + (f", schema: {_json(further)}\n" if further else "\n")


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
