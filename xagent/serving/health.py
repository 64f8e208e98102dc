"""Whether the engine can be asked, as ``/health`` tells it."""

from __future__ import annotations

import asyncio
import logging
import time

from xagent.inference.engine import Engine

_LOG = logging.getLogger(__name__)
_FRESH_SECONDS = 1.0


class EngineHealth:
    """Looks at an engine once a second at most, however many ask: a look may take seconds, and a thread.

    Args:
        engine: what is looked at.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._looking = asyncio.Lock()
        self._seen: str | None = None
        self._seen_at = float("-inf")

    async def outage(self) -> str | None:
        """Say why the engine can't be asked; None where nothing is known."""
        async with self._looking:
            if time.monotonic() - self._seen_at > _FRESH_SECONDS:
                before, self._seen = self._seen, await asyncio.to_thread(self._engine.outage)
                self._seen_at = time.monotonic()
                if self._seen is not None and before is None:
                    _LOG.warning("%s", self._seen)
            return self._seen
