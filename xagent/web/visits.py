"""Visitors' states, kept in the server's memory: found again after a refresh, told apart by ids that nobody can guess."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

MOST_VISITS = 200
LONGEST_ABSENCE = 12 * 3600.0
"""Seconds without a sign of a visitor after which the state is forgotten."""


class Closable(Protocol):
    """A state that may be busy, and can be ended."""

    @property
    def running(self) -> bool:
        """Whether a model works for it."""

    def stop(self) -> None:
        """End what runs."""


State = TypeVar("State", bound=Closable)


class Visits(Generic[State]):
    """States by id. Bounded in number and age; what goes is stopped first. Safe to use from many threads.

    Args:
        most: so many are kept; the one longest unseen goes first, those whose model works last.
        longest_absence: seconds after which an unseen state goes.
        clock: gives seconds.
    """

    def __init__(
        self,
        most: int = MOST_VISITS,
        longest_absence: float = LONGEST_ABSENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most, self._longest_absence, self._clock = most, longest_absence, clock
        self._states: dict[str, tuple[float, State]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._states)

    def open(self, state: State) -> str:
        """Keep the state of a new visitor; give the visit's id, 192 bits drawn by the system."""
        identifier = secrets.token_urlsafe(24)
        with self._lock:
            leaving = self._take_out_absent()
            while len(self._states) >= self._most:
                leaving.append(self._take_out_longest_unseen())
            self._states[identifier] = (self._clock(), state)
        _stop(leaving)
        return identifier

    def find(self, identifier: str | None) -> State | None:
        """Give the state of a visit and note the sign of life; None where there is no such visit (any more)."""
        with self._lock:
            leaving = self._take_out_absent()
            found = self._states.get(identifier) if identifier else None
            if identifier and found:
                self._states[identifier] = (self._clock(), found[1])
        _stop(leaving)
        return found[1] if found else None

    def _take_out_absent(self) -> list[State]:
        oldest = self._clock() - self._longest_absence
        absent = [identifier for identifier, (seen, _) in self._states.items() if seen < oldest]
        return [self._states.pop(identifier)[1] for identifier in absent]

    def _take_out_longest_unseen(self) -> State:
        identifier = min(self._states, key=lambda one: (self._states[one][1].running, self._states[one][0]))
        return self._states.pop(identifier)[1]


def _stop(states: list[State]) -> None:
    for state in states:
        state.stop()
