"""How people ask for what invented tools do: templates and values put together."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from xagent.playground import invented_phrases as phrases
from xagent.playground.invented_tools import Invention, Parameter
from xagent.playground.tool import Language

COMPOSED_SHARE = 0.4
"""How many questions are put together of an opening, a topic, a link and so on; the others are whole templates."""


def _composed(generator: random.Random, language: Language) -> str:
    """Put a question's template together, with the values before or after what is asked for."""
    gap = " " if language == "en" else ""
    opening, topic, link, lead, turn, closing = (
        generator.choice(texts[language])
        for texts in (phrases.OPENINGS, phrases.TOPICS, phrases.LINKS, phrases.LEADS, phrases.TURNS, phrases.CLOSINGS)
    )
    if generator.random() < (0.6 if language == "en" else 0.25):
        text = gap.join((opening, topic, link, "{values}")) + closing
    else:
        asked = gap.join((opening, topic)) if generator.random() < 0.4 and opening else topic
        text = gap.join((lead, "{values}")) + turn + gap + asked + closing
    return text.strip()


def values_text(generator: random.Random, tool: Invention, arguments: dict[str, Any], language: Language) -> str:
    given = [parameter for parameter in tool.parameters if parameter.name in arguments]
    join = generator.choice(phrases.JOIN[language][len(given)])
    words = {f"k{place}": spoken(parameter, language) for place, parameter in enumerate(given)}
    return join.format(*(str(arguments[parameter.name]) for parameter in given), **words)


def spoken(parameter: Parameter, language: Language) -> str:
    return parameter.name.replace("_", " ") if language == "en" else parameter.description


def ask_two(
    generator: random.Random,
    first: Invention,
    second: Invention,
    values: str,
    others: dict[str, Any],
    place: str,
    language: Language,
) -> str:
    """Ask for the second tool's topic of the first one's, in one breath or one after the other.

    Args:
        values: the words for the first tool's arguments.
        others: the second tool's arguments without the one that the first tool gives.
        place: the name of that one.
    """
    words = {"topic": first.topic, "verb": first.verb, "values": values}
    inner = generator.choice(phrases.INNER[language]).format(**words)
    if others or generator.random() < 0.6:
        return ask(generator, second, values_text(generator, second, {place: inner, **others}, language), language)
    return generator.choice(phrases.FIRST_THEN[language]).format(
        inner=inner,
        values=values,
        topic1=first.topic,
        topic2=second.topic,
        verb1=first.verb,
        verb2=second.verb,
        Verb1=first.verb.capitalize(),
    )


def ask_without(generator: random.Random, tool: Invention, language: Language) -> str:
    """Ask for a tool's topic without any value for it."""
    if generator.random() < 0.4:
        text = generator.choice(phrases.BARE[language]).format(
            topic=tool.topic, verb=tool.verb, thing=tool.thing, Verb=tool.verb.capitalize()
        )
        return text[:1].upper() + text[1:]
    return ask(generator, tool, generator.choice(phrases.NOTHING[language]).format(thing=tool.thing), language)


def ask(generator: random.Random, tool: Invention, values: str, language: Language) -> str:
    if generator.random() < COMPOSED_SHARE:
        form = _composed(generator, language)
    else:
        form = generator.choice(phrases.ASK[language])
    verb = tool.verb
    return form.format(topic=tool.topic, values=values, verb=verb, Verb=verb.capitalize(), thing=tool.thing)


def pick(generator: random.Random, texts: Mapping[str, tuple[str, ...]], language: Language, **values: str) -> str:
    return generator.choice(texts[language]).format(**values)
