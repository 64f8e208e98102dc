"""The loss straight from hidden states: the output head runs at trained positions only, a chunk of them at a time.

The whole table of logits never exists, neither forward nor backward: each chunk's gradients are taken at once, while its
logits are there. A plain frozen head is taken in tiles of its vocabulary besides, each read once: what is left of a chunk's
logits then fits into a processor's cache. Memory is bounded by chunk or tile, whatever vocabulary and row are.

Shape suffixes: N trained positions, C positions of a chunk, H hidden size, V vocabulary, W vocabulary of a tile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from peft import PeftModel
from torch import nn
from torch.nn import functional
from transformers.modeling_outputs import BaseModelOutputWithPast

ChunkSize = int | Literal["auto"] | None
CHUNK_BYTES = {"cpu": 64 * 2**20, "cuda": 512 * 2**20}
"""What a chunk's logits may take in fp32: on GPUs enough to keep matrix products efficient."""
TILE_BYTES = {"cpu": 2 * 2**20, "cuda": 512 * 2**20}
"""What a tile's logits may take in fp32: on CPUs a cache's share; on GPUs a tile is mostly the whole vocabulary."""
TILED_POSITIONS = 1024
"""How many positions a tiled head takes at once on a CPU: enough to read each tile of its weights seldom."""

_Gradients = tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]


@dataclass(frozen=True)
class SplitModel:
    """A causal language model as the two parts whose product its logits are."""

    decoder: nn.Module
    head: nn.Module

    @property
    def vocabulary(self) -> int:
        """Rows of the head."""
        return int(self.head.weight.shape[0])  # type: ignore[union-attr, operator]

    @property
    def is_partitioned(self) -> bool:
        """Whether ZeRO-3 has scattered the head's weights: then every rank must run it equally often."""
        return any(hasattr(parameter, "ds_id") for parameter in self.head.parameters())

    @property
    def is_tiled(self) -> bool:
        """Whether the head is a plain frozen matrix, whose vocabulary can be taken in tiles."""
        return _is_frozen_linear(self.head)


def split_model(llm: Any) -> SplitModel | None:
    """Take a causal language model (PEFT or not) apart, if its logits are nothing but ``head(decoder(...))``.

    That is tried, not looked up: the model runs once with a decoder that gives made-up hidden states, and its logits must be
    the head's. Models that cap, scale or shift logits give None.
    """
    causal = llm.get_base_model() if isinstance(llm, PeftModel) else llm
    decoder, head = causal.base_model, causal.get_output_embeddings()
    if decoder is causal or head is None or _invokes_adapters_by_input(llm):
        return None
    split = SplitModel(decoder, head)
    weight = next(head.parameters())
    hidden = torch.linspace(-9, 9, 2 * weight.shape[-1], device=weight.device).to(weight.dtype).view(1, 2, -1)
    with torch.no_grad(), _in_evaluation(causal), _replaced(decoder, BaseModelOutputWithPast(last_hidden_state=hidden)):
        ids = torch.zeros(1, 2, dtype=torch.int64, device=weight.device)
        try:
            same = torch.equal(causal(input_ids=ids, use_cache=False).logits, head(hidden))
        except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):
            return None
    return split if same else None


def _invokes_adapters_by_input(llm: Any) -> bool:
    """Tell whether PEFT's own forward pass looks at the tokens (activated LoRA): it can't be left out then."""
    configs = llm.peft_config.values() if isinstance(llm, PeftModel) else ()
    return any(getattr(config, "alora_invocation_tokens", None) for config in configs)


@contextmanager
def _in_evaluation(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def _replaced(module: nn.Module, output: Any) -> Iterator[None]:
    """Let a module give ``output`` whatever it is called with."""
    own = vars(module).get("forward")  # hooks of accelerate live there
    module.forward = lambda *args, **kwargs: output
    try:
        yield
    finally:
        if own is None:
            del module.forward
        else:
            module.forward = own


def chunk_size(wanted: ChunkSize, vocabulary: int, positions: int, device_type: str, tiled: bool = False) -> int | None:
    """Choose how many positions the head takes at once; None: all of them, by the plain path.

    ``auto`` leaves a row alone whose logits fit into one chunk of :data:`CHUNK_BYTES` anyway, unless the head is ``tiled``: that
    is faster for every row, and on a CPU takes :data:`TILED_POSITIONS` at once.
    """
    if wanted != "auto":
        return wanted
    fitting = max(16, CHUNK_BYTES.get(device_type, CHUNK_BYTES["cuda"]) // (4 * vocabulary) // 16 * 16)
    if tiled:
        return max(TILED_POSITIONS, fitting) if device_type == "cpu" else fitting
    return None if positions <= fitting else fitting


def tile_size(vocabulary: int, positions: int, device_type: str) -> int:
    """Choose how much of the vocabulary a tiled head takes at once, so that its logits fit into :data:`TILE_BYTES`."""
    fitting = TILE_BYTES.get(device_type, TILE_BYTES["cuda"]) // (4 * max(positions, 1))
    return min(vocabulary, max(256, fitting // 128 * 128))


def chunked_token_loss(
    hidden_NH: torch.Tensor, head: nn.Module, labels_N: torch.Tensor, weights_N: torch.Tensor, chunk: int
) -> torch.Tensor:
    """Sum ``weight x negative log-likelihood`` in fp32 over all positions, by chunks of ``chunk``.

    Equal to :func:`xagent.model.loss.weighted_token_loss` of ``head(hidden_NH)`` with denominator 1, gradients included: of the
    hidden states and of whatever is trained in the head (the weights, LoRA, a PEFT copy).
    """
    trained = [parameter for parameter in head.parameters() if parameter.requires_grad]
    if not torch.is_grad_enabled():
        run = _forward_of(head)
        return sum(
            (run(*part)[0] for part in _chunks(hidden_NH, labels_N, weights_N, chunk)), torch.zeros((), device=hidden_NH.device)
        )
    return _ChunkedLoss.apply(hidden_NH, labels_N, weights_N, head, chunk, *trained)


class _ChunkedLoss(torch.autograd.Function):
    """Computes gradients in the forward pass; the backward pass only scales them."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        hidden_NH: torch.Tensor,
        labels_N: torch.Tensor,
        weights_N: torch.Tensor,
        head: nn.Module,
        chunk: int,
        *trained: torch.Tensor,
    ) -> torch.Tensor:
        run = _backward_of(head, list(trained))
        total = torch.zeros((), device=hidden_NH.device)
        hidden_gradient_NH = torch.empty_like(hidden_NH)
        sums: list[torch.Tensor] = []
        begin = 0
        for part in _chunks(hidden_NH, labels_N, weights_N, chunk):
            loss, hidden_gradient_CH, gradients = run(*part)
            total += loss
            hidden_gradient_NH[begin : begin + len(hidden_gradient_CH)] = hidden_gradient_CH
            sums = [sum_.add_(each) for sum_, each in zip(sums, gradients, strict=True)] if sums else gradients
            begin += len(hidden_gradient_CH)
        ctx.save_for_backward(hidden_gradient_NH, *(sums or [torch.zeros_like(each) for each in trained]))
        return total

    @staticmethod
    def backward(ctx: Any, scale: torch.Tensor) -> Any:  # type: ignore[override]
        hidden_gradient_NH, *gradients = (each * scale.to(each.dtype) for each in ctx.saved_tensors)
        return hidden_gradient_NH, None, None, None, None, *gradients


def _chunks(
    hidden_NH: torch.Tensor, labels_N: torch.Tensor, weights_N: torch.Tensor, chunk: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    yield from zip(hidden_NH.split(chunk), labels_N.split(chunk), weights_N.split(chunk), strict=True) if len(labels_N) else ()


def _summed(logits_CV: torch.Tensor, labels_C: torch.Tensor, weights_C: torch.Tensor) -> torch.Tensor:
    return (functional.cross_entropy(logits_CV.float(), labels_C, reduction="none") * weights_C).sum()


def _forward_of(head: nn.Module) -> Callable[..., tuple[torch.Tensor, ...]]:
    """Give a function from a chunk to its loss."""
    if _is_frozen_linear(head):
        return _through_frozen_linear(head, gradients=False)
    return lambda hidden_CH, labels_C, weights_C: (_summed(head(hidden_CH), labels_C, weights_C),)


def _is_frozen_linear(head: nn.Module) -> bool:
    return type(head) is nn.Linear and not any(parameter.requires_grad for parameter in head.parameters())


def _backward_of(head: nn.Module, trained: list[torch.Tensor]) -> Callable[..., _Gradients]:
    """Give a function from a chunk to its loss, the gradient of its hidden states, and those of ``trained``."""
    if _is_frozen_linear(head):
        return _through_frozen_linear(head, gradients=True)

    def run(hidden_CH: torch.Tensor, labels_C: torch.Tensor, weights_C: torch.Tensor) -> _Gradients:
        with torch.enable_grad():
            hidden_CH = hidden_CH.detach().requires_grad_()
            loss = _summed(head(hidden_CH), labels_C, weights_C)
        gradient_CH, *gradients = torch.autograd.grad(loss, [hidden_CH, *trained])
        return loss.detach(), gradient_CH, gradients

    return run


def _through_frozen_linear(head: nn.Module, gradients: bool) -> Callable[..., _Gradients]:
    """The same for a plain frozen head, by tiles of its vocabulary; without ``gradients`` they are zero.

    The gradient of a position's hidden state is the mean of the head's rows, weighted by their probabilities, less the label's
    row. That mean is what attention gives a query whose keys and values are the rows; so it is summed up as flash attention
    does (arXiv:2205.14135): against the largest logit so far, rescaled where a tile has a larger one.
    """
    assert isinstance(head, nn.Linear)
    device_type = head.weight.device.type
    dtype = torch.get_autocast_dtype(device_type) if torch.is_autocast_enabled(device_type) else head.weight.dtype
    weight_VH = head.weight.detach().to(dtype)
    bias_V = None if head.bias is None else head.bias.detach().to(dtype)

    def run(hidden_CH: torch.Tensor, labels_C: torch.Tensor, weights_C: torch.Tensor) -> _Gradients:
        with torch.autocast(device_type, enabled=False):
            rows_CH = hidden_CH.detach().to(dtype)
            normalizer_C, gradient_CH = _expected_row(rows_CH, weight_VH, bias_V, gradients)
            label_CH = weight_VH[labels_C].to(gradient_CH.dtype)
            label_logit_C = torch.linalg.vecdot(rows_CH.to(label_CH.dtype), label_CH)
            if bias_V is not None:
                label_logit_C += bias_V[labels_C]
            if gradients:
                gradient_CH.sub_(label_CH).mul_(weights_C[:, None])
        return ((normalizer_C - label_logit_C) * weights_C).sum(), gradient_CH.to(hidden_CH.dtype), []

    return run


def _expected_row(
    hidden_CH: torch.Tensor, weight_VH: torch.Tensor, bias_V: torch.Tensor | None, with_row: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Give each position's log of the sum of its exponentiated logits, and the mean row of the weights; both at least in fp32."""
    dtype = torch.promote_types(hidden_CH.dtype, torch.float32)
    largest_C = hidden_CH.new_full((len(hidden_CH),), -torch.inf, dtype=dtype)
    sum_C = torch.zeros_like(largest_C)
    sum_CH = torch.zeros_like(hidden_CH, dtype=dtype)
    tile = tile_size(len(weight_VH), len(hidden_CH), weight_VH.device.type)
    for begin in range(0, len(weight_VH), tile):
        weight_WH = weight_VH[begin : begin + tile]
        logits_CW = functional.linear(hidden_CH, weight_WH, None if bias_V is None else bias_V[begin : begin + tile]).to(dtype)
        before_C, largest_C = largest_C, torch.maximum(largest_C, logits_CW.amax(1))
        shrink_C = before_C.sub_(largest_C).exp_()
        likelihoods_CW = logits_CW.sub_(largest_C[:, None]).exp_()
        sum_C.mul_(shrink_C).add_(likelihoods_CW.sum(1))
        if not with_row:
            continue
        sum_CH.mul_(shrink_C[:, None])
        if weight_WH.dtype == dtype:
            sum_CH.addmm_(likelihoods_CW, weight_WH)
        else:
            sum_CH += likelihoods_CW.to(weight_WH.dtype) @ weight_WH
    return largest_C + sum_C.log(), sum_CH.div_(sum_C[:, None])
