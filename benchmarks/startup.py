"""How long commands take to begin, and which imports that time goes to.

    python benchmarks/startup.py [--rounds 5] [--only train chat] [--add] [--out DIR]
    python benchmarks/startup.py --smoke

Every command runs in a process of its own, by turns, on the embedded nano model with a warm cache; medians are printed and all
runs are written to results/startup.json. Seconds are those of the whole command, of `train` those to the end of its first
optimizer step; `chat` reads `exit` at its first prompt. Processor seconds say more than the clock's on a machine that does other
things too. One further run of each command, under `import_clock.py`, gives the processor's seconds of each library's own modules.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import add_part_option, describe_machine, earlier_figures, save_results, table

from xagent.convert.agent_flan import convert_agent_flan
from xagent.playground.records import write_raw_agent_flan

ROOT = Path(__file__).resolve().parents[1]
BASE = "xagent:nano/base"
COMMANDS = ("help", "list-cfg", "check-dataset", "train", "pth_to_hf", "merge", "chat")
SHOWN = 10
_CONFIG = """
from mmengine.config import read_base

with read_base():
    from ._configs_.nano.nano_qlora_agent import *

from step_clock_hook import StepClock

data_path = {data!r}
train_cfg["max_epochs"] = None
train_cfg["max_iters"] = 1
custom_hooks.append(dict(type=StepClock, out={clock!r}))
"""


@dataclass(frozen=True)
class Imported:
    """What ``import_clock.py`` notes of an import: its depth, the processor's microseconds of the module itself, its name."""

    depth: int
    own: int
    module: str

    @property
    def library(self) -> str:
        """The top-level package."""
        return self.module.partition(".")[0]


class Bench:
    """Runs commands in a folder of its own.

    Args:
        folder: everything is made there, the cache too.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, folder / "clock.json"
        self.config, self.adapter, self.out = folder / "first_step.py", folder / "adapter", folder / "out"
        self.file = folder / "raw" / "agent_instruct_react.jsonl"

    def prepare(self, commands: list[str]) -> None:
        """Make what the commands need: data, a warm cache, a checkpoint, an adapter."""
        write_raw_agent_flan(self.folder / "raw", 200, seed=1)
        if set(commands) <= {"help", "list-cfg", "check-dataset"}:
            return
        convert_agent_flan(self.folder / "raw", self.folder / "converted")
        (self.folder / "_configs_").symlink_to(ROOT / "configs")
        text = _CONFIG.format(data=str(self.folder / "converted"), clock=str(self.clock))
        self.config.write_text(text, encoding="utf-8")
        self.run("train")
        self.run("pth_to_hf")
        shutil.copytree(self.out, self.adapter)

    def words(self, command: str) -> list[str]:
        """Give a command's words."""
        return {
            "help": ["--help"],
            "list-cfg": ["list-cfg"],
            "check-dataset": ["check-dataset", str(self.file)],
            "train": ["train", str(self.config), "--work-dir", str(self.folder / "work")],
            "pth_to_hf": ["convert", "pth_to_hf", str(self.config), str(self.folder / "work" / "iter_1.pth"), str(self.out)],
            "merge": ["convert", "merge", BASE, str(self.adapter), str(self.out)],
            "chat": ["chat", BASE],
        }[command]

    def run(self, command: str) -> dict[str, float]:
        """Run a command to its end; give its seconds by the clock and the processor's.

        Raises:
            SystemExit: it failed.
        """
        begin = time.time()
        usage = self._process(command, begin, "-m", "xagent.cli")
        if command == "train":
            step = json.loads(self.clock.read_text(encoding="utf-8"))["steps"][0]
            return {"seconds": step["at"], "cpu_seconds": step["cpu"]}
        return {"seconds": time.time() - begin, "cpu_seconds": usage.ru_utime + usage.ru_stime}

    def imports(self, command: str) -> list[Imported]:
        """Run a command and give what it imports, in the order in which the imports ended."""
        log = self.folder / "imports.json"
        self._process(command, time.time(), str(ROOT / "benchmarks" / "import_clock.py"), str(log))
        return [Imported(*noted) for noted in json.loads(log.read_text(encoding="utf-8"))]

    def _process(self, command: str, begin: float, *xagent: str) -> Any:
        shutil.rmtree(self.out, ignore_errors=True)
        log = self.folder / "stderr.txt"
        words = [sys.executable, *xagent, *self.words(command)]
        with log.open("wb") as file:
            process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=file,
                env=self._environment(begin),
                cwd=self.folder,
            )
            assert process.stdin is not None
            process.stdin.write(b"exit\n")
            process.stdin.close()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise SystemExit(f"{' '.join(words)} ended with {process.returncode}:\n{log.read_text(errors='replace')[-2000:]}")
        return usage

    def _environment(self, begin: float) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "benchmarks")]),
            "BENCHMARK_START": repr(begin),
            "HF_HUB_OFFLINE": "1",
            "XAGENT_CACHE": str(self.folder / "cache"),
            "HF_DATASETS_CACHE": str(self.folder / "hf_datasets"),
        }


def by_library(imported: list[Imported]) -> list[dict[str, Any]]:
    """Sum the modules of each library; the dearest first, each with the module of another library that first asked for it."""
    sums: dict[str, int] = defaultdict(int)
    askers: dict[str, str] = {}
    for place, one in enumerate(imported):
        sums[one.library] += one.own
        if one.module == one.library:
            askers.setdefault(one.library, _asker(imported, place))
    dearest = sorted(sums.items(), key=lambda item: -item[1])
    return [{"library": name, "seconds": own / 1e6, "asked_by": askers.get(name, "")} for name, own in dearest]


def _asker(imported: list[Imported], place: int) -> str:
    """Give the nearest module around an import that is another library's; nothing for an import inside a function."""
    depth = imported[place].depth
    for outer in imported[place + 1 :]:
        if outer.depth < depth:
            depth = outer.depth
            if outer.library != imported[place].library:
                return outer.module
        if depth == 0:
            break
    return ""


def measure(bench: Bench, commands: list[str], rounds: int, earlier: dict[str, Any]) -> dict[str, Any]:
    """Run all commands by turns; give runs (after those of ``earlier``), medians and imports."""
    runs: dict[str, list[dict[str, float]]] = {command: earlier.get(command, {"runs": []})["runs"] for command in commands}
    for _ in range(rounds):
        for command in commands:
            runs[command].append(bench.run(command))
    figures = dict(earlier)
    for command in commands:
        medians = {key: statistics.median(run[key] for run in runs[command]) for key in ("seconds", "cpu_seconds")}
        figures[command] = {**medians, "imports": by_library(bench.imports(command))[:SHOWN], "runs": runs[command]}
    return figures


def show(figures: dict[str, Any]) -> None:
    """Print the medians, and below them each command's dearest imports."""
    rows = [[name, str(len(one["runs"])), f"{one['seconds']:.2f}", f"{one['cpu_seconds']:.2f}"] for name, one in figures.items()]
    print(table(["medians", "runs", "seconds", "processor's seconds"], rows))
    print("\nprocessor's seconds of each library's own modules, with the clock that is asked at every import:")
    for name, one in figures.items():
        dearest = (f"{row['library']} {row['seconds']:.2f}" for row in one["imports"])
        print(f"{name}: {', '.join(dearest)}")


def main() -> None:
    """Prepare, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--smoke", action="store_true", help="one round")
    add_part_option(parser)
    parser.add_argument("--out", type=Path, help="folder of startup.json (default: benchmarks/results)")
    args = parser.parse_args()
    rounds = 1 if args.smoke else args.rounds
    machine = describe_machine()
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name))
        bench.prepare(args.only)
        figures = measure(bench, args.only, rounds, earlier_figures("startup", args.add, args.out) or {})
    show(figures)
    print(save_results("startup", machine, figures, args.out, args.add))


if __name__ == "__main__":
    main()
