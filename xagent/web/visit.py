"""What one visitor has on the server: choices, and a conversation with each model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

from xagent.agent.session import AgentSession
from xagent.playground import Language
from xagent.web.desk import ObservationDesk
from xagent.web.exchange import Exchange
from xagent.web.models import LoadedModel
from xagent.web.pane import Pane
from xagent.web.settings import Generation, Settings, Setup
from xagent.web.shelf import ToolShelf

OBSERVATION_MARKS = ("Observation:",)
"""Where a reply stops for the visitor's observation, when no tool is offered but in the system text's own words."""

Side = tuple[Pane, Exchange]
"""What a model made of a question."""


class Visit:
    """The same questions to all models. Its methods may be called from any thread; what comes while a model works is refused.

    Args:
        models: each has a pane.
        shelf: the tools to pick from.
        settings: what the visitor begins with.
    """

    def __init__(self, models: Sequence[LoadedModel], shelf: ToolShelf, settings: Settings) -> None:
        self.models, self.shelf, self.settings = tuple(models), shelf, settings
        self._lock = threading.Lock()
        self.panes = self._make_panes(settings)

    @property
    def running(self) -> bool:
        """Whether a model works for it."""
        return any(pane.running for pane in self.panes)

    def rows(self) -> tuple[tuple[Side, ...], ...]:
        """Give for each question how far every model has come: all of one moment, whatever another tab does."""
        with self._lock:
            sides = [[(pane, exchange) for exchange in pane.exchanges] for pane in self.panes]
        return tuple(zip(*sides, strict=True))

    @property
    def questions(self) -> tuple[str, ...]:
        """What was asked so far."""
        return tuple(exchange.question for exchange in self.panes[0].exchanges)

    def ask(self, question: str) -> bool:
        """Let every model answer; False where they are at work already."""
        return self._if_idle(lambda pane: pane.ask(question))

    def retry(self) -> bool:
        """Let every model answer the last question anew; False where they are at work, or nothing was asked."""
        return bool(self.questions) and self._if_idle(Pane.retry)

    def edit(self, index: int, question: str) -> bool:
        """Ask another question in place of one; what came after it is dropped. False where a model is at work."""
        return self._if_idle(lambda pane: pane.edit(index, question))

    def observe(self, pane: Pane, text: str) -> bool:
        """Give a model the observation that it waits for; False where a model is at work."""
        return self._if_idle(lambda waiting: waiting.observe(text), [pane])

    def stop(self) -> None:
        """End what runs."""
        for pane in self.panes:
            pane.stop()

    def clear(self) -> bool:
        """Begin a new conversation; False where a model is at work."""
        return self._renew(self.settings)

    def apply(self, setup: Setup) -> bool:
        """Begin a new conversation on another setup; False where a model is at work.

        Raises:
            ConfigError: the protocol is unknown.
        """
        return self._renew(replace(self.settings, setup=setup))

    def tune(self, generation: Generation) -> bool:
        """Draw replies in another way from the next question on; False where a model is at work."""
        done = self._if_idle(lambda pane: pane.tune(generation))
        if done:
            self.settings = replace(self.settings, generation=generation)
        return done

    def speak(self, language: Language) -> None:
        """Show the page in another language."""
        self.settings = replace(self.settings, language=language)

    def _if_idle(self, work: Callable[[Pane], None], panes: Sequence[Pane] | None = None) -> bool:
        with self._lock:
            if self.running:
                return False
            for pane in self.panes if panes is None else panes:
                work(pane)
            return True

    def _renew(self, settings: Settings) -> bool:
        with self._lock:
            if self.running:
                return False
            self.panes = self._make_panes(settings)
            self.settings = settings
            return True

    def _make_panes(self, settings: Settings) -> tuple[Pane, ...]:
        return tuple(self._pane(model, settings.setup, settings.generation) for model in self.models)

    def _pane(self, model: LoadedModel, setup: Setup, generation: Generation) -> Pane:
        box = self.shelf.box(self.shelf.offered(setup), setup.language)
        desk = ObservationDesk() if setup.mode == "typed" else None
        session = AgentSession(
            model.engine,
            desk.box(box.specs) if desk is not None else box,
            language=setup.language,
            system=setup.system,
            protocol=setup.protocol,
            stop=OBSERVATION_MARKS if desk is not None and not len(box) else (),
            adapter=model.adapter,
            **asdict(generation),
        )
        return Pane(model.name, session, desk)
