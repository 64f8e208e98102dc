"""ZeRO-2's bucket sizes and overlap on two processes, a core and a thread each: for LoRA's few gradients and for all of them.

    python benchmarks/deepspeed_settings.py [--kinds lora full] [--buckets 500000 5000000 200000000] [--steps 6] [--add]

The work is the comparison's narrow model (8.6 M parameters, 0.2 M of LoRA's) in packed rows of 1,024 tokens; settings are
`configs/deepspeed/deepspeed_zero2.json` but for `overlap_comm`, `reduce_bucket_size` and `allgather_bucket_size` (elements).
Plain DDP stands beside them. Runs are interleaved; medians are printed and written to results/deepspeed_settings.json. Between
processes of one machine without GPUs (gloo) nothing overlaps and a reduction is a copy: what a network is worth this can't say.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from alternatives import ROOT, Job, write_xagent_config
from compare import rates
from compare_work import make_work
from machine import RESULTS, add_part_option, describe_machine, earlier_figures, save_results, table

DEFAULTS = ROOT / "configs" / "deepspeed" / "deepspeed_zero2.json"
DDP = "DDP"


def settings(buckets: list[int]) -> dict[str, dict[str, Any] | None]:
    """Name what is compared: what differs from the defaults, None for plain DDP."""
    found: dict[str, dict[str, Any] | None] = {DDP: None}
    for size in buckets:
        for overlap in (True, False):
            name = f"buckets of {size:,}, {'overlapped' if overlap else 'in turn'}"
            found[name] = dict(reduce_bucket_size=size, allgather_bucket_size=size, overlap_comm=overlap)
    return found


def run(kind: str, changes: dict[str, Any] | None, work: dict[str, Path], steps: int) -> dict[str, float]:
    """Train on two processes; give tokens/s of both and the loss of the last step."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clock = folder / "clock.json"
        config = write_xagent_config(Job(work["narrow"], work["train"], folder / "job", "fp32", packed=True, steps=steps), clock)
        words = [sys.executable, "-m", "xagent.cli", "train", str(config), "--work-dir", str(folder / "work")]
        words += ["--nproc-per-node", "2"]
        if kind == "full":
            words += ["--cfg-options", "model.lora=None"]
        if changes is not None:
            given = json.loads(DEFAULTS.read_text(encoding="utf-8"))
            given["zero_optimization"] |= changes
            file = folder / "zero2.json"
            file.write_text(json.dumps(given), encoding="utf-8")
            words += ["--deepspeed", str(file)]
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "DS_ACCELERATOR": "cpu",
            "XAGENT_CACHE": str(folder / "cache"),
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "benchmarks"))),
            "BENCHMARK_START": repr(time.time()),
        }
        subprocess.run(words, check=True, env=environment, stdout=subprocess.DEVNULL)
        taken = json.loads(clock.read_text(encoding="utf-8"))["steps"]
    return {"tokens_per_second": 2 * rates(taken)["tokens_per_second"], "last_loss": taken[-1]["loss"]}


def shown(kind: str, runs: dict[str, list[dict[str, float]]]) -> str:
    """Write medians as a table, beside DDP's."""
    speed = {name: statistics.median(each["tokens_per_second"] for each in taken) for name, taken in runs.items() if taken}
    rows = [
        [
            name,
            f"{rate:,.0f}",
            f"{rate / speed[DDP]:.2f}" if DDP in speed else "-",
            f"{runs[name][-1]['last_loss']:.4f}",
            str(len(runs[name])),
        ]
        for name, rate in speed.items()
    ]
    return table([kind, "tokens/s of two processes", "x DDP", "last loss", "runs"], rows)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=["lora", "full"], default=["lora", "full"])
    parser.add_argument("--buckets", type=int, nargs="+", default=[500_000, 5_000_000, 200_000_000], help="elements")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=6, help="optimizer steps of a run")
    add_part_option(parser)
    cache = Path(tempfile.gettempdir()) / "xagent_growth"
    parser.add_argument("--cache", type=Path, default=cache, help="models and data, made once")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the results go")
    args = parser.parse_args()
    machine = describe_machine()
    work = make_work(args.cache, many=200)
    figures: dict[str, dict[str, list[dict[str, float]]]] = earlier_figures("deepspeed_settings", args.add, args.out) or {}
    for kind in args.kinds:
        runs = figures.setdefault(kind, {})
        for _ in range(args.rounds):
            for name, changes in settings(args.buckets).items():
                runs.setdefault(name, []).append(run(kind, changes, work, args.steps))
                print(f"{time.strftime('%H:%M:%S')} {kind}, {name}: {runs[name][-1]}", file=sys.stderr, flush=True)
        print(shown(kind, runs), flush=True)
    print(save_results("deepspeed_settings", machine, figures, args.out, args.add))


if __name__ == "__main__":
    main()
