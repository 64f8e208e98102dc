"""A PEFT LoRA adapter on disk: its config, and for each tensor of the base what becomes of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from xagent.convert.adapter_names import base_name, is_frozen_copy, of_module
from xagent.convert.tensors import TensorReader
from xagent.errors import CheckpointError
from xagent.model.fingerprint import read_header
from xagent.model.provenance import Provenance, read_provenance

CONFIG_NAME = "adapter_config.json"
WEIGHTS_NAME = "adapter_model.safetensors"

# What changes more than W + scaling * B A, and how a user would call it.
_NOT_MERGED = {
    "use_dora": "DoRA (its magnitudes rescale the base's weights)",
    "lora_bias": "LoRA biases",
    "trainable_token_indices": "trainable tokens",
    "target_parameters": "LoRA on bare parameters",
    "layer_replication": "replicated layers",
    "use_qalora": "QALoRA",
    "alora_invocation_tokens": "activated LoRA",
    "use_bdlora": "block-diagonal LoRA",
}


@dataclass(frozen=True)
class Change:
    """What becomes of one tensor of the base: ``replacement or base``, plus ``scaling * B @ A``.

    Attributes:
        a, b: names of the low-rank factors in the adapter's file.
        embedding: the factors are an embedding's: A is (rank, vocabulary), B is (hidden size, rank).
        replacement: name of a tensor in the adapter's file that stands for the base's.
    """

    scaling: float = 1.0
    a: str | None = None
    b: str | None = None
    embedding: bool = False
    replacement: str | None = None


@dataclass(frozen=True)
class Adapter:
    """An adapter directory, opened. `changes` maps names of the base's tensors."""

    folder: Path
    config: dict[str, Any]
    provenance: Provenance
    tensors: TensorReader
    changes: Mapping[str, Change]


def open_adapter(folder: Path) -> Adapter:
    """Open a LoRA adapter; reads headers only.

    Raises:
        CheckpointError: it is not there or incomplete, is of another kind than LoRA, or uses a variant that is more
            than a sum of weights (DoRA, ...).
    """
    config = _read_config(folder)
    path = folder / WEIGHTS_NAME
    if not path.is_file():
        hint = "; convert adapter_model.bin to safetensors first" if (folder / "adapter_model.bin").is_file() else ""
        raise CheckpointError(f"{folder}: has no {WEIGHTS_NAME}{hint}")
    tensors = TensorReader(read_header(path))
    return Adapter(folder, config, read_provenance(folder), tensors, _changes(path, config, tensors))


def scaling_of(config: Mapping[str, Any], module: str, rank: int) -> float:
    """Give the factor of ``B @ A`` for a module: alpha / rank, or alpha / sqrt(rank) with rsLoRA; patterns win."""
    alpha = of_module(config.get("alpha_pattern"), module, config["lora_alpha"])
    return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)


class LowRank:
    """``scaling * B @ A`` for any rows of a base tensor, in fp32; the factors are in memory while this lives."""

    def __init__(self, tensors: TensorReader, change: Change, transposed: bool, device: torch.device) -> None:
        assert change.a is not None and change.b is not None
        a, b = (tensors.read(name).to(device, torch.float32) for name in (change.a, change.b))
        self.left, self.right = (a.T, b.T) if transposed or change.embedding else (b, a)
        self.scaling = change.scaling

    def rows(self, start: int, stop: int) -> torch.Tensor:
        """Give rows `start` to `stop` of the product."""
        return self.scaling * (self.left[start:stop] @ self.right)


def is_transposed(change: Change, tensors: TensorReader, shape: tuple[int, ...], fan_in_fan_out: bool) -> bool | None:
    """Say whether the base keeps this weight as (in, out); None if the factors fit in neither way."""
    assert change.a is not None and change.b is not None
    (rank, fan_in), (fan_out, other_rank) = tensors.shapes[change.a].shape, tensors.shapes[change.b].shape
    if rank != other_rank:
        return None
    straight = (fan_in, fan_out) if change.embedding else (fan_out, fan_in)
    if shape == straight == straight[::-1]:
        return fan_in_fan_out and not change.embedding
    if shape == straight:
        return False
    return True if shape == straight[::-1] and not change.embedding else None


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG_NAME
    if not path.is_file():
        what = "is no adapter" if folder.is_dir() else "no such adapter"
        raise CheckpointError(f"{folder}: {what}: expected a directory with {CONFIG_NAME}, as `convert pth_to_hf` writes it")
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        kind, _ = config["peft_type"], config["lora_alpha"] if config["peft_type"] == "LORA" else None
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: is no config of a PEFT adapter: {error!r}") from error
    if kind != "LORA":
        raise CheckpointError(f"{path}: is a {kind} adapter; only LoRA can be merged here")
    used = [text for key, text in _NOT_MERGED.items() if config.get(key)]
    if used:
        raise CheckpointError(f"{path}: uses {' and '.join(used)}, which can't be merged into weights; keep the adapter apart")
    return config


def _changes(path: Path, config: Mapping[str, Any], tensors: TensorReader) -> dict[str, Change]:
    parts: dict[str, dict[str, str]] = {}
    for name in (name for name in tensors.shapes if not is_frozen_copy(name)):
        found = base_name(name)
        if found is None:
            raise CheckpointError(f"{path}: tensor {name} is of a kind that can't be merged into weights")
        parts.setdefault(found.tensor, {})[found.part] = name
    return {tensor: _change(path, config, tensor, found, tensors) for tensor, found in parts.items()}


def _change(path: Path, config: Mapping[str, Any], tensor: str, parts: Mapping[str, str], tensors: TensorReader) -> Change:
    embedding = "embedding_A" in parts or "embedding_B" in parts
    a, b = (parts.get(f"embedding_{side}" if embedding else side) for side in "AB")
    if a is None and b is None:
        return Change(replacement=parts["replacement"])
    if a is None or b is None:
        raise CheckpointError(f"{path}: has only one of the two LoRA factors of {tensor}")
    rank = tensors.shapes[a].shape[0]
    return Change(scaling_of(config, tensor.removesuffix(".weight"), rank), a, b, embedding, parts.get("replacement"))
