"""xagent and its alternatives on the same work, on this machine: training, encoding, merging, converting, starting up.

    python benchmarks/compare.py --cache DIR [--only xagent trl] [--measure train] [--models narrow wide] [--dtypes fp32 bf16]
                                 [--packing packed unpacked] [--steps 12] [--rounds 3] [--name compare] [--add]

Each is installed without extras, the alternatives from the package registry, into a virtual environment of its own under the
cache folder (about 2 GB each), which is also where the seeded data, two base models and an adapter are made, once. Runs are
interleaved: everybody's first, then everybody's second; medians are printed and all runs are written to results/compare.json.
A run that fails is shown with the last line it said, and doesn't stop the others. With --add a long comparison can be cut into
parts: what is measured now replaces only itself in the file.

The work: LoRA r 8 on all linear layers, max_length 1024, micro-batch 2, accumulation 4, loss on the assistant's tokens, no
activation checkpointing. Real tokens are those that are not padding; rates are steady ones, from the end of the first
optimizer step; seconds to the first step count from the command's start; the peak is of resident memory. Losses are compared
at equal numbers of real tokens. Encoding is the difference between the times to the first batch of a large and a small data
set, so that start-up cancels out.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alternatives import HERE, LEFT_OUT, TOOLS, Job, Tool, write_xagent_config
from compare_work import MODELS, make_work
from machine import RESULTS, add_part_option, describe_machine, earlier_figures, save_results, table

MEASURES = ("train", "encode", "merge", "pth_to_hf", "startup")
Run = dict[str, Any]


class Bench:
    """Runs commands one at a time and keeps what they measured.

    Args:
        cache: where environments and work are.
        threads: CPU threads of every process.
        timeout: seconds after which a run is given up.
    """

    def __init__(self, cache: Path, threads: int, timeout: float) -> None:
        self.cache, self.threads, self.timeout = cache, threads, timeout
        self.scratch = cache / "scratch"

    def folder(self) -> Path:
        """Give an empty folder; the one before is gone."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(parents=True)
        return self.scratch

    def command(self, tool: Tool, words: list[str]) -> Run:
        """Run a command to its end; give seconds, peak resident memory of its largest process, and its fault."""
        log = self.scratch / "log.txt"
        environment = {
            **tool.environment(),
            "OMP_NUM_THREADS": str(self.threads),
            "BENCHMARK_START": repr(time.time()),
            "XAGENT_CACHE": str(self.scratch / "xagent_cache"),
            "HF_HOME": str(self.scratch / "hf"),
            "HF_DATASETS_CACHE": str(self.scratch / "hf_datasets"),
            "MODELSCOPE_CACHE": str(self.scratch / "modelscope"),
        }
        begin = time.perf_counter()
        usage = self.scratch / "usage.json"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-S", str(HERE / "peak_of.py"), str(usage), *words],
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=self.scratch,
                start_new_session=True,
            )
            try:
                process.wait(self.timeout)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()
        seconds = time.perf_counter() - begin
        told = json.loads(usage.read_text()) if usage.exists() else {"status": "killed: it took too long", "peak_bytes": None}
        status = told["status"]
        figures: Run = {"seconds": seconds, "peak_bytes": told["peak_bytes"]}
        if status != 0:
            text = log.read_text(encoding="utf-8", errors="replace")
            figures["fault"] = f"status {status}: {([line for line in text.splitlines() if line.strip()] or [''])[-1][:300]}"
            (self.cache / f"failed_{tool.name}.log").write_text(text, encoding="utf-8")
        return figures

    def train(self, tool: Tool, job: dict[str, Any]) -> Run:
        """Train, and read the clock."""
        folder = self.folder()
        clock = folder / "clock.json"
        words = tool.train_words(Job(**job, out=folder / "out"), self.cache, clock)
        figures = self.command(tool, words)
        if clock.exists():
            figures |= json.loads(clock.read_text())
            figures |= rates(figures["steps"])
        elif "fault" not in figures:
            figures["fault"] = "it ended without a step"
        return figures


def rates(steps: list[dict[str, Any]]) -> Run:
    """Give steady rates, from the end of the first optimizer step, and the time to it."""
    if len(steps) < 2:
        return {"first_step": steps[0]["at"]} if steps else {}
    first, last = steps[0], steps[-1]
    seconds = last["at"] - first["at"]
    return {
        "first_step": first["at"],
        "tokens_per_second": (last["tokens"] - first["tokens"]) / seconds,
        "trained_per_second": (last["trained"] - first["trained"]) / seconds,
    }


def loss_at(steps: list[dict[str, Any]], tokens: int) -> float | None:
    """Give the mean loss of the three optimizer steps that end nearest to so many real tokens."""
    told = sorted((abs(step["tokens"] - tokens), step["loss"]) for step in steps if "loss" in step)
    return statistics.mean(loss for _, loss in told[:3]) if told else None


def interleaved(tools: list[Tool], rounds: int) -> Iterator[Tool]:
    """Give A B A B: every tool once, then again."""
    for _ in range(rounds):
        yield from tools


def median(runs: list[Run], key: str) -> float | None:
    """Give the median of what the runs that worked measured."""
    values = [run[key] for run in runs if run.get(key) is not None and "fault" not in run]
    return statistics.median(values) if values else None


def shown(value: float | None, form: str = ",.0f") -> str:
    """Write a figure, or a dash."""
    return "-" if value is None else format(value, form)


def measure_train(bench: Bench, tools: list[Tool], work: dict[str, Path], args: argparse.Namespace) -> list[Run]:
    """Train everything that was asked for; print a table for each kind of work."""
    results = []
    for model in args.models:
        for dtype in args.dtypes:
            for packing in args.packing:
                job = dict(
                    model=work[model],
                    data=work["train"],
                    dtype=dtype,
                    packed=packing == "packed",
                    steps=args.steps if model == "narrow" else max(4, args.steps // 3),
                )
                runs: dict[str, list[Run]] = {tool.name: [] for tool in tools}
                for tool in interleaved(tools, args.rounds):
                    runs[tool.name].append(bench.train(tool, job))
                    tell(f"train {model} {dtype} {packing} {tool.name}", runs[tool.name][-1])
                print(train_table(f"{model}, {dtype}, {packing}", runs), flush=True)
                results.append({"model": model, "dtype": dtype, "packing": packing, "runs": runs})
    return results


def train_table(title: str, runs: dict[str, list[Run]]) -> str:
    """Write one kind of work's medians, and the ratios to the best alternative."""
    last = [run["steps"][-1]["tokens"] for each in runs.values() for run in each if run.get("steps") and "fault" not in run]
    rows = []
    for name, each in runs.items():
        worked = [run for run in each if "fault" not in run]
        losses = [loss for run in worked if (loss := loss_at(run["steps"], min(last))) is not None]
        rows.append(
            [
                name,
                shown(median(each, "tokens_per_second")),
                shown(median(each, "trained_per_second")),
                shown(median(each, "first_step"), ".1f"),
                shown(_megabytes(median(each, "peak_bytes"))),
                shown(statistics.median(losses) if losses else None, ".3f"),
                each[-1].get("fault", "") if not worked else f"{len(worked)} of {len(each)} runs",
            ]
        )
    ours, others = runs.get("xagent", []), [each for name, each in runs.items() if name != "xagent"]
    rows.append(["xagent / best", *(_ratio(ours, others, key, best) for key, best in _COMPARED), "", ""])
    headers = [title, "real tok/s", "trained tok/s", "first step, s", "peak, MB", f"loss at {min(last, default=0):,} tok", ""]
    return table(headers, rows)


_COMPARED = (("tokens_per_second", max), ("trained_per_second", max), ("first_step", min), ("peak_bytes", min))


def _ratio(ours: list[Run], others: list[list[Run]], key: str, best: Any) -> str:
    own, theirs = median(ours, key), [value for each in others if (value := median(each, key)) is not None]
    return shown(own / best(theirs) if own and theirs else None, ".2f")


def _megabytes(size: float | None) -> float | None:
    return None if size is None else size / 1e6


def measure_encode(bench: Bench, tools: list[Tool], work: dict[str, Path], args: argparse.Namespace) -> list[Run]:
    """Take the time to the first batch of many conversations and of few; print conversations a second."""
    counts = {name: sum(1 for _ in work[name].open(encoding="utf-8")) for name in ("few", "many")}
    results: list[Run] = []
    for tool in interleaved(tools, args.rounds):
        seconds: dict[str, Any] = {}
        for name in counts:
            job = dict(model=work["narrow"], data=work[name], dtype="fp32", packed=False, steps=1)
            run = bench.train(tool, job)
            tell(f"encode {name} {tool.name}", run)
            seconds[name] = run.get("first_batch")
        if None in seconds.values():
            results.append({"tool": tool.name, "fault": "a run failed"})
            continue
        took = seconds["many"] - seconds["few"]
        rate = (counts["many"] - counts["few"]) / max(took, 1e-9)
        results.append({"tool": tool.name, "seconds": took, "conversations_per_second": rate})
    rows = [[tool.name, *(shown(median(of(results, tool), key), form) for key, form in _ENCODED)] for tool in tools]
    print(table([f"encoding of {counts['many']:,} conversations", "seconds", "conversations/s"], rows), flush=True)
    return results


_ENCODED = (("seconds", ".1f"), ("conversations_per_second", ",.0f"))


def of(results: list[Run], tool: Tool) -> list[Run]:
    """Give a tool's runs."""
    return [run for run in results if run["tool"] == tool.name]


def measure_merge(bench: Bench, tools: list[Tool], work: dict[str, Path], args: argparse.Namespace) -> list[Run]:
    """Merge an adapter into the wide base."""
    results = []
    for tool in interleaved(tools, args.rounds):
        folder = bench.folder()
        words = tool.merge_words(work["wide"], work["adapter"], folder / "merged", bench.cache)
        if words is not None:
            results.append({"tool": tool.name, **bench.command(tool, words)})
            tell(f"merge {tool.name}", results[-1])
    return _commands("merging into the wide base", tools, results)


def measure_pth_to_hf(bench: Bench, tools: list[Tool], work: dict[str, Path], args: argparse.Namespace) -> list[Run]:
    """Convert a checkpoint of two micro-batches to an adapter; among those here only xagent keeps XTuner's checkpoints."""
    ours, results = TOOLS["xagent"], []
    for _ in range(args.rounds if ours in tools else 0):
        folder = bench.folder()
        job = Job(work["wide"], work["few"], folder / "out", "fp32", True, steps=1)
        config = write_xagent_config(job, folder / "clock.json")
        words = [str(ours.python(bench.cache)), "-m", "xagent.cli"]
        trained = bench.command(ours, [*words, "train", str(config), "--work-dir", str(folder / "work")])
        checkpoint = next(iter((folder / "work").glob("iter_*.pth")), None)
        if checkpoint is None:
            results.append({"tool": ours.name, "fault": trained.get("fault", "no checkpoint")})
            continue
        convert = [*words, "convert", "pth_to_hf", str(config), str(checkpoint), str(folder / "adapter")]
        results.append({"tool": ours.name, **bench.command(ours, convert)})
    return _commands("pth_to_hf of the wide model's adapter", [ours] if ours in tools else [], results)


def measure_startup(bench: Bench, tools: list[Tool], work: dict[str, Path], args: argparse.Namespace) -> list[Run]:
    """Ask everybody's training command for its help."""
    results = []
    for tool in interleaved(tools, args.rounds):
        bench.folder()
        words = [str(tool.python(bench.cache).with_name(tool.start_up[0])), *tool.start_up[1:]]
        if tool.start_up[0] == "python":
            words[0] = str(tool.python(bench.cache))
        results.append({"tool": tool.name, **bench.command(tool, words)})
        tell(f"startup {tool.name}", results[-1])
    return _commands("help of the training command", tools, results)


def _commands(title: str, tools: list[Tool], results: list[Run]) -> list[Run]:
    rows = [
        [
            tool.name,
            shown(median(of(results, tool), "seconds"), ".1f"),
            shown(_megabytes(median(of(results, tool), "peak_bytes"))),
            next((run["fault"] for run in of(results, tool) if "fault" in run), ""),
        ]
        for tool in tools
    ]
    print(table([title, "seconds", "peak, MB", ""], rows), flush=True)
    return results


def tell(what: str, run: Run) -> None:
    """Say that a run is done, on stderr."""
    figures = ", ".join(f"{key} {run[key]:,.1f}" for key in ("tokens_per_second", "first_step", "seconds") if key in run)
    print(f"{time.strftime('%H:%M:%S')} {what}: {run.get('fault') or figures}", file=sys.stderr, flush=True)


def other_kinds(earlier: list[Run], found: list[Run]) -> list[Run]:
    """Give what was trained before and is not among what was found: another model, dtype or packing."""
    keys = ("model", "dtype", "packing")
    now = {tuple(each[key] for key in keys) for each in found}
    return [each for each in earlier if tuple(each[key] for key in keys) not in now]


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="environments, data and models; kept between runs")
    parser.add_argument("--only", nargs="+", choices=[*TOOLS, *LEFT_OUT], default=list(TOOLS))
    parser.add_argument("--measure", nargs="+", choices=MEASURES, default=["train"])
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--dtypes", nargs="+", choices=["fp32", "bf16"], default=["fp32"])
    parser.add_argument("--packing", nargs="+", choices=["unpacked", "packed"], default=["unpacked"])
    parser.add_argument("--steps", type=int, default=12, help="optimizer steps on the narrow model; a third on the wide one")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--conversations", type=int, default=20_000, help="how many are encoded")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--timeout", type=float, default=1800, metavar="SECONDS", help="of one run")
    parser.add_argument("--name", default="compare", help="of the file under results/")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the results go")
    add_part_option(parser)
    return parser.parse_args()


def main() -> None:
    """Install, make the work, measure, write."""
    args = parse_arguments()
    args.cache = args.cache.resolve()
    for name in sorted(set(args.only) & set(LEFT_OUT)):
        print(f"{name} is left out: {LEFT_OUT[name]}")
    tools = [TOOLS[name] for name in TOOLS if name in args.only]
    for tool in tools:
        tool.install(args.cache)
    machine = describe_machine()
    work = make_work(args.cache / "work", many=args.conversations)
    bench = Bench(args.cache, args.threads, args.timeout)
    figures: Run = earlier_figures(args.name, args.add, args.out) or {}
    figures["versions"] = {**figures.get("versions", {}), **{tool.name: tool.versions(args.cache) for tool in tools}}
    measures = {
        "train": measure_train,
        "encode": measure_encode,
        "merge": measure_merge,
        "pth_to_hf": measure_pth_to_hf,
        "startup": measure_startup,
    }
    try:
        for name in args.measure:
            found = measures[name](bench, tools, work, args)
            figures[name] = [*other_kinds(figures.get(name, []), found), *found] if name == "train" else found
    finally:  # what was finished before an interruption is kept
        print(save_results(args.name, machine, figures, args.out, args.add))
        shutil.rmtree(bench.scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
