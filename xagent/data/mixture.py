"""Encoded data sets to one data set, as the sources say, with the account of what each gave."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xagent.data.arrow_files import ArrowFiles
from xagent.data.mix import DataSource, Indices, MixSettings, draw, interleave, samples_wanted, split_validation
from xagent.data.parts import EXAMPLES_SHOWN
from xagent.data.report import DatasetReport, SourceReport
from xagent.data.token_dataset import TokenDataset


@dataclass(frozen=True)
class Encoded:
    """A data set as it lies in the cache, under its key."""

    source: DataSource
    key: str
    table: ArrowFiles
    report: DatasetReport


def mix(encoded: Sequence[Encoded], settings: MixSettings, detailed: bool) -> TokenDataset:
    """Choose the samples of each data set and put them in order.

    Args:
        encoded: the data sets.
        settings: order, split and seed.
        detailed: put the account of each data set into the report, rather than that of the whole alone.

    Raises:
        DataError: a part of the split is empty, or there is nothing to draw from.
    """
    pools: list[Indices] = [np.arange(len(one.table), dtype=np.int64) for one in encoded]
    if settings.val_size is not None:
        identities = [_identities(one.table) for one in encoded]
        pools = split_validation(identities, settings.val_size, settings.part, settings.seed, settings.max_val_samples)
    chosen, order = (pools, None) if settings.part == "validation" else _sampled(encoded, pools, settings)
    sources = [_account(one, pool, samples) for one, pool, samples in zip(encoded, pools, chosen, strict=True)]
    table = reduce(add, (one.table for one in encoded))
    samples = _join(chosen, [len(one.table) for one in encoded], order)
    return TokenDataset(table, _report(encoded, sources, detailed), samples)


def _sampled(encoded: Sequence[Encoded], pools: Sequence[Indices], settings: MixSettings) -> tuple[list[Indices], Indices | None]:
    wanted = samples_wanted([one.source for one in encoded], [len(pool) for pool in pools])
    chosen = [draw(pool, count, settings.seed, index) for index, (pool, count) in enumerate(zip(pools, wanted, strict=True))]
    if settings.interleave_probs is None:
        return chosen, None
    order, chosen = interleave(chosen, settings.interleave_probs, settings.stopping_strategy, settings.seed)
    return chosen, order


def _identities(table: ArrowFiles) -> NDArray[np.uint64]:
    """Give a number for each sample; samples of equal tokens have equal numbers."""
    ids = table.lists("input_ids")
    digests = (hashlib.blake2b(ids[place].tobytes(), digest_size=8).digest() for place in range(len(table)))
    return np.fromiter((int.from_bytes(digest, "little") for digest in digests), np.uint64, len(table))


def _account(one: Encoded, pool: Indices, samples: Indices) -> SourceReport:
    used = len(np.unique(samples))
    return SourceReport(
        name=one.source.name,
        records=one.report.records,
        outcomes=dict(one.report.outcomes),
        set_aside=len(one.table) - len(pool),
        left_out=len(pool) - used,
        used=used,
        samples=len(samples),
        tokens=int(one.table.lists("input_ids").lengths()[samples].sum()),
        trained_tokens=int(one.table.numbers("trained")[samples].sum(dtype=np.int64)),
    )


def _report(encoded: Sequence[Encoded], sources: list[SourceReport], detailed: bool) -> DatasetReport:
    outcomes: Counter[str] = Counter()
    messages: Counter[str] = Counter()
    examples: dict[str, list[str]] = {}
    for one in encoded:
        outcomes.update(one.report.outcomes)
        messages.update(one.report.messages)
        for outcome, notes in one.report.examples.items():
            shown = examples.setdefault(outcome, [])
            shown += notes[: EXAMPLES_SHOWN - len(shown)]
    sums: dict[str, Any] = {
        name: sum(getattr(source, name) for source in sources) for name in ("records", "tokens", "trained_tokens")
    }
    sums["placeholders"] = sum(one.report.placeholders for one in encoded)
    kept = sources if detailed else []
    return DatasetReport(outcomes=dict(outcomes), examples=examples, messages=dict(messages), sources=kept, **sums)


def _join(chosen: Sequence[Indices], sizes: Sequence[int], order: Indices | None) -> Indices:
    """Give the samples as places in the joined table: one data set after the other, or in the order of interleaving."""
    starts = np.cumsum([0, *sizes[:-1]])
    moved = [samples + start for samples, start in zip(chosen, starts, strict=True)]
    if order is None:
        return np.concatenate(moved)
    joined: Indices = np.empty(len(order), np.int64)
    for index, samples in enumerate(moved):
        joined[order == index] = samples
    return joined
