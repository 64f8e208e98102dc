"""Keys and values during generation: of one row, of a batch of rows padded on the left, and kept for the next turn.

Shape suffixes: B rows of the batch, K key-value heads, T tokens, D head size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

Rows = list[tuple[torch.Tensor, torch.Tensor]]
"""For each layer the keys and the values of one row, 1 K T D."""

_ROOM = 64
"""How many tokens a full buffer grows by, a long one by a quarter: growing copies it, so it does not grow for each token."""


class RoomyLayer(DynamicLayer):
    """A cache layer whose ``keys`` and ``values`` are views of larger buffers: room for more tokens, rows, and longer rows.

    All rows end at the same place; what stands left of a shorter one is finite and to be masked. transformers' own layer copies
    everything for each token, which on a CPU takes half of the time.
    """

    _rows = _begin = _end = 0

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append B K T D states and give all."""
        added = key_states.shape[-2]
        if not self.is_initialized:
            self._begin_with(key_states, value_states)
        elif self._end + added > self._rooms[0].shape[-2]:
            self._move(self._rooms[0].shape[0], left=0, right=added + max(_ROOM, (self._end - self._begin) // 4))
        for room, states in zip(self._rooms, (key_states, value_states), strict=True):
            room[: self._rows, :, self._end : self._end + added] = states
        self._end += added
        return self._look()

    def put(self, keys: torch.Tensor, values: torch.Tensor, expected: int = 1) -> None:
        """Add a row of 1 K T D below the others, which may be shorter or longer; ``expected`` rows will soon be there."""
        if not self.is_initialized:
            self.update(keys, values)
            return
        rows = self._rooms[0].shape[0]
        if keys.shape[-2] > self._end or self._rows == rows:
            left = max(keys.shape[-2] - (self._end - self._begin), 0) + _ROOM
            self._move(max(expected, 2 * rows if self._rows == rows else rows), left, _ROOM)
        start = self._end - keys.shape[-2]
        for room, states in zip(self._rooms, (keys, values), strict=True):
            room[self._rows, :, start : self._end] = states[0]
        self._rows, self._begin = self._rows + 1, min(self._begin, start)
        self._look()

    def drop(self, index: int) -> None:
        """Take a row out; the last one takes its place."""
        self._rows -= 1
        if index < self._rows:
            for room in self._rooms:
                room[index, :, self._begin : self._end] = room[self._rows, :, self._begin : self._end]
        self._look()

    def trim(self, length: int) -> None:
        """Show the last ``length`` tokens only."""
        self._begin = self._end - length
        self._look()

    def _begin_with(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        rows, heads, length, _ = key_states.shape
        self._rooms = tuple(
            states.new_zeros(rows, heads, length + _ROOM, states.shape[-1]) for states in (key_states, value_states)
        )
        self._rows, self.is_initialized = rows, True
        self.dtype, self.device = key_states.dtype, key_states.device

    def _move(self, rows: int, left: int, right: int) -> None:
        """Move all to larger buffers, with so much room before the first token and behind the last."""
        length, old = self._end - self._begin, self._rooms
        self._rooms = tuple(room.new_zeros(rows, room.shape[1], left + length + right, room.shape[3]) for room in old)
        for room, before in zip(self._rooms, old, strict=True):
            room[: self._rows, :, left : left + length] = before[: self._rows, :, self._begin : self._end]
        self._begin, self._end = left, left + length

    def _look(self) -> tuple[torch.Tensor, torch.Tensor]:
        self.keys, self.values = (room[: self._rows, :, self._begin : self._end] for room in self._rooms)
        return self.keys, self.values


def can_batch(model: Any) -> bool:
    """Say whether all layers of a model keep keys and values that rows of a batch can share (recurrent ones don't)."""
    return _shared_layers(model) > 0


_found: WeakKeyDictionary[Any, int] = WeakKeyDictionary()


def _shared_layers(model: Any) -> int:
    """Give how many layers rows can share, 0 where they can't; found out once, which takes as long as reading a short prompt."""
    if model not in _found:
        layers = DynamicCache(config=model.config).layers
        _found[model] = len(layers) if all(type(one) in (DynamicLayer, DynamicSlidingWindowLayer) for one in layers) else 0
    return _found[model]


def new_cache(model: Any, row: Rows | None = None) -> DynamicCache:
    """Give a cache that holds a row, or nothing.

    Sliding layers keep everything here; the model's mask hides what lies outside their window.
    """
    if not can_batch(model):
        return DynamicCache(config=model.config)
    cache = DynamicCache()
    cache.layers = [RoomyLayer() for _ in range(_shared_layers(model))]
    for layer, states in zip(cache.layers, row or (), strict=bool(row)):
        layer.put(*states)
    return cache


def row_of(cache: DynamicCache, index: int, length: int) -> Rows:
    """Copy the last ``length`` tokens of a row out of a cache."""
    return [
        (layer.keys[index : index + 1, :, -length:].clone(), layer.values[index : index + 1, :, -length:].clone())
        for layer in cache.layers
    ]


@dataclass(frozen=True)
class _Kept:
    ids: tuple[int, ...]
    rows: Rows
    adapter: str | None

    @cached_property
    def bytes(self) -> int:
        return sum(states.nbytes for pair in self.rows for states in pair)


class Memory:
    """The keys and values of past prompts and completions, so that a longer prompt computes only what is new.

    What was used longest ago goes first.

    Args:
        size: how many are kept; 0 keeps none.
        max_bytes: how much memory they take together at most; None is no limit.
    """

    def __init__(self, size: int, max_bytes: int | None = None) -> None:
        self.size, self.max_bytes = size, max_bytes
        self._kept: list[_Kept] = []

    @property
    def bytes(self) -> int:
        """How much is kept."""
        return sum(kept.bytes for kept in self._kept)

    def find(self, prompt: Sequence[int], adapter: str | None = None) -> tuple[int, Rows]:
        """Give how many of the prompt's first tokens are known, at least one being left to compute, and their keys and values."""
        best, length, ids = None, 0, tuple(prompt)
        for kept in self._kept:
            if kept.adapter == adapter and kept.ids[: length + 1] == ids[: length + 1]:  # shares more than the best so far
                best, length = kept, _shared(kept.ids, ids)
        length = min(length, len(prompt) - 1)
        if best is None or length == 0:
            return 0, []
        self._kept.remove(best)
        self._kept.append(best)
        return length, [(keys[:, :, :length], values[:, :, :length]) for keys, values in best.rows]

    def keep(self, ids: Sequence[int], rows: Rows, adapter: str | None = None) -> None:
        """Remember the keys and values of these tokens, in place of those of their beginnings."""
        new = _Kept(tuple(ids), rows, adapter)
        if self.size == 0 or (self.max_bytes is not None and new.bytes > self.max_bytes):
            return
        self._kept = [kept for kept in self._kept if kept.adapter != adapter or new.ids[: len(kept.ids)] != kept.ids]
        self._kept.append(new)
        while len(self._kept) > self.size or (self.max_bytes is not None and self.bytes > self.max_bytes):
            self._kept.pop(0)

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()


def _shared(first: Sequence[int], second: Sequence[int]) -> int:
    for index, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return index
    return min(len(first), len(second))
