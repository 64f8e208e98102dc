"""Where the records to look at come from: a config's data sets, read as training reads them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xagent.assets import resolve
from xagent.chat.protocol import get_protocol
from xagent.chat.template import get_template
from xagent.data import formats
from xagent.data.dataset import Reading, choose_template, open_sources, process_hf_dataset
from xagent.data.encode import encode
from xagent.data.map_fn import recognise_table
from xagent.data.prepare import AnyTemplate, MapFn, RowEncoder
from xagent.data.source import load_dataset_from
from xagent.data.token_dataset import TokenDataset
from xagent.errors import ConfigError, DataError
from xagent.registry import build

if TYPE_CHECKING:
    from datasets import Dataset
    from mmengine.config import Config
    from transformers import PreTrainedTokenizerBase

UNLIMITED = 2**62
"""The max_length of samples that may have any."""

LOADERS = ("train_dataloader", "val_dataloader")


@dataclass(frozen=True)
class RecordSource:
    """A table of records and what turns them into token examples.

    Attributes:
        table: the records, in the data's order.
        encoder: as training has it; its tokenizer is None where none was given (then nothing is tokenised).
        format: the map function's name, or the recognised format's.
        why: how the format was chosen.
    """

    table: Dataset
    encoder: RowEncoder
    format: str
    why: str


def described_dataset(cfg: Config, key: str) -> Mapping[str, Any]:
    """Give a config's ``dict(type=process_hf_dataset, ...)``.

    Raises:
        ConfigError: there is none.
    """
    loader = cfg.get(key)
    dataset = loader.get("dataset") if isinstance(loader, Mapping) else None
    if not isinstance(dataset, Mapping) or "type" not in dataset or "tokenizer" not in dataset:
        raise ConfigError(f"the config needs {key}.dataset = dict(type=process_hf_dataset, tokenizer=..., ...)")
    return dataset


def built_dataset(described: Mapping[str, Any], key: str) -> TokenDataset:
    """Prepare a config's data set, or find it prepared.

    Raises:
        ConfigError: it is none that xagent prepares.
        DataError: the data can't be read, or nothing is left to learn.
    """
    dataset = build(described)
    if not isinstance(dataset, TokenDataset):
        raise ConfigError(f"{key}.dataset gives a {type(dataset).__name__}; only process_hf_dataset's data can be shown")
    return dataset


def record_sources(described: Mapping[str, Any], key: str) -> list[RecordSource]:
    """Open the records of a config's data set without preparing them.

    Raises:
        ConfigError: it is none that xagent prepares, or an option has an impossible value.
        DataError: the data can't be read.
    """
    if not has_records(described):
        built_dataset(described, key)  # names what it is
        raise ConfigError(
            f"{key}.dataset is prepared already and holds no records; look at the config that it was prepared from, or at its "
            "rows with: xagent log-dataset CONFIG --show masked_text"
        )
    dataset, tokenizer, max_length, datasets = (described.get(key) for key in ("dataset", "tokenizer", "max_length", "datasets"))
    opened = open_sources(dataset, tokenizer, max_length, datasets, Reading.described(described))
    return [RecordSource(one.table, one.encoder, *format_of(one.encoder.map_fn)) for one in opened]


def has_records(described: Mapping[str, Any]) -> bool:
    """Tell whether a config's data set is made from records; prepared shards hold tokens only."""
    return described["type"] is process_hf_dataset


def open_file(
    path: str | Path,
    format: str = "auto",
    protocol: str = "react",
    tokenizer: str | None = None,
    template: str | None = None,
    max_length: int | None = None,
) -> RecordSource:
    """Open a data file, or a folder of these, to be looked at.

    Args:
        path: what :func:`xagent.data.load_dataset_from` reads.
        format: a format's name, such as ``openai``; ``'auto'`` recognises it.
        protocol: how tools are shown and called.
        tokenizer: a model's or tokenizer's folder or hub id; None counts characters.
        template: the chat template. Default: the tokenizer's own where it has one, else ``'default'``.
        max_length: tokens that a sample may have. Default: any number.

    Raises:
        ConfigError: an unknown name, or a format that can't be recognised.
        DataError: the data can't be read.
    """
    get_protocol(protocol)
    table = load_dataset_from(path)
    map_fn, name, why = choose_format(format, table)
    loaded = _load_tokenizer(tokenizer) if tokenizer is not None else None
    if template is None:
        template = "tokenizer" if loaded is not None and loaded.chat_template else "default"
    if loaded is None and template == "tokenizer":
        raise ConfigError("template 'tokenizer' needs a tokenizer: --tokenizer PATH")
    if loaded is not None:
        encode([], loaded)  # a slow tokenizer is refused before anything is read
    frame: AnyTemplate = get_template(template) if loaded is None else choose_template(template, loaded)
    return RecordSource(table, RowEncoder(loaded, map_fn, frame, protocol, max_length or UNLIMITED, "drop_turns"), name, why)


def _load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    path = resolve(name) if name.startswith("xagent:") else name
    try:
        return AutoTokenizer.from_pretrained(str(path))
    except (OSError, ValueError) as error:
        raise ConfigError(f"--tokenizer {name}: no tokenizer can be loaded from there: {str(error).splitlines()[0]}") from error


def choose_format(name: str, table: Dataset) -> tuple[MapFn, str, str]:
    """Give the map function of a format, the format's name, and why it was chosen.

    Raises:
        ConfigError: there is no such format, or formats can't be recognised; the known ones are in the message.
        DataError: the rows fit no format, or several.
    """
    known = format_map_fns()
    if name in known:
        return known[name], name, "given by --format"
    if name != "auto":
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"unknown format {name!r}{hint} Known: {', '.join(known)}")
    return _recognised(table)


def _recognised(table: Dataset) -> tuple[MapFn, str, str]:
    try:
        found = recognise_table(table)
    except DataError as error:
        raise DataError(f"{error} (for a file: --format NAME)") from error
    return found, found.format, found.why


def format_map_fns() -> dict[str, MapFn]:
    """Give the map functions by format: ``{"openai": openai_map_fn, ...}``."""
    by_function = {name.removesuffix("_map_fn"): getattr(formats, name) for name in formats.__all__ if name.endswith("_map_fn")}
    return {**by_function, **formats.FORMATS}


def format_of(map_fn: Any) -> tuple[str, str]:
    """Name the format that a config's map function reads, and say how it was chosen."""
    if hasattr(map_fn, "format") and hasattr(map_fn, "why"):
        return str(map_fn.format), str(map_fn.why)
    named = next((name for name, known in reversed(format_map_fns().items()) if known is map_fn), None)
    name = getattr(map_fn, "__name__", None) or getattr(getattr(map_fn, "func", None), "__name__", type(map_fn).__name__)
    return named or str(name).removesuffix("_map_fn"), "the config's dataset_map_fn"
