"""Requests that come and go share a model's forward passes: one thread owns the model and runs its steps.

Between two steps requests join, leave and are cancelled. Prompts are read in pieces, in turn, so that a long one stalls nobody.
Knows token ids only; text is made in :mod:`xagent.inference.local`.
"""

from __future__ import annotations

import atexit
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch

from xagent.model.adapters import Adapters
from xagent.model.generation_batch import (
    Batch,
    Chosen,
    Constraint,
    Reading,
    Row,
    Sampling,
    batch_size_of,
    context_of,
    generating,
)
from xagent.model.generation_cache import Memory, can_batch, row_of

EndReason = Literal["stop", "length", "cancelled"]
"""``stop``: a stop token, or the listener's word; ``length``: the limit."""

MEMORY_BYTES = 512 * 2**20
READ_TOKENS = 256
_WORTH_KEEPING = 64
"""A prompt is kept as soon as it was read where so many of its tokens were new: others may begin alike."""


class Listener(Protocol):
    """Who hears of a request's tokens. Called in the scheduler's thread: brief, and never waiting."""

    def on_token(self, chosen: Chosen) -> bool:
        """Take a token of the reply, which a stop token never is. True ends the reply."""

    def on_end(self, reason: EndReason, new_tokens: int) -> None:
        """Hear that the reply ended, after so many tokens, the one that ended it included."""

    def on_fault(self, fault: BaseException) -> None:
        """Hear that the reply can't be gone on with, and why."""


@dataclass(eq=False)
class Ticket(Row):
    """A request on its way."""

    listener: Listener = field(kw_only=True)
    adapter: str | None = field(kw_only=True)
    cancelled: bool = False
    told_to_stop: bool = False

    @property
    def going(self) -> bool:
        """Whether it gets more tokens."""
        return not self.told_to_stop and super().going

    @property
    def end_reason(self) -> EndReason:
        """Why it ended."""
        if self.cancelled:
            return "cancelled"
        return "stop" if self.finished or self.told_to_stop else "length"


class Scheduler:
    """Runs a model for requests of many threads, in a thread of its own, from the first request until :meth:`close`.

    A greedy reply is that of :class:`xagent.model.generation.Generator`, and what is drawn depends on the request's seed and not
    on what else runs: both up to rounding between equally likely tokens, which is rare in fp32 and not so rare in 16 bits.
    Requests of different adapters never share a step.

    Args:
        model: any causal language model of transformers, in eval mode from now on.
        adapters: switches its adapters; None where it has none to choose from.
        max_batch_size: how many requests run at a time at most, others wait. Models whose layers keep more than keys and values
            (recurrent ones) run one at a time.
        memory_bytes: how much is kept of past prompts' keys and values, so that the next turn of a conversation, or a prompt
            that begins alike, computes only what is new. 0 keeps none.
        read_tokens: how long a piece of a prompt is at most; once so many tokens were read, in one piece or several, a step
            follows. So fewer than twice as many are read between two steps.

    Raises:
        ConfigError: ``max_batch_size`` is less than 1.
    """

    def __init__(
        self,
        model: Any,
        adapters: Adapters | None = None,
        max_batch_size: int = 16,
        memory_bytes: int = MEMORY_BYTES,
        read_tokens: int = READ_TOKENS,
    ) -> None:
        self.model = model
        self.context = context_of(model)
        self.max_batch_size = batch_size_of(model, max_batch_size)
        together = can_batch(model)
        self.memory = Memory(size=8 * self.max_batch_size if together and memory_bytes > 0 else 0, max_bytes=memory_bytes)
        self._adapters, self._read_tokens = adapters, read_tokens if together else None
        self._changed = threading.Condition()
        self._waiting: deque[Ticket] = deque()
        self._reading: deque[Reading[Ticket]] = deque()
        self._batches: dict[str | None, Batch[Ticket]] = {}
        self._running = 0
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether nothing can be asked any more."""
        return self._closed

    @property
    def load(self) -> tuple[int, int]:
        """How many requests run, and how many wait for a place."""
        with self._changed:
            return self._running, len(self._waiting)

    def submit(
        self,
        prompt: Sequence[int],
        listener: Listener,
        max_new_tokens: int,
        stop_ids: frozenset[int],
        sampling: Sampling | None = None,
        logprobs: int | None = None,
        adapter: str | None = None,
        constraint: Constraint | None = None,
    ) -> Ticket:
        """Ask for the continuation of a prompt; the listener hears of it.

        Args:
            prompt: at least one token, and fewer than the model's context.
            max_new_tokens: the reply is cut after so many, or where the context ends.
            stop_ids: tokens that end it. sampling: how they are chosen, greedy where None.
            logprobs: of how many likeliest tokens each time, None tells none.
            adapter: one of the adapters' names; None is the model as it was loaded.
            constraint: says which tokens may be chosen, for this request alone.

        Raises:
            RuntimeError: the scheduler was closed.
        """
        sampling = sampling or Sampling()
        limit = max_new_tokens if self.context is None else min(max_new_tokens, self.context - len(prompt))
        assert len(prompt) > 0 < limit, "an empty prompt, or one that fills the context"
        stream = sampling.stream()
        ticket = Ticket(list(prompt), limit, stop_ids, sampling, stream, logprobs, constraint, listener=listener, adapter=adapter)
        with self._changed:
            if self._closed:
                raise RuntimeError("the scheduler was closed")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)
                self._thread.start()
                atexit.register(self.close)
            self._waiting.append(ticket)
            self._changed.notify()
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """End a request before the next step; one that has ended stays as it is."""
        ticket.cancelled = True
        with self._changed:
            self._changed.notify()

    def close(self) -> None:
        """Cancel all requests, end the thread and let go of the model."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        atexit.unregister(self.close)
        self.model = self._adapters = None
        self.memory.clear()

    def _run(self) -> None:
        with generating(self.model):
            while self._has_work():
                try:
                    self._turn()
                except Exception as fault:  # whatever it was, nobody waits for ever and the thread goes on
                    self._fail(self._tickets(), fault)
                    self._forget()
        for ticket in [*self._tickets(), *self._waiting]:
            ticket.listener.on_end("cancelled", len(ticket.new))
        self._waiting.clear()
        self._forget()

    def _forget(self) -> None:
        """Let go of all that is read or continued."""
        self._reading.clear()
        self._batches.clear()
        with self._changed:
            self._running = 0

    def _has_work(self) -> bool:
        """Wait for work; False when the scheduler was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting or self._running)
            return not self._closed

    def _tickets(self) -> list[Ticket]:
        """Give those that are read or continued."""
        rows = [row for batch in self._batches.values() for row in batch.rows]
        return [reading.row for reading in self._reading] + rows

    def _turn(self) -> None:
        """Let requests leave and join, read some of the prompts, and give each of the others a token."""
        self._leave()
        self._admit()
        self._read()
        for adapter, batch in list(self._batches.items()):
            if batch.rows:
                self._step(adapter, batch)
            else:
                del self._batches[adapter]

    def _leave(self) -> None:
        """Take out what was cancelled."""
        with self._changed:
            never_ran = [ticket for ticket in self._waiting if ticket.cancelled]
            for ticket in never_ran:
                self._waiting.remove(ticket)
        gone = []
        for reading in [reading for reading in self._reading if reading.row.cancelled]:
            self._reading.remove(reading)
            gone.append(reading.row)
        for batch in self._batches.values():
            for ticket in [ticket for ticket in batch.rows if ticket.cancelled]:
                self._drop(batch, ticket)
                gone.append(ticket)
        for ticket in never_ran:
            ticket.listener.on_end("cancelled", 0)
        for ticket in gone:
            self._end(ticket)

    def _admit(self) -> None:
        """Begin with what waits, as far as there is a place."""
        with self._changed:
            while self._waiting and self._running < self.max_batch_size:
                self._reading.append(Reading(self.model, self._waiting.popleft()))
                self._running += 1

    def _read(self) -> None:
        """Read prompts, a piece of each in turn, until a step is due. The last piece is not cut for it: two take longer."""
        read = 0
        while self._reading and (self._read_tokens is None or read < self._read_tokens):
            reading = self._reading.popleft()
            try:
                self._use(reading.row.adapter)
                if reading.position == 0:
                    reading.start_from(*self.memory.find(reading.row.prompt, reading.row.adapter))
                read += reading.read(self._read_tokens)
            except Exception as fault:
                self._fail([reading.row], fault)
                continue
            if reading.done:
                self._begin(reading)
            else:
                self._reading.append(reading)

    def _begin(self, reading: Reading[Ticket]) -> None:
        """Let a request join the others once its prompt was read."""
        ticket = reading.row
        if self.memory.size and reading.position - reading.known >= _WORTH_KEEPING:
            self.memory.keep(ticket.prompt, row_of(reading.cache, 0, len(ticket.prompt)), ticket.adapter)
        if self._goes_on(ticket):
            self._batches.setdefault(ticket.adapter, Batch(self.model)).join(reading, self._running)

    def _step(self, adapter: str | None, batch: Batch[Ticket]) -> None:
        """Give each request of an adapter a token."""
        tickets = list(batch.rows)
        try:
            self._use(adapter)
            batch.step()
        except Exception as fault:
            del self._batches[adapter]
            self._fail(tickets, fault)
            return
        for ticket in tickets:
            if not self._goes_on(ticket):
                self._drop(batch, ticket)

    def _goes_on(self, ticket: Ticket) -> bool:
        """Tell a request's listener of its new token, and of its end where this is it."""
        try:
            if ticket.constraint is not None:
                ticket.constraint.check()
            if not ticket.finished and ticket.last is not None:
                ticket.told_to_stop = ticket.listener.on_token(ticket.last)
        except Exception as fault:
            ticket.told_to_stop = True
            self._fail([ticket], fault)
            return False
        if not ticket.going:
            self._end(ticket)
        return ticket.going

    def _drop(self, batch: Batch[Ticket], ticket: Ticket) -> None:
        if self.memory.size:
            self.memory.keep(ticket.ids_computed, batch.row_of(ticket), ticket.adapter)
        batch.drop(ticket)

    def _end(self, ticket: Ticket) -> None:
        with self._changed:
            self._running -= 1
        ticket.listener.on_end(ticket.end_reason, len(ticket.new) + ticket.finished)

    def _fail(self, tickets: list[Ticket], fault: Exception) -> None:
        if isinstance(fault, torch.OutOfMemoryError):
            self.memory.clear()
            torch.cuda.empty_cache()
        with self._changed:
            self._running -= len(tickets)
        for ticket in tickets:
            ticket.listener.on_fault(fault)

    def _use(self, adapter: str | None) -> None:
        if self._adapters is not None:
            self._adapters.use(adapter)
