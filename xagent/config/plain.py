"""The parts of a config that describe no call: what their dicts may hold, and what the top-level words mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from xagent.config.calls import call_faults, shown
from xagent.config.names import did_you_mean


class _Takes:
    """What the engine, or mmengine 0.10, takes as arguments under some keys: read as signatures, never called.

    Numbers whose range matters too are `checks.py`'s.
    """

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
    "log_processor": _Takes.log_processor,
}

# Described as a whole by a `type`, alone or in a list or dict of several.
_DESCRIBED = ("model", "train_cfg", "val_cfg", "train_dataloader.dataset")
_SEVERAL = ("custom_hooks", "default_hooks", "param_scheduler")
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def plain_faults(where: str, node: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong in a dict that has no `type` of its own.

    Args:
        where: its dotted key.
        node: the dict, with its imports resolved.
    """
    if "type" not in node and where in SIGNATURES:
        yield from call_faults(where, {**node, "type": SIGNATURES[where]})
    if where == "optim_wrapper" and not isinstance(node.get("optimizer"), Mapping):
        yield "optim_wrapper: missing 'optimizer', a dict with type and lr"
    place = where.rpartition(".")[0] if where not in _SEVERAL else ""
    if "type" not in node and (where in _DESCRIBED or place in _SEVERAL):
        yield f"{where}: missing 'type', the class that it describes"


def top_level_faults(named: Mapping[str, Any]) -> Iterator[str]:
    """Yield top-level values of a kind that nothing can be built from.

    Args:
        named: the config's top-level words with their values, imports resolved.
    """
    for key in ("model", "optim_wrapper", "train_cfg"):
        if key in named and not isinstance(named[key], Mapping):
            yield f"{key}: expected a dict, got {shown(named[key])}"
    for key in ("val_cfg", "default_hooks", "randomness", "env_cfg", "log_processor"):
        if named.get(key) is not None and not isinstance(named[key], Mapping):
            yield f"{key}: expected a dict, got {shown(named[key])}"
    if named.get("custom_hooks") is not None and not isinstance(named["custom_hooks"], (list, tuple)):
        yield f"custom_hooks: expected a list, got {shown(named['custom_hooks'])}"
    level = named.get("log_level")
    if level is not None and not isinstance(level, int) and level not in _LEVELS:
        yield f"log_level: expected one of {', '.join(_LEVELS)}, got {shown(level)}{did_you_mean(str(level), _LEVELS)}"
    if not isinstance(named.get("resume"), (bool, str, type(None))):
        yield f"resume: expected True, False or a checkpoint's path, got {shown(named['resume'])}"


def load_from_faults(named: Mapping[str, Any]) -> Iterator[str]:
    """Yield that the checkpoint whose weights a run starts from is not there."""
    path = named.get("load_from")
    if path is None:
        return
    if not isinstance(path, str):
        yield f"load_from: expected a checkpoint's path, got {shown(path)}"
    elif not Path(path).exists():
        yield f"load_from: no such checkpoint: {path!r} (seen from {Path.cwd()})"
