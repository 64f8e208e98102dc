"""Training speed at the true shape of Llama-3-8B on one GPU: random weights, no network, one command, nine minutes at most.

    python benchmarks/gpu_train.py [--kinds lora16 qlora16 qlora64] [--tokens 2048 4096 8192 16384] [--checkpointing none full]
    python benchmarks/gpu_train.py --device cpu --tiny          # a smoke test of the script itself

First it compares loss and gradients of the fast paths (varlen attention, chunked loss, liger, fused AdamW) with the plain ones
on a small model, then measures the device's own matrix rate and copy bandwidth, then each case: LoRA or QLoRA on all linear
layers, rows of whole samples, no padding. Printed are real tokens/s, model FLOP/s by the model's own arithmetic (with frozen
weights 4 for each weight and token, and attention), what recomputation adds apart, the share of the measured matrix rate, peak
memory, and where a step's time goes. What is missing (liger-kernel, bitsandbytes, a GPU) is left out and said; cases that time
or memory don't allow are named too.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

if "--device" in sys.argv and sys.argv[sys.argv.index("--device") + 1] == "cpu":
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

import torch
from machine import describe_machine, save_results, table
from peft import LoraConfig
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from xagent.data import default_collate_fn
from xagent.engine.hooks.flops import StepFlops
from xagent.model import SupervisedFinetune, head, sft

LLAMA3_8B = dict(
    hidden_size=4096,
    intermediate_size=14336,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=8,
    vocab_size=128_256,
    max_position_embeddings=32_768,
    rope_theta=500_000.0,
)
TINY = dict(
    hidden_size=64,
    intermediate_size=128,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=512,
    max_position_embeddings=4096,
)
KINDS = ("lora16", "qlora16", "qlora64")
TRAINED_SHARE = 0.27
"""Of the tokens, as in agent conversations."""

PARTS = ("attention", "linear", "dequantisation", "loss", "optimizer", "other")
_NAMES = {
    "attention": ("flash", "fmha", "scaled_dot_product", "varlen"),
    "dequantisation": ("dequant", "4bit"),
    "optimizer": ("adam", "multi_tensor", "_foreach", "clip_grad"),
    "linear": ("gemm", "nvjet", "cutlass", "cublas", "aten::mm", "aten::addmm", "aten::bmm", "_mm_", "xmma"),
}


class Clock:
    """Sums the time of a stretch of the step, on the device where there is one."""

    def __init__(self) -> None:
        self.pairs: list[Any] = []
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Time what is inside."""
        if torch.cuda.is_available():
            events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
            events[0].record()
            yield
            events[1].record()
            self.pairs.append(events)
            return
        begin = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - begin

    def total(self) -> float:
        """Give the sum in seconds; the device must be synchronised."""
        return self.seconds + sum(begin.elapsed_time(end) / 1e3 for begin, end in self.pairs)


def now() -> float:
    """Wait for the device and give the time."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def device() -> torch.device:
    """Give the device that is measured."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def repeated(run: Callable[[], Any], seconds: float) -> float:
    """Give the seconds that a call takes, warm, over at least so long."""
    run()
    count, begin = 0, now()
    while now() - begin < seconds:
        run()
        count += 1
    return (now() - begin) / count


def matrix_rate(size: int, dtype: torch.dtype) -> float:
    """Measure FLOP/s of a large square product."""
    one, other = (torch.randn(size, size, device=device(), dtype=dtype) for _ in range(2))
    return 2 * size**3 / repeated(lambda: one @ other, 1.0)


def copy_bandwidth(size: int) -> float:
    """Measure bytes/s of copying inside the device's memory, read and written."""
    source = torch.zeros(size, dtype=torch.uint8, device=device())
    target = torch.empty_like(source)
    return 2 * size / repeated(lambda: target.copy_(source), 0.5)


def random_llama(shape: dict[str, Any], dtype: torch.dtype, quantised: bool) -> LlamaForCausalLM:
    """Make a model of random weights on the device, with NF4 linear layers if wanted."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device():
            model = LlamaForCausalLM._from_config(LlamaConfig(**shape), attn_implementation="xagent_packed")
    finally:
        torch.set_default_dtype(before)
    model.config.use_cache = False
    if quantised:
        quantise(model, dtype)
    return model


def quantise(model: LlamaForCausalLM, dtype: torch.dtype) -> None:
    """Replace the decoder's linear layers by NF4 ones of the same weights, as transformers does when it loads."""
    from bitsandbytes.nn import Linear4bit, Params4bit

    for parent in list(model.model.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is not nn.Linear:
                continue
            weight = Params4bit(layer.weight.data, requires_grad=False, quant_type="nf4", compress_statistics=True)
            new = Linear4bit(
                layer.in_features, layer.out_features, bias=False, compute_dtype=dtype, quant_type="nf4", device="meta"
            )
            new.weight = weight
            setattr(parent, name, new.to(device()))
            new.support_avx512bf16_for_cpu = False
    model.is_quantized = model.is_loaded_in_4bit = True


def finetune(model: LlamaForCausalLM, rank: int, **options: Any) -> SupervisedFinetune:
    """Put LoRA on all linear layers."""
    lora = LoraConfig(r=rank, lora_alpha=rank, lora_dropout=0.0, task_type="CAUSAL_LM")
    trained = SupervisedFinetune(model, lora=lora, **options).train()
    return trained.to(device())  # type: ignore[no-any-return]


def row(tokens: int, vocabulary: int, seed: int = 0) -> dict[str, Any]:
    """Fill a row with samples of long-tailed length, about 27 % of them trained."""
    generator = random.Random(seed)
    lengths: list[int] = []
    while sum(lengths) < tokens:
        length = round(math.exp(generator.gauss(math.log(387), 0.62)))
        lengths.append(min(max(length, 8), tokens - sum(lengths)))
    torch_generator = torch.Generator().manual_seed(seed)
    samples = []
    for length in lengths:
        ids = torch.randint(0, vocabulary, (length,), generator=torch_generator)
        trained = torch.rand(length, generator=torch_generator) < TRAINED_SHARE
        samples.append({"input_ids": ids, "labels": torch.where(trained, ids, -100)})
    data = default_collate_fn(samples)["data"]
    return {key: value.to(device()) if isinstance(value, torch.Tensor) else value for key, value in data.items()}


def check_against_plain(shape: dict[str, Any], dtype: str) -> dict[str, float]:
    """Compare loss and gradients of all levers with the plain path on a small model; give the largest relative differences.

    Raises:
        AssertionError: they differ by more than rounding in ``dtype``.
    """
    small = {**shape, "hidden_size": min(shape["hidden_size"], 512), "intermediate_size": 1024, "num_hidden_layers": 2}
    small |= {"num_attention_heads": 8, "num_key_value_heads": 4}
    data = row(1024, small["vocab_size"])
    found = []
    for options in (
        dict(loss_chunk_size=64),
        dict(loss_chunk_size=None, attention_kernel="sdpa", fused_lora=False, use_liger_kernel=False),
    ):
        torch.manual_seed(0)
        model = finetune(random_llama(small, torch.float32, False), 8, autocast_dtype=dtype, **options)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                nn.init.normal_(parameter, std=0.02)
        loss = model(data)["loss"]
        loss.backward()
        gradients = torch.cat([each.grad.flatten().float() for each in model.parameters() if each.grad is not None])
        found.append((float(loss.detach()), gradients))
    (loss, gradients), (plain_loss, plain) = found
    differences = {
        "loss": abs(loss - plain_loss) / abs(plain_loss),
        "gradients": float((gradients - plain).norm() / plain.norm()),
    }
    limits = {"fp32": (1e-5, 1e-4)}.get(dtype, (5e-3, 5e-2))
    assert differences["loss"] <= limits[0] and differences["gradients"] <= limits[1], f"the fast path is wrong: {differences}"
    return differences


def measure_case(model: SupervisedFinetune, tokens: int, vocabulary: int, seconds: float, dtype: torch.dtype) -> dict[str, Any]:
    """Train on rows of so many tokens for a while; give rates, memory and the breakdown of one step."""
    parameters = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-5, fused=True)
    rows = [row(tokens, vocabulary, seed) for seed in range(3)]

    def step(data: dict[str, Any]) -> None:
        model(data)["loss"].backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    step(rows[0])
    step(rows[1])
    count, flops, begin = 0, 0.0, now()
    counter = StepFlops.of(model)
    while now() - begin < seconds or count < 3:
        data = rows[count % len(rows)]
        step(data)
        flops += counter.count(data)
        count += 1
    took = now() - begin
    again = 2.0 * counter.weights * tokens if model.llm.is_gradient_checkpointing else 0.0
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return {
        "tokens_per_second": count * tokens / took,
        "model_flops_per_second": flops / took,
        "recomputed_flops_per_second": count * again / took,
        "peak_bytes": peak,
        "seconds_per_step": took / count,
        "breakdown": breakdown(lambda: step(rows[0])),
    }


def breakdown(step: Callable[[], None]) -> dict[str, float]:
    """Give the share of a step's time that each part takes, by the names of kernels and a clock around the loss."""
    from torch.profiler import ProfilerActivity, profile

    clock, original = Clock(), sft.chunked_token_loss
    plain = sft.weighted_token_loss

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            with clock.running():
                return function(*args, **kwargs)

        return call

    sft.chunked_token_loss, sft.weighted_token_loss = timed(original), timed(plain)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    try:
        begin = now()
        with profile(activities=activities) as profiled:
            step()
            total = now() - begin
    finally:
        sft.chunked_token_loss, sft.weighted_token_loss = original, plain
    seconds = dict.fromkeys(PARTS, 0.0)
    for event in profiled.key_averages():
        took = (event.self_device_time_total if torch.cuda.is_available() else event.self_cpu_time_total) / 1e6
        if torch.cuda.is_available() and str(event.device_type).endswith("CPU"):
            continue
        part = next((part for part, names in _NAMES.items() if any(name in event.key.lower() for name in names)), "other")
        seconds[part] += took
    seconds["loss"] = clock.total()
    seconds["linear"] = max(seconds["linear"] - seconds["loss"], 0.0)
    busy = sum(seconds[part] for part in PARTS if part != "other")
    seconds["other"] = max(total - busy, 0.0)
    return {part: seconds[part] / max(total, 1e-9) for part in PARTS}


def missing() -> list[str]:
    """Name what is not here and what is left out for it."""
    lacking = []
    if not torch.cuda.is_available():
        lacking.append("no CUDA device: varlen attention and liger's kernels are left out, figures are a CPU's")
    if importlib.util.find_spec("liger_kernel") is None:
        lacking.append("liger-kernel is not installed: its fused kernels are left out")
    if importlib.util.find_spec("bitsandbytes") is None:
        lacking.append("bitsandbytes is not installed: QLoRA is left out")
    return lacking


def run_cases(args: argparse.Namespace, shape: dict[str, Any], dtype: torch.dtype, until: float) -> Iterator[dict[str, Any]]:
    """Yield each case's figures, or why it has none."""
    for kind in args.kinds:
        for how in args.checkpointing:
            model = None
            for tokens in args.tokens:
                case = {"kind": kind, "checkpointing": how, "tokens": tokens}
                if kind.startswith("q") and importlib.util.find_spec("bitsandbytes") is None:
                    yield {**case, "left_out": "bitsandbytes is not installed"}
                    continue
                if time.perf_counter() > until:
                    yield {**case, "left_out": "the time was up"}
                    continue
                try:
                    if model is None:
                        torch.manual_seed(0)
                        base = random_llama(shape, dtype, quantised=kind.startswith("q"))
                        rank = int(kind.removeprefix("q").removeprefix("lora"))
                        model = finetune(base, rank, use_activation_checkpointing=how, torch_compile=args.compile)
                    yield {**case, **measure_case(model, tokens, shape["vocab_size"], args.seconds, dtype)}
                except torch.cuda.OutOfMemoryError:
                    yield {**case, "left_out": "out of memory"}
                    torch.cuda.empty_cache()
            del model
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def shown(case: dict[str, Any], rate: float) -> list[str]:
    """Write a case as a line of the table."""
    words = [case["kind"], case["checkpointing"], f"{case['tokens']:,}"]
    if "left_out" in case:
        return [*words, case["left_out"], *[""] * 5]
    return [
        *words,
        f"{case['tokens_per_second']:,.0f}",
        f"{case['model_flops_per_second'] / 1e12:,.2f}",
        f"{case['recomputed_flops_per_second'] / 1e12:,.2f}",
        f"{case['model_flops_per_second'] / rate:.0%}",
        f"{case['peak_bytes'] / 2**30:.1f}",
        ", ".join(f"{part} {share:.0%}" for part, share in case["breakdown"].items()),
    ]


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["auto", "cpu"], default="auto")
    parser.add_argument("--tiny", action="store_true", help="a model of 0.2 M parameters and short rows")
    parser.add_argument("--layers", type=int, help="decoder layers (default: the shape's)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--tokens", type=int, nargs="+", help="in a micro-batch (default: 2048 4096 8192 16384)")
    parser.add_argument("--checkpointing", nargs="+", choices=["none", "selective", "full"], default=["none", "full"])
    parser.add_argument("--compile", action="store_true", help="torch.compile the decoder's layers")
    parser.add_argument("--seconds", type=float, default=5.0, help="that each case is measured for")
    parser.add_argument("--deadline", type=float, default=480.0, help="seconds after which no case is begun")
    parser.add_argument("--out", type=Path, help="folder of gpu_train.json (default: benchmarks/results)")
    return parser.parse_args()


def main() -> None:
    """Check, measure, print, write."""
    args = parse_arguments()
    until = time.perf_counter() + args.deadline
    shape = dict(TINY if args.tiny else LLAMA3_8B)
    shape["num_hidden_layers"] = args.layers or shape["num_hidden_layers"]
    args.tokens = args.tokens or ([128, 256] if args.tiny else [2048, 4096, 8192, 16384])
    seconds, args.seconds = args.seconds, min(args.seconds, 0.2) if args.tiny else args.seconds
    head.CHUNK_BYTES["cpu"] = 2**17 if args.tiny else head.CHUNK_BYTES["cpu"]  # so that the tiny run has chunks too
    dtype = torch.bfloat16
    for line in missing():
        print(f"Left out: {line}")
    differences = check_against_plain(shape, "bf16")
    print(
        f"Fast against plain path, bf16: loss differs by {differences['loss']:.1e}, gradients by {differences['gradients']:.1e}"
    )
    big = torch.cuda.is_available()
    rate, bandwidth = matrix_rate(8192 if big else 512, dtype), copy_bandwidth(2**30 if big else 2**24)
    print(f"Device: {rate / 1e12:,.2f} TFLOP/s in bf16 products, {bandwidth / 1e9:,.0f} GB/s copied", flush=True)
    cases = []
    for case in run_cases(args, shape, dtype, until):
        cases.append(case)
        print(" | ".join(shown(case, rate)), flush=True)
    headers = ["kind", "recomputed", "tokens", "real tok/s", "model TFLOP/s", "again TFLOP/s", "of the rate", "GiB", "time"]
    print(table(headers, [shown(case, rate) for case in cases]))
    figures = {
        "shape": shape,
        "matrix_flops_per_second": rate,
        "copied_bytes_per_second": bandwidth,
        "against_plain": differences,
        "left_out": missing(),
        "seconds_of_a_case": seconds,
        "cases": cases,
    }
    print(save_results("gpu_train", describe_machine(), figures, args.out))


if __name__ == "__main__":
    main()
