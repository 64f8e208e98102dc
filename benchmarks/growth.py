"""How the cost of training and encoding grows: speed and memory against sample length, row length, vocabulary, records and ranks.

    python benchmarks/growth.py [--only length rows vocabulary records ranks] [--longest 32768] [--most-records 1000000]
    python benchmarks/growth.py --only length --sizes 32768 --add        # one point more

The model is the comparison's (Llama's shape, hidden 256, 6 layers, vocabulary 8,192), by LoRA r 8 in fp32, 27 % of the tokens
trained. Every point runs in a process of its own; a step is run once before the clock starts, unless it takes over a minute:
then it is the figure. Rates are given by the clock and by the processor's seconds, which a machine's other work disturbs less;
plot and theory take the latter. Memory is the peak of resident memory above what the process had when its libraries were loaded;
for records the whole process's. Table and plot are written to results/growth.json and results/growth.png; the dotted lines are
what theory says, through the first point.

- length: one sample that fills its row. Work for a token is constant but for attention, which grows with the length.
- rows: samples of long-tailed length packed into longer rows. Work for a token is constant, whatever the row.
- vocabulary: rows of 4,096 tokens. The output head's work grows with it, at the trained positions; memory by its weights only.
- records: conversations encoded, which is as much work for each, in the same memory.
- ranks: processes on one core each, as much work for each of them (weak scaling).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from compare_work import make_work
from machine import RESULTS, add_part_option, describe_machine, earlier_figures, save_results, table

SUBJECTS = ("length", "rows", "vocabulary", "records", "ranks")
LENGTHS = (512, 1_024, 2_048, 4_096, 8_192, 16_384, 32_768)
VOCABULARIES = (2_048, 8_192, 32_768, 128_256, 256_000)
RECORDS = (1_000, 10_000, 100_000, 1_000_000)
Point = dict[str, Any]


# Points


def train_point(tokens: int, vocabulary: int, packed: bool) -> Point:
    """Train on one row, or on one sample, of so many tokens; give speed and memory."""
    import torch
    from levers import FastLoop, make_samples, model_config, resident_bytes, settle
    from step_clock import peak_bytes

    settle()
    before = resident_bytes()
    config = model_config(vocabulary, smoke=False)
    config.max_position_embeddings = max(tokens, 4096)
    loop = FastLoop(config, 2, 1e-3)
    samples = fill(make_samples(max(4, tokens // 150), vocabulary, min(1024, tokens)), tokens)
    if not packed:
        samples = [{key: torch.cat([sample[key] for sample in samples]) for key in ("input_ids", "labels")}]
    loop.batch_size = tokens  # one row
    seconds: list[float] = []
    processor: list[float] = []
    # The first step warms up; after it there are three to twenty, or one where it takes long.
    while len(seconds) < 2 or (len(seconds) < 4 and sum(seconds) < 40) or (len(seconds) < 21 and sum(seconds) < 6):
        began, used = time.perf_counter(), time.process_time()
        loop.step(samples)
        seconds.append(time.perf_counter() - began)
        processor.append(time.process_time() - used)
        if seconds[0] > 60:
            break
    first = 1 if len(seconds) > 1 else 0
    return {
        "rate": tokens / statistics.median(seconds[first:]),
        "processor_rate": tokens / statistics.median(processor[first:]),
        "steps": len(seconds) - first,
        "bytes": peak_bytes() - before,
    }


def fill(samples: list[Any], tokens: int) -> list[Any]:
    """Take samples until they hold so many tokens; the last is cut."""
    taken, left = [], tokens
    for sample in samples:
        if left <= 0:
            break
        taken.append({key: values[:left] for key, values in sample.items()})
        left -= len(sample["input_ids"])
    return taken


def encode_point(records: int, work: Path) -> Point:
    """Encode so many conversations in this process."""
    from step_clock import peak_bytes
    from transformers import AutoTokenizer

    from xagent.data import process_hf_dataset
    from xagent.data.formats import openai_map_fn

    with tempfile.TemporaryDirectory() as name:
        os.environ["XAGENT_CACHE"] = name
        os.environ["HF_DATASETS_CACHE"] = f"{name}/hf"
        data = Path(name) / "data.jsonl"
        lines = (work / "data" / "train_2000.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        random.Random(0).shuffle(lines)
        with data.open("w", encoding="utf-8") as file:
            for place in range(records):
                file.write(lines[place % len(lines)])
        tokenizer = AutoTokenizer.from_pretrained(work / "models" / "narrow")
        begin, used = time.perf_counter(), sum(os.times()[:4])
        rows = process_hf_dataset(str(data), tokenizer, 1024, openai_map_fn, template="qwen_chat", num_proc=1)
        seconds, processor = time.perf_counter() - begin, sum(os.times()[:4]) - used
        assert rows.report.records == records
    return {"rate": records / seconds, "processor_rate": records / processor, "bytes": peak_bytes()}


def ranks_point(ranks: int, work: Path) -> Point:
    """Train with so many processes, each on a core and a thread of its own and with as many rows."""
    from alternatives import Job, write_xagent_config
    from compare import rates

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clock = folder / "clock.json"
        job = Job(work / "models" / "narrow", work / "data" / "train_2000.jsonl", folder / "job", "fp32", packed=True, steps=8)
        config = write_xagent_config(job, clock)
        words = [sys.executable, "-m", "xagent.cli", "train", str(config), "--work-dir", str(folder / "work")]
        root = Path(__file__).resolve().parents[1]
        paths = os.pathsep.join((str(root), str(root / "benchmarks")))
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "XAGENT_CACHE": str(folder / "cache"), "PYTHONPATH": paths}
        environment["BENCHMARK_START"] = repr(time.time())
        subprocess.run([*words, "--nproc-per-node", str(ranks)], check=True, env=environment, stdout=subprocess.DEVNULL)
        steps = json.loads(clock.read_text())["steps"]
    return {"rate": ranks * rates(steps)["tokens_per_second"]}


# Measuring


def in_process(words: list[str]) -> Point:
    """Run a point in a process of its own."""
    done = subprocess.run([sys.executable, __file__, "--point", *words], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def points_of(subject: str, args: argparse.Namespace) -> list[tuple[int, list[str]]]:
    """Give the sizes of a subject, with the words that measure each."""
    cache = str(args.cache)
    if subject in ("length", "rows"):
        kind = "1" if subject == "rows" else "0"
        points = [(size, ["train", str(size), "8192", kind]) for size in LENGTHS if size <= args.longest]
    elif subject == "vocabulary":
        points = [(size, ["train", "4096", str(size), "1"]) for size in VOCABULARIES]
    elif subject == "records":
        points = [(size, ["encode", str(size), cache]) for size in RECORDS if size <= args.most_records]
    else:
        points = [(size, ["ranks", str(size), cache]) for size in (1, 2)]
    return [point for point in points if not args.sizes or point[0] in args.sizes]


def run_point(words: list[str]) -> Point:
    """Measure what :func:`points_of` describes."""
    kind, size = words[0], int(words[1])
    if kind == "train":
        return train_point(size, int(words[2]), words[3] == "1")
    return (encode_point if kind == "encode" else ranks_point)(size, Path(words[2]))


def expected(subject: str, sizes: list[int], rates: list[float]) -> list[float]:
    """Give the rates that theory says, from the first one."""
    if subject == "length":
        # A token's work is 4 FLOP for each of 4.4 M frozen weights, and in 6 layers of width 256, causal, 6 * 256 for each
        # token before it, of which there are half the length.
        work = [4 * 4.4e6 + 6 * 6 * 256 * size / 2 * 2 for size in sizes]
        return [rates[0] * work[0] / each for each in work]
    if subject == "vocabulary":
        work = [4 * 4.4e6 + 0.27 * 4 * 256 * size for size in sizes]
        return [rates[0] * work[0] / each for each in work]
    if subject == "ranks":
        return [rates[0] * size / sizes[0] for size in sizes]
    return [rates[0]] * len(sizes)


def speed_of(point: Point) -> float:
    """Give tokens or records a processor's second; for ranks, which wait for each other, a second."""
    return float(point.get("processor_rate", point["rate"]))


def shown(subject: str, points: list[Point]) -> str:
    """Write the points as a table."""
    speed = [speed_of(point) for point in points]
    theory = expected(subject, [point["size"] for point in points], speed)
    rows = [
        [
            f"{point['size']:,}",
            f"{point['rate']:,.0f}",
            f"{own:,.0f}",
            f"{rate:,.0f}",
            f"{point['bytes'] / 1e6:,.0f}" if "bytes" in point else "-",
        ]
        for point, own, rate in zip(points, speed, theory, strict=True)
    ]
    return table([subject, "a second", "a processor's second", "in theory", "peak, MB"], rows)


def plot(figures: dict[str, list[Point]], path: Path) -> None:
    """Draw a column for each subject: speed above, memory below."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown, axes = pyplot.subplots(2, len(figures), figsize=(3.4 * len(figures), 6), squeeze=False)
    for column, (subject, points) in enumerate(figures.items()):
        sizes, speed = [point["size"] for point in points], [speed_of(point) for point in points]
        above, below = axes[0][column], axes[1][column]
        above.plot(sizes, speed, "o-", label="measured")
        above.plot(sizes, expected(subject, sizes, speed), "k:", label="theory")
        above.set_title(subject)
        above.set_ylabel("conversations/s" if subject == "records" else "tokens/s")
        above.set_ylim(0, 1.1 * max(speed))
        above.legend()
        memory = [point.get("bytes") for point in points]
        if all(memory):
            taken = [size / 1e6 for size in memory if size]
            below.plot(sizes, taken, "o-")
            if subject in ("length", "rows"):
                below.plot(sizes, [taken[0] * size / sizes[0] for size in sizes], "k:", label="as many times more")
                below.legend()
            below.set_yscale("log", base=2)
            below.set_ylim(min(taken) / 2, max(taken) * 2)
            below.set_ylabel("peak, MB")
            below.yaxis.set_major_formatter("{x:,.0f}")
        else:
            below.set_axis_off()
        for one in (above, below):
            one.set_xscale("log", base=2)
    shown.tight_layout()
    shown.savefig(path, dpi=90)


def main() -> None:
    """Measure, print, plot, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SUBJECTS, default=list(SUBJECTS))
    parser.add_argument("--longest", type=int, default=32_768, help="tokens of the longest sample and row")
    parser.add_argument("--most-records", type=int, default=1_000_000)
    parser.add_argument("--sizes", type=int, nargs="+", help="only these points")
    add_part_option(parser)
    cache = Path(tempfile.gettempdir()) / "xagent_growth"
    parser.add_argument("--cache", type=Path, default=cache, help="models and data, made once")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the results go")
    parser.add_argument("--point", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.point:
        print(json.dumps(run_point(args.point)))
        return
    machine = describe_machine()
    if {"records", "ranks"} & set(args.only):
        make_work(args.cache, many=200)
    figures: dict[str, list[Point]] = earlier_figures("growth", args.add, args.out) or {}
    for subject in args.only:
        points = {point["size"]: point for point in figures.get(subject, [])}
        for size, words in points_of(subject, args):
            points[size] = {"size": size, **in_process(words), "commit": machine["commit"]}
            print(f"{time.strftime('%H:%M:%S')} {subject} {points[size]}", file=sys.stderr, flush=True)
        figures[subject] = [points[size] for size in sorted(points)]
        print(shown(subject, figures[subject]), flush=True)
    figures = {subject: figures[subject] for subject in SUBJECTS if subject in figures}
    path = save_results("growth", machine, figures, args.out, args.add)
    plot(figures, path.with_suffix(".png"))
    print(path)


if __name__ == "__main__":
    main()
