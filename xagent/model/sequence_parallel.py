"""Ulysses sequence parallelism: several ranks share the tokens of each row (arXiv:2309.14509).

Everything in a model but attention looks at one token at a time, so a rank computes it for its own tokens. For attention the
ranks trade: each gives its tokens' queries, keys and values of all heads and gets the whole row's of its share of the heads;
the output goes the way back.

Shape suffixes: B batch, H heads, K key-value heads, D head size, S ranks, T tokens of this rank, R tokens of the whole row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import distributed

_LENGTH_DEPENDENT_ROPE = ("dynamic", "longrope")


class SequenceGroup:
    """The ranks that share each row's tokens, this one among them.

    Args:
        ranks: torch's process group of them; the row's tokens stand in its order.

    Attributes:
        size: how many ranks.
        rank: this one's place among them, from 0.
        gathered: how often :meth:`whole_row` was called: once for each attention layer of a forward pass.
    """

    def __init__(self, ranks: distributed.ProcessGroup) -> None:
        self.ranks = ranks
        self.size, self.rank = ranks.size(), ranks.rank()
        self.gathered = 0

    @torch.compiler.disable
    def whole_row(
        self, query_BHTD: torch.Tensor, key_BKTD: torch.Tensor, value_BKTD: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Trade this rank's tokens of all heads for the whole row's of its heads: shapes (B, H/S, R, D) and (B, K/S, R, D).

        Key-value heads that are no multiple of the ranks are repeated first, so that each rank has those of its queries. All
        three travel at once, in the values' dtype: rotary embeddings may have made queries and keys fp32.
        """
        self.gathered += 1
        copies = math.lcm(key_BKTD.shape[1], self.size) // key_BKTD.shape[1]
        key_BKTD, value_BKTD = (each.repeat_interleave(copies, 1) for each in (key_BKTD, value_BKTD))
        of_heads = [self._by_heads(each.to(value_BKTD.dtype)) for each in (query_BHTD, key_BKTD, value_BKTD)]
        traded = self._trade(torch.cat([each.flatten(3) for each in of_heads], 3))
        row = traded.flatten(0, 1).split([each.shape[3] * each.shape[4] for each in of_heads], 2)
        query, key, value = (
            whole.unflatten(2, each.shape[3:]).permute(1, 2, 0, 3) for whole, each in zip(row, of_heads, strict=True)
        )
        return query, key, value

    @torch.compiler.disable
    def own_tokens(self, output_BRHD: torch.Tensor) -> torch.Tensor:
        """Trade the whole row's output of this rank's heads for its own tokens' of all heads: shape (B, T, H, D)."""
        of_ranks = output_BRHD.unflatten(1, (self.size, -1)).transpose(0, 1)
        return self._trade(of_ranks).permute(1, 2, 0, 3, 4).flatten(2, 3)

    def _by_heads(self, heads_BHTD: torch.Tensor) -> torch.Tensor:
        """Give shape (S, T, B, H/S, D): first what goes to the first rank."""
        return heads_BHTD.unflatten(1, (self.size, -1)).permute(1, 3, 0, 2, 4)

    def _trade(self, parts: torch.Tensor) -> torch.Tensor:
        """Give ``parts[r]`` to rank r and get as many back, ordered by the rank that they come from."""
        traded: torch.Tensor = _AllToAll.apply(parts, self.ranks)
        return traded


class _AllToAll(torch.autograd.Function):
    """Equal parts to all ranks; gradients go back the same way."""

    @staticmethod
    def forward(ctx: Any, parts: torch.Tensor, ranks: distributed.ProcessGroup) -> torch.Tensor:  # type: ignore[override]
        ctx.ranks = ranks
        received = torch.empty(parts.shape, dtype=parts.dtype, device=parts.device)
        distributed.all_to_all_single(received, parts.contiguous(), group=ranks)
        return received

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:  # type: ignore[override]
        return _AllToAll.apply(gradient, ctx.ranks), None


def splitting_faults(config: Any, size: int) -> Iterator[str]:
    """Yield why a model, by its own config, can't have its rows split over ``size`` ranks."""
    text = config.get_text_config()
    heads = getattr(text, "num_attention_heads", None)
    if not heads:
        yield "the model has no attention heads to share out"
    elif heads % size:
        fitting = ", ".join(str(count) for count in range(2, heads + 1) if heads % count == 0)
        yield f"the model's {heads} attention heads can't be shared out evenly; sizes that can: {fitting}"
    if getattr(text, "attn_logit_softcapping", None):
        yield "the model caps its attention scores, which the attention inside samples can't"
    kinds = sorted(set(_rope_types(text)) & set(_LENGTH_DEPENDENT_ROPE))
    if kinds:
        yield f"the model's rotary embedding ({', '.join(kinds)}) depends on how long a row is, of which a rank sees a part"


def _rope_types(text_config: Any) -> Iterator[str]:
    """Yield the kinds of rotary embedding, of which a model may have one for each kind of layer."""
    settings = getattr(text_config, "rope_parameters", None) or getattr(text_config, "rope_scaling", None) or {}
    for each in (settings, *(inner for inner in settings.values() if isinstance(inner, dict))):
        yield str(each.get("rope_type") or each.get("type"))
