"""Reading one data file into raw rows: JSON, JSON lines (plain, gzip, Zstandard), CSV, Parquet, Arrow folders.

A row that can't be read is a row with a fault, to be counted with the others; a file that can't be read is an error.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import sys
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, NamedTuple

from xagent.data.rows import without_nulls
from xagent.errors import DataError

LFS_HEADER = b"version https://git-lfs.github.com/spec/"
COMPRESSED = (".gz", ".zst")
KINDS = (".jsonl", ".json", ".csv", ".parquet")
NOT_DATA = frozenset({"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"})
"""Files that Hugging Face's libraries and LLaMA-Factory write beside data."""

_DOCUMENTS = frozenset({".md", ".rst", ".py", ".yaml", ".yml", ".lock", ".sha256"})
_DOCUMENT_NAMES = frozenset({"readme", "license", "licence", "notice"})

_BOM = b"\xef\xbb\xbf"
_WIDE_BOMS = (b"\xff\xfe", b"\xfe\xff")
_CHUNK = 1 << 20


class RawRow(NamedTuple):
    """A record as JSON text, with its line (or place in a list, from 1); or what is wrong with it."""

    line: int
    text: str
    fault: str | None = None


def kind_of(file: Path) -> str | None:
    """Give the ending that says how to read a file, None if there is none of ours; an Arrow folder's is ``'arrow'``."""
    if (file / "state.json").is_file() and (file / "dataset_info.json").is_file():
        return "arrow"
    suffixes = [suffix.lower() for suffix in file.suffixes] or [""]
    packed = len(suffixes) > 1 and suffixes[-1] in COMPRESSED
    ending = suffixes[-2] if packed else suffixes[-1]
    return ending if ending in KINDS and not (packed and ending == ".parquet") else None


def is_document(file: Path) -> bool:
    """Tell whether a file is of those that stand beside data and nobody takes for data: a README, a licence, Python code."""
    return file.name in NOT_DATA or file.suffix.lower() in _DOCUMENTS or file.stem.lower() in _DOCUMENT_NAMES


def check_file(file: Path) -> None:
    """Refuse what is no data file.

    Raises:
        DataError: an unknown ending, an empty file, a Git-LFS pointer, or text that is not UTF-8 but UTF-16 or UTF-32.
    """
    kind = kind_of(file)
    if kind is None:
        known = ", ".join(KINDS)
        raise DataError(
            f"{file}: don't know how to read {file.suffix or 'a file without ending'}; expected {known} (text also as .gz, .zst)"
        )
    if kind == "arrow":
        return
    with file.open("rb") as stream:
        head = stream.read(len(LFS_HEADER))
    if not head:
        raise DataError(f"{file}: the file is empty")
    if head == LFS_HEADER:
        raise DataError(f"{file}: this is a Git-LFS pointer, not the data. Fetch the data with: git lfs pull")
    if kind != ".parquet" and head[:2] in _WIDE_BOMS:
        raise DataError(f"{file}: the text is UTF-16 or UTF-32; convert it to UTF-8, for example with iconv")


def raw_rows(file: Path) -> Iterator[RawRow]:
    """Give the rows of a file in order, in memory that does not grow with their number.

    Raises:
        DataError: the file as a whole can't be read: a broken JSON list, a damaged archive, no Parquet file.
    """
    kind = kind_of(file)
    if kind == "arrow":
        yield from _arrow_rows(file)
    elif kind == ".parquet":
        yield from _parquet_rows(file)
    elif kind == ".csv":
        yield from _csv_rows(file)
    elif kind == ".jsonl" or _holds_lines(file):
        yield from _line_rows(file)
    else:
        yield from _list_rows(file)


@contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading, unpacked.

    Raises:
        DataError: what unpacks it is not installed, or the archive is damaged.
    """
    damaged: tuple[type[Exception], ...] = (EOFError, zlib.error, gzip.BadGzipFile)
    try:
        if file.suffix.lower() == ".gz":
            with gzip.open(file, "rb") as stream:
                yield stream  # type: ignore[misc]  # a reader of bytes, whatever its class
        elif file.suffix.lower() == ".zst":
            zstandard = _zstandard(file)
            damaged = (*damaged, zstandard.ZstdError)
            with zstandard.open(file, "rb") as stream:
                yield io.BufferedReader(stream)
        else:
            with file.open("rb") as stream:
                yield stream
    except damaged as error:
        raise DataError(f"{file}: the archive is damaged or cut off: {error}") from error


def _zstandard(file: Path) -> Any:
    try:
        import zstandard
    except ImportError:
        raise DataError(f"{file}: .zst files need the package zstandard: pip install zstandard (or unpack it: unzstd)") from None
    return zstandard


def _utf8_fault(text: bytes) -> str | None:
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return f"byte {error.start} of the line is no UTF-8"
    return None


def _storable(line: int, text: str) -> RawRow:
    """Make a row of a text that was decoded with ``surrogateescape``."""
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError as error:
        return RawRow(line, "", f"it holds a byte that is no UTF-8 (0x{ord(text[error.start]) & 0xFF:02x})")
    return RawRow(line, text)


def _holds_lines(file: Path) -> bool:
    """Tell whether a ``.json`` file has one record a line: its first line is a whole object and others follow."""
    with _opened(file) as stream:
        first = stream.readline().removeprefix(_BOM).strip()
        if not first.startswith(b"{") or not any(line.strip() for line in stream):
            return False
    try:
        return isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return False


def _line_rows(file: Path) -> Iterator[RawRow]:
    with _opened(file) as stream:
        for number, raw in enumerate(stream, 1):
            line = (raw.removeprefix(_BOM) if number == 1 else raw).strip(b" \t\r\n")
            if line:
                fault = _utf8_fault(line)
                yield RawRow(number, "", fault) if fault else RawRow(number, line.decode())


def _list_rows(file: Path) -> Iterator[RawRow]:
    """Read a JSON list element by element; anything else is one row."""
    with _opened(file) as stream, io.TextIOWrapper(stream, "utf-8-sig", "surrogateescape", newline="") as text:
        window = _Window(text, file)
        if window.peek() != "[":
            yield _storable(1, window.only_value())
            return
        window.skip(1)
        for place, element in enumerate(window.elements(), 1):
            yield _storable(place, element)


class _Window:
    """The part of a text that is in memory while a list is read from it."""

    def __init__(self, stream: io.TextIOWrapper, file: Path) -> None:
        self.stream, self.file = stream, file
        self.text, self.position, self.line = "", 0, 1

    def grow(self) -> bool:
        """Read on, twice as far each time that the same element needs more; tell whether there was more."""
        more = self.stream.read(max(_CHUNK, len(self.text) - self.position))
        if more:
            self.line += self.text.count("\n", 0, self.position)
            self.text = self.text[self.position :] + more
            self.position = 0
        return bool(more)

    def peek(self) -> str:
        """Give the next character that is no space, '' at the end."""
        while True:
            match = _SPACE.match(self.text, self.position)
            assert match is not None
            self.position = match.end()
            if self.position < len(self.text):
                return self.text[self.position]
            if not self.grow():
                return ""

    def skip(self, count: int) -> None:
        """Go on by some characters."""
        self.position += count

    def only_value(self) -> str:
        """Give the text of the one value that the file is."""
        value = self._element()
        if self.peek():
            self._fail("Extra data", self.position)
        return value

    def elements(self) -> Iterator[str]:
        """Give the texts of a list's elements, behind its opening bracket; the whole list and nothing behind it."""
        if self.peek() == "]":
            self.skip(1)
        else:
            while True:
                yield self._element()
                sign = self.peek()
                if sign not in (",", "]"):
                    self._fail("Expecting ',' delimiter", self.position)
                self.skip(1)
                if sign == "]":
                    break
        if self.peek():
            self._fail("Extra data", self.position)

    def _element(self) -> str:
        self.peek()
        while True:
            try:
                end = _end_of_value(self.text, self.position)
            except json.JSONDecodeError as error:
                if self.grow():
                    continue
                self._fail(error.msg, error.pos)
            else:
                # A number may go on behind the window's end, also one that was cut as `0.` or `1e`, of which only a part is read.
                if _REST_OF_NUMBER.fullmatch(self.text, end) and self.grow():
                    continue
                element = self.text[self.position : end]
                self.position = end
                return element

    def _fail(self, what: str, place: int) -> None:
        line = self.line + self.text.count("\n", 0, place)
        column = place - self.text.rfind("\n", 0, place)
        raise DataError(f"{self.file}:{line}: broken JSON: {what} (column {column})")


_SPACE = re.compile(r"[ \t\r\n]*")
_REST_OF_NUMBER = re.compile(r"[0-9.eE+-]*")
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_DECODER = json.JSONDecoder()


def _end_of_value(text: str, start: int) -> int:
    """Find where a JSON value ends.

    Raises:
        json.JSONDecodeError: no complete value stands there.
    """
    try:
        return _DECODER.raw_decode(text, start)[1]
    except json.JSONDecodeError:
        raise
    except (RecursionError, ValueError):
        # Too deep, or a number of too many digits: the row's own fault, if only its end is found.
        return _end_by_brackets(text, start)


def _end_by_brackets(text: str, start: int) -> int:
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text, start):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(match[0], 0)
        if depth == 0 and match[0] in "]}":
            return match.end()
        if depth < 0:
            return match.start()
    raise json.JSONDecodeError("the value does not end", text, len(text))


def _csv_rows(file: Path) -> Iterator[RawRow]:
    limit = csv.field_size_limit(sys.maxsize)
    try:
        with _opened(file) as stream, io.TextIOWrapper(stream, "utf-8-sig", "surrogateescape", newline="") as text:
            reader = csv.DictReader(text, strict=True, restkey="\0more", restval=None)
            names = reader.fieldnames or []
            if len(set(names)) != len(names) or not all(names):
                raise DataError(f"{file}:1: the heads of the columns must be distinct and not empty, got {list(names)}")
            for row in reader:
                yield _csv_row(row, reader.line_num, len(names))
    except csv.Error as error:
        raise DataError(f"{file}:{reader.line_num}: broken CSV: {error}") from error
    finally:
        csv.field_size_limit(limit)


def _csv_row(row: dict[str, Any], line: int, columns: int) -> RawRow:
    more = row.pop("\0more", [])
    found = columns + len(more) if more else sum(value is not None for value in row.values())
    if found != columns:
        return RawRow(line, "", f"it has {found} cells, the head has {columns} columns")
    return _storable(line, json.dumps(row, ensure_ascii=False))


def _parquet_rows(file: Path) -> Iterator[RawRow]:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    place = 0
    try:
        for batch in parquet.ParquetFile(file).iter_batches(batch_size=256):
            for record in batch.to_pylist(maps_as_pydicts="strict"):
                place += 1
                yield _typed_row(place, record)
    except (arrow.ArrowException, KeyError, OSError) as error:
        raise DataError(f"{file}: no readable Parquet file: {error}") from error


def _arrow_rows(folder: Path) -> Iterator[RawRow]:
    from datasets import load_from_disk

    for place, record in enumerate(load_from_disk(str(folder)), 1):
        yield _typed_row(place, record)


def _typed_row(place: int, record: Mapping[str, Any]) -> RawRow:
    try:
        text = json.dumps(without_nulls(record), ensure_ascii=False, default=_as_text)
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(without_nulls(record), default=_as_text)
    except (TypeError, ValueError) as error:
        return RawRow(place, "", str(error))
    return RawRow(place, text)


def _as_text(value: Any) -> str:
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, (Decimal, timedelta)):
        return str(value)
    raise TypeError(f"it holds a value of type {type(value).__name__}, which is no text, number, list or object")
