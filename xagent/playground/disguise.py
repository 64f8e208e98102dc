"""Episodes told with other words: what the playground's tools are called, what they are for and what they are asked for is
replaced, alike wherever it stands, so that sentences people would say hold words that no model can have learned by heart."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from xagent.chat.message import ToolSpec
from xagent.playground.cues import EMPTY
from xagent.playground.episode import Choice, Episode, Step
from xagent.playground.held_out import may_be_trained
from xagent.playground.invented_tools import draw_value
from xagent.playground.tool import Language
from xagent.playground.words import NOUNS_EN, NOUNS_ZH, VERBS_EN, made_up_hanzi, made_up_word, patchwork

NAMES_SHARE, WORDS_SHARE, VALUES_SHARE = 0.5, 0.35, 0.5
"""How many names of tools and parameters, words of descriptions, and texts given as arguments are replaced."""


def disguised(generator: random.Random, episodes: Sequence[Episode]) -> list[Episode]:
    """Give episodes of one language that offer the same tools, with some of their words replaced."""
    change = _Change(_replacements(generator, episodes))
    tools = tuple(change.tool(tool) for tool in episodes[0].tools)
    return [change.episode(episode, tools) for episode in episodes]


def in_other_words(generator: random.Random, episodes: Sequence[Episode]) -> list[Episode]:
    """Give them disguised; drawn again where the new words make something that must not be trained."""
    while True:
        changed = disguised(generator, episodes)
        if all(may_be_trained(episode) for episode in changed):
            return changed


class _Change:
    """Replaces words in a single pass, so that nothing is replaced twice."""

    def __init__(self, words: Mapping[str, str]) -> None:
        self.words = words
        keys = (re.escape(word) for word in sorted(words, key=len, reverse=True))
        # A word of letters is replaced where it stands alone; Chinese has no such borders.
        guarded = (rf"(?<![A-Za-z_]){key}(?![A-Za-z_])" if key[0].isascii() else key for key in keys)
        self.pattern = re.compile("|".join(guarded) or r"(?!)", re.IGNORECASE)

    def text(self, text: str) -> str:
        return self.pattern.sub(self._other, text)

    def _other(self, match: re.Match[str]) -> str:
        found = match[0]
        if found in self.words:
            return self.words[found]
        other = self.words.get(found.lower(), found)
        return other[:1].upper() + other[1:] if found[:1].isupper() else other

    def value(self, value: Any) -> Any:
        return self.text(value) if isinstance(value, str) else value

    def tool(self, tool: ToolSpec) -> ToolSpec:
        properties = {
            self.text(name): {**schema, "description": self.text(schema["description"])}
            for name, schema in tool.parameters["properties"].items()
        }
        required = [self.text(name) for name in tool.parameters["required"]]
        parameters = {**tool.parameters, "properties": properties, "required": required}
        return ToolSpec(self.text(tool.name), self.text(tool.description), parameters)

    def step(self, step: Step) -> Step:
        arguments = {self.text(name): self.value(value) for name, value in step.arguments.items()}
        return Step(
            self.text(step.thought),
            self.text(step.tool),
            arguments,
            self.text(step.observation),
            step.failed,
            self.choice(step.choice),
            step.mistaken,
        )

    def choice(self, choice: Choice | None) -> Choice | None:
        return choice and Choice(choice.right and self.text(choice.right), choice.later and self.text(choice.later))

    def episode(self, episode: Episode, tools: tuple[ToolSpec, ...]) -> Episode:
        return replace(
            episode,
            tools=tools,
            question=self.text(episode.question),
            steps=tuple(self.step(step) for step in episode.steps),
            final_thought=self.text(episode.final_thought),
            answer=self.text(episode.answer),
            answer_contains=tuple(self.text(text) for text in episode.answer_contains),
            absent=(),
            choice=self.choice(episode.choice),
        )


def _replacements(generator: random.Random, episodes: Sequence[Episode]) -> dict[str, str]:
    """Draw what is replaced by what: keys are lower-case or Chinese words, names, and whole arguments; all values differ."""
    language = episodes[0].language
    found: dict[str, str] = {}
    # Words first, then names, then arguments: the later ones decide where they are the same text.
    for tool in episodes[0].tools:
        for word in _words_of(generator, tool, language):
            if generator.random() < WORDS_SHARE:
                found[word] = _new_word(generator, language)
    for tool in episodes[0].tools:
        for name in (tool.name, *tool.parameters["properties"]):
            if generator.random() < NAMES_SHARE:
                # A name of one word is a word of the sentences too.
                found[name] = _new_name(generator) if "_" in name else _new_word(generator, "en")
    for episode in episodes:
        for step in episode.steps:
            for value in step.arguments.values():
                if isinstance(value, str) and value.lower() not in found and generator.random() < VALUES_SHARE:
                    found[value if not value.isascii() else value.lower()] = _new_text(generator, language)
    kept: dict[str, str] = {}
    for word, other in found.items():
        if other not in kept.values():
            kept[word] = other
    return kept


def _words_of(generator: random.Random, tool: ToolSpec, language: Language) -> list[str]:
    text = tool.description
    if language == "en":
        return [word for word in sorted({word.lower() for word in re.findall(r"[A-Za-z]{3,}", text)}) if word not in EMPTY["en"]]
    pairs = [text[place : place + 2] for place in range(len(text) - 1)]
    pairs = [pair for pair in pairs if all("\u4e00" <= letter <= "\u9fff" and letter not in EMPTY["zh"] for letter in pair)]
    return generator.sample(pairs, min(2, len(pairs)))


def _new_word(generator: random.Random, language: Language) -> str:
    if language == "zh":
        return generator.choice(NOUNS_ZH) if generator.random() < 0.3 else made_up_hanzi(generator, 1, 3)
    style = generator.random()
    if style < 0.35:
        return generator.choice(generator.choice((NOUNS_EN, VERBS_EN)))
    return made_up_word(generator) if style < 0.7 else patchwork(generator)


def _new_name(generator: random.Random) -> str:
    words = [_new_word(generator, "en") for _ in range(generator.choices((1, 2, 3), (0.15, 0.65, 0.2))[0])]
    return "_".join(words)


def _new_text(generator: random.Random, language: Language) -> str:
    while True:
        text = str(draw_value(generator, "string", language))
        if not text[0].isdigit():
            return text
