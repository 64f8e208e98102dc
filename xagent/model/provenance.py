"""``xagent.json``: what a converted adapter or model came from, and how it wants to be talked to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from xagent import __version__
from xagent.errors import CheckpointError
from xagent.model.fingerprint import fingerprint_model

FILE_NAME = "xagent.json"


@dataclass(frozen=True)
class Provenance:
    """Where weights came from.

    Attributes:
        template: name of the chat template that training used; the fields of one that has no name here.
        protocol: name of the tool protocol that training used.
        base_model: name or path of the base model.
        base_fingerprint: the base's content, see `fingerprint_model`.
        iter: iteration of the checkpoint.
        quantization: ``"nf4"`` if the base was quantised during training, else None.
        double_quantization: whether the scales of the quantised base were quantised too.
        vocab_size: rows of the input embedding in training; more than the base has if the tokenizer had grown.
        dtype: dtype of the base's weights during training (before quantisation), such as ``"bfloat16"``.
        merged_onto: ``"base"`` or ``"nf4"`` in a merged model, else None.
    """

    template: str | Mapping[str, Any] | None = None
    protocol: str | None = None
    base_model: str | None = None
    base_fingerprint: str | None = None
    iter: int | None = None
    quantization: str | None = None
    double_quantization: bool = True
    vocab_size: int | None = None
    dtype: str | None = None
    merged_onto: str | None = None
    xagent_version: str = __version__

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Provenance:
        """Take what is known from a mapping; keys of other versions are ignored."""
        return cls(**{field.name: values[field.name] for field in fields(cls) if values.get(field.name) is not None})

    def write(self, folder: Path) -> None:
        """Write ``xagent.json`` into `folder`."""
        (folder / FILE_NAME).write_text(json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_provenance(folder: Path) -> Provenance:
    """Read ``xagent.json``; a folder without one tells nothing.

    Raises:
        CheckpointError: the file is no JSON object, or names template or protocol in no way that is known.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return Provenance()
    try:
        found = Provenance.from_mapping(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}: is no JSON object: {error}") from error
    if not isinstance(found.protocol, (str, type(None))):
        raise CheckpointError(f"{path}: 'protocol' must be a name, got {found.protocol!r:.200}")
    if not isinstance(found.template, (str, Mapping, type(None))):
        raise CheckpointError(f"{path}: 'template' must be a name or a template's fields, got {found.template!r:.200}")
    return found


def check_base(known: Provenance, adapter: Path, base: Path) -> None:
    """Check that an adapter was trained on this base, where its ``xagent.json`` says on which.

    Raises:
        CheckpointError: it was another one.
    """
    if known.base_fingerprint is not None and (found := fingerprint_model(base)) != known.base_fingerprint:
        raise CheckpointError(
            f"{adapter}: was trained on another base than {base}: on {known.base_model or 'an unnamed one'}, "
            f"fingerprint {_short(known.base_fingerprint)}; the one given has {_short(found)}"
        )


def _short(fingerprint: str) -> str:
    return fingerprint.removeprefix("sha256:")[:12]
