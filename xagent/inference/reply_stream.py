"""A reply on its way from whoever generates its tokens to whoever reads its text."""

from __future__ import annotations

import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator

from xagent.errors import ConfigError, EngineError
from xagent.inference.engine import Delta, FinishReason, GenerationRequest, Reply, TokenLogprob
from xagent.inference.prompting import PromptBuilder
from xagent.inference.text_stream import TextStream
from xagent.model.generation_batch import Chosen


class QueuedReplyStream(ABC):
    """A :class:`xagent.inference.engine.ReplyStream` that is told of tokens in one thread and read in others.

    Who generates calls ``on_token`` for each token and then ``on_end`` or ``on_fault`` once.

    Args:
        request: what was asked. prompts: turns the tokens into text.
    """

    def __init__(self, request: GenerationRequest, prompts: PromptBuilder) -> None:
        self.request, self._prompts = request, prompts
        self._stream = TextStream(prompts.text, request.stop)
        self._text = ""
        self._logprobs: list[TokenLogprob] = []
        self._unshown: list[tuple[int, TokenLogprob]] = []
        self._deltas: queue.SimpleQueue[Delta | None] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._reply: Reply | None = None
        self._fault: EngineError | ConfigError | None = None

    def __iter__(self) -> Iterator[Delta]:
        """Give the pieces, and end when the reply does.

        Raises:
            EngineError: the engine could not go on.
            ConfigError: it turned out that the JSON schema can't be followed.
        """
        while (delta := self._deltas.get()) is not None:
            yield delta
        self._deltas.put(None)
        if self._fault is not None:
            raise self._fault

    @abstractmethod
    def cancel(self) -> None:
        """End the reply now; one that has ended stays as it is."""

    def reply(self) -> Reply:
        """Wait for the end and give the whole reply.

        Raises:
            EngineError: the engine could not go on.
            ConfigError: it turned out that the JSON schema can't be followed.
        """
        self._ended.wait()
        if self._fault is not None:
            raise self._fault
        assert self._reply is not None
        return self._reply

    def on_token(self, chosen: Chosen) -> bool:
        """Take a token; True where it completes a stop word."""
        if chosen.logprob is not None:
            self._unshown.append((self._stream.length, self._logprob(chosen)))
        self._show(self._stream.feed(chosen.token))
        return self._stream.stopped_by is not None

    def on_end(self, reason: FinishReason, new_tokens: int) -> None:
        """Take the end."""
        self._show(self._stream.end())
        stopped_by = self._stream.stopped_by
        why: FinishReason = "stop" if stopped_by is not None else reason
        read = len(self.request.prompt_ids)
        self._reply = Reply(self._text, why, stopped_by, read, new_tokens, tuple(self._logprobs))
        self._finish()

    def on_fault(self, fault: BaseException) -> None:
        """Take the reason why there is no more."""
        if not self._ended.is_set():
            self._fault = self._as_xagent_error(fault)
            self._finish()

    @staticmethod
    def _as_xagent_error(fault: BaseException) -> EngineError | ConfigError:
        if isinstance(fault, EngineError | ConfigError):
            return fault
        error = EngineError(f"the model failed at this request: {type(fault).__name__}: {fault}")
        error.__cause__ = fault
        return error

    def _finish(self) -> None:
        self._ended.set()
        self._deltas.put(None)

    def _show(self, text: str) -> None:
        if not text:
            return
        self._text += text
        shown = [logprob for start, logprob in self._unshown if start < len(self._text)]
        self._unshown = self._unshown[len(shown) :]
        self._logprobs += shown
        self._deltas.put(Delta(text, tuple(shown)))

    def _logprob(self, chosen: Chosen) -> TokenLogprob:
        top = tuple(TokenLogprob(self._token(token), token, value) for token, value in chosen.top)
        return TokenLogprob(self._token(chosen.token), chosen.token, chosen.logprob or 0.0, top)

    def _token(self, token: int) -> str:
        return str(self._prompts.tokenizer.decode([token], skip_special_tokens=False, clean_up_tokenization_spaces=False))


def check_request(request: GenerationRequest, context: int | None, adapters: tuple[str, ...]) -> None:
    """Check what every engine refuses.

    Raises:
        ConfigError: the prompt fills the context, or the adapter is unknown.
    """
    if request.adapter is not None and request.adapter not in adapters:
        known = ", ".join(adapters) or "none was loaded"
        raise ConfigError(f"unknown adapter {request.adapter!r}; known: {known}")
    if context is not None and len(request.prompt_ids) >= context:
        length = len(request.prompt_ids)
        raise ConfigError(f"a prompt of {length} tokens fills the model's context of {context}; shorten the conversation")
