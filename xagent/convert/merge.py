"""Merge a LoRA adapter into its base, tensor by tensor: memory does not grow with the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from xagent.convert.adapter import Adapter, open_adapter
from xagent.convert.base_model import BaseModel, open_base, write_config
from xagent.convert.companions import copy_model_files, copy_tokenizer, tokenizer_size, write_model_card
from xagent.convert.merge_check import Verification, verify_merge
from xagent.convert.merge_plan import MergePlan, plan_merge
from xagent.convert.output import check_output, fresh_directory
from xagent.convert.shards import ShardPlan, plan_shards, write_shards
from xagent.errors import CheckpointError, ConfigError
from xagent.model.provenance import check_base

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
Onto = Literal["base", "nf4"]
_FILES_BESIDE = 64 << 20  # room for tokenizer and the like


@dataclass(frozen=True)
class MergeReport:
    """What was merged.

    Attributes:
        out: the merged model's directory.
        onto: whether the adapter went onto the base's own weights or onto what NF4 made of them.
        dtype: of the merged weights.
        tensors, changed: number of tensors in all, and of those that the adapter changed.
        shards, bytes: number of weight files and their size.
        tied: whether the merged model's output head is its input embedding.
        verification: how near the merged model is to base + adapter.
    """

    out: str
    onto: str
    dtype: str
    tensors: int
    changed: int
    shards: int
    bytes: int
    tied: bool
    verification: Verification

    def to_dict(self) -> dict[str, Any]:
        """Give the report as plain values."""
        return asdict(self)

    def __str__(self) -> str:
        files = "1 file" if self.shards == 1 else f"{self.shards} files"
        onto = "the base's weights" if self.onto == "base" else "the dequantised NF4 weights"
        size = f"{self.bytes / 1e6:,.1f} MB {self.dtype} in {files}"
        head = f"merged onto {onto}: {self.changed} of {self.tensors} tensors changed, {size}"
        return "\n".join([head, *self.verification.lines()])


def merge(
    base: str | Path,
    adapter: Path | str,
    out: Path | str,
    *,
    max_shard_size: str | int = "2GB",
    device: str = "auto",
    onto: Onto = "base",
    dtype: str = "bfloat16",
    verify: bool = True,
) -> MergeReport:
    """Merge a LoRA adapter into a base model and write the result as a plain Hugging Face model.

    Args:
        base: the base model: a directory, ``xagent:...``, or a name in Hugging Face's local cache.
        adapter: the adapter's directory, as `pth_to_hf` writes it.
        out: where the model goes; must not exist or be empty.
        max_shard_size: largest weight file, in decimal units (``500MB``, ``2GB``).
        device: where products and the comparison are computed: ``cpu``, ``cuda``, or ``auto`` (a GPU if there is one).
        onto: ``base`` merges into the base's own weights; ``nf4`` into what NF4 made of them in QLoRA training, so that
            the merged model is the one that was trained.
        dtype: of the merged weights: ``bfloat16``, ``float16`` or ``float32``. Products are computed in fp32.
        verify: compare the logits of a probe batch with those of base + adapter. Skipped, with the reason in the
            report, where memory does not suffice.

    Returns:
        What was merged, and the measured differences.

    Raises:
        CheckpointError: base or adapter are missing, damaged or do not belong together, or the result fails the
            comparison. Nothing is left at `out`.
        OutputError: `out` is not empty, or the disk is too small; found before anything is written.
        ConfigError: an argument has no meaning.
    """
    target, compute = _check_arguments(onto, dtype, device)
    opened_base, opened_adapter = open_base(base), open_adapter(Path(adapter))
    _check_belonging(opened_base, opened_adapter, onto)
    training_dtype = _training_dtype(opened_base, opened_adapter, target)
    rows = max(opened_adapter.provenance.vocab_size or 0, tokenizer_size(opened_adapter.folder))
    plan = plan_merge(opened_base, opened_adapter, target, training_dtype, onto_nf4=onto == "nf4", vocab_size=rows)
    shards = plan_shards(plan.shapes, max_shard_size)
    out = Path(out)
    needed = shards.bytes + _FILES_BESIDE
    check_output(out, needed_bytes=needed)
    with fresh_directory(out, needed_bytes=needed) as temporary:
        write_shards(temporary, shards, lambda name: plan.rows_of(name, compute))
        write_config(temporary, opened_base, dtype, tied=plan.tied, vocab_size=plan.vocab_size)
        copy_model_files(opened_base.folder, temporary)
        copy_tokenizer(opened_adapter.folder, temporary) or copy_tokenizer(opened_base.folder, temporary)
        checked = verify_merge(temporary, plan, target, compute, onto) if verify else Verification(skipped="not asked for")
        report = _report(out, plan, shards, onto, dtype, checked)
        _describe(temporary, out, plan, report)
    return report


def _check_arguments(onto: str, dtype: str, device: str) -> tuple[torch.dtype, torch.device]:
    faults = []
    if onto not in ("base", "nf4"):
        faults.append(f"onto must be 'base' or 'nf4', got {onto!r}")
    if dtype not in DTYPES:
        faults.append(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    if device not in ("auto", "cpu") and not device.startswith("cuda"):
        faults.append(f"device must be 'auto', 'cpu' or 'cuda', got {device!r}")
    if device.startswith("cuda") and not torch.cuda.is_available():
        faults.append(f"device is {device!r}, but there is no usable GPU here; use 'cpu'")
    if faults:
        raise ConfigError(faults)
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    return DTYPES[dtype], torch.device(chosen)


def _training_dtype(base: BaseModel, adapter: Adapter, default: torch.dtype) -> torch.dtype:
    """Give the dtype that the base's weights had in training: as recorded, else the one they are stored in."""
    return DTYPES.get(str(adapter.provenance.dtype or base.dtype), default)


def _check_belonging(base: BaseModel, adapter: Adapter, onto: str) -> None:
    known = adapter.provenance
    check_base(known, adapter.folder, base.folder)
    if onto == "nf4" and known.quantization != "nf4":
        raise CheckpointError(
            f"{adapter.folder}: nothing says that it was trained on an NF4 base (xagent.json: quantization), so merging onto "
            "NF4 would give another model than the trained one; use onto='base' (--onto base)"
        )


def _report(out: Path, plan: MergePlan, shards: ShardPlan, onto: str, dtype: str, checked: Verification) -> MergeReport:
    changed = sum(part.change is not None for part in plan.parts.values())
    return MergeReport(str(out), onto, dtype, len(plan.parts), changed, len(shards.files), shards.bytes, plan.tied, checked)


def _describe(folder: Path, out: Path, plan: MergePlan, report: MergeReport) -> None:
    known = plan.adapter.provenance
    base_name = known.base_model or plan.adapter.config.get("base_model_name_or_path") or str(plan.base.folder)
    provenance = replace(known, base_model=base_name, merged_onto=report.onto)
    provenance.write(folder)
    text = (
        "A base model with a LoRA adapter merged into its weights. Load it like any model:\n\n```python\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        f'model = AutoModelForCausalLM.from_pretrained("{out.name}", dtype="auto")\n'
        f'tokenizer = AutoTokenizer.from_pretrained("{out.name}")\n```'
    )
    write_model_card(folder, out.name, text, provenance, _facts(plan, report), "transformers")


def _facts(plan: MergePlan, report: MergeReport) -> Mapping[str, Any]:
    config, checked = plan.adapter.config, report.verification
    onto = "the base's own weights" if report.onto == "base" else "the NF4 weights of training, dequantised"
    return {
        "LoRA": f"r {config.get('r')}, alpha {config.get('lora_alpha')}",
        "merged onto": onto,
        "dtype": report.dtype,
        "logits against base + adapter": checked.merged or f"not compared: {checked.skipped}",
        "logits against the model as trained (NF4 base + adapter)": checked.from_trained,
    }
