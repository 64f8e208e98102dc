"""How the processes of one training tell each other, across machines, that one of them failed.

Each watches the key-value store through which torch's process group meets. Who fails first says so there and shows its message;
the others end within a second or two, without messages of their own about the partner that they lost.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from xagent.errors import XAgentError

PATIENCE_SECONDS = 600.0
"""How long processes wait for each other at the start, and how long the store is kept for them at the end."""

_LOOK_SECONDS = 1.0
_STILL_SECONDS = 10.0
"""Who did not look for so long is taken to be gone."""


@dataclass(frozen=True)
class Failure:
    """What ended a training.

    Attributes:
        kind: ``fault`` (the user's), ``crash`` (ours) or ``lost`` (another process ended without a word).
        text: what is to be shown.
        machine: which machine's process it was, counted from 0.
    """

    kind: str
    text: str
    machine: int


class Meeting:
    """One process's part in a training of several.

    Args:
        store: torch's store, which all processes reach.
        world: processes in all.
        guests: those of them that don't keep the store alive.
        keeps_store: whether the store ends with this process (or with the one that started it).
        machine: which machine this process runs on, counted from 0.
        when_told: is called in a thread with another process's failure, None where the store is gone; gives the exit code with
            which this process ends then.
    """

    def __init__(
        self,
        store: Any,
        *,
        world: int,
        guests: int,
        keeps_store: bool,
        machine: int,
        when_told: Callable[[Failure | None], int],
    ) -> None:
        from torch.distributed import PrefixStore

        self._store = PrefixStore("xagent", store)
        self._world, self._guests, self._keeps_store, self._machine = world, guests, keeps_store, machine
        self._when_told = when_told
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._store.add("arrived", 1)
        threading.Thread(target=self._watch, name="xagent-meeting", daemon=True).start()

    def fail(self, kind: str, text: str, show: Callable[[], None]) -> None:
        """Tell the others that this process fails, and show its message unless it follows from another's.

        Two different faults of the user's are both shown. What follows from another's failure is answered as that one is.
        """
        with self._lock:
            self._ended.set()
            first = None
            with suppress(RuntimeError):  # the store is gone
                if self._store.add("failures", 1) == 1:
                    self._store.set("first", json.dumps([kind, text, self._machine]))
                else:
                    first = self._first()
            if first is None or (kind == "fault" and first.text != text):
                show()
                sys.stderr.flush()
            else:
                self._when_told(first)
            self._depart()

    def end(self) -> None:
        """End well: watch no more; who keeps the store waits for the others."""
        with self._lock:
            if not self._ended.is_set():
                self._ended.set()
                self._depart()

    def leave(self) -> None:
        """Watch no more, and wait for nobody."""
        self._ended.set()

    def claim(self, name: str) -> bool:
        """Say whether this process is the first to ask for something that only one may have."""
        return bool(self._store.add(f"claim/{name}", 1) == 1)

    def _first(self) -> Failure:
        return Failure(*json.loads(self._store.get("first")))

    def _watch(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            with self._lock:
                if self._ended.is_set():
                    return
                try:
                    self._store.add("looks", 1)
                    told = self._first() if self._store.add("failures", 0) else None
                except RuntimeError:
                    self._end_process(None)
                else:
                    if told is not None:
                        self._end_process(told)

    def _end_process(self, told: Failure | None) -> None:
        code = self._when_told(told)
        sys.stdout.flush()
        sys.stderr.flush()
        self._depart()
        os._exit(code)

    def _depart(self) -> None:
        """Say that this process goes; who keeps the store stays until the others have gone, or show no life any more."""
        with suppress(RuntimeError):
            if not self._keeps_store:
                self._store.add("gone", 1)
                return
            deadline, looks, since = time.monotonic() + PATIENCE_SECONDS, -1, time.monotonic()
            while self._store.add("gone", 0) < self._guests and time.monotonic() < deadline:
                before, looks = looks, self._store.add("looks", 0)
                if looks != before or self._store.add("arrived", 0) < self._world:
                    since = time.monotonic()
                elif time.monotonic() - since > _STILL_SECONDS:
                    return
                time.sleep(0.1)


def open_store(addr: str, port: int, *, keep: bool, rank: int, world: int) -> Any:
    """Open the store at an address, or reach it.

    Args:
        addr, port: where it is.
        keep: whether this process opens it.
        rank, world: of this process, and of how many.

    Raises:
        XAgentError: the port is taken, or the store can't be reached.
    """
    from torch.distributed import TCPStore

    try:
        return TCPStore(addr, port, world, keep, timedelta(seconds=PATIENCE_SECONDS), wait_for_workers=False)
    except RuntimeError as error:
        if keep:
            advice = "choose another port with MASTER_PORT, and see that MASTER_ADDR is the machine of process 0"
            raise XAgentError(f"process 0 can't listen at {addr}:{port}: {_headline(error)}; {advice}") from error
        raise XAgentError(
            f"process {rank} of {world} can't reach process 0 at {addr}:{port}: {_headline(error)}; see that process 0 was "
            "started and that this port is open between the machines, or choose others with MASTER_ADDR and MASTER_PORT"
        ) from error


def _headline(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
