"""Two ranks that trade tokens for heads attend as one does: outputs and gradients, and as DeepSpeed's Ulysses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed, multiprocessing

from xagent.model.attention import packed_attention
from xagent.model.sequence_parallel import SequenceGroup

RANKS, LENGTHS, SIZE = 2, [5, 1, 9, 3], 4
TOKENS = sum(LENGTHS) // RANKS
HEADS = {"as many": (4, 4), "grouped": (8, 4), "one for all": (4, 1), "grouped by threes": (6, 3)}


def _on_two_ranks(work: Callable[[SequenceGroup], Any], folder: Path) -> list[Any]:
    """Run ``work`` in two processes over gloo and give what each returned."""
    multiprocessing.spawn(_run, (work, str(folder)), nprocs=RANKS)
    return [torch.load(folder / f"{rank}.pt") for rank in range(RANKS)]


def _run(rank: int, work: Callable[[SequenceGroup], Any], folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=RANKS)
    try:
        assert distributed.group.WORLD is not None
        torch.save(work(SequenceGroup(distributed.group.WORLD)), f"{folder}/{rank}.pt")
        distributed.barrier()
    finally:
        distributed.destroy_process_group()


def _inputs(heads: tuple[int, int], value_size: int = SIZE) -> list[torch.Tensor]:
    """Queries, keys, values of the whole row, and the gradient of its output (tokens first, as attention gives them)."""
    generator = torch.Generator().manual_seed(5)
    shapes = [(1, heads[0], SIZE), (1, heads[1], SIZE), (1, heads[1], value_size)]
    made = [torch.randn(one, count, sum(LENGTHS), size, generator=generator) for one, count, size in shapes]
    return [*made, torch.randn(1, sum(LENGTHS), heads[0], value_size, generator=generator)]


def _attend(inputs: list[torch.Tensor], group: SequenceGroup | None = None, window: int | None = None) -> list[torch.Tensor]:
    """Attend to this rank's part of the row; give the output and the gradients of queries, keys and values."""
    own = slice(None) if group is None else slice(group.rank * TOKENS, (group.rank + 1) * TOKENS)
    leaves = [each[:, :, own].clone().requires_grad_() for each in inputs[:3]]
    output, _ = packed_attention(
        torch.nn.Identity(), *leaves, None, sample_lengths=LENGTHS, sliding_window=window, sequence_group=group
    )
    output.backward(inputs[3][:, own])
    return [output.detach(), *(each.grad for each in leaves)]


CASES = {
    **{name: (_inputs(heads), None) for name, heads in HEADS.items()},
    "window": (_inputs((8, 4)), 3),
    "narrow values": (_inputs((8, 4), value_size=2), None),
}


def _every_case(group: SequenceGroup) -> dict[str, list[torch.Tensor]]:
    found = {name: _attend(inputs, group, window) for name, (inputs, window) in CASES.items()}
    assert group.gathered == len(CASES)
    return found


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, list[torch.Tensor]]]:
    """Each rank's part of every case's output and gradients."""
    return _on_two_ranks(_every_case, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("name", CASES)
def test_two_ranks_attend_as_one(ranks: list[dict[str, list[torch.Tensor]]], name: str) -> None:
    whole = _attend(CASES[name][0], window=CASES[name][1])
    for place, expected in enumerate(whole):
        joined = torch.cat([rank[name][place] for rank in ranks], 1 if place == 0 else 2)
        torch.testing.assert_close(joined, expected, atol=1e-6, rtol=0)
    assert all(float(gradient.abs().sum()) > 0 for gradient in whole)


def _as_deepspeed(group: SequenceGroup) -> list[torch.Tensor]:
    """The same by DeepSpeed's module, which takes tokens before heads."""
    import deepspeed
    from deepspeed.sequence.layer import DistributedAttention

    deepspeed.init_distributed("gloo", auto_mpi_discovery=False, verbose=False)

    def local(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        by_heads = (each.transpose(1, 2) for each in (query, key, value))
        return packed_attention(torch.nn.Identity(), *by_heads, None, sample_lengths=LENGTHS)[0]

    inputs = CASES["grouped"][0]
    own = slice(group.rank * TOKENS, (group.rank + 1) * TOKENS)
    leaves = [each[:, :, own].clone().requires_grad_() for each in inputs[:3]]
    attention = DistributedAttention(local, group.ranks, scatter_idx=2, gather_idx=1)
    output = attention(*(each.transpose(1, 2) for each in leaves), batch_dim_idx=0)
    output.backward(inputs[3][:, own])
    return [output.detach(), *(each.grad for each in leaves)]


@pytest.mark.slow
def test_it_is_deepspeeds_ulysses(ranks: list[dict[str, list[torch.Tensor]]], tmp_path: Path, monkeypatch: Any) -> None:
    pytest.importorskip("deepspeed")
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    for mine, theirs in zip(ranks, _on_two_ranks(_as_deepspeed, tmp_path), strict=True):
        for own, expected in zip(mine["grouped"], theirs, strict=True):
            torch.testing.assert_close(own, expected, atol=1e-6, rtol=0)
