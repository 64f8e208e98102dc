"""A chat request's messages and tools, read as a conversation."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from xagent.chat.message import Conversation, Message, ToolCall, ToolSpec, excerpt
from xagent.data.formats.chat import ChatLayout, read_chat
from xagent.errors import DataError
from xagent.serving.errors import ApiError

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_LAYOUT = ChatLayout("chat request", ("messages",), system=None)
_NO_TEXT = frozenset({"image_url", "input_image", "image", "input_audio", "audio", "file", "input_file", "video_url", "video"})

_READ_KEYS = frozenset(
    ("role", "content", "tool_calls", "function_call", "tool_call_id", "reasoning_content", "reasoning", "thinking")
)
_NAMED_ROLES = ("tool", "function")
_MOST_NAMED = 20


def unread_keys(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """Give what messages say beside what is read, such as ``messages.name`` of a user: clients send back what servers gave them.

    In printable ASCII, and no more than a header may hold.
    """
    found = {
        f"messages.{key[:80]}"
        for message in messages
        for key, value in message.items()
        if value not in (None, "", [], {}) and not (key in _READ_KEYS or (key == "name" and message.get("role") in _NAMED_ROLES))
    }
    names = sorted(repr(name.encode(errors="backslashreplace"))[2:-1] for name in found)
    return names if len(names) <= _MOST_NAMED else [*names[:_MOST_NAMED], f"{len(names) - _MOST_NAMED} more"]


def read_tools(tools: Sequence[Mapping[str, Any]]) -> tuple[ToolSpec, ...]:
    """Read the tools that a request offers.

    Raises:
        ApiError: one is no function with a name and a schema, or two have the same name.
    """
    found: list[ToolSpec] = []
    for index, tool in enumerate(tools):
        where = f"tools[{index}]"
        if tool.get("type") != "function":
            raise ApiError(400, f"{where}: only tools of type 'function' are had, got {excerpt(tool.get('type'), 80)}", where)
        try:
            found.append(ToolSpec.from_openai(tool))
            Conversation((Message("user", ""),), (found[-1],)).validate()
        except DataError as error:
            raise ApiError(400, f"{where}: {str(error).removeprefix('<record>: ')}", where) from error
        if found[-1].name in [other.name for other in found[:-1]]:
            raise ApiError(400, f"{where}: there is another tool {found[-1].name!r}; names must differ", where)
    return tuple(found)


def read_conversation(messages: Sequence[Mapping[str, Any]], tools: Sequence[ToolSpec]) -> Conversation:
    """Read the messages; results of parallel calls are put into the order of the calls.

    A call may also come as LLaMA-Factory's client sends it: a message of role ``function`` without a name, whose content is the
    JSON text of name and arguments.

    Raises:
        ApiError: a message can't be read, holds something other than text, or results and calls don't fit.
    """
    for index, message in enumerate(messages):
        _check_message(message, index)
    try:
        found = read_chat({"messages": [_own_form(message) for message in messages]}, _LAYOUT)
        ordered = Conversation(tuple(_in_order(found.messages)), tuple(tools))
        return ordered.validate()
    except DataError as error:
        raise ApiError(400, str(error).removeprefix("<record>: "), "messages") from error


def _check_message(message: Mapping[str, Any], index: int) -> None:
    where = f"messages[{index}]"
    role = message.get("role")
    if role not in ROLES:
        raise ApiError(400, f"{where}.role must be one of {', '.join(ROLES)}, got {excerpt(role, 80)}", f"{where}.role")
    content = message.get("content")
    for number, part in enumerate(content if isinstance(content, list) else ()):
        kind = part.get("type") if isinstance(part, Mapping) else None
        if isinstance(kind, str) and (kind in _NO_TEXT or f"{kind}_url" in part):
            place = f"{where}.content[{number}]"
            raise ApiError(400, f"{place} is of type {kind!r}; this model reads text only", place, "unsupported_content")


def _own_form(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give a message in the record reader's words: a call in a message of its own by another role."""
    if message["role"] != "function" or message.get("name"):
        return message
    try:
        said = json.loads(message.get("content") or "")
    except (ValueError, TypeError, RecursionError):
        return message
    if not isinstance(said, Mapping) or "name" not in said:
        return message
    given: Any = next((said[key] for key in ("arguments", "argument") if key in said), {})
    return {"role": "function_call", "content": json.dumps({"name": said["name"], "arguments": given})}


def _in_order(messages: Sequence[Message]) -> Iterator[Message]:
    """Give the messages, results behind calls in the order of the calls.

    Raises:
        DataError: a result answers no call before it, or a call is not answered.
    """
    index = 0
    while index < len(messages):
        message = messages[index]
        index += 1
        yield message
        if message.role == "tool" and message.tool_call_id is not None:
            raise DataError(
                f"message {index - 1} (role 'tool') answers the call {excerpt(message.tool_call_id, 80)}, and the message "
                "before it has no calls; put results directly behind the assistant's message that calls"
            )
        if message.tool_calls:
            end = index
            while end < len(messages) and messages[end].role == "tool":
                end += 1
            yield from _matched(message.tool_calls, messages[index:end], index - 1)
            index = end


def _matched(calls: Sequence[ToolCall], results: Sequence[Message], index: int) -> list[Message]:
    """Give one result for each call, in the calls' order."""
    identities = [call.id for call in calls]
    given = [result.tool_call_id for result in results]
    if not any(identity is not None for identity in given):
        if len(results) == len(calls):
            return list(results)
        raise DataError(f"message {index} calls {len(calls)} tools, and {len(results)} results follow it; send one for each call")
    for place, identity in enumerate(given):
        if identity not in identities or identity in given[:place]:
            known = ", ".join(repr(known) for known in identities)
            twice = "a second time" if identity in given[:place] else "which is none of that message's"
            raise DataError(
                f"message {index + 1 + place} answers the call {excerpt(identity, 80)} {twice}; message {index} has {known}"
            )
    missing = [identity for identity in identities if identity not in given]
    if missing:
        raise DataError(
            f"the calls {', '.join(map(repr, missing))} of message {index} are not answered; send a result for each call"
        )
    return sorted(results, key=lambda result: identities.index(result.tool_call_id))
