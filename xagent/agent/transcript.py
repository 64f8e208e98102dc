"""What was said in a session: as the model saw it word for word, and as a training record."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from xagent.chat.message import Conversation, Message, ToolCall, ToolSpec
from xagent.chat.protocol import Protocol
from xagent.chat.protocol.react import FIELDS, ReactProtocol
from xagent.chat.turns import flatten
from xagent.data.formats import openai_map_fn
from xagent.errors import ConfigError, DataError

_OBSERVATION_MARK = re.compile(r"(?:^|\n)[ \t]*(Observation|OBSERVATION|Response|✿RESULT✿)[ \t]*[:：]?[ \t]*\Z")


@dataclass(frozen=True)
class Entry:
    """A message, and its words as the model wrote or saw them (an observation without the protocol's mark)."""

    message: Message
    words: str

    @classmethod
    def said(cls, role: Any, text: str) -> Entry:
        """Give a message that is its words."""
        return cls(Message(role, text), text)

    @classmethod
    def observed(cls, text: str, name: str | None) -> Entry:
        """Give a result of tool ``name``."""
        return cls(Message("tool", text, name=name), text)


@dataclass(frozen=True)
class Setting:
    """What all turns of a session are seen in.

    Attributes:
        protocol: in whose words tools, calls and results stand.
        tools: those that are offered.
        system: the conversation's own system text.
    """

    protocol: Protocol
    tools: tuple[ToolSpec, ...] = ()
    system: str = ""

    def reply(self, words: str, complete: bool = True) -> Entry:
        """Read a reply. One that can't be read or was stopped stays its words, and is no example to learn from.

        Args:
            complete: False for a reply that the user stopped.
        """
        if not self.tools:
            return Entry(Message("assistant", words, loss=None if complete else False), words)
        parsed = self.protocol.parse(words)
        if not complete or parsed.status == "incomplete" or (parsed.status == "text" and self._answers_in_form):
            return Entry(Message("assistant", words, loss=False), words)
        return Entry(parsed.to_message(), words)

    @property
    def _answers_in_form(self) -> bool:
        return isinstance(self.protocol, ReactProtocol)

    def conversation(self, entries: Sequence[Entry]) -> Conversation:
        """Give what the model sees: replies in its own words."""
        said = tuple(replace(entry.message, content=entry.words, reasoning=None, tool_calls=()) for entry in entries)
        if self.tools and self._answers_in_form:  # its system text says all, and replies stand as they were written
            return Conversation((Message("system", self.protocol.render_system(self.tools, self.system)), *said))
        return Conversation((*self._head(), *said), self.tools)

    def structured(self, entries: Sequence[Entry]) -> Conversation:
        """Give the same with calls and thoughts apart, as data has them."""
        return Conversation((*self._head(), *(entry.message for entry in entries)), self.tools)

    def _head(self) -> tuple[Message, ...]:
        return (Message("system", self.system),) if self.system else ()

    def record(self, entries: Sequence[Entry]) -> dict[str, Any]:
        """Give the training record, in OpenAI's messages form, that renders to the very text which the model saw.

        Where every reply is as the protocol itself would write it, calls are apart and tools are listed; otherwise the replies
        that aren't, or all words, stand as they were written.
        """
        seen = self.conversation(entries)
        text = self._text(seen)
        for candidate in (self.structured(entries), self._partly(entries)):
            record = to_openai(candidate)
            if text is not None and self._text_of(record) == text:
                return record
        return to_openai(seen)

    def _partly(self, entries: Sequence[Entry]) -> Conversation:
        return self.structured([entry if self._says(entry) else replace(entry, message=_plain(entry)) for entry in entries])

    def _says(self, entry: Entry) -> bool:
        """Tell whether the protocol would write a reply in these very words."""
        if entry.message.role != "assistant":
            return True
        try:
            return self.protocol.render_reply(entry.message) == entry.words
        except DataError:
            return False

    def _text_of(self, record: Mapping[str, Any]) -> list[tuple[str, str | None, str]] | None:
        try:
            return self._text(openai_map_fn(record).validate())
        except DataError:
            return None

    def _text(self, conversation: Conversation) -> list[tuple[str, str | None, str]] | None:
        try:
            return [(turn.role, turn.speaker, turn.text) for turn in flatten(conversation, self.protocol)]
        except DataError:  # the words speak the protocol themselves
            return None

    def read(self, record: Mapping[str, Any]) -> tuple[str, list[Entry]]:
        """Read a record into its own system text and its entries.

        Raises:
            DataError: it is no record in OpenAI's messages form.
            ConfigError: it offers tools that the session doesn't have.
        """
        conversation = openai_map_fn(record).validate()
        missing = sorted({tool.name for tool in conversation.tools} - {tool.name for tool in self.tools})
        if missing:
            raise ConfigError(f"the conversation offers tools that are not here: {', '.join(missing)}; give them with --tools")
        messages = list(conversation.messages)
        system = messages.pop(0).content if messages and messages[0].role == "system" else ""
        if self.tools and not conversation.tools:
            system = _without_tools(system, self.protocol.render_system(self.tools))
        return system, [self._read(message, bool(conversation.tools)) for message in messages]

    def _read(self, message: Message, has_tools: bool) -> Entry:
        if message.role != "assistant":
            return Entry(message, message.content)
        if message.tool_calls or message.reasoning is not None or has_tools:
            return Entry(message, self.protocol.render_reply(message))
        return Entry(message, message.content) if message.loss is False else self.reply(message.content)


def _plain(entry: Entry) -> Message:
    return replace(entry.message, content=entry.words, reasoning=None, tool_calls=())


def _without_tools(system: str, tools: str) -> str:
    return system.removesuffix(tools).removesuffix("\n\n") if system.endswith(tools) else system


def lagent_messages(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Give entries as Lagent's loop keeps them."""
    messages: list[dict[str, Any]] = []
    for entry in entries:
        if entry.message.role == "tool":
            content = f"{FIELDS['response']}{entry.words}\n"
            messages.append({"role": "system", "content": content, "name": entry.message.name})
        else:
            messages.append({"role": entry.message.role, "content": entry.words})
    return messages


def to_conversation(messages: Sequence[Mapping[str, Any]], protocol: Protocol) -> Conversation:
    """Read the messages that Lagent's loop sends, in the form in which such conversations are trained.

    Lagent shows a tool's result as a ``system`` message ``Response:...``; it becomes a result in the protocol's words. Other
    system messages (the tools, the order to stop) stay what they are. Where the first message has ``tools``, these are offered as
    the protocol does.

    Raises:
        ConfigError: a role is unknown.
    """
    tools = tuple(messages[0].get("tools", ())) if messages else ()
    turns = []
    for index, message in enumerate(messages):
        role, content = message["role"], str(message["content"])
        if role not in ("system", "user", "assistant"):
            raise ConfigError(f"message {index}: unknown role {role!r}; Lagent's loop uses system, user and assistant")
        if role == "system" and index > 0 and content.startswith(FIELDS["response"]):
            result = content.removeprefix(FIELDS["response"]).removesuffix("\n")
            turns.append(_result(result, message.get("name"), protocol, bool(tools)))
        else:
            turns.append(Message(role, content))
    return Conversation(tuple(turns), tools)


def _result(text: str, name: str | None, protocol: Protocol, has_tools: bool) -> Message:
    """Give a result as data has it, or where the words of the whole conversation are the protocol's already, in these."""
    if has_tools:
        return Message("tool", text, name=name)
    return Message(protocol.result_role, protocol.render_result(text, name))


def observation_mark(words: str) -> str | None:
    """Give the mark of an observation that a text ends with, such as ``Observation``; None where it ends otherwise."""
    found = _OBSERVATION_MARK.search(words)
    return found[1] if found else None


def with_observation(words: str, text: str) -> str:
    """Put an observation behind the mark that a reply ends with, spaced as in the data that such marks come from."""
    mark = observation_mark(words)
    begin = words.rstrip().rstrip(":：").rstrip()
    return f"{begin}:{'' if mark == 'Response' else ' '}{text.strip()}\n"


def to_openai(conversation: Conversation) -> dict[str, Any]:
    """Give a conversation as a record in OpenAI's messages form; calls get ids, and results those of the calls they answer."""
    record: dict[str, Any] = {"messages": list(_openai_messages(conversation.messages))}
    if conversation.tools:
        record["tools"] = [tool.to_openai() for tool in conversation.tools]
    return record


def _openai_messages(messages: Sequence[Message]) -> Iterator[dict[str, Any]]:
    made, open_ids = 0, list[str]()
    for message in messages:
        row: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.reasoning is not None:
            row["reasoning_content"] = message.reasoning
        if message.tool_calls:
            open_ids = [f"call_{made + number}" for number in range(len(message.tool_calls))]
            made += len(open_ids)
            row["tool_calls"] = [_openai_call(call, name) for call, name in zip(message.tool_calls, open_ids, strict=True)]
        if message.role == "tool":
            row.update({"tool_call_id": open_ids.pop(0)} if open_ids else {}, **({"name": message.name} if message.name else {}))
        if message.loss is not None:
            row["loss"] = message.loss
        yield row


def _openai_call(call: ToolCall, name: str) -> dict[str, Any]:
    arguments = json.dumps(dict(call.arguments), ensure_ascii=False)
    return {"id": name, "type": "function", "function": {"name": call.name, "arguments": arguments}}
