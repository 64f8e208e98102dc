"""The text that the embedded base model learns from: it speaks and copies, and knows no tool protocol.

Episodes are told as a clerk filling in forms (``forms.py``), between them plain talk (``speech.py``). A record is
``{"messages": [{role, content, loss, weight}]}``, for ``openai_map_fn``.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from xagent.errors import ConfigError
from xagent.playground import catalogues
from xagent.playground.conversation import joined, sharing_tools
from xagent.playground.disguise import in_other_words
from xagent.playground.episode import Episode, Kind
from xagent.playground.forms import drawn_labels, tell, tell_reading, usual_labels
from xagent.playground.generate import generate_episodes
from xagent.playground.held_out import holds_held_out_text, may_be_trained
from xagent.playground.invented import draw_episodes
from xagent.playground.speech import recital, speech
from xagent.playground.tool import LANGUAGES, Language

if TYPE_CHECKING:
    from datasets import Dataset

CONTEXT_WEIGHT = 0.25
"""What the words of system and user weigh: predicting lists of forms teaches copying, but most of them is chance."""

SPEECH_SHARE = 0.2

Lesson = Literal["forms", "lookups", "reading", "planning"]
"""What a model learns: first to speak, to copy and to fill in forms; then to look things up in lists; then to read a list
aloud, and to say what is known and what is missing (``reading.py``); then all of that together, with plans of two steps, under
any labels, and with the words of the playground's training tools."""

LATER_CONTEXT_WEIGHT = 0.05
"""``CONTEXT_WEIGHT`` of the lessons after the first: copying is known by then."""

LOOKUPS_SHARES = {"catalogue": 0.4, "speech": 0.1}
"""How many records of the second lesson are of a kind; the others are forms."""

READING_SPEECH_SHARE = 0.08
"""How many records of the third lesson are talk alone."""

READING_KINDS: dict[Kind, float] = {"single": 0.4, "chained": 0.16, "recovered": 0.1, "no_tool_fits": 0.16, "ask_back": 0.18}
"""The shares of the kinds in the third lesson."""

PLANNING_SHARES = {"speech": 0.1, "real": 0.55, "disguised": 0.75}
"""How many records of the fourth lesson, and of the fifth, which repeats its matter, are speech, mostly of copying, how many of
the others are about the playground's training tools, told as forms, and how many of those in other words (``disguise.py``)."""

PLANNING_KINDS: dict[Kind, float] = {"single": 0.32, "chained": 0.27, "recovered": 0.1, "no_tool_fits": 0.13, "ask_back": 0.18}
"""The shares of the kinds among its records about invented tools."""

REAL_KINDS: dict[Kind, float] = {
    "single": 0.33,
    "chained": 0.33,
    "recovered": 0.09,
    "no_call": 0.04,
    "no_tool_fits": 0.08,
    "ask_back": 0.13,
}
"""The shares of the kinds among those about the playground's tools."""


def pretraining_records(count: int, seed: int, lesson: Lesson = "forms") -> Iterator[dict[str, Any]]:
    """Give ``count`` records of a lesson, the same ones for the same arguments, one at a time.

    A record in which a held-out tool's name, description or question turns up by chance is drawn again.

    Raises:
        ConfigError: the lesson is unknown.
    """
    if lesson not in get_args(Lesson):
        raise ConfigError(f"lesson must be one of {', '.join(get_args(Lesson))}, got {lesson!r}")
    weight = CONTEXT_WEIGHT if lesson == "forms" else LATER_CONTEXT_WEIGHT
    draw = {"forms": _draw, "lookups": _draw_lookups, "reading": _draw_reading, "planning": _draw_planning}[lesson]
    for number in range(count):
        generator = random.Random(f"pretraining-{seed}-{number}" if lesson == "forms" else f"{lesson}-{seed}-{number}")
        while True:
            turns = draw(generator)
            if not holds_held_out_text("\n".join(text for _, text in turns)):
                break
        yield {"id": f"pretrain-{seed}-{number}", "messages": [_message(role, text, weight) for role, text in turns]}


def pretraining_dataset(count: int, seed: int, lesson: Lesson = "forms") -> Dataset:
    """Give the records as a Hugging Face data set, for a config's ``dataset=dict(type=pretraining_dataset, ...)``."""
    from datasets import Dataset

    # What was generated is known by its arguments and by the text of what draws it: the data set's cache follows both.
    code = "".join(path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.rglob("*.py")))
    fingerprint = hashlib.sha256(f"{count} {seed} {lesson} {code}".encode()).hexdigest()[:16]
    return Dataset.from_generator(
        pretraining_records, gen_kwargs={"count": count, "seed": seed, "lesson": lesson}, fingerprint=fingerprint
    )


def _draw(generator: random.Random) -> list[tuple[str, str]]:
    language = generator.choice(LANGUAGES)
    if generator.random() < SPEECH_SHARE:
        return speech(generator, language)
    rounds = generator.choices((1, 2, 3, 4), (0.35, 0.25, 0.2, 0.2))[0]
    return tell(generator, draw_episodes(generator, language, "desk", rounds))


def _draw_lookups(generator: random.Random) -> list[tuple[str, str]]:
    language = generator.choice(LANGUAGES)
    place = generator.random()
    if place < LOOKUPS_SHARES["catalogue"]:
        return catalogues.catalogue(generator, language)
    if place < LOOKUPS_SHARES["catalogue"] + LOOKUPS_SHARES["speech"]:
        return speech(generator, language)
    return tell(generator, draw_episodes(generator, language, "desk", generator.randint(2, 5)), quoting=True)


def _draw_reading(generator: random.Random) -> list[tuple[str, str]]:
    language = generator.choice(LANGUAGES)
    if generator.random() < READING_SPEECH_SHARE:
        return speech(generator, language)
    episodes = draw_episodes(generator, language, "desk", generator.randint(2, 5), READING_KINDS)
    return tell_reading(generator, episodes, usual_labels(generator, language))


def _draw_planning(generator: random.Random) -> list[tuple[str, str]]:
    language = generator.choice(LANGUAGES)
    if generator.random() < PLANNING_SHARES["speech"]:
        return recital(generator, language)
    labels = drawn_labels(generator, language)
    if generator.random() >= PLANNING_SHARES["real"]:
        return tell_reading(generator, _invented_episodes(generator, language), labels)
    real = _real_episodes(generator, language, generator.randint(1, 3))
    if generator.random() < PLANNING_SHARES["disguised"]:
        real = in_other_words(generator, real)
    return tell_reading(generator, real, labels)


def _invented_episodes(generator: random.Random, language: Language) -> list[Episode]:
    while True:
        episodes = draw_episodes(generator, language, "desk", generator.randint(1, 4), PLANNING_KINDS)
        if all(may_be_trained(episode) for episode in episodes):
            return episodes


def _real_episodes(generator: random.Random, language: Language, count: int) -> list[Episode]:
    """Draw training episodes of the playground's tools that can stand in one conversation."""
    found: list[Episode] = []
    for kind in generator.choices(list(REAL_KINDS), list(REAL_KINDS.values()), k=count):
        drawn = _drawn(generator, kind, language)
        while any(step.mistaken for step in drawn.steps):  # all of a lesson's text is learned
            drawn = _drawn(generator, kind, language)
        found = joined(found, drawn)
    return sharing_tools(found)


def _drawn(generator: random.Random, kind: Kind, language: Language) -> Episode:
    seed = generator.randrange(2**40)
    return next(generate_episodes(1, seed, purpose="training", languages=(language,), kinds=(kind,)))


def _message(role: str, text: str, context_weight: float) -> dict[str, Any]:
    weight = 1.0 if role == "assistant" else context_weight
    return {"role": role, "content": text, "loss": True, "weight": weight}
