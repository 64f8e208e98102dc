"""From messages to turns of flat text: the protocol puts tools, calls and results into words, and it is said what is learned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

from xagent.chat.message import Conversation, Message, Role
from xagent.chat.protocol import Protocol, Span, get_protocol
from xagent.chat.supervision import EVERYTHING_SAID, Supervision


@dataclass(frozen=True)
class Turn:
    """A message as flat text: the protocol's work is done, the template's is not."""

    role: Role
    pieces: tuple[tuple[str, float], ...]
    """The text with the weight of each part."""

    suffix_weight: float = 0.0
    """The weight of the end-of-turn token: a turn that ends with the model's words teaches it to stop."""

    speaker: str | None = None
    """How the header names the speaker, such as ``ipython``, where the template can (its ``NAMED``); else it names the role."""

    markup: tuple[Span, ...] = ()
    """Which characters of the text are the protocol's own special tokens, in order; all others are data and never become one."""

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(text for text, _ in self.pieces)

    def parts(self) -> Iterator[tuple[str, float, bool]]:
        """Give the pieces, cut where the protocol's markup begins and ends: text, weight, whether it is markup."""
        if not self.markup:
            yield from ((text, weight, False) for text, weight in self.pieces)
            return
        position = 0
        for text, weight in self.pieces:
            end = position + len(text)
            edges = {position, end, *(edge for span in self.markup for edge in span if position < edge < end)}
            for start, stop in pairwise(sorted(edges)):
                is_markup = any(first <= start and stop <= last for first, last in self.markup)
                yield text[start - position : stop - position], weight, is_markup
            position = end


def flatten(
    conversation: Conversation, protocol: str | Protocol = "react", supervision: Supervision = EVERYTHING_SAID
) -> list[Turn]:
    """Put tools, calls and results into words, and say what of it is learned.

    Only what the model says is learned, as ``supervision`` chooses: assistant turns unless ``loss`` is False, other turns only
    where ``loss`` is True, tool results and observations written inside an assistant's text never. The results of parallel calls
    make one turn.
    """
    spoken = get_protocol(protocol)
    turns: list[Turn] = []
    messages = list(zip(conversation.messages, supervision.weights_of(conversation.messages), strict=True))
    if conversation.tools:
        head, weight = messages.pop(0) if messages and messages[0][0].role == "system" else (Message("system"), 0.0)
        for speaker, text in spoken.system_turns(conversation.tools, head.content):
            turns.append(Turn("system", ((text, weight),), weight, speaker))
    before = ""
    for (is_result, speaker), group in groupby(messages, key=lambda pair: _result_of(pair[0], spoken)):
        if is_result:
            turns.append(_results([message for message, _ in group], spoken, speaker))
            before = ""
            continue
        for message, weight in group:
            turns.append(_turn(message, weight, spoken, bool(conversation.tools), supervision, before))
            before = message.content if message.role == "user" else ""
    return turns


def without_speakers(turns: Sequence[Turn]) -> list[Turn]:
    """Give turns for a frame that knows roles only: what several speakers say in system turns at the start becomes one."""
    plain: list[Turn] = []
    for turn in turns:
        if turn.speaker and turn.role == "system" and plain and plain[-1].role == "system":
            before = plain[-1]
            plain[-1] = replace(before, pieces=(*before.pieces, ("\n\n", 0.0), *turn.pieces))
        else:
            plain.append(turn if turn.speaker is None else replace(turn, speaker=None))
    return plain


def _result_of(message: Message, protocol: Protocol) -> tuple[bool, str | None]:
    """Say whether a message is a tool's result, and who speaks it: results of one speaker share a turn."""
    return (True, protocol.result_speaker(message.name)) if message.role == "tool" else (False, None)


def _results(messages: Sequence[Message], protocol: Protocol, speaker: str | None) -> Turn:
    texts = [protocol.render_result(message.content, message.name) for message in messages]
    return Turn(protocol.result_role, ((protocol.result_separator.join(texts), 0.0),), speaker=speaker)


def _turn(message: Message, weight: float, protocol: Protocol, has_tools: bool, supervision: Supervision, before: str) -> Turn:
    """Give the turn of a message that is no result; ``before`` is what the user said directly before it."""
    if message.role != "assistant":
        return Turn(message.role, ((message.content, weight),), weight)
    structured = bool(message.tool_calls) or message.reasoning is not None or has_tools
    text = protocol.render_reply(message) if structured else message.content
    pieces = supervision.pieces(text, weight, before)
    ends_learned = not pieces or pieces[-1][1] > 0
    return Turn("assistant", pieces, weight if ends_learned else 0.0, markup=tuple(protocol.markup(text)))
