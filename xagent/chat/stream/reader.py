"""Reading a reply while it is being written: what is sure is told at once, what may still become a call is held back.

The law: for every text, in whatever pieces it comes, all that is told is what :meth:`Protocol.parse` reads in the whole text. So
a reader only looks ahead; the end is always the parser's. What it can't follow it leaves to the end.
"""

from __future__ import annotations

import re
from collections.abc import Generator

from xagent.chat.message import ToolCall
from xagent.chat.protocol.base import ParsedReply, Protocol, Status
from xagent.chat.protocol.objects import dump_arguments, read_object
from xagent.chat.protocol.scan import object_to_call
from xagent.chat.protocol.thinking import UNFINISHED
from xagent.chat.stream.arguments import ArgumentsWriter, Stuck, Waiting
from xagent.chat.stream.events import Arguments, CallBegins, Event, ToldCall, Voice

_THINK, _THINK_END = "<think>", "</think>"


class ReplyReader:
    """Reads one reply in a protocol.

    This class itself holds everything back to the end, which is right for any protocol.

    Args:
        protocol: what the reply is in.
        max_calls: read only so many calls: behind the last the reply is over. None: all.
    """

    def __init__(self, protocol: Protocol, max_calls: int | None = None) -> None:
        self.protocol = protocol
        self.max_calls = max_calls
        self.text = ""
        self.position = 0
        """How far the text is understood."""
        self.calls: list[ToldCall] = []
        self.status: Status = "text"
        """What the reply is, once it was finished; ``incomplete``: not all of it could be read."""
        self.error: str | None = None
        """Why it is incomplete."""
        self._events: list[Event] = []
        self.reasoning = Voice("reasoning", self._events.append)
        self.content = Voice("content", self._events.append)
        self._end: int | None = None
        self._walk = self.walk()

    @property
    def is_over(self) -> bool:
        """Whether nothing that may follow is part of the reply any more: generation can end."""
        return self._end is not None

    def feed(self, piece: str) -> list[Event]:
        """Take the next characters, and give what is sure now."""
        if not self.is_over:
            self.text += piece
            try:
                next(self._walk, None)
            except Stuck:
                pass  # and next gives nothing from now on: the rest is left to the end
        return self.take()

    def finish(self) -> list[Event]:
        """Say that the reply has ended, and give what was held back."""
        parsed = self.protocol.parse(self.text[: self._end])
        self.status, self.error = parsed.status, parsed.error
        for index, call in enumerate(parsed.calls[: self.max_calls]):
            self._complete(index, call)
        self.reasoning.complete(self._thought_of(parsed))
        self.content.complete(self._content_of(parsed))
        return self.take()

    def walk(self) -> Waiting:
        """Follow the text; yields where it needs more, and ends where nothing can be told before the end."""
        yield from ()

    def has_begun_thought(self) -> bool:
        """Say whether the text begins with a thought in tags."""
        return self.text.lstrip().startswith(_THINK)

    def unfinished_thought(self) -> str:
        """Give the words of a thought that has no end."""
        return self.text.lstrip()[len(_THINK) :].strip()

    # What walks are made of

    def thought(self) -> Waiting:
        """Tell the thought that a reply may begin with, and step over it."""
        while len(begun := self.text.lstrip()) < len(_THINK) and _THINK.startswith(begun):
            yield
        if begun.startswith(_THINK):
            self.position = len(self.text) - len(begun) + len(_THINK)
            yield from self.words_until(self.reasoning, _THINK_END)
            self.position += len(_THINK_END)

    def words_until(self, voice: Voice, *marks: str) -> Generator[None, None, str]:
        """Tell words up to the first of ``marks``, and give which it is; the position is where it begins."""
        while True:
            unread = self.text[self.position :]
            found = min(((place, mark) for mark in marks if (place := unread.find(mark)) >= 0), default=None)
            end = found[0] if found else len(unread) - max(_overlap(unread, mark) for mark in marks)
            voice.say(unread[:end])
            self.position += end
            if found:
                voice.end()
                return found[1]
            yield

    def wait_for(self, pattern: re.Pattern[str]) -> Generator[None, None, re.Match[str]]:
        """Wait until ``pattern`` matches here; for ever where it never will."""
        while not (found := pattern.match(self.text, self.position)):
            yield
        return found

    def skip(self, before: str, mark: str) -> Waiting:
        """Step over ``mark`` if it stands here behind characters of the class ``before``; else stay."""
        while True:
            spaces = re.compile(before).match(self.text, self.position)
            place = spaces.end() if spaces else self.position
            if self.text.startswith(mark, place):
                self.position = place + len(mark)
                return
            if not mark.startswith(self.text[place:]):
                return
            yield

    def begin_call(self, name: str) -> None:
        """Tell that a call begins."""
        self.calls.append(ToldCall(name))
        self._events.append(CallBegins(name))

    def tell_arguments(self, text: str) -> None:
        """Tell more of the last call's arguments."""
        if text:
            self.calls[-1].arguments += text
            self._events.append(Arguments(text))

    def write_arguments(self, start: int) -> Generator[None, None, int]:
        """Tell the arguments of the call that was begun, and give where their object ends; the last bracket is not told yet."""
        writer = ArgumentsWriter(self, start, self.tell_arguments)
        try:
            yield from writer.write()
        except Stuck:
            found = yield from self.whole_object(start)
            self.tell_rest(found[0])
            return found[1]
        return writer.place

    def tell_rest(self, arguments: dict[str, object]) -> None:
        """Tell what is not told yet of these arguments but for the last bracket.

        Raises:
            Stuck: something else was told.
        """
        written, told = dump_arguments(arguments), self.calls[-1].arguments
        if not written.startswith(told):
            raise Stuck
        self.tell_arguments(written[len(told) : -1])

    def whole_object(self, start: int) -> Generator[None, None, tuple[dict[str, object], int]]:
        """Wait for the object at ``start``, in JSON or as a Python literal; give it and where it ends."""
        tried = start
        while True:
            if self.text.find("}", tried) >= 0 and (found := read_object(self.text, start)):
                return found
            tried = len(self.text)
            yield

    def end_call(self, end: int) -> None:
        """Tell the last bracket of a call's arguments; go on at ``end``.

        Raises:
            Stuck: it was the last call that is wanted.
        """
        self._close_call()
        self.position = end
        if len(self.calls) == self.max_calls:
            self.end_reply(end)

    def tell_call(self, call: ToolCall, end: int) -> None:
        """Tell a whole call; go on at ``end``."""
        self.begin_call(call.name)
        self.tell_rest(dict(call.arguments))
        self.end_call(end)

    def end_reply(self, end: int) -> None:
        """Say that the reply is over at ``end``, whatever follows.

        Raises:
            Stuck: always, to end the walk.
        """
        self._end = end
        raise Stuck

    def _close_call(self) -> None:
        self.tell_arguments("}")
        self.calls[-1].whole = True

    # The end

    def take(self) -> list[Event]:
        """Give what was told since the last time."""
        taken = list(self._events)
        self._events.clear()
        return taken

    def _complete(self, index: int, call: ToolCall) -> None:
        """Tell what of the parser's call was not told yet."""
        if index == len(self.calls):
            self.begin_call(call.name)
        told = self.calls[index]
        if told.whole:
            return
        try:
            if told.name != call.name:
                raise Stuck
            self.tell_rest(dict(call.arguments))
        except (Stuck, RecursionError):
            self.status = "incomplete"
            self.error = f"the call of {told.name!r} says the same thing twice in different ways"
            return
        self._close_call()

    def _thought_of(self, parsed: ParsedReply) -> str:
        return self.unfinished_thought() if parsed.error == UNFINISHED else parsed.reasoning or ""

    def _content_of(self, parsed: ParsedReply) -> str:
        """Give the text, with a call that can't be read and was not told as one: nothing that the model said is lost."""
        lost = parsed.error is not None and parsed.error != UNFINISHED and all(call.whole for call in self.calls)
        return "\n".join(filter(None, (parsed.content, parsed.rest.strip() if lost else "")))


def as_call(found: dict[str, object], *keys: str) -> ToolCall:
    """Give the call that an object with exactly one of ``keys`` describes.

    Raises:
        Stuck: it describes none.
    """
    call = object_to_call(found, *keys)
    if isinstance(call, str) or not any(key in found for key in keys):
        raise Stuck
    return call


def _overlap(text: str, mark: str) -> int:
    """Give how many characters at the end of ``text`` may be the beginning of ``mark``."""
    longest = min(len(text), len(mark) - 1)
    return next((length for length in range(longest, 0, -1) if text.endswith(mark[:length])), 0)
