"""Every lever of the training step alone, and all of them together, give the plain path's loss and gradients.

The plain path is written by hand: a padded batch under its mask, eager attention, PEFT's own layers, the logits of every
position at once, the weighted mean of their losses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_models import VOCABULARY, llama_config
from torch.nn import functional
from transformers import AutoModelForCausalLM

from xagent.data import default_collate_fn
from xagent.engine.strategy import _with_fused_kernel
from xagent.model import SupervisedFinetune, attention
from xagent.model import head as head_module

LORA = dict(r=4, lora_alpha=8, lora_dropout=0.0, task_type="CAUSAL_LM", init_lora_weights=False, target_modules="all-linear")
LENGTHS = (31, 7, 40, 12)
Step = tuple[torch.Tensor, dict[str, torch.Tensor]]
# One row of all samples is what every one of them stands in; "none" takes them by transformers' mask, whole, through PEFT.
NONE: dict[str, Any] = dict(attention="sdpa", loss_chunk_size=None, fused_lora=False)
LEVERS: dict[str, dict[str, Any]] = {
    "none: rows of whole samples, logits at trained positions": NONE,
    "attention inside samples": {**NONE, "attention": attention.NAME},
    "chunks of logits": {**NONE, "loss_chunk_size": 5},
    "chunks and tiles of logits": {**NONE, "loss_chunk_size": 1000, "tiles": True},
    "fused LoRA": {**NONE, "fused_lora": True},
    "selective recomputation": {**NONE, "use_activation_checkpointing": "selective"},
    "full recomputation": {**NONE, "use_activation_checkpointing": "full"},
    "all": dict(attention=attention.NAME, loss_chunk_size="auto", fused_lora=True, tiles=True),
    "all, recomputed": dict(
        attention=attention.NAME, loss_chunk_size=9, fused_lora=True, use_activation_checkpointing="selective"
    ),
}


def samples() -> list[dict[str, torch.Tensor]]:
    """Samples of unequal length; their weights are 0, fractions and more than 1."""
    generator = torch.Generator().manual_seed(4)
    made = []
    for length in LENGTHS:
        ids = torch.randint(0, VOCABULARY, (length,), generator=generator)
        weights = torch.randint(0, 5, (length,), generator=generator) / 2.0
        made.append({"input_ids": ids, "labels": torch.where(weights > 0, ids, -100), "loss_weights": weights})
    return made


def config() -> Any:
    """A Llama of three layers, so that of two neighbours one is recomputed."""
    return llama_config(num_hidden_layers=3)


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The trained parameters' gradients by PEFT's names."""
    return {name.removeprefix("llm."): value.grad for name, value in model.named_parameters() if value.grad is not None}


def plain() -> Step:
    """The plain path in fp32."""
    torch.manual_seed(0)
    llm = AutoModelForCausalLM.from_config(config(), attn_implementation="eager")
    model = get_peft_model(llm, LoraConfig(**LORA)).train()
    parts = samples()
    ids, weights, mask = (
        torch.nn.utils.rnn.pad_sequence(
            [part[key] if key else torch.ones_like(part["input_ids"]) for part in parts], batch_first=True
        )
        for key in ("input_ids", "loss_weights", "")
    )
    logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1]
    losses = functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
    loss = (losses * weights[:, 1:]).sum() / weights[:, 1:].sum()
    loss.backward()
    return loss.detach(), gradients(model)


def pulled(options: dict[str, Any], dtype: str, monkeypatch: pytest.MonkeyPatch) -> Step:
    """The step with levers, on one row of the same samples."""
    options = dict(options)
    if options.pop("tiles", False):
        monkeypatch.setitem(head_module.TILE_BYTES, "cpu", 1)  # tiles of 256 of the 261 entries
    torch.manual_seed(0)
    llm = AutoModelForCausalLM.from_config(config(), attn_implementation=options.pop("attention"))
    settings = {"use_activation_checkpointing": False, "autocast_dtype": dtype, **options}
    model = SupervisedFinetune(llm, lora=LoraConfig(**LORA), **settings).train()
    loss = model(**default_collate_fn(samples()))["loss"]
    loss.backward()
    return loss.detach(), gradients(model)


@pytest.mark.parametrize("lever", LEVERS)
def test_a_lever_gives_the_plain_paths_loss_and_gradients(lever: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected_loss, expected = plain()
    loss, found = pulled(LEVERS[lever], "fp32", monkeypatch)
    torch.testing.assert_close(loss, expected_loss, atol=1e-5, rtol=0)
    assert found.keys() == expected.keys() and len(found) == 3 * 7 * 2
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=0, msg=lambda text, name=name: f"{name}: {text}")
    assert max(float(value.abs().max()) for value in expected.values()) > 1e-2


@pytest.mark.parametrize("lever", LEVERS)
def test_in_bf16_a_lever_is_within_bf16s_rounding(lever: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss within 0.1 %, all gradients together within 8 % of their norm, and not much further off than bf16 alone."""
    expected_loss, expected = plain()
    whole = torch.cat([value.flatten() for value in expected.values()])

    def off(options: dict[str, Any]) -> float:
        loss, found = pulled(options, "bf16", monkeypatch)
        assert abs(float(loss / expected_loss) - 1) <= 1e-3
        return float((torch.cat([found[name].flatten().float() for name in expected]) - whole).norm() / whole.norm())

    assert off(LEVERS[lever]) <= min(0.08, 1.2 * off(NONE))


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
def test_the_fused_optimizer_takes_the_plain_ones_steps(kind: Callable[..., Any]) -> None:
    """Ten steps on unequal tensors, with weight decay; the weights move by ten times the learning rate, about."""
    ends = []
    for fused in (True, False):
        generator = torch.Generator().manual_seed(1)
        weights = [torch.nn.Parameter(torch.randn(*shape, generator=generator)) for shape in ((8, 32), (64, 8), (5,))]
        begin = [weight.detach().clone() for weight in weights]
        given = dict(type=kind, lr=1e-2, weight_decay=0.1)
        chosen = _with_fused_kernel(given if fused else {**given, "fused": False})
        assert chosen["fused"] is fused
        optimizer = chosen.pop("type")(weights, **chosen)
        for place in range(10):
            for weight in weights:
                weight.grad = torch.randn(weight.shape, generator=generator) * 10.0 ** (place % 3 - 2)
            optimizer.step()
        ends.append(weights)
        assert all(float((weight - before).abs().max()) > 1e-2 for weight, before in zip(weights, begin, strict=True))
    for one, other in zip(*ends, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
