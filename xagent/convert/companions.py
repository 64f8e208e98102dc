"""The files beside the weights: tokenizer, chat template, generation config, licence, model card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xagent.model.provenance import Provenance

TOKENIZER_PATTERNS = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "*.tiktoken",
    "spiece.model",
    "sentencepiece*.model",
    "tokenization_*.py",
    "chat_template.jinja",
    "chat_template.json",
    "additional_chat_templates/*.jinja",
)
MODEL_PATTERNS = ("generation_config.json", "configuration_*.py", "modeling_*.py", "LICENSE*", "NOTICE*", "USE_POLICY*")


def copy_tokenizer(source: Path, target: Path) -> bool:
    """Copy a tokenizer with its chat template; say whether there was one."""
    return bool(_copy(source, target, TOKENIZER_PATTERNS))


def tokenizer_size(folder: Path) -> int:
    """Give the number of ids that ``tokenizer.json`` uses (highest id + 1); 0 if there is none to read."""
    try:
        stored = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        vocabulary = stored["model"]["vocab"]
        ids = list(vocabulary.values()) if isinstance(vocabulary, dict) else list(range(len(vocabulary)))
        ids += [token["id"] for token in stored.get("added_tokens", [])]
    except (OSError, ValueError, KeyError, TypeError):
        return 0
    return max(ids, default=-1) + 1


def copy_model_files(source: Path, target: Path) -> None:
    """Copy what belongs to a model beside config, weights and tokenizer: generation config, code, licence."""
    _copy(source, target, MODEL_PATTERNS)


def write_model_card(folder: Path, title: str, text: str, provenance: Provenance, facts: Mapping[str, Any], library: str) -> None:
    """Write README.md with the metadata of Hugging Face's model cards (https://huggingface.co/docs/hub/model-cards).

    Args:
        folder: where it goes.
        title: the headline.
        text: what this is and how to use it, in Markdown.
        provenance: names base model, template and protocol.
        facts: rows for the table; None is left out.
        library: ``peft`` or ``transformers``.
    """
    base = provenance.base_model or "unknown"
    metadata = [
        f"library_name: {library}",
        f"base_model: {_yaml(base)}",
        "pipeline_tag: text-generation",
        "tags: [xagent, tool-use]",
    ]
    rows = {
        "base model": base,
        "base fingerprint": provenance.base_fingerprint,
        "chat template": provenance.template["name"] if isinstance(provenance.template, Mapping) else provenance.template,
        "tool protocol": provenance.protocol,
        "checkpoint iteration": provenance.iter,
        "base during training": _training_base(provenance),
        **facts,
        "made by": f"xagent {provenance.xagent_version}",
    }
    table = [f"| {key} | {value} |" for key, value in rows.items() if value is not None]
    lines = ["---", *metadata, "---", "", f"# {title}", "", text.strip(), "", "| | |", "| --- | --- |", *table, ""]
    (folder / "README.md").write_text("\n".join(lines), encoding="utf-8")


def _training_base(provenance: Provenance) -> str | None:
    if provenance.quantization is None:
        return provenance.dtype
    double = " with double quantisation" if provenance.double_quantization else ""
    return f"{provenance.quantization.upper()}{double}, from {provenance.dtype or 'unknown dtype'}"


def _copy(source: Path, target: Path, patterns: tuple[str, ...]) -> list[Path]:
    copied = []
    for pattern in patterns:
        for path in sorted(source.glob(pattern)):
            if path.is_file():
                place = target / path.relative_to(source)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, place)  # follows links: Hugging Face's cache is made of them
                copied.append(place)
    return copied


def _yaml(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
