"""A trained adapter's tensors: named as PEFT names them, and checked against the adapter's config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from xagent.convert.adapter import WEIGHTS_NAME
from xagent.convert.adapter_names import PEFT_PREFIX, base_name, of_module, peft_name
from xagent.errors import CheckpointError


def write_adapter(
    folder: Path, checkpoint: Path, state: Mapping[str, torch.Tensor], adapter_config: Mapping[str, Any], base: str | None
) -> None:
    """Write ``adapter_model.safetensors`` and ``adapter_config.json``, as PEFT's ``save_pretrained`` does.

    Args:
        folder: where they go.
        checkpoint: where the state comes from, for messages.
        state: trained tensors under the names of `SupervisedFinetune`.
        adapter_config: the LoraConfig as plain values.
        base: name or path of the base model, noted in the config.

    Raises:
        CheckpointError: tensors and config do not fit together.
    """
    config = _lora_config(checkpoint, adapter_config)
    tensors = {peft_name(name): tensor for name, tensor in state.items()}
    check_adapter_tensors(checkpoint, tensors, config)
    config.base_model_name_or_path = base
    config.inference_mode = True
    config.save_pretrained(str(folder))
    whole = {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in sorted(tensors.items())}
    save_file(whole, folder / WEIGHTS_NAME, metadata={"format": "pt"})


def check_adapter_tensors(checkpoint: Path, tensors: Mapping[str, torch.Tensor], config: Any) -> None:
    """Prove that tensors are those of a LoRA adapter with this config: ranks, pairs, modules.

    Raises:
        CheckpointError: names what does not fit, up to ten faults at once.
    """
    faults = []
    modules: dict[str, set[str]] = {}
    for name, tensor in tensors.items():
        place = base_name(name)
        if not name.startswith(PEFT_PREFIX):
            faults.append(f"tensor {name} is not an adapter's")
        elif place is not None and place.part != "replacement":
            module = place.tensor.removesuffix(".weight")
            modules.setdefault(module, set()).add(place.part[-1])
            rank, found = _rank(config, module), tensor.shape[0 if place.part.endswith("A") else 1]
            if found != rank:
                faults.append(f"{name}: rank {found} (shape {tuple(tensor.shape)}), the config says r {rank}")
    faults += [f"{module}: only one of the two LoRA factors is there" for module, sides in modules.items() if len(sides) < 2]
    faults += _missing_targets(config, set(modules))
    if not modules and not config.modules_to_save:
        faults.append("it holds no LoRA tensors")
    if faults:
        lines = [*faults[:10], *([f"and {len(faults) - 10} more"] if len(faults) > 10 else [])]
        raise CheckpointError(f"{checkpoint}: tensors and adapter config do not fit together:\n  " + "\n  ".join(lines))


def _missing_targets(config: Any, modules: set[str]) -> list[str]:
    if not isinstance(config.target_modules, (set, list, tuple)):
        return []
    there = sorted(target for target in config.target_modules if not any(_matches(module, target) for module in modules))
    return [f"target module {target} has no tensors" for target in there]


def _matches(module: str, target: str) -> bool:
    return module == target or module.endswith(f".{target}")


def _rank(config: Any, module: str) -> int:
    return int(of_module(config.rank_pattern, module, config.r))


def _lora_config(checkpoint: Path, values: Mapping[str, Any]) -> Any:
    from peft import LoraConfig

    known = {field.name for field in fields(LoraConfig) if field.init}
    ignored = {"peft_type", "auto_mapping", "peft_version"}
    unknown = sorted(set(values) - known - ignored)
    if unknown:
        raise CheckpointError(
            f"{checkpoint}: its adapter config has keys unknown to this PEFT: {', '.join(unknown)}; update peft"
        )
    return LoraConfig(**{key: value for key, value in values.items() if key in known - ignored})
