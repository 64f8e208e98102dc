"""The converters as people call them: messages, exit codes, nothing left behind."""

from __future__ import annotations

import json

import pytest
from test_pth_to_hf import LORA, save_adapter_checkpoint
from tiny import files_in, save_base, train_adapter

from xagent.cli import main


@pytest.fixture
def trained(base, tmp_path):
    """A work dir with a config and a checkpoint of it."""
    save_adapter_checkpoint(tmp_path / "iter_5.pth", train_adapter(base), base)
    config = {"llm": {"pretrained_model_name_or_path": str(base)}, "lora": LORA}
    (tmp_path / "config.py").write_text(f"model = {config!r}\n")
    return tmp_path


def call(*words):
    return main(["convert", *map(str, words)])


def test_from_checkpoint_to_model(base, trained, capsys):
    assert call("pth_to_hf", trained / "config.py", trained / "iter_5.pth", trained / "adapter") == 0
    assert call("merge", base, trained / "adapter", trained / "merged", "--device", "cpu", "--max-shard-size", "100KB") == 0
    said = capsys.readouterr().out
    assert "merged onto the base's weights: 6 of 21 tensors changed" in said
    assert "logits against base + adapter: max" in said
    assert json.loads((trained / "merged" / "xagent.json").read_text())["template"] == "llama3_chat"


def fault(capsys, *words):
    capsys.readouterr()
    assert call(*words) == 2
    said = capsys.readouterr().err
    assert said.startswith("xagent: error: ")
    assert "Traceback" not in said
    return said


def test_faults_of_pth_to_hf(base, trained, capsys):
    config, checkpoint, out = trained / "config.py", trained / "iter_5.pth", trained / "out"
    before = files_in(trained)
    assert "no such checkpoint" in fault(capsys, "pth_to_hf", config, trained / "iter_7.pth", out)
    other = trained / "other.py"
    other.write_text(config.read_text().replace("'r': 4", "'r': 8"))
    assert "model.lora.r: 8 in the config, 4 in the checkpoint" in fault(capsys, "pth_to_hf", other, checkpoint, out)
    content = bytearray(checkpoint.read_bytes())
    content[len(content) // 2] ^= 1
    checkpoint.write_bytes(content)
    assert "its content changed after it was written" in fault(capsys, "pth_to_hf", config, checkpoint, out)
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
    assert "is truncated" in fault(capsys, "pth_to_hf", config, checkpoint, out)
    assert files_in(trained) == before | {"other.py"}


def test_overwrite_replaces_conversions_and_nothing_else(base, trained, capsys):
    arguments = ("pth_to_hf", trained / "config.py", trained / "iter_5.pth")
    assert call(*arguments, trained / "adapter") == 0
    assert "exists and is not empty" in fault(capsys, *arguments, trained / "adapter")
    (trained / "adapter" / "note.txt").write_text("mine")
    assert call(*arguments, trained / "adapter", "--overwrite") == 0
    assert not (trained / "adapter" / "note.txt").exists()
    (trained / "letters").mkdir()
    (trained / "letters" / "note.txt").write_text("mine")
    assert "no conversion of xagent wrote it" in fault(capsys, *arguments, trained / "letters", "--overwrite")
    assert (trained / "letters" / "note.txt").read_text() == "mine"


def test_merged_dtype_and_no_comparison(base, trained, capsys):
    assert call("pth_to_hf", trained / "config.py", trained / "iter_5.pth", trained / "adapter") == 0
    capsys.readouterr()
    assert call("merge", base, trained / "adapter", trained / "merged", "--dtype", "float32", "--no-verify") == 0
    assert "logits against" not in capsys.readouterr().out
    assert json.loads((trained / "merged" / "config.json").read_text())["dtype"] == "float32"


def test_faults_of_merge(base, trained, capsys):
    assert call("pth_to_hf", trained / "config.py", trained / "iter_5.pth", trained / "adapter") == 0
    other = save_base(trained / "other", seed=4)
    before = files_in(trained)
    assert "was trained on another base" in fault(capsys, "merge", other, trained / "adapter", trained / "out")
    assert "no such model directory" in fault(capsys, "merge", trained / "nowhere", trained / "adapter", trained / "out")
    assert "exists and is not empty" in fault(capsys, "merge", base, trained / "adapter", other)
    assert files_in(trained) == before
