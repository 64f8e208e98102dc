"""Where a person does the tools' work: calls wait on the desk until their observation is typed in."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from xagent.agent.tools import Tool, ToolBox, ToolFault
from xagent.chat.message import ToolSpec

PATIENCE = 3600.0
"""Seconds after which a call that nobody answers is given up."""


@dataclass(frozen=True)
class PendingCall:
    """A call that waits for its observation; ``number`` tells it from earlier ones."""

    number: int
    tool: str
    arguments: Mapping[str, Any]


@dataclass
class _Place:
    call: PendingCall
    answered: threading.Event = field(default_factory=threading.Event)
    observation: str | None = None


class ObservationDesk:
    """Holds the one call of a model that waits for a person. Safe to use from many threads.

    Args:
        patience: seconds after which a call that nobody answers is given up.
    """

    def __init__(self, patience: float = PATIENCE) -> None:
        self.patience = patience
        self._lock = threading.Lock()
        self._place: _Place | None = None
        self._count = 0

    @property
    def pending(self) -> PendingCall | None:
        """The call that waits, None where none does."""
        place = self._place
        return place.call if place is not None else None

    def answer(self, number: int, observation: str) -> bool:
        """Give the observation of a call; False where that call does not wait any more."""
        with self._lock:
            place = self._place
            if place is None or place.call.number != number:
                return False
            place.observation = observation
            place.answered.set()
            self._place = None
            return True

    def dismiss(self) -> None:
        """Let the call that waits, if any, end without an observation."""
        with self._lock:
            if self._place is not None:
                self._place.answered.set()
                self._place = None

    def box(self, specs: Iterable[ToolSpec]) -> ToolBox:
        """Give tools of these names whose every call waits here; arguments are not checked, the person sees to that."""
        return ToolBox(self._tool(spec) for spec in specs)

    def _tool(self, spec: ToolSpec) -> Tool:
        return Tool(spec, lambda arguments: self._wait(spec.name, arguments), timeout=self.patience + 5, checks_itself=True)

    def _wait(self, tool: str, arguments: Mapping[str, Any]) -> str:
        with self._lock:
            if self._place is not None:  # of a loop that was stopped: the new call takes its place
                self._place.answered.set()
            self._count += 1
            place = self._place = _Place(PendingCall(self._count, tool, arguments))
        place.answered.wait(self.patience)
        with self._lock:
            if self._place is place:
                self._place = None
        if place.observation is None:
            raise ToolFault("nobody typed an observation")
        return place.observation
