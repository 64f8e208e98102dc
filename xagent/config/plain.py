"""The parts of a config that describe no call: what their dicts may hold, and what the top-level words mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from xagent.config.calls import CLIPPED_BY_NORM, call_faults, dataloader_faults, value_faults
from xagent.config.signatures import signature_of


class _Takes:
    """What the engine, or mmengine 0.10, takes as arguments under some keys: read as signatures, never called.

    Numbers whose range matters too are `checks.py`'s.
    """

    @staticmethod
    def config(
        model: dict[str, Any],
        train_dataloader: dict[str, Any],
        optim_wrapper: dict[str, Any],
        train_cfg: dict[str, Any],
        work_dir: str | Path | None = None,
        param_scheduler: dict[str, Any] | list[dict[str, Any]] | None = None,
        val_dataloader: dict[str, Any] | None = None,
        val_cfg: dict[str, Any] | None = None,
        default_hooks: dict[str, dict[str, Any] | None] | None = None,
        custom_hooks: list[dict[str, Any]] | None = None,
        load_from: str | None = None,
        resume: bool | str | None = None,
        launcher: Literal["none", "pytorch", "slurm"] | None = None,
        env_cfg: dict[str, Any] | None = None,
        log_processor: dict[str, Any] | None = None,
        log_level: Literal["NOTSET", "DEBUG", "INFO", "WARN", "WARNING", "ERROR", "FATAL", "CRITICAL"] | int | None = None,
        visualizer: dict[str, Any] | None = None,
        default_scope: str | None = None,
        randomness: dict[str, Any] | None = None,
        experiment_name: str | None = None,
        deepspeed: str | None = None,
        runner_type: Literal["FlexibleRunner"] | None = None,
        tokenizer: dict[str, Any] | str | None = None,
    ) -> None: ...

    @staticmethod
    def optim_wrapper(
        accumulative_counts: Any = 1, clip_grad: dict[str, Any] | None = None, loss_scale: Any = None, dtype: Any = None
    ) -> None: ...

    @staticmethod
    def clip_grad(
        max_norm: Any, norm_type: float = 2.0, error_if_nonfinite: bool = False, foreach: bool | None = None
    ) -> None: ...

    @staticmethod
    def randomness(seed: int | None = None, diff_rank_seed: bool = False, deterministic: bool = False) -> None: ...

    @staticmethod
    def env_cfg(
        cudnn_benchmark: bool = False,
        mp_cfg: dict[str, Any] | None = None,
        dist_cfg: dict[str, Any] | None = None,
        resource_limit: int = 4096,
    ) -> None: ...

    @staticmethod
    def mp_cfg(mp_start_method: Literal["fork", "spawn", "forkserver"] = "fork", opencv_num_threads: int = 0) -> None: ...

    @staticmethod
    def log_processor(
        window_size: int = 10,
        by_epoch: bool = True,
        custom_cfg: list[dict[str, Any]] | None = None,
        num_digits: int = 4,
        log_with_hierarchy: bool = False,
        mean_pattern: str = "",
    ) -> None: ...


SIGNATURES: dict[str, Callable[..., None]] = {
    "optim_wrapper": _Takes.optim_wrapper,
    "optim_wrapper.clip_grad": _Takes.clip_grad,
    "randomness": _Takes.randomness,
    "env_cfg": _Takes.env_cfg,
    "env_cfg.mp_cfg": _Takes.mp_cfg,
    "log_processor": _Takes.log_processor,
}

# Described as a whole by a `type`, alone or in a list or dict of several.
_DESCRIBED = ("model", "train_cfg", "val_cfg", "tokenizer", "visualizer", "optim_wrapper.optimizer")
_DATALOADERS = ("train_dataloader", "val_dataloader")
_DESCRIBED_IN_DATALOADERS = ("dataset", "sampler", "batch_sampler", "collate_fn")
_SEVERAL = ("custom_hooks", "default_hooks", "param_scheduler")

# mmengine's words that nothing here reads, and what to do instead. `auto_scale_lr` that is not enabled changes nothing.
UNREAD = {
    "auto_scale_lr": "set the learning rate itself (lr)",
    "data_preprocessor": "the model takes the rows as they are collated",
    "strategy": "it follows from --deepspeed and the number of processes",
    "test_cfg": "xagent eval tests a model",
    "test_dataloader": "xagent eval tests a model",
    "test_evaluator": "xagent eval tests a model",
    "val_evaluator": "validation measures the held-out loss; xagent eval measures more",
}


def plain_faults(where: str, node: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong in a dict that has no `type` of its own.

    Args:
        where: its dotted key.
        node: the dict, with its imports resolved.
    """
    if where in SIGNATURES and ("type" not in node or (where, node["type"]) == CLIPPED_BY_NORM):
        yield from call_faults(where, {**node, "type": SIGNATURES[where]})
    if where == "optim_wrapper" and not isinstance(node.get("optimizer"), Mapping):
        yield "optim_wrapper: missing 'optimizer', a dict with type and lr"
    if where in _DATALOADERS:
        yield from dataloader_faults(where, node)
    if "type" not in node and _is_described(where):
        yield f"{where}: missing 'type', the class that it describes"


def _is_described(where: str) -> bool:
    parent, _, key = where.rpartition(".")
    if parent in _DATALOADERS:
        return key in _DESCRIBED_IN_DATALOADERS
    return where in _DESCRIBED or parent in _SEVERAL or where == "param_scheduler"


def top_level_faults(named: Mapping[str, Any]) -> Iterator[str]:
    """Yield top-level values of a wrong kind, and words of mmengine's that would be passed over.

    Args:
        named: the config's top-level words with their values, imports resolved.
    """
    signature = signature_of(_Takes.config)
    assert signature is not None
    for key, annotation in signature.hints.items():
        if key in named:
            yield from value_faults(key, named[key], annotation)
    for key, instead in UNREAD.items():
        value = named.get(key)
        if value and not (key == "auto_scale_lr" and isinstance(value, Mapping) and not value.get("enable")):
            yield f"{key}: xagent does not read it: {instead}; remove {key}, or set it to None"


def load_from_faults(named: Mapping[str, Any]) -> Iterator[str]:
    """Yield that the checkpoint whose weights a run starts from is not there."""
    path = named.get("load_from")
    if isinstance(path, str) and not Path(path).exists():
        yield f"load_from: no such checkpoint: {path!r} (seen from {Path.cwd()})"
