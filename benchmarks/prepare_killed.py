"""`xagent data prepare` on many generated conversations, killed half-way and run again: time, memory, nothing lost or doubled.

    python benchmarks/prepare_killed.py [--count 1000000] [--num-proc N] [--folder DIR]
    python benchmarks/prepare_killed.py --folder DIR --stages generate        # then kill, resume, check: a long run in parts

The first run is killed with SIGKILL as soon as half of the records are encoded; the second one goes on. Peaks are those of
`encode_streaming.py`: resident memory, and of it what is anonymous, over the process and its workers. Every conversation has a
number in its text, so that no two give the same tokens: at the end the shards must hold as many samples as there were
conversations, no two alike. The embedded tokenizer is used, so that nothing is downloaded.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
from encode_streaming import family_memory, processor_seconds
from machine import describe_machine, save_results, table

STAGES = ("generate", "kill", "resume", "check")
CONFIG = """
from mmengine.config import read_base
with read_base():
    from {base} import *
pretrained_model_name_or_path = "xagent:nano/base"
data_path = {data!r}
max_length = 4096
"""


class Bench:
    """The stages, which leave in a folder what the next ones need.

    Args:
        folder: for data, cache and output.
        count: conversations.
        num_proc: tokenising processes.
    """

    def __init__(self, folder: Path, count: int, num_proc: int) -> None:
        self.folder, self.count, self.num_proc = folder, count, num_proc
        self.data, self.out, self.cache = folder / "data.jsonl", folder / "out", folder / "cache"

    def generate(self) -> dict[str, Any]:
        """Write conversations one by one, so that generating needs no memory either."""
        from xagent.playground.records import agent_flan_record, training_conversations

        begin = time.perf_counter()
        with self.data.open("w", encoding="utf-8") as file:
            for place, (_, episodes) in enumerate(training_conversations(self.count, 1, 0.6, 3)):
                record = agent_flan_record(episodes)
                first = next(turn for turn in record["conversation"] if turn["role"] == "user")
                first["content"] += f" ({place})"
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
        return {"seconds": time.perf_counter() - begin, "bytes": self.data.stat().st_size}

    def kill(self) -> dict[str, Any]:
        """Prepare until half is encoded."""
        from xagent.data.parts import ROWS_IN_PART

        run = watch(self._start(), self.cache, max(self.count // ROWS_IN_PART // 2, 1))
        assert run["returncode"] == -signal.SIGKILL, "it ended before it was killed"
        return {**run, "encoded": len(finished_parts(self.cache)) * ROWS_IN_PART}

    def resume(self) -> dict[str, Any]:
        """Prepare the rest."""
        from xagent.data.parts import ROWS_IN_PART

        before = len(finished_parts(self.cache)) * ROWS_IN_PART
        run = watch(self._start(), self.cache, None)
        assert run["returncode"] == 0
        return {**run, "encoded": self.count - before}

    def check(self) -> dict[str, Any]:
        """Count the samples in the shards, and how many of them differ."""
        manifest = json.loads((self.out / "manifest.json").read_text())
        counts = manifest["counts"]
        assert sum(manifest["report"]["outcomes"].values()) == counts["records"] == self.count
        found: set[bytes] = set()
        samples = tokens = 0
        for path in sorted(self.out.glob("shard-*.arrow")):
            with pa.memory_map(str(path)) as file:
                for batch in pa.ipc.open_stream(file):
                    for ids, lengths in zip(batch["input_ids"], batch["lengths"], strict=True):
                        row, begin = ids.values.to_numpy(), 0
                        for length in lengths.as_py():
                            found.add(hashlib.blake2b(row[begin : begin + length].tobytes(), digest_size=16).digest())
                            begin, samples, tokens = begin + length, samples + 1, tokens + length
        assert samples == len(found) == counts["samples"] and tokens == counts["tokens"]
        return {"samples_found": samples, "different_ones": len(found), **counts}

    def _start(self) -> subprocess.Popen[bytes]:
        base, config = self.folder / "_base_", self.folder / "prepare_killed.py"
        if not base.exists():
            base.symlink_to(Path(__file__).resolve().parents[1] / "configs" / "_base_")
        config.write_text(CONFIG.format(base="._base_.agent_sft", data=str(self.data)))
        environment = {**os.environ, "XAGENT_CACHE": str(self.cache), "HF_DATASETS_CACHE": str(self.folder / "hf")}
        words = ["data", "prepare", str(config), str(self.out), "--num-proc", str(self.num_proc)]
        return subprocess.Popen([sys.executable, "-m", "xagent.cli", *words], env=environment)


def finished_parts(cache: Path) -> list[Path]:
    """Give the accounts of the parts that are encoded."""
    return list(cache.glob("datasets/*/part-*.json"))


def watch(process: subprocess.Popen[bytes], cache: Path, stop_at: int | None) -> dict[str, Any]:
    """Wait for a process, sampling its memory; kill it once so many parts are finished."""
    begin, used, resident, anonymous = time.perf_counter(), processor_seconds(), 0, 0
    while process.poll() is None:
        sizes = family_memory(process.pid)
        resident, anonymous = max(resident, sizes[0]), max(anonymous, sizes[1])
        if stop_at is not None and len(finished_parts(cache)) >= stop_at:
            process.send_signal(signal.SIGKILL)
            process.wait()
        time.sleep(0.1)
    return {
        "seconds": time.perf_counter() - begin,
        "processor_seconds": processor_seconds() - used,
        "peak_rss": resident,
        "peak_anonymous": anonymous,
        "returncode": process.returncode,
    }


def shown(figures: dict[str, Any]) -> str:
    """Write both runs as a table."""
    rows = [
        [
            name,
            f"{figures[stage]['encoded']:,}",
            f"{figures[stage]['seconds']:.0f}",
            f"{figures[stage]['processor_seconds']:.0f}",
            f"{figures[stage]['peak_rss'] / 2**20:,.0f}",
            f"{figures[stage]['peak_anonymous'] / 2**20:,.0f}",
        ]
        for stage, name in (("kill", "killed"), ("resume", "resumed"))
    ]
    found = f"{figures['check']['samples_found']:,} samples, {figures['check']['different_ones']:,} different ones"
    return (
        table(["run", "records encoded", "seconds", "processor's seconds", "peak RSS, MiB", "of it anonymous, MiB"], rows)
        + "\n"
        + found
    )


def main() -> None:
    """Measure, print a table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--num-proc", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--folder", type=Path, help="where everything is made and stays (default: for a while, in the system's)")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    args = parser.parse_args()
    if args.folder is None and len(args.stages) < len(STAGES):
        parser.error("some stages without the others need a --folder that stays")
    with tempfile.TemporaryDirectory() as name:
        folder = args.folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        bench, kept = Bench(folder, args.count, args.num_proc), folder / "figures.json"
        figures = json.loads(kept.read_text()) if kept.exists() else {}
        for stage in args.stages:
            machine = describe_machine()
            figures[stage] = {**getattr(bench, stage)(), "begun": machine["begun"], "commit": machine["commit"]}
            kept.write_text(json.dumps(figures))
    if len(figures) == len(STAGES):
        print(shown(figures))
        content = {"count": args.count, "num_proc": args.num_proc, **{stage: figures[stage] for stage in STAGES}}
        print(save_results("prepare_killed", machine, content))


if __name__ == "__main__":
    main()
