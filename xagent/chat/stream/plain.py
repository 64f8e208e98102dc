"""Reading a reply that is in no protocol: no tools were offered, so what looks like a call is text."""

from __future__ import annotations

from xagent.chat.protocol.base import Protocol
from xagent.chat.protocol.react import ReactProtocol
from xagent.chat.protocol.thinking import split_thought
from xagent.chat.stream.arguments import Waiting
from xagent.chat.stream.events import Event
from xagent.chat.stream.reader import ReplyReader


class PlainReader(ReplyReader):
    """Tells the text as it is; a thought in ``<think>`` tags at its beginning is taken apart, where the protocol knows such.

    Args:
        protocol: what the model speaks where tools are offered.
        verbatim: take no thought apart: the reply continues a text that was begun before.
    """

    def __init__(self, protocol: Protocol, verbatim: bool = False) -> None:
        self.verbatim = verbatim or isinstance(protocol, ReactProtocol)
        super().__init__(protocol)

    def finish(self) -> list[Event]:
        """Say that the reply has ended, and give what was held back."""
        self.status = "answer"
        thought, said = (None, self.text) if self.verbatim else split_thought(self.text)
        if thought is not None:
            self.reasoning.complete(thought)
            self.content.complete(said.strip())
        elif self.verbatim or not self.has_begun_thought():
            self.content.complete(self.text)
        else:
            self.reasoning.complete(self.unfinished_thought())
        return self.take()

    def walk(self) -> Waiting:
        """Follow the text."""
        if not self.verbatim:
            yield from self.thought()
        exactly = self.position == 0
        while True:
            piece = self.text[self.position :]
            if exactly:
                self.content.tell(piece)
            else:
                self.content.say(piece)
            self.position = len(self.text)
            yield
