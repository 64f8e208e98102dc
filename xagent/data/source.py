"""Reading data files into a memory-mapped table of raw records, each with its file and line.

A record is kept as its own JSON text: Arrow's typed columns would fill missing keys with nulls and refuse records whose
arguments differ in type. What can't be read of one row is kept as that row's fault, and counted where rows are.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xagent.data.files import KINDS, NOT_DATA, check_file, is_document, kind_of, raw_rows
from xagent.data.hub import load_from_hub, looks_like_hub_id
from xagent.data.rows import FAULT, FILE, LINE, RECORD, parse_json
from xagent.errors import DataError, XAgentError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

logger = logging.getLogger(__name__)
_LAYOUT = 2
"""Part of the cache's key: raised when the same files give another table."""
_ROWS_AT_ONCE = 200


def load_dataset_from(
    path: str | Path, max_length: int | None = None, subset: str | None = None, split: str | None = None
) -> Dataset | DatasetDict:
    """Read a data file, a folder of these, an Arrow directory (``save_to_disk``), or a data set by its hub id.

    Files are ``.jsonl``, ``.json`` (a list of records, or one record a line), ``.csv`` (a cell may hold JSON text where a
    format has a list), each also as ``.gz`` or ``.zst``, and ``.parquet``; text is UTF-8, with or without a byte order mark.

    Args:
        path: file or folder; ``xagent:`` names an embedded one; ``owner/name`` that is not here is looked for on Hugging
            Face's hub, or on ModelScope's with ``XAGENT_HUB=modelscope``.
        max_length: read at most so many records (of each split).
        subset, split: which configuration and split of a hub's data set, or which split of an Arrow directory that has
            several; default: all splits, as a ``DatasetDict``.

    Raises:
        DataError: nothing there, an empty file, a Git-LFS pointer, a damaged archive, a broken JSON list, or a hub that
            gives nothing; the file is named.
    """
    from xagent.assets import resolve

    place = resolve(str(path)) if str(path).startswith("xagent:") else Path(path).expanduser()
    if not place.exists() and looks_like_hub_id(str(path)) and kind_of(place) is None:
        return _first(load_from_hub(str(path), subset, split), max_length)
    if (place / "dataset_info.json").is_file() or (place / "dataset_dict.json").is_file():
        return _first(_arrow_directory(place, split), max_length)
    return _table(_data_files(place), max_length)


def _first(found: Any, count: int | None) -> Any:
    from datasets import DatasetDict

    if count is None:
        return found
    if isinstance(found, DatasetDict):
        return DatasetDict({name: _first(table, count) for name, table in found.items()})
    return found.select(range(min(count, len(found))))


def _arrow_directory(place: Path, split: str | None) -> Any:
    from datasets import DatasetDict, load_from_disk

    try:
        found = load_from_disk(str(place))
    except Exception as error:  # missing shards, damaged JSON, another version: each has its own type
        raise DataError(f"{place}: no readable Arrow data set: {type(error).__name__}: {error}") from error
    if split is None or not isinstance(found, DatasetDict):
        return found
    if split not in found:
        raise DataError(f"{place}: there is no split {split!r}; there are {', '.join(found)}")
    return found[split]


def _table(files: list[Path], max_length: int | None) -> Dataset:
    from datasets import Dataset, Features, Value

    # The stamp is there to be part of the cache's key; tuples, because lists would be split into shards.
    stamp = (_LAYOUT, *(_stamp(file) for file in files))
    arguments = {"files": tuple(map(str, files)), "max_length": max_length, "stamp": stamp}
    # Large strings: turns of megabytes would overflow the 2 GB that a batch of plain ones can hold.
    kinds = {RECORD: "large_string", FILE: "string", LINE: "int64", FAULT: "string"}
    features = Features({name: Value(kind) for name, kind in kinds.items()})
    return unwrapped(
        lambda: Dataset.from_generator(_rows, gen_kwargs=arguments, features=features, writer_batch_size=_ROWS_AT_ONCE)
    )


def _stamp(file: Path) -> tuple[int, int]:
    inside = file.rglob("*") if file.is_dir() else [file]
    sizes = [(entry.stat().st_size, entry.stat().st_mtime_ns) for entry in inside]
    return sum(size for size, _ in sizes), max(time for _, time in sizes)


def unwrapped(read: Any) -> Any:
    """Call ``read`` and take a DataError out of what ``datasets`` wraps around it.

    Raises:
        DataError: the data can't be read.
    """
    from datasets.exceptions import DatasetGenerationError

    try:
        return read()
    except DatasetGenerationError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, XAgentError):
            cause = cause.__cause__ or cause.__context__
        if cause is not None:
            raise cause from None
        raise DataError(f"the data set can't be read: {error.__cause__ or error}") from error


def _data_files(place: Path) -> list[Path]:
    """Find the files to read.

    Raises:
        DataError: there are none, or one of them is no data file.
    """
    if not place.exists():
        kinds = ", ".join(KINDS)
        raise DataError(
            f"{place}: no such file or folder. Give a file ({kinds}; also .gz, .zst), a folder of these, an Arrow data set, "
            "or a hub id (owner/name)"
        )
    files = _data_entries(place) if place.is_dir() else [place]
    if not files:
        inner = [entry.name for entry in sorted(place.iterdir()) if entry.is_dir() and _data_entries(entry)]
        hint = f"; its folders {', '.join(inner)} have some: name one of them" if inner else ""
        raise DataError(f"{place}: no data file ({', '.join(KINDS)}) in this folder{hint}")
    if place.is_dir() and (left_out := _left_out(place, files)):
        logger.warning("%s: not read: %s", place, ", ".join(left_out))
    for file in files:
        check_file(file)
    return files


def _data_entries(folder: Path) -> list[Path]:
    entries = (entry for entry in folder.iterdir() if entry.name not in NOT_DATA and not entry.name.startswith("."))
    return sorted(entry for entry in entries if kind_of(entry) is not None and (entry.is_file() or kind_of(entry) == "arrow"))


def _left_out(folder: Path, read: list[Path]) -> list[str]:
    """Name what of a folder is not read and may be meant as data."""
    entries = [entry for entry in sorted(folder.iterdir()) if entry not in read and not entry.name.startswith(".")]
    folders = [f"the folder {entry.name}" for entry in entries if entry.is_dir() and _data_entries(entry)]
    return folders + [entry.name for entry in entries if entry.is_file() and not is_document(entry)]


def _rows(files: tuple[str, ...], max_length: int | None, stamp: tuple[Any, ...] = ()) -> Iterator[dict[str, Any]]:
    count = 0
    for file in files:
        for line, text, fault in raw_rows(Path(file)):
            if max_length is not None and count >= max_length:
                return
            count += 1
            yield {RECORD: text, FILE: file, LINE: line, FAULT: fault}
    if count == 0:
        raise DataError(f"{files[0] if len(files) == 1 else Path(files[0]).parent}: no records in {len(files)} file(s)")


def read_records(file: Path) -> Iterator[tuple[int, Any]]:
    """Give (line number from 1, record); for a list, Parquet and Arrow the number is the record's place in it, from 1.

    Raises:
        DataError: a file or a row of it can't be read; file and line are named.
    """
    for line, text, fault in raw_rows(file):
        if fault:
            raise DataError(f"{file}:{line}: {fault}")
        try:
            yield line, parse_json(text)
        except DataError as error:
            raise DataError(f"{file}:{line}: {error}") from error
