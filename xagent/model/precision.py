"""What weights are kept in: frozen ones in no more bytes than they are computed in."""

from __future__ import annotations

import ctypes
import mmap
import sys
from typing import Any

import torch
from torch import nn

_MADV_PAGEOUT = 21  # <linux/mman.h>, since Linux 5.4; an older one answers EINVAL, and nothing changes


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


def _page_out(tensor: torch.Tensor) -> None:
    """Let the system take back the pages of a weight that is no longer read.

    A checkpoint's file stays mapped as long as one of its tensors is used, and what was once read of it counts as this process's
    memory. Nothing can be lost by this: pages that are needed after all come back from the file.
    """
    if tensor.device.type != "cpu" or not sys.platform.startswith("linux"):
        return
    begin = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    end = (tensor.data_ptr() + tensor.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if end > begin:
        ctypes.CDLL(None).madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), _MADV_PAGEOUT)


def cast_frozen_linear(model: nn.Module, autocast: torch.dtype | None) -> int:
    """Keep frozen linear weights in the dtype they are multiplied in, and give how many were cast.

    What they were cast from takes no memory any more, even where other weights hold its file open.

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
    count = 0
    for module in linear:
        weight = module.weight
        castable = type(weight) is nn.Parameter and weight.is_floating_point() and not weight.requires_grad
        if castable and weight.dtype != autocast and len(users[id(weight)]) == 1:
            stored = weight.data
            weight.data = stored.to(autocast)
            _page_out(stored)
            count += 1
    return count
