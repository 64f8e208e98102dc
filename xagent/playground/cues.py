"""The words by which a question gives away its tool: those that it shares with the tool's description.

The reference agent quotes them before it names the tool. A small model can find a name behind quoted words of its description
long before it can find one from a question as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from xagent.playground.tool import Language

_WORD = {"en": re.compile(r"[A-Za-z]+"), "zh": re.compile(r"[A-Za-z]+|[\u4e00-\u9fff]")}
# What is in most questions and descriptions says nothing about either.
EMPTY: dict[Language, frozenset[str]] = {
    "en": frozenset(
        """
        a an and are as at be before by can could do does each find for from get give go had has have how i in into is it its
        many me much my need of on one or out please say tell than that the then there these this to two up us was we what when
        where which who will with you your
        """.split()
    ),
    "zh": frozenset("的是了一个在把和与从到由请帮我查什么哪有您你它这那及其为对于或用给被想要知道中"),
}


def shared_words(question: str, description: str, others: Iterable[str], language: Language) -> str:
    """Give the run of words, as the description writes it, that tells best which description a question is about.

    Of the runs that stand in both, the one that is in the fewest ``others`` is the best, then the one that is written alike in
    both, then the longest, then the first in the question. Empty where they share no telling word.

    Args:
        others: the descriptions of the other tools.
    """
    asked, said = _words(question, language), _words(description, language)
    rest = [_plain(_words(other, language)) for other in others]
    best: tuple[int, bool, int, int] | None = None
    found = ""
    for start in range(len(asked)):
        for place in range(len(said)):
            first, last = _run(asked, said, start, place, EMPTY[language])
            if first == last:
                continue
            run = said[place + first : place + last]
            alike = _text(asked[start + first : start + last]) == _text(run)
            rank = (-sum(_plain(run) in other for other in rest), alike, last - first, -start)
            if best is None or rank > best:
                best, found = rank, description[run[0].start() : run[-1].end()]
    return found


def _words(text: str, language: Language) -> list[re.Match[str]]:
    return list(_WORD[language].finditer(text))


def _text(words: list[re.Match[str]]) -> str:
    return " ".join(word[0] for word in words)


def _plain(words: list[re.Match[str]]) -> str:
    return f" {_text(words).lower()} "


def _run(asked: list[re.Match[str]], said: list[re.Match[str]], start: int, place: int, empty: frozenset[str]) -> tuple[int, int]:
    """Give where the words that are the same from two places on begin and end, without empty ones at their ends."""
    length = 0
    while start + length < len(asked) and place + length < len(said):
        one, other = asked[start + length][0].lower(), said[place + length][0].lower()
        if one != other or (length and said[place + length].start() - said[place + length - 1].end() > 1):
            break
        length += 1
    first = 0
    while first < length and said[place + first][0].lower() in empty:
        first += 1
    while length > first and said[place + length - 1][0].lower() in empty:
        length -= 1
    return first, length
