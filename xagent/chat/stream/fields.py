"""Readers of the protocols whose replies are fields at line starts: ReAct and LLaMA-Factory's."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import ClassVar

from xagent.chat.protocol.fields import read_name
from xagent.chat.stream.arguments import Stuck, Waiting
from xagent.chat.stream.events import Voice
from xagent.chat.stream.reader import ReplyReader

_OBSERVATIONS = ("Observation", "Response")
_INPUT = re.compile(r"\s*(```[a-z]*\s*)?(?=\{)")


class FieldReader(ReplyReader):
    """What they have in common: words, ``Action:`` and ``Action Input:``."""

    names: ClassVar[tuple[str, ...]] = ("Action", "Action Input")
    _called = False
    _line_begins = True

    def field(self, voice: Voice | None) -> Generator[None, None, re.Match[str]]:
        """Find the next field, and say the words before it; None holds them back. The position is where it begins."""
        while True:
            if self._line_begins and (found := (yield from self._field_here())):
                self._line_begins = False
                if voice:
                    voice.end()
                return found
            line_end = self.text.find("\n", self.position)
            self._line_begins = line_end >= 0
            end = line_end + 1 if self._line_begins else len(self.text)
            if voice:
                voice.say(self.text[self.position : end])
            self.position = end
            if not self._line_begins:
                yield

    def call(self, action: re.Match[str], words: Voice) -> Waiting:
        """Tell the call whose ``Action:`` this is; the position is then behind its input."""
        self._called = True
        self.position = action.end()
        given = yield from self.field(None)
        named = self.text[action.end() : given.start()].strip()
        name, beside = read_name(named)
        words.say(beside)
        words.end()
        if given[1] != "Action Input" or not named:
            raise Stuck
        self.position = given.end()
        start = yield from self.wait_for(_INPUT)
        self.begin_call(name)
        end = yield from self.write_arguments(start.end())
        self.end_call(end)
        if start[1]:
            yield from self.skip(r"\s*", "```")

    def _field_here(self) -> Generator[None, None, re.Match[str] | None]:
        names = (*self.names, *_OBSERVATIONS) if self._called else self.names
        ordered = "|".join(sorted(names, key=len, reverse=True))
        pattern = re.compile(rf"[ \t]*({ordered})[ \t]*[:：][ \t]*")
        while not (found := pattern.match(self.text, self.position)):
            begun = self.text[self.position :].lstrip(" \t").rstrip(" \t")
            if not any(name.startswith(begun) for name in names):
                return None
            yield
        return found


class FunctionCallReader(FieldReader):
    """Plain text, and calls."""

    def walk(self) -> Waiting:
        yield from self.thought()
        while True:
            found = yield from self.field(self.content)
            if found[1] in _OBSERVATIONS:
                self.end_reply(found.start())
            if found[1] == "Action Input":
                raise Stuck
            yield from self.call(found, self.content)


class ReactReader(FieldReader):
    """Thoughts, calls and a final answer; text without any field is held back, for it may become a thought or be the answer."""

    names: ClassVar[tuple[str, ...]] = ("Thought", "Action", "Action Input", "Final Answer")

    def walk(self) -> Waiting:
        found = yield from self.field(None)
        self.reasoning.say(self.text[: found.start()])
        self.reasoning.end()
        while True:
            if found[1] in _OBSERVATIONS or (found[1] == "Final Answer" and self.calls):
                self.end_reply(found.start())
            elif found[1] == "Final Answer":
                yield from self._answer(found.end())
            elif found[1] == "Action Input":
                raise Stuck
            elif found[1] == "Action":
                yield from self.call(found, self.reasoning)
            else:
                self.position = found.end()
            found = yield from self.field(self.reasoning)

    def _answer(self, start: int) -> Waiting:
        self.position = start
        while True:
            self.content.say(self.text[self.position :])
            self.position = len(self.text)
            yield
