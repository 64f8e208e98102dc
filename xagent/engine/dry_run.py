"""What a run would do, told before it does it: everything is built but the weights."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from xagent.engine.memory import choose_checkpointing, expected_memory, largest_row, measure_model
from xagent.engine.sequence_parallel import check_sequence_parallel, loader_for_groups, sequence_parallel_size
from xagent.model.loading import load_tokenizer
from xagent.registry import build


def human_bytes(size: float) -> str:
    """Write a number of bytes for people, in binary units."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


@dataclass(frozen=True)
class Schedule:
    """How often a run steps: windows don't reach over an epoch's end, so each epoch's last one may be short."""

    micro_steps: int
    window: int
    total: int

    @classmethod
    def of(cls, rows: int, cfg: Config, readers: int) -> Schedule:
        """Read it from a config, for ``rows`` rows of data that ``readers`` processes, or groups of them, share."""
        micro_steps = -(-rows // (cfg.train_dataloader["batch_size"] * readers))
        epochs, iterations = cfg.train_cfg.get("max_epochs"), cfg.train_cfg.get("max_iters")
        return cls(micro_steps, cfg.optim_wrapper.get("accumulative_counts", 1), int(iterations or micro_steps * epochs))

    @property
    def steps_in_epoch(self) -> int:
        """Optimizer steps in a whole pass."""
        return -(-self.micro_steps // self.window)

    @property
    def steps(self) -> int:
        """Optimizer steps of the run."""
        passes, rest = divmod(self.total, self.micro_steps)
        return passes * self.steps_in_epoch + -(-rest // self.window)


def describe_run(cfg: Config) -> str:
    """Build data, tokenizer and an empty model, and tell what a run would do.

    Raises:
        XAgentError: data or model can't be used as asked.
    """
    world_size = int(os.environ.get("WORLD_SIZE", 1))
    check_sequence_parallel(cfg)
    shared = sequence_parallel_size(cfg)
    loader_for_groups(cfg.train_dataloader, shared, "train_dataloader")
    sizes = measure_model(cfg.model)
    loader = cfg.train_dataloader
    load_tokenizer(loader["dataset"]["tokenizer"])
    dataset = build(loader["dataset"])
    report, batch_size = dataset.report, loader["batch_size"]
    schedule = Schedule.of(len(dataset), cfg, world_size // shared)
    how = choose_checkpointing(cfg, world_size)
    memory = expected_memory(
        sizes, cfg, largest_row(dataset, batch_size), world_size, report.trained_tokens / max(report.tokens, 1), how
    )
    tokens = report.tokens * schedule.total / schedule.micro_steps
    readers = f"{world_size} process(es)" if shared == 1 else f"{world_size // shared} group(s) of {shared} processes"
    parts = ", ".join(f"{name} {human_bytes(size)}" for name, size in memory.items())
    lines = [
        f"Dry run of {Path(cfg.filename).name}: nothing is trained, no weight is loaded",
        f"  parameters    {sizes.total:,} in all, {sizes.trainable:,} trainable ({sizes.trainable / sizes.total:.2%})",
        f"  data          {report.summary()}".replace("\n", "\n                "),
        f"  steps         {schedule.steps_in_epoch:,} optimizer steps an epoch = {schedule.micro_steps:,} micro-steps"
        f" ({batch_size} x {schedule.window} x {readers})",
        f"  in all        {schedule.steps:,} optimizer steps, {schedule.total:,} micro-steps, {tokens:,.0f} tokens",
        f"  memory        about {human_bytes(sum(memory.values()))} of tensors on each device: {parts}",
        f"  recomputing   {how} (activation checkpointing)",
        f"  outputs       {Path(cfg.work_dir).resolve()}",
    ]
    return "\n".join(lines)
