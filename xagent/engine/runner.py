"""From a validated config to a run: mmengine's FlexibleRunner with our loop, strategies and checkpoints."""

from __future__ import annotations

import copy
import json
import os
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import LoggerHook
from mmengine.runner import FlexibleRunner
from mmengine.visualization import LocalVisBackend, Visualizer

from xagent import __version__
from xagent.config import write_config
from xagent.engine.hooks.checkpoint import CheckpointHook
from xagent.engine.memory import choose_checkpointing
from xagent.engine.plan import arithmetic, plan_of, refuse_other_plan
from xagent.engine.sequence_parallel import check_sequence_parallel, loader_for_groups, sequence_parallel_size
from xagent.engine.strategy import DeepSpeed, DistributedDataParallel, SingleDevice
from xagent.engine.visualizer import NumbersOnly
from xagent.errors import CheckpointError, OutputError
from xagent.model.checkpoint import find_latest_valid, remove_leftovers
from xagent.startup import ready

_RUNS = count(1)
"""Numbers the runs of this process: mmengine shares loggers among runs of one name."""


class AgentRunner(FlexibleRunner):
    """mmengine's runner, going on from our own checkpoints and writing the effective config beside the outputs."""

    def dump_config(self) -> None:
        """Write the config so that it can be run again as it is."""
        if is_main_process():
            write_config(self.cfg, Path(self.work_dir) / "config.py")

    def get_hooks_info(self) -> str:
        """Name the hooks in the order in which they run."""
        return ", ".join(type(hook).__name__ for hook in self.hooks)

    def build_visualizer(self, visualizer: Visualizer | dict[str, Any] | None = None) -> Visualizer:
        """Build what keeps the numbers; by default a file under ``vis_data``."""
        if visualizer is not None:
            return super().build_visualizer(visualizer)
        backends = [dict(type=LocalVisBackend)]
        return NumbersOnly.get_instance(self.experiment_name, vis_backends=backends, save_dir=self.log_dir)

    def _log_env(self) -> None:
        """Log versions and devices; the config is written to a file instead of the log."""
        versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft", "mmengine"))
        self.logger.info(f"xagent {__version__}, {versions}; {self.world_size} process(es) on {arithmetic()}; seed {self.seed}")

    def load_or_resume(self) -> None:
        """Go on from ``resume`` (a path), or start from the weights of ``load_from``."""
        if self._has_loaded or not (self._resume or self._load_from):
            return
        path = Path(self._resume or self._load_from).absolute()
        check = self._check_plan if self._resume else None
        meta = self.strategy.load_state(path, resume=bool(self._resume), check=check)
        if self._resume:
            self.train_loop.load_state_dict(meta["position"])
            self.logger.info(f"Going on from {path}: epoch {self.epoch + 1}, iteration {self.iter}")
        self._has_loaded = True

    def _check_plan(self, path: Path, meta: dict[str, Any]) -> None:
        refuse_other_plan(path, meta["plan"], plan_of(self))
        before = meta.get("arithmetic", arithmetic())
        if before != arithmetic():
            self.logger.warning(
                f"{path.name} was trained on {before}, this is {arithmetic()}: sums are cut otherwise, so the last bits of the "
                "losses will differ from those of an uninterrupted run"
            )


def train(cfg: Config, resume: str | None = None, launcher: str = "none", dry_run: bool = False) -> None:
    """Train as a validated config says.

    Args:
        cfg: with ``work_dir``; ``deepspeed`` names a JSON file.
        resume: ``auto`` for the newest valid checkpoint in the work dir (a fresh start where there is none), or a path.
        launcher: ``none``, or ``pytorch`` where the environment is as torchrun sets it (Slurm's is translated by the command).
        dry_run: build everything but the weights, and print what would happen.

    Raises:
        XAgentError: data, checkpoint or machine can't be used as asked.
    """
    if dry_run:
        from xagent.engine.dry_run import describe_run

        text = describe_run(cfg)
        if int(os.environ.get("RANK", 0)) == 0:
            print(text)
        return
    if resume != "auto" and resume is not None and not Path(resume).exists():
        raise CheckpointError(f"{resume}: no such checkpoint. --resume auto takes the newest valid one in the work dir")
    ready()
    runner = build_runner(cfg, launcher)
    runner._resume = find_resume(Path(runner.work_dir), resume, runner.logger)
    runner.train()


def find_resume(work_dir: Path, resume: str | None, logger: Any) -> str | None:
    """Choose the checkpoint to go on from, on the main process for all; what interrupted writes left is removed."""
    if is_main_process():
        remove_leftovers(work_dir)
    if resume != "auto":
        return resume
    chosen: list[Any] = [None]
    if is_main_process():
        found, skipped = find_latest_valid(work_dir)
        for path, reason in skipped:
            logger.warning(f"Skipping {path.name}: {reason}")
        if found is None:
            logger.info(f"No checkpoint to go on from in {work_dir}: starting anew")
        chosen = [str(found) if found else None]
    broadcast_object_list(chosen)
    return chosen[0]


def build_runner(cfg: Config, launcher: str = "none") -> AgentRunner:
    """Build the runner; nothing is loaded before :meth:`train`.

    Raises:
        ConfigError: the model's rows, or the data, can't be shared as ``sequence_parallel_size`` asks.
        OutputError: the work dir can't be written.
    """
    check_sequence_parallel(cfg)
    shared = sequence_parallel_size(cfg)
    _check_work_dir(Path(cfg.work_dir))
    validates = cfg.get("val_cfg") is not None
    hooks = {
        "logger": dict(type=LoggerHook, interval=10),
        "checkpoint": dict(type=CheckpointHook),
        **(cfg.get("default_hooks") or {}),
    }
    model = copy.copy(cfg.model)
    model["use_activation_checkpointing"] = choose_checkpointing(cfg, int(os.environ.get("WORLD_SIZE", 1)))
    return AgentRunner(
        model=model,
        work_dir=cfg.work_dir,
        experiment_name=cfg.get("experiment_name") or f"{Path(cfg.filename or 'config').stem}_{next(_RUNS)}",
        train_dataloader=loader_for_groups(cfg.train_dataloader, shared, "train_dataloader"),
        optim_wrapper=cfg.optim_wrapper,
        param_scheduler=cfg.get("param_scheduler"),
        train_cfg=cfg.train_cfg,
        val_dataloader=loader_for_groups(cfg.val_dataloader, shared, "val_dataloader") if validates else None,
        val_cfg=cfg.val_cfg if validates else None,
        val_evaluator=[] if validates else None,
        strategy=_strategy(cfg, launcher),
        default_hooks=hooks,
        custom_hooks=cfg.get("custom_hooks"),
        load_from=cfg.get("load_from"),
        launcher=launcher,
        env_cfg=cfg.get("env_cfg") or {},
        log_processor=cfg.get("log_processor") or dict(window_size=1, by_epoch=False),
        log_level="INFO" if cfg.get("log_level") is None else cfg.log_level,
        visualizer=cfg.get("visualizer"),
        randomness=cfg.get("randomness") or dict(seed=42),
        cfg=cfg,
    )


def _check_work_dir(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"work_dir {path} can't be written: {error.strerror}. Choose another with --work-dir") from error


def _strategy(cfg: Config, launcher: str) -> dict[str, Any]:
    if cfg.get("deepspeed"):
        config = json.loads(Path(cfg.deepspeed).read_text(encoding="utf-8"))
        if launcher == "none":
            _single_process_environment()
        config["train_micro_batch_size_per_gpu"] = cfg.train_dataloader["batch_size"]
        return dict(type=DeepSpeed, config=config, sequence_parallel_size=sequence_parallel_size(cfg))
    if launcher == "none":
        return dict(type=SingleDevice)
    return dict(type=DistributedDataParallel, sequence_parallel_size=sequence_parallel_size(cfg))


def _single_process_environment() -> None:
    """Let DeepSpeed run with one process that no launcher started."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for name, value in (
        ("RANK", "0"),
        ("WORLD_SIZE", "1"),
        ("LOCAL_RANK", "0"),
        ("MASTER_ADDR", "127.0.0.1"),
        ("MASTER_PORT", str(port)),
    ):
        os.environ.setdefault(name, value)
