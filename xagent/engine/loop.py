"""The loops: training in accumulation windows with an exact loss, and the held-out loss.

An iteration is one micro-batch on every rank (XTuner's counting); a window of ``accumulative_counts`` of them makes one
optimizer step.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.runner import BaseLoop

from xagent.engine.hooks.untouched import untouched
from xagent.engine.repeats import silence_repeat
from xagent.engine.sequence_parallel import own_part
from xagent.errors import ConfigError, DataError, XAgentError
from xagent.model.checkpoint import find_checkpoints
from xagent.model.loss import loss_denominator

Batch = dict[str, dict[str, Any]]


def _denominator_of(batch: Batch, runner: Any) -> float:
    """Give what the losses of a micro-batch are divided by where it stands alone."""
    model = runner.strategy.unwrapped(runner.model)
    return float(loss_denominator(batch["data"]["loss_weights"], getattr(model, "loss_normalization", "weights")))


class TrainLoop(BaseLoop):
    """Train for ``max_epochs`` passes or ``max_iters`` micro-batches.

    The denominator of the loss is the sum of the loss weights (or the number of trained tokens, as the model's
    ``loss_normalization`` says) of the whole window on all ranks, known before its first micro-batch runs; so the loss and its
    gradients don't depend on how a global batch is cut. A sample that the sampler repeats to give every rank as many weighs
    nothing the second time. Ranks that share rows (the strategy's ``sequence_group``) each run their part of them.

    Args:
        runner: mmengine's runner.
        dataloader: a loader or its config.
        max_epochs, max_iters: exactly one of them.
        val_interval: iterations between validations, rounded up to the end of a window; default: at the end of each epoch. A
            validation always ends the run.

    Raises:
        ConfigError: none or both of max_epochs and max_iters are given.
        DataError: the data gives no batch.
    """

    def __init__(
        self,
        runner: Any,
        dataloader: Any,
        max_epochs: int | None = None,
        max_iters: int | None = None,
        val_interval: int | None = None,
    ) -> None:
        super().__init__(runner, dataloader)
        if (max_epochs is None) == (max_iters is None):
            raise ConfigError(
                f"train_cfg needs one of max_epochs and max_iters, got max_epochs={max_epochs}, max_iters={max_iters}"
            )
        length = len(self.dataloader)
        if length == 0:
            raise DataError("the training data gives no batch; lower the batch size or switch drop_last off")
        self.epoch_length = length
        self._max_iters = int(max_epochs * length if max_epochs is not None else max_iters or 0)
        self._max_epochs = -(-self._max_iters // length)
        self.val_interval = val_interval or length
        self.val_begin = 1
        self._epoch = 0
        self._iter = 0
        self.step = 0
        self.trained_tokens = 0
        self.tokens = 0
        self.data_seconds = 0.0
        self.stop_training = False
        self.closes_window = False
        self._validation_due = False
        self._validated = -1

    max_epochs = property(lambda self: self._max_epochs, doc="Passes over the data.")
    max_iters = property(lambda self: self._max_iters, doc="Micro-batches on each rank.")
    epoch = property(lambda self: self._epoch, doc="The current pass, from 0.")
    iter = property(lambda self: self._iter, doc="Micro-batches done.")

    def state_dict(self) -> dict[str, int]:
        """Give the position in the data, for checkpoints."""
        return {
            "epoch": self._epoch,
            "iter": self._iter,
            "step": self.step,
            "tokens": self.tokens,
            "trained_tokens": self.trained_tokens,
        }

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from a checkpoint's position."""
        self._epoch, self._iter, self.step = state["epoch"], state["iter"], state["step"]
        self.tokens, self.trained_tokens = state["tokens"], state["trained_tokens"]

    def run(self) -> torch.nn.Module:
        """Train."""
        runner = self.runner
        runner.call_hook("before_train")
        while self._iter < self._max_iters and not self.stop_training:
            runner.call_hook("before_train_epoch")
            runner.model.train()
            self._run_epoch()
            runner.call_hook("after_train_epoch")
            self._epoch = self._iter // self.epoch_length
            self._validation_due |= self._iter >= self._max_iters or self.stop_training
            self._validate()
        runner.call_hook("after_train")
        return runner.model

    def _run_epoch(self) -> None:
        batches = self._remaining_batches()
        window_size = self.runner.optim_wrapper.window
        while self._iter < self._max_iters and not self.stop_training:
            started = time.perf_counter()
            window = list(islice(batches, min(window_size, self._max_iters - self._iter)))
            if not window:
                return
            begin, end = self._iter, self._iter + len(window)
            if end % self.epoch_length == 0:
                silence_repeat(window[-1], self.dataloader)
            window = [own_part(batch, self.runner.strategy.sequence_group) for batch in window]
            denominator = self._denominator(window)
            self.data_seconds += time.perf_counter() - started
            self._run_window(window, denominator)
            self._validation_due |= end // self.val_interval > begin // self.val_interval
            if end % self.epoch_length:
                self._validate()

    def _remaining_batches(self) -> Iterator[Batch]:
        """Give the batches of this epoch that are not trained yet, and set the random generators as the checkpoint had them.

        Beginning to iterate draws from torch's generator: a checkpoint from inside an epoch was written after that, one from
        an epoch's end before.
        """
        done = self._iter - self._epoch * self.epoch_length
        if not done:
            self.runner.strategy.restore_random_state()
        batches = iter(self.dataloader)
        if done:
            self.runner.logger.info(f"Skipping {done} micro-batches that are trained already")
            for _ in islice(batches, done):
                pass
        self.runner.strategy.restore_random_state()
        return batches

    def _denominator(self, window: list[Batch]) -> torch.Tensor:
        """Sum the denominators of the window on all ranks, divided by the ranks: gradients are averaged over them afterwards."""
        tokens = [batch["data"].get("tokens", sum(batch["data"]["lengths"])) for batch in window]
        trained = [int((batch["data"]["loss_weights"] > 0).sum()) for batch in window]
        denominator = sum(_denominator_of(batch, self.runner) for batch in window)
        totals = torch.tensor([denominator, sum(tokens), sum(trained)], dtype=torch.float64)
        all_reduce(totals)
        if totals[0] <= 0:
            raise DataError(f"iteration {self._iter}: no token of this accumulation window is trained on any rank")
        self.tokens += int(totals[1])
        self.trained_tokens += int(totals[2])
        return (totals[0] / get_world_size()).float()

    def _run_window(self, window: list[Batch], denominator: torch.Tensor) -> None:
        runner = self.runner
        total: torch.Tensor | None = None
        for place, batch in enumerate(window):
            self.closes_window = place == len(window) - 1
            batch["data"]["loss_denominator"] = denominator
            runner.optim_wrapper.begin_micro_step(self.closes_window)
            runner.call_hook("before_train_iter", batch_idx=self._iter, data_batch=batch)
            outputs = runner.model.train_step(batch, optim_wrapper=runner.optim_wrapper)
            loss = outputs["loss"].detach().float()
            total = loss.clone() if total is None else total + loss
            logged = {}
            if self.closes_window:
                self.step += 1
                all_reduce(total, op="mean")
                logged = {"loss": total.cpu()}
                self._refuse_nan(logged["loss"])
            runner.call_hook("after_train_iter", batch_idx=self._iter, data_batch=batch, outputs=logged)
            self._iter += 1

    def _refuse_nan(self, loss: torch.Tensor) -> None:
        if torch.isfinite(loss):
            return
        saved = find_checkpoints(self.runner.work_dir)
        resumable = f"the last checkpoint, {saved[0]}, is from before it" if saved else "no checkpoint was written before it"
        raise XAgentError(
            f"the loss is {loss.item()} at iteration {self._iter + 1} (optimizer step {self.step}), so training stops; "
            f"{resumable}. Mostly the learning rate is too high (optim_wrapper.optimizer.lr) or gradients are not clipped "
            "(optim_wrapper.clip_grad)"
        )

    def _validate(self) -> None:
        if self.runner.val_loop is not None and self._validation_due and self._validated != self._iter:
            self._validated = self._iter
            self.runner.val_loop.run()
        self._validation_due = False


class ValLoop(BaseLoop):
    """Measure the held-out loss: the weighted mean over every trained token of the validation data, each sample once.

    It is normalised as the training loss is. Every rank runs as many batches as the longest; random states and modes stay as they
    were.

    Args:
        runner: mmengine's runner.
        dataloader: a loader or its config.
        evaluator: not used; mmengine passes one.

    Raises:
        DataError: the data gives no batch, or nothing of it is trained.
    """

    def __init__(self, runner: Any, dataloader: Any, evaluator: Any = None) -> None:
        super().__init__(runner, dataloader)
        counts = torch.tensor([len(self.dataloader)])
        self._most = counts.clone()
        all_reduce(self._most, op="max")
        least = counts
        all_reduce(least, op="min")
        if int(least) == 0:
            raise DataError("the validation data gives a process no batch; give more of it or switch drop_last off")

    def run(self) -> dict[str, float]:
        """Validate, and tell the hooks ``{"held_out_loss": ...}``."""
        runner = self.runner
        runner.call_hook("before_val")
        runner.call_hook("before_val_epoch")
        with untouched(runner.model):
            totals = self._sum_up()
        all_reduce(totals)
        if totals[1] <= 0:
            raise DataError("no token of the validation data is trained, so there is no held-out loss")
        metrics = {"held_out_loss": float(totals[0] / totals[1])}
        runner.call_hook("after_val_epoch", metrics=metrics)
        runner.call_hook("after_val")
        return metrics

    def _sum_up(self) -> torch.Tensor:
        """Give this rank's sum of weighted losses, and of their denominators."""
        runner = self.runner
        totals = torch.zeros(2, dtype=torch.float64)
        for index, row in enumerate(self._batches()):
            batch = own_part(row, runner.strategy.sequence_group)
            runner.call_hook("before_val_iter", batch_idx=index, data_batch=batch)
            denominator = _denominator_of(batch, runner)
            batch["data"]["loss_denominator"] = torch.ones(())
            totals += torch.tensor([float(runner.strategy.forward_loss(batch)), denominator], dtype=torch.float64)
            runner.call_hook("after_val_iter", batch_idx=index, data_batch=batch, outputs=None)
        return totals

    def _batches(self) -> Iterator[Batch]:
        """Give this rank's batches, then its last one without weights until every rank is done (ZeRO-3 needs all of them)."""
        batch: Batch = {}
        length = len(self.dataloader)
        for place, batch in enumerate(self.dataloader):
            if place == length - 1:
                silence_repeat(batch, self.dataloader)
            yield batch
        for _ in range(int(self._most) - length):
            batch["data"]["loss_weights"] = torch.zeros_like(batch["data"]["loss_weights"])
            yield batch
