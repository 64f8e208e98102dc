"""A resumed run is the uninterrupted one, bit for bit; and what can't be resumed is refused with the reason."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import CHAT, NF4, VALIDATION, held_out_in, losses_in

from xagent import cli
from xagent.model.checkpoint import read_trained_state

SCHEDULER = """[
    dict(type=LinearLR, start_factor=0.1, by_epoch=False, begin=0, end=6),
    dict(type=CosineAnnealingLR, eta_min=0.0, by_epoch=True, begin=0, end=2, convert_to_iter_based=True),
]"""
BY_EPOCH = "[dict(type=LinearLR, start_factor=0.1, by_epoch=True, begin=0, end=2)]"
# Windows of 3 in an epoch of 20: the seventh is cut to 2. Saved at the first window's end at or after each multiple of 5.
OPTIONS: dict[str, Any] = dict(accumulative_counts=3, save_steps=5, dropout=0.2)
SAVED = [6, 12, 15, 20, 26, 32, 35, 40]


@pytest.fixture(scope="session")
def watched(configs: Callable[..., Path]) -> Path:
    """Chat samples, validation in the middle and at the ends, dropout, two schedulers."""
    return configs("watched", scheduler=SCHEDULER, parts=[VALIDATION, CHAT])


@pytest.fixture(scope="session")
def whole(watched: Path, train_cli: Callable[..., int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The uninterrupted run."""
    folder = tmp_path_factory.mktemp("resume") / "whole"
    assert train_cli(watched, folder, val_interval=7, **OPTIONS) == 0
    return folder


def part_of(whole: Path, folder: Path, *iterations: int) -> Path:
    """Copy a run as it was when it was interrupted: some checkpoints, and the losses so far."""
    folder.mkdir()
    for iteration in iterations:
        for path in whole.glob(f"iter_{iteration}.pth*"):
            shutil.copytree(path, folder / path.name) if path.is_dir() else shutil.copy(path, folder)
    lines = [line for line in (whole / "loss.jsonl").read_text().splitlines() if json.loads(line)["iter"] <= max(iterations)]
    (folder / "loss.jsonl").write_text("".join(line + "\n" for line in lines))
    if (whole / "best.json").exists() and json.loads((whole / "best.json").read_text())["iter"] in iterations:
        shutil.copy(whole / "best.json", folder)
    return folder


def assert_same(one: Any, other: Any, where: str = "state") -> None:
    """Assert that two checkpoints' states are equal to the last bit."""
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype and torch.equal(one, other), where
    elif isinstance(one, dict):
        assert list(one) == list(other), where
        for key, value in one.items():
            assert_same(value, other[key], f"{where}.{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for index, value in enumerate(one):
            assert_same(value, other[index], f"{where}.{index}")
    else:
        assert one == other or type(one).__module__.startswith("deepspeed"), where


def assert_same_end(one: Path, other: Path) -> None:
    """Assert equal losses, validations, weights, optimizer states, schedulers, random states and positions."""
    assert (other / "loss.jsonl").read_text() == (one / "loss.jsonl").read_text()
    last = max(one.glob("iter_*.pth"), key=lambda path: int(path.stem.removeprefix("iter_")))
    assert (other / last.name).exists()
    pairs = [(path, other / path.relative_to(one)) for path in ([last] if last.is_file() else sorted(last.glob("*.pt")))]
    assert pairs
    for path, its in pairs:
        assert_same(*(torch.load(file, map_location="cpu", weights_only=path.suffix == ".pth") for file in (path, its)))


def test_checkpoints_are_where_windows_end(whole: Path) -> None:
    assert sorted(int(path.stem.removeprefix("iter_")) for path in whole.glob("iter_*.pth")) == sorted(
        {*SAVED, *(iteration for iteration, _ in _bests(whole))}
    )


def _bests(work_dir: Path) -> list[tuple[int, float]]:
    bests: list[tuple[int, float]] = []
    for iteration, loss in held_out_in(work_dir):
        if not bests or loss < bests[-1][1]:
            bests.append((iteration, loss))
    return bests


@pytest.mark.parametrize("iteration", [6, 15, 20], ids=["inside an epoch", "before a validation", "at an epoch's end"])
def test_resumed_is_uninterrupted(watched: Path, whole: Path, train_cli, tmp_path: Path, iteration: int) -> None:
    part = part_of(whole, tmp_path / "part", iteration)
    assert train_cli(watched, part, "--resume", "auto", val_interval=7, **OPTIONS) == 0
    assert_same_end(whole, part)
    assert json.loads((part / "best.json").read_text()) == json.loads((whole / "best.json").read_text())


def test_interrupted_then_resumed(configs, whole: Path, train_cli, tmp_path: Path, watched: Path) -> None:
    stop = "\nfrom interruptions import InterruptAt\ncustom_hooks.append(dict(type=InterruptAt, iteration=17))\n"
    stopped = configs("stopped", scheduler=SCHEDULER, parts=[VALIDATION, CHAT, stop])
    assert train_cli(stopped, tmp_path, val_interval=7, **OPTIONS) == 130
    assert train_cli(watched, tmp_path, "--resume", val_interval=7, **OPTIONS) == 0
    assert_same_end(whole, tmp_path)


def test_schedulers_that_count_epochs(configs, train_cli, tmp_path: Path) -> None:
    config = configs("by_epoch", scheduler=BY_EPOCH)
    assert train_cli(config, tmp_path / "whole", **OPTIONS) == 0
    part = part_of(tmp_path / "whole", tmp_path / "part", 20)
    assert train_cli(config, part, "--resume", "auto", **OPTIONS) == 0
    assert_same_end(tmp_path / "whole", part)
    rates = [json.loads(line)["lr"] for line in (part / "loss.jsonl").read_text().splitlines()]
    assert rates == pytest.approx([1e-3] * 7 + [1e-2] * 7)


def test_a_run_that_ends_inside_an_epoch(configs, train_cli, tmp_path: Path) -> None:
    config = configs("short")
    options = {**OPTIONS, "max_epochs": None, "max_iters": 29}
    assert train_cli(config, tmp_path / "whole", **options) == 0
    last = torch.load(tmp_path / "whole" / "iter_29.pth", weights_only=True)["meta"]["position"]
    assert (last["epoch"], last["iter"], last["step"]) == (1, 29, 10)
    part = part_of(tmp_path / "whole", tmp_path / "part", 26)
    assert train_cli(config, part, "--resume", "auto", **options) == 0
    assert_same_end(tmp_path / "whole", part)
    before = (part / "iter_29.pth").stat().st_mtime_ns
    assert train_cli(config, part, "--resume", "auto", **options) == 0, "resuming what is finished does nothing"
    assert (part / "iter_29.pth").stat().st_mtime_ns == before


@pytest.fixture(scope="session")
def quantised(configs: Callable[..., Path]) -> Path:
    """QLoRA on NF4 weights."""
    return configs("quantised", quantization=NF4, scheduler=SCHEDULER)


@pytest.fixture(scope="session", params=["zero2", "zero3"])
def whole_zero(
    request: pytest.FixtureRequest, quantised: Path, train_process, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """A ZeRO stage, and two ranks under it on an NF4 base, uninterrupted."""
    folder = tmp_path_factory.mktemp(request.param) / "whole"
    run = train_process(quantised, folder, "--deepspeed", request.param, "--nproc-per-node", "2", **ZERO_OPTIONS)
    assert run.returncode == 0, run.stderr
    return request.param, folder


ZERO_OPTIONS: dict[str, Any] = dict(accumulative_counts=3, save_steps=6, dropout=0.2)  # epochs of 10: windows 3, 3, 3, 1


def test_two_ranks_zero_nf4_resumed_is_uninterrupted(
    quantised: Path, whole_zero: tuple[str, Path], train_process, tmp_path: Path
) -> None:
    stage, whole = whole_zero
    assert len(losses_in(whole)) == 8
    part = part_of(whole, tmp_path / "part", 6)
    arguments = ["--deepspeed", stage, "--nproc-per-node", "2", "--resume", "auto"]
    run = train_process(quantised, part, *arguments, **ZERO_OPTIONS)
    assert run.returncode == 0, run.stderr
    assert_same_end(whole, part)
    assert cli.main(["convert", "pth_to_hf", str(part / "config.py"), str(part / "iter_20.pth"), str(tmp_path / "adapter")]) == 0
    trained = read_trained_state(whole / "iter_20.pth")[0]
    adapter = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert len(adapter) == len(trained) == 2 * 2 * 7
    for name, value in trained.items():
        assert torch.equal(adapter[name.removeprefix("llm.").replace(".default.", ".")].float(), value), name


@pytest.mark.slow
def test_two_ranks_ddp_resumed_is_uninterrupted(configs, train_process, tmp_path: Path) -> None:
    config = configs("ddp", scheduler=SCHEDULER)
    run = train_process(config, tmp_path / "whole", "--nproc-per-node", "2", **ZERO_OPTIONS)
    assert run.returncode == 0, run.stderr
    part = part_of(tmp_path / "whole", tmp_path / "part", 12)
    run = train_process(config, part, "--nproc-per-node", "2", "--resume", **ZERO_OPTIONS)
    assert run.returncode == 0, run.stderr
    assert_same_end(tmp_path / "whole", part)


def test_killed_while_saving(configs, train_cli, train_process, tmp_path: Path) -> None:
    kill = "\nfrom interruptions import KillWhileSaving\ncustom_hooks.append(dict(type=KillWhileSaving))\n"
    killed, plain = configs("killed", scheduler=SCHEDULER, parts=[kill]), configs("unkilled", scheduler=SCHEDULER)
    # As many threads there as here: how a sum is cut among threads decides its last bits.
    run = train_process(killed, tmp_path / "killed", env={"OMP_NUM_THREADS": str(torch.get_num_threads())}, **OPTIONS)
    assert run.returncode == -signal.SIGKILL
    assert [path.name for path in (tmp_path / "killed").glob("iter_*.pth")] == ["iter_6.pth"]
    assert list((tmp_path / "killed").glob(".iter_12.pth.tmp-*")), "the test must leave half a checkpoint"
    assert train_cli(plain, tmp_path / "killed", "--resume", "auto", **OPTIONS) == 0
    assert not list((tmp_path / "killed").glob(".iter_*"))
    assert train_cli(plain, tmp_path / "whole", **OPTIONS) == 0
    assert_same_end(tmp_path / "whole", tmp_path / "killed")


def test_another_number_of_threads_is_said(watched: Path, whole: Path, train_cli, tmp_path: Path) -> None:
    part = part_of(whole, tmp_path / "part", 35)
    before = torch.get_num_threads()
    torch.set_num_threads(3 - min(before, 2))
    try:
        assert train_cli(watched, part, "--resume", "auto", val_interval=7, **OPTIONS) == 0
    finally:
        torch.set_num_threads(before)
    assert f"iter_35.pth was trained on CPU, {before} threads, this is CPU, {3 - min(before, 2)} threads" in log_of(part)


def log_of(work_dir: Path) -> str:
    """All that a run logged."""
    return "\n".join(path.read_text() for path in sorted(work_dir.glob("*/*.log")))


@pytest.mark.parametrize(("damage", "reason"), [("truncated", "is truncated"), ("flipped", "its content changed after")])
def test_auto_skips_what_is_damaged_and_says_why(
    watched: Path, whole: Path, train_cli, tmp_path: Path, damage: str, reason: str
) -> None:
    part = part_of(whole, tmp_path / "part", 26, 32)
    newest = part / "iter_32.pth"
    if damage == "truncated":
        os.truncate(newest, newest.stat().st_size // 2)
    else:
        content = bytearray(newest.read_bytes())
        content[len(content) // 2] ^= 1
        newest.write_bytes(content)
    assert train_cli(watched, part, "--resume", "auto", val_interval=7, **OPTIONS, save_total_limit=1) == 0
    assert f"Skipping iter_32.pth: {newest}: {reason}" in log_of(part)
    assert "Going on from" in log_of(part) and "iter_26.pth: epoch 2, iteration 26" in log_of(part)
    assert_same_end(whole, part)
    assert [path.name for path in part.glob("set_aside_*/*.pth")] == ["iter_32.pth"]


def test_auto_with_nothing_to_resume_starts_anew(watched: Path, whole: Path, train_cli, tmp_path: Path) -> None:
    assert train_cli(watched, tmp_path, "--resume", "auto", val_interval=7, **OPTIONS) == 0
    assert f"No checkpoint to go on from in {tmp_path}: starting anew" in log_of(tmp_path)
    assert_same_end(whole, tmp_path)


def test_rotation_and_the_best(configs, train_cli, tmp_path: Path) -> None:
    hook = "dict(type=RaiseLearningRate, after=20, factor=200.0)"
    worse = f"\nfrom interruptions import RaiseLearningRate\ncustom_hooks.append({hook})\n"
    config = configs("rotated", parts=[VALIDATION, worse])
    assert train_cli(config, tmp_path, val_interval=10, save_total_limit=2, **{**OPTIONS, "dropout": 0.0}) == 0
    validations = dict(held_out_in(tmp_path))
    best = min(validations, key=validations.__getitem__)
    assert best not in (35, 40), "the last checkpoints must not be the best ones"
    kept = {path.name for path in tmp_path.glob("iter_*.pth")}
    assert kept == {f"iter_{best}.pth", "iter_35.pth", "iter_40.pth"}
    assert json.loads((tmp_path / "best.json").read_text()) == {
        "held_out_loss": validations[best], "checkpoint": f"iter_{best}.pth", "iter": best,
    }  # fmt: skip


def test_a_fresh_run_sets_older_checkpoints_aside(configs, train_cli, tmp_path: Path) -> None:
    config = configs("again")
    for seed in (1, 2):
        assert train_cli(config, tmp_path, "--seed", str(seed), save_steps=20, save_total_limit=1) == 0
    assert [path.name for path in tmp_path.glob("iter_*.pth")] == ["iter_40.pth"]
    assert {path.name for path in tmp_path.glob("set_aside_*/*")} == {"iter_40.pth", "iter_40.pth.manifest.json"}
    assert torch.load(tmp_path / "iter_40.pth", weights_only=True)["meta"]["plan"]["seed"] == 2
