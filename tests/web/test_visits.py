"""Visitors' states: bounded, forgotten in time, never mixed."""

from __future__ import annotations

from xagent.web.visits import Visits


class _State:
    def __init__(self, running: bool = False) -> None:
        self.running, self.stopped = running, False

    def stop(self) -> None:
        self.stopped = True


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_visit_is_found_by_its_own_id_only() -> None:
    visits: Visits[_State] = Visits()
    first, second = _State(), _State()
    one, other = visits.open(first), visits.open(second)
    assert (visits.find(one), visits.find(other)) == (first, second)
    assert visits.find(None) is None and visits.find("") is None and visits.find(one[:-1]) is None
    assert len(one) == 32 and one != other


def test_the_longest_unseen_goes_first_and_is_stopped() -> None:
    clock = _Clock()
    visits: Visits[_State] = Visits(most=2, clock=clock)
    states = [_State() for _ in range(3)]
    names = []
    for state in states[:2]:
        names.append(visits.open(state))
        clock.now += 1
    assert visits.find(names[0]) is states[0]
    clock.now += 1
    names.append(visits.open(states[2]))
    assert [visits.find(name) for name in names] == [states[0], None, states[2]]
    assert [state.stopped for state in states] == [False, True, False]
    assert len(visits) == 2


def test_one_whose_model_works_outlives_an_idle_one() -> None:
    clock = _Clock()
    visits: Visits[_State] = Visits(most=2, clock=clock)
    busy, idle = _State(running=True), _State()
    kept = visits.open(busy)
    clock.now += 1
    gone = visits.open(idle)
    visits.open(_State())
    assert visits.find(kept) is busy
    assert visits.find(gone) is None and idle.stopped


def test_who_stays_away_is_forgotten() -> None:
    clock = _Clock()
    visits: Visits[_State] = Visits(longest_absence=10, clock=clock)
    state = _State()
    name = visits.open(state)
    clock.now = 10
    assert visits.find(name) is state
    clock.now = 20
    assert visits.find(name) is state
    clock.now = 30.5
    assert visits.find(name) is None and state.stopped
