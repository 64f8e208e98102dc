"""Questions that name another tool's result instead of a value."""

from __future__ import annotations

import random
import re

import pytest

from xagent.playground import generate_episodes
from xagent.playground.chains import CHAINS
from xagent.playground.episode import Episode
from xagent.playground.held_out import may_be_trained
from xagent.playground.nested import RESULTS, TAKES, draw_pair, nested_question
from xagent.playground.pretraining import _real_episodes
from xagent.playground.records import agent_flan_record
from xagent.playground.registry import TOOLS, held_out_tools
from xagent.playground.tool import LANGUAGES, Language


def fields(template: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", template))


class Plainly(random.Random):
    """Never draws a sentence of its own for the first result."""

    def random(self) -> float:
        return 0.99


@pytest.mark.parametrize("name", sorted(RESULTS))
def test_a_result_is_told_by_the_parameters_of_a_training_tool(name: str) -> None:
    assert not TOOLS[name].held_out
    assert all(content in TAKES for content in RESULTS[name].contents)
    for language in LANGUAGES:
        assert RESULTS[name].phrases[language]
        for phrase in RESULTS[name].phrases[language]:
            assert fields(phrase) == set(TOOLS[name].parameters)


def test_what_takes_a_result_is_a_parameter_of_a_training_tool() -> None:
    for taken in TAKES.values():
        for name, parameter in taken:
            assert parameter in TOOLS[name].parameters
            assert not TOOLS[name].held_out


def test_every_tool_that_gives_something_is_drawn_and_never_with_itself() -> None:
    rng = random.Random(1)
    pairs = [draw_pair(rng) for _ in range(5000)]
    assert {first for first, _, _ in pairs} == set(RESULTS)
    assert {(second, parameter) for _, second, parameter in pairs} == {taken for each in TAKES.values() for taken in each}
    assert all(first != second for first, second, _ in pairs)
    assert len({(first, second) for first, second, _ in pairs}) > 200


@pytest.mark.parametrize(
    ("template", "parameter", "phrase", "language", "question"),
    [
        (
            "What is {percent} percent of {number}?",
            "number",
            "the price of {item}",
            "en",
            "What is 7 percent of the price of X1?",
        ),
        ("{percent} percent of {number}?", "percent", "the price of {item}", "en", "The price of X1 percent of 9?"),
        ("How many seats has the {number}?", "number", "the room of {item}", "en", "How many seats has the room of X1?"),
        ("Reverse the text {number}.", "number", "the name of {item}", "en", "Reverse the name of X1."),
        ("请把 {number} 和 {percent} 相乘。", "number", "{item}的价格", "zh", "请把X1的价格和 7 相乘。"),
        ("“{number}”有几个字？", "number", "{item}的经理", "zh", "X1的经理有几个字？"),
    ],
)
def test_a_phrase_takes_the_place_of_a_value(
    template: str, parameter: str, phrase: str, language: Language, question: str
) -> None:
    asked = nested_question(Plainly(), template, parameter, phrase, language)
    assert asked({"item": "X1"}, {"percent": 7, "number": 9}) == question


@pytest.mark.parametrize(
    ("language", "template", "phrase", "questions"),
    [
        (
            "en",
            "Add {number} to {percent}.",
            "the price of {item}",
            {f"Take the price of X1. Add {it} to 7." for it in ("it", "that", "the result")},
        ),
        ("zh", "请把 {number} 加 {percent}。", "{item}的价格", {f"先查X1的价格。请把{it}加 7。" for it in ("它", "这个结果")}),
    ],
)
def test_a_result_may_be_asked_for_beforehand(language: Language, template: str, phrase: str, questions: set[str]) -> None:
    asks = [nested_question(random.Random(seed), template, "number", phrase, language) for seed in range(300)]
    assert questions <= {ask({"item": "X1"}, {"percent": 7}) for ask in asks}


@pytest.fixture(scope="module")
def trained() -> list[Episode]:
    return list(generate_episodes(400, 11, purpose="training", kinds=("chained",)))


def test_pairs_that_nobody_wrote_down_are_trained(trained: list[Episode]) -> None:
    held_out = {tool.name for tool in held_out_tools()}
    pairs = set()
    for episode in trained:
        *_, first, second = episode.steps
        pairs.add((first.tool, second.tool))
        assert not {first.tool, second.tool} & held_out
        assert any(str(value) == first.observation for value in second.arguments.values()) or any(
            isinstance(value, (int, float)) and float(first.observation) == value for value in second.arguments.values()
        )
        assert may_be_trained(episode), episode.question
    assert len(pairs) > 100


def test_a_slip_in_the_first_call_is_mended_before_the_second(trained: list[Episode]) -> None:
    slips = [episode for episode in trained if len(episode.steps) == 3 and not episode.steps[0].mistaken]
    assert 10 <= len(slips) <= 60
    for episode in slips:
        wrong, right, last = episode.steps
        assert wrong.failed and not right.failed and wrong.tool == right.tool != last.tool
        (key,) = (name for name in wrong.arguments if wrong.arguments[name] != right.arguments[name])
        assert wrong.arguments[key] in episode.question
        assert right.arguments[key] not in episode.question
        assert right.arguments[key] in right.thought


def test_a_wrong_order_is_mended_and_not_learned(trained: list[Episode]) -> None:
    mistaken = [episode for episode in trained if any(step.mistaken for step in episode.steps)]
    assert 30 <= len(mistaken) <= 150
    for episode in mistaken:
        wrong, first, second = episode.steps
        assert (wrong.mistaken, first.mistaken, second.mistaken) == (True, False, False)
        assert wrong.failed and wrong.tool == second.tool != first.tool and not first.failed and not second.failed
        (parameter,) = (name for name in wrong.arguments if wrong.arguments[name] != second.arguments[name])
        assert wrong.arguments[parameter] in first.arguments.values()
        turns = agent_flan_record([episode])["conversation"]
        assert [turn["loss"] for turn in turns if turn["role"] == "assistant"] == [False, True, True, True]
        assert first.tool in first.thought and second.tool in first.thought


def test_lessons_hold_no_mistakes() -> None:
    generator = random.Random(3)
    for language in LANGUAGES:
        for _ in range(60):
            assert not any(step.mistaken for episode in _real_episodes(generator, language, 3) for step in episode.steps)


def test_examinations_ask_only_what_was_written_down() -> None:
    written = {(chain.first, chain.second) for chain in CHAINS}
    for unseen in (False, True):
        for episode in generate_episodes(200, 11, unseen=unseen, kinds=("chained",)):
            first, second = episode.steps
            assert (first.tool, second.tool) in written
