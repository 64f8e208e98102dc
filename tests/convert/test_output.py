"""Output directories: what was there before stays until the new one has its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from xagent.convert.output import fresh_directory
from xagent.errors import OutputError


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """What an earlier conversion wrote."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "xagent.json").write_text("{}")
    return folder


def write_anew(out: Path) -> None:
    with fresh_directory(out, overwrite=True) as folder:
        (folder / "new").touch()


def test_a_new_output_takes_the_place_of_the_old_one(out: Path) -> None:
    write_anew(out)
    assert [path.name for path in out.iterdir()] == ["new"] and list(out.parent.iterdir()) == [out]


def test_the_old_output_stays_where_the_new_one_can_not_take_its_place(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = os.rename

    def refused(source: Path, target: Path) -> None:
        if ".tmp-" in str(source):
            raise PermissionError(1, "Operation not permitted")
        rename(source, target)

    monkeypatch.setattr(os, "rename", refused)
    with pytest.raises(OutputError, match="can't be written: Operation not permitted"):
        write_anew(out)
    assert [path.name for path in out.iterdir()] == ["xagent.json"] and list(out.parent.iterdir()) == [out]
