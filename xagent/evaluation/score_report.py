"""The score's report: report.json for programs, report.md for people, a table for the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xagent.errors import OutputError
from xagent.evaluation.items import ItemResult, Metric
from xagent.evaluation.markdown import fenced, table
from xagent.evaluation.suite import Suite
from xagent.evaluation.summary import ALL, Difference, Estimate, Summary, differences, grouped, metrics_of, rounded, summarise

EXAMPLES = 3
"""Transcripts of each kind of failure in the Markdown; all are in the files of items."""
_SHOWN = 1_200
"""How many characters of one text a transcript in the Markdown shows."""
BASE, MODEL = "base", "model"


@dataclass(frozen=True)
class Side:
    """One model's part in a score.

    Attributes:
        name: ``base`` or ``model``.
        settings: what it is: JSON values.
        results: in the suite's order.
        seconds: how long it took this time; what was finished before costs nothing.
    """

    name: str
    settings: Mapping[str, Any]
    results: Sequence[ItemResult]
    seconds: float = 0.0


@dataclass(frozen=True)
class Score:
    """A suite's figures: the model's, and the base's before it where one was compared."""

    suite: Suite
    sides: Sequence[Side]

    @property
    def summaries(self) -> dict[str, Summary]:
        """Give each side's figures, the base's first."""
        return {side.name: summarise(side.results, self.suite) for side in self.sides}

    @property
    def differences(self) -> dict[str, dict[str, Difference]]:
        """Give the model's figures minus the base's; empty without one."""
        if len(self.sides) < 2:
            return {}
        return differences(self.sides[0].results, self.sides[1].results, self.suite)

    def to_json(self) -> dict[str, Any]:
        """Give the report as a JSON object."""
        summaries = self.summaries
        return {
            "suite": {"name": self.suite.name, **self.suite.settings},
            "sides": {
                side.name: {
                    "settings": dict(side.settings),
                    "seconds": round(side.seconds, 1),
                    **summaries[side.name].to_json(),
                }
                for side in self.sides
            },
            "differences": {
                group: {key: rounded(one) for key, one in found.items()} for group, found in self.differences.items()
            },
        }


def write_score(folder: Path, score: Score, command: str) -> dict[str, Any]:
    """Write ``report.json`` and ``report.md`` and give what the JSON holds.

    Raises:
        OutputError: the folder can't be written.
    """
    report = score.to_json()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
        (folder / "report.json").write_text(text, encoding="utf-8")
        (folder / "report.md").write_text(markdown(score, command), encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        why = error.strerror or error
        raise OutputError(f"{folder}: the report can't be written: {why}; choose another --out") from error
    return report


def console(score: Score) -> str:
    """Give the table over all items as aligned text."""
    head, rows = _overall(score)
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    aligned = [
        "  ".join(cell.ljust(width) if column == 0 else cell.rjust(width) for column, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(line, widths, strict=True)) for line in lines)
    ]
    return "\n".join([aligned[0], "-" * len(aligned[0]), *aligned[1:]])


def markdown(score: Score, command: str) -> str:
    """Give the report for people."""
    compared = len(score.sides) > 1
    parts = [f"# {score.suite.name}: {'before and after' if compared else 'score'}", f"Made by `{command}`."]
    parts += [table(*_overall(score)), _WORDS + (_WORDS_COMPARED if compared else "")]
    for group in _wide_groups(score):
        parts += [f"## {group[0].upper()}{group[1:]}", table(*_overall(score, group))]
    parts += ["## By group", _by_group(score), "## Failures by kind", _failures(score)]
    parts += _transcripts(score)
    parts += ["## Models and settings", table(["", *(side.name for side in score.sides)], _settings(score))]
    return "\n\n".join(part for part in parts if part) + "\n"


_WORDS = (
    "In brackets: 95 % intervals; of shares Wilson's, with the number of items as sample size (replies of one item, and repeats "
    "of it, are not independent), of means the bootstrap's over items."
)
_WORDS_COMPARED = (
    " Differences: both models on the same items, 95 % interval of the paired bootstrap; **bold** where it excludes 0."
)


def _wide_groups(score: Score) -> list[str]:
    """Give the groups that hold others: ``"a"`` where there is ``"a, b"``."""
    names = [name for name in score.summaries[score.sides[-1].name].groups if name != ALL]
    return [name for name in names if any(other.startswith(f"{name}, ") for other in names)]


def _overall(score: Score, group: str = ALL) -> tuple[list[str], list[list[str]]]:
    """Give head and rows of the table with every metric, over all items or those of a group."""
    summaries, changes = score.summaries, score.differences.get(group, {})
    head = ["", *_headings(score), *(["difference"] if len(score.sides) > 1 else [])]
    chosen = [grouped(side.results).get(group, []) for side in score.sides]
    rows = [["items", *(str(len({result.item for result in results})) for results in chosen)]]
    rows[0] += [""] * (len(head) - len(rows[0]))
    for key, metric in metrics_of(score.suite).items():
        found = [summaries[side.name].groups.get(group, {}).get(key) for side in score.sides]
        if any(found):
            change = [_change(changes.get(key), metric)] if len(score.sides) > 1 else []
            rows.append([metric.label, *(_shown(one, metric) for one in found), *change])
    return head, rows


def _headings(score: Score) -> list[str]:
    names = {BASE: "before (base)", MODEL: "after (model)"} if len(score.sides) > 1 else {}
    return [names.get(side.name, side.name) for side in score.sides]


def _by_group(score: Score) -> str:
    """Give the success metric, and how sure it is, of each group."""
    key = score.suite.success
    metric, summaries, changes = score.suite.metrics[key], score.summaries, score.differences
    compared = len(score.sides) > 1
    head = [metric.label, "items", *_headings(score), *(["difference"] if compared else [])]
    rows = []
    for group, found in summaries[score.sides[-1].name].groups.items():
        if key in found:
            values = [_shown(summaries[side.name].groups.get(group, {}).get(key), metric) for side in score.sides]
            change = [_change(changes.get(group, {}).get(key), metric)] if compared else []
            rows.append([group, str(found[key].items), *values, *change])
    return table(head, rows)


def _failures(score: Score) -> str:
    summaries = list(score.summaries.values())
    kinds = dict.fromkeys(kind for summary in reversed(summaries) for kind in summary.failures)
    rows = [[kind, *(str(summary.failures.get(kind, 0)) for summary in summaries)] for kind in kinds]
    tries = ["of tries", *(str(summary.tries) for summary in summaries)]
    return table(["", *_headings(score)], [*rows, tries]) if rows else "None."


def _transcripts(score: Score) -> list[str]:
    """Give a few failures of each kind of the last side, the model's."""
    side = score.sides[-1]
    found: dict[str, list[ItemResult]] = {}
    for result in side.results:
        if result.failure is not None:
            found.setdefault(result.failure, []).append(result)
    if not found:
        return []
    parts = ["## Transcripts of failures", f"Up to {EXAMPLES} of each kind; every item's is in `{side.name}.items.jsonl`."]
    for kind, results in sorted(found.items(), key=lambda pair: -len(pair[1])):
        parts.append(f"### {kind} ({len(results)})")
        for result in results[:EXAMPLES]:
            repeat = f", try {result.repeat + 1}" if result.repeat else ""
            parts += [f"**{result.item}**{repeat} ({result.group})", fenced(_transcript(result))]
    return parts


def _transcript(result: ItemResult) -> str:
    lines = []
    for who, text in result.transcript:
        shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ... ({len(text)} characters)"
        lines.append(f"[{who}]\n{shown.strip() or '(nothing)'}")
    return "\n".join(lines)


def _settings(score: Score) -> list[list[str]]:
    keys = dict.fromkeys(key for side in score.sides for key in side.settings)
    rows = [[key, *(_cell(side.settings.get(key)) for side in score.sides)] for key in keys if key != "weights"]
    rows += [[key, *[_cell(value)] * len(score.sides)] for key, value in score.suite.settings.items()]
    return [*rows, ["seconds", *(f"{side.seconds:.1f}" for side in score.sides)]]


def _cell(value: Any) -> str:
    return "" if value is None else str(value).replace("|", "\\|")


def _shown(estimate: Estimate | None, metric: Metric) -> str:
    if estimate is None:
        return "-"
    if metric.kind == "share":
        return f"{100 * estimate.value:.1f} % [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _change(change: Difference | None, metric: Metric) -> str:
    if change is None:
        return "-"
    scale, digits = (100, 1) if metric.kind == "share" else (1, 3)
    text = " ".join(
        (f"{scale * change.value:+.{digits}f}", f"[{scale * change.low:+.{digits}f}, {scale * change.high:+.{digits}f}]")
    )
    return f"**{text}**" if change.low > 0 or change.high < 0 else text
