"""How a run is carried out: on one device, with DDP, or with DeepSpeed; on CUDA over nccl or on CPUs over gloo.

Each strategy sets up the processes, wraps the model, writes checkpoints through ``xagent.model.checkpoint`` and goes on
from them. mmengine's own assume a GPU, load without ``weights_only`` and write in place.
"""

from __future__ import annotations

import datetime
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mmengine._strategy.deepspeed as mmengine_deepspeed
import numpy as np
import torch
from mmengine._strategy import DDPStrategy, SingleDeviceStrategy
from mmengine._strategy.deepspeed import DeepSpeedStrategy
from mmengine.dist import all_gather_object, barrier, broadcast, is_main_process
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import BaseOptimWrapper
from torch import nn

from xagent.engine.extension_builds import release_left_builds
from xagent.engine.optim_wrapper import WindowDeepSpeedOptimWrapper, WindowOptimWrapper
from xagent.engine.sequence_parallel import join_sequence_group
from xagent.errors import CheckpointError
from xagent.model.checkpoint import (
    disk_faults,
    read_checkpoint,
    read_deepspeed_client_state,
    read_manifest,
    seal_directory,
    temporary_directory,
    verify_checkpoint,
    write_checkpoint,
)
from xagent.model.loading import local_device
from xagent.registry import build

Check = Callable[[Path, dict[str, Any]], None]
_NOT_THE_WRAPPERS = ("type", "optimizer", "constructor", "loss_scale", "dtype")
"""Words of XTuner's ``optim_wrapper`` that our wrappers don't take: the kind and precision follow from strategy and model."""

_FUSED_OR_NOT = {"fused", "foreach", "capturable", "differentiable"}
TIMEOUT = datetime.timedelta(minutes=30)


def random_state() -> dict[str, Any]:
    """Give the state of every random generator of this process as plain values."""
    version, words, gauss = random.getstate()
    name, keys, place, has_gauss, cached = np.random.get_state(legacy=True)
    state: dict[str, Any] = {
        "python": [version, list(words), gauss],
        "numpy": [name, np.asarray(keys).tolist(), place, has_gauss, cached],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Put every random generator back to what :func:`random_state` gave."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


class _Resumable:
    """What all three strategies share.

    Args:
        sequence_parallel_size: ranks that share the tokens of each row.

    Attributes:
        sequence_group: those ranks, None where each has rows of its own.
    """

    _waiting_state: dict[str, Any] | None = None

    def __init__(self, *, sequence_parallel_size: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sequence_group = join_sequence_group(sequence_parallel_size, TIMEOUT)

    def convert_model(self, model: nn.Module) -> nn.Module:
        """Give the model as it is: there is no batch norm to convert."""
        return model

    def restore_random_state(self) -> None:
        """Set the random generators as the checkpoint had them; called right before the first micro-batch."""
        if self._waiting_state is not None:
            set_random_state(self._waiting_state)
            self._waiting_state = None

    def _build_param_scheduler(self, scheduler: Any, optim_wrapper: Any, default_args: dict[str, Any]) -> list[Any]:
        """Leave out schedulers that a small data set makes zero iterations long (mmengine refuses them)."""
        length = default_args.get("epoch_length")
        given = list(scheduler) if isinstance(scheduler, (list, tuple)) else [scheduler]
        if length is not None:
            given = [each for each in given if not _is_empty(each, length)]
        return super()._build_param_scheduler(given, optim_wrapper, default_args)  # type: ignore[misc]

    def _build_window_wrapper(self, config: Any, model: nn.Module, kind: type) -> Any:
        if isinstance(config, BaseOptimWrapper):
            return config
        arguments = {key: value for key, value in dict(config).items() if key not in _NOT_THE_WRAPPERS}
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = build(dict(_with_fused_kernel(config["optimizer"]), params=trained))
        scaler = None
        if kind is WindowOptimWrapper and getattr(model, "autocast_dtype", None) == torch.float16:
            scaler = torch.amp.GradScaler() if torch.cuda.is_available() else None
        return kind(optimizer, **arguments, **({"scaler": scaler} if scaler else {}))

    @staticmethod
    def _gather_random_states() -> list[dict[str, Any]]:
        return all_gather_object(random_state())

    def _remember_random_state(self, meta: dict[str, Any]) -> None:
        states = meta.get("random_states") or []
        if self.rank < len(states):  # type: ignore[attr-defined]
            self._waiting_state = states[self.rank]  # type: ignore[attr-defined]


def _with_fused_kernel(optimizer: Mapping[str, Any]) -> dict[str, Any]:
    """Let torch's Adam and AdamW step in one kernel for all parameters, unless the config chooses otherwise."""
    chosen = dict(optimizer)
    if chosen.get("type") in (torch.optim.Adam, torch.optim.AdamW) and not _FUSED_OR_NOT & chosen.keys():
        chosen["fused"] = True
    return chosen


def _is_empty(scheduler: Any, epoch_length: int) -> bool:
    if not isinstance(scheduler, dict) or not scheduler.get("convert_to_iter_based") or scheduler.get("end") is None:
        return False
    return int(scheduler["end"] * epoch_length) <= int(scheduler.get("begin", 0) * epoch_length)


class SingleDevice(_Resumable, SingleDeviceStrategy):
    """One process on one device."""

    def build_optim_wrapper(self, optim_wrapper: Any, model: nn.Module | None = None) -> Any:
        """Build the wrapper that steps at the end of each window."""
        return self._build_window_wrapper(optim_wrapper, self.unwrapped(model), WindowOptimWrapper)

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        return model.to(local_device())

    @staticmethod
    def unwrapped(model: Any) -> Any:
        """Give the model itself."""
        return getattr(model, "module", model)

    def forward_loss(self, batch: dict[str, Any]) -> torch.Tensor:
        """Compute the loss of a batch without a step."""
        model = self.unwrapped(self.model)
        return model(**model.data_preprocessor(batch, False), mode="loss")["loss"]

    def save_state(self, path: Path, meta: dict[str, Any], save_optimizer: bool = True) -> None:
        """Write a plain checkpoint; every rank calls it, the main process writes."""
        meta = {**meta, "random_states": self._gather_random_states()}
        if is_main_process():
            state: dict[str, Any] = {"meta": meta, "state_dict": dict(self.unwrapped(self.model).state_dict())}
            if save_optimizer:
                state["optimizer"] = self.optim_wrapper.state_dict()
                state["param_schedulers"] = self.scheduler_state_dict() if hasattr(self, "param_schedulers") else []
            write_checkpoint(state, path, resumable=save_optimizer)
        barrier()

    def load_state(self, path: Path, resume: bool = True, check: Check | None = None) -> dict[str, Any]:
        """Load trained weights, and with ``resume`` optimizer, scheduler and random state; give the meta.

        Args:
            path: the checkpoint.
            resume: load more than the weights.
            check: is given path and meta before anything is loaded, and may raise.

        Raises:
            CheckpointError: not whole, not resumable, a DeepSpeed directory, or from another config or world size.
        """
        _check_resumable(path, self.world_size, "plain", resume)
        state = read_checkpoint(path)
        if check:
            check(path, state["meta"])
        self.unwrapped(self.model).load_state_dict(state["state_dict"], strict=True)
        if resume:
            self.optim_wrapper.load_state_dict(state["optimizer"])
            self.load_scheduler_state_dict(state["param_schedulers"])
            self._remember_random_state(state["meta"])
        return dict(state["meta"])


class DistributedDataParallel(SingleDevice, DDPStrategy):
    """Several processes, each with the whole model."""

    def _setup_distributed(self, launcher: str = "pytorch", backend: str | None = None, **kwargs: Any) -> None:
        device = local_device()
        if device.type == "cuda":
            torch.cuda.set_device(device)
        torch.distributed.init_process_group(backend or ("nccl" if device.type == "cuda" else "gloo"), timeout=TIMEOUT)

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        device = local_device()
        ids = [device.index] if device.type == "cuda" else None
        model = model.to(device)
        for parameter in model.parameters():  # the frozen rest was loaded, and is large
            if parameter.requires_grad:
                broadcast(parameter.data)
        return MMDistributedDataParallel(model, device_ids=ids, broadcast_buffers=False, init_sync=False)


class DeepSpeed(_Resumable, DeepSpeedStrategy):
    """DeepSpeed ZeRO. The config's batch size, accumulation and clipping are put into DeepSpeed's configuration.

    Args:
        config: DeepSpeed's configuration, a dict.
    """

    def __init__(self, *, config: dict[str, Any], **kwargs: Any) -> None:
        # mmengine's constructor imports optimizers that DeepSpeed 0.19 no longer has; ours come from the config.
        registering = mmengine_deepspeed.register_deepspeed_optimizers
        mmengine_deepspeed.register_deepspeed_optimizers = list
        try:
            super().__init__(config=config, exclude_frozen_parameters=True, **kwargs)
        finally:
            mmengine_deepspeed.register_deepspeed_optimizers = registering

    def _setup_distributed(self, launcher: str | None = None, backend: str | None = None, **kwargs: Any) -> None:
        import deepspeed

        release_left_builds()
        device = local_device()
        if device.type == "cuda":
            torch.cuda.set_device(device)
        deepspeed.init_distributed(
            backend or ("nccl" if device.type == "cuda" else "gloo"), auto_mpi_discovery=False, timeout=TIMEOUT, verbose=False
        )

    def build_optim_wrapper(self, optim_wrapper: Any, model: nn.Module | None = None) -> Any:
        """Build the wrapper whose boundary the loop sets, and give DeepSpeed its numbers."""
        assert model is not None
        wrapper = self._build_window_wrapper(optim_wrapper, model, WindowDeepSpeedOptimWrapper)
        self.config["gradient_accumulation_steps"] = wrapper.window
        # Always said: DeepSpeed clips at 1.0 where it is told nothing.
        self.config["gradient_clipping"] = float((wrapper.clip_grad or {}).get("max_norm", 0.0))
        precision = {torch.bfloat16: "bf16", torch.float16: "fp16"}.get(getattr(model, "autocast_dtype", None))
        if local_device().type != "cuda":
            precision = None  # on a CPU weights stay in fp32 and only products are cast
        if precision and not any(self.config.get(key, {}).get("enabled") for key in ("bf16", "fp16")):
            self.config[precision] = {"enabled": True}
        return wrapper

    def _wrap_model(self, model: nn.Module) -> Any:
        return super()._wrap_model(model.to(local_device()))

    @staticmethod
    def unwrapped(model: Any) -> Any:
        """Give the model itself."""
        return model.module

    def forward_loss(self, batch: dict[str, Any]) -> torch.Tensor:
        """Compute the loss of a batch without a step (through the engine: under ZeRO-3 it gathers the weights)."""
        batch = self.model.module.data_preprocessor(batch, False)
        return self.model._run_forward(batch, mode="loss")["loss"]

    def save_state(self, path: Path, meta: dict[str, Any], save_optimizer: bool = True) -> None:
        """Write a DeepSpeed directory: every rank its part, then the main process seals it."""
        meta = {**meta, "random_states": self._gather_random_states()}
        schedulers = self.scheduler_state_dict() if hasattr(self, "param_schedulers") else []
        folder = temporary_directory(path)
        client = {"meta": meta, "param_schedulers": schedulers, "optim_wrapper": self.optim_wrapper.state_dict()}
        try:
            with disk_faults(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                self.model.save_checkpoint(
                    str(folder.parent), tag=folder.name, client_state=client, save_latest=False, exclude_frozen_parameters=True
                )
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        barrier()
        if is_main_process():
            if not save_optimizer and self.model.zero_optimization_stage() < 3:
                for part in folder.glob("*optim_states.pt"):
                    part.unlink()
            seal_directory(folder, path, iteration=meta["iter"], world_size=self.world_size, resumable=save_optimizer)
        barrier()

    def load_state(self, path: Path, resume: bool = True, check: Check | None = None) -> dict[str, Any]:
        """Load a DeepSpeed directory; give the meta. Arguments as those of :meth:`SingleDevice.load_state`.

        Raises:
            CheckpointError: not whole, not resumable, a plain file, or from another config or world size.
        """
        _check_resumable(path, self.world_size, "deepspeed", resume)
        if is_main_process():
            meta = read_deepspeed_client_state(path)["meta"]
            if check:
                check(path, meta)
            self._check_names(path, meta)
        barrier()
        _, client = self.model.load_checkpoint(
            str(path.parent), tag=path.name, load_optimizer_states=resume, load_module_strict=False
        )
        if resume:
            self.load_optim_state_dict(client["optim_wrapper"])
            if hasattr(self, "param_schedulers"):
                self.load_scheduler_state_dict(client["param_schedulers"])
            self._remember_random_state(client["meta"])
        return dict(client["meta"])

    def _check_names(self, path: Path, meta: dict[str, Any]) -> None:
        names = sorted(self.model.module.trained_names())
        if meta.get("trained_names") not in (None, names):
            raise CheckpointError(f"{path}: the checkpoint is from another config: other tensors were trained in it")


def _check_resumable(path: Path, world_size: int, kind: str, resume: bool) -> None:
    """Verify a checkpoint and refuse what can't be gone on with."""
    manifest = verify_checkpoint(path) if is_main_process() else read_manifest(path)
    if manifest.kind != kind:
        started = "with" if manifest.kind == "deepspeed" else "without"
        raise CheckpointError(f"{path}: it was written {started} --deepspeed and can only be resumed so")
    if not resume:
        return
    if not manifest.resumable:
        raise CheckpointError(f"{path}: it can't be resumed: {manifest.reason}")
    if manifest.world_size != world_size:
        raise CheckpointError(
            f"{path}: it was written by {manifest.world_size} process(es) and {world_size} are running now; the data position, "
            "random states and optimizer parts belong to the old number. Start as many: "
            f"--nproc-per-node {manifest.world_size} on one machine, srun --ntasks {manifest.world_size} under Slurm"
        )
