"""What a tool protocol must be able to do: show tools, write calls and results, and read a reply back."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from xagent.chat.message import Message, Role, ToolCall, ToolSpec
from xagent.chat.protocol.objects import dump_arguments, read_object
from xagent.errors import DataError

__all__ = ["ParsedReply", "Protocol", "Span", "Status", "dump_arguments", "read_object"]

Status = Literal["calls", "answer", "text", "incomplete"]

Span = tuple[int, int]
"""Begin and end of some characters of a text."""


@dataclass(frozen=True)
class ParsedReply:
    """What a model's reply says. White space around each text is not part of it.

    Attributes:
        status: ``calls`` at least one complete call; ``answer`` an answer in the protocol's form; ``text`` plain text that is
            neither (ReAct only, elsewhere plain text is the answer); ``incomplete`` a call or a thought that was begun and
            can't be read to its end: nothing of the reply is executed.
        content: the answer, or the text beside the calls.
        reasoning: the thought, None where the reply has none.
        calls: the complete calls, in order.
        error: why the reply is incomplete.
        rest: what is no part of the reply: from an observation that the model made up on, or the call that can't be read.
    """

    status: Status
    content: str = ""
    reasoning: str | None = None
    calls: tuple[ToolCall, ...] = ()
    error: str | None = None
    rest: str = ""

    def to_message(self) -> Message:
        """Give the reply as an assistant message; of an incomplete one what could be read."""
        return Message("assistant", self.content, self.reasoning, self.calls)


class Protocol(ABC):
    """One way to show tools to a model and to speak about calls.

    The law is ``parse(render_reply(message)).to_message() == canonical(message)`` for all names, arguments and texts, but where a
    text speaks the protocol itself: beside calls that is refused, alone it is read as what it says.
    """

    name: ClassVar[str]
    result_role: ClassVar[Role] = "user"
    """The role of a result's turn, for templates that don't know its speaker."""

    telltale: ClassVar[re.Pattern[str]]
    """What a text must hold for the protocol to read it as more than text."""

    special_tokens: ClassVar[tuple[str, ...]] = ()
    """The special tokens that its calls are written with: generated ones are part of the reply's text."""

    after_thought: ClassVar[tuple[str, ...]] = ()
    """Where a reply begins with a thought in plain words: what may stand behind that thought."""

    result_separator: ClassVar[str] = ""
    """What stands between the results of parallel calls, which share one turn."""

    @abstractmethod
    def render_system(self, tools: Sequence[ToolSpec], system: str = "") -> str:
        """Give the system text that offers ``tools``, with the conversation's own system text."""

    def render_reply(self, message: Message) -> str:
        """Give the text of an assistant message with its reasoning and calls.

        Raises:
            DataError: its reasoning, or its text beside calls, would be read as something else: it speaks the protocol itself. (A
                message without calls and reasoning is never refused: its text may be the protocol's own words already.)
        """
        text = self.write_reply(message)
        words = (message.reasoning or "").strip(), message.content.strip()
        if (message.tool_calls or message.reasoning) and any(map(self.telltale.search, words)):
            self._check_reads_back(message, text)
        return text

    @abstractmethod
    def write_reply(self, message: Message) -> str:
        """Give the text of an assistant message, not yet checked."""

    @abstractmethod
    def render_result(self, content: str, name: str | None = None) -> str:
        """Give the text of one tool result."""

    @abstractmethod
    def parse(self, text: str) -> ParsedReply:
        """Read a reply. Never raises on what a model wrote."""

    def canonical(self, message: Message) -> Message:
        """Give an assistant message as the protocol can say it: without ids of calls, and white space at the ends of texts."""
        reasoning = None if message.reasoning is None else message.reasoning.strip()
        calls = tuple(ToolCall(call.name, dict(call.arguments)) for call in message.tool_calls)
        return Message("assistant", message.content.strip(), reasoning, calls)

    def _check_reads_back(self, message: Message, text: str) -> None:
        read, meant = self.parse(text).to_message(), self.canonical(message)
        if read == meant or (not message.tool_calls and read.reasoning == meant.reasoning):
            return
        field = "reasoning" if self.telltale.search((message.reasoning or "").strip()) else "content"
        found = self.telltale.search((getattr(message, field) or "").strip())
        shown = found[0].strip() if found else ""
        raise DataError(
            f"the {field} of an assistant message holds {shown!r}, which protocol {self.name!r} reads as its own markup, so that "
            "calls could not be told from text; choose another protocol, or reword the text"
        )

    def system_turns(self, tools: Sequence[ToolSpec], system: str = "") -> list[tuple[str | None, str]]:
        """Give the system turns that offer ``tools``: who speaks each (None: the system itself), and its text."""
        return [(None, self.render_system(tools, system))]

    def result_speaker(self, name: str | None = None) -> str | None:
        """Give who speaks the result of tool ``name``, in the words of the header; None: the result's role."""
        return None

    def markup(self, text: str, unfinished: bool = False) -> Iterable[Span]:
        """Find where ``special_tokens`` stand around complete calls in an assistant's text; never inside a call's arguments.

        With ``unfinished`` the text goes on: a call that it ends in counts too.
        """
        return ()
