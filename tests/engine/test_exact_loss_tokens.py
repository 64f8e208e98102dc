"""``loss_normalization='tokens'``: weighted losses over the number of trained tokens, exact however a batch is cut."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from test_exact_loss import WINDOW, samples_by_hand
from tiny_models import SGD, VALIDATION, held_out_in, losses_in

from xagent.engine import plan
from xagent.engine.plan import plan_of, refuse_other_plan
from xagent.errors import CheckpointError
from xagent.model import loading
from xagent.model.checkpoint import read_trained_state

STEPS = 2


@pytest.fixture(scope="module")
def config(configs: Any) -> Path:
    return configs("tokens", optimizer=SGD, clip="None", parts=[VALIDATION])


def cut(batch_size: int, accumulation: int) -> dict[str, Any]:
    return {
        "model__loss_normalization": "tokens",
        "max_epochs": None,
        "max_iters": STEPS * accumulation,
        "batch_size": batch_size,
        "accumulative_counts": accumulation,
    }


@pytest.fixture(scope="module")
def one_by_eight(config: Path, train_cli: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokens") / "one_by_eight"
    assert train_cli(config, folder, **cut(1, 8)) == 0
    return folder


def same(one: Path, other: Path) -> None:
    assert len(losses_in(one)) == STEPS
    assert losses_in(other) == pytest.approx(losses_in(one), abs=1e-5)
    assert [loss for _, loss in held_out_in(other)] == pytest.approx([loss for _, loss in held_out_in(one)], abs=1e-5)
    first, second = (read_trained_state(max(folder.glob("iter_*.pth")))[0] for folder in (one, other))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, atol=1e-5, rtol=0)


def test_the_loss_by_hand(one_by_eight: Path, tiny: Path, data: Path) -> None:
    sums = samples_by_hand(tiny, data, seed=11, count=WINDOW)
    tokens = sum(count for *_, count in sums)
    weights = sum(weight for _, weight, _ in sums)
    assert abs(tokens - weights) > 1, "the weights must differ from 1 for this to tell the two apart"
    assert losses_in(one_by_eight)[0] == pytest.approx(sum(loss for loss, *_ in sums) / tokens, abs=1e-5)


@pytest.mark.parametrize(("batch_size", "accumulation"), [(4, 2), (8, 1)])
def test_cutting_the_batch_otherwise_changes_nothing(
    config: Path, one_by_eight: Path, train_cli: Any, tmp_path: Path, batch_size: int, accumulation: int
) -> None:
    assert train_cli(config, tmp_path, **cut(batch_size, accumulation)) == 0
    same(one_by_eight, tmp_path)


@pytest.mark.parametrize("strategy", [(), ("--deepspeed", "zero2")], ids=["ddp", "zero2"])
def test_two_ranks_are_one(
    config: Path, one_by_eight: Path, train_process: Any, tmp_path: Path, strategy: tuple[str, ...]
) -> None:
    run = train_process(config, tmp_path, "--nproc-per-node", "2", *strategy, **cut(2, 2))
    assert run.returncode == 0, run.stderr
    same(one_by_eight, tmp_path)


def test_a_resumed_run_keeps_weights_and_normalisation() -> None:
    config = {
        "model": {"loss_normalization": "tokens"},
        "train_dataloader": {"dataset": {"loss_weights": ["react", {"A:": [1, 2]}]}},
    }
    loader = SimpleNamespace(dataset=None, batch_size=1)
    runner = SimpleNamespace(
        train_loop=SimpleNamespace(dataloader=loader, epoch_length=1, max_iters=1),
        optim_wrapper=SimpleNamespace(window=1),
        seed=0,
        cfg=config,
    )
    before = plan_of(runner)
    config["train_dataloader"]["dataset"]["loss_weights"] = ["react", {"A:": [1, 3]}]
    with pytest.raises(CheckpointError, match=r"loss_weights.1.A:: \(1, 2\) then, \(1, 3\) now"):
        refuse_other_plan(Path("iter_8.pth"), before, plan_of(runner))
    del config["model"]
    with pytest.raises(CheckpointError, match="model.loss_normalization: 'tokens' then, not set now"):
        refuse_other_plan(Path("iter_8.pth"), before, plan_of(runner))


def test_what_auto_became_is_kept_too(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = SimpleNamespace(dataloader=SimpleNamespace(dataset=None, batch_size=1), epoch_length=1, max_iters=1)
    config = {"model": {"llm": {}, "autocast_dtype": "auto"}}
    runner = SimpleNamespace(train_loop=loop, optim_wrapper=SimpleNamespace(window=1), seed=0, cfg=config)
    monkeypatch.setattr(plan, "local_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(loading, "bf16_is_faster", lambda: True)
    before = plan_of(runner)
    refuse_other_plan(Path("iter_8.pth"), before, plan_of(runner))
    monkeypatch.setattr(loading, "bf16_is_faster", lambda: False)
    with pytest.raises(CheckpointError, match=r"computed in: torch.bfloat16 then, torch.float32 now"):
        refuse_other_plan(Path("iter_8.pth"), before, plan_of(runner))
    del before["computed in"]
    refuse_other_plan(Path("iter_8.pth"), before, plan_of(runner))  # as in checkpoints from before it was kept
