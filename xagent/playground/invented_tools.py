"""Drawing tools that don't exist, and values for their parameters."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xagent.chat.message import ToolSpec
from xagent.playground.tool import Language
from xagent.playground.words import (
    ADJECTIVES_EN,
    NOUNS_EN,
    NOUNS_ZH,
    TALK_EN,
    TYPES_OF_THING_EN,
    TYPES_OF_THING_ZH,
    VERBS_EN,
    VERBS_ZH,
    made_up_hanzi,
    made_up_word,
)


@dataclass(frozen=True)
class Parameter:
    """A parameter of an invented tool."""

    name: str
    kind: str
    description: str


@dataclass(frozen=True)
class Invention:
    """A tool that doesn't exist, and the words that questions about it use."""

    spec: ToolSpec
    topic: str
    verb: str
    thing: str
    parameters: tuple[Parameter, ...]


def invent(generator: random.Random, language: Language, like: Invention | None = None) -> Invention:
    """Draw a tool; with ``like`` it shares a word with that one, so that only careful reading tells them apart."""
    return _invent_en(generator, like) if language == "en" else _invent_zh(generator, like)


def _invent_en(generator: random.Random, like: Invention | None) -> Invention:
    noun = _word(generator, NOUNS_EN)
    verb = generator.choice(VERBS_EN)
    thing = generator.choice(TYPES_OF_THING_EN) if generator.random() < 0.6 else _word(generator, NOUNS_EN)
    topic = noun
    if generator.random() < 0.45:
        topic = f"{_word(generator, ADJECTIVES_EN if generator.random() < 0.6 else NOUNS_EN)} {noun}"
    if like is not None:
        shared = like.topic.split()[-1]
        topic = generator.choice([f"{_word(generator, ADJECTIVES_EN)} {shared}", f"{shared} {noun}", noun])
        verb = like.verb if generator.random() < 0.4 else verb
        thing = like.thing if generator.random() < 0.5 else thing
    snake = topic.replace(" ", "_")
    name = generator.choice(
        [f"{verb}_{snake}", f"{snake}_of_{thing}", f"{thing}_{snake}", f"get_{snake}", snake, f"{snake}_{verb}"]
    )
    description = generator.choice(
        [
            f"{verb.capitalize()} the {topic} of a {thing}.",
            f"Give the {topic} of a {thing}.",
            f"Look up the {topic} for a {thing}.",
            f"Tells the {topic} of one {thing}",
            f"{verb.capitalize()} a {thing} and return the {topic}.",
            f"{topic.capitalize()} of a {thing}",
            f"{verb.capitalize()} the {topic}.",
            f"Compute the {topic} from a {thing}.",
            f"How to {verb} the {topic} of the {thing}.",
            f"{_word(generator, NOUNS_EN).capitalize()} {verb} a {thing} to a {topic}.",
            f"{_word(generator, VERBS_EN).capitalize()} in which {_word(generator, NOUNS_EN)} the {topic} is.",
            f"{_word(generator, ADJECTIVES_EN).capitalize()} {topic} by {_word(generator, NOUNS_EN)} or {thing}.",
            f"{_word(generator, VERBS_EN).capitalize()} {_word(generator, NOUNS_EN)} into {topic}",
            *[_around_en(generator, topic, thing)] * 6,
        ]
    )
    parameters = _parameters(generator, "en", thing)
    return Invention(spec_of(name, description, parameters), topic, verb, thing, parameters)


def _invent_zh(generator: random.Random, like: Invention | None) -> Invention:
    topic = generator.choice(NOUNS_ZH) if generator.random() < 0.7 else made_up_hanzi(generator, 2, 3)
    verb = generator.choice(VERBS_ZH)
    thing = generator.choice(TYPES_OF_THING_ZH) if generator.random() < 0.6 else generator.choice(NOUNS_ZH)
    if generator.random() < 0.3:
        topic = generator.choice(NOUNS_ZH) + topic
    if like is not None:
        topic = generator.choice([like.topic[:2] + topic, topic + like.topic[-2:], topic])
        verb = like.verb if generator.random() < 0.4 else verb
        thing = like.thing if generator.random() < 0.5 else thing
    words = [_word(generator, NOUNS_EN) for _ in range(generator.randint(1, 2))]
    name = "_".join([generator.choice(VERBS_EN), *words] if generator.random() < 0.7 else words + [_word(generator, NOUNS_EN)])
    description = generator.choice(
        [
            f"{verb}{thing}的{topic}",
            f"{verb}{topic}",
            f"{verb}某个{thing}的{topic}。",
            f"给出{thing}的{topic}",
            f"根据{thing}{verb}{topic}",
            f"查{thing}在哪个{topic}",
            f"{verb}{thing}由哪位{topic}，即{made_up_hanzi(generator, 2, 4)}。",
            f"把{made_up_hanzi(generator, 1, 2)}{verb}成{topic}",
            f"{made_up_hanzi(generator, 1, 2)}{thing}有几{topic}",
            *[_around_zh(generator, topic, thing)] * 4,
        ]
    )
    parameters = _parameters(generator, "zh", thing)
    return Invention(spec_of(name, description, parameters), topic, verb, thing, parameters)


def _around_en(generator: random.Random, topic: str, thing: str) -> str:
    """Say any words around a topic, so that to read a description is to copy it, whatever it says."""
    words = [_any_word(generator) for _ in range(generator.randint(1, 4))]
    words += [topic, *(_any_word(generator) for _ in range(generator.randint(0, 3)))]
    if generator.random() < 0.4:
        words += [generator.choice(TALK_EN), thing]
    return " ".join(words).capitalize() + generator.choice((".", ""))


def _around_zh(generator: random.Random, topic: str, thing: str) -> str:
    parts = [made_up_hanzi(generator, 1, 4), topic, made_up_hanzi(generator, 0, 3)]
    if generator.random() < 0.4:
        parts.insert(generator.choice((0, 1)), thing + generator.choice(("的", "里", "在", "，", "")))
    return "".join(parts) + generator.choice(("。", "", ""))


def _any_word(generator: random.Random) -> str:
    return _word(generator, generator.choice((TALK_EN, TALK_EN, NOUNS_EN, VERBS_EN)))


def _word(generator: random.Random, words: tuple[str, ...]) -> str:
    return generator.choice(words) if generator.random() < 0.62 else made_up_word(generator)


def _parameters(generator: random.Random, language: Language, thing: str) -> tuple[Parameter, ...]:
    count = generator.choices([1, 2, 3], [0.58, 0.33, 0.09])[0]
    found: dict[str, Parameter] = {}
    while len(found) < count:
        noun = _word(generator, NOUNS_EN)
        first = not found and generator.random() < 0.6
        if language == "en":
            name = thing if first else generator.choice([noun, noun, f"{generator.choice(ADJECTIVES_EN)}_{noun}", f"from_{noun}"])
            plain = name.replace("_", " ")
            description = generator.choice([plain, plain, f"name of the {plain}", f"{plain} to {generator.choice(VERBS_EN)}"])
        else:
            name = noun
            description = thing if first else generator.choice(NOUNS_ZH)
            description += generator.choice(["", "", "名称", "的值"])
        kind = generator.choices(["string", "number", "integer"], [0.6, 0.2, 0.2])[0]
        found.setdefault(name, Parameter(name, kind, description))
    return tuple(found.values())


def spec_of(name: str, description: str, parameters: tuple[Parameter, ...]) -> ToolSpec:
    properties = {parameter.name: {"type": parameter.kind, "description": parameter.description} for parameter in parameters}
    return ToolSpec(name, description, {"type": "object", "properties": properties, "required": list(properties)})


def draw_shelf(generator: random.Random, language: Language, tasks: int = 1) -> list[Invention]:
    """Draw the tools that are offered, some of them alike: enough for every kind of task, and more for more tasks."""
    size = generator.choices([2, 3, 4, 5], [0.4, 0.35, 0.2, 0.05])[0]
    size = max(size, min(tasks + 1, 6))
    while True:
        shelf = [invent(generator, language)]
        while len(shelf) < size:
            like = generator.choice(shelf) if generator.random() < 0.3 else None
            shelf.append(draw_other(generator, language, shelf, like))
        kinds = {each.kind for tool in shelf for each in tool.parameters}
        if "string" in kinds and any(len(tool.parameters) == 1 for tool in shelf):
            return generator.sample(shelf, len(shelf))


def draw_other(
    generator: random.Random, language: Language, shelf: Sequence[Invention], like: Invention | None = None
) -> Invention:
    """Draw a tool whose name and topic no tool of the shelf has."""
    while True:
        other = invent(generator, language, like)
        if all(other.spec.name != tool.spec.name and other.topic != tool.topic for tool in shelf):
            return other


def draw_value(generator: random.Random, kind: str, language: Language) -> Any:
    """Draw an argument: a number, or a name, phrase, code, date or short text."""
    if kind == "integer":
        return generator.choice([generator.randint(0, 20), generator.randint(0, 999), generator.randint(0, 99999)])
    if kind == "number":
        whole = generator.choice([generator.randint(0, 20), generator.randint(0, 2000)])
        return whole if generator.random() < 0.5 else float(f"{whole}.{generator.randint(1, 99)}")
    return _draw_text(generator, language)


def _draw_text(generator: random.Random, language: Language) -> str:
    style = generator.random()
    if style < 0.08:
        return f"{generator.randint(1950, 2049)}-{generator.randint(1, 12):02d}-{generator.randint(1, 28):02d}"
    if style < 0.13:
        return f"{generator.randint(0, 23):02d}:{generator.randint(0, 59):02d}"
    if style < 0.20:
        letters = "".join(generator.choice("ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in range(generator.randint(1, 3)))
        return f"{letters}{generator.choice(['-', '', ''])}{generator.randint(1, 999)}"
    if style < 0.23:
        return _few_letters(generator)
    if style < 0.30:
        return _word(generator, NOUNS_EN)
    if language == "zh" and style < 0.86:
        if generator.random() < 0.08:
            return f"{generator.randint(1950, 2049)}年{generator.randint(1, 12)}月{generator.randint(1, 28)}日"
        return generator.choice(NOUNS_ZH) if generator.random() < 0.3 else made_up_hanzi(generator, 2, 6)
    if style < 0.45:
        return " ".join(_word(generator, NOUNS_EN) for _ in range(generator.choices((2, 3, 4, 5), (0.6, 0.2, 0.1, 0.1))[0]))
    words = [made_up_word(generator).capitalize() for _ in range(generator.choices([1, 2, 3], [0.6, 0.33, 0.07])[0])]
    return " ".join(words)


def _few_letters(generator: random.Random) -> str:
    """Draw one letter, or a string of few different ones, as numerals, bits and turned words are."""
    if generator.random() < 0.25:
        return generator.choice("abcdefghijklmnopqrstuvwxyz")
    letters = generator.choice(("IVXLCDM", "01", made_up_word(generator), made_up_word(generator)))
    return "".join(generator.choice(letters) for _ in range(generator.randint(2, 9)))


def draw_result(generator: random.Random, language: Language) -> str:
    """Draw what a tool answers."""
    if generator.random() < 0.1:
        return _few_letters(generator)
    return str(draw_value(generator, generator.choice(["string", "number", "integer"]), language))


def draw_arguments(generator: random.Random, tool: Invention, language: Language) -> dict[str, Any]:
    return {parameter.name: draw_value(generator, parameter.kind, language) for parameter in tool.parameters}
