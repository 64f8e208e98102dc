"""What a reader of a reply on its way tells: words and calls, piece by piece."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Channel = Literal["reasoning", "content"]


@dataclass(frozen=True)
class Words:
    """New words of the thought (``reasoning``) or of the text (``content``)."""

    channel: Channel
    text: str


@dataclass(frozen=True)
class CallBegins:
    """A call of tool ``name``; the arguments that follow are its."""

    name: str


@dataclass(frozen=True)
class Arguments:
    """More of the last call's arguments, which are JSON once the call is whole."""

    text: str


Event = Words | CallBegins | Arguments
Emit = Callable[[Event], None]


@dataclass
class ToldCall:
    """A call as it was told so far.

    Attributes:
        name: the tool's.
        arguments: the JSON text; without its last bracket as long as the call is not whole.
        whole: nothing more will come.
    """

    name: str
    arguments: str = ""
    whole: bool = False


@dataclass
class Voice:
    """Words of one channel: texts without the white space around them, a line end between two of them, told as they come.

    Args:
        channel: which.
        emit: where new words go.
    """

    channel: Channel
    emit: Emit
    told: str = ""
    _held: str = field(default="", repr=False)
    _begun: bool = field(default=False, repr=False)

    def say(self, text: str) -> None:
        """Go on with the text that was begun last, or begin one."""
        if not self._begun:
            text = text.lstrip()
            if not text:
                return
            self._begun, self._held = True, "\n" if self.told else ""
        text = self._held + text
        body = text.rstrip()
        self._held = text[len(body) :]
        self.tell(body)

    def end(self) -> None:
        """End the text: what is said next is another."""
        self._begun, self._held = False, ""

    def complete(self, words: str) -> None:
        """Tell what of these words was not told yet; what was told must be their beginning, else nothing is."""
        if words.startswith(self.told):
            self.tell(words[len(self.told) :])

    def tell(self, text: str) -> None:
        """Tell exactly this."""
        if text:
            self.told += text
            self.emit(Words(self.channel, text))
