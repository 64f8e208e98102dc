"""A call's arguments, told while the model still writes them, as the JSON text that they will be.

What is told is a beginning of ``dump_arguments`` of the finished object, whatever white space, escapes and numbers stand there.
Where the text stops being JSON (a Python literal, say) the writer is stuck: it tells no more, and the whole object is read once
it is there. A key that stands twice is told twice: JSON's readers keep the last, as ours does.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Generator
from typing import Protocol

from xagent.chat.message import MAX_DEPTH

Waiting = Generator[None, None, None]
"""Yields where it needs more text."""

_PLAIN = re.compile(r'[^"\\]+')
_ESCAPE = re.compile(r'\\(?:["\\bfnrt]|u[0-9a-fA-F]{4})')  # "\/" is left out: in a Python literal it is two characters
_BEGUN_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_HIGH, _LOW = re.compile(r"\\u[dD][89abAB]"), re.compile(r"\\u[dD][c-fC-F]")
_SPACE = " \t\n\r"
_SCALAR = re.compile(r"[^ \t\n\r,\]}]*(?=[ \t\n\r,\]}])")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


class HasText(Protocol):
    """Anything with a text that grows."""

    text: str


class Stuck(Exception):
    """The text is no JSON, or may yet mean something else."""


class ArgumentsWriter:
    """Reads an object that is still being written, and tells its JSON text but for the last bracket.

    Args:
        source: where the text is.
        start: where the object begins: ``{`` stands there.
        tell: takes the pieces of JSON text.
    """

    def __init__(self, source: HasText, start: int, tell: Callable[[str], None]) -> None:
        self.source = source
        self.place = start
        """How far the text is read; behind the object when :meth:`write` is through."""
        self._tell = tell

    def write(self) -> Waiting:
        """Read to the end of the object.

        Raises:
            Stuck: it can't be told piece by piece any further.
        """
        yield from self._object(1)

    def _peek(self) -> Generator[None, None, str]:
        """Give the next character that is no white space, without stepping over it."""
        while True:
            while self.place < len(self.source.text) and self.source.text[self.place] in _SPACE:
                self.place += 1
            if self.place < len(self.source.text):
                return self.source.text[self.place]
            yield

    def _value(self, depth: int) -> Waiting:
        first = yield from self._peek()
        if depth > MAX_DEPTH:
            raise Stuck
        if first == "{":
            yield from self._object(depth)
            self._tell("}")
        elif first == "[":
            yield from self._list(depth)
        elif first == '"':
            yield from self._string(",]}")
        else:
            yield from self._scalar()

    def _object(self, depth: int) -> Waiting:
        self._step("{")
        comma = ""
        while (yield from self._goes_on("}", comma)):
            if (yield from self._peek()) != '"':
                raise Stuck
            self._tell(comma)
            yield from self._string(":")
            self.place += 1
            self._tell(": ")
            yield from self._value(depth + 1)
            comma = ", "

    def _list(self, depth: int) -> Waiting:
        self._step("[")
        comma = ""
        while (yield from self._goes_on("]", comma)):
            if (yield from self._peek()) == "]":
                raise Stuck  # a comma before the bracket
            self._tell(comma)
            yield from self._value(depth + 1)
            comma = ", "
        self._tell("]")

    def _goes_on(self, bracket: str, comma: str) -> Generator[None, None, bool]:
        """Step over the closing bracket, or over the comma that another entry follows (none before the first)."""
        found = yield from self._peek()
        if found == bracket:
            self.place += 1
            return False
        if comma:
            if found != ",":
                raise Stuck
            self.place += 1
        return True

    def _string(self, followers: str) -> Waiting:
        """Tell a string. Its end is told when it is sure: in a Python literal another one may continue it."""
        self._step('"')
        while True:
            if plain := _PLAIN.match(self.source.text, self.place):
                self._tell(_inside(plain[0]))
                self.place = plain.end()
            elif self.place == len(self.source.text):
                yield
            elif self.source.text[self.place] == '"':
                self.place += 1
                if (yield from self._peek()) not in followers:
                    raise Stuck
                self._tell('"')
                return
            else:
                yield from self._escape()

    def _escape(self) -> Waiting:
        found = yield from self._wait_for(_ESCAPE, self.place)
        written = found[0]
        if _LOW.match(written):
            raise Stuck
        if _HIGH.match(written):
            second = yield from self._wait_for(_ESCAPE, found.end())
            if not _LOW.match(second[0]):
                raise Stuck
            written, found = written + second[0], second
        self._tell(_inside(json.loads(f'"{written}"')))
        self.place = found.end()

    def _wait_for(self, escape: re.Pattern[str], start: int) -> Generator[None, None, re.Match[str]]:
        while True:
            if found := escape.match(self.source.text, start):
                return found
            if start < len(self.source.text) and not _BEGUN_ESCAPE.match(self.source.text, start):
                raise Stuck
            yield

    def _scalar(self) -> Waiting:
        while not (found := _SCALAR.match(self.source.text, self.place)):
            yield
        if found[0] not in ("true", "false", "null") and not _NUMBER.fullmatch(found[0]):
            raise Stuck
        try:
            value = json.loads(found[0])
        except ValueError:  # a number of thousands of digits
            raise Stuck from None
        if isinstance(value, float) and not math.isfinite(value):
            raise Stuck
        self._tell(json.dumps(value))
        self.place = found.end()

    def _step(self, sign: str) -> None:
        self.place += 1
        self._tell(sign)


def _inside(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]
