"""The memory that `xagent train --dry-run` foretells against what a training step takes: nano's shape and a wide vocabulary.

    python benchmarks/memory_estimate.py [--tokens 2048] [--samples 1] [--models nano wide] [--ways NAME...] [--add]

Each case trains four micro-batches of one row, two optimizer steps, in a process of its own, and twice: with the C library's
allocator as it is, and with one that gives every freed block back to the system at once (glibc's MALLOC_MMAP_THRESHOLD_=65536).
The second is what tensors take, the first what the process takes, holes between tensors included. Peaks are of resident memory
above what the process had when its libraries were loaded and had run once. With --add a case replaces its earlier figures only.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from levers import resident_bytes, settle
from machine import add_part_option, describe_machine, earlier_figures, save_results, table
from mmengine.config import Config
from peft import LoraConfig
from step_clock import peak_bytes
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig

from xagent.assets import resolve
from xagent.data import default_collate_fn
from xagent.engine.environment import prepare_environment
from xagent.engine.memory import expected_memory, measure_model
from xagent.model import SupervisedFinetune, attention

TRAINED_SHARE = 0.27
_WIDE = dict(hidden_size=256, intermediate_size=704, num_attention_heads=8, num_key_value_heads=4, vocab_size=128_256)
_WAYS = {
    "lora": dict(autocast_dtype="fp32", lora=True, how="none"),
    "lora, selective": dict(autocast_dtype="fp32", lora=True, how="selective"),
    "lora, full": dict(autocast_dtype="fp32", lora=True, how="full"),
    "lora, bf16": dict(autocast_dtype="bf16", lora=True, how="none"),
    "full fine-tuning": dict(autocast_dtype="fp32", lora=False, how="none"),
}


def write_shapes(folder: Path) -> dict[str, str]:
    """Write the configs of the models, without weights."""
    nano = AutoConfig.from_pretrained(resolve("xagent:nano/base"))
    nano.dtype = torch.float32
    wide = LlamaConfig(**_WIDE, num_hidden_layers=6, max_position_embeddings=4096, dtype=torch.float32)
    for name, config in (("nano", nano), ("wide", wide)):
        config.save_pretrained(folder / name)
    return {name: str(folder / name) for name in ("nano", "wide")}


def describe(path: str, way: str) -> Config:
    """Write a case as a config's ``model``."""
    chosen = _WAYS[way]
    lora = dict(type=LoraConfig, r=8, lora_alpha=16, task_type="CAUSAL_LM") if chosen["lora"] else None
    llm = dict(type=AutoModelForCausalLM.from_pretrained, pretrained_model_name_or_path=path)
    return Config(
        dict(model=dict(llm=llm, lora=lora, autocast_dtype=chosen["autocast_dtype"], use_activation_checkpointing=chosen["how"]))
    )


def foretold(path: str, way: str, lengths: list[int]) -> dict[str, float]:
    """Estimate as the dry run does."""
    cfg = describe(path, way)
    return expected_memory(measure_model(cfg.model), cfg, lengths, 1, TRAINED_SHARE)


def measured(path: str, way: str, lengths: list[int]) -> int:
    """Train in this process; give the peak above the libraries'."""
    prepare_environment()
    settle(_WAYS[way]["autocast_dtype"])
    before = resident_bytes()
    options = dict(describe(path, way).model)
    config = AutoConfig.from_pretrained(path)
    options["llm"] = AutoModelForCausalLM.from_config(config, attn_implementation=attention.NAME)
    model = SupervisedFinetune(**options).train()
    parameters = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True)
    generator = torch.Generator().manual_seed(0)
    samples = []
    for length in lengths:
        ids = torch.randint(0, config.vocab_size, (length,), generator=generator)
        labels = torch.where(torch.rand(length, generator=generator) < TRAINED_SHARE, ids, -100)
        samples.append({"input_ids": ids, "labels": labels})
    for place in range(4):
        model(**default_collate_fn(samples))["loss"].backward()
        if place % 2:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    return peak_bytes() - before


def in_process(path: str, way: str, args: argparse.Namespace, allocator: dict[str, str]) -> int:
    """Measure a case in a process of its own."""
    words = [sys.executable, __file__, "--tokens", str(args.tokens), "--samples", str(args.samples), "--case", path, way]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **allocator})
    return int(done.stdout.splitlines()[-1])


def shown(cases: list[dict[str, Any]]) -> str:
    """Write the cases as a table."""
    rows = []
    for case in cases:
        estimate, tensors, process = sum(case["foretold"].values()), case["measured_tensors"], case["measured"]
        shape = f"{case['tokens']:,}" if case["samples"] == 1 else f"{case['tokens']:,} in {case['samples']} samples"
        figures = [f"{size / 1e6:,.0f}" for size in (estimate, tensors, process)]
        rows.append(
            [case["model"], case["way"], shape, *figures, f"{estimate / tensors - 1:+.0%}", f"{estimate / process - 1:+.0%}"]
        )
    sizes = ["foretold, MB", "freed at once, MB", "process, MB"]
    return table(["model", "training", "tokens", *sizes, "off by", "off the process by"], rows)


def main() -> None:
    """Compare, print a table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=2048, help="in the row")
    parser.add_argument("--samples", type=int, default=1, help="of which it consists, all as long")
    parser.add_argument("--models", nargs="+", choices=["nano", "wide"], default=["nano", "wide"])
    parser.add_argument("--ways", nargs="+", choices=list(_WAYS), default=list(_WAYS))
    add_part_option(parser)
    parser.add_argument("--case", nargs=2, metavar=("PATH", "WAY"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    lengths = [args.tokens // args.samples] * args.samples
    if args.case:
        print(measured(*args.case, lengths))
        return
    machine = describe_machine()
    keys = ("model", "way", "tokens", "samples")
    cases = {tuple(case[key] for key in keys): case for case in earlier_figures("memory_estimate", args.add) or []}
    with tempfile.TemporaryDirectory() as name:
        paths = write_shapes(Path(name))
        for model in args.models:
            for way in args.ways:
                case = dict(zip(keys, (model, way, sum(lengths), args.samples), strict=True))
                cases[tuple(case.values())] = {
                    **case,
                    "measured": in_process(paths[model], way, args, {}),
                    "measured_tensors": in_process(paths[model], way, args, {"MALLOC_MMAP_THRESHOLD_": "65536"}),
                    "foretold": foretold(paths[model], way, lengths),
                    "commit": machine["commit"],
                }
                print(f"{model}, {way}: done", file=sys.stderr, flush=True)
    print(shown(list(cases.values())))
    print(save_results("memory_estimate", machine, list(cases.values()), add=args.add))


if __name__ == "__main__":
    main()
