"""Faster kernels where the device and the installed libraries have them; each is a choice with an automatic default."""

from __future__ import annotations

import importlib.util
from typing import Any, Literal, get_args

import torch
from mmengine.logging import print_log
from transformers import PreTrainedModel

from xagent.errors import ConfigError

Checkpointing = Literal["none", "selective", "full"]
CheckpointingChoice = bool | Literal["auto", "none", "selective", "full"]
PackedKernel = Literal["auto", "sdpa", "varlen"]
PACKED_KERNELS: tuple[PackedKernel, ...] = get_args(PackedKernel)
Liger = bool | Literal["auto"]


def choose_packed_kernel(wanted: str, device: torch.device, dtype: torch.dtype | None, config: Any) -> PackedKernel:
    """Choose what packed rows attend with: ``varlen``, torch's own kernel for rows of many samples, or ``sdpa``, a call for each.

    Args:
        wanted: ``auto`` is ``varlen`` where it can run: CUDA, 16-bit products, no attention dropout, heads of at most 256.
        dtype: what products are computed in.
        config: the model's.

    Raises:
        ConfigError: an unknown name, or ``varlen`` where it can't run.
    """
    if wanted not in PACKED_KERNELS:
        raise ConfigError(f"model.attention_kernel: expected one of {', '.join(PACKED_KERNELS)}, got {wanted!r}")
    if wanted == "sdpa":
        return "sdpa"
    lacking = list(_lacking_for_varlen(device, dtype, config))
    if wanted == "varlen" and lacking:
        raise ConfigError(f"model.attention_kernel 'varlen' needs {' and '.join(lacking)}; 'auto' chooses what can run here")
    return "sdpa" if lacking else "varlen"


def _lacking_for_varlen(device: torch.device, dtype: torch.dtype | None, config: Any) -> Any:
    text = config.get_text_config()
    head_size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    if device.type != "cuda":
        yield "a CUDA device"
    if dtype not in (torch.bfloat16, torch.float16):
        yield "bf16 or fp16 (model.autocast_dtype)"
    if getattr(text, "attention_dropout", 0.0):
        yield "a model without attention dropout"
    if head_size > 256 or head_size % 8:
        yield f"heads whose size is at most 256 and a multiple of 8, this model's is {head_size}"
    if importlib.util.find_spec("torch.nn.attention.varlen") is None:
        yield "a torch with torch.nn.attention.varlen"


def apply_liger(llm: PreTrainedModel, wanted: Liger, device: torch.device) -> bool:
    """Put liger-kernel's fused RMSNorm, RoPE and SwiGLU into a model; tell whether that was done.

    The loss stays ours: it runs at trained positions only, with weights (:mod:`xagent.model.head`).

    Args:
        wanted: ``auto`` is yes on CUDA where liger-kernel is installed.

    Raises:
        ConfigError: True, but it is not installed or there is no CUDA device.
    """
    installed = importlib.util.find_spec("liger_kernel") is not None
    if wanted is False or (wanted == "auto" and not (installed and device.type == "cuda")):
        return False
    if not installed:
        raise ConfigError("model.use_liger_kernel is True, but liger-kernel is not installed: pip install liger-kernel")
    if device.type != "cuda":
        raise ConfigError("model.use_liger_kernel is True, but its kernels need a CUDA device; 'auto' leaves them out elsewhere")
    from liger_kernel.transformers import _apply_liger_kernel_to_instance
    from liger_kernel.transformers.monkey_patch import MODEL_TYPE_TO_APPLY_LIGER_FN

    if llm.config.model_type not in MODEL_TYPE_TO_APPLY_LIGER_FN:
        if wanted is True:
            print_log(f"liger-kernel has no kernels for {llm.config.model_type}: trained without", "current")
        return False
    _apply_liger_kernel_to_instance(model=llm, fused_linear_cross_entropy=False, cross_entropy=False)
    return True


def compile_layers(decoder: torch.nn.Module) -> int:
    """Compile each decoder layer with ``torch.compile``, for any length of row; give how many.

    The layers are alike, so one compilation serves all; the first step still takes from half a minute on.
    """
    layers = list(getattr(decoder, "layers", []))
    for layer in layers:
        layer.compile(dynamic=True)
    return len(layers)


def enable_recomputing(model: PreTrainedModel, how: Checkpointing) -> None:
    """Recompute activations in the backward pass: those of every layer (``full``), of every second one, or of none."""
    if how != "none":
        model.activation_checkpointing_enable({"use_reentrant": False}, every_n_layers={"full": 1, "selective": 2}[how])


def checkpointing(wanted: bool | str) -> Checkpointing:
    """Translate ``use_activation_checkpointing``: True is ``full``, False is ``none``, ``auto`` is ``full`` where nobody chose.

    Raises:
        ConfigError: neither a bool nor one of the names.
    """
    if isinstance(wanted, bool) or wanted == "auto":
        return "full" if wanted else "none"
    if wanted not in get_args(Checkpointing):
        known = ", ".join(get_args(Checkpointing))
        raise ConfigError(f"model.use_activation_checkpointing: expected True, False, {known} or auto, got {wanted!r}")
    return wanted  # type: ignore[return-value]
