"""A fully fine-tuned model as a Hugging Face directory: trained tensors, and the base's where they were not trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from xagent.convert.adapter_names import TRAINING_PREFIX
from xagent.convert.base_model import BaseModel, write_config
from xagent.convert.companions import copy_model_files
from xagent.convert.shards import ShardPlan, plan_shards, write_shards
from xagent.convert.tensors import TensorShape
from xagent.errors import CheckpointError


@dataclass(frozen=True)
class FullModel:
    """What a full fine-tune becomes on disk.

    Attributes:
        base: the base, for config and untrained tensors.
        trained: trained tensors under the base's names.
        plan: files, shapes and dtypes.
        dtype: name of the dtype of the weights: the base's.
    """

    base: BaseModel
    trained: Mapping[str, torch.Tensor]
    plan: ShardPlan
    dtype: str

    def write(self, folder: Path) -> None:
        """Write weights, config, generation config and licence."""
        write_shards(folder, self.plan, self._rows_of)
        rows = self.plan.shapes[f"{self.base.structure.embedding}.weight"].shape[0]
        write_config(folder, self.base, self.dtype, tied=self.base.tied, vocab_size=rows)
        copy_model_files(self.base.folder, folder)

    def _rows_of(self, name: str) -> Iterator[torch.Tensor]:
        dtype = self.plan.shapes[name].dtype
        pieces = iter([self.trained[name]]) if name in self.trained else self.base.tensors.read_rows(name)
        for piece in pieces:
            yield piece.to(dtype)


def plan_full_model(checkpoint: Path, state: Mapping[str, torch.Tensor], base: BaseModel, max_shard_size: str | int) -> FullModel:
    """Pair trained tensors with the base's.

    Raises:
        CheckpointError: there are tensors that the base does not have, or of another shape; the base's config names an unknown
            dtype.
    """
    trained = {name.removeprefix(TRAINING_PREFIX): tensor for name, tensor in state.items()}
    head = f"{base.structure.head}.weight"
    if base.tied and head not in base.tensors.shapes:
        trained.pop(head, None)
    faults = [fault for name, tensor in trained.items() if (fault := _fault(name, tuple(tensor.shape), base))]
    if faults or not trained:
        more = f"\n  and {len(faults) - 10} more" if len(faults) > 10 else ""
        what = "\n  ".join(faults[:10]) + more if faults else "it holds no trained tensors"
        raise CheckpointError(f"{checkpoint}: does not fit the base {base.folder}:\n  {what}")
    name_of_dtype = base.dtype or "float32"
    dtype = _dtype(name_of_dtype, base)
    shapes = {}
    for name, old in base.tensors.shapes.items():
        shape = tuple(trained[name].shape) if name in trained else old.shape
        shapes[name] = TensorShape(shape, dtype if old.dtype.is_floating_point else old.dtype)
    return FullModel(base, trained, plan_shards(shapes, max_shard_size), name_of_dtype)


def _dtype(name: str, base: BaseModel) -> torch.dtype:
    found = getattr(torch, name, None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise CheckpointError(
            f"{base.folder / 'config.json'}: the dtype {name!r} is no dtype of weights; expected bfloat16, float16 or float32"
        )
    return found


def _fault(name: str, shape: tuple[int, ...], base: BaseModel) -> str | None:
    if name not in base.tensors.shapes:
        return f"{name}: the base has no such tensor"
    expected = base.tensors.shapes[name].shape
    grows = name in (f"{base.structure.embedding}.weight", f"{base.structure.head}.weight")
    if shape == expected or (grows and shape[1:] == expected[1:] and shape[0] > expected[0]):
        return None
    return f"{name}: shape {shape}, the base has {expected}"
