"""What is trained and what is not: LoRA targets, grown embeddings, frozen bases, precision, the 4-bit trap."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from tiny_models import VOCABULARY, byte_tokenizer, save_base
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaForCausalLM

from xagent.data import default_collate_fn
from xagent.errors import CheckpointError, ConfigError
from xagent.model import SupervisedFinetune, loading
from xagent.model.loading import choose_autocast, load_tokenizer

PROJECTIONS = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with its tokenizer."""
    return save_base(tmp_path_factory.mktemp("models") / "base")


def finetune(base: Path, *, nf4: bool = False, lora: dict[str, Any] | None = None, **options: Any) -> SupervisedFinetune:
    """A model to train, always with the same adapter weights."""
    torch.manual_seed(0)
    llm = dict(type=AutoModelForCausalLM.from_pretrained, pretrained_model_name_or_path=str(base))
    if nf4:
        llm["quantization_config"] = dict(
            type=BitsAndBytesConfig, load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True
        )
    settings = dict(type=LoraConfig, task_type="CAUSAL_LM", **{"r": 4, "lora_alpha": 8, "lora_dropout": 0.0, **(lora or {})})
    return SupervisedFinetune(llm, lora=settings if lora is not None else None, **{"autocast_dtype": "fp32", **options})


def batch(seed: int = 0) -> dict[str, Any]:
    ids = torch.randint(0, VOCABULARY, (24,), generator=torch.Generator().manual_seed(seed)).tolist()
    return default_collate_fn([{"input_ids": ids, "labels": ids}])


def train(model: SupervisedFinetune, steps: int = 3) -> list[float]:
    """Take a few steps, with a look at the loss before each."""
    optimizer = torch.optim.SGD([parameter for parameter in model.parameters() if parameter.requires_grad], lr=0.5)
    losses = []
    for _ in range(steps):
        loss = model.train()(**batch())["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses


def test_eval_then_train_keeps_gradients_through_nf4(base: Path) -> None:
    """bitsandbytes repacks Linear4bit for AVX512-BF16 in an eval forward; what was trained after it had no gradient below."""
    looked, blind = finetune(base, nf4=True, lora={}), finetune(base, nf4=True, lora={})
    with torch.no_grad():
        looked.eval()(**batch(1))
    norms = []
    for model in (looked, blind):
        model.train()(**batch())["loss"].backward()
        layer = model.llm.get_base_model().model.layers[0].self_attn.q_proj
        norms.append(float(layer.lora_B.default.weight.grad.norm()))
    assert norms[0] > 1e-4
    assert norms[0] == pytest.approx(norms[1], rel=1e-6)


def test_targets_are_all_linear_layers_but_the_head(base: Path) -> None:
    model = finetune(base, lora={})
    assert model.adapter_config["target_modules"] == PROJECTIONS
    assert len(model.trained_names()) == 2 * 7 * 2
    assert all(".lora_" in name for name in model.trained_names())


def test_all_adds_the_embedding(base: Path) -> None:
    model = finetune(base, lora={"target_modules": "all"})
    assert model.adapter_config["target_modules"] == sorted([*PROJECTIONS, "embed_tokens"])
    assert {name for name in model.trained_names() if "embed_tokens" in name} == {
        f"llm.base_model.model.model.embed_tokens.lora_embedding_{part}.default" for part in "AB"
    }
    assert not any("lm_head" in name for name in model.trained_names())


def test_named_targets_and_modules_to_save(base: Path) -> None:
    model = finetune(base, lora={"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]})
    assert {name.split(".lora_")[0].rpartition(".")[2] for name in model.trained_names() if ".lora_" in name} == {"q_proj"}
    assert [name for name in model.trained_names() if "lora" not in name] == [
        "llm.base_model.model.lm_head.modules_to_save.default.weight"
    ]
    before = LlamaForCausalLM.from_pretrained(base).lm_head.weight
    train(model)
    assert not torch.equal(model.state_dict()["llm.base_model.model.lm_head.modules_to_save.default.weight"], before)
    assert torch.equal(model.llm.base_model.model.lm_head.original_module.weight, before)


@pytest.mark.parametrize("nf4", [False, True])
def test_the_frozen_base_stays_as_it_is(base: Path, nf4: bool) -> None:
    model = finetune(base, nf4=nf4, lora={}, use_activation_checkpointing=True)
    frozen = {name: value.detach().clone() for name, value in model.named_parameters() if not value.requires_grad}
    trained = {name: value.clone() for name, value in model.state_dict().items()}
    losses = train(model, 4)
    assert losses[-1] < losses[0] - 0.05
    assert len(frozen) == 2 * (7 + 2) + 3
    now = dict(model.named_parameters())
    assert all(torch.equal(value, now[name]) for name, value in frozen.items())
    assert all(not torch.equal(value, now[name]) for name, value in trained.items())


def test_full_fine_tuning_trains_everything_in_fp32(base: Path, tmp_path: Path) -> None:
    LlamaForCausalLM.from_pretrained(base, dtype=torch.bfloat16).save_pretrained(tmp_path)
    model = finetune(tmp_path)
    assert model.adapter_config is None
    assert len(model.trained_names()) == len(list(model.parameters())) == 2 * 9 + 3
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    losses = train(model)
    assert losses[-1] < losses[0] - 0.1


def test_quantised_weights_need_lora(base: Path) -> None:
    with pytest.raises(ConfigError, match="quantised weights can't be trained"):
        finetune(base, nf4=True)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("nf4", [False, True])
def test_new_tokens_begin_at_the_mean(tmp_path: Path, tied: bool, nf4: bool) -> None:
    base = save_base(tmp_path, tie_word_embeddings=tied)
    old = LlamaForCausalLM.from_pretrained(base)
    model = finetune(base, nf4=nf4, lora={}, tokenizer=byte_tokenizer(["<one>", "<two>", "<three>"])).llm.get_base_model()
    for layer, before in ((model.get_input_embeddings(), old.model.embed_tokens), (model.get_output_embeddings(), old.lm_head)):
        assert layer.weight.shape[0] == VOCABULARY + 3
        assert torch.equal(layer.weight[:VOCABULARY], before.weight)
        expected = before.weight.mean(0).expand(3, -1)
        torch.testing.assert_close(layer.weight[VOCABULARY:], expected, atol=1e-7, rtol=0)
    assert model.config.vocab_size == VOCABULARY + 3
    assert (model.get_input_embeddings().weight is model.get_output_embeddings().weight) is tied


def test_a_larger_embedding_stays(tmp_path: Path) -> None:
    base = save_base(tmp_path, vocab_size=VOCABULARY + 11)
    model = finetune(base, lora={}, tokenizer=load_tokenizer(str(base)))
    assert model.llm.get_base_model().get_input_embeddings().weight.shape[0] == VOCABULARY + 11


def test_precision(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    assert choose_autocast("fp32", cpu) is None
    for faster, chosen in ((True, torch.bfloat16), (False, None)):
        monkeypatch.setattr(loading, "bf16_is_faster", lambda faster=faster: faster)
        assert choose_autocast("auto", cpu) == chosen
    assert choose_autocast("bf16", cpu) == torch.bfloat16
    with pytest.raises(ConfigError, match="autocast_dtype must be one of auto, bf16, fp16, fp32, got 'float16'"):
        choose_autocast("float16", cpu)
    for supported, expected in ((True, torch.bfloat16), (False, torch.float16)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda supported=supported: supported)
        assert choose_autocast("auto", torch.device("cuda")) == expected
    monkeypatch.setattr(loading, "bf16_is_faster", lambda: True)
    assert finetune(base, lora={}, autocast_dtype="auto").autocast_dtype == torch.bfloat16


def test_bf16_autocast_trains(base: Path) -> None:
    exact, half = train(finetune(base, lora={})), train(finetune(base, lora={}, autocast_dtype="bf16"))
    assert half == pytest.approx(exact, abs=0.05) and half != exact
    assert half[-1] < half[0]


def test_loading_refuses_what_does_not_fit(base: Path) -> None:
    model, other = finetune(base, lora={}), finetune(base, lora={"target_modules": ["q_proj"]})
    with pytest.raises(CheckpointError, match=r"0 trained tensors are missing in it \(\), 24 are unknown here"):
        other.load_state_dict(model.state_dict())
    with pytest.raises(CheckpointError, match=r"24 trained tensors are missing in it .*, 0 are unknown"):
        model.load_state_dict(other.state_dict())
    with pytest.raises(CheckpointError, match=r"lora_A.default.weight has shape \(2, 32\) in it and \(4, 32\) here"):
        model.load_state_dict(finetune(base, lora={"r": 2}).state_dict())


def test_a_state_dict_goes_round(base: Path) -> None:
    model = finetune(base, lora={"modules_to_save": ["lm_head"]})
    train(model)
    fresh = finetune(base, lora={"modules_to_save": ["lm_head"]})
    fresh.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(fresh.eval()(**batch(3))["loss"], model.eval()(**batch(3))["loss"])
