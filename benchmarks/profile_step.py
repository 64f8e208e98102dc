"""Where a training step's time goes: the comparison's work, part by part, beside what its arithmetic takes at least.

    python benchmarks/profile_step.py [--models narrow] [--dtypes fp32 bf16] [--packing unpacked] [--steps 10] [--add]
    python benchmarks/profile_step.py --dtypes fp32 --packing 512 2048 8192 --steps 3 --add      # one long sample a row

xagent's step on the work of `compare.py` (LoRA r 8 on all linear layers, rows of two samples or packed ones of 1,024 tokens, four
micro-batches an optimizer step), first by the clock alone, then under torch's profiler, whose own cost makes small operations
look dearer: the shares are the profiler's, the microseconds a token are these shares of the time without it. Products are told
apart by where they run and by their sizes, with their multiplications and additions. The least is those at the rate that the
core reaches in a large product of the same dtype; attention's are the six causal products of forward and backward pass.
Figures go to results/profile_step.json.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from compare_work import MODELS, SHAPE, make_work
from machine import add_part_option, describe_machine, earlier_figures, save_results, table
from peft import LoraConfig
from torch.profiler import ProfilerActivity, profile, record_function
from transformers import AutoModelForCausalLM, AutoTokenizer

from xagent.data import default_collate_fn, process_hf_dataset
from xagent.data.formats import openai_map_fn
from xagent.data.pack import pack_best_fit
from xagent.engine.environment import prepare_environment
from xagent.model import SupervisedFinetune, sft

ACCUMULATION = 4
RANK = 8
HEAD = "benchmark: head"
PARTS = (
    "products with frozen weights",
    "attention",
    "products of LoRA",
    "products of the head",
    "other work of the head",
    "sums, norms, activations",
    "copies, filling, joining",
    "optimizer, clipping",
    "views, allocation, autograd's own work",
    "Python between operations",
)
_PRODUCTS = {"aten::mm", "aten::addmm", "aten::bmm", "aten::addmm_", "aten::mkldnn_linear", "mkldnn::_linear_pointwise"}
_COPIES = ("copy", "fill", "zero_", "cat", "clone", "contiguous", "embedding", "index", "where", "nonzero")
_VIEWS = (
    "view",
    "reshape",
    "transpose",
    "permute",
    "expand",
    "slice",
    "select",
    "split",
    "as_strided",
    "unsqueeze",
    "narrow",
    "t",
)
_NOTHING = ("empty", "detach", "alias", "resize", "to", "_to_copy", "unbind", "linear", "matmul", "lift_fresh", "result_type")
_OPTIMIZER = ("adam", "optimizer", "_foreach", "clip_grad", "linalg_vector_norm")


def make_rows(work: dict[str, Path], packing: str, count: int) -> list[list[dict[str, Any]]]:
    """Encode the comparison's conversations; give ``count`` micro-batches of them in a seeded order.

    Args:
        packing: ``unpacked``: two samples each; ``packed``: two packed rows; a number: one sample of so many tokens, of several.
    """
    tokenizer = AutoTokenizer.from_pretrained(work["narrow"])
    encoded = process_hf_dataset(
        str(work["train"]), tokenizer, 1024, openai_map_fn, template="qwen_chat", pack_to_max_length=False, num_proc=1
    )
    samples = list(encoded)
    random.Random(0).shuffle(samples)
    if packing.isdigit():
        return [[joined(samples[place::count], int(packing))] for place in range(count)]
    if packing == "unpacked":
        return [samples[begin : begin + 2] for begin in range(0, 2 * count, 2)]
    lengths = [sum(sample["lengths"]) for sample in samples]
    rows = [[samples[place] for place in places] for places in pack_best_fit(lengths, 1024)]
    random.Random(1).shuffle(rows)
    return [rows[begin] + rows[begin + 1] for begin in range(0, 2 * count, 2)]


def joined(samples: list[dict[str, Any]], length: int) -> dict[str, Any]:
    """Make one sample of so many tokens out of many."""
    values = {key: [value for sample in samples for value in sample[key]] for key in ("input_ids", "labels", "loss_weights")}
    assert len(values["input_ids"]) >= length
    return {**{key: each[:length] for key, each in values.items()}, "lengths": [length]}


def make_step(base: Path, dtype: str) -> Callable[[list[list[dict[str, Any]]]], None]:
    """Give a function that takes an optimizer step."""
    torch.manual_seed(0)
    llm = dict(type=AutoModelForCausalLM.from_pretrained, pretrained_model_name_or_path=str(base), dtype="float32")
    lora = dict(type=LoraConfig, r=RANK, lora_alpha=16, lora_dropout=0.0, task_type="CAUSAL_LM")
    model = SupervisedFinetune(llm, lora=lora, autocast_dtype=dtype, use_activation_checkpointing=False).train()
    parameters = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=2e-4, fused=True)

    def step(window: list[list[dict[str, Any]]]) -> None:
        batches = [default_collate_fn(rows)["data"] for rows in window]
        denominator = sum(batch["loss_weights"].sum() for batch in batches)
        for batch in batches:
            model({**batch, "loss_denominator": denominator})["loss"].backward()
        with record_function("benchmark: optimizer"):
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return step


def watch_head() -> None:
    """Let the profiler see where the output head and the loss run."""
    run = sft.chunked_token_loss

    def watched(*arguments: Any) -> Any:
        with record_function(HEAD):
            return run(*arguments)

    sft.chunked_token_loss = watched


def product_rate(dtype: torch.dtype) -> float:
    """Measure FLOP/s of a large square product: the best of a second's."""
    one, other = (torch.randn(1024, 1024, dtype=dtype) for _ in range(2))
    best, until = math.inf, time.perf_counter() + 1
    while time.perf_counter() < until:
        begin = time.perf_counter()
        one @ other
        best = min(best, time.perf_counter() - begin)
    return 2 * 1024**3 / best


def attention_flops(length: int) -> float:
    """Give a sample's: two causal products forward, four backward, in all layers."""
    return 6 * SHAPE["num_hidden_layers"] * SHAPE["hidden_size"] * float(length) ** 2


def is_within(event: Any, name: str) -> bool:
    """Tell whether an event runs inside another of that name."""
    while event is not None:
        if event.name == name:
            return True
        event = event.cpu_parent
    return False


def flops_of(shapes: list[Any]) -> float:
    """Give the multiplications and additions of a product of two matrices; of three operands the first is what is added to."""
    matrices = [shape for shape in shapes if len(shape) >= 2]
    if len(matrices) < 2:
        return 0.0
    one, other = matrices[-2:]
    inner = one[-1]
    return 2.0 * math.prod(one) * math.prod(other) / inner


def part_of(event: Any) -> str:
    """Say to which of :data:`PARTS` an event's own time belongs."""
    name = event.name.rpartition("::")[2].lower()
    if is_within(event, "benchmark: optimizer") or any(each in event.name.lower() for each in _OPTIMIZER):
        return "optimizer, clipping"
    if "scaled_dot_product" in event.name or "flash" in event.name:
        return "attention"
    if event.name in _PRODUCTS:
        if is_within(event, HEAD):
            return "products of the head"
        sizes = {size for shape in event.input_shapes for size in shape}
        return "products of LoRA" if RANK in sizes else "products with frozen weights"
    if name in (*_VIEWS, *_NOTHING) or event.name.startswith(("autograd::", "benchmark:", "torch::autograd", "_")):
        return "views, allocation, autograd's own work"
    if not event.name.startswith("aten::"):
        return "views, allocation, autograd's own work"
    if is_within(event, HEAD):
        return "other work of the head"
    return "copies, filling, joining" if any(each in name for each in _COPIES) else "sums, norms, activations"


def measure(work: dict[str, Path], model: str, dtype: str, packing: str, steps: int) -> dict[str, Any]:
    """Take a case's time, profile it, and sum up."""
    window = 1 if packing.isdigit() else ACCUMULATION
    micro_batches = make_rows(work, packing, (steps + 1) * window)
    windows = [micro_batches[begin : begin + window] for begin in range(0, len(micro_batches), window)]
    lengths = [length for window in windows[1:] for rows in window for row in rows for length in row["lengths"]]
    step = make_step(work[model], dtype)
    step(windows[0])
    took = []
    for window in windows[1:]:
        begin = time.process_time()
        step(window)
        took.append(time.process_time() - begin)
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiler:
        begin = time.perf_counter()
        for window in windows[1:]:
            step(window)
        profiled = time.perf_counter() - begin
    seconds: dict[str, float] = defaultdict(float)
    flops: dict[str, float] = defaultdict(float)
    for event in profiler.events():
        part = part_of(event)
        seconds[part] += event.self_cpu_time_total / 1e6
        if part.startswith("products"):
            flops[part] += flops_of(event.input_shapes)
    seconds["Python between operations"] = max(profiled - sum(seconds.values()), 0.0)
    flops["attention"] = sum(map(attention_flops, lengths))
    tokens = sum(lengths)
    rate = product_rate(torch.bfloat16 if dtype == "bf16" else torch.float32)
    own = sum(took) / tokens
    parts = {
        name: {
            "share": seconds[name] / profiled,
            "microseconds_a_token": 1e6 * own * seconds[name] / profiled,
            **({"flops_a_token": flops[name] / tokens, "flops_per_second": flops[name] / seconds[name]} if flops[name] else {}),
        }
        for name in PARTS
    }
    return {
        "model": model,
        "dtype": dtype,
        "packing": packing,
        "steps": steps,
        "tokens": tokens,
        "product_flops_per_second": rate,
        "microseconds_a_token": 1e6 * own,
        "microseconds_a_token_profiled": 1e6 * profiled / tokens,
        "parts": parts,
    }


def shown(case: dict[str, Any]) -> str:
    """Write a case as a table."""
    rate, rows = case["product_flops_per_second"], []
    for name, part in case["parts"].items():
        least = 1e6 * part["flops_a_token"] / rate if "flops_a_token" in part else None
        rows.append(
            [
                name,
                f"{part['microseconds_a_token']:.0f}",
                f"{part['share']:.0%}",
                "-" if least is None else f"{least:.0f}",
                "-" if least is None else f"{part['flops_per_second'] / 1e9:.0f}",
            ]
        )
    title = f"{case['model']}, {case['dtype']}, {case['packing']}"
    return table([title, "us a token", "share", "least, us", "GFLOP/s"], rows) + (
        f"\n{case['tokens']:,} tokens, {case['microseconds_a_token']:.0f} us a token of the processor's "
        f"({case['microseconds_a_token_profiled']:.0f} under the profiler); a large product reaches {rate / 1e9:.0f} GFLOP/s"
    )


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=["narrow"])
    parser.add_argument("--dtypes", nargs="+", choices=["fp32", "bf16"], default=["fp32", "bf16"])
    parser.add_argument("--packing", nargs="+", default=["unpacked"], help="unpacked, packed, or tokens of a row's one sample")
    parser.add_argument("--steps", type=int, default=10, help="optimizer steps, taken twice")
    add_part_option(parser)
    cache = Path(tempfile.gettempdir()) / "xagent_growth"
    parser.add_argument("--cache", type=Path, default=cache, help="models and data, made once")
    parser.add_argument("--out", type=Path, help="folder of profile_step.json (default: benchmarks/results)")
    args = parser.parse_args()
    if any(each not in ("unpacked", "packed") and not each.isdigit() for each in args.packing):
        parser.error(f"--packing: unpacked, packed or a number of tokens, got {' '.join(args.packing)}")
    prepare_environment()
    machine = describe_machine()
    work = make_work(args.cache, many=200)
    watch_head()
    keys = ("model", "dtype", "packing")
    cases = {tuple(case[key] for key in keys): case for case in earlier_figures("profile_step", args.add, args.out) or []}
    for model in args.models:
        for dtype in args.dtypes:
            for packing in args.packing:
                case = {**measure(work, model, dtype, packing, args.steps), "commit": machine["commit"]}
                cases[model, dtype, packing] = case
                print(shown(case), flush=True)
    print(save_results("profile_step", machine, list(cases.values()), args.out, args.add), file=sys.stderr)


if __name__ == "__main__":
    main()
