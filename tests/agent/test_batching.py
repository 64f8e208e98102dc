"""The front that lets threads share batches."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from xagent.agent.batching import BatchingFront


def test_batches_are_made_of_all_clients_whatever_the_timing() -> None:
    batches: list[list[str]] = []

    def run(requests: list[str]) -> list[str]:
        batches.append(list(requests))
        return [request.upper() for request in requests]

    front = BatchingFront(run, key=lambda request: request)
    front.join(4)

    def loop(name: str) -> list[str]:
        try:
            turns = 2 if name == "a" else 3
            replies = []
            for turn in range(turns):
                time.sleep(0.01 * "dbca".index(name))
                replies.append(front.ask(f"{name}{turn}"))
            return replies
        finally:
            front.leave()

    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(loop, "abcd"))
    assert replies == [["A0", "A1"], ["B0", "B1", "B2"], ["C0", "C1", "C2"], ["D0", "D1", "D2"]]
    assert batches == [["a0", "b0", "c0", "d0"], ["a1", "b1", "c1", "d1"], ["b2", "c2", "d2"]]


def test_a_lone_thread_waits_for_nobody() -> None:
    front = BatchingFront(lambda requests: [request + 1 for request in requests])
    assert [front.ask(1), front.ask(2)] == [2, 3]
    with front.client():
        assert front.ask(5) == 6


def test_threads_that_come_while_a_batch_runs_share_the_next() -> None:
    started, go_on, sizes = threading.Event(), threading.Event(), []

    def run(requests: list[int]) -> list[int]:
        sizes.append(len(requests))
        started.set()
        assert go_on.wait(60)
        return requests

    front = BatchingFront(run)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(front.ask, 0)
        assert started.wait(60)
        others = [pool.submit(front.ask, number) for number in (1, 2, 3)]
        while len(front._waiting) < 3:
            time.sleep(0.001)
        go_on.set()
        assert [future.result(60) for future in (first, *others)] == [0, 1, 2, 3]
    assert sizes == [1, 3]


def test_an_error_reaches_all_who_wait_and_the_front_works_on() -> None:
    def run(requests: list[int]) -> list[int]:
        if 0 in requests:
            raise ValueError("no zeros")
        return requests

    front = BatchingFront(run)
    front.join(3)
    with ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(front.ask, number) for number in (0, 1, 2)]:
            with pytest.raises(ValueError, match="no zeros"):
                future.result(60)
        assert list(pool.map(front.ask, (1, 2, 3))) == [1, 2, 3]


def test_all_batches_run_in_one_thread() -> None:
    front = BatchingFront(lambda requests: [threading.get_ident() for _ in requests])
    with ThreadPoolExecutor(3) as pool:
        threads = set(pool.map(front.ask, range(9)))
    assert len(threads) == 1
