"""Encoding a table in parts: each finished part stays on disk with its checksum, so a killed run goes on where it was.

A part is an Arrow stream of the examples that are kept, ``part-00000.arrow``, and its account beside it,
``part-00000.json``, which is written last. Memory does not grow with the number of records.
"""

from __future__ import annotations

import ctypes
import gc
import hashlib
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from xagent.data.report import CUT, KEPT, PLACEHOLDER
from xagent.errors import XAgentError

if TYPE_CHECKING:
    from datasets import Dataset

Encoder = Callable[[Mapping[str, list[Any]], list[int]], Mapping[str, list[Any]]]
COUNTED = ("system", "user", "assistant", "tool", "tool calls")
SCHEMA = pa.schema([("input_ids", pa.list_(pa.int32())), ("loss_weights", pa.list_(pa.float32())), ("trained", pa.int32())])
ROWS_IN_PART = 2048
EXAMPLES_SHOWN = 20
_ROWS_AT_ONCE = 256
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux's prctl


@dataclass
class PartAccount:
    """What became of the records ``start`` to ``stop`` of a table, and the checksum of the file with the kept ones."""

    start: int
    stop: int
    outcomes: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)
    messages: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTED, 0))
    tokens: int = 0
    trained_tokens: int = 0
    placeholders: int = 0
    size: int = 0
    sha256: str = ""

    def add(self, encoded: Mapping[str, list[Any]]) -> list[int]:
        """Count a batch of encoded records; give the places in it of those that are kept."""
        for outcome, note in zip(encoded["outcome"], encoded["note"], strict=True):
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
            if outcome != KEPT and len(self.examples.setdefault(outcome, [])) < EXAMPLES_SHOWN:
                self.examples[outcome].append(note)
        for counts in encoded["messages"]:
            for kind, count in zip(COUNTED, counts, strict=True):
                self.messages[kind] += int(count)
        for note in filter(None, encoded.get("placeholder", ())):
            self.placeholders += 1
            if len(self.examples.setdefault(PLACEHOLDER, [])) < EXAMPLES_SHOWN:
                self.examples[PLACEHOLDER].append(note)
        self.tokens += sum(encoded["tokens"])
        self.trained_tokens += sum(encoded["trained"])
        return [place for place, outcome in enumerate(encoded["outcome"]) if outcome in (KEPT, CUT)]


@dataclass(frozen=True)
class Job:
    """What the processes of an encoding share."""

    table: Dataset
    encoder: Encoder
    folder: Path

    def encode(self, start: int, stop: int) -> PartAccount:
        """Encode and write one part, its account last."""
        account = PartAccount(start, stop)
        path, temporary = _part(self.folder, start), self.folder / f"unfinished-{os.getpid()}.arrow"
        with temporary.open("wb") as file:
            with pa.ipc.new_stream(file, SCHEMA) as writer:
                for first in range(start, stop, _ROWS_AT_ONCE):
                    last = min(first + _ROWS_AT_ONCE, stop)
                    encoded = self.encoder(self.table[first:last], list(range(first, last)))
                    writer.write_batch(_batch(encoded, account.add(encoded)))
            file.flush()
            os.fsync(file.fileno())
        account.size, account.sha256 = temporary.stat().st_size, sha256_of(temporary)
        temporary.replace(path)
        write_json(path.with_suffix(".json"), asdict(account))
        return account


def encode_in_parts(table: Dataset, encoder: Encoder, num_proc: int, folder: Path) -> list[PartAccount]:
    """Encode a table into parts; those that an earlier run finished, and that are whole, are not encoded again.

    Args:
        table: raw records.
        encoder: turns (batch of columns, indices) into the columns ``input_ids``, ``loss_weights``, ``outcome``, ``note``,
            ``tokens``, ``trained``, ``messages`` (counts as in ``COUNTED``) and, where it looks for them, ``placeholder`` (place
            and words of one that is learned as it stands, or ''), one row for each record.
        num_proc: processes.
        folder: where the parts are, and are written to.

    Raises:
        XAgentError: a process was killed from outside, for example because memory ran out; what it had finished is kept.
    """
    job = Job(table.with_format(None), encoder, folder)
    bounds = [(start, min(start + ROWS_IN_PART, len(table))) for start in range(0, len(table), ROWS_IN_PART)]
    found = {start: _finished(folder, start, stop) for start, stop in bounds}
    accounts = {start: account for start, account in found.items() if account is not None}
    _remove_others(folder, accounts)
    left = [(start, stop) for start, stop in bounds if start not in accounts]
    done = sum(account.stop - account.start for account in accounts.values())
    if done:
        print(f"xagent: {done:,} of {len(table):,} records were encoded by an earlier run", file=sys.stderr)
    progress = tqdm(total=len(table), initial=done, desc="Tokenising", unit=" records", disable=None)
    with progress as bar, _others_objects_at_rest():
        for account in _encode(job, left, min(num_proc, len(left))):
            accounts[account.start] = account
            bar.update(account.stop - account.start)
    return [accounts[start] for start, _ in bounds]


def part_files(folder: Path) -> list[Path]:
    """Give the files of an encoded table, in the table's order."""
    return sorted(folder.glob("part-*.arrow"))


def sha256_of(path: Path) -> str:
    """Hash a file in constant memory."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, indent=1)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def list_array(rows: list[Any], kind: pa.DataType) -> pa.ListArray:
    """Give rows of numbers as an Arrow column of lists."""
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int32)
    values = np.concatenate(rows) if rows else np.zeros(0)
    return pa.ListArray.from_arrays(offsets, pa.array(values, kind))


def _batch(encoded: Mapping[str, list[Any]], kept: list[int]) -> pa.RecordBatch:
    ids, weights, trained = ([encoded[name][place] for place in kept] for name in SCHEMA.names)
    columns = [list_array(ids, pa.int32()), list_array(weights, pa.float32()), pa.array(trained, pa.int32())]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _part(folder: Path, start: int) -> Path:
    return folder / f"part-{start:012}.arrow"


def _finished(folder: Path, start: int, stop: int) -> PartAccount | None:
    """Give the account of a part that is there and whole, byte for byte."""
    path = _part(folder, start)
    try:
        account = PartAccount(**json.loads(path.with_suffix(".json").read_text(encoding="utf-8")))
        whole = (account.start, account.stop, account.size) == (start, stop, path.stat().st_size)
        return account if whole and account.sha256 == sha256_of(path) else None
    except (OSError, ValueError, TypeError):
        return None


def _remove_others(folder: Path, accounts: Mapping[int, PartAccount]) -> None:
    keep = {_part(folder, start).stem for start in accounts}
    for path in folder.iterdir():
        if path.stem not in keep or path.suffix not in (".arrow", ".json"):
            path.unlink()


def _encode(job: Job, bounds: list[tuple[int, int]], num_proc: int) -> Iterator[PartAccount]:
    if num_proc <= 1:
        yield from (job.encode(start, stop) for start, stop in bounds)
        return
    # Forked processes inherit the job, so that map functions need not be importable.
    context = multiprocessing.get_context("fork")
    with _one_thread_each(), ProcessPoolExecutor(num_proc, context, _adopt, (job, os.getpid())) as pool:
        futures = [pool.submit(_encode_adopted, start, stop) for start, stop in bounds]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool:
            raise XAgentError(
                "a tokenising process was killed, perhaps because memory ran out. What was finished is kept: run it again, "
                "with a smaller num_proc"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


_adopted: Job | None = None


def _adopt(job: Job, parent: int) -> None:
    """Take over the job in a new process, which must not outlive its parent: it would hold the parent's lock."""
    global _adopted
    _adopted = job
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _encode_adopted(start: int, stop: int) -> PartAccount:
    assert _adopted is not None
    return _adopted.encode(start, stop)


@contextmanager
def _others_objects_at_rest() -> Iterator[None]:
    """Spare the garbage collector all that was there before: looking through libraries and models takes it a third of the time.

    Forked processes then leave that memory untouched, and share it.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Keep tokenizers single-threaded in processes that are forked from here: their thread pool does not survive a fork."""
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ["TOKENIZERS_PARALLELISM"]
        else:
            os.environ["TOKENIZERS_PARALLELISM"] = before
