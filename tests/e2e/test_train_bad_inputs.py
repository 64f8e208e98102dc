"""Bad input to `xagent train`: exit code 2, one message that says what is wrong and where, and nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import write_config, write_data

from xagent import cli

GOOD = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 12\n"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Data that can be trained on."""
    return write_data(tmp_path / "data.jsonl", 8)


@pytest.fixture
def config(tiny: Path, data: Path, tmp_path: Path) -> Path:
    """A config that runs."""
    return write_config(tmp_path / "config.py", tiny, data)


@pytest.fixture
def refuse(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Train, expect exit code 2, and give the one message; nothing that looks like a result may be left."""

    def call(*arguments: str, work_dir: Path | None = None, **options: Any) -> str:
        work_dir = work_dir or tmp_path / "out"
        words = ["train", str(config), "--work-dir", str(work_dir), *arguments]
        if options:
            words += ["--cfg-options", *(f"{key}={value}" for key, value in options.items())]
        assert cli.main(words) == 2
        shown = capsys.readouterr().err
        assert shown.count("xagent: error: ") == 1 and "Traceback" not in shown
        left = [path.name for path in work_dir.rglob("*") if path.is_file()] if work_dir.is_dir() else []
        assert [name for name in left if not name.endswith((".log", ".py"))] == []
        return shown[shown.index("xagent: error: ") :]

    return call


def test_a_config_name_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "nano_qlora_agnet"]) == 2
    assert "nano_qlora_agent" in capsys.readouterr().err


def test_a_typo_in_the_config(refuse, config: Path) -> None:
    config.write_text(config.read_text() + "\nparam_schedular = []\n")
    assert "unknown key 'param_schedular', which nothing uses (did you mean 'param_scheduler'?)" in refuse()


def test_base_missing(refuse, tmp_path: Path) -> None:
    message = refuse(base=tmp_path / "nowhere")
    assert f"model.llm.pretrained_model_name_or_path: no model directory '{tmp_path}/nowhere'" in message


@pytest.mark.parametrize(
    ("gone", "expected"),
    [
        ("model.safetensors", "has no weights (no *.safetensors, *.bin"),
        ("tokenizer*", "has no tokenizer (none of tokenizer.json"),
    ],
)
def test_base_without_weights_or_tokenizer(refuse, tiny: Path, tmp_path: Path, gone: str, expected: str) -> None:
    shutil.copytree(tiny, tmp_path / "base")
    for path in (tmp_path / "base").glob(gone):
        path.unlink()
    message = refuse(base=tmp_path / "base")
    assert expected in message and "pretrained_model_name_or_path" in message


def test_data_missing(refuse, tmp_path: Path) -> None:
    message = refuse(data_path=tmp_path / "nothing.jsonl")
    assert f"train_dataloader.dataset.dataset.path: no such file or folder: '{tmp_path}/nothing.jsonl'" in message


BAD_DATA = {
    "empty file": ("", "data.jsonl: the file is empty"),
    "Git-LFS pointer": (LFS, "data.jsonl: this is a Git-LFS pointer, not the data. Fetch the data with: git lfs pull"),
    "broken JSON": (json.dumps(GOOD) + '\n{"messages": [{"role"\n', "data.jsonl:2: broken JSON: "),
    "unknown role": (
        json.dumps(GOOD) + "\n" + json.dumps({"messages": [{"role": "robot", "content": "x"}]}) + "\n",
        "'robot'",
    ),
    "empty conversation": (json.dumps(GOOD) + "\n\n" + json.dumps({"messages": []}) + "\n", "data.jsonl:3: "),
    "everything masked": (
        json.dumps({"messages": [GOOD["messages"][0], {**GOOD["messages"][1], "loss": False}]}) + "\n",
        "1 dropped: nothing to learn",
    ),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data(refuse, data: Path, name: str) -> None:
    text, expected = BAD_DATA[name]
    data.write_text(text)
    message = refuse()
    assert expected in message and str(data) in message


def test_an_empty_folder_of_data(refuse, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert f"{tmp_path / 'folder'}: no data file (.jsonl, .json, .csv, .parquet) in this folder" in refuse(
        data_path=tmp_path / "folder"
    )


def test_max_length_below_every_sample(refuse) -> None:
    message = refuse(max_length=9)
    assert "nothing is left to learn from 8 record" in message and "8 dropped: too long" in message
    assert "data.jsonl:1: " in message and "max_length is 9" in message


def test_no_room_for_a_checkpoint(config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 1000, 1000))
    assert cli.main(["train", str(config), "--work-dir", str(tmp_path / "full")]) == 2
    message = capsys.readouterr().err
    assert "iter_16.pth: needs " in message and "only 0 MB are free on that disk; make room" in message
    assert not list((tmp_path / "full").glob("*.pth*")) and not list((tmp_path / "full").glob(".iter_*"))


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a small disk with the given options, and take it away afterwards."""
    place = tmp_path / "small"

    def mounted(options: str) -> Path:
        place.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True).returncode:
            pytest.skip("needs the right to mount a small tmpfs")
        return place

    yield mounted
    if os.path.ismount(place):
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_is_really_full(config: Path, mount: Callable[[str], Path], capsys) -> None:
    place = mount("size=64k")
    assert cli.main(["train", str(config), "--work-dir", str(place)]) == 2
    assert f"{place}/iter_16.pth: needs 1 MB, but only 0 MB" in capsys.readouterr().err
    assert not list(place.glob("*.pth*")) and not list(place.glob(".iter_*"))


def test_a_work_dir_where_not_even_root_may_write(refuse, mount: Callable[[str], Path]) -> None:
    inside = mount("ro") / "inside"
    assert f"work_dir {inside} can't be written: Read-only file system. Choose another with --work-dir" in refuse(work_dir=inside)


def test_a_work_dir_that_is_a_file(refuse, data: Path) -> None:
    assert f"work_dir {data}/inside can't be written: Not a directory. Choose another with --work-dir" in refuse(
        work_dir=data / "inside"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_work_dir_without_permission(refuse, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    assert "can't be written: Permission denied" in refuse(work_dir=tmp_path / "closed" / "inside")


def test_more_processes_than_gpus(refuse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert "3 processes, but this machine shows 2 GPU(s); give --nproc-per-node 2 or less" in refuse("--nproc-per-node", "3")


@pytest.fixture
def without_deepspeed(tmp_path: Path, repo_root: Path) -> dict[str, str]:
    """The environment of a process in which deepspeed is not installed."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text("""
from importlib.machinery import PathFinder
found = PathFinder.find_spec
hidden = lambda name, *rest: None if name.partition(".")[0] == "deepspeed" else found(name, *rest)
PathFinder.find_spec = staticmethod(hidden)
""")
    return {**os.environ, "PYTHONPATH": f"{tmp_path / 'site'}{os.pathsep}{repo_root}", "OMP_NUM_THREADS": "1"}


def test_without_deepspeed(config: Path, tmp_path: Path, without_deepspeed: dict[str, str]) -> None:
    words = [sys.executable, "-m", "xagent.cli", "train", str(config), "--work-dir", str(tmp_path / "out")]
    refused = subprocess.run([*words, "--deepspeed", "zero2"], capture_output=True, text=True, env=without_deepspeed)
    assert refused.returncode == 2 and not (tmp_path / "out").exists()
    assert "--deepspeed needs the package deepspeed, which is not installed" in refused.stderr
    plain = subprocess.run(words, capture_output=True, text=True, env=without_deepspeed)
    assert plain.returncode == 0, plain.stderr
    assert (tmp_path / "out" / "iter_16.pth").exists()


def test_a_quiet_start(config: Path, tmp_path: Path) -> None:
    """Nothing but the training's own log reaches the user of a plain run."""
    config.write_text(config.read_text() + "\nparam_scheduler = [dict(type=LinearLR, start_factor=0.1, by_epoch=False, end=6)]\n")
    words = [sys.executable, "-m", "xagent.cli", "train", str(config), "--work-dir", str(tmp_path / "out")]
    run = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    assert "Warning" not in run.stdout and "WARNING" not in run.stdout and run.stdout.count("\n") < 30
