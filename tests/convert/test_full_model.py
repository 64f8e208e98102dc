"""Trained tensors are paired with the base's; what doesn't fit is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny import HIDDEN, VOCABULARY

from xagent.convert.base_model import open_base
from xagent.convert.full_model import plan_full_model
from xagent.errors import CheckpointError

EMBEDDING, NORM = "model.embed_tokens.weight", "model.norm.weight"


def fault_of(base: Path, state: dict[str, torch.Tensor]) -> list[str]:
    with pytest.raises(CheckpointError) as error:
        plan_full_model(Path("iter_1.pth"), {f"llm.{name}": tensor for name, tensor in state.items()}, open_base(base), "1GB")
    return str(error.value).splitlines()


def test_tensors_that_do_not_fit_are_named(base: Path) -> None:
    head = f"iter_1.pth: does not fit the base {base}:"
    assert fault_of(base, {}) == [head, "  it holds no trained tensors"]
    assert fault_of(base, {"model.extra": torch.zeros(1), NORM: torch.zeros(3)}) == [
        head,
        "  model.extra: the base has no such tensor",
        f"  {NORM}: shape (3,), the base has ({HIDDEN},)",
    ]
    several = fault_of(base, {f"t{number}": torch.zeros(1) for number in range(12)})
    assert len(several) == 12 and several[-1] == "  and 2 more"


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((VOCABULARY - 1, HIDDEN), f"  {EMBEDDING}: shape (255, 64), the base has (256, 64)"),
        ((VOCABULARY + 1, HIDDEN + 1), f"  {EMBEDDING}: shape (257, 65), the base has (256, 64)"),
    ],
)
def test_an_embedding_grows_downwards_only(base: Path, shape: tuple[int, int], expected: str) -> None:
    assert fault_of(base, {EMBEDDING: torch.zeros(shape)})[1:] == [expected]


def written(base: Path, folder: Path, state: dict[str, torch.Tensor]) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Write a full model; give its config and tensors."""
    folder.mkdir()
    plan_full_model(Path("iter_1.pth"), {f"llm.{name}": tensor for name, tensor in state.items()}, open_base(base), "1GB").write(
        folder
    )
    tensors = {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}
    return json.loads((folder / "config.json").read_text()), tensors


def test_a_grown_vocabulary_is_in_the_config(base: Path, tmp_path: Path) -> None:
    rows = torch.arange((VOCABULARY + 2) * HIDDEN, dtype=torch.float32).reshape(-1, HIDDEN)
    config, tensors = written(base, tmp_path / "out", {EMBEDDING: rows})
    assert config["vocab_size"] == VOCABULARY + 2 and torch.equal(tensors[EMBEDDING], rows)
    assert set(tensors) == set(open_base(base).tensors.shapes)


@pytest.mark.parametrize(
    ("given", "dtype"),
    [({"dtype": "torch.bfloat16"}, "bfloat16"), ({"dtype": None, "torch_dtype": "float16"}, "float16"), ({}, "float32")],
)
def test_weights_have_the_dtype_of_the_bases_config(base: Path, tmp_path: Path, given: dict, dtype: str) -> None:
    changed = with_config(base, tmp_path, **given)
    config, tensors = written(changed, tmp_path / "out", {NORM: torch.ones(HIDDEN)})
    assert config["torch_dtype" if "torch_dtype" in given else "dtype"] == dtype
    assert {tensor.dtype for tensor in tensors.values()} == {getattr(torch, dtype)}


@pytest.mark.parametrize("dtype", ["auto", "nn", "int8"])
def test_a_dtype_that_is_none_of_weights(base: Path, tmp_path: Path, dtype: str) -> None:
    changed = with_config(base, tmp_path, dtype=dtype)
    assert fault_of(changed, {NORM: torch.ones(HIDDEN)}) == [
        f"{changed / 'config.json'}: the dtype {dtype!r} is no dtype of weights; expected bfloat16, float16 or float32"
    ]


def with_config(base: Path, tmp_path: Path, **change: Any) -> Path:
    """Copy a base, with another dtype in its config (without: none)."""
    folder = shutil.copytree(base, tmp_path / "changed")
    config = json.loads((folder / "config.json").read_text())
    kept = {key: value for key, value in config.items() if key not in ("dtype", "torch_dtype")}
    (folder / "config.json").write_text(json.dumps({**kept, **change}))
    return folder


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "config.json: expected an object with a model's settings, got list"),
        ("{", "config.json: is no valid JSON: "),
        ("[" * 100_000, "config.json: is no valid JSON: "),
        (
            '{"quantization_config": {"quant_method": "gptq"}}',
            ": its weights are quantised (gptq); use the original model instead",
        ),
        ('{"quantization_config": {"bits": 4}}', ": its weights are quantised (some method); use the original"),
        ('{"quantization_config": "awq"}', ": its weights are quantised (awq); use the original model instead"),
    ],
)
def test_a_config_that_is_none_of_a_plain_model(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CheckpointError) as error:
        open_base(tmp_path)
    assert str(error.value).startswith(str(tmp_path)) and words in str(error.value)


def test_a_quantization_config_of_null_is_none(base: Path, tmp_path: Path) -> None:
    assert open_base(with_config(base, tmp_path, quantization_config=None)).structure.embedding == "model.embed_tokens"
