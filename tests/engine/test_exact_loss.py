"""The loss is the mean over every trained token of the global batch, however that is cut: on one process, two, under ZeRO."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import CHAT, NF4, SGD, VALIDATION, held_out_in, losses_in, write_data
from torch.nn import functional
from transformers import AutoTokenizer, LlamaForCausalLM

from xagent import cli
from xagent.data import process_hf_dataset
from xagent.model.checkpoint import read_trained_state

STEPS, WINDOW = 6, 8  # two passes over 20 samples: 8 + 8 + 4 each


def same_training(one: Path, other: Path) -> None:
    """Assert equal losses, and equal weights after equal sums of gradients."""
    losses = losses_in(one)
    assert len(losses) == STEPS
    assert losses_in(other) == pytest.approx(losses, abs=1e-5)
    first, second = (read_trained_state(max(folder.glob("iter_*.pth")))[0] for folder in (one, other))
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, atol=1e-5, rtol=0)


def samples_by_hand(base: Path, data: Path, seed: int, count: int) -> list[tuple[float, float, int]]:
    """Weighted sum of losses, sum of weights, and trained tokens of the first samples of a pass, by a plain forward pass each."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    rows = process_hf_dataset(str(data), tokenizer, 160, template="llama3_chat", pack_to_max_length=False)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()
    model = LlamaForCausalLM.from_pretrained(base).eval()
    sums = []
    for index in order[:count]:
        row = rows[index]
        ids = torch.tensor([row["input_ids"].tolist()])
        weights = torch.tensor(row["loss_weights"])[1:]
        with torch.no_grad():
            nll = functional.cross_entropy(model(ids).logits[0, :-1], ids[0, 1:], reduction="none")
        sums.append((float((nll * weights).sum()), float(weights.sum()), int((weights > 0).sum())))
    return sums


def test_the_loss_is_the_mean_over_the_window_by_hand(reference: Path, tiny: Path, data: Path) -> None:
    sums = samples_by_hand(tiny, data, seed=11, count=WINDOW)
    assert len({weight for _, weight, _ in sums}) > 3, "the samples must differ in trained weight"
    exact = sum(loss for loss, *_ in sums) / sum(weight for _, weight, _ in sums)
    mean_of_means = sum(loss / weight for loss, weight, _ in sums) / WINDOW
    assert losses_in(reference)[0] == pytest.approx(exact, abs=1e-5)
    assert abs(exact - mean_of_means) > 1e-2, "the data can't tell an exact mean from a mean of means"


@pytest.mark.parametrize(("batch_size", "accumulation"), [(4, 2), (8, 1)])
def test_cutting_the_batch_otherwise_changes_nothing(
    exact: Path, reference: Path, train_cli, tmp_path: Path, batch_size: int, accumulation: int
) -> None:
    assert train_cli(exact, tmp_path, batch_size=batch_size, accumulative_counts=accumulation) == 0
    same_training(reference, tmp_path)


def test_two_ranks_are_one(reference: Path, ddp_run: Path) -> None:
    same_training(reference, ddp_run)


def test_two_ranks_under_zero2_on_nf4_are_one(exact_nf4: Path, zero2_nf4_run: Path, train_cli, tmp_path: Path) -> None:
    assert train_cli(exact_nf4, tmp_path) == 0
    same_training(tmp_path, zero2_nf4_run)


@pytest.mark.parametrize(("ranks", "batch_size", "accumulation"), [(1, 4, 2), (2, 2, 2)])
def test_zero2_is_plain_however_the_batch_is_cut(
    exact: Path, reference: Path, train_process, tmp_path: Path, ranks: int, batch_size: int, accumulation: int
) -> None:
    options = {"batch_size": batch_size, "accumulative_counts": accumulation}
    run = train_process(exact, tmp_path, "--deepspeed", "zero2", "--nproc-per-node", str(ranks), **options)
    assert run.returncode == 0, run.stderr
    same_training(reference, tmp_path)


def test_a_zero2_checkpoint_of_two_ranks_converts(exact_nf4: Path, zero2_nf4_run: Path, tmp_path: Path) -> None:
    checkpoint = zero2_nf4_run / "iter_20.pth"
    assert cli.main(["convert", "pth_to_hf", str(exact_nf4), str(checkpoint), str(tmp_path / "adapter")]) == 0
    adapter = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    trained = read_trained_state(checkpoint)[0]
    assert len(adapter) == len(trained) == 2 * 2 * 7
    for name, value in trained.items():
        short = name.removeprefix("llm.").replace(".default.", ".")
        assert torch.equal(adapter[short].float(), value), name


@pytest.mark.parametrize("quantization", ["None", NF4], ids=["fp32", "nf4"])
def test_two_ranks_under_zero3_are_one(configs, train_cli, train_process, tmp_path: Path, quantization: str) -> None:
    config = configs("zero3", optimizer=SGD, clip="None", quantization=quantization, parts=[VALIDATION, CHAT])
    assert train_cli(config, tmp_path / "one") == 0
    run = train_process(config, tmp_path / "two", "--nproc-per-node", "2", "--deepspeed", "zero3", accumulative_counts=4)
    assert run.returncode == 0, run.stderr
    same_training(tmp_path / "one", tmp_path / "two")
    (one, two) = ([loss for _, loss in held_out_in(tmp_path / name)] for name in ("one", "two"))
    assert len(one) == 2 and two == pytest.approx(one, abs=1e-5)
    assert (tmp_path / "two" / "chat_samples" / "iter_0.md").read_text() == (
        tmp_path / "one" / "chat_samples" / "iter_0.md"
    ).read_text()


def test_a_sample_repeated_for_the_second_rank_counts_once(configs, train_cli, train_process, tmp_path: Path) -> None:
    data = write_data(tmp_path / "odd.jsonl", 21)
    config = configs("odd", data=data, optimizer=SGD, clip="None", parts=[VALIDATION])
    assert train_cli(config, tmp_path / "one") == 0
    run = train_process(config, tmp_path / "two", "--nproc-per-node", "2", accumulative_counts=4)
    assert run.returncode == 0, run.stderr
    same_training(tmp_path / "one", tmp_path / "two")
    (one, two) = ([loss for _, loss in held_out_in(tmp_path / name)] for name in ("one", "two"))
    assert len(one) == 2 and two == pytest.approx(one, abs=1e-5)


def test_clipping_sees_the_whole_gradient(configs, train_cli, tmp_path: Path) -> None:
    config = configs("clipped", optimizer=SGD, clip="dict(max_norm=0.05)")
    assert train_cli(config, tmp_path / "one") == 0
    assert train_cli(config, tmp_path / "other", batch_size=8, accumulative_counts=1) == 0
    same_training(tmp_path / "one", tmp_path / "other")


def test_golden_losses(reference: Path, repo_root: Path) -> None:
    golden = [float(line) for line in (repo_root / "tests/assets/losses/tiny_lora_sgd.txt").read_text().split()]
    assert losses_in(reference) == pytest.approx(golden, abs=2e-4)
