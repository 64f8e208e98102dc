"""A checkpoint of training -> a PEFT adapter, or a full Hugging Face model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from xagent.config import load_config
from xagent.convert.base_model import find_model, open_base
from xagent.convert.companions import copy_tokenizer, write_model_card
from xagent.convert.config_check import base_of, check_same_config, training_facts
from xagent.convert.full_model import plan_full_model
from xagent.convert.output import check_output, fresh_directory
from xagent.convert.trained_adapter import write_adapter
from xagent.errors import CheckpointError, XAgentError
from xagent.model.checkpoint import read_trained_state
from xagent.model.provenance import Provenance

_FILES_BESIDE = 64 << 20  # room for tokenizer and the like


def pth_to_hf(
    config: str | Path | Mapping[str, Any],
    checkpoint: Path | str,
    out: Path | str,
    *,
    overwrite: bool = False,
    max_shard_size: str | int = "2GB",
) -> None:
    """Turn a checkpoint into what Hugging Face's libraries load: a PEFT adapter, or a full model.

    An adapter needs neither a GPU nor the base's weights. Tokenizer and chat template are laid beside it if the
    tokenizer's directory is on this machine; ``xagent.json`` says what it came from.

    Args:
        config: the config of the training: path, bundled name, or the loaded config.
        checkpoint: ``iter_N.pth``, a plain file or a DeepSpeed directory (ZeRO-1, -2, -3).
        out: where the result goes; must not exist or be empty.
        overwrite: replace what is at `out`.
        max_shard_size: largest weight file of a full model.

    Raises:
        CheckpointError: the checkpoint is damaged, comes from another config, or does not fit its base.
        OutputError: `out` is not empty or can't be written.
        ConfigError: there is no such config.
    """
    checkpoint, out = Path(checkpoint), Path(out)
    name = config if isinstance(config, (str, Path)) else getattr(config, "filename", None) or "the config"
    loaded: Mapping[str, Any] = load_config(config) if isinstance(config, (str, Path)) else config
    check_output(out, overwrite=overwrite)
    state, meta = read_trained_state(checkpoint)
    _check_meta(checkpoint, meta)
    check_same_config(checkpoint, str(name), loaded, meta)
    base = str(meta.get("base_model") or base_of(loaded) or "") or None
    provenance = Provenance.from_mapping({**meta, "base_model": base, **training_facts(loaded, meta)})
    if meta["kind_of_training"] == "lora":
        _convert_adapter(checkpoint, state, meta, provenance, out, overwrite)
    else:
        _convert_full(checkpoint, state, meta, provenance, out, overwrite, max_shard_size)


def _check_meta(checkpoint: Path, meta: Mapping[str, Any]) -> None:
    kind = meta.get("kind_of_training")
    if kind not in ("lora", "full"):
        raise CheckpointError(f"{checkpoint}: its meta names no kind of training (expected 'lora' or 'full', got {kind!r})")
    if kind == "lora" and not isinstance(meta.get("adapter_config"), Mapping):
        raise CheckpointError(f"{checkpoint}: its meta holds no adapter_config, though it is of LoRA training")


def _convert_adapter(
    checkpoint: Path,
    state: Mapping[str, torch.Tensor],
    meta: Mapping[str, Any],
    provenance: Provenance,
    out: Path,
    overwrite: bool,
) -> None:
    size = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    with fresh_directory(out, needed_bytes=size + _FILES_BESIDE, overwrite=overwrite) as folder:
        write_adapter(folder, checkpoint, state, meta["adapter_config"], provenance.base_model)
        has_tokenizer = _copy_tokenizer(meta, provenance, folder)
        provenance.write(folder)
        text = (
            f"A LoRA adapter for {provenance.base_model}. Merge it with `xagent convert merge BASE {out.name} OUT`, or load it:"
            "\n\n```python\nfrom peft import PeftModel\nfrom transformers import AutoModelForCausalLM\n\n"
            f'base = AutoModelForCausalLM.from_pretrained("{provenance.base_model}", dtype="auto")\n'
            f'model = PeftModel.from_pretrained(base, "{out.name}")\n```'
        )
        rank, alpha = (meta["adapter_config"].get(key) for key in ("r", "lora_alpha"))
        facts = {"LoRA": f"r {rank}, alpha {alpha}", "tokenizer": None if has_tokenizer else "not included"}
        write_model_card(folder, out.name, text, provenance, facts, "peft")


def _convert_full(
    checkpoint: Path,
    state: Mapping[str, torch.Tensor],
    meta: Mapping[str, Any],
    provenance: Provenance,
    out: Path,
    overwrite: bool,
    max_shard_size: str | int,
) -> None:
    if provenance.base_model is None:
        raise CheckpointError(f"{checkpoint}: names no base model; a full model needs the base's config.json")
    model = plan_full_model(checkpoint, state, open_base(provenance.base_model), max_shard_size)
    with fresh_directory(out, needed_bytes=model.plan.bytes + _FILES_BESIDE, overwrite=overwrite) as folder:
        model.write(folder)
        _copy_tokenizer(meta, provenance, folder)
        provenance.write(folder)
        text = f"{provenance.base_model}, fine-tuned in all its weights. Load it like any model of transformers."
        write_model_card(folder, out.name, text, provenance, {"dtype": model.dtype}, "transformers")


def _copy_tokenizer(meta: Mapping[str, Any], provenance: Provenance, folder: Path) -> bool:
    for source in (meta.get("tokenizer"), provenance.base_model):
        try:
            if source and copy_tokenizer(find_model(str(source)), folder):
                return True
        except XAgentError:  # not on this machine: the adapter is usable without it
            continue
    return False
