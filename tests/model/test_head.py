"""Chunks of the output head give the loss and the gradients of the whole one, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig
from tiny_models import VOCABULARY, llama_config, save_base
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, Gemma2Config, GraniteConfig

from xagent.data import default_collate_fn
from xagent.model import SupervisedFinetune
from xagent.model import head as head_module
from xagent.model.head import CHUNK_BYTES, TILE_BYTES, chunk_size, chunked_token_loss, split_model, tile_size
from xagent.model.loss import weighted_token_loss

LORA: dict[str, Any] = dict(type=LoraConfig, r=4, lora_alpha=8, lora_dropout=0.0, task_type="CAUSAL_LM", init_lora_weights=False)
WAYS: dict[str, dict[str, Any]] = {
    "lora": dict(lora=LORA),
    "full": dict(lora=None),
    "full, tied": dict(lora=None, tied=True),
    "lora, tied": dict(lora=LORA, tied=True),
    "lora on the head": dict(lora={**LORA, "target_modules": ["q_proj", "lm_head"]}),
    "a trained copy of the head": dict(lora={**LORA, "target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}),
    "nf4": dict(lora=LORA, nf4=True),
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], Path]:
    """Tiny Llamas, tied and not."""
    folder = tmp_path_factory.mktemp("bases")
    made = {tied: save_base(folder / str(tied), tie_word_embeddings=tied) for tied in (False, True)}
    return made.__getitem__


def finetune(base: Path, lora: dict[str, Any] | None, nf4: bool = False, **options: Any) -> SupervisedFinetune:
    """A model to train, always with the same adapter."""
    torch.manual_seed(0)
    llm: dict[str, Any] = dict(type=AutoModelForCausalLM.from_pretrained, pretrained_model_name_or_path=str(base))
    if nf4:
        llm["quantization_config"] = dict(type=BitsAndBytesConfig, load_in_4bit=True, bnb_4bit_quant_type="nf4")
    settings = {"autocast_dtype": "fp32", "use_activation_checkpointing": False, **options}
    return SupervisedFinetune(llm, lora=lora, **settings).train()


def batch() -> dict[str, Any]:
    """Two samples with weights of 0, fractions and more than 1; 40 positions are trained."""
    generator = torch.Generator().manual_seed(3)
    rows = []
    for length in (31, 40):
        ids = torch.randint(0, VOCABULARY, (length,), generator=generator)
        weights = torch.randint(0, 6, (length,), generator=generator) / 2.0
        rows.append({"input_ids": ids, "labels": torch.where(weights != 0.5, ids, -100), "loss_weights": weights})
    return default_collate_fn(rows)


def step(model: SupervisedFinetune, denominator: float | None = None) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Loss and gradients of a micro-batch."""
    data = batch()
    if denominator:
        data["data"]["loss_denominator"] = torch.tensor(denominator)
    loss = model(**data)["loss"]
    loss.backward()
    found = {name: value.grad for name, value in model.named_parameters() if value.requires_grad}
    assert all(value is not None for value in found.values())
    return loss.detach(), {name: value.clone() for name, value in found.items() if value is not None}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_chunks_are_the_plain_path(bases: Callable[[bool], Path], way: str, chunk: int) -> None:
    options = dict(WAYS[way])
    base = bases(options.pop("tied", False))
    plain, chunked = (step(finetune(base, loss_chunk_size=size, **options), 17.0) for size in (None, chunk))
    torch.testing.assert_close(chunked[0], plain[0], atol=1e-5, rtol=0)
    assert chunked[1].keys() == plain[1].keys()
    for name, value in plain[1].items():
        torch.testing.assert_close(chunked[1][name], value, atol=1e-5, rtol=0, msg=lambda text, name=name: f"{name}: {text}")
    assert max(float(value.abs().max()) for value in plain[1].values()) > 1e-2


@pytest.mark.parametrize("way", ["lora", "full", "lora on the head", "nf4"])
def test_bf16_chunks_are_close(bases: Callable[[bool], Path], way: str) -> None:
    options = dict(WAYS[way], autocast_dtype="bf16")
    plain, chunked = (step(finetune(bases(False), loss_chunk_size=size, **options)) for size in (None, 9))
    torch.testing.assert_close(chunked[0], plain[0], atol=2e-3, rtol=0)
    for name, value in plain[1].items():
        norm = float(value.float().norm())
        assert float((chunked[1][name] - value).float().norm()) <= 0.02 * norm + 1e-6, name


def test_losses_without_gradients(bases: Callable[[bool], Path]) -> None:
    plain, chunked = (finetune(bases(False), LORA, loss_chunk_size=size).eval() for size in (None, 6))
    with torch.no_grad():
        assert float(chunked(**batch())["loss"]) == pytest.approx(float(plain(**batch())["loss"]), abs=1e-6)


def test_nothing_to_learn(bases: Callable[[bool], Path]) -> None:
    model = finetune(bases(False), LORA, loss_chunk_size=4)
    ids = torch.arange(12)
    data = default_collate_fn([{"input_ids": ids, "labels": torch.full((12,), -100)}])
    data["data"]["loss_denominator"] = torch.tensor(5.0)
    loss = model(**data)["loss"]
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert all(not value.grad.any() for value in model.parameters() if value.requires_grad)


@given(
    positions=st.integers(0, 20),
    chunk=st.integers(1, 25),
    bias=st.booleans(),
    trained=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_chunk_of_any_head(positions: int, chunk: int, bias: bool, trained: bool, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    head = torch.nn.Linear(6, 11, bias=bias).double()
    head.requires_grad_(trained)
    hidden = torch.randn(positions, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 11, (positions,), generator=generator)
    weights = torch.rand(positions, generator=generator, dtype=torch.float64)
    results = []
    for way in (
        lambda: weighted_token_loss(head(hidden), labels, weights, 3.0),
        lambda: chunked_token_loss(hidden, head, labels, weights, chunk) / 3.0,
    ):
        hidden.grad = None
        head.zero_grad()
        loss = way()
        loss.backward()
        assert hidden.grad is not None
        gradients = [torch.zeros_like(value) if value.grad is None else value.grad for value in head.parameters()]
        results.append([loss.detach().double(), hidden.grad.clone(), *(value.clone() for value in gradients)])
    for plain, chunked in zip(*results, strict=True):
        torch.testing.assert_close(chunked, plain, atol=1e-5, rtol=0)


@given(
    positions=st.integers(0, 9),
    vocabulary=st.integers(257, 900),
    bias=st.booleans(),
    scale=st.sampled_from([0.01, 1.0, 60.0]),
    seed=st.integers(0, 1000),
)
def test_tiles_of_a_frozen_head(positions: int, vocabulary: int, bias: bool, scale: float, seed: int) -> None:
    """Tiles of 256, whatever order small and overwhelming logits come in; without gradients too."""
    generator = torch.Generator().manual_seed(seed)
    head = torch.nn.Linear(6, vocabulary, bias=bias).requires_grad_(False)
    head.weight.copy_(torch.randn(vocabulary, 6, generator=generator))
    hidden = (torch.randn(positions, 6, generator=generator) * scale).requires_grad_()
    labels = torch.randint(0, vocabulary, (positions,), generator=generator)
    weights = torch.rand(positions, generator=generator)
    plain = weighted_token_loss(head.double()(hidden.double()), labels, weights.double(), 1.0)
    (expected,) = torch.autograd.grad(plain, hidden)
    head.float()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(head_module.TILE_BYTES, "cpu", 1)
        tiled = chunked_token_loss(hidden, head, labels, weights, 1000)
        (found,) = torch.autograd.grad(tiled, hidden)
        with torch.no_grad():
            unlearned = chunked_token_loss(hidden, head, labels, weights, 1000)
    torch.testing.assert_close(tiled.double(), plain, atol=1e-5, rtol=3e-6)
    torch.testing.assert_close(unlearned.double(), plain, atol=1e-5, rtol=3e-6)
    torch.testing.assert_close(found, expected, atol=1e-5 * max(1.0, scale / 10), rtol=0)


class LargestLogits(TorchDispatchMode):
    """Records the most elements of any tensor whose last dimension is the vocabulary, but for the head's transposed weights."""

    most = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple) else (result,):
            if isinstance(value, torch.Tensor) and value.dim() and value.shape[-1] == VOCABULARY and value.shape[-2:-1] != (32,):
                self.most = max(self.most, value.numel())
        return result


@pytest.mark.parametrize(("chunk", "rows"), [(5, 5), (None, None)])
def test_the_table_of_logits_never_exists(bases: Callable[[bool], Path], chunk: int | None, rows: int | None) -> None:
    model = finetune(bases(False), {**LORA, "target_modules": ["q_proj", "lm_head"]}, loss_chunk_size=chunk)
    with LargestLogits() as seen:
        step(model)
    assert seen.most == (rows or int((batch()["data"]["labels"] != -100).sum())) * VOCABULARY


def test_the_automatic_size_bounds_bytes() -> None:
    assert chunk_size("auto", 128_256, 5_000, "cpu") == 128
    assert 128 * 128_256 * 4 <= CHUNK_BYTES["cpu"]
    assert chunk_size("auto", 128_256, 5_000, "cuda") == 1040
    assert chunk_size("auto", 128_256, 128, "cpu") is None
    assert chunk_size("auto", 3_072, 2_048, "cpu") is None
    assert chunk_size(100, 128_256, 5, "cpu") == 100
    assert chunk_size(None, 128_256, 5_000, "cpu") is None
    assert chunk_size("auto", 128_256, 100, "cpu", tiled=True) == 1024
    assert chunk_size("auto", 128_256, 5_000, "cuda", tiled=True) == 1040
    assert tile_size(128_256, 190, "cpu") == 2688
    assert 190 * 2688 * 4 <= TILE_BYTES["cpu"]
    assert tile_size(128_256, 1040, "cuda") == 128_256
    assert tile_size(8_192, 1, "cpu") == 8_192
    assert tile_size(128_256, 10**6, "cpu") == 256


SMALL = dict(
    hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2, vocab_size=50
)


@pytest.mark.parametrize("config", [Gemma2Config(**SMALL, head_dim=8), GraniteConfig(**SMALL, logits_scaling=3.0)])
def test_models_that_change_their_logits_take_the_plain_path(config: Any) -> None:
    model = AutoModelForCausalLM.from_config(config)
    assert split_model(model) is None
    ids = torch.arange(20)
    data = default_collate_fn([{"input_ids": ids, "labels": ids}])
    trained = SupervisedFinetune(model, loss_chunk_size=3, autocast_dtype="fp32").eval()
    with torch.no_grad():
        expected = model(ids[None], labels=ids[None]).loss
        assert float(trained(**data)["loss"]) == pytest.approx(float(expected), abs=1e-5)


def test_a_model_is_left_as_it_was() -> None:
    model = AutoModelForCausalLM.from_config(llama_config()).train()
    model.model.norm.eval()
    split = split_model(model)
    assert split is not None and split.decoder is model.model and split.head is model.lm_head
    assert "forward" not in vars(model.model)
    assert model.training and model.lm_head.training and not model.model.norm.training


def test_scattered_weights_take_the_plain_path(bases: Callable[[bool], Path]) -> None:
    model = finetune(bases(False), LORA, loss_chunk_size=4)
    model.llm.get_base_model().lm_head.weight.ds_id = 7  # as ZeRO-3 marks what it has partitioned
    expected = step(finetune(bases(False), LORA, loss_chunk_size=None))[0]
    assert torch.equal(step(model)[0], expected)
    assert model.loss_chunk_size is None
