"""Buffers of keys and values: what a row holds stays its own, however rows join, leave and outgrow the buffers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from xagent.model.generation_cache import RoomyLayer

Row = tuple[Tensor, Tensor]


def states(rows: int, length: int) -> Row:
    """Keys and values of two heads, of other sizes."""
    return torch.randn(rows, 2, length, 4), torch.randn(rows, 2, length, 6)


def check(layer: RoomyLayer, rows: list[Row]) -> None:
    """Each row ends where all do and has its own states; what stands left of a shorter one is finite."""
    longest = max(keys.shape[2] for keys, _ in rows)
    assert layer.keys.shape[:3] == layer.values.shape[:3] == (len(rows), 2, longest)
    for held, place in ((layer.keys, 0), (layer.values, 1)):
        assert held.isfinite().all()
        for index, row in enumerate(rows):
            assert torch.equal(held[index : index + 1, :, -row[place].shape[2] :], row[place])


@pytest.mark.parametrize("expected", [1, 3, 9])
@pytest.mark.parametrize("seed", range(4))
def test_rows_keep_their_states_across_all_borders(seed: int, expected: int) -> None:
    torch.manual_seed(seed)
    choices = torch.Generator().manual_seed(seed)

    def one_of(*numbers: int) -> int:
        return numbers[int(torch.randint(len(numbers), (), generator=choices))]

    layer, rows = RoomyLayer(), [states(1, one_of(1, 30, 300))]
    layer.update(*rows[0])
    for _ in range(60):
        for _ in range(one_of(0, 1, 40)):  # a step: a token for each row; 64 fill a short buffer's room
            added = states(len(rows), 1)
            layer.update(*added)
            rows = [(torch.cat([k, added[0][[i]]], 2), torch.cat([v, added[1][[i]]], 2)) for i, (k, v) in enumerate(rows)]
        check(layer, rows)
        if len(rows) > 1 and one_of(0, 1):
            gone = one_of(*range(len(rows)))
            rows[gone] = rows[-1]
            rows.pop()
            layer.drop(gone)
            layer.trim(max(keys.shape[2] for keys, _ in rows))
        else:
            rows.append(states(1, one_of(1, 20, 70, 140, 500)))
            layer.put(*rows[-1], expected)
        check(layer, rows)


def test_a_buffer_that_grows_takes_in_the_rows_that_are_expected() -> None:
    layer, moved = RoomyLayer(), []
    layer.update(*states(1, 10))
    for _ in range(7):
        layer.put(*states(1, 9), 8)
        moved.append(layer.keys.untyped_storage().data_ptr())
    assert len(set(moved)) == 1, "one buffer from the first on"


def test_a_long_buffer_grows_by_a_quarter() -> None:
    layer, moved = RoomyLayer(), []
    layer.update(*states(1, 1000))
    for _ in range(64 + 250):
        layer.update(*states(1, 1))
        moved.append(layer.keys.untyped_storage().data_ptr())
    assert len(set(moved)) == 2
