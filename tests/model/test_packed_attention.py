"""A packed row learns what its samples would learn one by one: loss and gradients, with grouped heads and sliding windows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_models import llama_config
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM, LlamaForCausalLM, MistralConfig, Qwen2Config

from xagent.data import default_collate_fn
from xagent.errors import ConfigError
from xagent.model import SupervisedFinetune, attention
from xagent.model.attention import NAME
from xagent.model.kernels import choose_packed_kernel

LENGTHS = [5, 31, 1, 12]
SIZES = dict(
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    vocab_size=120,
    max_position_embeddings=128,
    initializer_range=0.3,
)


def samples() -> list[dict[str, Any]]:
    """Samples of unequal length with weights; the third has nothing to learn."""
    generator = torch.Generator().manual_seed(5)
    rows = []
    for length in LENGTHS:
        ids = torch.randint(0, 120, (length,), generator=generator)
        weights = torch.rand(length, generator=generator) * (torch.rand(length, generator=generator) < 0.7)
        rows.append({"input_ids": ids, "labels": torch.where(weights > 0, ids, -100), "loss_weights": weights})
    return rows


def packed(config: Any, **options: Any) -> SupervisedFinetune:
    """A model whose attention is the packed one, always with the same weights."""
    torch.manual_seed(0)
    return SupervisedFinetune(
        AutoModelForCausalLM.from_config(config, attn_implementation=NAME), **{"autocast_dtype": "fp32", **options}
    ).train()


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def by_hand(config: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Each sample alone through transformers' eager attention; the exact weighted mean and its gradients."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").train()
    total, weight = torch.zeros(()), torch.zeros(())
    for row in samples():
        logits = model(row["input_ids"][None]).logits[0]
        nll = functional.cross_entropy(logits[:-1], row["input_ids"][1:], reduction="none")
        total, weight = total + (nll * row["loss_weights"][1:]).sum(), weight + row["loss_weights"][1:].sum()
    (total / weight).backward()
    return (total / weight).detach(), {f"llm.{name}": grad for name, grad in gradients(model).items()}


CONFIGS = {
    "one key-value head each": lambda: llama_config(**SIZES, num_key_value_heads=4),
    "grouped heads": lambda: llama_config(**SIZES, num_key_value_heads=2),
    "sliding window": lambda: MistralConfig(**SIZES, num_key_value_heads=2, sliding_window=7),
    "window of exactly a sample": lambda: MistralConfig(**SIZES, num_key_value_heads=2, sliding_window=12),
    "window in some layers": lambda: Qwen2Config(
        **SIZES, num_key_value_heads=2, use_sliding_window=True, sliding_window=6, max_window_layers=1
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_packed_is_sample_by_sample(name: str) -> None:
    config = CONFIGS[name]()
    model = packed(config, use_activation_checkpointing=False, autocast_dtype="fp32")
    assert model.takes_lengths
    loss = model(**default_collate_fn(samples()))["loss"]
    loss.backward()
    expected_loss, expected = by_hand(config)
    torch.testing.assert_close(loss.detach(), expected_loss, atol=1e-5, rtol=0)
    found = gradients(model)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, atol=1e-5, rtol=0, msg=lambda text, key=key: f"{key}: {text}")


def test_the_window_matters() -> None:
    wide, narrow = (MistralConfig(**SIZES, num_key_value_heads=2, sliding_window=window) for window in (40, 7))
    losses = [float(packed(config)(**default_collate_fn(samples()))["loss"]) for config in (wide, narrow)]
    assert abs(losses[0] - losses[1]) > 1e-3


def test_no_sample_sees_another() -> None:
    model = packed(llama_config(**SIZES, num_key_value_heads=2)).eval()
    rows = samples()
    before = model(**default_collate_fn(rows))["loss"]
    rows[0] = {**rows[0], "input_ids": (rows[0]["input_ids"] + 1) % 120, "labels": torch.full((5,), -100)}
    silent = [{**samples()[0], "labels": torch.full((5,), -100)}, *samples()[1:]]
    assert float(model(**default_collate_fn(rows))["loss"]) == pytest.approx(
        float(model(**default_collate_fn(silent))["loss"]), abs=1e-6
    )
    assert float(before) != pytest.approx(float(model(**default_collate_fn(silent))["loss"]), abs=1e-4)


def test_activation_checkpointing_changes_no_gradient() -> None:
    config = MistralConfig(**SIZES, num_key_value_heads=2, sliding_window=7)
    found = []
    for checkpointing in (False, True):
        model = packed(config, use_activation_checkpointing=checkpointing)
        assert model.llm.is_activation_checkpointing is checkpointing
        model(**default_collate_fn(samples()))["loss"].backward()
        found.append(gradients(model))
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())


def test_without_lengths_it_is_ordinary_attention() -> None:
    torch.manual_seed(0)
    config = MistralConfig(**SIZES, num_key_value_heads=2, sliding_window=7)
    model = AutoModelForCausalLM.from_config(config, attn_implementation=NAME).eval()
    ids = torch.randint(0, 120, (2, 20))
    plain = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    plain.load_state_dict(model.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits, plain(ids).logits, atol=1e-5, rtol=0)
        assert (
            model.generate(ids[:1], max_new_tokens=9, do_sample=False).tolist()
            == plain.generate(ids[:1], max_new_tokens=9, do_sample=False).tolist()
        )


def test_soft_capped_scores_fall_back_to_eager(tmp_path) -> None:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    Gemma2ForCausalLM(Gemma2Config(**SIZES, num_key_value_heads=2, head_dim=8)).save_pretrained(tmp_path)
    model = SupervisedFinetune(dict(type=AutoModelForCausalLM.from_pretrained, pretrained_model_name_or_path=str(tmp_path)))
    assert model.llm.config._attn_implementation == "eager" and not model.takes_lengths
    loss = model(**default_collate_fn(samples()))["loss"]
    alone = [(float(model(**default_collate_fn([row]))["loss"]), float(row["loss_weights"][1:].sum())) for row in samples()[:2]]
    pair = model(**default_collate_fn(samples()[:2]))["loss"]
    assert float(pair) == pytest.approx(sum(a * w for a, w in alone) / sum(w for _, w in alone), abs=1e-5)
    assert torch.isfinite(loss)


def test_a_loaded_model_gets_the_packed_attention(tmp_path) -> None:
    LlamaForCausalLM(llama_config()).save_pretrained(tmp_path)
    described = dict(type=AutoModelForCausalLM.from_pretrained, pretrained_model_name_or_path=str(tmp_path))
    assert SupervisedFinetune(described).takes_lengths
    assert not SupervisedFinetune({**described, "attn_implementation": "sdpa"}).takes_lengths
    assert AutoConfig.from_pretrained(tmp_path)._attn_implementation != NAME


def test_no_mask_is_built_for_a_packed_row(monkeypatch: pytest.MonkeyPatch) -> None:
    masks: list[Any] = []
    monkeypatch.setattr(attention, "sdpa_mask", lambda *args, **kwargs: masks.append(args))
    packed(MistralConfig(**SIZES, num_key_value_heads=2, sliding_window=7))(**default_collate_fn(samples()))["loss"].backward()
    assert not masks


def varlen_on_the_cpu(
    query_THD: torch.Tensor,
    key_TKD: torch.Tensor,
    value_TKD: torch.Tensor,
    cu_seq_q: torch.Tensor,
    cu_seq_k: torch.Tensor,
    max_q: int,
    max_k: int,
    *,
    scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
    enable_gqa: bool = False,
) -> torch.Tensor:
    """What torch documents of its CUDA kernel, by plain sums."""
    assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32
    assert max_q == max_k == int(cu_seq_q.diff().max())
    assert window_size[1] == 0 and enable_gqa == (query_THD.shape[1] != key_TKD.shape[1])
    groups = query_THD.shape[1] // key_TKD.shape[1]
    outputs = []
    for begin, end in zip(cu_seq_q[:-1].tolist(), cu_seq_q[1:].tolist(), strict=True):
        q, k, v = query_THD[begin:end], *(each[begin:end].repeat_interleave(groups, 1) for each in (key_TKD, value_TKD))
        scores = torch.einsum("ihd,jhd->hij", q, k) * (scale or q.shape[-1] ** -0.5)
        back = torch.arange(end - begin)[:, None] - torch.arange(end - begin)
        hidden = (back < 0) | ((back > window_size[0]) if window_size[0] >= 0 else torch.zeros_like(back, dtype=torch.bool))
        outputs.append(torch.einsum("hij,jhd->ihd", scores.masked_fill(hidden, float("-inf")).softmax(-1), v))
    return torch.cat(outputs)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_varlen_kernel_is_told_the_samples(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel itself needs CUDA (tests/gpu); here a stand-in that does what torch documents takes the same arguments."""
    monkeypatch.setattr(attention, "varlen_attn", varlen_on_the_cpu)
    config = CONFIGS[name]()
    model = packed(config, use_activation_checkpointing=False)
    model.attention_kernel = "varlen"
    loss = model(**default_collate_fn(samples()))["loss"]
    loss.backward()
    expected_loss, expected = by_hand(config)
    torch.testing.assert_close(loss.detach(), expected_loss, atol=1e-5, rtol=0)
    for key, value in expected.items():
        torch.testing.assert_close(gradients(model)[key], value, atol=1e-5, rtol=0, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_token_sees_all_before_it(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    module = torch.nn.Module()
    module.num_key_value_groups, module.is_causal = 3, True
    query, key, value = (torch.randn(2, heads, length, 8, dtype=dtype) for heads, length in ((6, 1), (2, 17), (2, 17)))
    found, _ = attention.packed_attention(module, query, key, value, None, scaling=0.3)
    keys, values = key.repeat_interleave(3, 1).float(), value.repeat_interleave(3, 1).float()
    expected = ((query.float() @ keys.transpose(2, 3) * 0.3).softmax(-1) @ values).transpose(1, 2)
    torch.testing.assert_close(found.float(), expected, atol=1e-6 if dtype == torch.float32 else 1e-2, rtol=0)


@pytest.mark.parametrize("window", [None, 6])
@pytest.mark.parametrize("autocast", [False, True])
def test_short_samples_attend_in_fp32_on_a_cpu(window: int | None, autocast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Output and gradients are fp32's, rounded once; a sample that is long for it stays in bf16."""
    lengths, size = [9, 20], 8
    monkeypatch.setattr(attention, "IN_FP32", 9 * size)
    seen: list[torch.dtype] = []
    sdpa = functional.scaled_dot_product_attention

    def watched(query: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        output = sdpa(query, *args, **kwargs)
        seen.append(output.dtype)
        return output

    monkeypatch.setattr(functional, "scaled_dot_product_attention", watched)

    def attend(dtype: torch.dtype) -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(2)
        given = [torch.randn(1, heads, 29, size, generator=generator).bfloat16().to(dtype) for heads in (4, 2, 2)]
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast and dtype == torch.bfloat16):
            inputs = [each.requires_grad_() for each in given]
            output, _ = attention.packed_attention(
                torch.nn.Module(), *inputs, None, sample_lengths=lengths, sliding_window=window
            )
        output[:, :9].float().square().sum().backward()
        return [output.detach()[:, :9], *(each.grad[:, :, :9] for each in inputs if each.grad is not None)]

    half = attend(torch.bfloat16)
    assert seen == [torch.float32, torch.bfloat16]
    assert [each.dtype for each in half] == [torch.bfloat16] * 4
    whole = attend(torch.float32)
    assert torch.equal(half[0], whole[0].bfloat16())
    for found, expected in zip(half[1:], whole[1:], strict=True):
        assert float((found.float() - expected).norm() / expected.norm()) < 5e-3


def test_the_kernel_is_chosen_by_what_can_run() -> None:
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    config = llama_config()
    assert choose_packed_kernel("auto", cuda, torch.bfloat16, config) == "varlen"
    assert choose_packed_kernel("sdpa", cuda, torch.bfloat16, config) == "sdpa"
    assert choose_packed_kernel("auto", cpu, torch.bfloat16, config) == "sdpa"
    assert choose_packed_kernel("auto", cuda, torch.float32, config) == "sdpa"
    assert choose_packed_kernel("auto", cuda, torch.float16, llama_config(attention_dropout=0.1)) == "sdpa"
    assert choose_packed_kernel("auto", cuda, torch.float16, llama_config(head_dim=320)) == "sdpa"
    with pytest.raises(ConfigError, match="'varlen' needs a CUDA device and bf16 or fp16"):
        choose_packed_kernel("varlen", cpu, None, config)
    with pytest.raises(ConfigError, match="expected one of auto, sdpa, varlen, got 'flash'"):
        choose_packed_kernel("flash", cuda, torch.bfloat16, config)
