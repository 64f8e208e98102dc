"""Saving: at the end of an accumulation window, whole or not at all, the oldest removed only afterwards."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from mmengine.dist import barrier, is_main_process
from mmengine.hooks import Hook

from xagent import __version__
from xagent.chat.template import template_reference
from xagent.config.write import write_atomically
from xagent.engine.plan import arithmetic, plan_of
from xagent.model.checkpoint import find_checkpoints, rotate
from xagent.model.fingerprint import fingerprint_model
from xagent.model.manifest import FILE_MANIFEST_SUFFIX
from xagent.model.plain import to_plain

BEST = "best.json"


class CheckpointHook(Hook):
    """Write ``iter_N.pth`` into the work dir.

    A checkpoint holds what is trained, optimizer, schedulers, random states of all ranks and the position in the data. It is
    written at the first end of an accumulation window at or after each multiple of ``interval``, and at the end. Checkpoints from
    beyond the point where a run starts belong to another run: they are moved to ``set_aside_TIME/`` in the work dir.

    Args:
        interval: micro-batches between checkpoints; None writes only the last one.
        max_keep_ckpts: how many to keep, the best one not counted; None keeps all.
        save_optimizer: without it checkpoints are smaller and can't be resumed; said at the start.
        save_best: after each validation keep the checkpoint with the lowest held-out loss too (``best.json`` names it).
        by_epoch: XTuner's spelling, accepted; iterations are counted either way.
    """

    priority = "VERY_LOW"

    def __init__(
        self,
        interval: int | None = None,
        max_keep_ckpts: int | None = None,
        save_optimizer: bool = True,
        save_best: bool = True,
        by_epoch: bool = False,
    ) -> None:
        self.interval = interval if interval and interval > 0 else None
        self.max_keep_ckpts = max_keep_ckpts if max_keep_ckpts and max_keep_ckpts > 0 else None
        self.save_optimizer = save_optimizer
        self.save_best = save_best
        self._saved = -1
        self._due = False
        self._best: tuple[float, str] | None = None

    def before_train(self, runner: Any) -> None:
        """Say what these checkpoints can't do, set others aside, and pick up the best one of an earlier part of the run."""
        if not self.save_optimizer:
            runner.logger.warning("Checkpoints are saved without the optimizer (save_optimizer=False): they can't be resumed")
        if is_main_process():
            moved = set_aside(Path(runner.work_dir), runner.iter)
            if moved:
                names = ", ".join(path.name for path in moved)
                runner.logger.warning(f"{names} came from another run, or from beyond this start: now in {moved[0].parent}")
        barrier()
        self._best = read_best(Path(runner.work_dir)) if runner.iter else None
        self._saved = runner.iter

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Save once the window that contains a multiple of the interval has ended; at an epoch's end see below."""
        done, loop = runner.iter + 1, runner.train_loop
        if self.interval and done % self.interval == 0:
            self._due = True
        if self._due and loop.closes_window and done % loop.epoch_length:
            self._save(runner, done)

    def after_train_epoch(self, runner: Any, metrics: Any = None) -> None:
        """Save at an epoch's end, when schedulers that count epochs have moved on.

        After the last one too, due or not: whatever fails later, in plots or last samples, loses no training.
        """
        if self._due or runner.iter >= runner.max_iters:
            self._save(runner, runner.iter)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Keep the checkpoint with the lowest held-out loss."""
        loss = (metrics or {}).get("held_out_loss")
        if loss is None or not self.save_best or (self._best and loss >= self._best[0]):
            return
        self._save(runner, runner.iter)
        self._best = (loss, f"iter_{runner.iter}.pth")
        if is_main_process():
            record = {"held_out_loss": loss, "checkpoint": self._best[1], "iter": runner.iter}
            write_atomically(Path(runner.work_dir) / BEST, json.dumps(record, indent=1))
        self._rotate(runner)

    def after_train(self, runner: Any) -> None:
        """Save the end."""
        self._save(runner, runner.iter)

    def _save(self, runner: Any, iteration: int) -> None:
        self._due = False
        if self._saved == iteration:
            return
        path = Path(runner.work_dir) / f"iter_{iteration}.pth"
        runner.strategy.save_state(path, self._meta(runner, iteration), self.save_optimizer)
        self._saved = iteration
        runner.logger.info(f"Saved {path}")
        self._rotate(runner)

    def _rotate(self, runner: Any) -> None:
        if self.max_keep_ckpts and is_main_process():
            best = [Path(runner.work_dir) / self._best[1]] if self._best else []
            rotate(Path(runner.work_dir), self.max_keep_ckpts, best)

    def _meta(self, runner: Any, iteration: int) -> dict[str, Any]:
        loop, model = runner.train_loop, runner.strategy.unwrapped(runner.model)
        position = {**loop.state_dict(), "iter": iteration, "epoch": iteration // loop.epoch_length}
        return {
            "iter": iteration,
            "position": position,
            "plan": plan_of(runner),
            "arithmetic": arithmetic(),
            "xagent_version": __version__,
            "world_size": runner.world_size,
            **describe_model(runner, model),
        }


def set_aside(work_dir: Path, iteration: int) -> list[Path]:
    """Move checkpoints of a later iteration, with what belongs to them, out of the way; give their new paths.

    Left where they are, rotation would keep them instead of what is about to be written, and ``--resume auto`` would choose them.
    """
    later = [path for path in find_checkpoints(work_dir) if int(path.stem.removeprefix("iter_")) > iteration]
    if not later:
        return []
    folder = work_dir / time.strftime("set_aside_%Y%m%d_%H%M%S")
    folder.mkdir(exist_ok=True)
    best = read_best(work_dir)
    if best and work_dir / best[1] in later:
        (work_dir / BEST).rename(folder / BEST)
    for path in later:
        manifest = path.with_name(path.name + FILE_MANIFEST_SUFFIX)
        path.rename(folder / path.name)
        if manifest.exists():
            manifest.rename(folder / manifest.name)
    return [folder / path.name for path in later]


def read_best(work_dir: Path) -> tuple[float, str] | None:
    """Give the lowest held-out loss so far and its checkpoint's name; None where there is none any more."""
    try:
        values = json.loads((work_dir / BEST).read_text(encoding="utf-8"))
        loss, name = float(values["held_out_loss"]), str(values["checkpoint"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (loss, name) if (work_dir / name).exists() else None


def describe_model(runner: Any, model: Any) -> dict[str, Any]:
    """Give what conversion needs to know about the trained model, as plain values."""
    adapter = model.adapter_config
    base = getattr(getattr(model.llm, "config", None), "_name_or_path", None) or None
    dataset = (runner.cfg.get("train_dataloader") or {}).get("dataset") or {}
    return {
        "kind_of_training": "lora" if adapter else "full",
        "adapter_config": to_plain(adapter),
        "base_model": base,
        "base_fingerprint": _fingerprint(base),
        **_quantization(model.llm),
        "vocab_size": int(model.llm.get_input_embeddings().weight.shape[0]),
        "tokenizer": _path_of(dataset.get("tokenizer")),
        "template": _template_of(dataset),
        "protocol": dataset.get("protocol", "react"),
        "trained_names": sorted(model.trained_names()),
    }


def _quantization(llm: Any) -> dict[str, Any]:
    """Give what merging onto the quantised weights must repeat."""
    settings = getattr(llm.config, "quantization_config", None)
    if not getattr(llm, "is_loaded_in_4bit", False) or settings is None:
        return {"quantization": None, "dtype": str(llm.dtype).removeprefix("torch.")}
    return {
        "quantization": settings.bnb_4bit_quant_type,
        "double_quantization": bool(settings.bnb_4bit_use_double_quant),
        "dtype": str(llm.dtype).removeprefix("torch."),
    }


_FINGERPRINTS: dict[str, str] = {}


def _fingerprint(base: str | None) -> str | None:
    if not base or not Path(base).is_dir():
        return None
    if base not in _FINGERPRINTS:
        _FINGERPRINTS[base] = fingerprint_model(Path(base))
    return _FINGERPRINTS[base]


def _path_of(tokenizer: Any) -> str | None:
    if isinstance(tokenizer, dict):
        return tokenizer.get("pretrained_model_name_or_path")
    return getattr(tokenizer, "name_or_path", None) if tokenizer is not None else None


def _template_of(dataset: Any) -> str | dict[str, Any]:
    template = dataset.get("template") or (dataset.get("template_map_fn") or {}).get("template") or "tokenizer"
    return template_reference(template)
