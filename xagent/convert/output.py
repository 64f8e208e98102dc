"""Output directories: checked before the work, filled under a temporary name, renamed when they are whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xagent.errors import OutputError

SPACE_RESERVE = 16 << 20
OUR_MARKS = ("xagent.json", "conversion_report.json")
"""What every finished conversion leaves in its output: only such a folder may be replaced."""


def check_output(out: Path, *, needed_bytes: int = 0, overwrite: bool = False) -> None:
    """Refuse an output directory that holds something, or a disk without room for `needed_bytes`.

    Args:
        overwrite: what an earlier conversion wrote may be replaced.

    Raises:
        OutputError: says which of the two, and what to do.
    """
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise OutputError(f"{out}: exists and is not a directory; name another output")
    if out.is_dir() and any(out.iterdir()):
        if not overwrite:
            raise OutputError(f"{out}: exists and is not empty; name another output, or remove it first")
        if not any((out / name).is_file() for name in OUR_MARKS):
            raise OutputError(
                f"{out}: holds none of {', '.join(OUR_MARKS)}, so no conversion of xagent wrote it, and it is not replaced; name "
                "another output, or remove it first"
            )
    existing = next(parent for parent in (out.absolute(), *out.absolute().parents) if parent.exists())
    if not existing.is_dir():
        raise OutputError(f"{out}: can't be made, {existing} is not a directory")
    free = shutil.disk_usage(existing).free
    if free < needed_bytes + SPACE_RESERVE:
        needed = (needed_bytes + SPACE_RESERVE) / 1e6
        raise OutputError(f"{out}: needs {needed:,.0f} MB, but only {free / 1e6:,.0f} MB are free on that disk; make room")


@contextmanager
def fresh_directory(out: Path, *, needed_bytes: int = 0, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary directory beside `out` that becomes `out` when the block ends well, and vanishes when it does not.

    Raises:
        OutputError: see :func:`check_output`; or the disk refuses to be written.
    """
    check_output(out, needed_bytes=needed_bytes, overwrite=overwrite)
    temporary = out.absolute().with_name(f".{out.absolute().name}.tmp-{os.getpid()}")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            temporary.mkdir(parents=True)
        except OSError as error:
            raise OutputError(f"{out}: can't be made: {error.strerror or error}") from error
        try:
            yield temporary
            _take_place(temporary, out)
        except OSError as error:
            raise OutputError(f"{out}: can't be written: {error.strerror or error} ({error.filename or temporary})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _take_place(temporary: Path, out: Path) -> None:
    for path in temporary.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
    aside = None
    if out.exists():
        aside = temporary.with_name(f".{out.absolute().name}.old-{os.getpid()}")
        os.rename(out, aside)
    try:
        os.rename(temporary, out)
    except OSError:
        if aside is not None:
            os.rename(aside, out)
        raise
    if aside is not None:
        shutil.rmtree(aside)
