"""Conversations in files: one JSON record a line, so that a file of good ones is a data set."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xagent.errors import ConfigError, DataError, OutputError


def save_record(name: str, record: Mapping[str, Any]) -> Path:
    """Add a record to a ``.jsonl`` file.

    Raises:
        ConfigError: the name doesn't end with ``.jsonl``.
        OutputError: the file can't be written.
    """
    path = Path(name).expanduser()
    if path.suffix != ".jsonl":
        raise ConfigError(f"save {name}: give a name that ends with .jsonl; the conversation is added as a line")
    try:
        # Half a surrogate pair, which a call's arguments may hold, is written as the JSON escape that it was.
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    except OSError as error:
        raise OutputError(f"{path}: can't be written: {error.strerror}") from error
    return path


def load_record(name: str) -> dict[str, Any]:
    """Read the last record of a ``.jsonl`` file, or of a ``.json`` file with a record or a list of them.

    Raises:
        DataError: the file can't be read, or holds no record.
    """
    path = Path(name).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text if path.suffix == ".json" else (text.strip().splitlines() or [""])[-1])
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: no JSON record: {error}") from error
    record = found[-1] if isinstance(found, list) and found else found
    if not isinstance(record, dict):
        raise DataError(f'{path}: a record is an object with "messages", got {type(record).__name__}')
    return record
