"""One model's side of a conversation, worked on in a thread so that no refresh and no slow page disturbs it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from xagent.agent.events import Ended, Event
from xagent.agent.session import AgentSession
from xagent.errors import XAgentError
from xagent.web.desk import ObservationDesk
from xagent.web.exchange import Exchange, advance, reopened
from xagent.web.settings import Generation

_LOG = logging.getLogger("xagent")


class Pane:
    """A session, and what is on show of it. ``exchanges`` may be read from any thread at any time.

    Args:
        name: of the model, as it is shown.
        session: of this pane alone.
        desk: where the calls wait whose observations are typed in; None where tools are run.
    """

    def __init__(self, name: str, session: AgentSession, desk: ObservationDesk | None = None) -> None:
        self.name, self.session, self.desk = name, session, desk
        self.exchanges: tuple[Exchange, ...] = ()
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Whether an answer is on its way."""
        return self._thread is not None and self._thread.is_alive()

    def ask(self, question: str) -> None:
        """Begin to answer; only while nothing runs."""
        self._begin(Exchange(question, position=len(self.session.history)), self.session.ask(question))

    def retry(self) -> None:
        """Answer the last question anew; only while nothing runs."""
        last = self.exchanges[-1]
        self.edit(len(self.exchanges) - 1, last.question)

    def edit(self, index: int, question: str) -> None:
        """Answer another question in place of one, and forget what came after it; only while nothing runs."""
        position = self.exchanges[index].position
        self.exchanges = self.exchanges[:index]
        if position < len(self.session.history):
            self.session.edit(position, question)
            self._begin(Exchange(question, position=position), self.session.retry())
        else:  # nothing was said to it, so that the session took it back
            self.ask(question)

    def observe(self, text: str) -> None:
        """Give the observation that the model waits for; only while nothing runs."""
        self._begin(reopened(self.exchanges[-1], text), self.session.observe(text), goes_on=True)

    def tune(self, generation: Generation) -> None:
        """Draw replies in another way from the next question on."""
        chosen = asdict(generation)
        self.session.max_turn = chosen.pop("max_turn")
        self.session.sampling = replace(self.session.sampling, **chosen)

    def stop(self) -> None:
        """End the answer that is on its way, if any."""
        self.session.stop()
        if self.desk is not None:
            self.desk.dismiss()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until nothing runs; False where that took longer."""
        if self._thread is not None:
            self._thread.join(seconds)
        return not self.running

    def record(self) -> dict[str, Any]:
        """Give the conversation as a training record."""
        return self.session.to_record()

    def system_text(self) -> str:
        """Give what the model reads first: the tools in the protocol's words, and the conversation's own system text."""
        specs = self.session.box.specs
        if not specs:
            return self.session.system
        return "\n\n".join(text for _, text in self.session.protocol.system_turns(specs, self.session.system))

    def thought_of(self, exchange: Exchange) -> str:
        """Give the thought that led to an answer; empty where there is none."""
        return self.session.protocol.parse(exchange.last_reply).reasoning or ""

    def _begin(self, exchange: Exchange, events: Iterator[Event], goes_on: bool = False) -> None:
        assert not self.running, "an answer is on its way"
        self.exchanges = (*(self.exchanges[:-1] if goes_on else self.exchanges), exchange)
        self._thread = threading.Thread(target=self._follow, args=(events,), name=f"pane {self.name}", daemon=True)
        self._thread.start()

    def _follow(self, events: Iterator[Event]) -> None:
        try:
            for event in events:
                self._show(advance(self.exchanges[-1], event))
        except XAgentError as error:
            self._show(replace(self.exchanges[-1], fault=str(error)))
        except Exception as error:
            _LOG.exception("the answer of %s broke off", self.name)
            self._show(
                replace(self.exchanges[-1], fault=f"{type(error).__name__} (a fault of xagent; the server's log has more)")
            )
        if not self.exchanges[-1].is_over:
            self._show(advance(self.exchanges[-1], Ended("the session ended without a word", "stopped")))

    def _show(self, exchange: Exchange) -> None:
        self.exchanges = (*self.exchanges[:-1], exchange)
