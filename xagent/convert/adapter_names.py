"""One tensor of an adapter has three names: in training, in PEFT's files, and in the base that it changes.

================================================================  ==========================================
training (`SupervisedFinetune`)                                   PEFT file
================================================================  ==========================================
``llm.base_model.model.<module>.lora_A.default.weight``           ``base_model.model.<module>.lora_A.weight``
``llm.base_model.model.<module>.lora_embedding_A.default``        ``base_model.model.<module>.lora_embedding_A``
``llm.base_model.model.<module>.modules_to_save.default.weight``  ``base_model.model.<module>.weight``
================================================================  ==========================================

In the base, the tensor is ``<module>.weight``. (PEFT 0.21, `get_peft_model_state_dict`.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

TRAINING_PREFIX = "llm."
PEFT_PREFIX = "base_model.model."
_ADAPTER = "default"
Part = Literal["A", "B", "embedding_A", "embedding_B", "replacement"]

_PARTS: dict[str, Part] = {
    "lora_A.weight": "A",
    "lora_B.weight": "B",
    "lora_embedding_A": "embedding_A",
    "lora_embedding_B": "embedding_B",
}


class BaseName(NamedTuple):
    """Which tensor of the base an adapter tensor is about, and in which part it plays."""

    tensor: str
    part: Part


def peft_name(training_name: str) -> str:
    """Turn a name in `SupervisedFinetune` into the one that PEFT's files use."""
    name = training_name.removeprefix(TRAINING_PREFIX)
    name = name.replace(f".modules_to_save.{_ADAPTER}.", ".")
    if not re.search(r"\.(lora_|token_adapter)", name):
        return name
    return re.sub(rf"(.*)\.{_ADAPTER}(?=\.|$)", r"\1", name)  # the last: a module of the base may have that name too


def base_name(name: str) -> BaseName | None:
    """Say what a tensor of a PEFT file changes; None if its kind can't be merged into weights (DoRA, biases of LoRA...)."""
    if not name.startswith(PEFT_PREFIX):
        return None
    name = name.removeprefix(PEFT_PREFIX)
    for ending, part in _PARTS.items():
        if name.endswith(f".{ending}"):
            return BaseName(f"{name.removesuffix(ending)}weight", part)
    if re.search(r"\.(lora_|token_adapter|trainable_tokens)", name):
        return None
    return BaseName(re.sub(r"\.(base_layer|modules_to_save)\.", ".", name), "replacement")


def is_frozen_copy(name: str) -> bool:
    """Say whether a tensor of a PEFT file is the untouched original that PEFT 0.21 saves beside a resized embedding."""
    return ".original_module." in name


def of_module(patterns: Mapping[str, Any] | None, module: str, default: Any) -> Any:
    """Give what an adapter's ``rank_pattern`` or ``alpha_pattern`` says of a module, by PEFT's own rule, else the default."""
    if not patterns:
        return default
    from peft.utils.other import get_pattern_key  # seconds, for what few adapters have

    return patterns.get(get_pattern_key(list(patterns), module), default)
