"""Building what a config describes."""

from __future__ import annotations

from fractions import Fraction

import pytest

from xagent.assets import resolve
from xagent.errors import ConfigError
from xagent.registry import build


def test_one_level_is_built_and_objects_are_given_back():
    inner = dict(type=Fraction, numerator=1)
    assert build(dict(type=dict, a=inner, b=2)) == {"a": inner, "b": 2}
    assert build(inner, denominator=4) == Fraction(1, 4)
    assert build(dict(type="fractions.Fraction", numerator=3)) == 3
    marker = object()
    assert build(marker) is marker
    assert build({"no": "type"}) == {"no": "type"}


def test_assets_become_paths_and_missing_ones_are_named(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("xagent.assets._ROOT", tmp_path)
    for name in ("tiny", "page"):
        (tmp_path / name).mkdir()
    (tmp_path / "tiny" / "config.json").write_text("{}")
    assert build(dict(type=dict, a="xagent:tiny")) == {"a": str(tmp_path / "tiny")}
    with pytest.raises(ConfigError, match="no embedded asset 'xagent:gone'; the models are: xagent:tiny$"):
        build(dict(type=dict, a="xagent:gone"))
    with pytest.raises(ConfigError, match="no embedded asset"):
        resolve("xagent:../../etc")
