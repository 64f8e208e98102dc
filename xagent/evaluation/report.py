"""The before/after report: report.json for programs, report.md for people, a table for the terminal."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from xagent.agent.react import Ending
from xagent.errors import OutputError
from xagent.evaluation.episodes import MAX_UNREADABLE, EpisodeResult, EpisodeResults
from xagent.evaluation.markdown import fenced, percent, table

METRICS = ("valid_format", "right_tool", "right_arguments", "solved", "false_calls")
LABELS = {
    "valid_format": "replies in valid format",
    "right_tool": "right tool",
    "right_arguments": "right arguments",
    "solved": "episodes solved",
    "false_calls": "false calls",
}
SIDES = ("seen", "unseen")
ENDINGS: Mapping[Ending, str] = {
    "answer": "final answer",
    "turns": "no answer within the replies allowed",
    "repeats": "the same call failed in the same way again and again",
    "unreadable": f"{MAX_UNREADABLE} unreadable replies in a row",
}
_SHOWN = 400
"""How many characters of a reply the example dialogues show."""
Summary = dict[str, dict[str, float]]


def summarise(results: Iterable[EpisodeResult]) -> Summary:
    """Give ``{"seen"|"unseen": {"episodes": count, metric: share}}``.

    Shares are from 0 to 1, rounded to 4 places, over episodes; ``valid_format`` is over all replies of the side's
    episodes. A side without episodes has only zeros. What each metric means: :class:`xagent.evaluation.grading.Grades`.
    """
    chosen = list(results)
    return {side: _metrics([result for result in chosen if result.episode.unseen is (side == "unseen")]) for side in SIDES}


def break_down(results: Iterable[EpisodeResult], key: Callable[[EpisodeResult], str]) -> Summary:
    """Give the metrics of each group of results, groups in the order in which they appear."""
    groups: dict[str, list[EpisodeResult]] = {}
    for result in results:
        groups.setdefault(key(result), []).append(result)
    return {name: _metrics(group) for name, group in groups.items()}


def _metrics(results: list[EpisodeResult]) -> dict[str, float]:
    grades = [result.grades for result in results]
    count = len(grades)
    return {
        "episodes": count,
        "valid_format": _share(sum(one.valid_replies for one in grades), sum(one.replies for one in grades)),
        "right_tool": _share(sum(one.right_tool for one in grades), count),
        "right_arguments": _share(sum(one.right_arguments for one in grades), count),
        "solved": _share(sum(one.solved for one in grades), count),
        "false_calls": _share(sum(one.false_call for one in grades), count),
    }


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


def console_table(base: Iterable[EpisodeResult], tuned: Iterable[EpisodeResult]) -> str:
    """Give the before/after table as aligned text, seen and unseen tools apart."""
    before, after = summarise(base), summarise(tuned)
    head = ["", *(f"{side} {who}" for side in SIDES for who in ("base", "tuned"))]
    rows = [head, ["episodes", *(f"{summary[side]['episodes']:.0f}" for side in SIDES for summary in (before, after))]]
    for metric in METRICS:
        rows.append([LABELS[metric], *(percent(summary[side][metric]) for side in SIDES for summary in (before, after))])
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    widths[0] = -widths[0]  # to the left
    lines = [
        "  ".join(f"{cell:{'<' if width < 0 else '>'}{abs(width)}}" for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def write_report(
    work_dir: str | Path,
    base: EpisodeResults,
    tuned: EpisodeResults,
    seconds: Mapping[str, float],
    *,
    title: str = "Before and after",
    command: str | None = None,
    notes: Iterable[str] = (),
) -> dict[str, Any]:
    """Write ``report.json`` and ``report.md`` and give what the JSON holds.

    Args:
        work_dir: the folder for both; made if it is missing.
        base, tuned: the results on the same episodes.
        seconds: how long each stage took.
        title: the headline of the Markdown.
        command: the command that makes the report, shown in it.
        notes: lines for the end of the Markdown (model, data, machine, pictures).

    Raises:
        OutputError: the folder can't be written.
    """
    report: dict[str, dict[str, Any]] = {
        "base": summarise(base),
        "tuned": summarise(tuned),
        "seconds": {stage: round(value, 1) for stage, value in seconds.items()},
    }
    folder = Path(work_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        (folder / "report.md").write_text(_markdown(base, tuned, report["seconds"], title, command, notes), encoding="utf-8")
    except OSError as error:
        why = error.strerror or error
        raise OutputError(f"{folder}: the report can't be written: {why}; choose another --work-dir") from error
    return report


def _markdown(
    base: EpisodeResults,
    tuned: EpisodeResults,
    seconds: Mapping[str, float],
    title: str,
    command: str | None,
    notes: Iterable[str],
) -> str:
    parts = [f"# {title}", f"Made by `{command}`." if command else "", _before_after(base, tuned)]
    parts += [_WORDS, "## By kind of episode", _groups(base, tuned, lambda result: f"{_side(result)}, {result.episode.kind}")]
    parts += ["## By language", _groups(base, tuned, lambda result: f"{_side(result)}, {result.episode.language}")]
    parts += ["## How episodes ended", _endings(base, tuned)]
    parts += ["## Three episodes", *(_dialogue(*pair) for pair in _examples(base, tuned))]
    parts += ["## Seconds", _seconds(seconds), *notes]
    return "\n\n".join(part for part in parts if part) + "\n"


_WORDS = (
    "Every reply went through Lagent's ReAct loop and every call was really run. *Valid format*: the reply parses as a "
    "complete call or a final answer. *Right tool*: the tools called are the reference's, in order. *Right arguments*: and so "
    "are the arguments. *Solved*: the final answer holds what it must, and the needed call was run and gave the right result "
    "(where no call is right, none was made). *False calls*: episodes with a call where none is right, or of a tool that the "
    "task does not need. *Unseen* tools appear in no training text."
)


def _side(result: EpisodeResult) -> str:
    return "unseen" if result.episode.unseen else "seen"


def _before_after(base: EpisodeResults, tuned: EpisodeResults) -> str:
    before, after = summarise(base), summarise(tuned)
    head = ["", *(f"{side} tools, {who}" for side in SIDES for who in ("base", "tuned"))]
    rows = [["episodes", *(f"{summary[side]['episodes']:.0f}" for side in SIDES for summary in (before, after))]]
    for metric in METRICS:
        rows.append([LABELS[metric], *(percent(summary[side][metric]) for side in SIDES for summary in (before, after))])
    return table(head, rows)


def _groups(base: EpisodeResults, tuned: EpisodeResults, key: Callable[[EpisodeResult], str]) -> str:
    before, after = break_down(base, key), break_down(tuned, key)
    head = ["", "episodes", "base solved", *(f"tuned {LABELS[metric]}" for metric in METRICS)]
    empty = _metrics([])
    rows = []
    for name in sorted(after):
        metrics = after[name]
        cells = [f"{metrics['episodes']:.0f}", percent(before.get(name, empty)["solved"])]
        rows.append([name, *cells, *(percent(metrics[metric]) for metric in METRICS)])
    return table(head, rows)


def _endings(base: EpisodeResults, tuned: EpisodeResults) -> str:
    found = [Counter(result.ending for result in results) for results in (base, tuned)]
    rows = [[words, *(str(counted[ending]) for counted in found)] for ending, words in ENDINGS.items()]
    return table(["", "base", "tuned"], rows)


def _examples(base: EpisodeResults, tuned: EpisodeResults) -> list[tuple[EpisodeResult, EpisodeResult]]:
    """Choose up to three episodes of different kinds, those first that need an unseen tool and a call."""
    pairs = list(zip(base, tuned, strict=True))
    pairs.sort(key=lambda pair: (not pair[1].episode.unseen, not pair[1].episode.steps, not pair[1].grades.solved))
    chosen: dict[str, tuple[EpisodeResult, EpisodeResult]] = {}
    for pair in pairs:
        chosen.setdefault(pair[1].episode.kind, pair)
    return list(chosen.values())[:3]


def _dialogue(base: EpisodeResult, tuned: EpisodeResult) -> str:
    episode = tuned.episode
    tools = ", ".join(f"`{tool.name}`" for tool in episode.tools)
    parts = [f"### {episode.id}", f"**Question:** {episode.question}  \n**Tools:** {tools}"]
    for who, result in (("Base", base), ("Tuned", tuned)):
        verdict = "solved" if result.grades.solved else "not solved"
        parts += [f"**{who}** ({verdict}):", fenced(_transcript(result))]
    return "\n\n".join(parts)


def _transcript(result: EpisodeResult) -> str:
    lines = []
    for reply, observation in zip(result.replies, result.observations, strict=True):
        text = reply.strip() or "(nothing)"
        lines.append(text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ... ({len(text)} characters)")
        if observation is not None:
            lines.append(f"    Response: {observation}")
    return "\n".join(lines)


def _seconds(seconds: Mapping[str, float]) -> str:
    rows = [[stage, f"{value:.1f}"] for stage, value in seconds.items()]
    return table(["stage", "seconds"], [*rows, ["together", f"{sum(seconds.values()):.1f}"]])
