"""From a reply's tokens to text that may be shown: whole characters, and nothing of a stop word."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Decode = Callable[[list[int]], str]

_BROKEN = "\ufffd"
"""What the bytes of a character that is not complete yet are decoded to."""


class StopWords:
    """Shows a text up to the first stop word, and holds back what may become one.

    The first is the one that is complete first, and of several that end together the longest: so what is shown does not depend
    on the pieces in which the text comes.

    Args:
        words: none of them empty.
    """

    def __init__(self, words: Sequence[str] = ()) -> None:
        assert all(words), "an empty stop word"
        self._words = tuple(words)
        self._held = ""
        self.stopped_by: str | None = None

    def feed(self, text: str) -> str:
        """Take more text and give what may be shown; nothing once a stop word was met."""
        if self.stopped_by is not None:
            return ""
        text = self._held + text
        ends = [(start + len(word), start, word) for word in self._words if (start := text.find(word)) >= 0]
        if ends:
            _, start, self.stopped_by = min(ends)
            self._held = ""
            return text[:start]
        shown = len(text) - self._open(text)
        self._held = text[shown:]
        return text[:shown]

    def end(self) -> str:
        """Give what was held back, when no more text comes."""
        held, self._held = self._held, ""
        return held

    def _open(self, text: str) -> int:
        """Give the length of the longest end of the text that a stop word begins with."""
        most = min(max(map(len, self._words), default=0) - 1, len(text))
        return next((length for length in range(most, 0, -1) if self._begins(text[-length:])), 0)

    def _begins(self, end: str) -> bool:
        return any(word.startswith(end) for word in self._words)


class TextStream:
    """Turns tokens into text piece by piece.

    The pieces together are what ``decode`` makes of all tokens at once; bytes that never become a character are shown as U+FFFD
    when it is known that they don't.

    Args:
        decode: gives the text of ids. stop: words that end the text.
    """

    def __init__(self, decode: Decode, stop: Sequence[str] = ()) -> None:
        self._decode, self._stop_words = decode, StopWords(stop)
        self._ids: list[int] = []
        # Tokens before `_read` were shown; from `_begin` on they are decoded again, since a token's text may depend on the
        # ones before it (SentencePiece drops the space that a text begins with).
        self._begin = self._read = 0
        self.length = 0
        """How many characters came so far: shown, held back, or part of a stop word; what is no character yet does not count."""

    @property
    def stopped_by(self) -> str | None:
        """The stop word that was met."""
        return self._stop_words.stopped_by

    def feed(self, token: int) -> str:
        """Take a token and give the new text that may be shown."""
        self._ids.append(token)
        return self._stop_words.feed(self._new(whole=True))

    def end(self) -> str:
        """Give the rest, when no more tokens come."""
        return self._stop_words.feed(self._new(whole=False)) + self._stop_words.end()

    def _new(self, whole: bool) -> str:
        text = self._decode(self._ids[self._begin :])
        if whole and text.endswith(_BROKEN):
            return ""
        new = text[len(self._decode(self._ids[self._begin : self._read])) :]
        if new:
            self._begin, self._read = self._read, len(self._ids)
        self.length += len(new)
        return new
