"""What weights are kept in: frozen ones in no more bytes than they are computed in."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from xagent.model.mapped_pages import let_go


def freeze_quantised(model: Any, autocast: torch.dtype | None) -> None:
    """Freeze a quantised model; what is not quantised in it (embeddings, head, norms) keeps its stored dtype.

    Activations between layers stay in fp32 all the same, as peft's ``prepare_model_for_kbit_training`` has them: the embedding's
    output is cast instead of its table, which for Llama 3 saves 2 GB with the head's. Norms are small and go to fp32. Where
    nothing is autocast, everything goes to fp32.
    """
    tables = {id(layer.weight) for layer in (model.get_input_embeddings(), model.get_output_embeddings()) if layer is not None}
    for parameter in model.parameters():
        parameter.requires_grad_(False)
        half = parameter.dtype in (torch.float16, torch.bfloat16)
        if half and type(parameter) is nn.Parameter and (autocast is None or id(parameter) not in tables):
            parameter.data = parameter.data.float()
    if autocast is not None:
        model.get_input_embeddings().register_forward_hook(_in_fp32)


def _in_fp32(module: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
    return output.float()


def in_fp32(model: nn.Module) -> None:
    """Train in fp32 what is trained: PEFT copies whole modules (``modules_to_save``) in the dtype that they have."""
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.is_floating_point():
            parameter.data = parameter.data.float()


def cast_frozen_linear(model: nn.Module, autocast: torch.dtype | None) -> int:
    """Keep frozen linear weights in the dtype they are multiplied in, and give how many were cast.

    Pages of a mapped checkpoint that they were cast from leave memory, also where other weights hold its file.

    Autocast would cast them again in every micro-batch and keep each copy until the backward pass; the products are the same. A
    weight that another module shares (a head tied to the embedding) is left alone.
    """
    if autocast is None:
        return 0
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    users: dict[int, set[str]] = {}
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            users.setdefault(id(parameter), set()).add(f"{id(module)}.{name}")
    stored: list[torch.Tensor] = []
    for module in linear:
        weight = module.weight
        castable = type(weight) is nn.Parameter and weight.is_floating_point() and not weight.requires_grad
        if castable and weight.dtype != autocast and len(users[id(weight)]) == 1:
            stored.append(weight.data)
            weight.data = weight.data.to(autocast)
    let_go(stored)
    return len(stored)
