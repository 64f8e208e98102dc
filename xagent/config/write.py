"""Write the effective config as one flat Python file that runs as it is."""

from __future__ import annotations

import ast
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmengine.config import Config

from xagent import __version__
from xagent.config.flatten import Line
from xagent.config.load import own_items, run
from xagent.errors import OutputError

_HEADER = "# Effective config, written by xagent"
_ADDED = "# Set while the run was prepared"


def write_config(config: Config, path: str | Path) -> Path:
    """Write a config that `load_config` gave, with what was changed since, to a `.py` file; return its path.

    The file holds everything (no base) and its comments, and `xagent train FILE` runs the same training again. It is
    written to a temporary name and renamed, so no reader sees half of it.

    Raises:
        OutputError: the file can't be written, or a changed value can't be written as Python.
    """
    path = Path(path)
    text = effective_text(config)
    command = f"xagent train {path.name}"
    source = config.filename or "a config made in Python"
    write_atomically(path, f"{_HEADER} {__version__} from {source}\n# Run it again with: {command}\n\n{text}")
    return path


def effective_text(config: Config) -> str:
    """Return the flat source of a config, with statements for the values that were changed after it was loaded."""
    text = _without_header(config.text or "")
    changed = _changes(config, text)
    if not changed:
        return text
    statements = "".join(f"{key} = {_literal(key, value)}\n" for key, value in changed.items())
    return f"{text}\n{_ADDED}\n{statements}"


def _changes(config: Config, text: str) -> dict[str, Any]:
    source = Path(config.filename or "config.py")
    lines = [Line(line, str(source), number) for number, line in enumerate(text.splitlines(), 1)]
    written = run(lines, source).to_dict()
    now = config.to_dict()
    keys = [key for key, _ in own_items(config)]
    return {key: now[key] for key in keys if key not in written or written[key] != now[key]}


def _literal(key: str, value: Any) -> str:
    text = repr(value)
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError) as error:
        raise OutputError(f"can't write config key {key!r} as Python: {text}") from error
    return text


def _without_header(text: str) -> str:
    lines = text.splitlines(keepends=True)
    return "".join(lines[3:]) if lines and lines[0].startswith(_HEADER) else text


def write_atomically(path: Path, text: str) -> None:
    """Write text to a file by way of a temporary name beside it, fsynced and renamed.

    Raises:
        OutputError: the folder or the file can't be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):  # no folder, a name too long: then there is nothing to take away
            temporary.unlink()
        raise OutputError(f"can't write {path}: {error.strerror or error}") from error
