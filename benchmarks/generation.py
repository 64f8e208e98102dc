"""Tokens per second of many requests at once: our scheduler, our batches, model.generate, transformers' continuous batching.

    python benchmarks/generation.py [--model xagent:nano/base] [--requests 1 4 16 64] [--new-tokens 64] [--device auto]

All ways get the same prompts (random tokens, of unequal length), are greedy and write so many tokens for each. Every way is run
once to warm up and then ``--repeats`` times in turn; the median counts. Whether the tokens are the same is told too: ties in
half precision may fall differently. ``generate_batch`` is left out where it fails, with its reason; on CPUs it writes a token a
second, and is tried with ``--generate-batch`` and few requests only.
"""

from __future__ import annotations

import argparse
import random
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

import torch
from machine import describe_machine, save_results, table

from xagent.model.generation import Generator, load_model
from xagent.model.generation_batch import Chosen
from xagent.model.scheduler import Scheduler

NEVER = frozenset([-1])
Replies = list[list[int]]
Way = Callable[[Replies, int], Replies]


class Collected:
    """Keeps a reply's tokens, and when the first came."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.ended = threading.Event()
        self.fault: BaseException | None = None

    def on_token(self, chosen: Chosen) -> bool:
        """Keep it."""
        self.ids.append(chosen.token)
        return False

    def on_end(self, reason: str, new_tokens: int) -> None:
        """Let go of who waits."""
        self.ended.set()

    def on_fault(self, fault: BaseException) -> None:
        """Let go of who waits."""
        self.fault = fault
        self.ended.set()


def scheduler_way(model: Any, rows: int) -> Way:
    """All requests come at once and share the scheduler's steps, nothing is remembered."""

    def run(prompts: Replies, new_tokens: int) -> Replies:
        scheduler = Scheduler(model, max_batch_size=rows, memory_bytes=0)
        collected = [Collected() for _ in prompts]
        for prompt, one in zip(prompts, collected, strict=True):
            scheduler.submit(prompt, one, new_tokens, NEVER)
        for one in collected:
            one.ended.wait()
            if one.fault is not None:
                raise one.fault
        scheduler.close()
        return [one.ids for one in collected]

    return run


def batches_way(model: Any, tokenizer: Any, rows: int) -> Way:
    """Our batch generation of a list."""
    generator = Generator(model, tokenizer, rows)
    return lambda prompts, new_tokens: [one.ids for one in generator.generate(prompts, new_tokens, NEVER)]


def generate_way(model: Any, rows: int) -> Way:
    """transformers' ``generate`` on batches that are padded on the left."""

    def run(prompts: Replies, new_tokens: int) -> Replies:
        found = []
        for start in range(0, len(prompts), rows):
            some = prompts[start : start + rows]
            longest = max(map(len, some))
            ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in some], device=model.device)
            mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in some], device=model.device)
            settings = {"max_new_tokens": new_tokens, "min_new_tokens": new_tokens, "do_sample": False, "pad_token_id": 0}
            found += model.generate(ids, attention_mask=mask, eos_token_id=None, **settings)[:, longest:].tolist()
        return found

    return run


def continuous_way(model: Any) -> Way:
    """transformers' own continuous batching."""
    from transformers import GenerationConfig

    def run(prompts: Replies, new_tokens: int) -> Replies:
        config = GenerationConfig(max_new_tokens=new_tokens, do_sample=False, eos_token_id=-1, pad_token_id=0)
        found = model.generate_batch(prompts, generation_config=config, progress_bar=False)
        return [found[key].generated_tokens for key in sorted(found, key=lambda name: int(name.rsplit("_", 1)[-1]))]

    return run


def measure(ways: dict[str, Way], prompts: Replies, new_tokens: int, repeats: int) -> dict[str, Any]:
    """Time each way and compare its tokens with the first one's."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    replies: dict[str, Replies] = {}
    faults: dict[str, str] = {}
    for repeat in range(repeats + 1):
        for name, run in ways.items():
            if name in faults:
                continue
            start = time.perf_counter()
            try:
                replies[name] = run(prompts, new_tokens if repeat else 4)
            except Exception as fault:  # another library's, on a device that it may not know
                faults[name] = f"{type(fault).__name__}: {str(fault)[:200]}"
            if repeat:
                seconds[name].append(time.perf_counter() - start)
    first = next(iter(ways))
    figures: dict[str, Any] = {}
    for name in ways:
        if name in faults:
            figures[name] = {"failed": faults[name]}
            continue
        same = sum(one == other for one, other in zip(replies[name], replies[first], strict=True))
        rate = len(prompts) * new_tokens / statistics.median(seconds[name])
        figures[name] = {"tokens_per_second": round(rate, 1), "seconds": seconds[name], "same_replies": same}
    return figures


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="xagent:nano/base")
    parser.add_argument("--requests", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, default=64, help="requests that run together at most")
    parser.add_argument("--dtype", default=None)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--generate-batch", action="store_true", help="on a CPU too, which takes minutes")
    given = parser.parse_args()
    machine = describe_machine()
    model, tokenizer = load_model(given.model, dtype=given.dtype, device=given.device)
    rng = random.Random(1)
    rows = []
    figures: dict[str, Any] = {"model": given.model, "dtype": str(model.dtype), "new_tokens": given.new_tokens, "requests": {}}
    for count in given.requests:
        prompts = [[rng.randrange(10, len(tokenizer) - 10) for _ in range(rng.randint(40, 160))] for _ in range(count)]
        ways = {
            "scheduler": scheduler_way(model, given.rows),
            "batches": batches_way(model, tokenizer, given.rows),
            "generate": generate_way(model, given.rows),
        }
        if model.device.type == "cuda" or (given.generate_batch and count <= 4):
            ways["generate_batch"] = continuous_way(model)
        found = measure(ways, prompts, given.new_tokens, given.repeats)
        figures["requests"][str(count)] = found
        rows.append([str(count), *(_cell(found.get(name)) for name in ("scheduler", "batches", "generate", "generate_batch"))])
        print(table(["requests", "scheduler", "batches", "generate", "generate_batch"], rows[-1:]), flush=True)
    print(save_results("generation", machine, figures))


def _cell(found: dict[str, Any] | None) -> str:
    if found is None:
        return "-"
    return f"{found['tokens_per_second']:,.0f} tok/s" if "tokens_per_second" in found else "failed"


if __name__ == "__main__":
    main()
