"""Tokens per second of many requests at once: our engine, its scheduler, our batches, and transformers' two ways.

    python benchmarks/generation.py [--model xagent:nano/base] [--requests 1 4 16 64] [--new-tokens 64] [--device auto]

All ways get the same prompts (random tokens, of unequal length), are greedy and write so many tokens for each. The engine gives
text piece by piece, to a thread for each request, as the server has; the scheduler under it gives tokens; batches are whole.
Every way is run once to warm up and then ``--repeats`` times in turn; the median counts. Whether the texts are the same is told
too: ties in half precision may fall differently. ``generate_batch`` is left out where it fails, with its reason; on CPUs it
writes a token a second, and is tried with ``--generate-batch`` and few requests only.

Each run has a thread of its own, which ends with it: a thread that computed with torch keeps OpenMP's threads, and where all that
are kept outnumber the cores, libgomp's sleep between two operations instead of waiting awake. On a small model that can halve the
speed of whoever computes then: a scheduler beside a main thread that computes would be measured so.
"""

from __future__ import annotations

import argparse
import random
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from machine import describe_machine, save_results, table

from xagent.inference.engine import GenerationRequest, ReplyStream
from xagent.inference.local import LocalEngine
from xagent.inference.prompting import PromptBuilder
from xagent.model.generation import Generator, load_model
from xagent.model.generation_batch import Chosen
from xagent.model.scheduler import Scheduler

NEVER = frozenset([-1])
WAYS = ("engine", "scheduler", "batches", "generate", "generate_batch")
Replies = list[list[int]]
Way = Callable[[Replies, int], Replies | list[str]]


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


def engine_way(model: Any, prompts: PromptBuilder, rows: int) -> Way:
    """All requests come at once; a thread for each reads its text as it comes. Nothing is remembered."""

    def follow(stream: ReplyStream) -> str:
        return "".join(delta.text for delta in stream)

    def run(given: Replies, new_tokens: int) -> list[str]:
        engine = LocalEngine(Scheduler(model, max_batch_size=rows, memory_bytes=0), prompts)
        with ThreadPoolExecutor(len(given)) as readers:
            requests = [GenerationRequest(tuple(prompt), new_tokens, stop=("Observation:",)) for prompt in given]
            texts = list(readers.map(follow, [engine.submit(request) for request in requests]))
        engine.close()
        return texts

    return run


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


def measure(
    ways: dict[str, Way], prompts: Replies, new_tokens: int, repeats: int, text_of: Callable[[list[int]], str]
) -> dict[str, Any]:
    """Time each way, in a thread of its own, and compare its texts with the first one's."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    texts: dict[str, list[str]] = {}
    faults: dict[str, str] = {}
    for repeat in range(repeats + 1):
        for name, run in ways.items():
            if name in faults:
                continue
            with ThreadPoolExecutor(1) as thread:
                start = time.perf_counter()
                try:
                    replies = thread.submit(run, prompts, new_tokens if repeat else 4).result()
                except Exception as fault:  # another library's, on a device that it may not know
                    faults[name] = f"{type(fault).__name__}: {str(fault)[:200]}"
                    continue
                if repeat:
                    seconds[name].append(time.perf_counter() - start)
            texts[name] = [reply if isinstance(reply, str) else text_of(reply) for reply in replies]
    first = next(iter(ways))
    figures: dict[str, Any] = {}
    for name in ways:
        if name in faults:
            figures[name] = {"failed": faults[name]}
            continue
        same = sum(one == other for one, other in zip(texts[name], texts[first], strict=True))
        rate = len(prompts) * new_tokens / statistics.median(seconds[name])
        figures[name] = {"tokens_per_second": round(rate, 1), "seconds": seconds[name], "same_replies": same}
    return figures


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="xagent:nano/base")
    parser.add_argument("--requests", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", type=int, default=64, help="requests that run together at most")
    parser.add_argument("--dtype", default=None)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--generate-batch", action="store_true", help="on a CPU too, which takes minutes")
    given = parser.parse_args()
    machine = describe_machine()
    model, tokenizer = load_model(given.model, dtype=given.dtype, device=given.device)
    words = PromptBuilder(tokenizer, "llama3_chat")  # any template: prompts are tokens already
    words.stop_ids = NEVER
    rng = random.Random(1)
    rows = []
    figures: dict[str, Any] = {"model": given.model, "dtype": str(model.dtype), "new_tokens": given.new_tokens, "requests": {}}
    for count in given.requests:
        prompts = [[rng.randrange(10, len(tokenizer) - 10) for _ in range(rng.randint(40, 160))] for _ in range(count)]
        ways: dict[str, Way] = {
            "engine": engine_way(model, words, given.rows),
            "scheduler": scheduler_way(model, given.rows),
            "batches": batches_way(model, tokenizer, given.rows),
            "generate": generate_way(model, given.rows),
        }
        if model.device.type == "cuda" or (given.generate_batch and count <= 4):
            ways["generate_batch"] = continuous_way(model)
        found = measure(ways, prompts, given.new_tokens, given.repeats, words.text)
        figures["requests"][str(count)] = found
        rows.append([str(count), *(_cell(found.get(name)) for name in WAYS)])
        print(table(["requests", *WAYS], rows[-1:]), flush=True)
    print(save_results("generation", machine, figures))


def _cell(found: dict[str, Any] | None) -> str:
    if found is None:
        return "-"
    return f"{found['tokens_per_second']:,.0f} tok/s" if "tokens_per_second" in found else "failed"


if __name__ == "__main__":
    main()
