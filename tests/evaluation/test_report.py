"""The report's files and table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from xagent.errors import OutputError
from xagent.evaluation.episodes import EpisodeResult, EpisodeResults
from xagent.evaluation.grading import grade, reference_calls
from xagent.evaluation.report import break_down, console_table, summarise, write_report
from xagent.playground import Episode, generate_episodes

EPISODES = [episode for unseen in (False, True) for episode in generate_episodes(20, 1, unseen=unseen)]


def result_of(episode: Episode, good: bool) -> EpisodeResult:
    calls = tuple(reference_calls(episode)) if good else ()
    reply = f"Final Answer:{episode.answer}" if good else "What? ```"
    answer = episode.answer if good else None
    observation = None if good else "Please follow the format"
    grades = grade(episode, [reply], calls, answer)
    return EpisodeResult(episode, (reply,), (observation,), calls, answer, grades, "answer" if good else "unreadable")


BASE = EpisodeResults(tuple(result_of(episode, False) for episode in EPISODES), 3.0)
TUNED = EpisodeResults(tuple(result_of(episode, episode.language == "en" or not episode.unseen) for episode in EPISODES), 2.0)


def test_the_summary_keeps_seen_and_unseen_apart() -> None:
    summary = summarise(TUNED)
    assert list(summary) == ["seen", "unseen"]
    assert list(summary["seen"]) == ["episodes", "valid_format", "right_tool", "right_arguments", "solved", "false_calls"]
    assert summary["seen"]["solved"] == 1.0 and 0 < summary["unseen"]["solved"] < 1
    assert summarise([])["unseen"] == dict.fromkeys(summary["seen"], 0)
    by_language = break_down(TUNED, lambda result: result.episode.language)
    assert by_language["en"]["solved"] == 1.0 and sum(group["episodes"] for group in by_language.values()) == 40


def test_the_json_is_as_promised_and_the_markdown_shows_everything(tmp_path: Path) -> None:
    report = write_report(
        tmp_path / "demo", BASE, TUNED, {"train": 61.26, "merge": 2}, command="make demo", notes=["![loss](loss.png)"]
    )
    assert json.loads((tmp_path / "demo" / "report.json").read_text()) == report
    assert set(report) == {"base", "tuned", "seconds"}
    assert report["seconds"] == {"train": 61.3, "merge": 2}
    assert report["tuned"] == summarise(TUNED) and report["base"] == summarise(BASE)
    text = (tmp_path / "demo" / "report.md").read_text(encoding="utf-8")
    assert "| episodes solved | 0.0 % | 100.0 % | 0.0 % |" in text
    for part in ("make demo", "seen, chained", "unseen, zh", "![loss](loss.png)", "| together | 63.3 |"):
        assert part in text
    assert text.count("### ") == 3 and text.count("**Tuned** (") == 3
    assert "````text\nWhat? ```\n" in text
    good = sum(result.ending == "answer" for result in TUNED)
    assert 20 < good < 40 and f"| final answer | 0 | {good} |" in text
    assert f"| 2 unreadable replies in a row | 40 | {40 - good} |" in text


def test_the_console_table_is_aligned() -> None:
    lines = console_table(BASE, TUNED).splitlines()
    assert len(lines) == 8 and len({len(line) for line in lines}) == 1
    assert lines[0].split() == ["seen", "base", "seen", "tuned", "unseen", "base", "unseen", "tuned"]
    assert lines[6].startswith("episodes solved") and "100.0 %" in lines[6]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file: the report can't be written: .*choose another --work-dir"):
        write_report(tmp_path / "file", BASE, TUNED, {})
