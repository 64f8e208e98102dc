"""DeepSpeed's JSON: find it by name or path, and refuse what contradicts the config."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xagent.config.find import configs_dir
from xagent.config.names import did_you_mean
from xagent.errors import ConfigError, XAgentError

_PREFIX = "deepspeed_"


def deepspeed_names() -> list[str]:
    """Return the short names of the bundled DeepSpeed configs: zero1, zero2, ..."""
    return sorted(path.stem.removeprefix(_PREFIX) for path in (configs_dir() / "deepspeed").glob("*.json"))


def find_deepspeed(name: str) -> Path:
    """Return the path of a DeepSpeed JSON.

    Args:
        name: `zero2`, `deepspeed_zero2`, or a path to a `.json` file.

    Raises:
        ConfigError: no such file or name; the nearest names are shown.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path.resolve()
    short = name.removesuffix(".json").replace("-", "_").removeprefix(_PREFIX)
    bundled = configs_dir() / "deepspeed" / f"{_PREFIX}{short}.json"
    if bundled.is_file():
        return bundled
    names = deepspeed_names()
    near = did_you_mean(short, names)
    raise ConfigError(f"--deepspeed {name!r}: neither a file nor one of {', '.join(names)}{near}")


def require_deepspeed() -> None:
    """Check that the deepspeed package is installed, without importing it.

    Raises:
        XAgentError: it is not; the message has the command that installs it.
    """
    if importlib.util.find_spec("deepspeed") is None:
        raise XAgentError(
            "--deepspeed needs the package deepspeed, which is not installed. Install it with:\n"
            '    DS_BUILD_OPS=0 pip install --no-build-isolation "xagent[deepspeed]"\n'
            "or train without --deepspeed (several processes then run as plain DDP)."
        )


def deepspeed_faults(path: str | Path, config: Mapping[str, Any], world_size: int | None = None) -> list[str]:
    """Return where a DeepSpeed JSON is unusable or contradicts the config, which alone says batch, accumulation and clipping.

    Args:
        path: the JSON.
        config: the loaded config.
        world_size: the number of processes, to check `train_batch_size`; unknown by default.
    """
    try:
        settings = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return [f"deepspeed: can't read {path}: {error}"]
    if not isinstance(settings, dict):
        return [f"deepspeed: {path} holds a {type(settings).__name__}, expected an object"]
    faults = [
        f"deepspeed: {path} says {key} = {theirs!r}, the config says {where} = {ours!r}; remove {key} from the JSON"
        for key, theirs, where, ours in _pairs(settings, config, world_size)
        if theirs not in (None, "auto") and ours is not None and theirs != ours
    ]
    return faults + _own_faults(path, settings)


def _pairs(settings: Mapping[str, Any], config: Mapping[str, Any], world_size: int | None) -> list[tuple[str, Any, str, Any]]:
    wrapper = _dict(config.get("optim_wrapper"))
    micro = _dict(config.get("train_dataloader")).get("batch_size")
    accumulation = wrapper.get("accumulative_counts", 1)
    clip = _dict(wrapper.get("clip_grad")).get("max_norm", 0)
    total = micro * accumulation * world_size if world_size and isinstance(micro, int) and isinstance(accumulation, int) else None
    said = "train_dataloader.batch_size * optim_wrapper.accumulative_counts * processes"
    return [
        ("train_micro_batch_size_per_gpu", settings.get("train_micro_batch_size_per_gpu"), "train_dataloader.batch_size", micro),
        (
            "gradient_accumulation_steps",
            settings.get("gradient_accumulation_steps"),
            "optim_wrapper.accumulative_counts",
            accumulation,
        ),
        ("gradient_clipping", settings.get("gradient_clipping"), "optim_wrapper.clip_grad.max_norm", clip),
        ("train_batch_size", settings.get("train_batch_size"), said, total),
    ]


def _dict(value: Any) -> Mapping[str, Any]:
    """Take what is no dict for an empty one: that it is none is a fault of its own."""
    return value if isinstance(value, Mapping) else {}


def _own_faults(path: str | Path, settings: Mapping[str, Any]) -> list[str]:
    faults = []
    if all((settings.get(kind) or {}).get("enabled") is True for kind in ("fp16", "bf16")):
        faults.append(f"deepspeed: {path} enables both fp16 and bf16; enable one, or neither and let xagent choose")
    for kind, where in (("optimizer", "optim_wrapper.optimizer"), ("scheduler", "param_scheduler")):
        if kind in settings:
            faults.append(f"deepspeed: {path} has its own {kind}; the config's {where} is used: remove it from the JSON")
    return faults
