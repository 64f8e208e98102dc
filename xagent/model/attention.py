"""Attention of packed rows on any device: PyTorch's varlen kernel on CUDA, else one call of its SDPA for each sample.

No sample sees another. Registered in transformers' own attention interface under the name ``xagent_packed``; the cost is the
sum of the squares of the samples' lengths, not the square of the row, and no mask is ever built.

Shape suffixes: B batch, H heads, K key-value heads, T tokens, D head size.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from xagent.model.sequence_parallel import SequenceGroup

try:
    from torch.nn.attention.varlen import varlen_attn
except ImportError:  # torch before 2.10
    varlen_attn = None

NAME = "xagent_packed"
IN_FP32 = 32_768
"""Tokens times head size up to which a sample attends in fp32 on a CPU, whatever the model computes in: the kernel's products are
so small there that in 16 bits the backward pass takes longer, up to three times as long (docs/scaling.md)."""


def packed_attention(
    module: torch.nn.Module,
    query_BHTD: torch.Tensor,
    key_BKTD: torch.Tensor,
    value_BKTD: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sample_lengths: list[int] | None = None,
    sliding_window: int | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    max_length_q: int | None = None,
    sequence_group: SequenceGroup | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attend causally inside each sample of a packed row.

    Without ``sample_lengths`` (generation, evaluation with a cache) it is transformers' own SDPA attention, whose mask knows the
    sliding window.

    Args:
        sample_lengths: tokens of each sample in the row; they add up to T.
        sliding_window: how many tokens back a token sees, itself included; None: all of its sample.
        cu_seq_lens_q: given, the varlen kernel is used: where the samples begin and the last ends, int32 on the device.
        max_length_q: the longest sample.
        sequence_group: the ranks that share the row: T are this rank's tokens only, while samples, window and ``cu_seq_lens_q``
            are the whole row's.

    Returns:
        The output of shape (B, T, H, D), and None for the weights.
    """
    if sample_lengths is None:
        grouped = query_BHTD.shape[1] != key_BKTD.shape[1]
        if attention_mask is None and grouped and query_BHTD.shape[2] == 1 and query_BHTD.device.type == "cpu":
            # A mask that hides nothing: with one transformers attends by groups of heads, in bf16 five times as fast on a CPU.
            attention_mask = key_BKTD.new_zeros(1, 1, 1, key_BKTD.shape[2])
        return sdpa_attention_forward(
            module, query_BHTD, key_BKTD, value_BKTD, attention_mask, scaling=scaling, dropout=dropout, **kwargs
        )
    if sequence_group is not None:
        query_BHTD, key_BKTD, value_BKTD = sequence_group.whole_row(query_BHTD, key_BKTD, value_BKTD)
    if cu_seq_lens_q is not None:
        assert max_length_q is not None and not dropout
        output = _attend_varlen(query_BHTD, key_BKTD, value_BKTD, cu_seq_lens_q, max_length_q, sliding_window, scaling)
    else:
        output = _attend_each(query_BHTD, key_BKTD, value_BKTD, sample_lengths, sliding_window, dropout, scaling)
    return output if sequence_group is None else sequence_group.own_tokens(output), None


def varlen_arguments(sample_lengths: list[int], device: torch.device) -> dict[str, Any]:
    """Give where samples begin and how long the longest is, under the names that transformers' flash attention takes too."""
    places = torch.tensor([0, *sample_lengths]).cumsum(0).to(device, torch.int32, non_blocking=True)
    longest = max(sample_lengths)
    return {"cu_seq_lens_q": places, "cu_seq_lens_k": places, "max_length_q": longest, "max_length_k": longest}


def _attend_each(
    query_BHTD: torch.Tensor,
    key_BKTD: torch.Tensor,
    value_BKTD: torch.Tensor,
    sample_lengths: list[int],
    sliding_window: int | None,
    dropout: float,
    scaling: float | None,
) -> torch.Tensor:
    """Attend inside each sample of the row in a call of its own."""
    outputs = [
        _attend_quickly(q, k, v, sliding_window, dropout, scaling).transpose(1, 2)
        for q, k, v in zip(
            query_BHTD.split(sample_lengths, 2),
            key_BKTD.split(sample_lengths, 2),
            value_BKTD.split(sample_lengths, 2),
            strict=True,
        )
    ]
    return torch.cat(outputs, 1)


def _attend_varlen(
    query_BHTD: torch.Tensor,
    key_BKTD: torch.Tensor,
    value_BKTD: torch.Tensor,
    starts: torch.Tensor,
    longest: int,
    sliding_window: int | None,
    scaling: float | None,
) -> torch.Tensor:
    """Attend inside all samples of the one row in a single kernel, which knows 16 bits only.

    Rotary embeddings may have made queries and keys fp32, and bitsandbytes' layers give what they are given, values too.
    """
    dtype = _product_dtype(value_BKTD)
    query_THD, key_TKD, value_TKD = (each[0].transpose(0, 1).to(dtype) for each in (query_BHTD, key_BKTD, value_BKTD))
    output_THD = varlen_attn(
        query_THD,
        key_TKD,
        value_TKD,
        starts,
        starts,
        longest,
        longest,
        scale=scaling,
        window_size=(-1 if sliding_window is None else sliding_window - 1, 0),
        enable_gqa=query_THD.shape[1] != key_TKD.shape[1],
    )
    return output_THD[None]


def _product_dtype(value: torch.Tensor) -> torch.dtype:
    """Give the dtype that products with a tensor are computed in."""
    device = value.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else value.dtype


def _attend_quickly(query_BHTD: torch.Tensor, key_BKTD: torch.Tensor, value_BKTD: torch.Tensor, *options: Any) -> torch.Tensor:
    """Attend inside one sample, in fp32 where a CPU is quicker in it; the output has the values' dtype."""
    small = value_BKTD.shape[2] * value_BKTD.shape[3] <= IN_FP32
    half = _product_dtype(value_BKTD) in (torch.bfloat16, torch.float16)
    if not (small and half and value_BKTD.device.type == "cpu"):
        return _attend(query_BHTD, key_BKTD, value_BKTD, *options)
    with torch.autocast("cpu", enabled=False):
        output_BHTD = _attend(query_BHTD.float(), key_BKTD.float(), value_BKTD.float(), *options)
    return output_BHTD.to(value_BKTD.dtype)


def _attend(
    query_BHTD: torch.Tensor,
    key_BKTD: torch.Tensor,
    value_BKTD: torch.Tensor,
    sliding_window: int | None,
    dropout: float,
    scaling: float | None,
) -> torch.Tensor:
    """Attend inside one sample; a mask is made only where the sample is longer than the window."""
    length = query_BHTD.shape[2]
    mask_TT = None
    if sliding_window is not None and length > sliding_window:
        places_T = torch.arange(length, device=query_BHTD.device)
        distance_TT = places_T[:, None] - places_T
        mask_TT = (distance_TT >= 0) & (distance_TT < sliding_window)
        groups = query_BHTD.shape[1] // key_BKTD.shape[1]  # fast kernels take a mask or grouped heads, not both
        key_BKTD, value_BKTD = key_BKTD.repeat_interleave(groups, 1), value_BKTD.repeat_interleave(groups, 1)
    return functional.scaled_dot_product_attention(
        query_BHTD,
        key_BKTD,
        value_BKTD,
        attn_mask=mask_TT,
        dropout_p=dropout,
        is_causal=mask_TT is None,
        scale=scaling,
        enable_gqa=query_BHTD.shape[1] != key_BKTD.shape[1],
    )


_IN_PACKED_ROW: ContextVar[bool] = ContextVar("in_packed_row", default=False)


@contextmanager
def packed_row() -> Iterator[None]:
    """Let a model's forward pass with ``sample_lengths`` run without a mask, which would have T x T entries and not be read."""
    token = _IN_PACKED_ROW.set(True)
    try:
        yield
    finally:
        _IN_PACKED_ROW.reset(token)


def _mask(*args: Any, **kwargs: Any) -> torch.Tensor | None:
    return None if _IN_PACKED_ROW.get() else sdpa_mask(*args, **kwargs)


AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, _mask)
