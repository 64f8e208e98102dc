"""What chat completions and text completions share: an identity, replies on their way, and the response, whole or in pieces."""

from __future__ import annotations

import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar, Protocol

from xagent.inference.engine import GenerationRequest, Reply
from xagent.inference.led_reply import Lead
from xagent.serving.parameters import Parameters
from xagent.serving.replies import Replies
from xagent.serving.service import Service


class Told(Protocol):
    """One choice of a response, as it is put together."""

    reply: Reply | None

    def whole(self) -> dict[str, Any]:
        """Give the choice as a response that is not streamed holds it."""


class Completion(ABC):
    """One request, and its replies on their way. Close it, however it ends."""

    PREFIX: ClassVar[str]
    """What its id begins with."""
    KIND: ClassVar[str]
    """OpenAI's ``object`` of the whole response."""
    CHUNK_KIND: ClassVar[str]
    """OpenAI's ``object`` of a streamed piece."""

    def __init__(self, service: Service, parameters: Parameters) -> None:
        self.service = service
        self._model, self._options = parameters.model, parameters.stream_options
        self._identity = f"{self.PREFIX}-{secrets.token_hex(12)}"
        self._created = int(time.time())
        self._prompts = 1
        self._replies: Replies | None = None

    @abstractmethod
    async def begin(self) -> None:
        """Hand the prompts to the engine.

        Raises:
            ApiError: the request can't be answered.
        """

    def close(self) -> None:
        """Cancel what still runs."""
        if self._replies:
            self._replies.close()

    async def whole(self) -> dict[str, Any]:
        """Give the response when all replies have ended."""
        async for _ in self._chunks():
            pass
        return {**self._head(self.KIND), "choices": [choice.whole() for choice in self._told()], "usage": self._usage()}

    async def chunks(self) -> AsyncIterator[dict[str, Any]]:
        """Give the response piece by piece."""
        usage = {"usage": None} if self._options and self._options.include_usage else {}
        head = self._head(self.CHUNK_KIND)
        async for choice in self._chunks():
            yield {**head, "choices": [choice], **usage}
        if usage:
            yield {**head, "choices": [], "usage": self._usage()}

    @abstractmethod
    def _told(self) -> Sequence[Told]:
        """Give the choices, in order."""

    @abstractmethod
    def _chunks(self) -> AsyncIterator[dict[str, Any]]:
        """Give the choices' pieces as they come."""

    async def _submit(self, requests: list[GenerationRequest], lead: Lead | None = None) -> None:
        self._replies = Replies(self.service, len(requests))
        await self._replies.begin(requests, lead)

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self._identity, "object": kind, "created": self._created, "model": self._model}

    def _usage(self) -> dict[str, int]:
        """Count tokens; the replies to one prompt stand together and count it once."""
        told = [choice.reply for choice in self._told() if choice.reply is not None]
        read = sum(reply.prompt_tokens for reply in told[:: len(told) // self._prompts or 1])
        made = sum(reply.new_tokens for reply in told)
        return {"prompt_tokens": read, "completion_tokens": made, "total_tokens": read + made}
