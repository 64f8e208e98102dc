"""LoRA of a frozen linear layer as one step of autograd: ``x W' + b + s (x A') B'``, added up in place.

PEFT's own forward pass keeps the frozen product, the low-rank one, its scaled copy and their sum, and as many gradients; here
each exists once, and the narrow products run in the orientation in which a processor is quick. Modules, names and checkpoints
are PEFT's: the layer is its subclass, registered as a custom module of the config, and leaves to PEFT what it doesn't know.

Shape suffixes: N rows (all tokens), I inputs, O outputs, R rank.
"""

from __future__ import annotations

from typing import Any

import torch
from peft import LoraConfig
from peft.tuners import lora
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional


def fuse_lora(config: LoraConfig) -> None:
    """Let PEFT put :class:`FusedLoraLinear` onto the linear layers of a model, none of which may be quantised."""
    config._register_custom_module({nn.Linear: FusedLoraLinear})


class FusedLoraLinear(lora.Linear):
    """PEFT's LoRA layer, in one step of autograd where one plain adapter is trained on a plain frozen layer.

    Everything else takes PEFT's path: inference, several adapters or merged ones, DoRA and other variants, biases in the adapter,
    layers that something hooks into (ZeRO-3, offloading), mixed dtypes, compiled code.
    """

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Give the layer's output with the adapter's."""
        adapter = self._trained_adapter()
        if adapter is None or args or kwargs or not torch.is_grad_enabled() or torch.compiler.is_compiling():
            return super().forward(x, *args, **kwargs)  # type: ignore[no-any-return]
        base, down, up = self.base_layer, self.lora_A[adapter], self.lora_B[adapter]
        dtype = _product_dtype(x, base.weight, down.weight, up.weight)
        if dtype is None or not all(map(_is_plain, (base, down, up))) or base.weight.requires_grad:
            return super().forward(x)  # type: ignore[no-any-return]
        dropped = self.lora_dropout[adapter](x)
        return _LoraProduct.apply(
            x, None if dropped is x else dropped, base.weight, base.bias, down.weight, up.weight, self.scaling[adapter], dtype
        )

    def _trained_adapter(self) -> str | None:
        """Give the one plain adapter that is at work, None where there is another state of things."""
        active = [name for name in self.active_adapters if name in self.lora_A]
        if self.disable_adapters or self.merged or len(active) != 1:
            return None
        (name,) = active
        plain = name not in self.lora_variant and self.lora_A[name].bias is None and self.lora_B[name].bias is None
        return name if plain and not self.fan_in_fan_out else None


def _is_plain(layer: nn.Module) -> bool:
    """Tell whether calling a layer is nothing but its product: no subclass, no hook, no other forward, no partitioned weight."""
    hooked = layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks
    return type(layer) is nn.Linear and not hooked and "forward" not in vars(layer) and not hasattr(layer.weight, "ds_id")


def _product_dtype(x: torch.Tensor, *weights: torch.Tensor) -> torch.dtype | None:
    """Give the dtype that products are computed in, None where PEFT must reconcile several."""
    if torch.is_autocast_enabled(x.device.type):
        return torch.get_autocast_dtype(x.device.type)
    return x.dtype if all(weight.dtype == x.dtype for weight in weights) else None


class _LoraProduct(torch.autograd.Function):
    """The product and its gradients: of the input, of its dropped-out copy where there is one, and of A and B."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        x: torch.Tensor,
        dropped: torch.Tensor | None,
        weight_OI: torch.Tensor,
        bias_O: torch.Tensor | None,
        down_RI: torch.Tensor,
        up_OR: torch.Tensor,
        scaling: float,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        ctx.scaling, ctx.shape, ctx.x_dtype, ctx.has_dropped = scaling, x.shape, x.dtype, dropped is not None
        with torch.autocast(x.device.type, enabled=False):
            x_NI = x.reshape(-1, x.shape[-1]).to(dtype)
            dropped_NI = x_NI if dropped is None else dropped.reshape(-1, x.shape[-1]).to(dtype)
            hidden_RN = torch.mm(down_RI.to(dtype), dropped_NI.t()).mul_(scaling)
            output_NO = functional.linear(x_NI, weight_OI.to(dtype), None if bias_O is None else bias_O.to(dtype))
            output_NO.addmm_(hidden_RN.t(), up_OR.to(dtype).t())
        ctx.save_for_backward(dropped_NI, hidden_RN, weight_OI, down_RI, up_OR)
        return output_NO.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        dropped_NI, hidden_RN, weight_OI, down_RI, up_OR = ctx.saved_tensors
        dtype = dropped_NI.dtype
        with torch.autocast(gradient.device.type, enabled=False):
            gradient_NO = gradient.reshape(-1, gradient.shape[-1]).to(dtype)
            hidden_gradient_RN = torch.mm(up_OR.to(dtype).t(), gradient_NO.t()).mul_(ctx.scaling)
            down_gradient_RI = torch.mm(hidden_gradient_RN, dropped_NI).to(down_RI.dtype)
            up_gradient_OR = torch.mm(hidden_RN, gradient_NO).t().to(up_OR.dtype)
            x_gradient_NI = dropped_gradient_NI = None
            if ctx.needs_input_grad[0]:
                x_gradient_NI = torch.mm(gradient_NO, weight_OI.to(dtype))
                if not ctx.has_dropped:
                    x_gradient_NI.addmm_(hidden_gradient_RN.t(), down_RI.to(dtype))
            if ctx.needs_input_grad[1]:
                dropped_gradient_NI = torch.mm(hidden_gradient_RN.t(), down_RI.to(dtype))
            x_gradient, dropped_gradient = (
                None if each is None else each.view(ctx.shape).to(ctx.x_dtype) for each in (x_gradient_NI, dropped_gradient_NI)
            )
        return x_gradient, dropped_gradient, None, None, down_gradient_RI, up_gradient_OR, None, None
