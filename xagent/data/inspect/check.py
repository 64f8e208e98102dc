"""`xagent check-dataset`: the account of a config's data, or of a data file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xagent.data.inspect.audit import Audit, HeldOut, audit, held_out_questions
from xagent.data.inspect.audit_text import describe_audit
from xagent.data.inspect.rows import describe_dataset
from xagent.data.inspect.sources import LOADERS, built_dataset, described_dataset, has_records, open_file, record_sources
from xagent.data.report import mix_table
from xagent.data.source import load_dataset_from

if TYPE_CHECKING:
    from mmengine.config import Config


@dataclass(frozen=True)
class Checked:
    """What a check found.

    Attributes:
        text: for people. accounts: one of each data set, or one of all.
    """

    text: str
    accounts: list[Audit]


def check_file(path: str | Path, held_out: str | Path | None = None, **options: Any) -> Checked:
    """Account for every record of a data file or folder.

    Args:
        path: the data. held_out: a file of questions that must not occur. options: those of
            :func:`xagent.data.inspect.sources.open_file`.

    Raises:
        ConfigError: an option has an impossible value, or the format can't be recognised.
        DataError: the data can't be read.
    """
    source = open_file(path, **options)
    account = audit([source], _questions(held_out))
    return Checked(describe_audit(account), [account])


def check_dataset(cfg: Config, held_out: str | Path | None = None, together: bool = False) -> Checked:
    """Read and tokenise a config's data sets (training, and validation where it has one) and account for every record.

    Args:
        cfg: a config with ``train_dataloader.dataset``.
        held_out: a file of questions that must not occur.
        together: one account for all data sets. Default: one for each, and how training arranges its rows.

    Raises:
        ConfigError: the config has no data set that xagent prepares.
        DataError: the data can't be read.
    """
    keys = [key for key in LOADERS if cfg.get(key) is not None] or [LOADERS[0]]
    described = {key: described_dataset(cfg, key) for key in keys}
    questions = _questions(held_out)
    if together:
        read = [key for key in keys if not _is_other_part(described, key)]
        whole = audit([source for key in read for source in record_sources(described[key], key)], questions)
        return Checked(describe_audit(whole), [whole])
    parts, accounts = [], []
    for key in keys:
        lines = [f"{key}:"] if len(keys) > 1 else []
        if not has_records(described[key]) or _is_other_part(described, key):
            lines.append(describe_dataset(built_dataset(described[key], key)))
        else:
            account = audit(record_sources(described[key], key), questions)
            lines += [describe_audit(account), "", *_rows(described[key], key, account)]
            accounts.append(account)
        parts.append("\n".join(lines))
    return Checked("\n\n".join(parts), accounts)


def _is_other_part(described: Mapping[str, Mapping[str, Any]], key: str) -> bool:
    """Tell whether a data set is what training's own split sets aside: its records are accounted for there."""
    return key != LOADERS[0] and described[key].get("part") == "validation" and LOADERS[0] in described


def _rows(described: Mapping[str, Any], key: str, account: Audit) -> list[str]:
    """Say how training arranges the samples, or why it would not begin."""
    if account.unreadable and described.get("on_bad_record", "error") == "error":
        records = f"{account.unreadable:,} record(s) that can't be read"
        return [f"training would stop at the {records}; on_bad_record='drop' leaves them out"]
    if not account.kept:
        return ["training would stop: nothing is left to learn"]
    report = built_dataset(described, key).report
    filled = f", {report.fill_rate:.1%} of their slots filled" if report.fill_rate is not None else ""
    return [f"rows      {report.rows:,}{filled}", *(mix_table(report.sources) if report.sources else [])]


def _questions(held_out: str | Path | None) -> HeldOut | None:
    if held_out is None:
        return None
    found = load_dataset_from(held_out)
    return held_out_questions(chain.from_iterable(found.values()) if isinstance(found, dict) else found)  # splits
