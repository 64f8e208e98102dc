"""ReAct in Lagent's wording: ``Thought:``, ``Action:``, ``Action Input:``, ``Response:``, ``Final Answer:``.

The system text is Lagent's own ``CALL_PROTOCOL_EN`` / ``CALL_PROTOCOL_CN``, read from the source of the installed
package (its import would load every tool it has), so that a prompt built here and one built by
``lagent.agents.ReAct`` are the same text.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from xagent.chat.message import Message, ToolSpec
from xagent.chat.protocol.base import ParsedReply, Protocol
from xagent.chat.protocol.fields import FieldPattern, read_fields, write_name
from xagent.chat.protocol.objects import dump_arguments
from xagent.chat.protocol.tools import parameters_of, required_of, schema_beyond_parameters
from xagent.errors import XAgentError

FIELDS = {
    "thought": "Thought:",
    "action": "Action:",
    "action_input": "Action Input:",
    "response": "Response:",
    "finish": "Final Answer:",
}
_PATTERN = FieldPattern("Thought", "Action", "Action Input", "Final Answer")
_AFTER_THOUGHT = ("Action", "Action Input", "Final Answer", "Response", "Observation")
_COLONS = (":", " :", "：")
# Lagent's names for JSON schema's types (lagent.actions.base_action.tool_api).
_TYPES = {"string": "STRING", "integer": "NUMBER", "number": "FLOAT", "boolean": "BOOLEAN", "array": "Array"}


@cache
def lagent_text(constant: str) -> str:
    """Give a prompt constant of ``lagent.agents.react`` without importing Lagent.

    Raises:
        XAgentError: Lagent is not installed, or its ReAct module has no such constant.
    """
    spec = find_spec("lagent")
    if spec is None or not spec.submodule_search_locations:
        raise XAgentError("the react protocol takes its wording from Lagent, which is not installed: pip install lagent==0.2.4")
    path = Path(spec.submodule_search_locations[0]) / "agents" / "react.py"
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == constant:
            return str(ast.literal_eval(node.value))
    raise XAgentError(f"{path}: no constant {constant}; xagent is tested with lagent==0.2.4")


def describe_tool(tool: ToolSpec) -> dict[str, Any]:
    """Give a tool as Lagent's ``ActionExecutor.get_actions_info`` lists it.

    What Lagent's form has no place for (enums, nested schemas, defaults) follows under the key ``schema``, of a parameter or of
    the tool.

    Raises:
        DataError: the tool's parameters are no JSON schema of an object.
    """
    parameters = []
    for parameter in parameters_of(tool):
        kind = str(parameter.schema.get("type", "string"))
        shown = _TYPES.get(kind, kind.upper())
        entry = {"name": parameter.name, "type": shown, "description": parameter.schema.get("description", "")}
        further = parameter.beyond("type", "description")
        parameters.append({**entry, "schema": further} if further else entry)
    listed = {"name": tool.name, "description": tool.description, "parameters": parameters, "required": required_of(tool)}
    further = schema_beyond_parameters(tool)
    return {**listed, "schema": further} if further else listed


def read_description(listed: Mapping[str, Any]) -> ToolSpec:
    """Give the tool that Lagent lists so: the inverse of :func:`describe_tool`, but for keys that it had left empty."""
    kinds = {shown: kind for kind, shown in _TYPES.items()}
    properties = {
        entry["name"]: {
            "type": kinds.get(entry["type"], entry["type"].lower()),
            "description": entry.get("description", ""),
            **entry.get("schema", {}),
        }
        for entry in listed.get("parameters", [])
    }
    schema = {"type": "object", "properties": properties, "required": list(listed.get("required", []))}
    return ToolSpec(listed["name"], listed.get("description", ""), {**schema, **listed.get("schema", {})})


class ReactProtocol(Protocol):
    """Lagent's ReAct, in English (``react``) or Chinese (``react_zh``).

    A thought stands on the ``Thought:`` line; parallel calls follow each other; a turn without a call ends with
    ``Final Answer:``. All words beside calls are thought, since ReAct has no other place for them.
    """

    name: ClassVar[str] = "react"
    telltale: ClassVar[re.Pattern[str]] = _PATTERN.after_action
    after_thought: ClassVar[tuple[str, ...]] = tuple(field + colon for field in _AFTER_THOUGHT for colon in _COLONS)
    call_protocol: ClassVar[str] = "CALL_PROTOCOL_EN"
    force_stop_constant: ClassVar[str] = "FORCE_STOP_PROMPT_EN"
    space: ClassVar[str] = ""
    """What stands between a field's colon and its text."""

    def render_system(self, tools: Sequence[ToolSpec], system: str = "") -> str:
        """Give Lagent's system text for these tools, after the conversation's own."""
        text = lagent_text(self.call_protocol).format(
            tool_description=[describe_tool(tool) for tool in tools], action_names=[tool.name for tool in tools], **FIELDS
        )
        return f"{system}\n\n{text}" if system else text

    def write_reply(self, message: Message) -> str:
        """Write thought, then calls or the final answer.

        A text without calls or reasoning apart that speaks ReAct already (calls, an answer, a call that is cut) stays as it is.
        """
        if not message.tool_calls and message.reasoning is None and self.parse(message.content).status != "text":
            return message.content
        said = self.canonical(message)
        lines = [] if said.reasoning is None else [self._field("thought", said.reasoning)]
        for call in said.tool_calls:
            lines.append(self._field("action", write_name(call.name)))
            lines.append(self._field("action_input", dump_arguments(call.arguments)))
        if not said.tool_calls:
            lines.append(self._field("finish", message.content))
        return "\n".join(lines)

    def render_result(self, content: str, name: str | None = None) -> str:
        """Write a result as Lagent's ``ReActProtocol.format_response`` does, line end included."""
        return f"{FIELDS['response']}{content}\n"

    def parse(self, text: str) -> ParsedReply:
        """Read thought, calls and answer; what follows an observation that the model made up is its ``rest``."""
        found = read_fields(text, _PATTERN)
        thought, calls = found.text if found.words else None, tuple(found.calls)
        if found.error:
            return ParsedReply("incomplete", "", thought, calls, found.error, found.rest)
        if calls:
            return ParsedReply("calls", "", thought, calls, rest=found.rest)
        if found.answer is not None:
            return ParsedReply("answer", found.answer, thought)
        has_fields = _PATTERN.before_action.search(text) is not None
        return ParsedReply("text", "", thought) if has_fields else ParsedReply("text", text.strip())

    def canonical(self, message: Message) -> Message:
        """Give a message whose text beside calls has become thought."""
        said = super().canonical(message)
        if not said.tool_calls or not said.content:
            return said
        return replace(said, reasoning="\n".join(filter(None, (said.reasoning, said.content))), content="")

    def _field(self, field: str, text: str) -> str:
        return f"{FIELDS[field]}{self.space}{text}"


class ReactZhProtocol(ReactProtocol):
    """The same with Lagent's Chinese system text; the fields keep their English names, as in Lagent."""

    name: ClassVar[str] = "react_zh"
    call_protocol: ClassVar[str] = "CALL_PROTOCOL_CN"
    force_stop_constant: ClassVar[str] = "FORCE_STOP_PROMPT_CN"
