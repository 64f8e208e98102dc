"""Readers of the protocols whose calls are JSON objects: Hermes, InternLM2, Llama 3's JSON."""

from __future__ import annotations

import re
from collections.abc import Generator

from xagent.chat.protocol.internlm2 import INTERPRETER
from xagent.chat.protocol.objects import read_object
from xagent.chat.stream.arguments import Stuck, Waiting
from xagent.chat.stream.reader import ReplyReader, as_call

_HEAD = re.compile(
    r'\{[ \t\n\r]*"name"[ \t\n\r]*:[ \t\n\r]*"([^"\\\x00-\x1f]+)"[ \t\n\r]*,'
    r'[ \t\n\r]*"(?:arguments|parameters)"[ \t\n\r]*:[ \t\n\r]*(?=\{)'
)
_SIGN = re.compile(r"\s*(?=\S)")
_JSON_SIGN = re.compile(r"[ \t\n\r]*(?=[^ \t\n\r])")


class ObjectReader(ReplyReader):
    """What the three have in common: an object with a name and arguments."""

    def object_call(self, *keys: str) -> Generator[None, None, None]:
        """Tell the call whose object begins here, behind white space; the position is then behind it."""
        sign = yield from self.wait_for(_SIGN)
        start = sign.end()
        if self.text[start] != "{":
            raise Stuck
        tried = start
        while not (head := _HEAD.match(self.text, start)):
            if self.text.find("}", tried) >= 0 and (found := read_object(self.text, start)):
                self.tell_call(as_call(found[0], *keys), found[1])
                return
            tried = len(self.text)
            yield
        self.begin_call(head[1])
        self.position = yield from self.write_arguments(head.end())
        closing = yield from self.wait_for(_JSON_SIGN)
        if self.text[closing.end()] == "}":
            self.end_call(closing.end() + 1)
            return
        whole, end = yield from self.whole_object(start)
        call = as_call(whole, *keys)
        if call.name != head[1]:
            raise Stuck
        self.tell_rest(dict(call.arguments))
        self.end_call(end)


class HermesReader(ObjectReader):
    """Text, and calls in ``<tool_call>`` tags."""

    def walk(self) -> Waiting:
        yield from self.thought()
        marks = ["<tool_call>"]
        while True:
            found = yield from self.words_until(self.content, *marks)
            if found != "<tool_call>":
                self.end_reply(self.position)
            self.position += len(found)
            yield from self.object_call("arguments", "parameters")
            yield from self.skip(r"[\s}\]]*", "</tool_call>")
            marks = ["<tool_call>", "<tool_response>"]


class InternLM2Reader(ObjectReader):
    """Text, and calls between special tokens."""

    def walk(self) -> Waiting:
        yield from self.thought()
        while True:
            start, end = "<|action_start|>", "<|action_end|>"
            yield from self.words_until(self.content, start)
            begun = self.position
            self.position += len(start)
            kind = yield from self.wait_for(re.compile(r"\s*<\|(plugin|interpreter)\|>"))
            self.position = kind.end()
            if kind[1] == "plugin":
                yield from self.object_call("parameters", "arguments")
                yield from self.skip(r"\s*", end)
                continue
            code = yield from self.wait_for(re.compile(rf".*?{re.escape(end)}", re.DOTALL))
            (call,) = self.protocol.parse(self.text[begun : code.end()]).calls
            assert call.name == INTERPRETER
            self.tell_call(call, code.end())


class Llama3JsonReader(ObjectReader):
    """Text, and lines that are a call's object."""

    _LINE = re.compile(r"[ \t]*(<\|python_tag\|>)?[ \t]*(?=[^ \t])")
    _TAG = "<|python_tag|>"
    _OBJECT = re.compile(r"""(?:\{\s*(?=["'}])|\[\s*(?=\{))""")
    _BRACKET = re.compile(r"[{\[]\s*(?=\S)")
    _NEXT = re.compile(r"\s*(?:[;,]\s*|(?![;,]))(<\|python_tag\|>)?\s*(?=[^\s])")

    def walk(self) -> Waiting:
        yield from self.thought()
        while True:
            if (yield from self._is_object()):
                yield from self._calls()
            while (end := self.text.find("\n", self.position)) < 0:
                self._say(len(self.text))
                yield
            self._say(end + 1)

    def _say(self, end: int) -> None:
        self.content.say(self.text[self.position : end])
        self.position = end

    def _is_object(self) -> Generator[None, None, bool]:
        """At the beginning of a line, say whether an object with quoted keys, or a list, begins there; if so, go there."""
        line = yield from self._behind_tag(self._LINE)
        if self.text[line.end()] not in "{[":
            return False
        start = line.end()
        while not (bracket := self._BRACKET.match(self.text, start)):
            yield
        if not self._OBJECT.match(self.text, start):
            return False
        assert bracket
        self.content.end()
        self.position = start
        return True

    def _calls(self) -> Waiting:
        """Tell a call and those that follow on its line or the next ones."""
        while True:
            if self.text[self.position] != "{":
                raise Stuck
            yield from self.object_call("parameters", "arguments")
            following = yield from self._behind_tag(self._NEXT)
            if self.text[following.end()] not in "{[":
                return
            self.position = following.end()

    def _behind_tag(self, pattern: re.Pattern[str]) -> Generator[None, None, re.Match[str]]:
        """Wait until it is clear where the sign behind white space, and a tag that may stand there, is."""
        while True:
            found = yield from self.wait_for(pattern)
            ahead = self.text[found.end() :]
            # A whole tag is part of the match as soon as a sign stands behind it.
            if found[1] or not (self._TAG.startswith(ahead) or ahead.startswith(self._TAG)):
                return found
            yield
