"""`step_clock.Record` as a hook of xagent's own training."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from step_clock import Record


class StepClock(Hook):
    """Writes time, tokens and loss of every optimizer step to ``out``; of several processes the first one's."""

    priority = "LOWEST"

    def __init__(self, out: str) -> None:
        self.record = Record(out)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Count the micro-batch."""
        data = data_batch["data"]
        self.record.batch(data.get("tokens", sum(data["lengths"])), int((data["loss_weights"] > 0).sum()))

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Note the step where a window ends."""
        if runner.train_loop.closes_window:
            self.record.step()
            self.record.loss(float(outputs["loss"]))
            if runner.rank == 0:
                self.record.write()
