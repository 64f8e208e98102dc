"""Ranks that share the tokens of each row: one rank's loss and gradients, whatever the strategy; and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.dataset import DefaultSampler, InfiniteSampler, sampler
from peft import LoraConfig
from test_exact_loss import same_training
from tiny_models import SGD, VALIDATION, held_out_in, llama_config, losses_in, write_data
from transformers import AutoModelForCausalLM, AutoTokenizer, Lfm2Config, Lfm2ForCausalLM, LlamaForCausalLM

from xagent.data import default_collate_fn, process_hf_dataset
from xagent.engine.hooks.flops import StepFlops
from xagent.engine.memory import expected_memory, measure_model
from xagent.engine.plan import plan_of, refuse_other_plan
from xagent.engine.sequence_parallel import SequenceParallelSampler, check_sequence_parallel, loader_for_groups, own_part
from xagent.errors import CheckpointError, ConfigError
from xagent.model import SupervisedFinetune, attention
from xagent.model.checkpoint import find_checkpoints, read_trained_state
from xagent.model.loss import trained_positions
from xagent.model.sequence_parallel import SequenceGroup

DYNAMIC = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
TWO = ("--nproc-per-node", "2")


def group_of(size: int, rank: int) -> Any:
    """A rank's view of its group, without processes."""
    return SimpleNamespace(size=size, rank=rank, gathered=0)


def parts_of(batch: dict[str, Any], size: int) -> list[dict[str, Any]]:
    """What each rank of a group gets of a micro-batch."""
    return [own_part(batch, group_of(size, rank))["data"] for rank in range(size)]


# Training on two and four ranks, by the command line


def counted(work_dir: Path) -> tuple[int, int]:
    """Tokens and trained tokens that a run counted."""
    lines = [json.loads(line) for line in (work_dir / "loss.jsonl").read_text().splitlines()]
    last = [line for line in lines if "tokens" in line][-1]
    return last["tokens"], last["trained_tokens"]


def same(one: Path, other: Path) -> None:
    """Assert equal losses, held-out losses, trained tokens, and weights after equal sums of gradients."""
    assert losses_in(other) == pytest.approx(losses_in(one), abs=1e-5)
    assert [loss for _, loss in held_out_in(other)] == pytest.approx([loss for _, loss in held_out_in(one)], abs=1e-5)
    assert len(held_out_in(one)) == 2 and counted(other)[1] == counted(one)[1]
    first, second = (read_trained_state(find_checkpoints(folder)[0])[0] for folder in (one, other))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, atol=1e-5, rtol=0)


@pytest.fixture(scope="module")
def shared_run(exact: Path, train_process: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``exact`` on two ranks that share each row, as plain DDP."""
    folder = tmp_path_factory.mktemp("shared") / "ddp"
    run = train_process(exact, folder, *TWO, sequence_parallel_size=2, save_steps=16)
    assert run.returncode == 0, run.stderr
    return folder


def test_two_ranks_that_share_rows_are_one(reference: Path, shared_run: Path) -> None:
    same_training(reference, shared_run)
    assert counted(shared_run) == counted(reference)


def test_a_shared_run_goes_on_bit_for_bit(
    exact: Path, shared_run: Path, train_process: Callable[..., Any], tmp_path: Path
) -> None:
    run = train_process(
        exact, tmp_path, *TWO, "--resume", str(shared_run / "iter_16.pth"), sequence_parallel_size=2, save_steps=16
    )
    assert run.returncode == 0, run.stderr
    assert losses_in(tmp_path) == losses_in(shared_run)[2:]
    whole, resumed = (read_trained_state(folder / "iter_40.pth")[0] for folder in (shared_run, tmp_path))
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


@pytest.fixture(scope="module")
def packed(configs: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packed rows, an odd number of them, with a validation."""
    data = write_data(tmp_path_factory.mktemp("packed") / "data.jsonl", 18)
    return configs("shared_packed", data=data, optimizer=SGD, clip="None", parts=[VALIDATION])


@pytest.fixture(scope="module")
def packed_run(packed: Path, train_cli: Callable[..., int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``packed`` on one process."""
    folder = tmp_path_factory.mktemp("packed") / "one"
    assert train_cli(packed, folder, train_dataset__pack_to_max_length=True, accumulative_counts=2) == 0
    return folder


@pytest.mark.parametrize("stage", ["zero2", pytest.param("zero3", marks=pytest.mark.slow)])
def test_two_ranks_that_share_packed_rows_under_zero_are_one(
    packed: Path, packed_run: Path, train_process: Callable[..., Any], tmp_path: Path, stage: str
) -> None:
    options = {"train_dataset__pack_to_max_length": True, "accumulative_counts": 2, "sequence_parallel_size": 2}
    run = train_process(packed, tmp_path, *TWO, "--deepspeed", stage, **options)
    assert run.returncode == 0, run.stderr
    same(packed_run, tmp_path)
    assert counted(tmp_path) == counted(packed_run)


@pytest.mark.slow
def test_two_groups_of_two_ranks_are_one_rank(
    packed: Path, packed_run: Path, train_process: Callable[..., Any], tmp_path: Path
) -> None:
    options = {"train_dataset__pack_to_max_length": True, "accumulative_counts": 1, "sequence_parallel_size": 2}
    run = train_process(packed, tmp_path, "--nproc-per-node", "4", **options)
    assert run.returncode == 0, run.stderr
    same(packed_run, tmp_path)


# Parts of rows


def predictions(data: dict[str, Any], begin: int = 0) -> list[tuple[Any, ...]]:
    """Where the model predicts what: place in the row, token and position there, label and weight."""
    return [
        (
            begin + place,
            int(data["input_ids"][0, place]),
            int(data["position_ids"][0, place]),
            int(data["labels"][0, place + 1]),
            float(data["loss_weights"][0, place + 1]),
        )
        for place in trained_positions(data["labels"]).tolist()
    ]


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=9), min_size=1, max_size=4), st.integers(2, 5))
def test_parts_predict_what_the_row_does(samples: list[list[bool]], size: int) -> None:
    rows = []
    for number, trained in enumerate(samples):
        ids = [100 * (number + 1) + place for place in range(len(trained))]
        labels = [token if each else -100 for token, each in zip(ids, trained, strict=True)]
        rows.append({"input_ids": ids, "labels": labels, "loss_weights": [0.5 + token % 7 for token in ids]})
    batch = default_collate_fn(rows)
    whole, before = batch["data"], predictions(batch["data"])
    parts = parts_of(batch, size)
    width = parts[0]["input_ids"].shape[1]
    assert [found for rank, part in enumerate(parts) for found in predictions(part, rank * width)] == before
    assert predictions(whole) == before, "the row itself stays as it is"
    assert sum(float(part["loss_weights"].sum()) for part in parts) == float(whole["loss_weights"].sum())
    tokens = sum(whole["lengths"])
    assert all(part["input_ids"].shape == part["position_ids"].shape == (1, width) for part in parts)
    assert all(sum(part["lengths"]) == width * size < tokens + size for part in parts)
    assert sum(part["tokens"] for part in parts) == tokens
    joined = torch.cat([part["input_ids"] for part in parts], 1)
    assert torch.equal(joined[:, :tokens], whole["input_ids"])


def test_some_parts_of_the_data_hold_nothing_trained(tiny: Path, data: Path) -> None:
    """So the trainings above have ranks without a trained token."""
    rows = process_hf_dataset(
        str(data), AutoTokenizer.from_pretrained(tiny), 160, template="llama3_chat", pack_to_max_length=False
    )
    empty = [not (part["loss_weights"] > 0).any() for row in rows for part in parts_of(default_collate_fn([row]), 2)]
    assert any(empty) and not all(empty)


@pytest.mark.parametrize("round_up", [True, False])
def test_ranks_of_a_group_draw_the_same_rows(monkeypatch: pytest.MonkeyPatch, round_up: bool) -> None:
    def drawn(kind: Callable[..., Any], ranks: int, **options: Any) -> list[list[int]]:
        rows = []
        for rank in range(ranks):
            monkeypatch.setattr(sampler, "get_dist_info", lambda rank=rank: (rank, ranks))
            made = kind(range(10), seed=3, round_up=round_up, **options)
            rows.append(list(made))
            assert len(rows[-1]) == len(made)
        return rows

    three = drawn(DefaultSampler, 3)
    assert drawn(SequenceParallelSampler, 6, sequence_parallel_size=2) == [three[rank // 2] for rank in range(6)]


def test_flops_are_shared_out() -> None:
    flops = StepFlops.of(LlamaForCausalLM(llama_config()))
    batch = default_collate_fn([{"input_ids": [1] * 5, "labels": [1] * 5}, {"input_ids": [1] * 3, "labels": [-100] * 3}])
    parts = [flops.count(part) for part in parts_of(batch, 2)]
    assert sum(parts) == pytest.approx(flops.count(batch["data"])) and parts[0] > parts[1]


# What is told before, and what is refused


def test_dry_run_counts_groups(configs, train_cli, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("LOCAL_RANK", "0"), ("RANK", "0"), ("WORLD_SIZE", "4")):
        monkeypatch.setenv(name, value)
    config = configs("dry_shared")

    def told(size: int) -> str:
        assert train_cli(config, Path("unused"), "--dry-run", sequence_parallel_size=size, accumulative_counts=2) == 0
        return str(capsys.readouterr().out)

    assert "3 optimizer steps an epoch = 5 micro-steps (1 x 2 x 4 process(es))" in told(1)
    text = told(2)
    assert "5 optimizer steps an epoch = 10 micro-steps (1 x 2 x 2 group(s) of 2 processes)" in text
    assert "10 optimizer steps, 20 micro-steps, " in text
    assert "10 optimizer steps an epoch = 20 micro-steps (1 x 2 x 1 group(s) of 4 processes)" in told(4)


def test_activations_are_those_of_a_part(tiny: Path) -> None:
    llm = dict(type=AutoModelForCausalLM.from_pretrained, pretrained_model_name_or_path=str(tiny))
    model = dict(llm=llm, lora=dict(type=LoraConfig, r=4), autocast_dtype="fp32", use_activation_checkpointing="none")
    sizes = measure_model(model)
    shared = expected_memory(sizes, Config(dict(model=model, sequence_parallel_size=2)), [61, 139], 2, 0.3)
    assert shared == expected_memory(sizes, Config(dict(model=model)), [100], 2, 0.3)


@pytest.mark.parametrize(
    ("size", "fault"),
    [
        (2, "sequence_parallel_size = 2: 1 process(es) can't be divided into groups of 2; start 2, or a multiple, with --nproc"),
        (0, "sequence_parallel_size: expected a whole number of at least 1, got 0"),
        ("two", "sequence_parallel_size: expected a whole number of at least 1, got 'two'"),
    ],
)
def test_a_size_that_the_processes_do_not_fit(configs, train_cli, capsys, tmp_path: Path, size: Any, fault: str) -> None:
    assert train_cli(configs("unfit"), tmp_path / "none", sequence_parallel_size=size) == 2
    assert fault in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("size", "changes", "chosen", "fault"),
    [
        (3, {}, {}, "4 attention heads can't be shared out evenly; sizes that can: 2, 4"),
        (
            2,
            {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}},
            {},
            "rotary embedding .dynamic. depends",
        ),
        (2, {}, {"attn_implementation": "eager"}, "attn_implementation is 'eager'; leave it out"),
    ],
)
def test_models_whose_rows_cannot_be_split(
    tmp_path: Path, size: int, changes: dict[str, Any], chosen: dict[str, Any], fault: str
) -> None:
    llama_config(**changes).save_pretrained(tmp_path)
    llm = dict(type=AutoModelForCausalLM.from_pretrained, pretrained_model_name_or_path=str(tmp_path), **chosen)
    with pytest.raises(ConfigError, match=fault):
        check_sequence_parallel(Config(dict(model=dict(llm=llm), sequence_parallel_size=size)))
    check_sequence_parallel(Config(dict(model=dict(llm=llm))))


def _short_convolutions() -> Lfm2ForCausalLM:
    """A model of which one layer is a convolution over tokens, and one attends by our function."""
    sizes = dict(hidden_size=32, intermediate_size=64, num_attention_heads=4, num_key_value_heads=2, vocab_size=300)
    config = Lfm2Config(**sizes, num_hidden_layers=2, layer_types=["conv", "full_attention"])
    return Lfm2ForCausalLM._from_config(config, attn_implementation=attention.NAME)


@pytest.mark.parametrize(
    ("make", "count"),
    [(lambda: LlamaForCausalLM._from_config(llama_config(), attn_implementation="eager"), 0), (_short_convolutions, 1)],
    ids=["another attention", "convolutions"],
)
def test_layers_that_never_see_the_whole_row(make: Callable[[], Any], count: int) -> None:
    class Alone(SequenceGroup):
        """A group of one rank, which has nobody to trade with."""

        def __init__(self) -> None:
            self.size, self.rank, self.gathered = 1, 0, 0

        def _trade(self, parts: torch.Tensor) -> torch.Tensor:
            return parts

    model = SupervisedFinetune(make(), use_activation_checkpointing=False, autocast_dtype="fp32")
    batch = own_part(default_collate_fn([{"input_ids": list(range(40, 60)), "labels": list(range(40, 60))}]), Alone())
    with pytest.raises(ConfigError, match=f"only {count} of the model's 2 layers attend by 'xagent_packed'"):
        model(batch["data"])


@pytest.mark.parametrize("sampling", [dict(type=InfiniteSampler), None, dict(type=DefaultSampler)])
def test_samplers_that_do_not_know_of_groups(sampling: Any) -> None:
    loader = {"batch_size": 1, "sampler": sampling}
    assert loader_for_groups(loader, 1, "train_dataloader") is loader
    if sampling and sampling["type"] is DefaultSampler:
        changed = loader_for_groups({**loader, "sampler": {**sampling, "shuffle": True}}, 2, "train_dataloader")
        assert changed["sampler"] == dict(type=SequenceParallelSampler, sequence_parallel_size=2, shuffle=True)
        return
    with pytest.raises(ConfigError, match="train_dataloader.sampler: sequence_parallel_size = 2 needs dict.type=DefaultSampler"):
        loader_for_groups(loader, 2, "train_dataloader")


def test_a_checkpoint_of_other_groups_is_refused() -> None:
    loop = SimpleNamespace(dataloader=SimpleNamespace(dataset=None, batch_size=1), epoch_length=1, max_iters=1)

    def plan(**settings: Any) -> dict[str, Any]:
        return plan_of(SimpleNamespace(train_loop=loop, optim_wrapper=SimpleNamespace(window=1), seed=0, cfg=settings))

    assert plan() == plan(sequence_parallel_size=1), "checkpoints from before the setting go on"
    with pytest.raises(CheckpointError, match="sequence_parallel_size: 2 then, not set now"):
        refuse_other_plan(Path("iter_8.pth"), plan(sequence_parallel_size=2), plan())
