"""Takes the figures of docs/scaling.md again: every benchmark that needs one CPU core, in parts of a few minutes each.

    python benchmarks/everything.py [--only train_overhead levers ...] [--with "taskset -c 0"] [--list]

Each part is a process of its own, on one thread, behind the words of --with if there are any (to pin it, or to wait for a turn).
A benchmark's first part starts its file in results/ anew, the others add to it. A part that fails ends that benchmark, and the
exit code is 1. --list prints the parts with the minutes that they take on one slow core, about.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
_ALONE = '"bare loop" "all levers" "none of them" "only rows of whole samples" "only attention inside samples"'
_ALONE_TOO = '"only logits at trained positions" "only chunks of logits" "only fused LoRA" "only fused AdamW"'
_LEFT_OUT = '"without rows of whole samples" "without attention inside samples" "without logits at trained positions only"'
_LEFT_OUT_TOO = '"without chunks of logits" "without fused LoRA" "without fused AdamW"'
_WITH = '"with bf16" "with selective recomputation" "with full recomputation"'
_NF4 = """\
"NF4 in bf16: PEFT's layers" "NF4 in bf16: dequantised twice" "NF4 in bf16: dequantised once" \
"NF4 in bf16, recomputed: PEFT's layers" "NF4 in bf16, recomputed: dequantised three times" \
"NF4 in bf16, recomputed: dequantised twice\""""
_NARROW = "--vocabulary 8192 --rounds 1 --variants"
_WIDE = "--vocabulary 128256 --rounds 1 --steps 3 --add --variants"
_LEVERS = [
    (3.0, f"{_NARROW} {_ALONE} {_ALONE_TOO} --add"),
    (3.0, f"{_NARROW} {_LEFT_OUT} {_LEFT_OUT_TOO} {_WITH} --add"),
    (1.5, f'{_NARROW} "with torch.compile" --add'),
    (2.5, f"{_NARROW} {_NF4} --add"),
    (1.5, f'{_WIDE} "with torch.compile"'),
    (3.0, f"{_WIDE} {_ALONE}"),
    (2.0, f"{_WIDE} {_ALONE_TOO}"),
    (1.5, f"{_WIDE} {_LEFT_OUT}"),
    (2.0, f"{_WIDE} {_LEFT_OUT_TOO} {_WITH}"),
]
# benchmark -> (minutes, its words); every part but the first has --add
PARTS: dict[str, list[tuple[float, str]]] = {
    "train_overhead": [(1.6, "")],
    "levers": [(3.0, f"{_NARROW} {_ALONE} {_ALONE_TOO}"), *_LEVERS[1:], *_LEVERS],
    "profile_step": [
        (2.0, ""),
        (1.5, "--dtypes fp32 --packing 512 2048 8192 --steps 3 --add"),
    ],
    "memory_estimate": [
        (3.5, "--models nano"),
        (5.0, "--models wide --add"),
        (3.0, "--models nano --ways lora --tokens 32768 --samples 64 --add"),
    ],
    "startup": [(3.5, "--rounds 3")],
    "growth": [
        (3.2, "--only length rows --longest 8192"),
        (1.4, "--only vocabulary --add"),
        (2.0, "--only rows --sizes 16384 32768 --add"),
        (2.0, "--only length --sizes 16384 --add"),
        (5.0, "--only length --sizes 32768 --add"),
        (2.0, "--only records --sizes 1000 10000 100000 --add"),
        (16.0, "--only records --sizes 1000000 --add"),
    ],
    "encode_streaming": [(0.7, "--sizes 20000"), (6.0, "--sizes 200000 --add")],
    "prepare_killed": [(30.0, "--num-proc 1")],
}


def run(benchmark: str, words: str, before: list[str]) -> bool:
    """Run a part; tell whether it succeeded."""
    command = [*before, sys.executable, str(HERE / f"{benchmark}.py"), *shlex.split(words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent)}
    begin = time.perf_counter()
    done = subprocess.run(command, env=environment, cwd=HERE.parent)
    print(f"{benchmark} {words}: {(time.perf_counter() - begin) / 60:.1f} minutes, exit code {done.returncode}", flush=True)
    return done.returncode == 0


def main() -> None:
    """Run the parts, or list them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--with", dest="before", type=shlex.split, default=[], metavar="WORDS", help="put before each command")
    parser.add_argument("--list", action="store_true", help="print the parts")
    args = parser.parse_args()
    failed = []
    for benchmark in args.only:
        for minutes, words in PARTS[benchmark]:
            if args.list:
                print(f"{minutes:5.1f} min  python benchmarks/{benchmark}.py {words}".rstrip())
            elif not run(benchmark, words, args.before):
                failed.append(benchmark)
                break
    if failed:
        sys.exit(f"Failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
