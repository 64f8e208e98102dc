"""A reply that is led: the model begins as it likes, and where it would say something else it goes on behind a given text."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace

from xagent.inference.engine import Delta, Engine, GenerationRequest, Grammar, Reply, ReplyStream


@dataclass(frozen=True)
class Lead:
    """What a reply is led to.

    Attributes:
        until: the words at which the model's own beginning ends; they are not shown. It also ends where the model does.
        text: what stands there instead, at the beginning of a line.
        prompt_ids: gives the prompt that ends with so much of the reply.
        grammar: what all that follows the text must be.
    """

    until: tuple[str, ...]
    text: str
    prompt_ids: Callable[[str], Sequence[int]]
    grammar: Grammar | None = None


class LedReplyStream:
    """A reply in two requests to an engine, read as one. See :class:`xagent.inference.engine.ReplyStream`.

    The given text is part of its text, and counts as no token. A reply is not led where its beginning met one of the request's
    own stop words, was cut or cancelled. To be read in one thread; ``cancel`` is for any.

    Args:
        engine: runs the model. request: what was asked, up to where the reply begins. lead: where the reply is led to.

    Raises:
        XAgentError: the engine refuses the request.
    """

    def __init__(self, engine: Engine, request: GenerationRequest, lead: Lead) -> None:
        self._engine, self._request, self._lead = engine, request, lead
        self._lock = threading.Lock()
        self._cancelled = False
        self._reply: Reply | None = None
        self._part: ReplyStream = engine.submit(replace(request, stop=(*request.stop, *lead.until)))

    def __iter__(self) -> Iterator[Delta]:
        """Give the pieces, and end when the reply does.

        Raises:
            XAgentError: the engine could not go on.
        """
        self._reply = yield from self._pieces()

    def cancel(self) -> None:
        """End the reply now; one that has ended stays as it is."""
        with self._lock:
            self._cancelled = True
            self._part.cancel()

    def reply(self) -> Reply:
        """Give the whole reply; what was not read yet is read.

        Raises:
            XAgentError: the engine could not go on.
        """
        if self._reply is None:
            for _ in self:
                pass
        assert self._reply is not None
        return self._reply

    def _pieces(self) -> Generator[Delta, None, Reply]:
        yield from self._part
        begun = self._part.reply()
        if begun.finish_reason != "stop" or begun.stopped_by in self._request.stop:
            return begun
        given = self._given(begun.text)
        request = self._request_behind(begun, given)
        if request is None:
            return replace(begun, finish_reason="length", stopped_by=None)
        if not self._go_on(request):
            return replace(begun, finish_reason="cancelled", stopped_by=None)
        yield Delta(given)
        yield from self._part
        rest = self._part.reply()
        return replace(
            rest,
            text=begun.text + given + rest.text,
            prompt_tokens=begun.prompt_tokens,
            new_tokens=begun.new_tokens + rest.new_tokens,
            logprobs=begun.logprobs + rest.logprobs,
        )

    def _given(self, begun: str) -> str:
        before = begun.rstrip(" \t")
        return self._lead.text if not before or before.endswith("\n") else f"\n{self._lead.text}"

    def _request_behind(self, begun: Reply, given: str) -> GenerationRequest | None:
        """Give what asks for the rest; None where the tokens are used up."""
        prompt_ids, room = tuple(self._lead.prompt_ids(begun.text + given)), self._request.max_new_tokens - begun.new_tokens
        context = self._engine.context
        if room < 1 or (context is not None and len(prompt_ids) >= context):
            return None
        return replace(self._request, prompt_ids=prompt_ids, max_new_tokens=room, grammar=self._lead.grammar)

    def _go_on(self, request: GenerationRequest) -> bool:
        """Ask for the rest, unless the reply was cancelled."""
        with self._lock:
            if not self._cancelled:
                self._part = self._engine.submit(request)
            return not self._cancelled
