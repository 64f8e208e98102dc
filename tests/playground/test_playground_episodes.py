"""The generated episodes: seeded, in the right shares, really executed, and free of held-out strings where they must be."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from collections.abc import Iterator

import pytest

from xagent.errors import ConfigError
from xagent.playground import (
    CHAINS,
    KINDS,
    LANGUAGES,
    SHARES,
    TOOLS,
    Episode,
    ToolFault,
    call_tool,
    episodes_to_conversation,
    generate_episodes,
    held_out_strings,
)
from xagent.playground.generate import argument_from, misspell
from xagent.playground.reading import full_thought
from xagent.playground.registry import training_tools
from xagent.playground.small_talk import HELD_OUT, TRAINING
from xagent.playground.tool import Language

MARKERS = {"en": "none of the tools", "zh": "没有合适的工具"}


@pytest.fixture(scope="module")
def seen() -> list[Episode]:
    return list(generate_episodes(2000, seed=5))


@pytest.fixture(scope="module")
def unseen() -> list[Episode]:
    return list(generate_episodes(1200, seed=6, unseen=True))


@pytest.fixture(scope="module")
def everything(seen: list[Episode], unseen: list[Episode]) -> list[Episode]:
    return seen + unseen


def of_kind(episodes: list[Episode], kind: str) -> Iterator[Episode]:
    found = [episode for episode in episodes if episode.kind == kind]
    assert len(found) > 50
    return iter(found)


def all_text(episode: Episode) -> str:
    """Everything that a rendering could show, without escapes."""
    conversation = episodes_to_conversation([episode])
    parts = [json.dumps(tool.to_openai(), ensure_ascii=False) for tool in conversation.tools]
    for message in conversation.messages:
        calls = (f"{call.name} {json.dumps(dict(call.arguments), ensure_ascii=False)}" for call in message.tool_calls)
        parts += [message.content, message.reasoning or "", message.name or "", *calls]
    return "\n".join(parts)


def test_the_same_arguments_give_the_same_episodes() -> None:
    first = list(generate_episodes(60, seed=3))
    assert first == list(generate_episodes(60, seed=3))
    assert first[:25] == list(generate_episodes(25, seed=3))
    assert first != list(generate_episodes(60, seed=4))
    assert len({episode.id for episode in first}) == 60


def test_generation_is_lazy() -> None:
    assert len(list(itertools.islice(generate_episodes(10**12, seed=1), 3))) == 3


def test_global_randomness_is_left_alone() -> None:
    random.seed(1)
    before = random.getstate()
    list(generate_episodes(50, seed=1))
    assert random.getstate() == before


def test_kinds_and_languages_come_in_their_shares(seen: list[Episode]) -> None:
    counts = Counter((episode.kind, episode.language) for episode in seen)
    assert counts == {(kind, language): SHARES[kind] * 50 for kind in KINDS for language in LANGUAGES}
    assert SHARES["single"] / sum(SHARES.values()) == 0.45


def test_kinds_and_languages_can_be_chosen() -> None:
    episodes = list(generate_episodes(30, seed=2, languages=("zh",), kinds=("single", "ask_back")))
    assert {episode.language for episode in episodes} == {"zh"}
    assert {episode.kind for episode in episodes} == {"single", "ask_back"}


def test_wrong_arguments_are_all_reported() -> None:
    with pytest.raises(ConfigError) as error:
        generate_episodes(-1, 0, purpose="exam", languages=("de",), kinds=(), tools_per_episode=(3, 2))  # type: ignore[arg-type]
    assert len(error.value.faults) == 5
    assert error.value.faults[1] == "purpose must be one of training, examination, got 'exam'"


def test_held_out_tools_are_refused_for_training() -> None:
    with pytest.raises(ConfigError, match="purpose must be 'examination', got 'training'"):
        generate_episodes(1, 0, unseen=True, purpose="training")


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_question_is_asked_in_training_and_in_an_examination(language: Language) -> None:
    training = list(generate_episodes(1500, seed=1, purpose="training", languages=(language,)))
    drawn = (generate_episodes(500, seed, languages=(language,)) for seed in (2, 90_001))
    examined = [episode for episodes in drawn for episode in episodes]
    assert not {episode.question for episode in training} & {episode.question for episode in examined}
    # Both ask about every tool: only the questions differ.
    asked = [{step.tool for episode in side for step in episode.steps} for side in (training, examined)]
    assert asked[0] == asked[1] == {tool.name for tool in training_tools()}


@pytest.mark.parametrize("offered", [(1, 1), (2, 4), (6, 8)])
def test_the_number_of_offered_tools_is_kept(offered: tuple[int, int]) -> None:
    for episode in generate_episodes(120, seed=8, tools_per_episode=offered):
        needed = len({step.tool for step in episode.steps})
        assert max(offered[0], needed) <= len(episode.tools) <= max(offered[1], needed)
        assert len({tool.name for tool in episode.tools}) == len(episode.tools)


def test_observations_come_from_running_the_tools(everything: list[Episode]) -> None:
    for episode in everything:
        names = {tool.name for tool in episode.tools}
        for step in episode.steps:
            assert step.tool in names
            try:
                result, failed = call_tool(step.tool, step.arguments), False
            except ToolFault as fault:
                result, failed = str(fault), True
            assert (result, failed) == (step.observation, step.failed)


def test_solved_episodes_answer_with_the_last_result(everything: list[Episode]) -> None:
    for episode in everything:
        if episode.steps:
            assert episode.answer_contains == (episode.steps[-1].observation,)
            assert not episode.steps[-1].failed
        assert all(text.lower() in episode.answer.lower() for text in episode.answer_contains)
        assert "{" not in episode.question + episode.answer + episode.final_thought


def test_single_arguments_are_in_the_question(everything: list[Episode]) -> None:
    for episode in of_kind(everything, "single"):
        (step,) = episode.steps
        assert all(str(value) in episode.question for value in step.arguments.values())


def test_chained_second_call_uses_the_first_result(everything: list[Episode]) -> None:
    for episode in of_kind(everything, "chained"):
        first, second = episode.steps
        recipe = next(chain for chain in CHAINS if (chain.first, chain.second) == (first.tool, second.tool))
        kind = TOOLS[recipe.second].parameters[recipe.parameter]["type"]
        assert second.arguments[recipe.parameter] == argument_from(first.observation, kind)
        assert str(second.arguments[recipe.parameter]) == first.observation
        others = {name: value for name, value in second.arguments.items() if name != recipe.parameter}
        assert all(str(value) in episode.question for value in {**others, **first.arguments}.values())


def test_recovered_fails_then_succeeds_with_the_suggestion(everything: list[Episode]) -> None:
    for episode in of_kind(everything, "recovered"):
        failed, again = episode.steps
        key = TOOLS[failed.tool].key
        assert key is not None and failed.failed and not again.failed
        wrong, right = failed.arguments[key], again.arguments[key]
        assert wrong in episode.question and right not in episode.question
        assert f"'{right}'" in failed.observation or f"“{right}”" in failed.observation
        assert {**failed.arguments, key: right} == again.arguments


def test_no_call_needs_no_tool(everything: list[Episode]) -> None:
    for episode in of_kind(everything, "no_call"):
        assert not episode.steps and episode.tools and episode.answer


def test_no_tool_fits_offers_the_tool_nowhere(everything: list[Episode]) -> None:
    for episode in of_kind(everything, "no_tool_fits"):
        assert not episode.steps
        assert episode.answer_contains == (MARKERS[episode.language],)
        literal = {
            tool.name
            for tool in TOOLS.values()
            for template in tool.questions[episode.language]
            if matches(template, episode.question)
        }
        assert literal and not literal & {tool.name for tool in episode.tools}


def matches(template: str, question: str) -> bool:
    """Tell whether a question may come from a template: its literal pieces are in it, in order."""
    place = 0
    pieces = template.replace("}", "{").split("{")[::2]
    if not question.startswith(pieces[0]) or not question.endswith(pieces[-1]):
        return False
    for piece in pieces:
        place = question.find(piece, place)
        if place < 0:
            return False
        place += len(piece)
    return True


def test_ask_back_names_the_missing_parameter(everything: list[Episode]) -> None:
    for episode in of_kind(everything, "ask_back"):
        descriptions = {schema["description"] for tool in episode.tools for schema in tool.parameters["properties"].values()}
        assert not episode.steps
        assert episode.answer_contains[0] in descriptions


def test_unseen_tasks_need_held_out_tools(unseen: list[Episode]) -> None:
    for episode in unseen:
        assert episode.unseen and episode.id.startswith("unseen-")
        assert any(TOOLS[tool.name].held_out for tool in episode.tools)
        assert all(TOOLS[step.tool].held_out for step in episode.steps)
    used = {step.tool for episode in unseen for step in episode.steps}
    assert used == {name for name, tool in TOOLS.items() if tool.held_out}


def test_training_uses_every_training_tool_and_no_other(seen: list[Episode]) -> None:
    used = {step.tool for episode in seen for step in episode.steps}
    assert used == {name for name, tool in TOOLS.items() if not tool.held_out}
    assert not any(TOOLS[tool.name].held_out for episode in seen for tool in episode.tools)


def test_no_held_out_string_is_in_a_training_text(seen: list[Episode]) -> None:
    text = "\n".join(all_text(episode) for episode in seen).lower()
    assert [found for found in held_out_strings() if found.lower() in text] == []


def test_held_out_strings_guard_names_descriptions_and_questions(unseen: list[Episode]) -> None:
    strings = held_out_strings()
    for tool in TOOLS.values():
        assert (tool.name in strings) == tool.held_out
        assert {description in strings for description in tool.description.values()} == {tool.held_out}
    text = "\n".join(all_text(episode) for episode in unseen)
    assert sum(found in text for found in strings) / len(strings) > 0.9


def test_no_held_out_string_is_in_any_training_template() -> None:
    """Stronger than sampling: look at all the templates."""
    parts = [question for language in LANGUAGES for question, _ in TRAINING[language]]
    parts += [text for chain in CHAINS if not chain.held_out for texts in chain.questions.values() for text in texts]
    for tool in TOOLS.values():
        if not tool.held_out:
            for language in LANGUAGES:
                parts += [tool.name, tool.description[language], *tool.questions[language], *tool.answers[language]]
                parts += [template for _, template in tool.incomplete[language]]
    text = "\n".join(parts).lower()
    assert [found for found in held_out_strings() if found.lower() in text] == []


def test_there_are_enough_chains_and_small_talk() -> None:
    assert sum(not chain.held_out for chain in CHAINS) >= 8
    assert sum(chain.held_out for chain in CHAINS) >= 4
    for language in LANGUAGES:
        training, held_out = ({question for question, _ in pairs[language]} for pairs in (TRAINING, HELD_OUT))
        assert len(training) >= 25 and len(held_out) >= 8 and not training & held_out


def test_chains_name_fields_only_once() -> None:
    for chain in CHAINS:
        first, second = set(TOOLS[chain.first].parameters), set(TOOLS[chain.second].parameters)
        assert not first & (second - {chain.parameter})


@pytest.mark.parametrize("name", sorted(name for name, tool in TOOLS.items() if tool.key))
@pytest.mark.parametrize("language", LANGUAGES)
def test_most_misspelled_keys_are_found_again(name: str, language: str) -> None:
    tool, rng, found = TOOLS[name], random.Random(0), 0
    assert tool.key is not None
    for _ in range(20):
        arguments = tool.sample(rng, language)  # type: ignore[arg-type]
        wrong = {**arguments, tool.key: misspell(rng, arguments[tool.key], language)}  # type: ignore[arg-type]
        try:
            call_tool(name, wrong)
        except ToolFault as fault:
            found += arguments[tool.key] in str(fault)
    assert found >= 10


def test_conversation_has_every_turn(everything: list[Episode]) -> None:
    for episode in everything[:200]:
        conversation = episodes_to_conversation([episode])
        roles = [message.role for message in conversation.messages]
        assert roles == ["user", *["assistant", "tool"] * len(episode.steps), "assistant"]
        assert conversation.tools == episode.tools and conversation.source.id == episode.id
        for step, call, result in zip(episode.steps, conversation.messages[1::2], conversation.messages[2::2], strict=False):
            thought = full_thought(step.thought, step.choice, episode.tools, episode.question, episode.language)
            assert call.reasoning == thought and call.tool_calls[0].arguments == step.arguments
            assert (result.content, result.name) == (step.observation, step.tool)
        thought = full_thought(episode.final_thought, episode.choice, episode.tools, episode.question, episode.language)
        assert conversation.messages[-1].reasoning == thought
