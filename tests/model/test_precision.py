"""Frozen weights take no more bytes than they are computed in, and gradients exist for what is trained only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, prepare_model_for_kbit_training
from safetensors.torch import load_file, save_file
from tiny_models import VOCABULARY, save_base
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaForCausalLM

from xagent.data import default_collate_fn
from xagent.errors import ConfigError
from xagent.model import SupervisedFinetune, precision, sft
from xagent.model.mapped_pages import let_go

LORA: dict[str, Any] = dict(type=LoraConfig, r=4, lora_alpha=8, task_type="CAUSAL_LM", init_lora_weights=False)


@pytest.fixture(scope="module", params=[False, True], ids=["untied", "tied"])
def half_base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama stored in bf16."""
    folder = tmp_path_factory.mktemp("half")
    source = save_base(folder / "fp32", tie_word_embeddings=request.param)
    LlamaForCausalLM.from_pretrained(source, dtype=torch.bfloat16).save_pretrained(folder / "bf16")
    return folder / "bf16"


def finetune(base: Path, *, nf4: bool = False, dtype: str = "auto", **options: Any) -> SupervisedFinetune:
    """A model to train, always with the same adapter."""
    torch.manual_seed(0)
    llm: dict[str, Any] = dict(type=AutoModelForCausalLM.from_pretrained, pretrained_model_name_or_path=str(base), dtype=dtype)
    if nf4:
        llm["quantization_config"] = dict(
            type=BitsAndBytesConfig, load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
        )
    return SupervisedFinetune(llm, **{"lora": LORA, "autocast_dtype": "bf16", **options}).train()


def step(model: SupervisedFinetune) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    ids = torch.randint(0, VOCABULARY, (40,), generator=torch.Generator().manual_seed(1))
    loss = model(**default_collate_fn([{"input_ids": ids, "labels": ids}]))["loss"]
    loss.backward()
    return loss.detach(), {name: value.grad for name, value in model.named_parameters() if value.grad is not None}


def assert_equal(one: Any, other: Any) -> None:
    assert torch.equal(one[0], other[0])
    assert one[1].keys() == other[1].keys()
    assert all(torch.equal(value, other[1][name]) for name, value in one[1].items())


def test_an_nf4_base_keeps_no_fp32_tables(half_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss and gradients are those of peft's preparation bit for bit, which keeps embedding and head in fp32."""
    model = finetune(half_base, nf4=True)
    causal = model.llm.get_base_model()
    tables = {causal.get_input_embeddings().weight.dtype, causal.get_output_embeddings().weight.dtype}
    assert tables == {torch.bfloat16}

    def prepare(llm: Any, autocast: Any) -> None:
        prepare_model_for_kbit_training(llm, use_gradient_checkpointing=False)

    monkeypatch.setattr(sft, "freeze_quantised", prepare)
    monkeypatch.setattr(sft, "cast_frozen_linear", lambda *args: 0)
    reference = finetune(half_base, nf4=True)
    assert reference.llm.get_base_model().get_input_embeddings().weight.dtype == torch.float32
    assert_equal(step(model), step(reference))


def test_frozen_fp32_weights_are_cast_once(half_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = finetune(half_base, dtype="float32")
    layer = model.llm.get_base_model().model.layers[0]
    assert layer.mlp.up_proj.base_layer.weight.dtype == torch.bfloat16
    assert layer.mlp.up_proj.lora_A.default.weight.dtype == torch.float32
    assert layer.input_layernorm.weight.dtype == torch.float32
    tied = model.llm.config.tie_word_embeddings
    assert model.llm.get_base_model().lm_head.weight.dtype == (torch.float32 if tied else torch.bfloat16)
    assert (model.llm.get_base_model().lm_head.weight is model.llm.get_base_model().model.embed_tokens.weight) is tied
    monkeypatch.setattr(sft, "cast_frozen_linear", lambda *args: 0)
    assert_equal(step(model), step(finetune(half_base, dtype="float32")))


def test_nothing_is_cast_without_autocast_or_in_full_training(half_base: Path) -> None:
    plain = finetune(half_base, dtype="float32", autocast_dtype="fp32")
    assert {value.dtype for value in plain.parameters()} == {torch.float32}
    full = finetune(half_base, lora=None)
    assert {value.dtype for value in full.parameters()} == {torch.float32}
    exact = finetune(half_base, nf4=True, autocast_dtype="fp32")
    assert {value.dtype for value in exact.parameters()} == {torch.float32, torch.uint8}


def test_lora_on_16_bit_weights_is_in_fp32_where_nothing_is_cast(half_base: Path) -> None:
    """On a CPU without bf16 instructions they would make the whole pass bf16, rounded and many times slower."""
    as_stored = finetune(half_base, autocast_dtype="fp32")
    assert {value.dtype for value in as_stored.parameters()} == {torch.float32}
    assert_equal(step(as_stored), step(finetune(half_base, dtype="float32", autocast_dtype="fp32")))


@pytest.mark.parametrize("nf4", [False, True])
def test_copies_of_whole_modules_train_in_fp32(half_base: Path, nf4: bool) -> None:
    model = finetune(half_base, nf4=nf4, lora={**LORA, "target_modules": ["q_proj"], "modules_to_save": ["lm_head"]})
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    assert any("lm_head.modules_to_save" in name for name in trained)
    assert {value.dtype for value in trained.values()} == {torch.float32}
    assert step(model)[1].keys() == trained.keys()


@pytest.mark.parametrize("nf4", [False, True])
def test_gradients_exist_for_what_is_trained_only(half_base: Path, nf4: bool) -> None:
    model = finetune(half_base, nf4=nf4)
    gradients = step(model)[1]
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    assert gradients.keys() == trained.keys() == model.trained_names()
    assert sum(value.nbytes for value in gradients.values()) == 4 * sum(value.numel() for value in trained.values())
    frozen = [value for value in model.parameters() if not value.requires_grad and value.dtype == torch.float32]
    assert sum(value.numel() for value in frozen) == (5 * 32 if nf4 else 0), "only norms may be kept in fp32"


def test_a_weight_that_two_modules_share_is_left_alone() -> None:
    one, other = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
    other.weight = one.weight
    alone = torch.nn.Linear(3, 3)
    model = torch.nn.ModuleList([one, other, alone]).requires_grad_(False)
    assert precision.cast_frozen_linear(model, torch.bfloat16) == 1
    assert (one.weight.dtype, alone.weight.dtype) == (torch.float32, torch.bfloat16)


def test_kernels_that_are_missing_are_refused_or_left_out(half_base: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"use_liger_kernel is True, but (liger-kernel is not installed|its kernels need a CUDA)"
    ):
        if torch.cuda.is_available():
            pytest.skip("liger-kernel may run here")
        finetune(half_base, use_liger_kernel=True)
    with pytest.raises(ConfigError, match="expected True, False, none, selective, full or auto, got 'half'"):
        finetune(half_base, use_activation_checkpointing="half")


@pytest.mark.parametrize(("how", "count"), [(False, 0), ("none", 0), ("selective", 1), ("full", 2), (True, 2)])
def test_how_many_layers_are_recomputed(half_base: Path, how: bool | str, count: int) -> None:
    model = finetune(half_base, use_activation_checkpointing=how, dtype="float32", autocast_dtype="fp32")
    assert sum(layer.gradient_checkpointing for layer in model.llm.get_base_model().model.layers) == count
    assert_equal(
        step(model), step(finetune(half_base, use_activation_checkpointing=False, dtype="float32", autocast_dtype="fp32"))
    )


@pytest.mark.slow
def test_compiled_layers_train_the_same(half_base: Path) -> None:
    options = dict(dtype="float32", autocast_dtype="fp32", use_activation_checkpointing=False)
    compiled, plain = step(finetune(half_base, torch_compile=True, **options)), step(finetune(half_base, **options))
    torch.testing.assert_close(compiled[0], plain[0], atol=1e-5, rtol=0)
    for name, value in plain[1].items():
        torch.testing.assert_close(compiled[1][name], value, atol=1e-5, rtol=0)


def _file_pages() -> int:
    """Bytes of mapped files that this process has in memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssFile", "RssShmem")))


def _mapped(folder: Path, size: int) -> tuple[dict[str, torch.Tensor], torch.nn.ModuleDict]:
    """The tensors of a file, mapped, and frozen modules that use them."""
    tensors = {"big.weight": torch.ones(size // 4096, 1024), "small.weight": torch.arange(64.0).reshape(8, 8)}
    save_file(tensors, folder / "model.safetensors")
    stored = load_file(folder / "model.safetensors")
    model = torch.nn.ModuleDict({"big": torch.nn.Linear(1, 1, bias=False), "small": torch.nn.Embedding(1, 1)})
    for name, module in model.items():
        module.weight = torch.nn.Parameter(stored[f"{name}.weight"], requires_grad=False)
    assert float(model["big"].weight.sum()) == size / 4  # reads every page
    return stored, model


def test_what_was_cast_leaves_memory(tmp_path: Path) -> None:
    size = 64 * 2**20
    stored, model = _mapped(tmp_path, size)
    before = _file_pages()
    assert precision.cast_frozen_linear(model, torch.bfloat16) == 1
    assert before - _file_pages() > 0.9 * size
    assert torch.equal(stored["big.weight"], torch.ones(size // 4096, 1024)), "pages that are read again come from the file"
    assert torch.equal(model["small"].weight, stored["small.weight"]) and model["big"].weight.dtype == torch.bfloat16


def test_what_was_changed_stays(tmp_path: Path) -> None:
    stored, model = _mapped(tmp_path, 2**22)
    stored["big.weight"][7, 7] = 5.0
    assert precision.cast_frozen_linear(model, torch.bfloat16) == 1
    assert float(stored["big.weight"][7, 7]) == 5.0 and float(stored["big.weight"].sum()) == 2**20 + 4


def test_memory_that_is_no_files_stays() -> None:
    tensor = torch.full((2**20,), 3.0)
    assert let_go([tensor, tensor[1:], torch.empty(0)]) == 0
    assert float(tensor.sum()) == 3 * 2**20
