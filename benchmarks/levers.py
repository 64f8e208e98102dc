"""What each lever of the training step is worth: xagent's step with all of them, without each, and with one alone.

    python benchmarks/levers.py [--vocabulary 8192 128256] [--variants NAME...] [--steps 5] [--rounds 3] [--add]
    python benchmarks/levers.py --smoke        # what `make bench-smoke` runs: small, a minute; bf16 where the processor has it

Everyone trains the same model (Llama's shape, hidden 256, 6 layers) by LoRA r 8 on the same global batches of eight samples of
long-tailed length, 27 % of the tokens trained. The losses must be those of the bare loop (`bare_loop.py`), step for step: if not,
the exit code is 1. Times are printed and never judged. Runs are interleaved, each in a process of its own; medians are printed.
The first step of a run counts by itself, with what is compiled in it; ratios are of processor's seconds, which a machine's other
work disturbs less. The peak is of resident memory above what the process had when its libraries were loaded.

With --add the runs are added to those that were measured before, so that a long measurement can be cut into parts. The figures
and their picture are results/levers.json and results/levers.png.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from bare_loop import BareLoop, Sample
from machine import add_part_option, describe_machine, earlier_figures, save_results, table
from peft import LoraConfig
from step_clock import peak_bytes
from transformers import AutoModelForCausalLM, LlamaConfig

from xagent.data import default_collate_fn
from xagent.data.pack import pack_best_fit
from xagent.engine.environment import prepare_environment
from xagent.model import SupervisedFinetune, attention
from xagent.model.cpu_speed import bf16_is_faster
from xagent.model.loading import DTYPES, load_llm, nf4_on

GLOBAL_BATCH = 8
MAX_LENGTH = 1024
LR = 1e-3
TOLERANCE = {"fp32": 2e-4, "bf16": 3e-2}
# name -> what differs from "all levers"; "none of them" joins a micro-batch's samples in one row under a mask, nothing padded
_NONE: dict[str, Any] = dict(rows=False, attention="sdpa", all_logits=True, loss_chunk_size=None, fused_lora=False, fused=False)
NF4_REFERENCE = "NF4 in bf16: PEFT's layers"  # quantised weights have losses of their own
_NF4_RECOMPUTED: dict[str, Any] = dict(nf4=True, autocast_dtype="bf16", use_activation_checkpointing="full")
VARIANTS: dict[str, dict[str, Any]] = {
    "bare loop": {},
    "all levers": {},
    "none of them": _NONE,
    "only rows of whole samples": {**_NONE, "rows": True},
    "only attention inside samples": {**_NONE, "attention": attention.NAME},
    "only logits at trained positions": {**_NONE, "all_logits": False},
    "only chunks of logits": {**_NONE, "loss_chunk_size": "auto"},
    "only fused LoRA": {**_NONE, "fused_lora": True},
    "only fused AdamW": {**_NONE, "fused": True},
    "without rows of whole samples": dict(rows=False),
    "without attention inside samples": dict(attention="sdpa"),
    "without logits at trained positions only": dict(all_logits=True),
    "without chunks of logits": dict(loss_chunk_size=None),
    "without fused LoRA": dict(fused_lora=False),
    "without fused AdamW": dict(fused=False),
    "with bf16": dict(autocast_dtype="bf16"),
    "with selective recomputation": dict(use_activation_checkpointing="selective"),
    "with full recomputation": dict(use_activation_checkpointing="full"),
    "with torch.compile": dict(torch_compile=True),
    NF4_REFERENCE: dict(nf4=True, autocast_dtype="bf16", fused_lora=False),
    "NF4 in bf16: dequantised twice": dict(nf4=True, autocast_dtype="bf16", keep_dequantized=False),
    "NF4 in bf16: dequantised once": dict(nf4=True, autocast_dtype="bf16", keep_dequantized=True),
    "NF4 in bf16, recomputed: PEFT's layers": dict(**_NF4_RECOMPUTED, fused_lora=False),
    "NF4 in bf16, recomputed: dequantised three times": dict(**_NF4_RECOMPUTED, keep_dequantized=False),
    "NF4 in bf16, recomputed: dequantised twice": dict(**_NF4_RECOMPUTED, keep_dequantized=True),
}

_SLOW = ("with torch.compile",)


def model_config(vocabulary: int, smoke: bool) -> LlamaConfig:
    """Give the shape of the comparison's models, or a smaller one."""
    size = dict(hidden_size=256, intermediate_size=704, num_hidden_layers=6)
    if smoke:
        size = dict(hidden_size=128, intermediate_size=352, num_hidden_layers=3)
    return LlamaConfig(
        **size,
        num_attention_heads=8,
        num_key_value_heads=4,
        vocab_size=vocabulary,
        max_position_embeddings=4096,
    )


def make_samples(count: int, vocabulary: int, longest: int) -> list[Sample]:
    """Make samples of long-tailed length; the trained tokens come in stretches, as replies do."""
    generator, torch_generator = random.Random(7), torch.Generator().manual_seed(7)
    samples = []
    for _ in range(count):
        length = min(max(round(math.exp(generator.gauss(math.log(387), 0.62))), 137), longest)
        ids = torch.randint(0, vocabulary, (length,), generator=torch_generator)
        trained = torch.zeros(length, dtype=torch.bool)
        while float(trained.float().mean()) < 0.27:
            begin = generator.randrange(length)
            trained[begin : begin + 20] = True
        samples.append({"input_ids": ids, "labels": torch.where(trained, ids, -100)})
    return samples


class FastLoop:
    """xagent's step on the same global batches.

    Args:
        config: the language model's.
        batch_size: samples in a micro-batch where there are no rows.
        lr: learning rate.
        rows: pack a global batch into rows of at most ``MAX_LENGTH`` tokens, else join ``batch_size`` samples.
        attention: what attends inside rows.
        all_logits: let the head run everywhere, with weight 0 where nothing is trained.
        fused: AdamW in one kernel.
        nf4: quantise the frozen weights.
        options: of ``SupervisedFinetune``.
    """

    def __init__(
        self,
        config: Any,
        batch_size: int,
        lr: float,
        rows: bool = True,
        attention: str = attention.NAME,
        all_logits: bool = False,
        fused: bool = True,
        nf4: bool = False,
        **options: Any,
    ) -> None:
        torch.manual_seed(0)
        llm = AutoModelForCausalLM.from_config(config, attn_implementation=attention)
        if nf4:
            llm = quantised(llm, DTYPES[options["autocast_dtype"]], attention)
        lora = LoraConfig(r=8, lora_alpha=16, task_type="CAUSAL_LM", target_modules="all-linear")
        self.model = SupervisedFinetune(
            llm, lora=lora, **{"autocast_dtype": "fp32", "use_activation_checkpointing": "none", **options}
        ).train()
        self.rows, self.all_logits, self.batch_size = rows, all_logits, batch_size
        self.parameters = [each for each in self.model.parameters() if each.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=lr, weight_decay=0.0, fused=fused)

    def step(self, samples: list[Sample]) -> float:
        """Train on a global batch; give its loss."""
        batches = [default_collate_fn([samples[place] for place in places])["data"] for places in self._places(samples)]
        denominator = sum(batch["loss_weights"].sum() for batch in batches)
        total = 0.0
        for batch in batches:
            if self.all_logits:
                batch["labels"] = torch.where(batch["labels"] == -100, 0, batch["labels"])
            loss = self.model({**batch, "loss_denominator": denominator})["loss"]
            loss.backward()
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return total

    def _places(self, samples: list[Sample]) -> list[list[int]]:
        if self.rows:
            return pack_best_fit([len(sample["input_ids"]) for sample in samples], self.batch_size * MAX_LENGTH)
        return [list(range(begin, begin + self.batch_size)) for begin in range(0, len(samples), self.batch_size)]


def quantised(llm: Any, dtype: torch.dtype, attention: str) -> Any:
    """Give a model in NF4 with double quantisation, whose products are computed in `dtype`."""
    nf4 = nf4_on("cpu")
    nf4["quantization_config"].bnb_4bit_compute_dtype = dtype
    with tempfile.TemporaryDirectory() as folder:
        llm.save_pretrained(folder)
        path = dict(pretrained_model_name_or_path=folder, attn_implementation=attention)
        return load_llm(dict(type=AutoModelForCausalLM.from_pretrained, **path, **nf4), autocast=dtype)


def run_variant(name: str, vocabulary: int, steps: int, smoke: bool) -> dict[str, Any]:
    """Train one variant in this process."""
    prepare_environment()
    config = model_config(vocabulary, smoke)
    samples = make_samples(steps * GLOBAL_BATCH, vocabulary, 300 if smoke else MAX_LENGTH)
    settle(VARIANTS[name].get("autocast_dtype", "fp32"), VARIANTS[name].get("nf4", False))
    before = resident_bytes()
    make: Callable[..., Any] = BareLoop if name == "bare loop" else FastLoop
    loop = make(config, 2, LR, **VARIANTS[name])
    losses, first_step, processor, tokens, begin = [], 0.0, 0.0, 0, time.perf_counter()
    for place in range(steps):
        batch = samples[place * GLOBAL_BATCH : (place + 1) * GLOBAL_BATCH]
        losses.append(loop.step(batch))
        if place == 0:
            first_step = time.perf_counter() - begin
            begin, processor = time.perf_counter(), time.process_time()
        else:
            tokens += sum(len(sample["input_ids"]) for sample in batch)
    return {
        "losses": losses,
        "tokens_per_second": tokens / (time.perf_counter() - begin),
        "tokens_per_processor_second": tokens / (time.process_time() - processor),
        "peak_bytes": peak_bytes() - before,
        "first_step_seconds": first_step,
    }


def settle(autocast_dtype: str = "fp32", nf4: bool = False) -> None:
    """Run a step of a small model once, so that libraries have loaded what they load for this dtype."""
    config = LlamaConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, vocab_size=64
    )
    samples = make_samples(2, 64, 200)
    BareLoop(config, 2, LR).step(samples)
    FastLoop(config, 2, LR, autocast_dtype=autocast_dtype, nf4=nf4).step(samples)


def resident_bytes() -> int:
    """Give this process's resident memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def in_process(name: str, args: argparse.Namespace, vocabulary: int) -> dict[str, Any]:
    """Run a variant in a process of its own."""
    words = [sys.executable, __file__, "--variant", name, "--vocabulary", str(vocabulary), "--steps", str(args.steps)]
    done = subprocess.run([*words, *(["--smoke"] if args.smoke else [])], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def measure(args: argparse.Namespace, vocabulary: int, runs: dict[str, list[dict[str, Any]]]) -> None:
    """Run the variants so many rounds, by turns, and add the runs to those that are there."""
    for _ in range(args.rounds):
        for name in args.variants:
            run = run_variant(name, vocabulary, args.steps, True) if args.smoke else in_process(name, args, vocabulary)
            runs.setdefault(name, []).append(run)
            print(f"{time.strftime('%H:%M:%S')} {vocabulary}, {name}: {run['tokens_per_second']:,.0f}", file=sys.stderr)


def wrong_losses(runs: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Name the runs whose losses are not the bare loop's."""
    faults = []
    for name, each in runs.items():
        alike = [other for other in runs if other.startswith("NF4") == name.startswith("NF4")]
        reference = next((other for other in alike if other in ("bare loop", NF4_REFERENCE)), alike[0])
        expected = runs[reference][0]["losses"]
        tolerance = TOLERANCE["bf16" if "bf16" in name else "fp32"]
        for run in each:
            apart = max(abs(one - other) for one, other in zip(run["losses"], expected, strict=True))
            if not apart <= tolerance:
                faults.append(f"{name}: a loss differs by {apart:.2e} from {reference}'s (allowed: {tolerance:.0e})")
    return faults


def medians(runs: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, float]]:
    """Give each variant's medians, in the order of ``VARIANTS``."""
    keys = ("tokens_per_second", "tokens_per_processor_second", "peak_bytes", "first_step_seconds")

    def median(name: str, key: str) -> float:
        values = [run[key] for run in runs[name] if key in run]  # runs of before have no time of their first step
        return statistics.median(values) if values else math.nan

    return {name: {key: median(name, key) for key in keys} for name in VARIANTS if name in runs}


def shown(vocabulary: int, runs: dict[str, list[dict[str, Any]]], memory: bool) -> str:
    """Write medians and ratios as a table."""
    median = medians(runs)

    def times(rate: float, name: str) -> str:
        return f"{rate / median[name]['tokens_per_processor_second']:.2f}" if name in median else "-"

    rows = [
        [
            name,
            f"{figures['tokens_per_second']:,.0f}",
            f"{figures['tokens_per_processor_second']:,.0f}",
            times(figures["tokens_per_processor_second"], "bare loop"),
            times(figures["tokens_per_processor_second"], "all levers"),
            f"{figures['peak_bytes'] / 1e6:,.0f}" if memory else "-",
            "-" if math.isnan(figures["first_step_seconds"]) else f"{figures['first_step_seconds']:.1f}",
            f"{runs[name][0]['losses'][-1]:.4f}",
        ]
        for name, figures in median.items()
    ]
    headers = ["real tok/s", "a processor's second", "x bare loop", "x all levers", "peak, MB", "first step, s", "last loss"]
    return table([f"vocabulary {vocabulary:,}", *headers], rows)


def plot(results: dict[str, dict[str, list[dict[str, Any]]]], path: Path) -> None:
    """Draw speed and memory of every variant, a row for each vocabulary."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    colours = {"bare loop": "0.6", "none of them": "0.6", "all levers": "C2"}
    figure, axes = pyplot.subplots(len(results), 2, figsize=(11, 4.6 * len(results)), squeeze=False, sharey="row")
    for row, (vocabulary, runs) in zip(axes, results.items(), strict=True):
        median = medians(runs)
        columns = (("tokens_per_processor_second", 1.0, "real tokens a processor's second"), ("peak_bytes", 1e6, "peak, MB"))
        for one, (key, unit, label) in zip(row, columns, strict=True):
            values = [figures[key] / unit for figures in median.values()]
            one.barh(list(median), values, color=[colours.get(name, "C0") for name in median])
            one.set_xlabel(f"{label}, vocabulary {int(vocabulary):,}")
        row[0].invert_yaxis()
    figure.tight_layout()
    figure.savefig(path, dpi=90)


def main() -> None:
    """Measure, print, write; fail where a loss is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabulary", type=int, nargs="+")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--smoke", action="store_true", help="a small model in one process; nothing is written")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), help="default: all; with --smoke not those alone")
    add_part_option(parser)
    parser.add_argument("--variant", choices=list(VARIANTS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.vocabulary = args.vocabulary or ([2048, 32_768] if args.smoke else [8_192, 128_256])
    args.steps, args.rounds = args.steps or (4 if args.smoke else 5), args.rounds or (1 if args.smoke else 3)
    smoke = [name for name in VARIANTS if not name.startswith("only") and name not in _SLOW]
    if args.smoke and not bf16_is_faster():  # without instructions for it such a step takes eight times as long
        print("not run: the variants in bf16, which is no faster than fp32 on this processor")
        smoke = [name for name in smoke if "bf16" not in name]
    args.variants = args.variants or (smoke if args.smoke else list(VARIANTS))
    if args.variant:
        print(json.dumps(run_variant(args.variant, args.vocabulary[0], args.steps, args.smoke)))
        return
    machine = describe_machine()
    faults: list[str] = []
    results = earlier_figures("levers", args.add) or {}
    for vocabulary in args.vocabulary:
        runs = results.setdefault(str(vocabulary), {})
        measure(args, vocabulary, runs)
        print(shown(vocabulary, runs, memory=not args.smoke), flush=True)
        faults += wrong_losses(runs)
    if not args.smoke:
        path = save_results("levers", machine, results, add=args.add)
        plot(results, path.with_suffix(".png"))
        print(path)
    if faults:
        sys.exit("Wrong losses:\n" + "\n".join(faults))


if __name__ == "__main__":
    main()
