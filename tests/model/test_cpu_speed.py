"""bf16 on a CPU: chosen where it measures faster, once, and remembered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from xagent.model import cpu_speed
from xagent.model.loading import choose_autocast

CPU = torch.device("cpu")
KEY = f"a processor, torch {torch.__version__}"


@pytest.fixture(autouse=True)
def asked_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A processor that has bf16, on a machine that has measured nothing; what this process knows is asked again."""
    monkeypatch.setenv("XAGENT_CACHE", str(tmp_path))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True, "cpu_name": "a processor"})
    cpu_speed.bf16_is_faster.cache_clear()
    yield
    cpu_speed.bf16_is_faster.cache_clear()


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The ratios that the next measurements give."""
    ratios: list[float] = []
    monkeypatch.setattr(cpu_speed, "measured_ratio", lambda: ratios.pop(0))
    return ratios


@pytest.mark.parametrize(("ratio", "chosen"), [(3.9, torch.bfloat16), (0.7, None), (1.0, None)])
def test_the_faster_one_is_chosen_and_remembered(ratio: float, chosen: Any, measured: list[float], tmp_path: Path) -> None:
    measured.append(ratio)
    assert choose_autocast("auto", CPU) == chosen
    assert json.loads((tmp_path / "bf16.json").read_text()) == {KEY: ratio}
    cpu_speed.bf16_is_faster.cache_clear()
    assert choose_autocast("auto", CPU) == chosen, "measured once: a second measurement would find no ratio"


def test_another_processor_is_measured_by_itself(measured: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    measured += [0.5, 2.0]
    assert choose_autocast("auto", CPU) is None
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True, "cpu_name": "another"})
    cpu_speed.bf16_is_faster.cache_clear()
    assert choose_autocast("auto", CPU) == torch.bfloat16


def test_without_instructions_nothing_is_measured(measured: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    assert choose_autocast("auto", CPU) is None


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a processor": "fast"}'])
def test_a_broken_memory_is_written_anew(text: str, measured: list[float], tmp_path: Path) -> None:
    (tmp_path / "bf16.json").write_text(text)
    measured.append(2.5)
    assert choose_autocast("auto", CPU) == torch.bfloat16
    assert json.loads((tmp_path / "bf16.json").read_text()) == {KEY: 2.5}


def test_no_place_to_remember(measured: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("where a folder should be")
    monkeypatch.setenv("XAGENT_CACHE", str(tmp_path / "file"))
    assert choose_autocast("auto", CPU) == torch.bfloat16, "nothing is measured: ranks could disagree"


def test_a_real_measurement() -> None:
    ratio = cpu_speed.measured_ratio(rounds=1)
    assert 0.001 < ratio < 1000 and ratio != 1
