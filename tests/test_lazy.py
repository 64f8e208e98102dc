"""Packages whose names are imported when they are first used."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from xagent.lazy import names_on_demand


def test_a_module_is_imported_for_a_name_of_its_own_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "lazily_made"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "one.py").write_text("ONE = 1\n")
    (folder / "two.py").write_text("TWO = 2\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    find = names_on_demand("lazily_made", {"ONE": "one", "TWO": "two"})
    assert find("TWO") == 2
    assert "lazily_made.two" in sys.modules and "lazily_made.one" not in sys.modules
    with pytest.raises(AttributeError, match="module 'lazily_made' has no attribute 'THREE'"):
        find("THREE")
