"""Peak memory and speed of converting and encoding many generated conversations: it must not grow with their number.

    python benchmarks/encode_streaming.py [--sizes 20000 200000] [--add]

Each stage runs in a process of its own. Two peaks are sampled over it and its workers, 50 times a second: resident memory as
the system counts it, in which pages of memory-mapped files are included though they can be dropped at any time; and
anonymous memory, which is what the process really holds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from machine import add_part_option, describe_machine, earlier_figures, save_results, table

STAGES = ("convert", "encode")


class PeakMemory:
    """Samples this process and its descendants in a thread."""

    def __init__(self, interval: float = 0.02) -> None:
        self.interval = interval
        self.resident = self.anonymous = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *fault: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.is_set():
            resident, anonymous = family_memory(os.getpid())
            self.resident, self.anonymous = max(self.resident, resident), max(self.anonymous, anonymous)
            self._stop.wait(self.interval)


def family_memory(pid: int) -> tuple[int, int]:
    """Give resident and anonymous memory of a process and its descendants, in bytes."""
    sizes = [_memory(member) for member in _family(pid)]
    return sum(size[0] for size in sizes), sum(size[1] for size in sizes)


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        children = []
    return [pid, *(member for child in children for member in _family(int(child)))]


def _memory(pid: int) -> tuple[int, int]:
    """Give resident and anonymous memory in bytes; of a process that has just gone, nothing."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0, 0
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith(("VmRSS", "RssAnon"))}
    return sizes.get("VmRSS", 0), sizes.get("RssAnon", 0)


def run_stage(stage: str, folder: Path, tokenizer: str) -> dict[str, Any]:
    """Convert or encode in this process; give seconds and peaks."""
    os.environ["XAGENT_CACHE"], os.environ["HF_DATASETS_CACHE"] = str(folder / "cache"), str(folder / "hf")
    if stage == "convert":
        from xagent.convert.agent_flan import convert_agent_flan

        begin, used = time.perf_counter(), processor_seconds()
        with PeakMemory() as peak:
            report = convert_agent_flan(folder / "raw", folder / "converted")
        count = {"rows": report.written} if hasattr(report, "written") else {}
    else:
        from xagent.data import process_hf_dataset
        from xagent.data.formats import agent_flan_map_fn
        from xagent.model.loading import load_tokenizer

        loaded = load_tokenizer(tokenizer)
        begin, used = time.perf_counter(), processor_seconds()
        with PeakMemory() as peak:
            rows = process_hf_dataset(str(folder / "converted"), loaded, 4096, agent_flan_map_fn, template="llama3_chat")
        count = {"tokens": rows.report.tokens, "kept": rows.report.kept, "records": rows.report.records}
    times = {"seconds": time.perf_counter() - begin, "processor_seconds": processor_seconds() - used}
    return {**times, "peak_rss": peak.resident, "peak_anonymous": peak.anonymous, **count}


def processor_seconds() -> float:
    """Give the processor's seconds of this process and of its children that have ended."""
    return sum(os.times()[:4])


def generate(folder: Path, count: int) -> int:
    """Write the raw conversations; give their bytes."""
    from xagent.playground.records import write_raw_agent_flan

    write_raw_agent_flan(folder / "raw", count, seed=1)
    return sum(path.stat().st_size for path in (folder / "raw").iterdir())


def measure(count: int, tokenizer: str, keep: Path | None) -> dict[str, Any]:
    """Generate, then run each stage in a fresh process."""
    with tempfile.TemporaryDirectory(dir=keep) as name:
        folder = Path(name)
        figures: dict[str, Any] = {"conversations": count, "raw_bytes": generate(folder, count)}
        for stage in STAGES:
            words = [sys.executable, __file__, "--stage", stage, "--folder", str(folder), "--tokenizer", tokenizer]
            done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
            figures[stage] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    """Measure each size, print a table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[20_000, 200_000])
    parser.add_argument("--tokenizer", default="xagent:nano/base")
    add_part_option(parser)
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help="where the data is made, for a while (default: the system's)")
    args = parser.parse_args()
    if args.stage:
        print(json.dumps(run_stage(args.stage, args.folder, args.tokenizer)))
        return
    machine = describe_machine()
    sizes = {figures["conversations"]: figures for figures in earlier_figures("encode_streaming", args.add) or []}
    sizes.update({count: measure(count, args.tokenizer, args.folder) for count in args.sizes})
    measured = [sizes[count] for count in sorted(sizes)]
    rows = [
        [
            f"{figures['conversations']:,}",
            stage,
            f"{figures[stage]['seconds']:.1f}",
            f"{figures[stage]['processor_seconds']:.1f}",
            f"{figures['conversations'] / figures[stage]['processor_seconds']:,.0f}",
            f"{figures[stage]['peak_rss'] / 2**20:,.0f}",
            f"{figures[stage]['peak_anonymous'] / 2**20:,.0f}",
        ]
        for figures in measured
        for stage in STAGES
    ]
    headers = [
        "conversations",
        "stage",
        "seconds",
        "processor's seconds",
        "conversations in one",
        "peak RSS, MiB",
        "anonymous, MiB",
    ]
    print(table(headers, rows))
    print(save_results("encode_streaming", machine, measured, add=args.add))


if __name__ == "__main__":
    main()
