"""How many floating-point operations a training step takes by the model's own arithmetic (recomputation not counted)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class StepFlops:
    """FLOPs of forward and backward for a batch of T tokens, N of them trained, in samples of lengths L.

    ``2 P T`` forward, ``2 P T`` backward through every layer, frozen ones too, and ``2 P_trainable T`` for the gradients of the
    trained weights. P counts the weights of linear layers (embedding look-ups cost nothing); the output head runs on the
    N trained positions only. Causal attention adds ``6 layers width sum(L^2)``: two products of ``2 L^2 width``, half of
    them masked, and twice that backward.

    Attributes:
        weights, trainable: numbers of weights in linear layers but the head, all and trained.
        head, head_trainable: the same of the output head.
        attention: layers x (heads x head size).
    """

    weights: int
    trainable: int
    head: int
    head_trainable: int
    attention: int

    @classmethod
    def of(cls, model: nn.Module) -> StepFlops:
        """Count a ``SupervisedFinetune`` model; quantised and partitioned weights count by their layers' shapes."""
        llm: Any = getattr(model, "llm", model)
        head = llm.get_output_embeddings() if hasattr(llm, "get_output_embeddings") else None
        sizes = {False: [0, 0], True: [0, 0]}
        for name, module in llm.named_modules():
            if isinstance(module, nn.Linear) and ".original_module" not in name:
                size = module.in_features * module.out_features
                counted = sizes[module is head]
                counted[0] += size
                counted[1] += size if module.weight.requires_grad else 0
        return cls(sizes[False][0], sizes[False][1], sizes[True][0], sizes[True][1], _attention_width(llm.config))

    def count(self, data: Mapping[str, Any]) -> float:
        """Give the FLOPs of one micro-batch as ``default_collate_fn`` makes it, or of a rank's part of it."""
        lengths = data["lengths"]
        tokens = data["input_ids"].shape[1]
        part = tokens / sum(lengths)
        trained = int((data["loss_weights"] > 0).sum())
        body = (4 * self.weights + 2 * self.trainable) * float(tokens)
        head = (4 * self.head + 2 * self.head_trainable) * float(trained)
        return body + head + part * 6.0 * self.attention * sum(length * length for length in lengths)


def _attention_width(config: Any) -> int:
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    heads = getattr(config, "num_attention_heads", 0) or 0
    size = getattr(config, "head_dim", None) or (config.hidden_size // heads if heads else 0)
    return int((getattr(config, "num_hidden_layers", 0) or 0) * heads * size)
