"""`xagent train`: what it prints, writes and repeats."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tiny_models import VALIDATION, VOCABULARY, held_out_in, losses_in, write_data

from xagent import cli
from xagent.engine.dry_run import Schedule
from xagent.engine.hooks import LossCurveHook
from xagent.model.checkpoint import find_checkpoints


def dry_run(train_cli, config: Path, capsys: pytest.CaptureFixture[str], *arguments: str, **options: Any) -> str:
    """What a dry run prints."""
    assert train_cli(config, Path("unused"), "--dry-run", *arguments, **options) == 0
    return capsys.readouterr().out


def test_dry_run_figures_by_hand(configs, train_cli, capsys, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    text = dry_run(train_cli, configs("dry"), capsys)
    attention, mlp = 2 * 32 * 32 + 2 * 32 * 16, 3 * 32 * 64
    frozen = 2 * VOCABULARY * 32 + 2 * (attention + mlp + 2 * 32) + 32
    trained = 2 * 4 * (2 * (32 + 32) + 2 * (32 + 16) + 3 * (32 + 64))
    assert f"{frozen + trained:,} in all, {trained:,} trainable" in text
    assert "3 optimizer steps an epoch = 20 micro-steps (1 x 8 x 1 process(es))" in text
    assert "6 optimizer steps, 40 micro-steps, " in text
    tokens = int(re.search(r"20 records: ([\d,]+) tokens kept", text)[1].replace(",", ""))
    assert f"40 micro-steps, {2 * tokens:,} tokens" in text
    assert re.search(r"memory        about [\d.]+ \w+ of tensors on each device: frozen weights", text)
    assert str(tmp_path / "unused") in text
    assert not (tmp_path / "unused").exists()


def test_dry_run_of_two_processes_speaks_once(configs, train_process, tmp_path: Path) -> None:
    run = train_process(configs("dry"), tmp_path / "none", "--dry-run", "--nproc-per-node", "2", batch_size=3)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("Dry run of") == 1
    assert "1 optimizer steps an epoch = 4 micro-steps (3 x 8 x 2 process(es))" in run.stdout


@pytest.mark.parametrize(("max_iters", "steps"), [(40, 6), (21, 4), (28, 4), (29, 5), (7, 1)])
def test_steps_of_a_run_that_ends_anywhere(max_iters: int, steps: int) -> None:
    assert Schedule(micro_steps=20, window=8, total=max_iters).steps == steps


def test_the_effective_config_runs_again_to_the_same_losses(configs, train_cli, tmp_path: Path) -> None:
    config = configs("effective", parts=[VALIDATION])
    options = {"max_epochs": 1, "optim_wrapper__optimizer__lr": 0.02, "batch_size": 2, "dropout": 0.1}
    assert train_cli(config, tmp_path / "first", "--seed", "77", **options) == 0
    assert train_cli(tmp_path / "first" / "config.py", tmp_path / "again") == 0
    assert (tmp_path / "again" / "loss.jsonl").read_text() == (tmp_path / "first" / "loss.jsonl").read_text()
    assert train_cli(config, tmp_path / "other", "--seed", "78", **options) == 0
    assert losses_in(tmp_path / "other") != losses_in(tmp_path / "first")


def test_what_a_run_leaves(configs, train_cli, tmp_path: Path) -> None:
    config = configs("outputs", parts=[VALIDATION])
    assert train_cli(config, tmp_path) == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert {"config.py", "loss.jsonl", "loss_curve.png", "best.json", "iter_40.pth", "iter_40.pth.manifest.json"} <= names
    assert (tmp_path / "loss_curve.png").read_bytes().startswith(b"\x89PNG")
    assert [iteration for iteration, _ in held_out_in(tmp_path)] == [20, 40]
    (scalars,) = tmp_path.glob("*/vis_data/scalars.json")
    lines = [json.loads(line) for line in scalars.read_text().splitlines()]
    assert [line["iter"] for line in lines if "loss" in line] == list(range(8, 41, 2))
    assert lines[-1]["held_out_loss"] == held_out_in(tmp_path)[-1][1]
    (log,) = tmp_path.glob("*/*.log")
    assert re.search(r"Iter\(train\) \[ 8/40\].*eta: .*loss: \d", log.read_text())
    assert log.read_text().count("\n") < 50, "the log is for people"


def test_tensorboard_if_asked_for(configs, train_cli, tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="needs tensorboard")
    asked = """
from mmengine.visualization import TensorboardVisBackend, Visualizer
visualizer = dict(type=Visualizer, vis_backends=[dict(type=TensorboardVisBackend)])
"""
    assert train_cli(configs("board", parts=[asked]), tmp_path, max_epochs=1) == 0
    (events,) = tmp_path.glob("*/vis_data/events.out.tfevents*")
    shown = reader.EventAccumulator(str(events)).Reload()
    assert shown.Scalars("loss")[-1].value == pytest.approx(losses_in(tmp_path)[-1])


def test_validation_of_windows_cut_at_an_epochs_end(configs, train_cli, tmp_path: Path) -> None:
    """Windows end at 3, 6, ..., 18, 20, 23, ...: those that reach over a multiple of 4 are followed by a validation."""
    config = configs("validated", parts=[VALIDATION])
    assert train_cli(config, tmp_path, accumulative_counts=3, val_interval=4) == 0
    assert [iteration for iteration, _ in held_out_in(tmp_path)] == [6, 9, 12, 18, 20, 26, 29, 32, 38, 40]


def test_the_held_out_loss_by_hand(configs, train_cli, tmp_path: Path) -> None:
    """At a learning rate of 0, the mean over the data is what one window over all of it loses."""
    config = configs("held_out", parts=[VALIDATION], optimizer="dict(type=SGD, lr=1e-30)")
    assert train_cli(config, tmp_path, accumulative_counts=20, max_epochs=1) == 0
    assert held_out_in(tmp_path)[0][1] == pytest.approx(losses_in(tmp_path)[0], abs=1e-5)


def test_a_loss_that_is_no_number_stops_the_run(configs, train_cli, tmp_path: Path, capsys) -> None:
    config = configs("diverging", optimizer="dict(type=SGD, lr=1e38)", clip="None")
    assert train_cli(config, tmp_path, save_steps=8, accumulative_counts=8) == 2
    message = capsys.readouterr().err
    assert re.search(
        r"the loss is (nan|inf) at iteration 16 \(optimizer step 2\), so training stops; the last checkpoint", message
    )
    assert "the learning rate is too high" in message and "Traceback" not in message
    assert [path.name for path in find_checkpoints(tmp_path)] == ["iter_8.pth"]


def test_bf16_autocast_on_the_cpu(configs, train_cli, tmp_path: Path) -> None:
    config = configs("half")
    assert train_cli(config, tmp_path / "full") == 0
    assert train_cli(config, tmp_path / "half", model__autocast_dtype="bf16") == 0
    full, half = losses_in(tmp_path / "full"), losses_in(tmp_path / "half")
    assert half == pytest.approx(full, abs=0.05) and half != full


def test_packed_rows_train_on_the_same_tokens(configs, train_cli, tmp_path: Path) -> None:
    """All data in one window: packed or not, the first step's loss is the same."""
    config = configs("packed")
    for name, packed in (("rows", True), ("samples", False)):
        options = {"train_dataset__pack_to_max_length": packed, "max_epochs": 1, "accumulative_counts": 20}
        assert train_cli(config, tmp_path / name, **options) == 0
    assert losses_in(tmp_path / "rows") == pytest.approx(losses_in(tmp_path / "samples"), abs=1e-5)
    positions = [json.loads((tmp_path / name / "loss.jsonl").read_text())["iter"] for name in ("rows", "samples")]
    assert positions[0] < positions[1] == 20


def test_full_fine_tuning_checkpoints_everything(configs, train_cli, tmp_path: Path) -> None:
    assert train_cli(configs("full", lora="None"), tmp_path / "whole", save_steps=20) == 0
    part = tmp_path / "part"
    part.mkdir()
    for path in (tmp_path / "whole").glob("iter_20.pth*"):
        path.rename(part / path.name)
    assert train_cli(configs("full", lora="None"), part, "--resume", save_steps=20) == 0
    assert losses_in(part) == losses_in(tmp_path / "whole")[3:]
    assert cli.main(["convert", "pth_to_hf", str(part / "config.py"), str(part / "iter_40.pth"), str(tmp_path / "model")]) == 0
    assert (tmp_path / "model" / "model.safetensors").exists() or list((tmp_path / "model").glob("*.safetensors"))


def test_several_workers_load_the_same(configs, train_cli, tmp_path: Path) -> None:
    data = write_data(tmp_path / "few.jsonl", 8)
    config = configs("workers", data=data)
    for number in (0, 2):
        options = {"train_dataloader__num_workers": number, "accumulative_counts": 4, "dropout": 0.1}
        assert train_cli(config, tmp_path / str(number), **options) == 0
    assert losses_in(tmp_path / "2") == losses_in(tmp_path / "0")


def test_an_optim_wrapper_in_xtuners_words(configs, reference: Path, train_cli, tmp_path: Path) -> None:
    words = """
from mmengine.optim import AmpOptimWrapper
optim_wrapper = dict(
    type=AmpOptimWrapper, optimizer=dict(type=SGD, lr=0.5, momentum=0.9), accumulative_counts=8,
    loss_scale="dynamic", dtype="float16",
)
"""
    assert train_cli(configs("xtuner", parts=[words]), tmp_path) == 0
    assert losses_in(tmp_path) == losses_in(reference)


def test_a_failure_after_the_last_step_loses_no_training(configs, train_cli, capsys, monkeypatch, tmp_path: Path) -> None:
    """The curve is drawn when all is trained: a full disk or a broken font there must not cost the run."""

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("no curve today")

    monkeypatch.setattr(LossCurveHook, "after_train", broken)
    curve = "\nfrom xagent.engine.hooks import LossCurveHook\ncustom_hooks = [dict(type=LossCurveHook)]\n"
    config = configs("broken", parts=[curve])
    assert train_cli(config, tmp_path / "work") == 1
    assert "no curve today" in capsys.readouterr().err
    assert [path.name for path in find_checkpoints(tmp_path / "work")] == ["iter_40.pth"]
