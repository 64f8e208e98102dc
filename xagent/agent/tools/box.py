"""Tools side by side, and the one way to call them: whatever happens becomes an observation."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from xagent.agent.tools.arguments import checked_arguments, did_you_mean
from xagent.agent.tools.tool import Observation, Tool, ToolFault
from xagent.chat.message import ToolSpec, whole_characters
from xagent.errors import ConfigError

_MOST_GIVEN_UP = 2
_LONGEST_FAULT = 1000


class ToolBox:
    """The tools that an agent may call. Safe to use from many threads; a context manager that closes what its tools hold.

    Args:
        tools: in the order in which they are shown.
        closers: called once by :meth:`close`, in reverse order: end servers that tools speak to.

    Raises:
        ConfigError: two tools have the same name.
    """

    def __init__(self, tools: Iterable[Tool] = (), closers: Iterable[Callable[[], None]] = ()) -> None:
        self.tools: dict[str, Tool] = {}
        for one in tools:
            if one.name in self.tools:
                raise ConfigError(f"two tools are named {one.name!r}; a model could not tell them apart: leave one out")
            self.tools[one.name] = one
        self._closers = list(closers)
        self._given_up: dict[str, list[threading.Thread]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.tools)

    def __iter__(self) -> Iterator[Tool]:
        return iter(self.tools.values())

    def __enter__(self) -> ToolBox:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """The tools as the model sees them."""
        return tuple(one.spec for one in self)

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know about these tools."""
        return tuple(f"{one.name}: {one.note}" for one in self if one.note)

    def close(self) -> None:
        """End what the tools hold. More than once is fine."""
        while self._closers:
            self._closers.pop()()

    def run(self, name: str, arguments: Any) -> Observation:
        """Call a tool. Never raises but for KeyboardInterrupt: what goes wrong is told in the observation.

        Args:
            name: of the tool, from a model: unknown names are answered.
            arguments: an object, from a model: checked before the tool runs.
        """
        start = time.perf_counter()
        observation = self._run(name, arguments)
        text = whole_characters(observation.text)  # a model can write half a character in JSON, and have it back from its tool
        return dataclasses.replace(observation, text=text, seconds=time.perf_counter() - start)

    def _run(self, name: str, arguments: Any) -> Observation:
        one = self.tools.get(name) if isinstance(name, str) else None
        if one is None:
            names = ", ".join(self.tools) or "none"
            hint = did_you_mean(str(name), self.tools)
            return Observation(f"there is no tool {str(name)[:80]!r}; the tools are: {names}.{hint}", "unknown tool")
        try:
            given = (
                dict(arguments) if one.checks_itself and isinstance(arguments, dict) else checked_arguments(one.spec, arguments)
            )
        except ToolFault as fault:
            return Observation(str(fault), "bad arguments")
        if self._is_stuck(name):
            return Observation(f"{name} is still busy with calls that were given up; do without it", "timeout")
        return self._in_thread(one, given)

    def _in_thread(self, one: Tool, arguments: dict[str, Any]) -> Observation:
        """Run the tool beside the caller, who waits no longer than its timeout."""
        results: list[Observation] = []
        context = contextvars.copy_context()
        thread = threading.Thread(
            target=lambda: results.append(context.run(_call, one, arguments)), name=f"tool {one.name}", daemon=True
        )
        thread.start()
        thread.join(one.timeout)
        if results:
            return results[0]
        with self._lock:
            self._given_up.setdefault(one.name, []).append(thread)
        return Observation(f"{one.name} gave no result within {one.timeout:g} seconds", "timeout")

    def _is_stuck(self, name: str) -> bool:
        with self._lock:
            alive = [thread for thread in self._given_up.get(name, []) if thread.is_alive()]
            self._given_up[name] = alive
            return len(alive) >= _MOST_GIVEN_UP


def _call(one: Tool, arguments: dict[str, Any]) -> Observation:
    try:
        return Observation(_cut(_text(one.run(arguments)), one.max_characters))
    except ToolFault as fault:
        return Observation(_cut(str(fault), _LONGEST_FAULT), "error")
    except BaseException as error:  # SystemExit too: a tool must not end the agent
        return Observation(_cut(_error_text(error), _LONGEST_FAULT), "error")


def _text(result: Any) -> str:
    if isinstance(result, str):
        return result
    if result is None:
        return "done"
    return json.dumps(result, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    return str(value)


def _error_text(error: BaseException) -> str:
    words = ""
    with contextlib.suppress(Exception):  # its __str__ may fail too
        words = str(error)
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}\n(cut: the first {limit} of {len(text)} characters)"
