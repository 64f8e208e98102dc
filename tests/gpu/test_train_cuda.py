"""Training on CUDA: QLoRA in bf16, fp16 with loss scaling, DDP and ZeRO on one GPU and on all. Skipped where there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import ADAMW, NF4, SGD, losses_in

from xagent import cli
from xagent.model.checkpoint import read_trained_state
from xagent.model.loading import choose_autocast

pytestmark = [pytest.mark.gpu, pytest.mark.slow]

FP32: dict[str, Any] = {"model__autocast_dtype": "fp32"}
GPUS = torch.cuda.device_count() if torch.cuda.is_available() else 0
COUNTS = sorted({1, max(GPUS, 1)})


@pytest.fixture(scope="session")
def reference(configs: Callable[..., Path], train_cli: Callable[..., int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """fp32, one sample a micro-batch, windows of eight."""
    folder = tmp_path_factory.mktemp("cuda") / "reference"
    assert train_cli(configs("exact", optimizer=SGD, clip="None"), folder, **FP32) == 0
    return folder


def trained(folder: Path) -> dict[str, torch.Tensor]:
    """The trained tensors of a run's last checkpoint."""
    last = max(folder.glob("iter_*.pth"), key=lambda path: int(path.stem.removeprefix("iter_")))
    return read_trained_state(last)[0]


def assert_same(one: Path, other: Path, tolerance: float) -> None:
    """Assert close losses and weights."""
    assert losses_in(other) == pytest.approx(losses_in(one), abs=tolerance)
    for name, value in trained(one).items():
        torch.testing.assert_close(trained(other)[name], value, atol=tolerance, rtol=0)


def test_cutting_the_batch_otherwise_changes_nothing(configs, reference: Path, train_cli, tmp_path: Path) -> None:
    config = configs("exact", optimizer=SGD, clip="None")
    assert train_cli(config, tmp_path, batch_size=4, accumulative_counts=2, **FP32) == 0
    assert_same(reference, tmp_path, 1e-4)


def test_the_cpus_golden_losses(reference: Path, repo_root: Path) -> None:
    golden = [float(line) for line in (repo_root / "tests/assets/losses/tiny_lora_sgd.txt").read_text().split()]
    assert losses_in(reference) == pytest.approx(golden, abs=2e-3)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("arguments", [[], ["--deepspeed", "zero2"], ["--deepspeed", "zero3"]], ids=["plain", "zero2", "zero3"])
def test_each_number_of_gpus_trains_the_same(
    configs, reference: Path, train_process, tmp_path: Path, count: int, arguments: list[str]
) -> None:
    if 8 % count:
        pytest.skip(f"{count} GPUs don't share a window of eight evenly")
    config = configs("exact", optimizer=SGD, clip="None")
    run = train_process(config, tmp_path, "--nproc-per-node", str(count), *arguments, accumulative_counts=8 // count, **FP32)
    assert run.returncode == 0, run.stderr
    assert_same(reference, tmp_path, 1e-4)


def test_qlora_in_bf16(configs, train_cli, tmp_path: Path) -> None:
    if choose_autocast("auto", torch.device("cuda")) != torch.bfloat16:
        pytest.skip("this GPU has no bf16")
    config = configs("qlora", quantization=NF4, optimizer=ADAMW)
    assert train_cli(config, tmp_path / "half", max_epochs=4) == 0
    assert train_cli(config, tmp_path / "exact", max_epochs=4, **FP32) == 0
    half, exact = losses_in(tmp_path / "half"), losses_in(tmp_path / "exact")
    assert half == pytest.approx(exact, abs=0.15) and half != exact
    assert half[-1] < half[0] - 0.3
    assert {value.dtype for value in trained(tmp_path / "half").values()} == {torch.float32}
    checkpoint = str(tmp_path / "half" / "iter_80.pth")
    assert cli.main(["convert", "pth_to_hf", str(config), checkpoint, str(tmp_path / "adapter")]) == 0


def test_eval_then_train_keeps_gradients(configs, train_cli, tmp_path: Path) -> None:
    """Every trained tensor of the first layer moves, though the model was looked at before training."""
    from tiny_models import CHAT, VALIDATION

    config = configs("looked_at", quantization=NF4, parts=[VALIDATION, CHAT])
    assert train_cli(config, tmp_path, val_interval=4) == 0
    moved = {name: value.abs().sum() for name, value in trained(tmp_path).items() if "layers.0" in name and "lora_B" in name}
    assert len(moved) == 7 and all(value > 0 for value in moved.values())


def test_fp16_scales_the_loss_and_resumes(configs, train_cli, tmp_path: Path) -> None:
    config = configs("fp16", quantization=NF4, optimizer=ADAMW)
    options: dict[str, Any] = {"model__autocast_dtype": "fp16", "save_steps": 16, "max_epochs": 4}
    assert train_cli(config, tmp_path / "whole", **options) == 0
    losses = losses_in(tmp_path / "whole")
    assert losses[-1] < losses[0] - 0.3
    state = torch.load(tmp_path / "whole" / "iter_40.pth", map_location="cpu", weights_only=True)
    assert state["optimizer"]["loss_scaler"]["scale"] >= 1
    checkpoint = str(tmp_path / "whole" / "iter_40.pth")
    assert train_cli(config, tmp_path / "part", "--resume", checkpoint, **options) == 0
    assert losses_in(tmp_path / "part") == pytest.approx(losses[6:], abs=0.02)


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_half_precision_under_zero2(configs, train_process, tmp_path: Path, dtype: str) -> None:
    config = configs("half_zero2", quantization=NF4, optimizer=ADAMW)
    arguments = ["--deepspeed", "zero2", "--nproc-per-node", str(max(GPUS, 1))]
    options: dict[str, Any] = {"model__autocast_dtype": dtype, "max_epochs": 6, "save_steps": 10, "accumulative_counts": 2}
    run = train_process(config, tmp_path, *arguments, **options)
    assert run.returncode == 0, run.stderr
    losses = losses_in(tmp_path)
    assert losses[-1] < losses[0]


def test_resumed_is_uninterrupted(configs, train_cli, tmp_path: Path) -> None:
    config = configs("resumed", quantization=NF4)
    options: dict[str, Any] = {**FP32, "dropout": 0.2, "save_steps": 8}
    assert train_cli(config, tmp_path / "whole", **options) == 0
    checkpoint = str(tmp_path / "whole" / "iter_16.pth")
    assert train_cli(config, tmp_path / "part", "--resume", checkpoint, **options) == 0
    assert losses_in(tmp_path / "part") == pytest.approx(losses_in(tmp_path / "whole")[2:], abs=1e-4)


def test_more_processes_than_gpus(configs, train_process, tmp_path: Path) -> None:
    run = train_process(configs("exact", optimizer=SGD, clip="None"), tmp_path / "out", "--nproc-per-node", str(GPUS + 1))
    assert run.returncode == 2
    assert f"{GPUS + 1} processes, but this machine shows {GPUS} GPU(s)" in run.stderr


@pytest.mark.parametrize("window", [None, 40])
def test_the_varlen_kernel_is_sample_by_sample(window: int | None) -> None:
    """torch's kernel in bf16 against a call of SDPA for each sample in fp32: outputs and gradients."""
    from xagent.model.attention import packed_attention, varlen_arguments

    torch.manual_seed(0)
    lengths = [5, 130, 1, 64]
    shapes = [(1, 8, sum(lengths), 64), (1, 2, sum(lengths), 64), (1, 2, sum(lengths), 64)]
    exact = [torch.randn(shape, device="cuda", requires_grad=True) for shape in shapes]
    half = [value.detach().bfloat16().requires_grad_() for value in exact]
    module = torch.nn.Module()
    plain = packed_attention(module, *exact, None, sample_lengths=lengths, sliding_window=window)[0]
    more = varlen_arguments(lengths, torch.device("cuda"))
    fast = packed_attention(module, *half, None, sample_lengths=lengths, sliding_window=window, **more)[0]
    torch.testing.assert_close(fast.float(), plain, atol=3e-2, rtol=3e-2)
    wanted = torch.randn_like(plain)
    (plain * wanted).sum().backward()
    (fast * wanted.bfloat16()).sum().backward()
    for one, other in zip(half, exact, strict=True):
        assert float((one.grad.float() - other.grad).norm() / other.grad.norm()) < 3e-2


def test_liger_trains_the_same(configs, train_cli, tmp_path: Path) -> None:
    pytest.importorskip("liger_kernel", reason="needs liger-kernel: pip install liger-kernel")
    config = configs("liger", optimizer=SGD, clip="None")
    for name, used in (("liger", True), ("plain", False)):
        assert train_cli(config, tmp_path / name, model__use_liger_kernel=used, **FP32) == 0
    assert losses_in(tmp_path / "liger") == pytest.approx(losses_in(tmp_path / "plain"), abs=1e-4)
