"""Generated conversations in raw Agent-FLAN form: the data that the demo converts and trains on.

A row is ``{"conversation": [{"role", "content", "loss"}], "id"}``, as in Agent-FLAN's own files; calls and results stand in
the text in the react protocol's words, in the language of the episode.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from xagent.chat.protocol import get_protocol
from xagent.chat.turns import flatten
from xagent.playground.conversation import episodes_to_conversation, joined, sharing_tools
from xagent.playground.disguise import in_other_words
from xagent.playground.episode import Episode
from xagent.playground.generate import generate_episodes
from xagent.playground.invented import invented_conversations
from xagent.playground.tool import LANGUAGES, Language

CHAINED_SHARE = 0.15
"""How many questions about the playground's tools are drawn from those of two calls alone, beside their part of the others: they
are the hardest to learn."""

PROTOCOL_OF: dict[Language, str] = {"en": "react", "zh": "react_zh"}


def agent_flan_record(episodes: Sequence[Episode]) -> dict[str, Any]:
    """Write episodes of one language, one after another, as a raw Agent-FLAN row."""
    protocol = get_protocol(PROTOCOL_OF[episodes[0].language])
    turns = flatten(episodes_to_conversation(episodes), protocol)
    conversation = [
        {"role": turn.role, "content": turn.text, "loss": turn.role == "assistant" and any(weight for _, weight in turn.pieces)}
        for turn in turns
    ]
    return {"conversation": conversation, "id": episodes[0].id}


def training_conversations(
    count: int, seed: int, invented_share: float = 0.6, most_questions: int = 3, disguised_share: float = 0.0
) -> Iterator[tuple[str, list[Episode]]]:
    """Give (Agent-FLAN file stem, the episodes of one conversation): invented tools and the playground's, in mixed order.

    Args:
        most_questions: a conversation asks 1 to so many questions.
        disguised_share: how many conversations about the playground's tools are told in other words (``disguise.py``).
    """
    generator = random.Random(f"records-{seed}")
    invented = invented_conversations(count, seed, most_questions)
    questions = partial(generate_episodes, count * most_questions, seed, purpose="training")
    of_all_kinds = {language: questions(languages=(language,)) for language in LANGUAGES}
    chained = {language: questions(languages=(language,), kinds=("chained",)) for language in LANGUAGES}
    for _ in range(count):
        if generator.random() < invented_share:
            yield "toolbench_react_10p", next(invented)
            continue
        language = generator.choice(LANGUAGES)
        episodes: list[Episode] = []
        for _ in range(generator.randint(1, most_questions)):
            source = chained if generator.random() < CHAINED_SHARE else of_all_kinds
            episodes = joined(episodes, next(source[language]))
        if generator.random() < disguised_share:
            episodes = in_other_words(generator, sharing_tools(episodes))
        yield ("agent_instruct_react" if any(episode.steps for episode in episodes) else "toolbench_negative"), episodes


def write_raw_agent_flan(
    folder: Path,
    count: int,
    seed: int,
    invented_share: float = 0.6,
    most_questions: int = 3,
    disguised_share: float = 0.0,
) -> dict[str, int]:
    """Write ``count`` rows into Agent-FLAN's files in ``folder``; gives the rows of each file.

    Args:
        folder: is made; files of an earlier call are replaced.
        invented_share: share of conversations with invented tools; the others use the playground's training tools.
        most_questions: a conversation asks 1 to so many questions.
        disguised_share: how many of the others are told in other words.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[str]] = {}
    for stem, episodes in training_conversations(count, seed, invented_share, most_questions, disguised_share):
        rows.setdefault(stem, []).append(json.dumps(agent_flan_record(episodes), ensure_ascii=False))
    for stem, lines in rows.items():
        _write(folder / f"{stem}.jsonl", lines)
    return {stem: len(lines) for stem, lines in sorted(rows.items())}


def _write(path: Path, lines: Iterable[str]) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    temporary.replace(path)
