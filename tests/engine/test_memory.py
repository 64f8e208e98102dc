"""The memory that a dry run foretells is what a real step has alive; `auto` recomputes no more than it must."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.config import Config
from peft import LoraConfig
from tiny_models import llama_config
from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig

from xagent.engine import memory
from xagent.engine.environment import KERNEL_CACHES, prepare_environment
from xagent.engine.memory import LiveBytes, activation_bytes, choose_checkpointing, expected_memory, largest_row, measure_model
from xagent.model import SupervisedFinetune, attention

LENGTHS = [70, 130]
SHARE = 0.3


@pytest.fixture(scope="module")
def shape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's config of six layers, without weights."""
    folder = tmp_path_factory.mktemp("shape")
    llama_config(num_hidden_layers=6, vocab_size=4096, dtype=torch.float32).save_pretrained(folder)
    return folder


def described(shape: Path, **options: Any) -> dict[str, Any]:
    """A config's ``model``: LoRA in fp32 without recomputation, unless said otherwise."""
    llm = dict(type=AutoModelForCausalLM.from_pretrained, pretrained_model_name_or_path=str(shape))
    lora = dict(type=LoraConfig, r=4, task_type="CAUSAL_LM")
    return {"llm": llm, "lora": lora, "autocast_dtype": "fp32", "use_activation_checkpointing": "none", **options}


def really_alive(model: dict[str, Any], shape: Path) -> int:
    """The most bytes that a step on real tensors has alive beside weights and gradients."""
    config = AutoConfig.from_pretrained(shape)
    quantised = "quantization_config" in model["llm"]
    llm = model["llm"] if quantised else AutoModelForCausalLM.from_config(config, attn_implementation=attention.NAME)
    trained = SupervisedFinetune(**{**model, "llm": llm}).train()
    parameters = list(trained.parameters())
    for parameter in parameters:
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    tokens = sum(LENGTHS)
    count = round(tokens * SHARE)
    data = {
        "input_ids": torch.zeros(1, tokens, dtype=torch.int64),
        "position_ids": torch.arange(tokens)[None],
        "lengths": LENGTHS,
    }
    where, labels, weights = torch.arange(count), torch.zeros(count, dtype=torch.int64), torch.ones(count)
    with LiveBytes() as live:
        live.ignore([*parameters, *(each.grad for each in parameters if each.grad is not None), *trained.buffers()])
        trained.loss_at(data, where, labels, weights, torch.ones(())).backward()
    return live.most


def test_live_bytes_by_hand() -> None:
    given = torch.zeros(100)
    with LiveBytes() as live:
        live.ignore([given])
        one = given + 1
        assert live.now == 400
        view = one[:50]
        one = one.double()
        assert (live.now, live.most) == (400 + 800, 1200)
        del view
        assert live.now == 800
        one.add_(1)
        del one
    assert (live.now, live.most) == (0, 1200)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_activation_checkpointing": "full"},
        {"use_activation_checkpointing": "selective"},
        {"lora": None},
        {"autocast_dtype": "bf16"},
        {"loss_chunk_size": 16},
    ],
    ids=["lora", "full recomputation", "selective", "full fine-tuning", "bf16", "chunks"],
)
def test_the_foretold_step_is_the_real_one(shape: Path, options: dict[str, Any]) -> None:
    model = described(shape, **options)
    assert activation_bytes(model, LENGTHS, SHARE) == pytest.approx(really_alive(model, shape), rel=0.03)


def test_recomputing_more_keeps_less(shape: Path) -> None:
    none, selective, full = (activation_bytes(described(shape), LENGTHS, SHARE, how) for how in ("none", "selective", "full"))
    assert none > 1.2 * selective and selective > 1.2 * full


def test_weights_and_states_by_hand(shape: Path) -> None:
    model = described(shape)
    sizes = measure_model(model)
    layer, adapters = 2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64, 4 * (2 * (32 + 32) + 2 * (32 + 16) + 3 * (32 + 64))
    tables, norms = 2 * 4096 * 32, 13 * 32
    assert (sizes.trainable, sizes.frozen_linear, sizes.largest_linear) == (6 * adapters, 6 * layer, 32 * 64)
    assert sizes.frozen_bytes == 4 * (6 * layer + tables + norms)
    parts = expected_memory(sizes, Config(dict(model=model)), LENGTHS, 1, SHARE)
    assert parts["gradients"] == parts["trained weights"] == parts["optimizer"] / 2 == 4 * sizes.trainable
    half = measure_model({**model, "autocast_dtype": "bf16"})
    assert half.frozen_bytes == 2 * (6 * layer + tables // 2) + 4 * (tables // 2 + norms), "linear weights in 16 bits"
    stored = {**model, "llm": {**model["llm"], "dtype": "bfloat16"}}
    assert measure_model(stored).frozen_bytes == sizes.frozen_bytes, "what is multiplied in fp32 is kept so"
    nf4 = {**model, "llm": {**model["llm"], "quantization_config": dict(type=BitsAndBytesConfig, load_in_4bit=True)}}
    assert measure_model(nf4).frozen_bytes == int(6 * layer * memory.NF4_BYTES) + 4 * (tables + norms)


def test_dequantised_weights_by_hand(shape: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = described(shape, autocast_dtype="bf16")
    nf4 = {**model, "llm": {**model["llm"], "quantization_config": dict(type=BitsAndBytesConfig, load_in_4bit=True)}}
    sizes = measure_model(nf4)
    layer, largest = 2 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64), 2 * 32 * 64
    without = {how: activation_bytes(nf4, LENGTHS, SHARE, how) for how in ("none", "selective", "full")}

    def alive(how: str, **options: Any) -> int:
        cfg = Config(dict(model={**nf4, **options}))
        parts = expected_memory(sizes, cfg, LENGTHS, 1, SHARE, how)
        return round(parts["activations"] - without[how])

    assert [alive(how) for how in ("none", "selective", "full")] == [6 * layer, layer + 3 * layer, layer], "small: all are kept"
    monkeypatch.setattr(memory, "SMALL_MODEL_BYTES", 6 * layer - 1)
    assert [alive(how) for how in ("none", "selective", "full")] == [largest, layer, layer]
    assert alive("none", keep_dequantized=True) == 6 * layer
    assert alive("full", keep_dequantized=False) == largest
    nf4["llm"]["quantization_config"] = dict(type=BitsAndBytesConfig, load_in_8bit=True)
    without["full"] = activation_bytes(nf4, LENGTHS, SHARE, "full")
    assert alive("full") == largest, "PEFT's path, whatever is kept in 4 bits"


@pytest.mark.parametrize(("options", "dtype"), [({}, None), ({"fused_lora": False}, None), ({}, "float32")])
def test_the_foretold_step_of_nf4_is_the_real_one(options: dict[str, Any], dtype: str | None, tmp_path: Path) -> None:
    config = llama_config(num_hidden_layers=6, vocab_size=4096, hidden_size=64, intermediate_size=128, dtype=torch.float32)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    nf4 = dict(type=BitsAndBytesConfig, load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
    model = described(tmp_path, autocast_dtype="bf16", **options)
    model["llm"]["quantization_config"] = {key: value for key, value in nf4.items() if value}
    parts = expected_memory(measure_model(model), Config(dict(model=model)), LENGTHS, 1, SHARE)
    assert parts["activations"] == pytest.approx(really_alive(model, tmp_path), rel=0.06)


def config(shape: Path, wanted: Any) -> Config:
    return Config(
        dict(
            model=described(shape, use_activation_checkpointing=wanted),
            train_dataloader=dict(batch_size=2, dataset=dict(max_length=200)),
        )
    )


def test_auto_recomputes_no_more_than_it_must(shape: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = config(shape, "auto")
    sizes = measure_model(cfg.model)
    needed = {how: sum(expected_memory(sizes, cfg, [200, 200], 1, how=how).values()) for how in ("none", "selective")}
    for free, expected in (
        (needed["none"] / 0.8 + 1, "none"),
        (needed["none"] / 0.8 - 1, "selective"),
        (needed["selective"] / 0.8 - 1, "full"),
    ):
        monkeypatch.setattr(memory, "free_memory", lambda free=free: free)
        assert choose_checkpointing(cfg) == expected


def test_a_choice_is_a_choice(shape: Path) -> None:
    assert [choose_checkpointing(config(shape, wanted)) for wanted in (True, False, "selective")] == ["full", "none", "selective"]


def test_the_largest_micro_batch() -> None:
    class Packed:
        report = SimpleNamespace(fill_rate=0.98, tokens=9_800)

        def __len__(self) -> int:
            return 10

    alone = SimpleNamespace(report=SimpleNamespace(fill_rate=None), sample_lengths=[5, 9, 2, 7])
    assert largest_row(Packed(), 2) == [1000, 1000]
    assert largest_row(alone, 3) == [5, 7, 9]


@pytest.mark.parametrize("said", [{}, {"LRU_CACHE_CAPACITY": "7"}])
def test_kernel_caches_are_bounded_unless_the_environment_says_otherwise(
    said: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", dict(said))
    prepare_environment()
    assert os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "128"
    assert os.environ["LRU_CACHE_CAPACITY"] == said.get("LRU_CACHE_CAPACITY", "128")


@pytest.mark.skipif(not torch.cpu.get_capabilities().get("avx512_bf16"), reason="products in bf16 need a processor that has them")
def test_bf16_on_rows_of_many_lengths_takes_little_memory() -> None:
    """Sixty lengths of row: with the libraries' own bounds each keeps its kernels. Ours are set once torch is there."""
    code = (
        "import os, sys, json, torch\n"
        "os.environ.update(json.loads(sys.argv[1]))\n"
        "weights = [torch.randn(size, 128).bfloat16() for size in range(64, 1024, 64)]\n"
        "for length in range(100, 160):\n"
        "    row = torch.randn(length, 128).bfloat16()\n"
        "    for weight in weights:\n        torch.mm(row, weight.t())\n"
        "print(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])"
    )
    environment = {name: value for name, value in os.environ.items() if name not in KERNEL_CACHES}
    taken = []
    for bounds in ({}, KERNEL_CACHES):
        command = [sys.executable, "-c", code, json.dumps(bounds)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        taken.append(int(done.stdout) // 1024)
    assert taken[1] < taken[0] - 100  # MiB; measured: 349 and 808
