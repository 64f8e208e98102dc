"""The demo, small: every stage for real, and a report of the promised form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from xagent.cli import main
from xagent.errors import ConfigError
from xagent.evaluation import demo
from xagent.evaluation.demo import run_demo

METRICS = {"episodes", "valid_format", "right_tool", "right_arguments", "solved", "false_calls"}
STAGES = ["generate", "convert", "train", "pth_to_hf", "merge", "evaluate"]


def test_the_whole_story_replaces_an_earlier_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "iter_999999.pth").write_text("from another time")
    run_demo(tmp_path, conversations=30, episodes=3)
    assert not (tmp_path / "train" / "iter_999999.pth").exists()
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert set(report) == {"base", "tuned", "seconds"}
    for model in ("base", "tuned"):
        for side in ("seen", "unseen"):
            figures = report[model][side]
            assert set(figures) == METRICS
            assert figures["episodes"] == 3
            assert all(0 <= figures[name] <= 1 for name in METRICS - {"episodes"})
    assert list(report["seconds"]) == STAGES
    assert (tmp_path / "report.md").read_text(encoding="utf-8").startswith("# The nano model")
    assert (tmp_path / "train" / "loss_curve.png").stat().st_size > 5000
    assert (tmp_path / "merged" / "model.safetensors").is_file()
    settings = json.loads((tmp_path / "merged" / "xagent.json").read_text(encoding="utf-8"))
    assert (settings["template"], settings["protocol"]) == ("llama3_chat", "react")
    printed = capsys.readouterr().out
    assert "episodes solved" in printed and "report.md" in printed


def test_a_demo_without_conversations_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--work-dir", str(tmp_path / "demo"), "--conversations", "0"]) == 2
    assert "conversations=0" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


def test_the_help_says_how_many_conversations_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    """It can't ask the demo's own constants, which would import torch."""
    assert main(["demo", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"{demo.CONVERSATIONS_IN_16_BITS} where this machine's cores multiply in bf16, else {demo.CONVERSATIONS}:" in shown


def test_processors_that_multiply_in_16_bits_train_on_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def write(folder: Path, count: int, *rest: object) -> None:
        asked.append(count)
        raise ConfigError("enough")

    monkeypatch.setattr(demo, "write_raw_agent_flan", write)
    for dtype in (None, torch.bfloat16):
        monkeypatch.setattr(demo, "choose_autocast", lambda name, device, dtype=dtype: dtype)
        with pytest.raises(ConfigError, match="enough"):
            run_demo(tmp_path)
    assert asked == [demo.CONVERSATIONS, demo.CONVERSATIONS_IN_16_BITS]
