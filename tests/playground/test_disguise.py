"""Episodes in other words stay whole: what is replaced is replaced wherever it stands."""

from __future__ import annotations

import random

import pytest

from xagent.playground import generate_episodes
from xagent.playground.conversation import episodes_to_conversation, sharing_tools
from xagent.playground.disguise import disguised
from xagent.playground.episode import Episode
from xagent.playground.registry import TOOLS
from xagent.playground.tool import LANGUAGES, Language


def pairs(language: Language, count: int = 150) -> list[tuple[Episode, Episode]]:
    generator = random.Random(5)
    found = []
    for episode in generate_episodes(count, 21, languages=(language,)):
        (other,) = disguised(generator, [episode])
        found.append((episode, other))
    return found


@pytest.mark.parametrize("language", LANGUAGES)
def test_calls_still_fit_their_tools(language: Language) -> None:
    for episode, other in pairs(language):
        assert len(other.tools) == len({tool.name for tool in other.tools}) == len(episode.tools)
        for step, old in zip(other.steps, episode.steps, strict=True):
            tool = next(tool for tool in other.tools if tool.name == step.tool)
            assert set(step.arguments) <= set(tool.parameters["properties"])
            assert [type(value) for value in step.arguments.values()] == [type(value) for value in old.arguments.values()]
            assert step.tool in step.thought or step.choice is None
            assert all(
                name in step.thought and str(value) in step.thought
                for name, value in step.arguments.items()
                if not old.failed and step.choice
            )


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_an_answer_must_hold_is_still_in_it(language: Language) -> None:
    for _, other in pairs(language):
        assert all(text.lower() in other.answer.lower() for text in other.answer_contains)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_disguised_question_is_about_the_same_tool(language: Language) -> None:
    """The words that gave the tool away do so still, whatever they are now."""
    found = [
        (episode_to_thought(episode), episode_to_thought(other)) for episode, other in pairs(language) if episode.kind == "single"
    ]
    cued = [(" - yes, " in old or "是，“" in old, " - yes, " in new or "是，“" in new) for old, new in found]
    assert sum(new for _, new in cued) >= 0.9 * sum(old for old, _ in cued) > 0


def episode_to_thought(episode: Episode) -> str:
    return next(
        message.reasoning or "" for message in episodes_to_conversation([episode]).messages if message.role == "assistant"
    )


def test_much_is_replaced_and_the_same_seed_replaces_alike() -> None:
    names = [tool.name for _, other in pairs("en") for tool in other.tools]
    assert 0.3 < sum(name in TOOLS for name in names) / len(names) < 0.7
    assert pairs("en", 10) == pairs("en", 10)


def test_a_conversation_is_disguised_as_one() -> None:
    generator = random.Random(2)
    episodes = sharing_tools(list(generate_episodes(3, 8, languages=("en",), kinds=("single",))))
    others = disguised(generator, episodes)
    assert others[0].tools == others[1].tools == others[2].tools != episodes[0].tools
    episodes_to_conversation(others).validate()
