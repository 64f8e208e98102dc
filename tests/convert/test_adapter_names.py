"""One tensor of an adapter has three names."""

from __future__ import annotations

import pytest

from xagent.convert.adapter_names import BaseName, base_name, is_frozen_copy, of_module, peft_name

MODULE = "model.layers.0.self_attn.q_proj"
PEFT = f"base_model.model.{MODULE}"


@pytest.mark.parametrize(
    ("training", "peft"),
    [
        (f"llm.{PEFT}.lora_A.default.weight", f"{PEFT}.lora_A.weight"),
        (f"llm.{PEFT}.lora_B.default.bias", f"{PEFT}.lora_B.bias"),
        (f"llm.{PEFT}.lora_magnitude_vector.default.weight", f"{PEFT}.lora_magnitude_vector.weight"),
        ("llm.base_model.model.embed.lora_embedding_A.default", "base_model.model.embed.lora_embedding_A"),
        ("llm.base_model.model.lm_head.modules_to_save.default.weight", "base_model.model.lm_head.weight"),
        (
            "llm.base_model.model.embed.token_adapter.trainable_tokens_delta.default",
            "base_model.model.embed.token_adapter.trainable_tokens_delta",
        ),
        ("llm.base_model.model.default.proj.bias", "base_model.model.default.proj.bias"),
        ("llm.base_model.model.default.proj.lora_A.default.weight", "base_model.model.default.proj.lora_A.weight"),
        (f"{PEFT}.lora_A.weight", f"{PEFT}.lora_A.weight"),
    ],
)
def test_a_name_in_training_and_in_peft(training: str, peft: str) -> None:
    assert peft_name(training) == peft


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (f"{PEFT}.lora_A.weight", BaseName(f"{MODULE}.weight", "A")),
        (f"{PEFT}.lora_B.weight", BaseName(f"{MODULE}.weight", "B")),
        ("base_model.model.embed.lora_embedding_A", BaseName("embed.weight", "embedding_A")),
        ("base_model.model.embed.lora_embedding_B", BaseName("embed.weight", "embedding_B")),
        ("base_model.model.lm_head.weight", BaseName("lm_head.weight", "replacement")),
        ("base_model.model.embed.base_layer.weight", BaseName("embed.weight", "replacement")),
        ("base_model.model.head.modules_to_save.weight", BaseName("head.weight", "replacement")),
        (f"{PEFT}.bias", BaseName(f"{MODULE}.bias", "replacement")),
        (f"{PEFT}.lora_magnitude_vector", None),
        (f"{PEFT}.lora_B.bias", None),
        ("base_model.model.embed.token_adapter.trainable_tokens_delta", None),
        (f"{MODULE}.lora_A.weight", None),
        ("transformer.h.0.weight", None),
    ],
)
def test_what_a_tensor_changes_in_the_base(name: str, expected: BaseName | None) -> None:
    assert base_name(name) == expected


def test_the_untouched_original_beside_a_resized_embedding() -> None:
    assert is_frozen_copy("base_model.model.lm_head.original_module.weight")
    assert not is_frozen_copy("base_model.model.original_module_norm.weight")


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (None, 8),
        ({}, 8),
        ({"q_proj": 2}, 2),
        ({"k_proj": 2}, 8),
        ({r".*layers\.0\..*": 3}, 3),
        ({r".*layers\.1\..*": 3}, 8),
        ({f"^{MODULE}": 4}, 4),
    ],
)
def test_a_pattern_is_about_modules_by_pefts_own_rule(patterns: dict | None, expected: int) -> None:
    assert of_module(patterns, MODULE, 8) == expected
