"""Tensors: loading, fine-tuning, loss, attention, checkpoints on disk. Fine-tuning imports mmengine, PEFT and all that they
import; generating, reading checkpoints and telling models apart do without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xagent.lazy import names_on_demand

if TYPE_CHECKING:
    from xagent.model.sft import SupervisedFinetune

__all__ = ["SupervisedFinetune"]

__getattr__ = names_on_demand(__name__, {"SupervisedFinetune": "sft"})
