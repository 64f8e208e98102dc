"""A linear layer and its adapter as one step of autograd: PEFT's loss and gradients, modules and names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from bitsandbytes.nn import Linear4bit
from peft import LoraConfig, get_peft_model_state_dict
from peft.tuners import lora as peft_lora
from tiny_models import VOCABULARY, llama_config
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from xagent.data import default_collate_fn
from xagent.errors import ConfigError
from xagent.model import SupervisedFinetune, attention, lora_4bit
from xagent.model.lora import FusedLoraLinear, _LoraProduct

LAYERS = 2 * 7
CASES: dict[str, dict[str, Any]] = {
    "all linear layers": {},
    "dropout": dict(lora_dropout=0.4),
    "some layers": dict(target_modules=["q_proj", "down_proj"]),
    "and the head": dict(target_modules=["v_proj", "lm_head"]),
    "rank-stabilised": dict(use_rslora=True, lora_alpha=4),
    "other ranks": dict(rank_pattern={"up_proj": 2}, alpha_pattern={"up_proj": 1}),
}


def finetune(fused: bool, lora: dict[str, Any], bias: bool = False, **options: Any) -> SupervisedFinetune:
    """A model to train, always with the same weights and adapter, B included."""
    torch.manual_seed(0)
    llm = AutoModelForCausalLM.from_config(llama_config(attention_bias=bias, mlp_bias=bias), attn_implementation="xagent_packed")
    for name, parameter in llm.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    config = LoraConfig(**{"r": 4, "lora_alpha": 5, "init_lora_weights": False, "task_type": "CAUSAL_LM", **lora})
    settings = {"autocast_dtype": "fp32", "use_activation_checkpointing": False, **options}
    return SupervisedFinetune(llm, lora=config, fused_lora=fused, **settings).train()


def nf4_base(tmp_path: Path) -> Path:
    """A model in fp32 whose rows are whole blocks of NF4."""
    torch.manual_seed(1)
    llm = AutoModelForCausalLM.from_config(llama_config(hidden_size=64, intermediate_size=128, attention_bias=True))
    for name, parameter in llm.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    llm.save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def qlora(base: Path, fused: bool, lora: dict[str, Any] | None = None, **options: Any) -> SupervisedFinetune:
    """A quantised model to train, always with the same weights and adapter."""
    torch.manual_seed(0)
    dtype = torch.bfloat16 if options.get("autocast_dtype") == "bf16" else torch.float32
    nf4 = dict(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype)
    llm = dict(type=AutoModelForCausalLM.from_pretrained, pretrained_model_name_or_path=str(base))
    llm["quantization_config"] = dict(type=BitsAndBytesConfig, **nf4)
    config = LoraConfig(**{"r": 4, "lora_alpha": 5, "init_lora_weights": False, "task_type": "CAUSAL_LM", **(lora or {})})
    settings = {"autocast_dtype": "fp32", "use_activation_checkpointing": False, **options}
    return SupervisedFinetune(llm, lora=config, fused_lora=fused, **settings).train()


def batch() -> dict[str, Any]:
    """Two samples of unequal weights."""
    generator = torch.Generator().manual_seed(3)
    rows = []
    for length in (31, 40):
        ids = torch.randint(0, VOCABULARY, (length,), generator=generator)
        weights = torch.randint(0, 4, (length,), generator=generator) / 2.0
        rows.append({"input_ids": ids, "labels": torch.where(weights > 0, ids, -100), "loss_weights": weights})
    return default_collate_fn(rows)


def step(model: SupervisedFinetune, seed: int = 5) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Loss and gradients of two micro-batches, so that gradients add up too; a seed gives the same dropout."""
    torch.manual_seed(seed)
    total = torch.zeros(())
    for _ in range(2):
        loss = model(**batch())["loss"]
        loss.backward()
        total += loss.detach()
    return total, {name: value.grad for name, value in model.named_parameters() if value.grad is not None}


def bias_gradients(model: SupervisedFinetune) -> dict[str, torch.Tensor]:
    """What a step's gradients are of the biases."""
    return {name: value for name, value in step(model)[1].items() if name.endswith("bias")}


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list[torch.dtype]:
    """The dtypes of the fused products that ran."""
    seen: list[torch.dtype] = []
    apply = _LoraProduct.apply

    def counted(*args: Any) -> Any:
        seen.append(args[-1])
        return apply(*args)

    monkeypatch.setattr(_LoraProduct, "apply", counted)
    return seen


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("bias", [False, True])
def test_fused_is_peft(case: str, bias: bool, products: list[torch.dtype]) -> None:
    expected_loss, expected = step(finetune(False, CASES[case], bias))
    assert not products
    loss, found = step(finetune(True, CASES[case], bias))
    assert set(products) == {torch.float32}
    torch.testing.assert_close(loss, expected_loss, atol=1e-5, rtol=0)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=0, msg=lambda text, name=name: f"{name}: {text}")
    assert max(float(value.abs().max()) for value in expected.values()) > 1e-2


@pytest.mark.parametrize("how", ["selective", "full"])
def test_recomputation(how: str) -> None:
    expected_loss, expected = step(finetune(False, CASES["dropout"]))
    loss, found = step(finetune(True, CASES["dropout"], use_activation_checkpointing=how))
    torch.testing.assert_close(loss, expected_loss, atol=1e-5, rtol=0)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_bf16_is_close(dropout: float, products: list[torch.dtype]) -> None:
    lora = dict(lora_dropout=dropout)
    seeds = range(5, 9)
    off = {False: 0.0, True: 0.0}  # the mean over draws, because one draw's rounding is chance
    for seed in seeds:
        expected_loss, expected = step(finetune(False, lora), seed)
        losses = {}
        for fused in off:
            losses[fused], found = step(finetune(fused, lora, autocast_dtype="bf16"), seed)
            off[fused] += max(float((found[name] - value).norm() / value.norm()) for name, value in expected.items()) / len(seeds)
        assert abs(float(losses[True] - expected_loss)) <= max(abs(float(losses[False] - expected_loss)), 5e-3)
    assert products == [torch.bfloat16] * LAYERS * 2 * len(seeds)
    assert off[True] <= max(1.2 * off[False], 0.02)  # no further from fp32 than PEFT's own products


@pytest.mark.parametrize("case", ["all linear layers", "dropout", "some layers"])
@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("how", ["none", "full"])
def test_nf4_fused_is_peft(case: str, keep: bool, how: str, tmp_path: Path, products: list[torch.dtype]) -> None:
    base = nf4_base(tmp_path)
    expected_loss, expected = step(qlora(base, False, CASES[case]))
    assert not products
    loss, found = step(qlora(base, True, CASES[case], keep_dequantized=keep, use_activation_checkpointing=how))
    assert set(products) == {torch.float32}
    assert float(loss) == pytest.approx(float(expected_loss), abs=1e-5)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=0, msg=lambda text, name=name: f"{name}: {text}")
    assert max(float(value.abs().max()) for value in expected.values()) > 1e-2


def test_nf4_in_bf16_is_no_further_from_fp32_than_pefts_path(tmp_path: Path) -> None:
    base = nf4_base(tmp_path)
    off = {False: 0.0, True: 0.0}  # the mean over draws, because one draw's rounding is chance
    for seed in range(5, 9):
        _, expected = step(qlora(base, False, CASES["dropout"]), seed)
        for fused in off:
            _, found = step(qlora(base, fused, CASES["dropout"], autocast_dtype="bf16"), seed)
            off[fused] += max(float((found[name] - value).norm() / value.norm()) for name, value in expected.items()) / 4
    assert off[True] <= max(1.2 * off[False], 0.02)


@pytest.mark.parametrize(
    ("keep", "how", "small", "times"),
    [
        (False, "none", True, 2),
        (False, "full", True, 3),
        (True, "none", False, 1),
        ("auto", "none", True, 1),
        ("auto", "none", False, 2),
        ("auto", "full", False, 2),
    ],
)
def test_how_often_a_weight_is_dequantised(
    keep: Any, how: str, small: bool, times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lora_4bit, "SMALL_MODEL_BYTES", 2**30 if small else 0)
    model = qlora(nf4_base(tmp_path), True, keep_dequantized=keep, use_activation_checkpointing=how)
    shapes: list[Any] = []
    dequantize = lora_4bit.dequantize_4bit

    def counted(packed: torch.Tensor, state: Any) -> torch.Tensor:
        shapes.append(state.shape)
        return dequantize(packed, state)

    monkeypatch.setattr(lora_4bit, "dequantize_4bit", counted)
    model(**batch())["loss"].backward()
    # The first layer's query, key and value need no gradient of their input, unless recomputation asks for one.
    assert len(shapes) == LAYERS * times - (3 if (times, how) == (2, "none") else 0)


def test_keep_dequantized_is_checked(tmp_path: Path) -> None:
    for make in (lambda **options: qlora(nf4_base(tmp_path), True, **options), lambda **options: finetune(True, {}, **options)):
        with pytest.raises(ConfigError, match="model.keep_dequantized: expected True, False or auto, got 'always'"):
            make(keep_dequantized="always")


def test_nf4_modules_are_pefts(tmp_path: Path) -> None:
    fused, plain = (qlora(nf4_base(tmp_path / str(wanted)), wanted) for wanted in (True, False))
    assert list(fused.state_dict()) == list(plain.state_dict())
    layers = [module for module in fused.modules() if isinstance(module, peft_lora.Linear4bit)]
    assert len(layers) == LAYERS and all(type(layer) is lora_4bit.FusedLoraLinear4bit for layer in layers)


@pytest.mark.parametrize("computed", ["bf16", "unknown"])
def test_nf4_products_of_another_dtype_are_left_to_peft(computed: str, tmp_path: Path, products: list[torch.dtype]) -> None:
    model = qlora(nf4_base(tmp_path), True)
    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.compute_dtype = torch.bfloat16 if computed == "bf16" else None
    step(model)
    assert not products


def test_modules_and_names_are_pefts() -> None:
    fused, plain = (finetune(wanted, {}) for wanted in (True, False))
    assert list(fused.state_dict()) == list(plain.state_dict())
    assert fused.adapter_config == plain.adapter_config
    assert get_peft_model_state_dict(fused.llm).keys() == get_peft_model_state_dict(plain.llm).keys()
    layers = [module for module in fused.modules() if isinstance(module, peft_lora.Linear)]
    assert len(layers) == LAYERS and all(type(layer) is FusedLoraLinear for layer in layers)
    merged = [model.llm.merge_and_unload().state_dict() for model in (fused, plain)]
    assert all(torch.equal(value, merged[1][name]) for name, value in merged[0].items())


@pytest.mark.parametrize("bias", ["all", "lora_only"])
@pytest.mark.parametrize("nf4", [False, True])
def test_biases_that_are_trained_get_gradients(bias: str, nf4: bool, tmp_path: Path) -> None:
    base = nf4_base(tmp_path) if nf4 else None
    fused, plain = (
        bias_gradients(qlora(base, wanted, dict(bias=bias)) if base else finetune(wanted, dict(bias=bias), bias=True))
        for wanted in (True, False)
    )
    assert plain and fused.keys() == plain.keys()
    for name, value in plain.items():
        torch.testing.assert_close(fused[name], value, atol=1e-5, rtol=0)


def test_a_quantised_model_that_served_before_is_trained(tmp_path: Path) -> None:
    base = nf4_base(tmp_path)
    expected_loss, expected = step(qlora(base, True, CASES["all linear layers"]))
    nf4 = dict(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.float32)
    llm = AutoModelForCausalLM.from_pretrained(
        base, quantization_config=BitsAndBytesConfig(**nf4), device_map={"": "cpu"}, attn_implementation="xagent_packed"
    )
    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=5, init_lora_weights=False, task_type="CAUSAL_LM")
    model = SupervisedFinetune(llm, lora=config, autocast_dtype="fp32", use_activation_checkpointing=False)
    with torch.no_grad():
        model.eval()(**batch())
    loss, found = step(model.train())
    torch.testing.assert_close(loss, expected_loss, atol=1e-5, rtol=0)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=0)


@pytest.mark.parametrize("training", [True, False])
def test_varlen_is_given_16_bits_by_quantised_layers(training: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = qlora(nf4_base(tmp_path), True, autocast_dtype="bf16").train(training)
    model.attention_kernel = "varlen"
    seen: list[set[torch.dtype]] = []

    def recorded(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        seen.append({query.dtype, key.dtype, value.dtype})
        return query

    monkeypatch.setattr(attention, "varlen_attn", recorded)
    with torch.set_grad_enabled(training):
        model(**batch())
    assert seen == [{torch.bfloat16}] * 2


def _hook(layer: Any) -> None:
    layer.base_layer.register_forward_hook(lambda module, inputs, output: output * 1.5)


def _disable(layer: Any) -> None:
    layer.enable_adapters(False)


def _train_base(layer: Any) -> None:
    layer.base_layer.weight.requires_grad_()


def _merge(layer: Any) -> None:
    layer.merge()


def _scatter(layer: Any) -> None:
    layer.lora_A["default"].weight.ds_id = 1


@pytest.mark.parametrize("change", [_hook, _disable, _train_base, _merge, _scatter])
def test_what_is_not_plain_is_left_to_peft(change: Any, products: list[torch.dtype]) -> None:
    results = []
    for fused in (False, True):
        model = finetune(fused, {})
        for module in model.modules():
            if isinstance(module, peft_lora.Linear):
                change(module)
        ids = batch()["data"]["input_ids"]
        results.append(model.llm(input_ids=ids, use_cache=False).logits)
    assert not products
    assert torch.equal(*results)


@pytest.mark.parametrize("lora", [dict(use_dora=True), dict(lora_bias=True)])
def test_variants_are_left_to_peft(lora: dict[str, Any], products: list[torch.dtype]) -> None:
    expected_loss, expected = step(finetune(False, lora))
    loss, found = step(finetune(True, lora))
    assert not products
    assert torch.equal(loss, expected_loss)
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_inference_is_left_to_peft(products: list[torch.dtype]) -> None:
    with torch.no_grad():
        finetune(True, {})(**batch())
    assert not products
