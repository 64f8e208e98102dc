"""The account of a prepared data set: every record that came in is kept, cut or dropped, for a reason."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

KEPT, CUT = "kept", "kept, trailing turns cut"
TOO_LONG, NOTHING_LEARNED = "dropped: too long", "dropped: nothing to learn"
BAD = "bad record"
PLACEHOLDER = "placeholder that is learned as it stands"


@dataclass
class SourceReport:
    """What one data set of a mix gives. ``kept`` = ``used`` + ``left_out`` + ``set_aside``.

    Attributes:
        name: its name in the report.
        records: records that came in.
        outcomes: records by what became of them.
        set_aside: kept records that belong to the other part of a split into training and validation.
        left_out: kept records that sampling did not choose.
        used: different records that are used.
        samples: samples that it gives to a pass over the data; more than ``used`` where it is up-sampled.
        tokens, trained_tokens: of these samples.
    """

    name: str
    records: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    set_aside: int = 0
    left_out: int = 0
    used: int = 0
    samples: int = 0
    tokens: int = 0
    trained_tokens: int = 0

    @property
    def kept(self) -> int:
        """Records that could be used, whole or cut."""
        return self.outcomes.get(KEPT, 0) + self.outcomes.get(CUT, 0)

    def reconciles(self) -> bool:
        """Tell whether everything that came in is somewhere."""
        return sum(self.outcomes.values()) == self.records and self.used + self.left_out + self.set_aside == self.kept


@dataclass
class DatasetReport:
    """Counts that add up to the input.

    Attributes:
        records: records that came in.
        outcomes: records by what became of them.
        examples: the first few records of each outcome but ``kept``, as ``file:line: reason``; of ``PLACEHOLDER`` too.
        messages: messages by role, and ``tool calls``, in all records that could be read (before any cut).
        tokens, trained_tokens: of a pass over the data: what is kept, in a mix as often as it is used.
        rows: rows after packing (equal to the kept records when not packed).
        fill_rate: tokens / (rows x max_length) when packed, else None.
        sources: the data sets of a mix; empty where one data set is used whole.
        placeholders: kept records that teach the model a place for its name or author, such as ``{{NAME}}``, as it stands.
    """

    records: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)
    messages: dict[str, int] = field(default_factory=dict)
    tokens: int = 0
    trained_tokens: int = 0
    rows: int = 0
    fill_rate: float | None = None
    sources: list[SourceReport] = field(default_factory=list)
    placeholders: int = 0

    @property
    def kept(self) -> int:
        """Records that are trained on, whole or cut."""
        return self.outcomes.get(KEPT, 0) + self.outcomes.get(CUT, 0)

    def reconciles(self) -> bool:
        """Tell whether the outcomes add up to the records, and the sources to the whole."""
        whole = sum(self.outcomes.values()) == self.records
        if not self.sources:
            return whole
        sums = [sum(getattr(source, name) for source in self.sources) for name in ("records", "tokens", "trained_tokens")]
        return (
            whole
            and sums == [self.records, self.tokens, self.trained_tokens]
            and all(source.reconciles() for source in self.sources)
        )

    def summary(self) -> str:
        """Give a few lines for people."""
        share = f" ({self.trained_tokens / self.tokens:.1%})" if self.tokens else ""
        lines = [f"{self.records:,} records: {self.tokens:,} tokens kept, {self.trained_tokens:,} of them trained{share}"]
        for outcome, count in sorted(self.outcomes.items(), key=lambda item: (item[0] != KEPT, item[0])):
            lines.append(f"  {count:>9,}  {outcome}")
            lines += [f"             {place}" for place in self.examples.get(outcome, [])[:3]]
        packed = f", {self.fill_rate:.1%} of their slots filled" if self.fill_rate is not None else ""
        lines.append(f"  {self.rows:>9,}  rows{packed}")
        lines += mix_table(self.sources) if self.sources else []
        said = ", ".join(f"{count:,} {kind}" for kind, count in self.messages.items() if count)
        lines += [f"messages: {said}"] if said else []
        return "\n".join([*lines, *(f"warning: {warning}" for warning in self.warnings())])

    def warnings(self) -> list[str]:
        """Say what is trained and hardly meant to be."""
        if not self.placeholders:
            return []
        return [placeholder_warning(self.placeholders, self.examples.get(PLACEHOLDER, [""])[0])]

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps(asdict(self), ensure_ascii=False, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> DatasetReport:
        """Read what :meth:`save` wrote."""
        return cls.from_mapping(json.loads(path.read_text(encoding="utf-8")))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> DatasetReport:
        """Read what ``dataclasses.asdict`` gives."""
        return cls(**{**values, "sources": [SourceReport(**source) for source in values.get("sources", [])]})


def placeholder_warning(count: int, example: str) -> str:
    """Say that places for the model's name or author are learned, where, and what fills them in."""
    return (
        f"{count:,} record(s) teach the model to say {{{{NAME}}}} or {{{{AUTHOR}}}} as it stands, for example {example}. "
        "Where its own are meant: dataset_map_fn=dict(type=self_cognition_map_fn_factory, model_name=..., model_author=...) "
        "puts them in"
    )


_COLUMNS = ("records", "kept", "held out", "not drawn", "used", "samples", "passes", "tokens", "trained", "share")


def mix_table(sources: Sequence[SourceReport]) -> list[str]:
    """Give the realised mix as lines of a table: records, samples, tokens and trained tokens of each data set.

    ``passes`` is samples for each record that could be drawn, ``share`` the share of all trained tokens.
    """
    all_trained = max(sum(source.trained_tokens for source in sources), 1)
    cells = [["mix", *_COLUMNS]] + [_cells(source, all_trained) for source in [*sources, _total(sources)]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))])
        for row in cells
    ]


def _total(sources: Sequence[SourceReport]) -> SourceReport:
    outcomes: Counter[str] = Counter()
    for source in sources:
        outcomes.update(source.outcomes)
    names = ("records", "set_aside", "left_out", "used", "samples", "tokens", "trained_tokens")
    sums = {name: sum(getattr(source, name) for source in sources) for name in names}
    return SourceReport("in all", outcomes=dict(outcomes), **sums)


def _cells(source: SourceReport, all_trained: int) -> list[str]:
    numbers = (source.records, source.kept, source.set_aside, source.left_out, source.used, source.samples)
    passes = source.samples / max(source.used + source.left_out, 1)
    figures = [f"{passes:.2f}", f"{source.tokens:,}", f"{source.trained_tokens:,}", f"{source.trained_tokens / all_trained:.1%}"]
    return [source.name, *(f"{number:,}" for number in numbers), *figures]
