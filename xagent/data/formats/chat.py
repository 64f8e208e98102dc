"""Records that hold a list of turns: one reader for OpenAI's, Anthropic's, ShareGPT's and everybody's layout of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from xagent.chat.message import Conversation, Message, Role, ToolCall, excerpt
from xagent.data.formats.calls import read_calls, read_id
from xagent.data.formats.parts import are_parts, messages_of, result_text
from xagent.data.formats.roles import CALL, Kind, read_role
from xagent.data.formats.tools import tools_of
from xagent.data.rows import parse_json
from xagent.errors import ConfigError, DataError


@dataclass(frozen=True)
class ChatLayout:
    """Where the records of a data set keep what.

    Attributes:
        format: the name in messages about faults.
        messages: the columns of which one has the turns, the first that is not null.
        role_tag, content_tag: the keys of a turn that say who speaks and what.
        system: the column of a system text, None if there is none.
        tools: the columns of which one has the tools.
        own_roles: names of roles beyond the common ones.
    """

    format: str
    messages: tuple[str, ...]
    role_tag: str = "role"
    content_tag: str = "content"
    system: str | None = "system"
    tools: tuple[str, ...] = ("tools",)
    own_roles: tuple[tuple[str, Kind], ...] = ()


def chat_map_fn_factory(
    messages: str = "messages",
    role_tag: str = "role",
    content_tag: str = "content",
    user_tag: str | Sequence[str] = (),
    assistant_tag: str | Sequence[str] = (),
    observation_tag: str | Sequence[str] = (),
    function_tag: str | Sequence[str] = (),
    system_tag: str | Sequence[str] = (),
    system: str | None = "system",
    tools: str = "tools",
) -> partial[Conversation]:
    """Make the map function for a layout of your own: ``dataset_map_fn=dict(type=chat_map_fn_factory, role_tag=...)``.

    The options are LLaMA-Factory's ``columns`` and ``tags``. A name (or several) of a role is needed only where it is none
    of the common ones in ``xagent.data.formats.roles``.

    Args:
        messages: the column with the list of turns.
        role_tag, content_tag: the keys of a turn that say who speaks and what.
        user_tag, assistant_tag, observation_tag, system_tag: the data set's names of user, assistant, tool and system.
        function_tag: its name of turns that hold nothing but calls.
        system, tools: the columns of a system text and of the tools.

    Raises:
        ConfigError: an option is no text, or a name stands for two roles.
    """
    tags: tuple[tuple[Kind, str | Sequence[str]], ...] = (
        ("user", user_tag),
        ("assistant", assistant_tag),
        ("tool", observation_tag),
        (CALL, function_tag),
        ("system", system_tag),
    )
    own: dict[str, Kind] = {}
    for kind, names in tags:
        for name in [names] if isinstance(names, str) else names:
            if not isinstance(name, str) or own.setdefault(name, kind) != kind:
                raise ConfigError(f"chat_map_fn_factory: the role name {name!r} must be a text and stand for one role only")
    for option, value in {"messages": messages, "role_tag": role_tag, "content_tag": content_tag, "tools": tools}.items():
        if not isinstance(value, str) or not value:
            raise ConfigError(f"chat_map_fn_factory: {option} must be a non-empty text, got {value!r}")
    layout = ChatLayout("chat", (messages,), role_tag, content_tag, system, (tools,), tuple(own.items()))
    return partial(read_chat, layout=layout)


def read_chat(row: Mapping[str, Any], layout: ChatLayout) -> Conversation:
    """Read a record of turns.

    A turn may have beside role and content: ``tool_calls`` or ``function_call``, ``reasoning_content`` or ``reasoning``,
    ``tool_call_id``, ``name``, ``loss`` and ``weight``. A result without a name gets that of the call that it answers.

    Raises:
        DataError: no turns, an unknown role, a turn without content, or calls or tools that can't be read.
    """
    head = _system(row.get(layout.system)) if layout.system else []
    own = dict(layout.own_roles)
    turns = [message for index, turn in enumerate(_turns(row, layout)) for message in _read_turn(turn, index, layout, own)]
    if head and turns[:1] == head:
        head = []
    return Conversation(tuple(_named(head + turns)), tools_of(row, *layout.tools))


def _turns(row: Mapping[str, Any], layout: ChatLayout) -> Sequence[Any]:
    column = next((name for name in layout.messages if row.get(name) is not None), layout.messages[0])
    turns = row.get(column)
    if isinstance(turns, str) and turns.strip():
        turns = parse_json(turns)
    if not isinstance(turns, (list, tuple)) or not turns:
        names = " or ".join(map(repr, layout.messages))
        article = "an" if layout.format[0] in "aeiou" else "a"
        raise DataError(f"{article} {layout.format} record needs a non-empty list {names}, got keys {sorted(map(str, row))}")
    return turns


def _system(value: Any) -> list[Message]:
    if value is None or value == "" or value == []:
        return []
    if isinstance(value, str):
        return [Message("system", value)]
    if are_parts(value):
        return [Message("system", result_text(value, "'system'"))]
    raise DataError(f"'system' must be text, got {excerpt(value)}")


_BESIDE_CONTENT = frozenset(
    ("tool_calls", "function_call", "reasoning_content", "reasoning", "thinking", "tool_call_id", "name", "loss", "weight")
)
"""What a turn may have beside its role and content."""


def _read_turn(turn: Any, index: int, layout: ChatLayout, own_roles: Mapping[str, Kind]) -> list[Message]:
    """Read a turn; its faults name its index and its role, in the data set's own word."""
    try:
        return _messages_of_turn(turn, index, layout, own_roles)
    except DataError as error:
        where, fault = f"message {index}", str(error)
        if not fault.startswith(f"{where}: "):
            raise
        raise DataError(f"{where} (role {excerpt(turn[layout.role_tag], 80)}){fault[len(where) :]}") from error


def _messages_of_turn(turn: Any, index: int, layout: ChatLayout, own_roles: Mapping[str, Kind]) -> list[Message]:
    if not isinstance(turn, Mapping):
        need = f"{layout.role_tag} and {layout.content_tag}"
        raise DataError(f"message {index} must be an object with {need}, got {type(turn).__name__}")
    kind = read_role(turn.get(layout.role_tag), index, own_roles)
    content = turn.get(layout.content_tag)
    if isinstance(content, str) and kind != CALL and _BESIDE_CONTENT.isdisjoint(turn):  # as most turns are
        return [Message(kind, content)]
    if kind == CALL:
        calls = read_calls(content, index, f"a {turn[layout.role_tag]}")
        if not calls:
            raise DataError(f"message {index}: a {turn[layout.role_tag]} holds no call")
        messages = [Message("assistant", tool_calls=calls)]
    else:
        messages = _read_content(turn, content, kind, index, layout)
    messages = _with_keys(messages, turn, index)
    return [replace(message, loss=_loss(turn, index), weight=_weight(turn, index)) for message in messages]


def _read_content(turn: Mapping[str, Any], content: Any, role: Role, index: int, layout: ChatLayout) -> list[Message]:
    if isinstance(content, str):
        return [Message(role, content)]
    if isinstance(content, (list, tuple)) and content and (role != "tool" or are_parts(content)):
        return messages_of(content, role, index)
    if role == "tool" and layout.content_tag in turn:
        return [Message(role, result_text(content, f"message {index}"))]
    if content is not None and content != []:
        raise DataError(
            f"message {index}: {layout.content_tag} must be text, a list of parts or null, got {type(content).__name__}"
        )
    if role == "assistant" and any(turn.get(key) for key in ("tool_calls", "function_call", "reasoning_content", "reasoning")):
        return [Message(role)]
    if layout.content_tag in turn:
        raise DataError(f"message {index} (role {role!r}): {layout.content_tag} is {content!r}, and nothing else is said")
    raise DataError(f"message {index} (role {role!r}) has no {layout.content_tag!r}, only {sorted(map(str, turn))}")


def _with_keys(messages: list[Message], turn: Mapping[str, Any], index: int) -> list[Message]:
    """Add what stands beside the content."""
    calls = _one_of({key: read_calls(turn.get(key), index, key) for key in ("tool_calls", "function_call")}, index)
    reasoning = _one_of({key: turn.get(key) for key in ("reasoning_content", "reasoning", "thinking")}, index)
    last = messages[-1]
    if calls:
        written = [call for message in messages for call in message.tool_calls]
        if not written:
            messages = [*messages[:-1], replace(last, tool_calls=calls)]
        elif _bare(written) != _bare(calls):
            raise DataError(f"message {index} has other calls in its content than in tool_calls; which are meant can't be told")
    if reasoning is not None:
        if messages[0].reasoning not in (None, reasoning):
            raise DataError(f"message {index} has other reasoning in its content than beside it")
        messages = [replace(messages[0], reasoning=reasoning), *messages[1:]]
    if last.role == "tool" and len(messages) == 1:
        identity, name = read_id(turn.get("tool_call_id")), turn.get("name")
        messages = [replace(last, tool_call_id=last.tool_call_id or identity, name=last.name or name)]
    return messages


def _one_of(values: Mapping[str, Any], index: int) -> Any:
    """Give the one value that is there; the same one under two keys counts once.

    Raises:
        DataError: two keys have different ones.
    """
    found = {key: value for key, value in values.items() if value not in (None, "", ())}
    distinct = list(found.values())
    if any(_bare(value) != _bare(distinct[0]) for value in distinct[1:]):
        raise DataError(f"message {index}: {' and '.join(map(repr, found))} differ; which is meant can't be told")
    return distinct[0] if distinct else None


def _bare(value: Any) -> Any:
    """Give calls without their ids."""
    return [(call.name, call.arguments) for call in value] if isinstance(value, (list, tuple)) else value


def _loss(turn: Mapping[str, Any], index: int) -> bool | None:
    loss = turn.get("loss")
    if loss is None or isinstance(loss, bool):
        return loss
    if isinstance(loss, (int, float)) and loss in (0, 1):
        return bool(loss)
    raise DataError(f"message {index}: loss must be true, false or missing, got {excerpt(loss)}")


def _weight(turn: Mapping[str, Any], index: int) -> float:
    weight = turn.get("weight")
    if weight is None:
        return 1.0
    if isinstance(weight, bool) or not isinstance(weight, (int, float)):
        raise DataError(f"message {index}: weight must be a number, got {excerpt(weight)}")
    return float(weight)


def _named(messages: Sequence[Message]) -> Iterator[Message]:
    """Give results the name of the call whose id they carry."""
    if all(message.tool_call_id is None for message in messages):
        yield from messages
        return
    calls: dict[str, ToolCall] = {}
    for message in messages:
        calls.update({call.id: call for call in message.tool_calls if call.id is not None})
        call = calls.get(message.tool_call_id) if isinstance(message.tool_call_id, str) else None
        yield replace(message, name=call.name) if message.role == "tool" and not message.name and call else message
