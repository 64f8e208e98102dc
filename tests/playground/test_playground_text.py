"""The text that models are trained on: reproducible, and free of everything that is held out for the examination."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import get_args

import pytest

from xagent.chat.protocol import get_protocol
from xagent.data.formats import agent_flan_map_fn, openai_map_fn
from xagent.errors import ConfigError
from xagent.playground import disguise
from xagent.playground.conversation import sharing_tools
from xagent.playground.disguise import disguised
from xagent.playground.episode import KINDS, Episode
from xagent.playground.generate import generate_episodes
from xagent.playground.held_out import held_out_strings, holds_held_out_text, may_be_trained, spoken_text
from xagent.playground.invented import KIND_SHARES, invented_conversations, misspell
from xagent.playground.pretraining import Lesson, pretraining_records
from xagent.playground.records import agent_flan_record, training_conversations, write_raw_agent_flan
from xagent.playground.registry import held_out_tools

LESSONS = get_args(Lesson)


def texts_of(record: dict) -> str:
    return "\n".join(message["content"] for message in record.get("messages") or record["conversation"])


@pytest.fixture(scope="module")
def lessons() -> list[dict]:
    """Records of each of the nano base's lessons."""
    return [record for lesson in LESSONS for record in pretraining_records(1500, 1, lesson)]


@pytest.mark.parametrize("name", [tool.name for tool in held_out_tools()])
def test_the_filter_knows_every_held_out_tool(name: str) -> None:
    assert holds_held_out_text(f"... '{name}' ...")


def test_no_training_text_holds_anything_held_out(lessons: list[dict]) -> None:
    held_out = sorted(text.lower() for text in held_out_strings())
    texts = [texts_of(record).lower() for record in lessons]
    texts += [texts_of(agent_flan_record(episodes)).lower() for _, episodes in training_conversations(1500, seed=20_000)]
    found = {text for text in held_out for spoken in texts if text in spoken}
    assert not found


def test_no_training_text_asks_what_an_examination_asks(lessons: list[dict]) -> None:
    """The demo's questions, and those of other seeds: a question's own text decides which of the two it is for."""
    examined = {episode.question for seed in (90_001, 5) for episode in generate_episodes(600, seed)}
    asked = {message["content"] for record in lessons for message in record["messages"] if message["role"] == "user"}
    for share in (0.0, 1.0):
        conversations = training_conversations(800, 20_000, invented_share=0.3, most_questions=2, disguised_share=share)
        episodes = [episode for _, episodes in conversations for episode in episodes]
        assert all(may_be_trained(episode) for episode in episodes)
        asked |= {episode.question for episode in episodes}
    assert len(asked) > 5000
    assert not examined & asked


def test_other_words_that_are_held_out_are_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[list[Episode]] = []

    def watched(generator: random.Random, episodes: Sequence[Episode]) -> list[Episode]:
        drawn.append(disguised(generator, episodes))
        if len(drawn) == 1:
            drawn[0][0] = replace(drawn[0][0], answer=held_out_tools()[0].name)
        return drawn[-1]

    monkeypatch.setattr(disguise, "disguised", watched)
    episodes = list(generate_episodes(2, 8, purpose="training", languages=("en",)))
    assert disguise.in_other_words(random.Random(3), sharing_tools(episodes)) is drawn[-1]
    assert len(drawn) > 1


@pytest.mark.parametrize("lesson", LESSONS)
def test_the_base_knows_no_tool_protocol(lesson: Lesson) -> None:
    for record in pretraining_records(1000, 3, lesson):
        for message in record["messages"]:
            if message["role"] == "assistant":
                parsed = get_protocol("react").parse(message["content"])
                assert parsed.status == "text", message["content"]
                assert get_protocol("hermes").parse(message["content"]).status == "answer"


def test_texts_are_the_same_every_time_and_a_prefix_of_a_longer_set() -> None:
    assert list(pretraining_records(20, 5)) == list(islice(pretraining_records(40, 5), 20))
    assert list(invented_conversations(20, 5, 3)) == list(islice(invented_conversations(40, 5, 3), 20))
    assert list(pretraining_records(5, 5)) != list(pretraining_records(5, 6))
    for lesson in LESSONS[1:]:
        assert list(pretraining_records(20, 5, lesson)) == list(islice(pretraining_records(40, 5, lesson), 20))


def test_an_unknown_lesson_is_refused() -> None:
    with pytest.raises(ConfigError, match="lesson must be one of forms, lookups, reading, planning, got 'lookup'"):
        next(pretraining_records(1, 1, "lookup"))  # type: ignore[arg-type]


def test_invented_conversations_hold_together() -> None:
    seen = set()
    for episode in chain.from_iterable(invented_conversations(300, 2, 3)):
        seen.add(episode.kind)
        names = [tool.name for tool in episode.tools]
        assert len(set(names)) == len(names)
        for step in episode.steps:
            tool = next(tool for tool in episode.tools if tool.name == step.tool)
            assert list(step.arguments) == tool.parameters["required"]
            kinds = {name: schema["type"] for name, schema in tool.parameters["properties"].items()}
            for name, value in step.arguments.items():
                assert isinstance(value, str if kinds[name] == "string" else (int, float))
        if episode.kind == "single":
            assert all(str(value) in episode.question for value in episode.steps[0].arguments.values())
            assert episode.answer_contains[0] in episode.answer
        if episode.kind == "chained":
            first, second = episode.steps
            values = [str(value) for value in second.arguments.values()]
            assert first.observation in values
            assert all(value in episode.question for value in values if value != first.observation)
            assert second.tool in first.thought and second.choice is None
        if episode.kind == "recovered":
            assert episode.steps[0].failed and episode.steps[0].arguments != episode.steps[1].arguments
        if not episode.steps:
            assert all(text.lower() in episode.answer.lower() for text in episode.answer_contains)
    assert seen == set(KIND_SHARES) <= set(KINDS)


def test_misspelling_never_gives_the_word_itself() -> None:
    import random

    generator = random.Random(1)
    assert all(misspell(generator, word) != word for word in ("aa", "Otto", "北京", "aaaa") for _ in range(200))


def test_raw_records_are_agent_flans(tmp_path: Path) -> None:
    counts = write_raw_agent_flan(tmp_path, 200, seed=7)
    assert sum(counts.values()) == 200
    assert set(counts) == {"agent_instruct_react", "toolbench_negative", "toolbench_react_10p"}
    for stem, count in counts.items():
        rows = [json.loads(line) for line in (tmp_path / f"{stem}.jsonl").read_text(encoding="utf-8").splitlines()]
        assert len(rows) == count
        for row in rows:
            conversation = agent_flan_map_fn(row).validate()
            assert [message.role for message in conversation.messages][:2] == ["system", "user"]
            assert conversation.messages[-1].content.count("Final Answer:") == 1


def test_a_raw_record_reads_back_as_the_episodes() -> None:
    several = 0
    for _, episodes in training_conversations(150, seed=9):
        several += len(episodes) > 1
        record = agent_flan_record(episodes)
        replies = [turn["content"] for turn in record["conversation"] if turn["role"] == "assistant"]
        parsed = [get_protocol("react").parse(reply) for reply in replies]
        calls = [(call.name, dict(call.arguments)) for reply in parsed for call in reply.calls]
        assert calls == [(step.tool, dict(step.arguments)) for episode in episodes for step in episode.steps]
        assert [reply.content for reply in parsed if reply.status == "answer"] == [episode.answer for episode in episodes]
        offered = {tool.name for episode in episodes for tool in episode.tools}
        assert all(offered.isdisjoint(episode.absent) for episode in episodes)
        assert all(spoken_text(episode) for episode in episodes)
    assert several > 50


@pytest.mark.parametrize("lesson", LESSONS)
def test_pretraining_records_are_conversations_with_all_words_learned(lesson: Lesson) -> None:
    for record in pretraining_records(50, 4, lesson):
        conversation = openai_map_fn(record).validate()
        assert all(message.loss for message in conversation.messages)
        assert {message.weight for message in conversation.messages if message.role == "assistant"} == {1.0}
