"""A base model as the converters see it: its files, its config, and the names of its layers, without its weights."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from xagent.assets import resolve as resolve_asset
from xagent.convert.tensors import TensorReader
from xagent.errors import CheckpointError

ASSET_PREFIX = "xagent:"


@dataclass(frozen=True)
class Structure:
    """Names of modules.

    Attributes:
        embedding: the input embedding.
        head: the output head.
        linears: each linear layer that bitsandbytes would quantise -> whether its weight is stored transposed (Conv1D).
    """

    embedding: str
    head: str
    linears: dict[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class BaseModel:
    """A base model's directory, opened."""

    folder: Path
    config: dict[str, Any]
    tensors: TensorReader
    structure: Structure

    @property
    def tied(self) -> bool:
        """Whether the output head is the input embedding."""
        head_absent = f"{self.structure.head}.weight" not in self.tensors.shapes
        return head_absent or bool(self.config.get("tie_word_embeddings", False))

    @property
    def dtype(self) -> str | None:
        """Name of the dtype that the config gives the weights; None where it gives none."""
        named = self.config.get("dtype") or self.config.get("torch_dtype")
        return None if named is None else str(named).removeprefix("torch.")


def find_model(name: str | Path) -> Path:
    """Turn a model's name into its local directory: a path, ``xagent:...``, or a name in Hugging Face's local cache.

    Raises:
        CheckpointError: nothing of that name is on this machine.
    """
    if str(name).startswith(ASSET_PREFIX):
        return resolve_asset(str(name))
    folder = Path(name)
    if folder.is_dir():
        return folder
    cached = _find_in_cache(str(name))
    if cached is None:
        raise CheckpointError(f"{name}: no such model directory; give the path of a local model, or download it first")
    return cached


def open_base(name: str | Path) -> BaseModel:
    """Open a base model; reads headers only.

    Raises:
        CheckpointError: it is not there, has no config or no safetensors weights, or is quantised already.
    """
    folder = find_model(name)
    config = read_config(folder)
    if quantization := config.get("quantization_config"):
        method = quantization.get("quant_method", "some method") if isinstance(quantization, dict) else quantization
        raise CheckpointError(f"{folder}: its weights are quantised ({method}); use the original model instead")
    return BaseModel(folder, config, TensorReader.open_model(folder), read_structure(folder))


def read_config(folder: Path) -> dict[str, Any]:
    """Read a model's config.json.

    Raises:
        CheckpointError: it is missing, no JSON, or no object.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(f"{folder}: is no model directory, it has no config.json")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: is no valid JSON: {error}") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path}: expected an object with a model's settings, got {type(config).__name__}")
    return config


def write_config(folder: Path, base: BaseModel, dtype: str, *, tied: bool, vocab_size: int) -> None:
    """Write the config.json of a model made from `base`: the base's, with what is different now."""
    config = {key: value for key, value in base.config.items() if key not in ("dtype", "torch_dtype")}
    config["torch_dtype" if "torch_dtype" in base.config else "dtype"] = dtype
    if tied != base.tied:
        config["tie_word_embeddings"] = tied
    if vocab_size != base.tensors.shapes[f"{base.structure.embedding}.weight"].shape[0]:
        config["vocab_size"] = vocab_size
    (folder / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_structure(folder: Path) -> Structure:
    """Name the layers of a model, from its class built without memory; from its tensors' names if the class is unknown.

    Models whose code comes with them are not run: for those, the matrices inside numbered blocks count as linear.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except (ValueError, KeyError, OSError, ImportError, AttributeError, TypeError):
        return _structure_from_names(TensorReader.open_model(folder))
    return _structure_of(model)


def _structure_of(model: Any) -> Structure:
    from transformers.pytorch_utils import Conv1D

    names = {id(module): name for name, module in model.named_modules()}
    head = model.get_output_embeddings()
    linears = {
        name: isinstance(module, Conv1D)
        for name, module in model.named_modules()
        if type(module) in (torch.nn.Linear, Conv1D) and module is not head
    }
    return Structure(names[id(model.get_input_embeddings())], names.get(id(head), "lm_head"), linears)


def _structure_from_names(tensors: TensorReader) -> Structure:
    outside = [name.removesuffix(".weight") for name, shape in tensors.shapes.items() if len(shape.shape) == 2]
    inside = {name for name in outside if re.search(r"\.\d+\.", name)}
    embedding = next((name for name in outside if re.search(r"emb|wte", name.rpartition(".")[2])), "model.embed_tokens")
    head = next((name for name in outside if name not in inside and name != embedding), "lm_head")
    return Structure(embedding, head, dict.fromkeys(sorted(inside), False))


def _find_in_cache(name: str) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError, OSError):
        return None
