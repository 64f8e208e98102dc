"""Hooks that end a run before its time; configs of the tests name them."""

from __future__ import annotations

import os
import signal
from typing import Any

import torch
from mmengine.hooks import Hook

from xagent.errors import XAgentError


class InterruptAt(Hook):
    """Press Ctrl-C after an iteration."""

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if runner.iter + 1 == self.iteration:
            raise KeyboardInterrupt


class KillWhileSaving(Hook):
    """Kill this process (-9) while it writes its second checkpoint, with a part of it on the disk."""

    def before_train(self, runner: Any) -> None:
        real_save, calls = torch.save, []

        def save(state: Any, file: Any, *arguments: Any, **options: Any) -> None:
            calls.append(file)
            if len(calls) == 2:
                file = open(file, "wb") if isinstance(file, str) else file
                file.write(b"PK half a checkpoint")
                file.flush()
                os.fsync(file.fileno())
                os.kill(os.getpid(), signal.SIGKILL)
            real_save(state, file, *arguments, **options)

        torch.save = save


class RaiseLearningRate(Hook):
    """Train well for a while, then so badly that the held-out loss rises."""

    def __init__(self, after: int, factor: float) -> None:
        self.after, self.factor = after, factor

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if runner.iter + 1 == self.after:
            for group in runner.optim_wrapper.param_groups:
                group["lr"] *= self.factor


class FailOnRank(Hook):
    """Let one rank fail after its third iteration: with a fault of the user's, a crash, or a kill (-9)."""

    def __init__(self, rank: int, fault: str) -> None:
        self.rank, self.fault = rank, fault

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if runner.rank != self.rank or runner.iter + 1 != 3:
            return
        if self.fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise {"user": XAgentError("the disk of one is full"), "crash": ZeroDivisionError("one of us")}[self.fault]
