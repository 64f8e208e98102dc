"""`python -X importtime -m xagent.cli` in processor's seconds, which other work on the machine does not change.

    python benchmarks/import_clock.py LOG WORDS...

Runs `xagent WORDS` and, at its end, writes what each import took to LOG: a JSON list of `[depth, own, module]` in the order in
which the imports ended, `own` the processor's microseconds of the module itself, without what it imported, `depth` how many
imports it stands in. What Python imports before this file is not in it.
"""

from __future__ import annotations

import atexit
import importlib._bootstrap as bootstrap  # where Python's own import statement goes to
import json
import runpy
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from time import thread_time_ns
from types import ModuleType
from typing import Any


class Nested(threading.local):
    """For each import that a thread is in, the outermost first: nanoseconds of those inside it."""

    def __init__(self) -> None:
        self.inside = [0]


def clock_imports(find_and_load: Callable[..., ModuleType], ended: list[tuple[int, int, str]]) -> Callable[..., ModuleType]:
    """Give the function that finds and loads a module, with a note of each of its calls in ``ended``."""
    nested = Nested()

    def timed(name: str, import_: Any) -> ModuleType:
        inside, begin = nested.inside, thread_time_ns()
        inside.append(0)
        try:
            return find_and_load(name, import_)
        finally:
            whole = thread_time_ns() - begin
            own = whole - inside.pop()
            inside[-1] += whole
            ended.append((len(inside) - 1, own // 1000, name))

    return timed


def main() -> None:
    """Run xagent with its imports clocked."""
    log, sys.argv[1:] = Path(sys.argv[1]).absolute(), sys.argv[2:]
    ended: list[tuple[int, int, str]] = []
    atexit.register(lambda: log.write_text(json.dumps(ended), encoding="utf-8"))
    bootstrap._find_and_load = clock_imports(bootstrap._find_and_load, ended)  # type: ignore[attr-defined]
    runpy.run_module("xagent.cli", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
