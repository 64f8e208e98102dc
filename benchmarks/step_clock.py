"""Takes the time, tokens and loss of every optimizer step of a training, here and inside the alternatives' environments.

    python step_clock.py OUT.json trl|llamafactory|ms-swift JSON_ARGUMENTS

As a script it runs in an alternative's own environment and needs nothing of xagent; all three train with transformers'
``Trainer``, whose base methods are watched. Inside xagent it is a hook (``StepClock``).
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

START = float(os.environ.get("BENCHMARK_START", time.time()))


class Record:
    """What happened so far; written anew after every step, so that a killed run leaves what it did."""

    def __init__(self, out: str) -> None:
        self.out = Path(out)
        self.tokens = self.trained = 0
        self.first_batch: float | None = None
        self.steps: list[dict[str, Any]] = []

    def batch(self, tokens: int, trained: int) -> None:
        """Count a micro-batch that is about to run."""
        self.first_batch = self.first_batch or time.time() - START
        self.tokens += tokens
        self.trained += trained

    def step(self) -> None:
        """Note the end of an optimizer step."""
        at, cpu = time.time() - START, time.process_time()
        self.steps.append({"at": at, "cpu": cpu, "tokens": self.tokens, "trained": self.trained})

    def loss(self, value: float) -> None:
        """Note the loss of the last step."""
        if self.steps:
            self.steps[-1]["loss"] = value

    def write(self) -> None:
        """Write what is known."""
        figures = {"first_batch": self.first_batch, "peak_bytes": peak_bytes(), "steps": self.steps}
        self.out.write_text(json.dumps(figures), encoding="utf-8")


def peak_bytes() -> int:
    """Give the most resident memory that this process ever had."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0


def watch_trainer(record: Record) -> None:
    """Watch transformers' trainer and its callbacks."""
    from transformers import Trainer
    from transformers.trainer_callback import CallbackHandler

    train, end, log = Trainer.training_step, CallbackHandler.on_step_end, CallbackHandler.on_log

    def training_step(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        ids, mask, labels = inputs["input_ids"], inputs.get("attention_mask"), inputs["labels"]
        whole = mask is None or isinstance(mask, dict) or mask.dim() != 2
        record.batch(ids.numel() if whole else int((mask != 0).sum()), int((labels != -100).sum()))
        return train(self, model, inputs, *args, **kwargs)

    def on_step_end(self: Any, *args: Any, **kwargs: Any) -> Any:
        record.step()
        return end(self, *args, **kwargs)

    def on_log(self: Any, args: Any, state: Any, control: Any, logs: dict[str, Any], *rest: Any, **kwargs: Any) -> Any:
        if "loss" in logs:
            record.loss(float(logs["loss"]))
        record.write()
        return log(self, args, state, control, logs, *rest, **kwargs)

    Trainer.training_step, CallbackHandler.on_step_end, CallbackHandler.on_log = training_step, on_step_end, on_log


def run_trl(given: dict[str, Any]) -> None:
    """Train with TRL's SFTTrainer."""
    from datasets import load_dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    lora = LoraConfig(**given.pop("lora"), task_type="CAUSAL_LM")
    data = load_dataset("json", data_files=given.pop("data"), split="train")
    SFTTrainer(model=given.pop("model"), args=SFTConfig(**given), train_dataset=data, peft_config=lora).train()


def run_llamafactory(given: dict[str, Any]) -> None:
    """Train as ``llamafactory-cli train`` does."""
    from llamafactory.train.tuner import run_exp

    run_exp(given)


def run_swift(given: dict[str, Any]) -> None:
    """Train as ``swift sft`` does."""
    from swift.pipelines import sft_main

    sft_main([word for key, value in given.items() for word in (f"--{key}", str(value))])


def main() -> None:
    """Watch, and run what the command line names."""
    out, name, given = sys.argv[1:]
    del sys.argv[1:]
    record = Record(out)
    if name == "ms-swift":
        import swift  # noqa: F401  (it replaces parts of transformers first)
    watch_trainer(record)
    {"trl": run_trl, "llamafactory": run_llamafactory, "ms-swift": run_swift}[name](json.loads(given))
    record.write()


if __name__ == "__main__":
    main()
