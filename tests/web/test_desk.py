"""Observations that a person types."""

from __future__ import annotations

import threading
import time

from xagent.agent.tools import Observation, ToolBox
from xagent.chat.message import ToolSpec
from xagent.web.desk import ObservationDesk, PendingCall

SEARCH = ToolSpec("search", "Search.", {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]})


def _begin(box: ToolBox, arguments: dict[str, object]) -> tuple[threading.Thread, list[Observation]]:
    found: list[Observation] = []
    thread = threading.Thread(target=lambda: found.append(box.run("search", arguments)))
    thread.start()
    return thread, found


def _wait_for(desk: ObservationDesk) -> PendingCall:
    for _ in range(6000):
        if desk.pending is not None:
            return desk.pending
        time.sleep(0.01)
    raise AssertionError("no call came to the desk")


def test_a_call_waits_for_its_observation() -> None:
    desk = ObservationDesk()
    thread, found = _begin(desk.box([SEARCH]), {"query": "owls", "unknown": 1})
    call = _wait_for(desk)
    assert call == PendingCall(1, "search", {"query": "owls", "unknown": 1})
    assert not desk.answer(7, "of another call")
    assert desk.answer(1, "three owls")
    thread.join(60)
    assert [(one.text, one.fault) for one in found] == [("three owls", None)]
    assert desk.pending is None and not desk.answer(1, "too late")


def test_a_dismissed_call_ends_and_the_next_one_is_another() -> None:
    desk = ObservationDesk()
    box = desk.box([SEARCH])
    thread, found = _begin(box, {"query": "owls"})
    _wait_for(desk)
    desk.dismiss()
    thread.join(60)
    assert [(one.text, one.fault) for one in found] == [("nobody typed an observation", "error")]
    thread, found = _begin(box, {"query": "larks"})
    assert _wait_for(desk) == PendingCall(2, "search", {"query": "larks"})
    assert desk.answer(2, "")
    thread.join(60)
    assert [(one.text, one.fault) for one in found] == [("", None)]


def test_a_call_that_nobody_answers_is_given_up() -> None:
    thread, found = _begin(ObservationDesk(patience=0.05).box([SEARCH]), {})
    thread.join(60)
    assert [(one.text, one.fault) for one in found] == [("nobody typed an observation", "error")]
