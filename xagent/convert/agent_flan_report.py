"""The report of a conversion: what came in, what went out, and whether the two still belong together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from xagent import __version__
from xagent.errors import DataError

REPORT_NAME = "conversion_report.json"
FORMAT = 1
_LFS_START = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True)
class InputFile:
    """Name, size in bytes and sha256 (hex) of a file that was converted."""

    name: str
    bytes: int
    sha256: str


@dataclass
class FileCount:
    """What one file held: ``lines == rows + empty_lines`` and ``messages == trained + untrained``."""

    name: str
    lines: int = 0
    empty_lines: int = 0
    rows: int = 0
    messages: int = 0
    trained_messages: int = 0
    untrained_messages: int = 0

    def add(self, messages: Sequence[dict[str, Any]]) -> None:
        """Count one conversation; an assistant is trained unless told otherwise, others only where ``loss`` is true."""
        trained = sum(each["loss"] is True or (each["role"] == "assistant" and each["loss"] is None) for each in messages)
        self.rows += 1
        self.messages += len(messages)
        self.trained_messages += trained
        self.untrained_messages += len(messages) - trained


@dataclass
class ConversionReport:
    """Counts by file and in total; `already_converted` says that this call found the work done."""

    source: str
    out: str
    inputs: list[InputFile]
    files: list[FileCount] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    already_converted: bool = False

    @property
    def rows(self) -> int:
        """Number of conversations."""
        return sum(count.rows for count in self.files)

    @property
    def messages(self) -> int:
        """Number of messages."""
        return sum(count.messages for count in self.files)

    @property
    def trained_messages(self) -> int:
        """Number of messages that training learns to write."""
        return sum(count.trained_messages for count in self.files)

    @property
    def empty_lines(self) -> int:
        """Number of lines that were skipped because they are empty."""
        return sum(count.empty_lines for count in self.files)

    @property
    def fingerprint(self) -> str:
        """Name the data set by its input's content, so that caches derived from it last as long as that."""
        text = json.dumps([FORMAT, [asdict(entry) for entry in self.inputs]])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Give the report as plain values, totals included."""
        names = ("lines", "empty_lines", "rows", "messages", "trained_messages", "untrained_messages")
        totals = {name: sum(getattr(count, name) for count in self.files) for name in names}
        return {"format": FORMAT, "xagent_version": __version__, **asdict(self), "totals": totals}

    def write(self, folder: Path) -> None:
        """Write the report into `folder`, with the names and sizes of the files that lie there."""
        outputs = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
        text = json.dumps({**self.to_dict(), "outputs": outputs}, indent=2, ensure_ascii=False)
        (folder / REPORT_NAME).write_text(text + "\n", encoding="utf-8")


def describe_input(path: Path) -> InputFile:
    """Measure and hash an input file in constant memory.

    Raises:
        DataError: it is a Git-LFS pointer, or can't be read.
    """
    digest = hashlib.sha256()
    size = 0
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                if size == 0 and block.startswith(_LFS_START):
                    raise DataError(f"{path}: is a Git-LFS pointer, not the data; run `git lfs pull` in {path.parent}")
                digest.update(block)
                size += len(block)
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}") from error
    return InputFile(path.name, size, digest.hexdigest())


def matching_report(out: Path, inputs: list[InputFile]) -> ConversionReport | None:
    """Give the report at `out` if it is about these inputs and its data set is still as it was written, else None."""
    try:
        stored = json.loads((out / REPORT_NAME).read_text(encoding="utf-8"))
        report = ConversionReport(
            source=stored["source"],
            out=str(out),
            inputs=[InputFile(**entry) for entry in stored["inputs"]],
            files=[FileCount(**entry) for entry in stored["files"]],
            notices=list(stored["notices"]),
            already_converted=True,
        )
        whole = all((out / name).stat().st_size == size for name, size in stored["outputs"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    same = stored.get("format") == FORMAT and report.inputs == inputs
    return report if same and whole else None
