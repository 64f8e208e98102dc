"""What stands where in an assistant's text: calls, their arguments, and observations that are the world's words.

Agent data often holds a whole episode in one assistant text, in the wording of any protocol, whatever the config's protocol is.
So the marks of all of them are known here: ReAct's fields at line starts (LLaMA-Factory's are the same), those of Qwen 1.5
(``✿FUNCTION✿``), the tags of Hermes, the special tokens of InternLM2 and Llama 3, and Llama 3's bare JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from xagent.chat.protocol.base import Span
from xagent.chat.protocol.objects import read_object, read_value

PartKind = Literal["call", "arguments", "observation"]


@dataclass(frozen=True)
class Part:
    """A stretch of a reply: a call, the arguments inside one, or an observation.

    Attributes:
        kind: which of them.
        start, end: its characters.
        opening: length of the mark that it begins with, such as ``Observation:``.
    """

    kind: PartKind
    start: int
    end: int
    opening: int = 0


@dataclass(frozen=True)
class Reply:
    """An assistant's text as a rule for loss weights sees it.

    Attributes:
        text: the rendered text.
        query: the user's words directly before it; empty where something else stands there.
    """

    text: str
    query: str = ""

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The calls, arguments and observations, in the order in which they end."""
        return tuple(_Walk(self.text).parts()) if _HINT.search(self.text) else ()

    @property
    def calls(self) -> list[Span]:
        """Where calls stand, with the line end behind them."""
        return [(part.start, part.end) for part in self.parts if part.kind == "call"]

    @property
    def arguments(self) -> list[Span]:
        """Where the objects of arguments stand: what looks like a keyword in there is data."""
        return [(part.start, part.end) for part in self.parts if part.kind == "arguments"]

    @property
    def observations(self) -> list[Part]:
        """The observations; one reaches from its mark, behind a call, to what the model writes next."""
        # Most replies hold none, which is told without reading their calls.
        if not any(mark in self.text for mark in _WORLD_MARKS):
            return []
        return [part for part in self.parts if part.kind == "observation"]


def meant_stop_word(word: str) -> str:
    """Give the stop word that somebody means who types one: an observation's mark without its colon is the mark.

    ModelScope SWIFT's documents have both ``--stop_words Observation:`` and ``--stop_words Observation``. The bare word would
    also end a thought in which it stands.
    """
    return f"{word}:" if word in _NEED_COLON else word


_NEED_COLON = ("Observation", "OBSERVATION", "Response")
_COLON = r"[ \t]*[:：]"
_ACTION = rf"^[ \t]*(?:(?:Action|ACTION){_COLON}|✿FUNCTION✿(?:{_COLON})?)"
_INPUT = rf"^[ \t]*(?:(?:Action\ Input|ACTION_INPUT){_COLON}|✿ARGS✿(?:{_COLON})?)"
_MODEL = rf"^[ \t]*(?:(?:Thought|Final\ Answer|Next){_COLON}|✿RETURN✿(?:{_COLON})?)"
_OBSERVED = rf"^[ \t]*(?:(?:Observation|OBSERVATION|Response){_COLON}|✿RESULT✿(?:{_COLON})?)"
_MARK = re.compile(
    rf"""
      (?P<action>{_ACTION}) | (?P<input>{_INPUT}) | (?P<model>{_MODEL}) | (?P<observed>{_OBSERVED})
    | (?P<given>^[ \t]*Arguments{_COLON})
    | (?P<call><tool_call>|<\|action_start\|>) | (?P<result><tool_response>)
    | (?P<turn><\|im_start\|>environment|<\|start_header_id\|>ipython<\|end_header_id\|>)
    | (?P<bare>(?:^[ \t]*|<\|python_tag\|>\s*)\{{(?=\s*["'](?:name|type|function|parameters|arguments)["']))
    """,
    re.MULTILINE | re.VERBOSE,
)
_WORLD_MARKS = ("Observation", "OBSERVATION", "Response", "✿RESULT✿", "<tool_response>", "environment", "ipython")
"""One of these is in each mark of ``_MARK`` that begins an observation."""
_MODEL_FIELD = re.compile(rf"{_ACTION}|{_INPUT}|{_MODEL}", re.MULTILINE)
_HINT = re.compile(r"Action|ACTION|Tool|Arguments|✿|<tool_call>|<\||[\"'](?:parameters|arguments)[\"']")
_ENDS = {"<tool_call>": "</tool_call>", "<|action_start|>": "<|action_end|>"}
_NEXT_REPLY = re.compile(r"<\|im_start\|>assistant\n?|<\|start_header_id\|>assistant<\|end_header_id\|>(?:\n\n)?")
_RESULT_END = re.compile(r"</tool_response>\s*")
_FENCE = re.compile(r"\s*(?:<\|plugin\|>\s*)?(?:```[a-z]*\s*)?")
_BRACKET = re.compile(r"\s*[\[{]")
_LINE_END = re.compile(r"(?:\s*```)?[ \t]*\n?")
_ATTEMPTS = 8
"""So many objects of one reply may turn out unreadable; then none is read any more: each may cost a look at all that follows."""


class _Walk:
    """A walk through a reply, from mark to mark; the objects behind marks are stepped over whole."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.called = False
        self.begun: tuple[int, int] | None = None
        """Start of a call of fields that is not closed yet, and the length of its first field."""
        self.attempts = _ATTEMPTS

    def parts(self) -> Iterator[Part]:
        """Give the parts, each when its end is known."""
        position = 0
        while mark := _MARK.search(self.text, position):
            position = mark.end()
            for part in self._parts_at(mark):
                yield part
                position = max(position, part.end)
        yield from self._close(len(self.text))

    def _parts_at(self, mark: re.Match[str]) -> Iterator[Part]:
        kind = mark.lastgroup
        if kind in ("action", "model"):
            yield from self._close(mark.start())
        if kind in ("action", "input"):
            self.called = True
            self.begun = self.begun or (mark.start(), len(mark[0]))
        if kind in ("input", "given"):
            yield from self._arguments(mark.end())
        elif kind == "observed" and self.called:
            yield from self._close(mark.start())
            yield self._observation(mark)
        elif kind == "call":
            yield from self._tagged(mark)
        elif kind == "result" and self.called:
            closed = _RESULT_END.search(self.text, mark.end())
            yield Part("observation", mark.start(), closed.end() if closed else len(self.text), len(mark[0]))
        elif kind == "turn":
            following = _NEXT_REPLY.search(self.text, mark.end())
            yield Part("observation", mark.start(), following.end() if following else len(self.text), len(mark[0]))
        elif kind == "bare":
            yield from self._bare(mark)

    def _close(self, end: int) -> Iterator[Part]:
        if self.begun is not None:
            yield Part("call", self.begun[0], end, self.begun[1])
            self.begun = None

    def _object(self, start: int) -> tuple[dict[str, Any], int, int] | None:
        """Read the object at ``start`` (or in a Markdown fence there): the object, where it begins and where it ends."""
        fence = _FENCE.match(self.text, start)
        begin = fence.end() if fence else start
        if not self.attempts or not self.text.startswith("{", begin):
            return None
        found = read_object(self.text, begin)
        if found is None:
            self.attempts -= 1
            return None
        return found[0], begin, found[1]

    def _value(self, start: int) -> tuple[Any, int] | None:
        """Read the object or list of an observation: field names inside its strings are data."""
        if not self.attempts or not _BRACKET.match(self.text, start):
            return None
        found = read_value(self.text, start)
        self.attempts -= found is None
        return found

    def _arguments(self, start: int) -> Iterator[Part]:
        """Give a field's object, and the call that ends with it."""
        found = self._object(start)
        if found is not None:
            yield Part("arguments", found[1], found[2])
            yield from self._close(self._line_end(found[2]))

    def _observation(self, mark: re.Match[str]) -> Part:
        self.called = False
        value = self._value(mark.end())
        following = _MODEL_FIELD.search(self.text, value[1] if value else mark.end())
        return Part("observation", mark.start(), following.start() if following else len(self.text), len(mark[0]))

    def _tagged(self, mark: re.Match[str]) -> Iterator[Part]:
        self.called = True
        found = self._object(mark.end())
        if found is not None:
            yield Part("arguments", found[1], found[2])
        tag = _ENDS[mark[0]]
        closed = self.text.find(tag, found[2] if found else mark.end())
        end = self._line_end(closed + len(tag)) if closed >= 0 else len(self.text)
        yield Part("call", mark.start(), end, len(mark[0]))

    def _bare(self, mark: re.Match[str]) -> Iterator[Part]:
        found = self._object(mark.end() - 1)
        if found is None:
            return
        inner = found[0].get("function", found[0])
        if isinstance(inner, dict) and "name" in inner and not inner.keys().isdisjoint(("parameters", "arguments")):
            yield Part("arguments", found[1], found[2])
            yield Part("call", mark.start(), self._line_end(found[2]))

    def _line_end(self, position: int) -> int:
        """Give where a call's line ends: behind its fence and its line end."""
        found = _LINE_END.match(self.text, position)
        return found.end() if found else position
