"""Episodes run for real: Lagent's ReAct loop, a model, tools that are executed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from tqdm import tqdm

from xagent.agent.lagent_tools import playground_actions
from xagent.agent.react import Ending, build_react_agent, ending_of
from xagent.chat.protocol import Protocol, get_protocol
from xagent.evaluation.grading import CallMade, Grades, grade
from xagent.playground import Episode

MAX_UNREADABLE = 2
"""After so many replies in a row that hold neither a call nor an answer an episode ends.

The model was asked for the format and did not keep it; it would only use up the replies that are left.
"""


@dataclass(frozen=True)
class EpisodeResult:
    """What happened in one episode.

    Attributes:
        replies: what the model wrote, in order.
        observations: what it was shown after each reply; None after a final answer.
        calls: the calls that were made.
        answer: the final answer, None where the loop ended without one.
        ending: how the loop ended.
    """

    episode: Episode
    replies: tuple[str, ...]
    observations: tuple[str | None, ...]
    calls: tuple[CallMade, ...]
    answer: str | None
    grades: Grades
    ending: Ending


@dataclass(frozen=True)
class EpisodeResults:
    """Results in the episodes' order, and how long they took together."""

    results: tuple[EpisodeResult, ...]
    seconds: float = 0.0

    def __iter__(self) -> Iterator[EpisodeResult]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)


def evaluate_episodes(
    llm: Any,
    episodes: Sequence[Episode],
    *,
    max_new_tokens: int = 120,
    max_turn: int = 6,
    workers: int | None = None,
    title: str = "episodes",
    sampling: Sequence[Mapping[str, Any]] | None = None,
    finished: Callable[[int, EpisodeResult], None] | None = None,
) -> EpisodeResults:
    """Let a model work through episodes in Lagent's ReAct loop, with the episodes' tools really run, and grade it.

    With a :class:`xagent.agent.lagent_llm.LagentLLM` many loops run side by side and share its batches, and the results do not
    depend on the threads' timing. On a terminal there is a progress bar.

    Args:
        llm: has ``chat(messages, max_new_tokens=...) -> str``.
        episodes: tasks whose tools are the playground's.
        max_new_tokens: each reply is cut after so many tokens.
        max_turn: how many replies each loop may write.
        workers: loops side by side; None is the model's batch size, and 1 for other language models.
        title: stands before the progress bar.
        sampling: what the model is told for each episode (``temperature``, ``top_p``, ``seed``); None is nothing: greedy.
        finished: is given each result with its episode's index as soon as it is there, one at a time, in any order.

    Raises:
        ConfigError: an episode offers a tool that the playground can't run.
    """
    chosen = list(episodes)
    settings = {"max_new_tokens": max_new_tokens, "max_turn": max_turn}
    run = _Run(llm, chosen, settings, sampling or [{}] * len(chosen), finished, threading.Event())
    return run.results_of_all(_loops_for(llm) if workers is None else workers, title)


def evaluate_side_by_side(
    llms: Mapping[str, Any], episodes: Sequence[Episode], *, max_new_tokens: int = 120, max_turn: int = 6
) -> dict[str, EpisodeResults]:
    """Let several models work through the same episodes at once, each with its share of torch's threads.

    Results are those of :func:`evaluate_episodes`. On a CPU they come sooner than one model's after the other's: the products of
    single tokens are too small to keep several cores busy.

    Args:
        llms: as for :func:`evaluate_episodes`, by the names that stand before their progress bars.
        episodes, max_new_tokens, max_turn: as for :func:`evaluate_episodes`.

    Raises:
        ConfigError: an episode offers a tool that the playground can't run. Whatever fails, or Ctrl-C, ends all of them.
    """
    chosen, stop = list(episodes), threading.Event()
    settings = {"max_new_tokens": max_new_tokens, "max_turn": max_turn}
    runs = {name: _Run(llm, chosen, settings, [{}] * len(chosen), None, stop) for name, llm in llms.items()}
    with _shared_threads(len(runs)), ThreadPoolExecutor(len(runs), thread_name_prefix="models") as pool:
        try:  # Ctrl-C may also come while they are begun
            futures = {
                name: pool.submit(run.results_of_all, _loops_for(llms[name]), name, position)
                for position, (name, run) in enumerate(runs.items())
            }
            errors = [error for error in (future.exception() for future in futures.values()) if error is not None]
        except BaseException:
            stop.set()
            raise
    for error in sorted(errors, key=lambda error: isinstance(error, _Stopped)):
        raise error
    return {name: future.result() for name, future in futures.items()}


def _loops_for(llm: Any) -> int:
    """Give how many loops a language model keeps busy."""
    return llm.generator.max_batch_size if hasattr(llm, "generator") else 1


@contextmanager
def _shared_threads(shares: int) -> Iterator[None]:
    """Give threads that begin in here an equal share of those that torch computes with."""
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // shares))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def run_episode(llm: Any, episode: Episode, *, max_new_tokens: int = 120, max_turn: int = 6, **sampling: float) -> EpisodeResult:
    """Let a model work through one episode; Lagent's system text is in the episode's language.

    It ends with an answer, after ``max_turn`` replies, when the same call fails in the same way three times, or after
    ``MAX_UNREADABLE`` unreadable replies in a row.

    ``sampling`` is handed to the model: ``temperature``, ``top_p``, ``seed``.

    Raises:
        ConfigError: the episode offers a tool that the playground can't run.
    """
    protocol = llm.prompts.protocol if hasattr(llm, "prompts") else get_protocol("react")
    tools = playground_actions(episode.tools)
    agent = build_react_agent(llm, tools, episode.language, max_turn, max_unreadable=MAX_UNREADABLE)
    outcome = agent.chat(episode.question, max_new_tokens=max_new_tokens, **sampling)
    replies = [step["content"] for step in outcome.inner_steps if step["role"] == "assistant"]
    observations = [_observation(action) for action in outcome.actions]
    found = (_call(reply, action, protocol) for reply, action in zip(replies, outcome.actions, strict=True))
    calls = tuple(call for call in found if call is not None)
    answer = outcome.response if observations and observations[-1] is None else None
    grades = grade(episode, replies, calls, answer, protocol)
    return EpisodeResult(episode, tuple(replies), tuple(observations), calls, answer, grades, ending_of(outcome))


def _call(reply: str, action: Any, protocol: Protocol) -> CallMade | None:
    """Give the call that a reply led to: the first one that it writes."""
    parsed = protocol.parse(reply)
    if parsed.status != "calls":
        return None
    first = parsed.calls[0]
    return CallMade(first.name, first.arguments, _observation(action) or "", failed=action.state != 0)


def _observation(action: Any) -> str | None:
    if action.type == "FinishAction":
        return None
    return str(action.format_result() if action.state == 0 else action.errmsg)


class _Stopped(Exception):
    """Another loop failed, or the user pressed Ctrl-C."""


class _Stoppable:
    """A language model that stops to answer when it is told to."""

    def __init__(self, llm: Any, stop: threading.Event) -> None:
        self._llm, self._stop = llm, stop
        if hasattr(llm, "prompts"):
            self.prompts = llm.prompts

    def chat(self, messages: Any, **settings: Any) -> str:
        """Give the model's reply."""
        if self._stop.is_set():
            raise _Stopped
        return str(self._llm.chat(messages, **settings))


class _Run:
    """Loops side by side that take one episode after the other."""

    def __init__(
        self,
        llm: Any,
        episodes: list[Episode],
        settings: Mapping[str, int],
        sampling: Sequence[Mapping[str, Any]],
        finished: Callable[[int, EpisodeResult], None] | None,
        stop: threading.Event,
    ) -> None:
        self.stop = stop
        self.llm = _Stoppable(llm, self.stop)
        self.front = getattr(llm, "front", None)
        self.settings, self.sampling, self.finished = settings, sampling, finished
        self.results: dict[int, EpisodeResult] = {}
        self.count = len(episodes)
        self._queue = iter(enumerate(episodes))
        self._lock = threading.Lock()

    def results_of_all(self, workers: int, title: str, position: int | None = None) -> EpisodeResults:
        """Run all episodes under a progress bar.

        Raises:
            _Stopped: the event was set from outside.
        """
        start = time.perf_counter()
        with tqdm(total=self.count, desc=title, disable=None, unit="episode", position=position) as bar:
            self.work(min(workers, self.count), bar)
        if self.stop.is_set():
            raise _Stopped
        return EpisodeResults(tuple(self.results[index] for index in range(self.count)), time.perf_counter() - start)

    def work(self, workers: int, bar: Any) -> None:
        """Run all episodes; the first error of any loop ends them all and is raised."""
        if workers == 0:
            return
        if self.front is not None:
            self.front.join(workers)
        with ThreadPoolExecutor(workers, thread_name_prefix="episodes") as pool:
            try:
                futures = [pool.submit(self._loop, bar) for _ in range(workers)]
                errors = [error for error in (future.exception() for future in futures) if error is not None]
            except BaseException:
                self.stop.set()
                raise
        real = [error for error in errors if not isinstance(error, _Stopped)]
        if real:
            raise real[0]

    def _loop(self, bar: Any) -> None:
        try:
            while (item := self._next()) is not None:
                result = run_episode(self.llm, item[1], **self.settings, **self.sampling[item[0]])
                with self._lock:
                    self.results[item[0]] = result
                    if self.finished is not None:
                        self.finished(item[0], result)
                    bar.update()
        except BaseException:
            self.stop.set()
            raise
        finally:
            if self.front is not None:
                self.front.leave()

    def _next(self) -> tuple[int, Episode] | None:
        with self._lock:
            return None if self.stop.is_set() else next(self._queue, None)
