"""A checkpoint is of this config or the message names each key that differs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from xagent.convert.config_check import base_of, check_same_config, training_facts
from xagent.errors import CheckpointError
from xagent.model.fingerprint import fingerprint_model

MODULES = ["model.layers.0.q_proj", "model.layers.0.v_proj"]
LORA = {"r": 4, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"]}


def config_of(lora: Any = LORA, **llm: Any) -> dict[str, Any]:
    return {"model": {"llm": llm, "lora": lora}}


def meta_of(kind: str = "lora", **more: Any) -> dict[str, Any]:
    return {"kind_of_training": kind, "adapter_config": {**LORA, "target_modules": MODULES}, **more}


def faults(config: dict[str, Any], meta: dict[str, Any]) -> list[str]:
    """Give the lines between the headline and the advice."""
    try:
        check_same_config(Path("iter_1.pth"), "my.py", config, meta)
    except CheckpointError as error:
        head, *lines, advice = str(error).splitlines()
        assert head == "iter_1.pth: comes from another config than my.py:" and advice == "Name the one it was trained with."
        return [line.strip() for line in lines]
    return []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, None),
        ({"r": 8}, "model.lora.r: 8 in the config, 4 in the checkpoint"),
        ({"use_dora": True}, "model.lora.use_dora: True in the config, None in the checkpoint"),
        ({"task_type": "OTHER"}, None),
        ({"modules_to_save": []}, None),
        ({"modules_to_save": ["head"]}, "model.lora.modules_to_save: ['head'] in the config, None in the checkpoint"),
        ({"target_modules": "all"}, None),
        ({"target_modules": "all-linear"}, None),
        ({"target_modules": None}, None),
        ({"target_modules": ".*_proj"}, None),
        ({"target_modules": MODULES[::-1]}, None),
        (
            {"target_modules": ["proj", *MODULES[:1]]},
            f"model.lora.target_modules: ['proj', '{MODULES[0]}'] in the config, {MODULES}",
        ),
        ({"target_modules": ["q_proj"]}, f"model.lora.target_modules: ['q_proj'] in the config, {MODULES} in the checkpoint"),
        (
            {"target_modules": {"q_proj", "v_proj", "o_proj"}},
            f"model.lora.target_modules: ['o_proj', 'q_proj', 'v_proj'] in the config, {MODULES} in the checkpoint",
        ),
        (
            {"target_modules": [f"m{number}" for number in range(9)]},
            f"model.lora.target_modules: [m0, m1, m2, m3, m4, m5, and 3 more] in the config, {MODULES} in the checkpoint",
        ),
    ],
)
def test_what_differs_in_lora(change: dict[str, Any], expected: str | None) -> None:
    found = faults(config_of({**LORA, **change}), meta_of())
    assert len(found) == (expected is not None) and (expected is None or found[0].startswith(expected))


def test_patterns_of_modules_are_the_same_text() -> None:
    meta = meta_of(adapter_config={**LORA, "target_modules": ".*_proj"})
    assert faults(config_of({**LORA, "target_modules": ".*_proj"}), meta) == []
    assert faults(config_of({**LORA, "target_modules": ".*q_proj"}), meta) == [
        "model.lora.target_modules: '.*q_proj' in the config, '.*_proj' in the checkpoint"
    ]
    assert faults(config_of(), meta_of(adapter_config={**LORA, "target_modules": None})) == []


def test_full_training_and_lora_are_not_the_same() -> None:
    absent = "model.lora: is not set in the config, but the checkpoint is of lora training"
    assert faults(config_of(None), meta_of()) == [absent]
    present = "model.lora: is set in the config, but the checkpoint is of full training"
    assert faults(config_of(), meta_of("full", adapter_config=None)) == [present]
    assert faults(config_of(None), meta_of("full")) == [] == faults({}, meta_of("full"))


def test_the_base_is_compared_by_content_else_by_name(base: Path, tmp_path: Path) -> None:
    key = "model.llm.pretrained_model_name_or_path"
    config = config_of(pretrained_model_name_or_path=str(base))
    here = fingerprint_model(base)
    assert faults(config, meta_of(base_model="/elsewhere/other", base_fingerprint=here)) == []
    other = f"/elsewhere/{base.name}"
    expected = [f"{key}: {base} in the config, {other} in the checkpoint"]
    assert faults(config, meta_of(base_model=other, base_fingerprint="0" * len(here))) == expected
    assert faults(config, meta_of(base_model=other)) == []
    assert faults(config, meta_of(base_model="/elsewhere/other")) == [
        f"{key}: {base} in the config, /elsewhere/other in the checkpoint"
    ]
    gone = config_of(pretrained_model_name_or_path=str(tmp_path / "gone"))
    assert faults(gone, meta_of(base_model="hub/gone", base_fingerprint=here)) == []
    assert faults(config_of(), meta_of(base_model="any")) == [] == faults(config, meta_of(base_model=None))


@pytest.mark.parametrize(
    ("llm", "meta", "expected"),
    [
        ({}, {}, (None, True, None)),
        ({"dtype": torch.bfloat16}, {}, (None, True, "bfloat16")),
        ({"torch_dtype": "float16"}, {"dtype": "float32"}, (None, True, "float32")),
        ({"dtype": "auto"}, {"quantization": "nf4", "double_quantization": False}, ("nf4", False, None)),
        ({"quantization_config": {"load_in_4bit": True}}, {}, ("fp4", False, None)),
        (
            {"quantization_config": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}},
            {"quantization": "fp4"},
            ("nf4", True, None),
        ),
        ({"quantization_config": SimpleNamespace(load_in_4bit=True, bnb_4bit_quant_type="nf4")}, {}, ("nf4", False, None)),
        ({"quantization_config": {"load_in_8bit": True}}, {"quantization": None}, (None, True, None)),
    ],
)
def test_what_is_known_of_the_base_in_training(llm: dict, meta: dict, expected: tuple) -> None:
    names = ("quantization", "double_quantization", "dtype")
    assert training_facts(config_of(**llm), meta) == dict(zip(names, expected, strict=True))


def test_the_base_that_a_config_names() -> None:
    assert base_of(config_of(pretrained_model_name_or_path=Path("a/b"))) == "a/b"
    assert base_of(config_of()) is base_of({}) is base_of({"model": None}) is base_of({"model": {"llm": "x"}}) is None
