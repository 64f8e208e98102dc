"""What must never be in a training text: strings that tell of held-out tools, and the questions of an examination."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from xagent.playground.chains import chains
from xagent.playground.episode import Episode
from xagent.playground.registry import held_out_tools
from xagent.playground.small_talk import HELD_OUT
from xagent.playground.tool import LANGUAGES, Language, PlaygroundTool
from xagent.playground.values import is_chinese
from xagent.playground.wording import GENERIC_ANSWERS

_FIELD = re.compile(r"\{[^}]*\}")

EXAMINED_SHARE = 0.2
"""How many of all questions about the training tools are kept for examinations."""


def is_examined(question: str) -> bool:
    """Tell whether a question is kept for examinations; a hash of its text decides, so that no seed can mix the two up."""
    return int.from_bytes(hashlib.sha256(question.encode()).digest()[:4], "big") < EXAMINED_SHARE * 2**32


def may_be_trained(episode: Episode) -> bool:
    """Tell whether an episode's question is for training, and nothing in its words belongs to a held-out tool."""
    return not is_examined(episode.question) and not holds_held_out_text(spoken_text(episode))


def spoken_text(episode: Episode) -> str:
    """Give all words of an episode in one text, tools included."""
    tools = [f"{tool.name}\n{tool.description}\n{tool.parameters}" for tool in episode.tools]
    steps = [f"{step.thought}\n{step.tool}\n{step.arguments}\n{step.observation}" for step in episode.steps]
    return "\n".join([*tools, episode.question, *steps, episode.final_thought, episode.answer])


@lru_cache(maxsize=1)
def _held_out_pattern() -> re.Pattern[str]:
    return re.compile("|".join(re.escape(text.lower()) for text in sorted(held_out_strings(), key=len, reverse=True)))


def holds_held_out_text(text: str) -> bool:
    """Tell whether a text contains anything that belongs to a held-out tool."""
    return _held_out_pattern().search(text.lower()) is not None


def held_out_strings() -> frozenset[str]:
    """Give what tells a held-out tool or question from a training one.

    That is: the tools' names and descriptions, and the literal pieces (12 characters and more, 6 in Chinese) of their
    questions, specific answers, of the chains they are in, and of the held-out small talk.
    """
    found = set()
    for tool in held_out_tools():
        found.add(tool.name)
        for language in LANGUAGES:
            found.add(tool.description[language])
            found.update(_pieces(_templates(tool, language)))
    for language in LANGUAGES:
        found.update(_pieces(template for chain in chains(unseen=True) for template in chain.questions[language]))
        found.update(_pieces(question for question, _ in HELD_OUT[language]))
    return frozenset(found)


def _templates(tool: PlaygroundTool, language: Language) -> Iterator[str]:
    yield from tool.questions[language]
    yield from (template for _, template in tool.incomplete[language])
    yield from (template for template in tool.answers[language] if template != GENERIC_ANSWERS[language])


def _pieces(templates: Iterable[str]) -> Iterator[str]:
    for template in templates:
        for piece in _FIELD.split(template):
            text = piece.strip()
            if len(text) >= (6 if is_chinese(text) else 12):
                yield text
