"""A training step as one would write it by hand in PyTorch: padded batches, logits of every position, nothing of xagent's.

The yardstick of `levers.py`: its losses are what any faster step must give, its speed is what the others are compared with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch.nn import functional
from transformers import AutoModelForCausalLM

Sample = dict[str, torch.Tensor]


class BareLoop:
    """LoRA on all linear layers with AdamW, a global batch a step.

    Args:
        config: the language model's.
        batch_size: samples in a micro-batch.
        lr: learning rate.
    """

    def __init__(self, config: Any, batch_size: int, lr: float) -> None:
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
        lora = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
        self.model = get_peft_model(model, lora).train()
        self.batch_size = batch_size
        self.parameters = [each for each in self.model.parameters() if each.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=lr, weight_decay=0.0)

    def step(self, samples: Sequence[Sample]) -> float:
        """Train on a global batch; give its loss, the mean over all trained tokens."""
        count = sum(int((sample["labels"][1:] != -100).sum()) for sample in samples)
        total = 0.0
        for begin in range(0, len(samples), self.batch_size):
            ids, labels, mask = _padded(samples[begin : begin + self.batch_size])
            logits = self.model(input_ids=ids, attention_mask=mask, use_cache=False).logits
            loss = (
                functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), reduction="sum") / count
            )
            loss.backward()
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return total


def _padded(samples: Sequence[Sample]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    ids = torch.nn.utils.rnn.pad_sequence([sample["input_ids"] for sample in samples], batch_first=True)
    labels = torch.nn.utils.rnn.pad_sequence([sample["labels"] for sample in samples], batch_first=True, padding_value=-100)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(sample["input_ids"]) for sample in samples], batch_first=True)
    return ids, labels, mask
