"""Pretraining text in which things are looked up in a list by what is said of them: many questions over one short list.

To choose a tool is to find a description by the words of a question, and then the name that stands before it. Records about forms
hold one such choice in several hundred words; these hold ten.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xagent.playground.tool import Language
from xagent.playground.words import (
    ADJECTIVES_EN,
    NOUNS_EN,
    NOUNS_ZH,
    TALK_EN,
    VERBS_EN,
    VERBS_ZH,
    made_up_hanzi,
    made_up_word,
)

UNKNOWN_SHARE = 0.14
"""How many questions are about something that is not in the list."""


@dataclass(frozen=True)
class Entry:
    """A line of a catalogue: a name, what is said of it, and the words of that which a question may use."""

    key: str
    text: str
    words: tuple[str, ...]


def catalogue(generator: random.Random, language: Language) -> list[tuple[str, str]]:
    """Give the turns, role and text, of questions about one list."""
    entries = _entries(generator, language, generator.randint(2, 6))
    entries, absent = entries[:-1] if len(entries) > 2 else entries, entries[-1] if len(entries) > 2 else None
    listing = generator.choice((_lines, _lines, _literals, _objects))(generator, entries)
    say = generator.choice(_ANSWERS[language])
    none = generator.choice(_NONE[language])
    turns: list[tuple[str, str]] = []
    for _ in range(generator.randint(4, 10)):
        if absent and generator.random() < UNKNOWN_SHARE:
            turns += [("user", _question(generator, language, absent, entries)[0]), ("assistant", none)]
        else:
            entry = generator.choice(entries)
            question, asked = _question(generator, language, entry, [other for other in entries if other is not entry])
            turns += [("user", question), ("assistant", say.format(key=entry.key, text=entry.text, asked=asked))]
    if generator.random() < 0.6:
        return [("system", listing), *turns]
    return [("user", f"{listing}\n{turns[0][1]}"), *turns[1:]]


def _entries(generator: random.Random, language: Language, count: int) -> list[Entry]:
    """Draw entries that differ in name and words; some share a word, so that one word does not decide."""
    found: dict[str, Entry] = {}
    texts: set[str] = set()
    draw = (_entry_en if language == "en" else _entry_zh) if generator.random() < 0.7 else _pair_of(language)
    while len(found) < count:
        like = generator.choice(list(found.values())) if found and generator.random() < 0.3 else None
        entry = draw(generator, like)
        if entry.key not in found and entry.text not in texts:
            found[entry.key] = entry
            texts.add(entry.text)
    return list(found.values())


def _key(generator: random.Random) -> str:
    words = [_plain(generator) for _ in range(generator.choices((1, 2, 3), (0.3, 0.6, 0.1))[0])]
    return "_".join(words)


def _plain(generator: random.Random) -> str:
    stock = generator.choice((NOUNS_EN, NOUNS_EN, VERBS_EN, TALK_EN))
    return generator.choice(stock) if generator.random() < 0.6 else made_up_word(generator)


def _entry_en(generator: random.Random, like: Entry | None) -> Entry:
    words = [_plain(generator) for _ in range(generator.randint(1, 3))]
    if like is not None:
        words[0] = generator.choice(like.words)
    if len(words) == 1 and like is not None:
        words.append(_plain(generator))
    verb, thing = generator.choice(VERBS_EN), generator.choice(NOUNS_EN)
    topic = " ".join(words)
    if generator.random() < 0.2:
        topic = f"{generator.choice(ADJECTIVES_EN)} {topic}"
    form = generator.choice(
        (
            "{verb} the {topic} of a {thing}.",
            "{verb} the {topic}",
            "The {topic} of a {thing}.",
            "Tell which {topic} a {thing} has.",
            "{topic} for each {thing}",
            "{verb} {topic}.",
            "{verb} a {thing}, give its {topic}.",
        )
    )
    text = form.format(verb=verb, topic=topic, thing=thing)
    if generator.random() < 0.7:
        text = text[0].upper() + text[1:]
    return Entry(_key(generator), text, tuple(words))


def _entry_zh(generator: random.Random, like: Entry | None) -> Entry:
    topic = generator.choice(NOUNS_ZH) if generator.random() < 0.4 else made_up_hanzi(generator, 2, 4)
    if generator.random() < 0.3:
        topic = generator.choice(NOUNS_ZH) + topic
    if like is not None:
        topic = generator.choice((like.words[0][:2] + topic, topic + like.words[0][-1:]))
    verb = generator.choice(VERBS_ZH)
    verb = generator.choice((verb, verb[0], verb[-1]))
    thing = generator.choice(NOUNS_ZH) if generator.random() < 0.6 else made_up_hanzi(generator, 2, 3)
    form = generator.choice(
        (
            "{verb}{thing}的{topic}",
            "{verb}{topic}",
            "{verb}{thing}的{topic}。",
            "给出{thing}在{topic}",
            "{verb}{thing}由哪个{topic}",
        )
    )
    text = form.format(verb=verb, topic=topic, thing=thing)
    pieces = [topic, *(topic[place : place + 2] for place in range(len(topic) - 1))]
    if "{thing}" in form:
        pieces.append(thing)
    return Entry(_key(generator), text, tuple(pieces))


def _pair_of(language: Language) -> Callable[[random.Random, Entry | None], Entry]:
    """Give a way to draw entries that are no more than a name and a word or two."""

    def draw(generator: random.Random, like: Entry | None) -> Entry:
        if language == "en":
            text = " ".join(_plain(generator) for _ in range(generator.randint(1, 2)))
        else:
            text = generator.choice(NOUNS_ZH) if generator.random() < 0.4 else made_up_hanzi(generator, 2, 3)
        return Entry(generator.choice((_key(generator), _plain(generator))), text, (text,))

    return draw


# How questions name an entry


def _question(generator: random.Random, language: Language, entry: Entry, others: Sequence[Entry]) -> tuple[str, str]:
    """Give a question about an entry, and the words of the entry that are in it, where it can be words of no other entry."""
    for _ in range(6):
        asked = _asked(generator, language, entry)
        if not any(asked.lower() in other.text.lower() for other in others):
            break
    question = generator.choice(_QUESTIONS[language]).format(asked=asked, value=_value(generator, language))
    place = entry.text.lower().find(asked.lower())
    return question, entry.text[place : place + len(asked)]


def _asked(generator: random.Random, language: Language, entry: Entry) -> str:
    if language == "zh":
        return generator.choice(entry.words)
    count = generator.randint(1, len(entry.words))
    start = generator.randint(0, len(entry.words) - count)
    return " ".join(entry.words[start : start + count])


def _value(generator: random.Random, language: Language) -> str:
    if generator.random() < 0.25:
        return str(generator.randint(0, 9999))
    if language == "zh" and generator.random() < 0.7:
        return made_up_hanzi(generator, 2, 4)
    word = _plain(generator)
    return generator.choice((word, word.capitalize(), f"{word.capitalize()} {_plain(generator).capitalize()}"))


_QUESTIONS = {
    "en": (
        "Which one is for the {asked}?",
        "I need the {asked}.",
        "What has to do with {asked}?",
        "{asked}?",
        "What is the {asked} of {value}?",
        "How can I know the {asked} for {value}?",
        "{value}: what is its {asked}?",
        "Please give me the {asked} of {value}.",
        "Which {asked} has {value}?",
        "Find {asked} for {value} and tell me.",
        "{value} {asked}",
    ),
    "zh": (
        "哪一个和{asked}有关？",
        "我要{asked}。",
        "{asked}用什么？",
        "{asked}？",
        "{value}的{asked}是多少？",
        "请问{value}的{asked}？",
        "{value}在哪个{asked}？",
        "帮我看看{value}{asked}",
        "{value}有几{asked}？",
        "{asked}：{value}",
        "想知道{value}由谁{asked}。",
    ),
}
# Most answers quote what gave the entry away before they name it, as the reference agent does (see cues.py).
_ANSWERS: dict[str, tuple[str, ...]] = {
    "en": (
        '"{asked}": {key}',
        '"{asked}" -> {key}',
        'For "{asked}" take {key}.',
        '"{asked}" is what {key} is for.',
        'I see "{asked}" at {key}.',
        '"{asked}" is in "{text}": {key}',
        "{key}",
    ),
    "zh": (
        "“{asked}”：{key}",
        "“{asked}” -> {key}",
        "“{asked}”用 {key}。",
        "“{asked}”是 {key} 管的。",
        "看到“{asked}”，选 {key}",
        "“{asked}”在“{text}”里：{key}",
        "{key}",
    ),
}
_NONE = {
    "en": ("None of them.", "Nothing in the list fits.", "That is not in the list."),
    "zh": ("都不是。", "没有合适的。", "列表里没有。"),
}


# How a list is written


def _lines(generator: random.Random, entries: Sequence[Entry]) -> str:
    line = generator.choice(("{key}: {text}", "{key} - {text}", "{text} ({key})", "[{key}] {text}", "- {key}, {text}"))
    return generator.choice(("\n", "; ", "\n")).join(line.format(key=entry.key, text=entry.text) for entry in entries)


def _literals(generator: random.Random, entries: Sequence[Entry]) -> str:
    return str([_as_mapping(generator, entry) for entry in entries])


def _objects(generator: random.Random, entries: Sequence[Entry]) -> str:
    return "\n".join(json.dumps(_as_mapping(generator, entry), ensure_ascii=False) for entry in entries)


def _as_mapping(generator: random.Random, entry: Entry) -> dict[str, object]:
    """Write an entry as data, with something behind it that no question asks for."""
    found: dict[str, object] = {"name": entry.key, "description": entry.text}
    if generator.random() < 0.5:
        word = _plain(generator)
        found["blanks"] = [{"name": word, "kind": generator.choice(("words", "amount", "text"))}]
    return found
