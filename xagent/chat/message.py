"""The one data model of a conversation: every format is read into it, every prompt is rendered from it."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from xagent.errors import DataError

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant", "tool")
MAX_DEPTH = 100
"""Levels that arguments and tool schemas may be nested; JSON's own readers and writers give up at about a thousand."""


@dataclass(frozen=True)
class Source:
    """Where a record came from: shown in every message about it."""

    file: str | None = None
    line: int | None = None
    id: str | None = None

    def __str__(self) -> str:
        place = self.file or "<record>"
        if self.line is not None:
            place += f":{self.line}"
        return f"{place} (id {printable(self.id[:80])})" if self.id is not None else place


@dataclass(frozen=True)
class ToolCall:
    """One call that the model makes. ``arguments`` is an object, never a JSON string."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    id: str | None = None


@dataclass(frozen=True)
class ToolSpec:
    """A tool as the model sees it, in OpenAI's form: ``parameters`` is a JSON schema of type object."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})

    @classmethod
    def from_openai(cls, spec: Mapping[str, Any]) -> ToolSpec:
        """Read ``{"type": "function", "function": {...}}`` or the bare inner object.

        Raises:
            DataError: there is no name, the parameters are no object, or the description is no text.
        """
        inner = spec.get("function", spec) if isinstance(spec, Mapping) else None
        if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str) or not inner["name"]:
            raise DataError(f"a tool needs a non-empty 'name', got {excerpt(spec)}")
        parameters = inner.get("parameters")
        if parameters is None:
            parameters = {"type": "object", "properties": {}}
        if not isinstance(parameters, Mapping):
            raise DataError(f"tool {inner['name']!r}: 'parameters' must be a JSON schema object, got {excerpt(parameters)}")
        description = inner.get("description")
        if description is not None and not isinstance(description, str):
            raise DataError(f"tool {inner['name']!r}: 'description' must be text, got {excerpt(description)}")
        return cls(inner["name"], description or "", parameters)

    def to_openai(self) -> dict[str, Any]:
        """Give the tool as OpenAI's API takes it."""
        function = {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}
        return {"type": "function", "function": function}


@dataclass(frozen=True)
class Message:
    """One turn. Nothing is merged: consecutive turns of one role, and several results after one turn, are so many messages.

    Attributes:
        role: who speaks; ``tool`` is the result of a call.
        content: the text; may stand beside tool calls in one assistant turn.
        reasoning: the model's thought before content and calls, if the data has it apart.
        tool_calls: the calls of an assistant turn, in order; several are parallel calls.
        tool_call_id, name: which call and which tool a ``tool`` message answers.
        loss: three-state. None is "not said": an assistant's words are trained, the world's are not. False is
            never trained. True trains the turn also where its role would not be (tool results never are).
        weight: multiplies the loss of the turn's tokens.
    """

    role: Role
    content: str = ""
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None
    loss: bool | None = None
    weight: float = 1.0


@dataclass(frozen=True)
class Conversation:
    """Messages, the tools offered in them, and where they came from."""

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    source: Source = Source()

    def validate(self) -> Conversation:
        """Return self, or raise a DataError that names the message, its role and the reason."""
        if not self.messages:
            raise DataError(f"{self.source}: the conversation has no messages")
        for tool in self.tools:
            for fault in _tool_faults(tool):
                raise DataError(f"{self.source}: {fault}")
        spoken = False
        for index, message in enumerate(self.messages):
            for fault in () if _is_plain(message) else _message_faults(message, spoken):
                raise DataError(f"{self.source}: message {index} (role {message.role!r}): {fault}")
            spoken = spoken or message.role == "assistant"
        return self

    def with_source(self, source: Source) -> Conversation:
        """Give a copy that names another place of origin."""
        return replace(self, source=source)


def _is_plain(message: Message) -> bool:
    """Say whether a message is nothing but sound text of a role that may stand anywhere: it has no faults."""
    return (
        message.role in ("assistant", "user", "system")
        and type(message.content) is str
        and message.reasoning is None
        and message.tool_call_id is None
        and message.name is None
        and message.loss is None
        and not message.tool_calls
        and type(message.weight) is float
        and 0 <= message.weight < math.inf
    )


def _message_faults(message: Message, spoken: bool) -> Iterator[str]:
    if message.role not in ROLES:
        yield f"unknown role; expected one of {', '.join(ROLES)}"
    if not isinstance(message.content, str):
        yield f"content must be text, got {type(message.content).__name__}"
    for key in ("reasoning", "tool_call_id", "name"):
        value = getattr(message, key)
        if value is not None and not isinstance(value, str):
            yield f"{key} must be text or missing, got {excerpt(value)}"
    if message.tool_calls and message.role != "assistant":
        yield "only an assistant message can call tools"
    if message.reasoning is not None and message.role != "assistant":
        yield "only an assistant message can have reasoning"
    for number, call in enumerate(message.tool_calls):
        for fault in _call_faults(call):
            yield f"call {number}: {fault}"
    if message.role == "tool" and not spoken:
        yield "a tool result needs an assistant message before it"
    if message.loss is not None and not isinstance(message.loss, bool):
        yield f"loss must be true, false or missing, got {excerpt(message.loss)}"
    if isinstance(message.weight, bool) or not isinstance(message.weight, (int, float)) or not 0 <= message.weight < math.inf:
        yield f"weight must be a finite number >= 0, got {excerpt(message.weight)}"


def _call_faults(call: ToolCall) -> Iterator[str]:
    if not isinstance(call, ToolCall):
        yield f"must be a ToolCall, got {type(call).__name__}"
        return
    yield from _name_faults(call.name)
    if not isinstance(call.arguments, Mapping):
        yield f"arguments must be an object, got {type(call.arguments).__name__}"
    else:
        yield from (f"arguments of {excerpt(call.name, 80)}: {fault}" for fault in json_faults(call.arguments))
    if call.id is not None and not isinstance(call.id, str):
        yield f"id must be text or missing, got {excerpt(call.id)}"


def _tool_faults(tool: ToolSpec) -> Iterator[str]:
    if not isinstance(tool, ToolSpec):
        yield f"a tool must be a ToolSpec, got {type(tool).__name__}"
        return
    yield from (f"tool {excerpt(tool.name, 80)}: {fault}" for fault in _name_faults(tool.name))
    yield from (f"tool {excerpt(tool.name, 80)}: parameters: {fault}" for fault in json_faults(tool.parameters))


def _name_faults(name: object) -> Iterator[str]:
    if not isinstance(name, str) or not name.strip():
        yield f"the name must be a non-empty text, got {excerpt(name)}"
    elif name != name.strip() or len(name.splitlines()) > 1:
        yield f"the name must be one line without space around it, got {excerpt(name)}"


def json_faults(value: Any) -> Iterator[str]:
    """Yield what of a value JSON can't hold: NaN and infinities, keys that are no text, other types, bottomless nesting.

    Walks without recursion, so that no depth can exhaust the stack.
    """
    waiting = [(value, 1)]
    while waiting:
        inner, depth = waiting.pop()
        if isinstance(inner, (Mapping, list, tuple)):
            if depth > MAX_DEPTH:
                yield f"nested deeper than {MAX_DEPTH} levels"
                return
            if isinstance(inner, Mapping):
                yield from (f"the key {excerpt(key)} is no text" for key in inner if not isinstance(key, str))
            waiting += [(child, depth + 1) for child in (inner.values() if isinstance(inner, Mapping) else inner)]
        elif isinstance(inner, float) and not math.isfinite(inner):
            yield f"{inner} is no JSON number"
        elif inner is not None and not isinstance(inner, (str, int, float, bool)):
            yield f"{type(inner).__name__} is no JSON type"


def parse_arguments(value: Any) -> dict[str, Any]:
    """Read a call's arguments: an object, its JSON text (as OpenAI's API sends it), or the text of a Python literal of it.

    Some data sets were written with Python's ``str``: their ``{'a': True}`` is read with ``ast.literal_eval``, which
    evaluates nothing.

    Raises:
        DataError: it is none of these, or a key stands twice in one object.
    """
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        value = _read_object(value)
    if not isinstance(value, Mapping):
        raise DataError(f"the arguments of a call must be an object, got {type(value).__name__}: {excerpt(value)}")
    return dict(value)


def _read_object(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        try:
            tree = ast.parse(text.strip(), mode="eval")
            literal = ast.literal_eval(tree)
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            literal = None
        if isinstance(literal, dict):
            _refuse_double_keys(tree)
            return literal
        why = "nested too deeply" if isinstance(error, RecursionError) else error
        raise DataError(f"the arguments of a call are no valid JSON ({why}): {excerpt(text)}") from error


def _refuse_double_keys(literal: ast.AST) -> None:
    for node in ast.walk(literal):
        if isinstance(node, ast.Dict):
            unique_keys([(key.value, None) for key in node.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)])


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object for ``json.loads(..., object_pairs_hook=unique_keys)``, which by itself keeps the last of equal keys.

    Raises:
        DataError: a key is there twice.
    """
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        double = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise DataError(f"the key {excerpt(double, 80)} stands twice in one object; which value is meant can't be told")
    return made


def excerpt(value: object, length: int = 200) -> str:
    """Show the beginning of a value in a message: texts in quotes, control characters and half surrogate pairs escaped."""
    try:
        shown = repr(value[:length] if isinstance(value, str) else value)
    except (RecursionError, ValueError):  # too deep, or a number of too many digits
        return f"a {type(value).__name__}"
    return shown if len(shown) <= length + 2 else f"{printable(shown[:length])}..."


def check_characters(text: str) -> None:
    """Check that a text is all characters: JSON's escapes can also write half a surrogate pair, which no tokenizer takes.

    Raises:
        DataError: it holds one.
    """
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"its text holds half a surrogate pair ({text[error.start]!r}), which is no character") from None


def whole_characters(text: str) -> str:
    """Give a text with U+FFFD in place of half surrogate pairs; two halves that stand together become their character."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def printable(text: str) -> str:
    """Escape what must not reach a terminal or an Arrow table: control characters and half surrogate pairs."""
    return text if text.isprintable() else "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)
