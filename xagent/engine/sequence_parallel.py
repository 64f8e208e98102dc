"""Rows whose tokens several ranks share: which ranks, which rows, and each rank's part (see ``xagent.model.sequence_parallel``).

Neighbouring ranks form a group and read the same rows; the groups share the data as single ranks do otherwise. A part carries
its own labels and weights only, so sums over all ranks, the loss's denominator among them, are what they are without parts.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sized
from typing import Any

from mmengine.config import Config
from mmengine.dataset import DefaultSampler
from torch import distributed
from torch.nn import functional

from xagent.data.encode import IGNORE_INDEX
from xagent.engine.memory import model_config_of
from xagent.errors import ConfigError
from xagent.model import attention
from xagent.model.sequence_parallel import SequenceGroup, splitting_faults

Batch = dict[str, dict[str, Any]]
_ANY_TOKEN = 0


class SequenceParallelSampler(DefaultSampler):
    """mmengine's ``DefaultSampler`` for groups of ranks: all ranks of a group draw the same rows.

    Args:
        dataset: what is drawn from.
        sequence_parallel_size: ranks of a group; the number of processes is a multiple of it.
        **options: those of ``DefaultSampler``.
    """

    def __init__(self, dataset: Sized, sequence_parallel_size: int, **options: Any) -> None:
        super().__init__(dataset, **options)
        self.rank //= sequence_parallel_size
        self.world_size //= sequence_parallel_size
        rest = 0 if self.round_up else self.rank
        self.num_samples = math.ceil((len(dataset) - rest) / self.world_size)
        self.total_size = self.num_samples * self.world_size if self.round_up else len(dataset)


def sequence_parallel_size(cfg: Mapping[str, Any]) -> int:
    """Read from a config how many ranks share a row's tokens; 1 where it says nothing."""
    return int(cfg.get("sequence_parallel_size") or 1)


def check_sequence_parallel(cfg: Config) -> None:
    """Check, before any weight is loaded, that the config's model can have its rows split.

    Raises:
        ConfigError: listing every reason why it can't.
    """
    size = sequence_parallel_size(cfg)
    if size == 1:
        return
    faults = list(splitting_faults(model_config_of(cfg.model), size))
    chosen = cfg.model["llm"].get("attn_implementation", attention.NAME)
    if chosen != attention.NAME:
        faults.append(f"model.llm.attn_implementation is {chosen!r}; leave it out")
    if faults:
        raise ConfigError([f"sequence_parallel_size = {size}: {fault}" for fault in faults])


def loader_for_groups(loader: Mapping[str, Any], size: int, key: str) -> Mapping[str, Any]:
    """Let the ranks of a group draw the same rows from a dataloader, which is described under ``key`` of the config.

    Raises:
        ConfigError: its sampler is another than mmengine's ``DefaultSampler``.
    """
    if size == 1:
        return loader
    sampler = loader.get("sampler") or {}
    kind = sampler.get("type")
    if kind not in (DefaultSampler, DefaultSampler.__name__, SequenceParallelSampler) or loader.get("batch_sampler"):
        name = getattr(kind, "__name__", kind)
        raise ConfigError(
            f"{key}.sampler: sequence_parallel_size = {size} needs dict(type=DefaultSampler, ...) and no batch_sampler, so that "
            f"the ranks of a group draw the same rows; got {name}"
        )
    changed = dict(loader)
    changed["sampler"] = {**sampler, "type": SequenceParallelSampler, "sequence_parallel_size": size}
    return changed


def join_sequence_group(size: int, timeout: datetime.timedelta) -> SequenceGroup | None:
    """Form groups of ``size`` neighbouring ranks, which every process does at the same time; give this one's, None for size 1."""
    if size == 1:
        return None
    ranks, _ = distributed.new_subgroups(size, timeout=timeout)
    return SequenceGroup(ranks)


def own_part(batch: Batch, group: SequenceGroup | None) -> Batch:
    """Give this rank's part of a micro-batch.

    The row is filled up to a multiple of the ranks by a sample that isn't trained, and cut evenly. ``labels`` and
    ``loss_weights`` reach one token further than ``input_ids``: the last token of a part predicts the first of the next.

    Args:
        batch: as ``default_collate_fn`` gives it; left as it is.
        group: None gives the batch back.

    Returns:
        The same keys; ``lengths`` are the whole row's. Besides ``sequence_group``, and ``tokens``: those of this part that the
        data has.
    """
    if group is None:
        return batch
    data = batch["data"]
    tokens = data["input_ids"].shape[1]
    filling = -tokens % group.size
    width = (tokens + filling) // group.size
    begin = group.rank * width

    def part(key: str, fill: float, ahead: int = 0) -> Any:
        return functional.pad(data[key], (0, filling + 1), value=fill)[:, begin : begin + width + ahead]

    labels, weights = part("labels", IGNORE_INDEX, 1), part("loss_weights", 0.0, 1)
    labels[:, 0], weights[:, 0] = IGNORE_INDEX, 0.0  # the part before predicts it
    own = {
        "input_ids": part("input_ids", _ANY_TOKEN),
        "position_ids": part("position_ids", 0),
        "labels": labels,
        "loss_weights": weights,
        "lengths": [*data["lengths"], filling] if filling else data["lengths"],
        "sequence_group": group,
        "tokens": max(0, min(width, tokens - begin)),
    }
    return {**batch, "data": {**data, **own}}
