"""What the server's rooms share: the engine, the settings, and how many replies run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from xagent.inference.engine import Engine
from xagent.serving.errors import ApiError
from xagent.serving.metrics import Metrics

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class ServerSettings:
    """How a server behaves.

    Attributes:
        model_name: what clients call the model; an adapter is called by its own name.
        api_key: what they must send as ``Authorization: Bearer ...``; None: nothing is asked for.
        hosts: the names that a request's ``Host`` may have, which keeps web pages out that let a name of their own point here
            (DNS rebinding); None: any.
        origins: web pages' origins that may call, besides the server's own, such as ``https://chat.example.org``.
        max_replies: so many replies are in the making at once; what comes above gets 429.
        max_body: bytes that a request may have.
        temperature, top_p: where a request does not say.
        max_tokens: the same; a reply also ends where the context does.
        stop_words: end every reply and stay part of it, as with SWIFT's ``--stop_words``: a client appends an observation
            behind. (A request's own ``stop`` never stays, as with OpenAI.)
        drain_seconds: replies in the making get so long to end when the server is told to; then they end with an error.
    """

    model_name: str
    api_key: str | None = None
    hosts: frozenset[str] | None = LOOPBACK
    origins: tuple[str, ...] = ()
    max_replies: int = 128
    max_body: int = 4 << 20
    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 2048
    stop_words: tuple[str, ...] = ()
    drain_seconds: float = 30.0


@dataclass
class Service:
    """One running server.

    Attributes:
        engine, settings: what runs the model, and how the server behaves.
        draining: it was told to end: nothing new is begun.
        waiting: how each request that waits for replies is told that they won't come.
    """

    engine: Engine
    settings: ServerSettings
    metrics: Metrics = field(default_factory=Metrics)
    started: int = field(default_factory=lambda: int(time.time()))
    draining: bool = False
    running: int = 0
    waiting: set[Callable[[ApiError], None]] = field(default_factory=set)

    def give_up(self) -> None:
        """Tell all that still wait for replies that the server ends without them. In the event loop's thread."""
        reason = ApiError(503, "the server ended before the reply did", code="draining", retry_after=10)
        for tell in list(self.waiting):
            tell(reason)

    def adapter_of(self, model: str) -> str | None:
        """Give the adapter that a request means; None for the model itself.

        Raises:
            ApiError: no model is called so.
        """
        if model == self.settings.model_name:
            return None
        if model in self.engine.adapters:
            return model
        known = ", ".join((self.settings.model_name, *self.engine.adapters))
        raise ApiError(404, f"there is no model {model[:200]!r}; there are: {known}", "model", "model_not_found")

    def take_slots(self, number: int) -> None:
        """Begin so many replies; all of them, or none.

        Raises:
            ApiError: too many are in the making (429), or so many never are (400).
        """
        if number > self.settings.max_replies:
            message = f"the request asks for {number} replies; this server makes at most {self.settings.max_replies} at once"
            raise ApiError(400, message, "n")
        if self.running + number > self.settings.max_replies:
            message = (
                f"{self.running} replies are in the making, {number} more would be too many (limit {self.settings.max_replies})"
            )
            raise ApiError(429, f"{message}; try again in a moment", code="queue_full", retry_after=1)
        self.running += number
        self.metrics.running.set(self.running)

    def free_slots(self, number: int) -> None:
        """Say that so many replies have ended."""
        self.running -= number
        self.metrics.running.set(self.running)
