"""LoRA of a frozen linear layer as one step of autograd: ``x W' + b + s (x A') B'``, added up in place.

PEFT's own forward pass keeps the frozen product, the low-rank one, its scaled copy and their sum, and as many gradients; here
each exists once, and the narrow products run in the orientation in which a processor is quick. Modules, names and checkpoints
are PEFT's: the layer is its subclass, registered as a custom module of the config, and leaves to PEFT what it doesn't know.

Shape suffixes: N rows (all tokens), I inputs, O outputs, R rank.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from peft import LoraConfig
from peft.tuners import lora
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

KeepDequantized = bool | Literal["auto"]
SMALL_MODEL_BYTES = 64 * 2**20
"""What all dequantised weights of a model may take together to be kept without being asked for: as much as a CPU's chunk of
logits."""

Unpack = Callable[[torch.Tensor], torch.Tensor]
"""Gives the weight's matrix ``OI`` from how it is stored."""


def fuse_lora(config: LoraConfig, by_bitsandbytes: bool = False) -> None:
    """Let PEFT put :class:`FusedLoraLinear` onto linear layers, and its sister for NF4 onto what bitsandbytes has quantised."""
    kinds: dict[type[nn.Module], Callable[..., nn.Module | None]] = {nn.Linear: FusedLoraLinear}
    if by_bitsandbytes:
        from bitsandbytes.nn import Linear4bit, Linear8bitLt

        from xagent.model.lora_4bit import FusedLoraLinear4bit

        # The first class that a layer is an instance of is taken, and quantised layers are linear ones too.
        kinds = {Linear4bit: FusedLoraLinear4bit, Linear8bitLt: _left_to_peft, **kinds}
    config._register_custom_module(kinds)


def _left_to_peft(*_: Any, **__: Any) -> None:
    """Let PEFT choose a layer's class."""


class OneStepLora:
    """A LoRA layer's forward pass in one step of autograd, where one plain adapter is trained on a plain frozen layer.

    Everything else takes PEFT's path: inference, several adapters or merged ones, DoRA and other variants, biases in the adapter,
    layers that something hooks into (ZeRO-3, offloading), mixed dtypes, compiled code. To be mixed in before a layer of PEFT's.
    """

    base_type: type[nn.Module] = nn.Linear
    """The frozen layers that it knows; no subclass of them."""

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Give the layer's output with the adapter's."""
        adapter = self._trained_adapter()
        if adapter is None or args or kwargs or not torch.is_grad_enabled() or torch.compiler.is_compiling():
            return super().forward(x, *args, **kwargs)  # type: ignore[no-any-return,misc]
        layer: Any = self
        base, down, up = layer.base_layer, layer.lora_A[adapter], layer.lora_B[adapter]
        dtype = self._product_dtype(x, base, (down.weight, up.weight))
        plain = _is_plain(base, self.base_type) and _is_plain(down) and _is_plain(up)
        frozen = not base.weight.requires_grad and (base.bias is None or not base.bias.requires_grad)
        if dtype is None or not plain or not frozen:
            return super().forward(x)  # type: ignore[no-any-return,misc]
        dropped = layer.lora_dropout[adapter](x)
        unpack, kept = self._unpacking(base, dtype)
        return _LoraProduct.apply(  # type: ignore[no-any-return]
            x,
            None if dropped is x else dropped,
            base.weight,
            base.bias,
            down.weight,
            up.weight,
            layer.scaling[adapter],
            unpack,
            kept,
            dtype,
        )

    def _trained_adapter(self) -> str | None:
        """Give the one plain adapter that is at work, None where there is another state of things."""
        layer: Any = self
        active = [name for name in layer.active_adapters if name in layer.lora_A]
        if layer.disable_adapters or layer.merged or len(active) != 1:
            return None
        (name,) = active
        plain = name not in layer.lora_variant and layer.lora_A[name].bias is None and layer.lora_B[name].bias is None
        return name if plain and not layer.fan_in_fan_out else None

    def _product_dtype(self, x: torch.Tensor, base: Any, weights: tuple[torch.Tensor, ...]) -> torch.dtype | None:
        """Give the dtype that products are computed in, None where PEFT must reconcile several."""
        return common_dtype(x, (base.weight, *weights))

    def _unpacking(self, base: Any, dtype: torch.dtype) -> tuple[Unpack, bool]:
        """Give how the frozen weight becomes a matrix of ``dtype``, and whether that is kept for the backward pass."""
        return lambda weight_OI: weight_OI.to(dtype), False


class FusedLoraLinear(OneStepLora, lora.Linear):
    """PEFT's LoRA layer on a plain linear one, in one step of autograd."""


def common_dtype(x: torch.Tensor, weights: tuple[torch.Tensor, ...]) -> torch.dtype | None:
    """Give the dtype of autocast, else the one that input and weights share, None where they share none."""
    if torch.is_autocast_enabled(x.device.type):
        return torch.get_autocast_dtype(x.device.type)
    return x.dtype if all(weight.dtype == x.dtype for weight in weights) else None


def _is_plain(layer: nn.Module, kind: type[nn.Module] = nn.Linear) -> bool:
    """Tell whether calling a layer is nothing but its product: layer and weight of no subclass, no hook, not partitioned."""
    hooked = layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks
    own_product = "forward" not in vars(layer) and (kind is not nn.Linear or type(layer.weight) is nn.Parameter)
    return type(layer) is kind and own_product and not hooked and not hasattr(layer.weight, "ds_id")


class _LoraProduct(torch.autograd.Function):
    """The product and its gradients: of the input, of its dropped-out copy where there is one, and of A and B."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        x: torch.Tensor,
        dropped: torch.Tensor | None,
        weight: torch.Tensor,
        bias_O: torch.Tensor | None,
        down_RI: torch.Tensor,
        up_OR: torch.Tensor,
        scaling: float,
        unpack: Unpack,
        kept: bool,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        ctx.scaling, ctx.shape, ctx.x_dtype, ctx.has_dropped = scaling, x.shape, x.dtype, dropped is not None
        kept = kept and ctx.needs_input_grad[0]
        ctx.unpack = None if kept else unpack
        with torch.autocast(x.device.type, enabled=False):
            x_NI = x.reshape(-1, x.shape[-1]).to(dtype)
            dropped_NI = x_NI if dropped is None else dropped.reshape(-1, x.shape[-1]).to(dtype)
            hidden_RN = torch.mm(down_RI.to(dtype), dropped_NI.t()).mul_(scaling)
            weight_OI = unpack(weight)
            output_NO = functional.linear(x_NI, weight_OI, None if bias_O is None else bias_O.to(dtype))
            output_NO.addmm_(hidden_RN.t(), up_OR.to(dtype).t())
        ctx.save_for_backward(dropped_NI, hidden_RN, weight_OI if kept else weight, down_RI, up_OR)
        return output_NO.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        dropped_NI, hidden_RN, weight, down_RI, up_OR = ctx.saved_tensors
        dtype = dropped_NI.dtype
        with torch.autocast(gradient.device.type, enabled=False):
            gradient_NO = gradient.reshape(-1, gradient.shape[-1]).to(dtype)
            hidden_gradient_RN = torch.mm(up_OR.to(dtype).t(), gradient_NO.t()).mul_(ctx.scaling)
            down_gradient_RI = torch.mm(hidden_gradient_RN, dropped_NI).to(down_RI.dtype)
            up_gradient_OR = torch.mm(hidden_RN, gradient_NO).t().to(up_OR.dtype)
            x_gradient_NI = dropped_gradient_NI = None
            if ctx.needs_input_grad[0]:
                x_gradient_NI = torch.mm(gradient_NO, weight if ctx.unpack is None else ctx.unpack(weight))
                if not ctx.has_dropped:
                    x_gradient_NI.addmm_(hidden_gradient_RN.t(), down_RI.to(dtype))
            if ctx.needs_input_grad[1]:
                dropped_gradient_NI = torch.mm(hidden_gradient_RN.t(), down_RI.to(dtype))
            x_gradient, dropped_gradient = (
                None if each is None else each.view(ctx.shape).to(ctx.x_dtype) for each in (x_gradient_NI, dropped_gradient_NI)
            )
        return x_gradient, dropped_gradient, None, None, down_gradient_RI, up_gradient_OR, None, None, None, None
