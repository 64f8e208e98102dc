"""The account of a data set as text for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from xagent.data.inspect.audit import Audit, Tally
from xagent.data.inspect.page import share
from xagent.data.inspect.visible import one_line
from xagent.data.report import placeholder_warning

_BAR = 32
_BINS = 8
_FEW_TRAINED, _MANY = 0.01, 0.5


def describe_audit(account: Audit) -> str:
    """Say what became of the records and calls, with places, statistics and warnings."""
    parts = [
        _head(account),
        [*_tally("dropped", account.dropped), *_tally("repaired", account.repaired)],
        list(_calls(account)),
        list(_conversations(account)),
        list(_tally("not read by the map function (records where it has a value)", account.unread)),
        list(_lengths(account)),
        [
            *_tally("duplicates", account.duplicates),
            *_tally("held-out leakage", account.leaks),
            *_tally("held-out records that can't be read, so that their questions were not looked for", account.held_out_unread),
        ],
        [f"warning: {warning}" for warning in _warnings(account)],
    ]
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def _head(account: Audit) -> list[str]:
    formats = ", ".join(f"{name} ({why})" for name, why in account.formats.items())
    kept = f"{account.kept:,} kept ({account.repaired.total:,} of them repaired) + {account.dropped.total:,} dropped"
    lines = [
        f"format    {one_line(formats)}",
        f"protocol  {', '.join(account.protocols)}",
        f"records   {account.records:,} in = {kept}",
        f"calls     {account.calls:,} in = {account.rendered:,} rendered + {account.lost.total:,} dropped",
    ]
    if account.tokens is not None and account.trained is not None:
        lines.append(
            f"tokens    {account.tokens:,} kept, {account.trained:,} of them trained ({share(account.trained, account.tokens)})"
        )
    return lines


def _tally(title: str, tally: Tally) -> Iterator[str]:
    if tally.counts:
        yield f"{title}:"
    for reason, count in tally.counts.most_common():
        yield f"  {count:>8,}  {one_line(reason)}"
        yield from (f"            {one_line(example)}" for example in tally.examples[reason])


def _calls(account: Audit) -> Iterator[str]:
    yield from _tally("calls dropped", account.lost)
    if account.checked_calls:
        right = account.checked_calls - account.faulty_calls
        yield f"calls against the tools' schemas: {right:,} of {account.checked_calls:,} fit"
        yield from list(_tally("", account.faults))[1:]
    if account.unlisted_calls:
        yield f"calls that can't be checked, since their record lists no tools: {account.unlisted_calls:,}"


def _conversations(account: Audit) -> Iterator[str]:
    if not account.roles:
        return
    roles = ", ".join(f"{count:,} {role}" for role, count in sorted(account.roles.items(), key=lambda item: -item[1]))
    yield f"messages: {roles}"
    marks = ", ".join(f"{name} {value:,}" for name, value in _marks(account.turns))
    yield f"messages of a record: {marks}; records that list tools: {account.with_tools:,}"


def _marks(counts: Counter[int]) -> Iterator[tuple[str, int]]:
    """Give minimum, quantiles and maximum of counted values."""
    total, passed = counts.total(), 0
    wanted = [("min", 0.0), ("p10", 0.1), ("median", 0.5), ("p90", 0.9), ("max", 1.0)]
    for value, count in sorted(counts.items()):
        passed += count
        while wanted and passed >= max(wanted[0][1] * total, 1):
            yield wanted.pop(0)[0], value


def _lengths(account: Audit) -> Iterator[str]:
    if not account.lengths:
        return
    unit = "tokens" if account.tokens is not None else "characters"
    marks = ", ".join(f"{name} {value:,}" for name, value in _marks(account.lengths))
    limit = f"; max_length {account.max_length:,}" if account.max_length else ""
    yield f"{unit} of a record: {marks}{limit}"
    bins = list(_bins(account.lengths, account.max_length))
    most = max(count for _, _, count in bins)
    width = max(len(f"{high:,}") for _, high, _ in bins)
    for low, high, count in bins:
        over = "  over max_length" if account.max_length and low > account.max_length and count else ""
        bar = "█" * max(round(_BAR * count / most), 1 if count else 0)
        yield f"  {low:>{width},} to {high:>{width},} {count:>8,} {bar}{over}".rstrip()


def _bins(lengths: Counter[int], max_length: int | None) -> Iterator[tuple[int, int, int]]:
    """Give (first, last, count): equal bins up to max_length, or the longest, and one for what is longer."""
    longest = max(lengths)
    top = max_length or longest
    edges = sorted({round(top * number / _BINS) for number in range(_BINS + 1)})
    if longest > top:
        edges.append(longest)
    for low, high in pairwise(edges):
        yield low + 1, high, sum(count for length, count in lengths.items() if low < length <= high or (low == length == 0))


def _warnings(account: Audit) -> Iterator[str]:
    if account.tokens and account.trained is not None and account.trained < _FEW_TRAINED * account.tokens:
        yield (
            f"only {account.trained / account.tokens:.2%} of the tokens are trained; "
            "look at a sample with: xagent log-dataset CONFIG --show tokens"
        )
    if account.repaired.counts["trailing turns cut"] > _MANY * account.records:
        yield (
            f"{account.repaired.counts['trailing turns cut']:,} of {account.records:,} records lose turns: "
            "max_length is short for this data"
        )
    if account.dropped.total > _MANY * account.records:
        yield f"{account.dropped.total:,} of {account.records:,} records are dropped, most of the data"
    if account.faulty_calls > _MANY * account.checked_calls:
        yield f"{account.faulty_calls:,} of {account.checked_calls:,} calls break their tool's schema"
    if account.placeholders.total:
        ((example, *_),) = account.placeholders.examples.values()
        yield one_line(placeholder_warning(account.placeholders.total, example))
