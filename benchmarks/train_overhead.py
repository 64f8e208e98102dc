"""The runner's steady-state speed against the same step in a bare PyTorch loop, and where the runner's time goes.

    python benchmarks/train_overhead.py [CONFIG] [--rounds 20] [--steps 3] [--add]

Both train their own copy of the model on the same rows in the same order, by turns: a round of the runner's (with its hooks,
logging and data loading), then a round of the bare loop. Medians over the rounds are compared, so slow moments of the machine
hit both. The first two rounds are not counted. With --add the rounds are added to those that were measured before.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from machine import add_part_option, describe_machine, earlier_figures, save_results, table
from mmengine.config import Config
from mmengine.hooks import Hook

from xagent.config import load_config, parse_options, validate_config
from xagent.convert.agent_flan import convert_agent_flan
from xagent.engine.runner import build_runner
from xagent.playground.records import write_raw_agent_flan
from xagent.registry import build

WARM_UP = 2


def synchronise() -> float:
    """Wait for the device and give the time."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


class BareLoop:
    """A training step with nothing around it: load, forward, backward, clip, step."""

    def __init__(self, cfg: Config, loader: Any) -> None:
        self.model = build(cfg.model).to("cuda" if torch.cuda.is_available() else "cpu").train()
        self.parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = build(dict(cfg.optim_wrapper["optimizer"], params=self.parameters))
        self.window = cfg.optim_wrapper.get("accumulative_counts", 1)
        self.max_norm = (cfg.optim_wrapper.get("clip_grad") or {}).get("max_norm")
        self.loader = loader
        self.batches = self._endless()

    def _endless(self) -> Iterator[Any]:
        while True:
            yield from self.loader

    def step(self) -> int:
        """Take one optimizer step; give its tokens."""
        window = [next(self.batches) for _ in range(self.window)]
        denominator = sum(batch["data"]["loss_weights"].sum() for batch in window)
        total = 0.0
        for batch in window:
            batch["data"]["loss_denominator"] = denominator
            loss = self.model(**self.model.data_preprocessor(batch, True), mode="loss")["loss"]
            loss.backward()
            total += loss.item()
        if self.max_norm:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.max_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return sum(sum(batch["data"]["lengths"]) for batch in window)


class ByTurns(Hook):
    """After each round of the runner's, give the bare loop its round, and note both times."""

    priority = "LOWEST"

    def __init__(self, bare: BareLoop, steps: int) -> None:
        self.bare, self.steps = bare, steps
        self.core = 0.0
        self.rounds: list[dict[str, float]] = []

    def before_train(self, runner: Any) -> None:
        """Put clocks around forward, backward and optimizer, and start."""
        model = runner.strategy.unwrapped(runner.model)
        model.forward = self._timed(model.forward)
        wrapper = runner.optim_wrapper
        for name in ("backward", "step", "zero_grad"):
            setattr(wrapper, name, self._timed(getattr(wrapper, name)))
        self._start(runner)

    def _start(self, runner: Any) -> None:
        self.core, self.tokens, self.begin_step = 0.0, runner.train_loop.tokens, runner.train_loop.step
        self.begin = synchronise()

    def _timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **options: Any) -> Any:
            begin = synchronise()
            result = function(*arguments, **options)
            self.core += synchronise() - begin
            return result

        return timed

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Close a round."""
        loop = runner.train_loop
        if not loop.closes_window or loop.step - self.begin_step < self.steps:
            return
        seconds = synchronise() - self.begin
        tokens = loop.tokens - self.tokens
        begin = time.perf_counter()
        bare_tokens = sum(self.bare.step() for _ in range(self.steps))
        bare_seconds = synchronise() - begin
        if tokens != bare_tokens:
            raise RuntimeError(f"The runner trained {tokens} tokens in a round, the bare loop {bare_tokens}: not the same rows.")
        self.rounds.append(
            {
                "runner_tokens_per_second": tokens / seconds,
                "bare_tokens_per_second": bare_tokens / bare_seconds,
                "ratio": (tokens / seconds) / (bare_tokens / bare_seconds),
                "core_share": self.core / seconds,
                "tokens": tokens,
            }
        )
        self._start(runner)


def make_data(folder: Path, conversations: int) -> Path:
    """Generate conversations and convert them."""
    write_raw_agent_flan(folder / "raw", conversations, seed=1)
    convert_agent_flan(folder / "raw", folder / "converted")
    return folder / "converted"


def measure(cfg: Config, rounds: int, steps: int) -> list[dict[str, float]]:
    """Run and give the counted rounds."""
    runner = build_runner(cfg)
    loader = runner.build_dataloader(cfg.train_dataloader, seed=runner.seed)
    hook = ByTurns(BareLoop(cfg, loader), steps)
    runner.register_hook(hook, priority="LOWEST")
    runner.train()
    return hook.rounds[WARM_UP : WARM_UP + rounds]


def main() -> None:
    """Measure, print a table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", default="nano_qlora_agent")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=3, help="optimizer steps in a round")
    parser.add_argument("--conversations", type=int, default=1000)
    parser.add_argument("--cfg-options", nargs="*", default=[], metavar="KEY=VALUE")
    add_part_option(parser)
    args = parser.parse_args()
    machine = describe_machine()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options = {"data_path": str(make_data(folder, args.conversations)), **parse_options(args.cfg_options)}
        window = load_config(args.config, options).optim_wrapper.get("accumulative_counts", 1)
        length = (args.rounds + WARM_UP) * args.steps * window + 1
        options |= {"train_cfg.max_epochs": None, "train_cfg.max_iters": length, "default_hooks.checkpoint.interval": None}
        cfg = load_config(args.config, {**options, "evaluation_freq": length})
        cfg.work_dir = str(folder / "work")
        validate_config(cfg)
        rounds = measure(cfg, args.rounds, args.steps)
    figures = earlier_figures("train_overhead", args.add) or {}
    rounds = [*figures.get(args.config, {}).get("rounds", []), *rounds]
    median = {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}
    rows = [
        ["runner, tokens/s", f"{median['runner_tokens_per_second']:,.0f}"],
        ["bare loop, tokens/s", f"{median['bare_tokens_per_second']:,.0f}"],
        ["runner / bare loop", f"{median['ratio']:.3f}"],
        ["share of the runner's time in forward, backward, optimizer", f"{median['core_share']:.1%}"],
    ]
    print(table([f"{args.config}: medians of {len(rounds)} rounds of {args.steps} steps", ""], rows))
    figures[args.config] = {"steps_in_a_round": args.steps, "median": median, "rounds": rounds}
    print(save_results("train_overhead", machine, figures, add=args.add))


if __name__ == "__main__":
    main()
