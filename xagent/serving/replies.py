"""Replies of an engine, which blocks its threads, as the event loop sees them."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import AsyncIterator, Sequence

from xagent.errors import ConfigError, EngineUnavailable, XAgentError
from xagent.inference.engine import Delta, GenerationRequest, Grammar, Reply, ReplyStream
from xagent.inference.led_reply import Lead, LedReplyStream
from xagent.serving.errors import ApiError
from xagent.serving.parameters import CompletionParameters, Parameters
from xagent.serving.service import Service

_LOG = logging.getLogger(__name__)
Item = tuple[int, Delta | Reply]
"""Which reply, and a piece of it or all of it."""


class Replies:
    """The replies to one request. Close it, however it ends: what still runs is cancelled then."""

    def __init__(self, service: Service, number: int) -> None:
        self._service = service
        self._loop = asyncio.get_running_loop()
        self._items: asyncio.Queue[tuple[int, Delta | Reply | BaseException]] = asyncio.Queue()
        self._streams: list[ReplyStream] = []
        self._began = time.monotonic()
        service.take_slots(number)
        self._slots = number
        self._open = number
        self._began_to_speak = False
        self._first_of_prompts: set[int] = set()
        service.waiting.add(self._give_up)

    async def begin(self, requests: Sequence[GenerationRequest], lead: Lead | None = None) -> None:
        """Hand the requests to the engine; with ``lead`` the replies are led.

        Raises:
            ApiError: the engine refuses one.
        """
        prompts = [request.prompt_ids for request in requests]
        self._first_of_prompts = {index for index, ids in enumerate(prompts) if index == 0 or ids is not prompts[index - 1]}
        for index, request in enumerate(requests):
            try:
                stream = await asyncio.to_thread(self._submit, request, lead)
            except ConfigError as error:
                param = None if request.json_schema is None else "response_format"
                raise ApiError(400, str(error), param) from error
            except XAgentError as error:
                raise _unavailable(f"the engine takes no requests: {error}") from error
            self._streams.append(stream)
            threading.Thread(target=self._follow, args=(index, stream), name="xagent-reply", daemon=True).start()

    async def items(self) -> AsyncIterator[Item]:
        """Give the pieces of all replies as they come; each reply's last item is the whole of it.

        Raises:
            ApiError: the engine failed or is gone, found that the JSON schema can't be followed, or the server ends.
        """
        while self._open:
            index, item = await self._items.get()
            if isinstance(item, BaseException):
                self._open = 0
                raise _as_told(item) from item
            metrics = self._service.metrics
            if isinstance(item, Reply):
                self._open -= 1
                metrics.new_tokens.inc(item.new_tokens)
                metrics.prompt_tokens.inc(item.prompt_tokens if index in self._first_of_prompts else 0)
                metrics.seconds.observe(time.monotonic() - self._began)
            elif item.text and self._open:
                self._observe_first()
            yield index, item

    def cancel(self, index: int) -> None:
        """End one reply: what follows is not wanted."""
        self._streams[index].cancel()

    def close(self) -> None:
        """Cancel what still runs and free the places."""
        if self._slots:
            self._service.metrics.cancelled.inc(min(self._open, len(self._streams)))
        for stream in self._streams:
            stream.cancel()
        self._service.free_slots(self._slots)
        self._slots = 0
        self._service.waiting.discard(self._give_up)

    def _give_up(self, reason: ApiError) -> None:
        self._items.put_nowait((0, reason))

    def _submit(self, request: GenerationRequest, lead: Lead | None) -> ReplyStream:
        engine = self._service.engine
        return engine.submit(request) if lead is None else LedReplyStream(engine, request, lead)

    def _observe_first(self) -> None:
        if self._began_to_speak:
            return
        self._began_to_speak = True
        self._service.metrics.first_token.observe(time.monotonic() - self._began)

    def _follow(self, index: int, stream: ReplyStream) -> None:
        last: Reply | BaseException
        try:
            for delta in stream:
                self._put(index, delta)
            last = stream.reply()
        except BaseException as fault:
            last = fault
        self._put(index, last)

    def _put(self, index: int, item: Delta | Reply | BaseException) -> None:
        try:
            self._loop.call_soon_threadsafe(self._items.put_nowait, (index, item))
        except RuntimeError:
            pass  # the loop was closed: nobody waits any more


def _as_told(fault: BaseException) -> ApiError:
    """Give what the client is told of why a reply does not come, and tell the log."""
    if isinstance(fault, ApiError):
        return fault
    if isinstance(fault, EngineUnavailable):
        _LOG.warning("%s", fault)
        return _unavailable(str(fault))
    if not isinstance(fault, XAgentError) or fault.__cause__ is not None:  # the model's own fault, told in words
        _LOG.error("the engine failed", exc_info=fault)
    if isinstance(fault, ConfigError):
        return ApiError(400, str(fault), "response_format")
    message = str(fault) if isinstance(fault, XAgentError) else "the engine failed; its log says why"
    return ApiError(500, message, code="engine_failed")


def _unavailable(message: str) -> ApiError:
    return ApiError(503, message, code="engine_unavailable", retry_after=10)


def generation_requests(
    service: Service,
    parameters: Parameters,
    prompts: Sequence[tuple[int, ...]],
    most: int | None,
    logprobs: int | None,
    schema: str | None = None,
    grammar: Grammar | None = None,
) -> list[GenerationRequest]:
    """Give what the engine is asked: ``n`` replies to each prompt, each with a seed of its own.

    Args:
        service: the server.
        parameters: the request's.
        prompts: token ids.
        most: how many tokens a reply may have, None: what the settings say.
        logprobs: see :class:`GenerationRequest`.
        schema, grammar: its ``json_schema`` and ``grammar``.

    Raises:
        ApiError: the model is unknown, a prompt fills its context, or a value is out of range.
    """
    settings, context = service.settings, service.engine.context
    adapter = service.adapter_of(parameters.model)
    stop = tuple(dict.fromkeys((*parameters.stop_words(), *settings.stop_words)))
    temperature = settings.temperature if parameters.temperature is None else parameters.temperature
    top_p = settings.top_p if parameters.top_p is None else parameters.top_p
    first = secrets.randbits(31) if parameters.seed is None else parameters.seed % 2**63
    made = []
    for ids in prompts:
        if context is not None and len(ids) >= context:
            message = f"the prompt has {len(ids)} tokens, and the model's context holds {context}, reply included; shorten it"
            param = "prompt" if isinstance(parameters, CompletionParameters) else "messages"
            raise ApiError(400, message, param, "context_length_exceeded")
        room = most or settings.max_tokens
        room = room if context is None else min(room, context - len(ids))
        for number in range(parameters.n):
            seed = (first + number) % 2**63
            try:
                made.append(GenerationRequest(ids, room, temperature, top_p, seed, stop, logprobs, adapter, schema, grammar))
            except ConfigError as error:
                raise ApiError(400, str(error)) from error
    return made


def kept_stop_word(service: Service, reply: Reply) -> str:
    """Give the stop word that a reply ended with where it stays part of it, else nothing."""
    return reply.stopped_by if reply.stopped_by in service.settings.stop_words and reply.stopped_by else ""
