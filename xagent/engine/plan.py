"""What a run must have in common with the one whose checkpoint it goes on from: the plan, kept in every checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from xagent.engine.sequence_parallel import sequence_parallel_size
from xagent.errors import CheckpointError
from xagent.model.loading import choose_autocast, local_device

_SETTINGS = (
    "optim_wrapper",
    "param_scheduler",
    "model.lora",
    "model.llm.quantization_config",
    "model.autocast_dtype",
    "model.loss_normalization",
    "train_dataloader.dataset.loss_weights",
)
_LATER = ("computed in",)
"""What the plans of older checkpoints don't tell."""


def plan_of(runner: Any) -> dict[str, Any]:
    """Give what decides how training goes on: figures of the data and the schedule, and the config's settings by dotted key."""
    loop = runner.train_loop
    report = getattr(loop.dataloader.dataset, "report", None)
    figures = {
        "micro-batches in an epoch": loop.epoch_length,
        "micro-batches in all": loop.max_iters,
        "batch size": loop.dataloader.batch_size,
        "accumulation": runner.optim_wrapper.window,
        "seed": runner.seed,
        "tokens in the data": getattr(report, "tokens", None),
        "trained tokens in the data": getattr(report, "trained_tokens", None),
    }
    model = runner.cfg.get("model") or {}
    if "llm" in model:
        autocast = choose_autocast(model.get("autocast_dtype", "auto"), local_device())
        figures["computed in"] = str(autocast or torch.float32)
    size = sequence_parallel_size(runner.cfg)
    shared = {"sequence_parallel_size": size} if size > 1 else {}  # absent: as in checkpoints that don't know of it
    return {**figures, **shared, **_settings(runner.cfg)}


def arithmetic() -> str:
    """Name what decides the last bits of every sum: the device, on a CPU also the number of threads."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"


def refuse_other_plan(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Compare a checkpoint's plan with this run's.

    Raises:
        CheckpointError: something differs; each difference is named with both values.
    """
    changed = [
        f"{key}: {before.get(key, 'not set')} then, {now.get(key, 'not set')} now"
        for key in dict.fromkeys([*before, *now])
        if before.get(key) != now.get(key) and (key in before or key not in _LATER)
    ]
    if changed:
        raise CheckpointError(
            f"{path}: it is from another config: {'; '.join(changed)}. Resume with the config that wrote it (config.py beside "
            "it), or start anew from its weights with --cfg-options load_from=CHECKPOINT"
        )


def _settings(cfg: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for dotted in _SETTINGS:
        node: Any = cfg
        for key in dotted.split("."):
            node = node.get(key) if hasattr(node, "get") else None
        found.update(_flat(dotted, node))
    return found


def _flat(where: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{where}.{key}", inner)
    elif isinstance(value, (list, tuple)) and any(isinstance(inner, Mapping) for inner in value):
        for index, inner in enumerate(value):
            yield from _flat(f"{where}.{index}", inner)
    elif value is not None:
        yield where, _name(value)


def _name(value: Any) -> str:
    """Write a value so that it is the same in another process: types and functions by their names."""
    name = getattr(value, "__qualname__", None)
    return f"{getattr(value, '__module__', '')}.{name}" if name else repr(tuple(value) if isinstance(value, list) else value)
