"""The words that give a tool away."""

import itertools
import random
import re

import pytest

from xagent.playground.catalogues import catalogue
from xagent.playground.cues import shared_words
from xagent.playground.generate import generate_episodes
from xagent.playground.registry import TOOLS


@pytest.mark.parametrize(
    ("question", "description", "others", "cue"),
    [
        ("What is the capital of Austria?", "Name the capital of a country.", [], "capital"),
        ("Round 410.56 to 3 decimal places.", "Round a number to some decimal places.", ["Round up."], "decimal places"),
        ("Find the boss of Jonas.", "Find the manager, the boss of an employee.", ["Find a boss fight."], "boss"),
        ("find the platform", "Platform of a train", [], "Platform"),
        ("How old is it?", "Name the capital of a country.", [], ""),
    ],
)
def test_english_cues(question: str, description: str, others: list[str], cue: str) -> None:
    assert shared_words(question, description, others, "en") == cue


def test_chinese_cues_are_characters_that_other_descriptions_lack() -> None:
    assert shared_words("去灯笼厅要上几楼？", "查大厅在几楼哪一层。", ["查大厅有多少座位。"], "zh") == "几楼"
    assert shared_words("今天天气怎么样", "查国家的首都。", [], "zh") == ""


@pytest.mark.parametrize("unseen", [False, True])
def test_every_question_for_a_playground_tool_shares_words_with_its_description(unseen: bool) -> None:
    for episode in generate_episodes(400, 11, unseen=unseen, kinds=("single", "chained", "recovered", "ask_back")):
        said = {tool.name: tool.description[episode.language] for tool in TOOLS.values()}
        for choice in [step.choice for step in episode.steps] or [episode.choice]:
            if choice is None:
                continue
            assert choice.right is not None
            others = [text for name, text in said.items() if name != choice.right]
            cue = shared_words(episode.question, said[choice.right], others, episode.language)
            words = re.findall(r"[a-z]+|[\u4e00-\u9fff]", cue.lower())
            assert words and cue in said[choice.right], (episode.id, choice)
            assert all(word in episode.question.lower() for word in words), (episode.id, cue)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_catalogue_answers_with_what_it_lists(language: str) -> None:
    for seed in range(200):
        turns = catalogue(random.Random(seed), language)  # type: ignore[arg-type]
        listing = turns[0][1]
        assert {role for role, _ in turns} <= {"system", "user", "assistant"}
        for (role, question), (_, answer) in itertools.pairwise(turns):
            if role != "user":
                continue
            quoted = answer.split('"' if language == "en" else "“")
            if len(quoted) > 1:
                words = quoted[1].split("”")[0]
                assert words in listing and words.lower() in question.lower()
