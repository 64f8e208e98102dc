"""Mixing data sets: which samples of each are used, how often, and in which order.

Sampling works on indices of what is kept, so nothing is copied, and a record that is used ten times is encoded once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xagent.config.names import did_you_mean
from xagent.errors import ConfigError, DataError

Indices: TypeAlias = "NDArray[np.int64]"
PARTS = ("train", "validation")
STOPPING_STRATEGIES = ("first_exhausted", "all_exhausted")
_SPLITTING, _DRAWING, _INTERLEAVING = range(3)


@dataclass(frozen=True)
class DataSource:
    """One entry of ``datasets=[...]``: a data set, how to read it, and how much of it to use.

    At most one of ``weight``, ``ratio`` and ``num_samples`` is given; without any, the data set is used whole.

    Attributes:
        dataset: as ``process_hf_dataset``'s: a path, a Hugging Face data set, or ``dict(type=load_dataset, ...)``.
        dataset_map_fn: row -> Conversation. Default: that of ``process_hf_dataset``.
        name: its name in the report. Default: the path's last part.
        weight: passes over its own records: 2 uses each record twice, 0.5 a random half, 2.5 each record twice and half of
            them once more.
        ratio: samples for each sample of the data sets that are taken whole or by weight (SWIFT's ``train_dataset_mix_ratio``):
            2 gives twice as many.
        num_samples: so many samples (LLaMA-Factory's ``num_samples``, SWIFT's ``#3000``): a random sample, or whole passes and
            then a random sample where it has fewer.
        split: which split where it has several.
        max_dataset_length: read the first so many records only.
        loss_weights: the rules of its own, as ``process_hf_dataset`` takes them; ``[]`` is none. Default: those of
            ``process_hf_dataset``.
    """

    dataset: Any
    dataset_map_fn: Any = None
    name: str = ""
    weight: float | None = None
    ratio: float | None = None
    num_samples: int | None = None
    split: str = "train"
    max_dataset_length: int | None = None
    loss_weights: Any = None

    def settings(self) -> dict[str, Any]:
        """Give name and amount as JSON can hold them."""
        amounts = {key: getattr(self, key) for key in ("weight", "ratio", "num_samples")}
        return {"name": self.name, **{key: value for key, value in amounts.items() if value is not None}}


def read_sources(entries: Sequence[Any]) -> list[DataSource]:
    """Read the entries of ``datasets=[...]``.

    Raises:
        ConfigError: listing every fault: an unknown or missing key, an impossible amount, an amount given twice.
    """
    if isinstance(entries, (str, Mapping)) or not isinstance(entries, Sequence) or not entries:
        raise ConfigError(f"datasets must be a list of dict(dataset=..., dataset_map_fn=..., ...), got {entries!r:.100}")
    faults = [fault for index, entry in enumerate(entries) for fault in _faults(f"datasets.{index}", entry)]
    if faults:
        raise ConfigError(faults)
    sources = [entry if isinstance(entry, DataSource) else DataSource(**entry) for entry in entries]
    if any(source.ratio is not None for source in sources) and all(_is_relative(source) for source in sources):
        raise ConfigError("ratio counts samples of the data sets taken whole or by weight, and datasets has none of these")
    return _named(sources)


def _faults(where: str, entry: Any) -> list[str]:
    if isinstance(entry, DataSource):
        entry = {field.name: getattr(entry, field.name) for field in fields(entry)}
    if not isinstance(entry, Mapping):
        return [f"{where}: expected dict(dataset=..., dataset_map_fn=..., ...), got {entry!r:.100}"]
    known = [field.name for field in fields(DataSource)]
    faults = [
        f"{where}.{key}: an entry of datasets has no {key!r}{did_you_mean(str(key), known)}" for key in entry if key not in known
    ]
    if entry.get("dataset") is None:
        faults.append(f"{where}: missing 'dataset', a path or dict(type=load_dataset_from, path=...)")
    given = [key for key in ("weight", "ratio", "num_samples") if entry.get(key) is not None]
    if len(given) > 1:
        faults.append(f"{where}: give one of weight, ratio and num_samples, got {' and '.join(given)}")
    for key in given:
        kinds, what = ((int,), "a whole number") if key == "num_samples" else ((int, float), "a number")
        value = entry[key]
        if not _is_number(value) or not isinstance(value, kinds) or value <= 0:
            faults.append(f"{where}.{key}: expected {what} above 0, got {value!r}")
    return faults


def _is_relative(source: DataSource) -> bool:
    return source.ratio is not None or source.num_samples is not None


def _named(sources: list[DataSource]) -> list[DataSource]:
    """Give each source a name of its own."""
    taken: set[str] = set()
    named = []
    for index, source in enumerate(sources):
        name = source.name or _name_of(source.dataset) or f"datasets.{index}"
        name = name if name not in taken else f"{name} ({index})"
        taken.add(name)
        named.append(replace(source, name=name))
    return named


def _name_of(dataset: Any) -> str:
    if isinstance(dataset, Mapping):
        dataset = dataset.get("data_files") or dataset.get("path") or dataset.get("dataset_path")
    return Path(dataset).name if isinstance(dataset, (str, Path)) else ""


@dataclass(frozen=True)
class MixSettings:
    """How data sets become one; see ``process_hf_dataset`` for the words."""

    interleave_probs: Sequence[float] | None = None
    stopping_strategy: str = "first_exhausted"
    val_size: float | None = None
    max_val_samples: int | None = None
    part: str = "train"
    seed: int = 42

    def check(self, count: int) -> None:
        """Refuse what can't be done with ``count`` data sets.

        Raises:
            ConfigError: listing every fault.
        """
        faults = [*self._interleaving_faults(count), *self._split_faults()]
        if faults:
            raise ConfigError(faults)

    def _interleaving_faults(self, count: int) -> Iterator[str]:
        if self.stopping_strategy not in STOPPING_STRATEGIES:
            known = ", ".join(STOPPING_STRATEGIES)
            yield f"stopping_strategy must be one of {known}, got {self.stopping_strategy!r}"
        given = self.interleave_probs
        if given is None:
            return
        numbers = isinstance(given, (list, tuple)) and all(_is_number(value) and 0 < value <= 1 for value in given)
        if not numbers or len(given) != count or abs(sum(given) - 1) > 1e-6:
            what = f"{count} positive number(s) with the sum 1, one for each entry of datasets"
            yield f"interleave_probs must be {what}, got {given!r}"

    def _split_faults(self) -> Iterator[str]:
        size = self.val_size
        if self.part not in PARTS:
            yield f"part must be one of {', '.join(PARTS)}, got {self.part!r}"
        if size is None:
            if self.part == "validation":
                yield "part = 'validation' needs val_size, the share or number of samples to set aside"
        elif not _is_number(size) or not (0 < size < 1 or (size >= 1 and size == int(size))):
            yield f"val_size must be a share between 0 and 1 or a whole number of samples, got {size!r}"
        yield from self._most_faults()

    def _most_faults(self) -> Iterator[str]:
        most = self.max_val_samples
        if most is None:
            return
        if self.val_size is None:
            yield "max_val_samples needs val_size, the share of which it is the most"
        if not isinstance(most, int) or isinstance(most, bool) or most < 1:
            yield f"max_val_samples must be a whole number of samples above 0, got {most!r}"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def split_validation(
    identities: Sequence[NDArray[np.uint64]], val_size: float, part: str, seed: int, most: int | None = None
) -> list[Indices]:
    """Choose the samples of each data set that belong to one part of a split into training and validation.

    A share of each data set is set aside at random. Equal samples stay together, within a data set and across data sets: what
    is validated on was never trained on.

    Args:
        identities: for each data set a number for each sample; equal samples have equal numbers.
        val_size: samples to set aside in all (1 or more), or their share (below 1); equal samples can make it a few more.
        part: which part to give.
        seed: of the choice.
        most: samples that a share may set aside at most; the others stay in training.

    Raises:
        DataError: a part would be empty.
    """
    total = sum(len(numbers) for numbers in identities)
    share = val_size if val_size < 1 else val_size / max(total, 1)
    if most is not None:
        share = min(share, most / max(total, 1))
    quotas = _apportion([share * len(numbers) for numbers in identities], round(share * total))
    chosen = []
    for index, (numbers, quota) in enumerate(zip(identities, quotas, strict=True)):
        order = _generator(seed, _SPLITTING, index).permutation(len(numbers))
        chosen.append(numbers[order[:quota]])
    held_out = np.unique(np.concatenate(chosen))
    masks = [np.isin(numbers, held_out) == (part == "validation") for numbers in identities]
    if not any(mask.any() for mask in masks) or len(held_out) == 0:
        empty = part if len(held_out) else "validation"
        raise DataError(
            f"val_size = {val_size!r} of {total:,} samples leaves nothing for the {empty} part; choose another val_size"
        )
    return [np.flatnonzero(mask).astype(np.int64) for mask in masks]


def _apportion(exact: Sequence[float], total: int) -> list[int]:
    """Round so that the sum is ``total``: the largest remainders are rounded up."""
    floors = [int(value) for value in exact]
    by_remainder = sorted(range(len(exact)), key=lambda index: floors[index] - exact[index])
    for index in by_remainder[: total - sum(floors)]:
        floors[index] += 1
    return floors


def samples_wanted(sources: Sequence[DataSource], available: Sequence[int]) -> list[int]:
    """Say how many samples each data set gives, of which ``available`` could be drawn.

    Raises:
        DataError: a data set has nothing to draw from.
    """
    for source, count in zip(sources, available, strict=True):
        if count == 0:
            raise DataError(f"{source.name}: nothing of this data set is left to draw samples from")
    absolute = [
        0 if _is_relative(source) else _rounded((source.weight or 1) * count)
        for source, count in zip(sources, available, strict=True)
    ]
    reference = sum(absolute)
    return [
        source.num_samples or (_rounded(source.ratio * reference) if source.ratio else own)
        for source, own in zip(sources, absolute, strict=True)
    ]


def _rounded(value: float) -> int:
    return max(1, int(value + 0.5))


def draw(pool: Indices, wanted: int, seed: int, source: int) -> Indices:
    """Take ``wanted`` samples: whole passes over the pool in its order, then a random sample of it without repetition."""
    passes, rest = divmod(wanted, len(pool))
    sample = np.sort(_generator(seed, _DRAWING, source).choice(len(pool), rest, replace=False))
    return np.concatenate([np.tile(pool, passes), pool[sample]])


def interleave(
    pools: Sequence[Indices], probabilities: Sequence[float], stopping_strategy: str, seed: int
) -> tuple[Indices, list[Indices]]:
    """Draw the data set of each sample by probability, until one or all of them are used up.

    The rules are those of ``datasets.interleave_datasets``. A pool is used up when its last sample has been drawn; it then begins
    again, and each pass is in a new random order.

    Args:
        pools: what can be drawn of each data set.
        probabilities: of each data set; they add up to 1.
        stopping_strategy: ``first_exhausted`` stops at the first data set that is used up, ``all_exhausted`` when each was.
        seed: of the choice.

    Returns:
        The data set of each sample, and for each data set its samples in the order in which they come.
    """
    generator = _generator(seed, _INTERLEAVING, 0)
    expected = max(len(pool) / probability for pool, probability in zip(pools, probabilities, strict=True))
    drawn: Indices = np.zeros(0, np.int64)
    stop = None
    while stop is None:
        block = generator.choice(len(pools), min(int(expected / 4) + 64, 1 << 22), p=np.asarray(probabilities))
        drawn = np.concatenate([drawn, block.astype(np.int64)])
        stop = _stop(drawn, [len(pool) for pool in pools], stopping_strategy)
    drawn = drawn[:stop]
    counts = np.bincount(drawn, minlength=len(pools))
    samples = []
    for index, (pool, count) in enumerate(zip(pools, counts, strict=True)):
        passes = [
            _generator(seed, _INTERLEAVING, 1, index, turn).permutation(pool) for turn in range(-(-int(count) // len(pool)))
        ]
        samples.append(np.concatenate([*passes, np.zeros(0, np.int64)])[: int(count)])
    return drawn, samples


def _stop(drawn: Indices, sizes: Sequence[int], stopping_strategy: str) -> int | None:
    """Give the length at which the rule is met, None where it is not yet."""
    ends = []
    for index, size in enumerate(sizes):
        places = np.flatnonzero(drawn == index)
        ends.append(int(places[size - 1]) + 1 if len(places) >= size else None)
    met = [end for end in ends if end is not None]
    if stopping_strategy == "first_exhausted":
        return min(met, default=None)
    return max(met) if len(met) == len(ends) else None


def _generator(seed: int, *purpose: int) -> np.random.Generator:
    return np.random.default_rng([seed % 2**64, *purpose])
