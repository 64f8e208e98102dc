"""Loading language models and tokenizers from what a config names: devices, dtypes, quantisation, embeddings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from xagent.assets import resolve
from xagent.errors import ConfigError
from xagent.model import attention
from xagent.model.cpu_speed import bf16_is_faster
from xagent.registry import build

Autocast = Literal["auto", "bf16", "fp16", "fp32"]
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def local_device() -> torch.device:
    """Give this process's device: the CUDA device of its local rank, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    return torch.device("cpu")


def choose_autocast(name: str, device: torch.device) -> torch.dtype | None:
    """Give the dtype that forward passes are cast to, None for fp32.

    ``auto``: bf16 on devices that have it (CUDA from Ampere on; CPUs with AVX512-BF16 or AMX, if it measures faster there, see
    :mod:`xagent.model.cpu_speed`); else fp16 on CUDA (with loss scaling) and fp32 on the CPU.

    Raises:
        ConfigError: the name is unknown.
    """
    if name == "auto":
        if device.type != "cuda":
            return torch.bfloat16 if bf16_is_faster() else None
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if name not in DTYPES:
        raise ConfigError(f"model.autocast_dtype must be one of auto, {', '.join(DTYPES)}, got {name!r}")
    return None if name == "fp32" else DTYPES[name]


def load_tokenizer(config: Any) -> PreTrainedTokenizerBase:
    """Build a tokenizer from a config entry, a path or an ``xagent:`` name; a tokenizer is given back as it is."""
    if isinstance(config, PreTrainedTokenizerBase):
        return config
    if isinstance(config, Mapping):
        return build(resolve_paths(config))
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(resolve(config)) if str(config).startswith("xagent:") else str(config))


def resolve_paths(config: Mapping[str, Any]) -> dict[str, Any]:
    """Replace an ``xagent:`` name of the model's path by the embedded folder's."""
    chosen = dict(config)
    name = chosen.get("pretrained_model_name_or_path")
    if isinstance(name, str) and name.startswith("xagent:"):
        chosen["pretrained_model_name_or_path"] = str(resolve(name))
    return chosen


def load_llm(
    config: Mapping[str, Any] | PreTrainedModel, device: torch.device | None = None, autocast: torch.dtype | None = None
) -> PreTrainedModel:
    """Load a causal language model as its config entry says.

    Missing choices are made here: attention ``xagent_packed`` (inside samples on every device; ``eager`` for models with
    soft-capped scores), quantised weights on this process's device, dtype as the checkpoint has it.

    Args:
        device: where quantised weights go; default: this process's.
        autocast: the dtype that forward passes are cast to; None is fp32.

    Raises:
        ConfigError: both 4-bit and 8-bit are asked for.
    """
    if isinstance(config, PreTrainedModel):
        return config
    device = device or local_device()
    chosen = resolve_paths(config)
    if "torch_dtype" in chosen:
        chosen["dtype"] = chosen.pop("torch_dtype")
    quantization = chosen.pop("quantization_config", None)
    if quantization is not None:
        chosen["quantization_config"] = _quantization(quantization, autocast)
        chosen.setdefault("device_map", {"": str(device)})
    if "config" not in chosen:
        chosen.setdefault("attn_implementation", attention.NAME)
    llm = build(chosen)
    if getattr(llm.config, "attn_logit_softcapping", None) and llm.config._attn_implementation == attention.NAME:
        llm.set_attn_implementation("eager")
    llm.config.use_cache = False
    keep_gradients_on_cpu(llm)
    return llm


def nf4_on(device: str) -> dict[str, Any]:
    """Give what ``from_pretrained`` needs to quantise a base as QLoRA does: NF4, double quantisation, bf16 or fp32 products."""
    from transformers import BitsAndBytesConfig

    compute_dtype = choose_autocast("auto", torch.device(device)) or torch.float32
    nf4 = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute_dtype,
    )
    return {"quantization_config": nf4, "device_map": {"": device}}


def keep_unpackable(llm: nn.Module) -> None:
    """Keep 4-bit layers as they are on a CPU where bitsandbytes 0.50 can't repack them: rows must be whole blocks."""
    for module in llm.modules():
        if getattr(module, "support_avx512bf16_for_cpu", False):
            state = module.weight.quant_state
            module.support_avx512bf16_for_cpu = state.shape[1] % state.blocksize == 0


def by_bitsandbytes(llm: PreTrainedModel) -> bool:
    """Tell whether a model's weights were quantised by bitsandbytes."""
    return bool(getattr(llm, "is_loaded_in_4bit", False) or getattr(llm, "is_loaded_in_8bit", False))


def _quantization(config: Any, autocast: torch.dtype | None) -> Any:
    """Build a quantisation's settings; a compute dtype that is left out, or :func:`compute_dtype_of` replaces, is autocast's."""
    built = build(config)
    if hasattr(built, "bnb_4bit_compute_dtype"):
        built.bnb_4bit_compute_dtype = compute_dtype_of(config, autocast)
    return built


def compute_dtype_of(quantization: Any, autocast: torch.dtype | None) -> torch.dtype:
    """Give the dtype that 4-bit layers compute in.

    Left out, it is autocast's, as is fp16, which recipes of older cards name.

    Args:
        quantization: a config entry, or what is built of it.
        autocast: the dtype that forward passes are cast to; None is fp32.
    """
    named = quantization if isinstance(quantization, Mapping) else vars(quantization)
    wanted = named.get("bnb_4bit_compute_dtype")
    dtype = getattr(torch, wanted) if isinstance(wanted, str) else wanted
    return autocast or torch.float32 if dtype in (None, torch.float16) else dtype  # type: ignore[no-any-return]


def keep_gradients_on_cpu(llm: nn.Module, training: bool = True) -> None:
    """Keep 4-bit layers on the path that has gradients.

    bitsandbytes 0.50 repacks Linear4bit weights for AVX512-BF16 in the first forward pass in eval mode; what is trained after
    that gets no gradient through them, in silence. Off while training, restored for pure inference.
    """
    for module in llm.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            if not hasattr(module, "_had_avx512bf16"):
                module._had_avx512bf16 = module.support_avx512bf16_for_cpu
            module.support_avx512bf16_for_cpu = False if training else module._had_avx512bf16


def resize_embeddings(llm: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Add rows for tokens that the model lacks, each the mean of the old rows, and give their number.

    Rows that exist are never touched; a larger embedding than the tokenizer needs stays as it is.
    """
    old = llm.get_input_embeddings().weight.shape[0]
    if len(tokenizer) <= old:
        return 0
    llm.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    heads = [llm.get_input_embeddings(), llm.get_output_embeddings()]
    with torch.no_grad():
        for layer in {id(head): head for head in heads if head is not None}.values():
            layer.weight[old:] = layer.weight[:old].float().mean(0, keepdim=True).to(layer.weight.dtype)
    return len(tokenizer) - old
