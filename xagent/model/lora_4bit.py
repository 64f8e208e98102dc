"""LoRA of a frozen NF4 layer as one step of autograd, and how often its weight is dequantised for that.

A packed weight becomes a matrix for the forward product and again for the gradient of its input. In a layer whose activations are
recomputed, both come right after each other in the backward pass: there one matrix serves both, and one layer's matrices are
alive at a time. Elsewhere a kept matrix lives through the whole step, which gives back what NF4 saves, so that is for small
models.
"""

from __future__ import annotations

from copy import copy
from typing import Any

import torch
from bitsandbytes.functional import QuantState, dequantize_4bit
from bitsandbytes.nn import Linear4bit
from peft.tuners import lora
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from xagent.model.lora import SMALL_MODEL_BYTES, KeepDequantized, OneStepLora, Unpack, common_dtype


class FusedLoraLinear4bit(OneStepLora, lora.Linear4bit):  # type: ignore[misc]
    """PEFT's LoRA layer on a bitsandbytes one, in one step of autograd."""

    base_type = Linear4bit
    keeps_dequantized = False
    """Whether the forward pass leaves its matrix to the backward pass."""

    def _product_dtype(self, x: torch.Tensor, base: Any, weights: tuple[torch.Tensor, ...]) -> torch.dtype | None:
        dtype = common_dtype(x, weights)
        state = getattr(base.weight, "quant_state", None)
        packed_for_inference = getattr(state, "packing_format_for_cpu", False)
        return dtype if state is not None and base.compute_dtype == dtype and not packed_for_inference else None

    def _unpacking(self, base: Any, dtype: torch.dtype) -> tuple[Unpack, bool]:
        state = base.weight.quant_state
        return lambda packed: _matrix(packed, state, dtype), self.keeps_dequantized


def _matrix(packed: torch.Tensor, state: QuantState, dtype: torch.dtype) -> torch.Tensor:
    """Dequantise into ``dtype`` at once, as bitsandbytes' own product does, and not by way of the checkpoint's dtype."""
    wanted = copy(state)
    wanted.dtype = dtype
    return dequantize_4bit(packed.view(-1, 1), wanted)  # type: ignore[no-any-return]


def keep_dequantized_weights(model: PreTrainedModel, wanted: KeepDequantized, dtype: torch.dtype | None) -> int:
    """Choose the layers whose matrix is left to the backward pass, and give how many they are.

    Args:
        model: with its adapters, and with recomputation as it will be trained.
        wanted: True: all. False: none. ``auto``: those whose activations are recomputed, and all where that takes no more than
            :data:`xagent.model.lora.SMALL_MODEL_BYTES`.
        dtype: what products are computed in; None is fp32.
    """
    layers = [module for module in model.modules() if isinstance(module, FusedLoraLinear4bit)]
    width = (dtype or torch.float32).itemsize
    small = sum(layer.in_features * layer.out_features for layer in layers) * width <= SMALL_MODEL_BYTES
    recomputed = {
        id(module)
        for block in model.modules()
        if getattr(block, "gradient_checkpointing", False) and isinstance(block, GradientCheckpointingLayer)
        for module in block.modules()
    }
    for layer in layers:
        layer.keeps_dequantized = small or id(layer) in recomputed if wanted == "auto" else bool(wanted)
    return sum(layer.keeps_dequantized for layer in layers)
