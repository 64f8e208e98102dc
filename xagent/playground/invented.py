"""Invented tools: episodes whose tools, parameters and values are drawn at random, so that nothing can be remembered.

A model that has seen thousands of them learns to read the list of tools. The tools can't be run: their results are drawn too.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xagent.playground import invented_phrases as phrases
from xagent.playground.episode import Choice, Episode, Kind, Step
from xagent.playground.held_out import may_be_trained
from xagent.playground.invented_tools import (
    Invention,
    draw_arguments,
    draw_other,
    draw_result,
    draw_shelf,
    draw_value,
)
from xagent.playground.invented_wording import ask, ask_two, ask_without, pick, spoken, values_text
from xagent.playground.reading import called, known_values, plan
from xagent.playground.tool import LANGUAGES, Language
from xagent.playground.words import made_up_hanzi, made_up_word

KIND_SHARES: dict[Kind, float] = {
    "single": 0.5,
    "chained": 0.14,
    "recovered": 0.12,
    "no_tool_fits": 0.12,
    "ask_back": 0.12,
}


def invented_conversations(
    count: int, seed: int, most_questions: int = 1, languages: tuple[Language, ...] = LANGUAGES
) -> Iterator[list[Episode]]:
    """Give ``count`` lists of 1 to ``most_questions`` episodes that offer the same tools; the same arguments give the same ones.

    What must not be trained (``held_out.may_be_trained``) is drawn again.
    """
    for number in range(count):
        generator = random.Random(f"{seed}-{number}")
        language = generator.choice(languages)
        name = f"invented-{language}-{seed}-{number:06d}"
        while True:
            episodes = draw_episodes(generator, language, name, generator.randint(1, most_questions))
            if all(may_be_trained(episode) for episode in episodes):
                yield episodes
                break


def draw_episode(generator: random.Random, language: Language, name: str, kinds: Mapping[Kind, float] | None = None) -> Episode:
    """Draw one episode; ``kinds`` are the kinds' shares (default: ``KIND_SHARES``)."""
    return draw_episodes(generator, language, name, 1, kinds)[0]


def draw_episodes(
    generator: random.Random, language: Language, name: str, count: int, kinds: Mapping[Kind, float] | None = None
) -> list[Episode]:
    """Draw episodes that offer the same tools, so that only the question tells which one is right."""
    shares = KIND_SHARES if kinds is None else kinds
    shelf = draw_shelf(generator, language, count)
    specs = tuple(tool.spec for tool in shelf)
    episodes = []
    for kind in generator.choices(list(shares), list(shares.values()), k=count):
        task = _BUILDERS[kind](generator, language, shelf)
        episodes.append(
            Episode(
                name,
                kind,
                language,
                specs,
                task.question,
                task.steps,
                task.thought,
                task.answer,
                task.answer_contains,
                choice=task.choice,
            )
        )
    return episodes


@dataclass(frozen=True)
class _Task:
    """An episode without the tools that it offers."""

    question: str
    steps: tuple[Step, ...]
    thought: str
    answer: str
    answer_contains: tuple[str, ...]
    choice: Choice | None = None


def _solved(generator: random.Random, language: Language, question: str, steps: tuple[Step, ...], topic: str) -> _Task:
    result = steps[-1].observation
    answer = pick(generator, phrases.ANSWERS, language, topic=topic, result=result)
    return _Task(question, steps, pick(generator, phrases.DONE, language), answer, (result,))


def _using(
    generator: random.Random,
    language: Language,
    thoughts: Mapping[str, tuple[str, ...]],
    tool: Invention,
    arguments: Mapping[str, Any],
    later: str = "",
) -> str:
    """Give the thought that names a tool and what is known of its parameters, and the tool that comes after it."""
    values = known_values(tool.spec, arguments, language)
    return pick(generator, thoughts, language, name=called(tool.spec), values=values, later=later)


def _single(generator: random.Random, language: Language, shelf: Sequence[Invention]) -> _Task:
    tool = generator.choice(shelf)
    arguments = draw_arguments(generator, tool, language)
    question = ask(generator, tool, values_text(generator, tool, arguments, language), language)
    step = Step(
        _using(generator, language, phrases.THOUGHTS, tool, arguments),
        tool.spec.name,
        arguments,
        draw_result(generator, language),
        choice=Choice(tool.spec.name),
    )
    return _solved(generator, language, question, (step,), tool.topic)


def _chained(generator: random.Random, language: Language, shelf: Sequence[Invention]) -> _Task:
    second = generator.choice([tool for tool in shelf if len(tool.parameters) <= 2])
    first = generator.choice([tool for tool in shelf if tool is not second])
    arguments = draw_arguments(generator, first, language)
    place = generator.choice(second.parameters)
    middle = draw_value(generator, place.kind, language)
    following = {**draw_arguments(generator, second, language), place.name: middle}
    given = {name: value for name, value in following.items() if name != place.name}
    values = values_text(generator, first, arguments, language)
    question = ask_two(generator, first, second, values, given, place.name, language)
    later = plan(second.spec, following, place.name, language)
    steps = (
        Step(
            _using(generator, language, phrases.FIRST, first, arguments, later),
            first.spec.name,
            arguments,
            str(middle),
            choice=Choice(first.spec.name, later=second.spec.name),
        ),
        Step(
            _using(generator, language, phrases.NEXT, second, following),
            second.spec.name,
            following,
            draw_result(generator, language),
        ),
    )
    return _solved(generator, language, question, steps, second.topic)


def _recovered(generator: random.Random, language: Language, shelf: Sequence[Invention]) -> _Task:
    tool = generator.choice([tool for tool in shelf if any(each.kind == "string" for each in tool.parameters)])
    place = generator.choice([each for each in tool.parameters if each.kind == "string"])
    if language == "zh" and generator.random() < 0.7:
        right = made_up_hanzi(generator, 2, 4)
    else:
        right = made_up_word(generator).capitalize()
    wrong = misspell(generator, right)
    arguments = draw_arguments(generator, tool, language)
    first, second = {**arguments, place.name: wrong}, {**arguments, place.name: right}
    fault = phrases.UNKNOWN[language].format(thing=spoken(place, language), wrong=wrong, right=right)
    question = ask(generator, tool, values_text(generator, tool, first, language), language)
    steps = (
        Step(
            _using(generator, language, phrases.THOUGHTS, tool, first),
            tool.spec.name,
            first,
            fault,
            failed=True,
            choice=Choice(tool.spec.name),
        ),
        Step(pick(generator, phrases.RETRY, language, right=right), tool.spec.name, second, draw_result(generator, language)),
    )
    return _solved(generator, language, question, steps, tool.topic)


def misspell(generator: random.Random, word: str) -> str:
    """Drop, double or swap a letter, or change one; never the word itself."""
    while True:
        place = generator.randrange(len(word))
        letters = list(word)
        change = generator.randrange(4)
        if change == 0 and len(word) > 3:
            del letters[place]
        elif change == 1:
            letters.insert(place, letters[place])
        elif change == 2 and place + 1 < len(word):
            letters[place], letters[place + 1] = letters[place + 1], letters[place]
        else:
            letters[place] = (
                made_up_hanzi(generator, 1, 1) if ord(letters[place]) > 0x3000 else generator.choice("abdeghiklmnoprstuvy")
            )
        if "".join(letters) != word:
            return "".join(letters)


def _no_tool_fits(generator: random.Random, language: Language, shelf: Sequence[Invention]) -> _Task:
    tool = draw_other(generator, language, shelf)
    question = ask(generator, tool, values_text(generator, tool, draw_arguments(generator, tool, language), language), language)
    marker = "none of the tools" if language == "en" else "没有合适的工具"
    return _Task(
        question, (), pick(generator, phrases.NOT_FIT, language), pick(generator, phrases.NONE, language), (marker,), Choice()
    )


def _ask_back(generator: random.Random, language: Language, shelf: Sequence[Invention]) -> _Task:
    tool = generator.choice(shelf)
    arguments = draw_arguments(generator, tool, language)
    missing = generator.choice(tool.parameters)
    del arguments[missing.name]
    if arguments:
        question = ask(generator, tool, values_text(generator, tool, arguments, language), language)
    else:
        question = ask_without(generator, tool, language)
    what = missing.description
    thought = _using(generator, language, phrases.THOUGHTS, tool, arguments)
    return _Task(question, (), thought, pick(generator, phrases.ASK_BACK, language, what=what), (what,), Choice(tool.spec.name))


_BUILDERS: Mapping[Kind, Callable[[random.Random, Language, Sequence[Invention]], _Task]] = {
    "single": _single,
    "chained": _chained,
    "recovered": _recovered,
    "no_tool_fits": _no_tool_fits,
    "ask_back": _ask_back,
}
