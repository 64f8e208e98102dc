"""The playground's held-out episodes as a suite: tools are really run, in Lagent's loop."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from itertools import chain
from typing import Any

from xagent.evaluation.episodes import MAX_UNREADABLE, EpisodeResult, evaluate_episodes
from xagent.evaluation.items import ItemKey, ItemResult, Metric
from xagent.evaluation.replies import Replying
from xagent.evaluation.suite import text_digest
from xagent.playground import Step, generate_episodes

EPISODES = 120
"""Episodes with tools that the demo's training knows, and as many with tools that it never saw."""


class PlaygroundSuite:
    """Generated episodes; groups are seen or unseen tools, and the kind of episode.

    Args:
        replying: how replies are made.
        episodes: so many with seen tools and so many with unseen ones.
        seed: generates the episodes; another than the training data's.
    """

    name = "playground"
    success = "solved"
    metrics: Mapping[str, Metric] = {
        "valid_format": Metric("replies in valid format"),
        "right_tool": Metric("right tool"),
        "right_arguments": Metric("right arguments"),
        "solved": Metric("episodes solved"),
        "false_calls": Metric("false calls", better="lower"),
        "recovery": Metric("solved after a failed call"),
        "turns": Metric("replies an episode", kind="mean", better="lower"),
    }

    def __init__(self, replying: Replying, episodes: int = EPISODES, seed: int = 90_001) -> None:
        self.replying = replying
        generated = chain(generate_episodes(episodes, seed), generate_episodes(episodes, seed, unseen=True))
        self._episodes = {episode.id: episode for episode in generated}
        self.settings: Mapping[str, Any] = {
            **asdict(replying),
            "max_unreadable": MAX_UNREADABLE,
            "items": text_digest(asdict(episode) for episode in self._episodes.values()),
        }

    def keys(self) -> list[ItemKey]:
        """Give every try at every episode."""
        return self.replying.keys(list(self._episodes))

    def run(self, llm: Any, todo: Collection[ItemKey], finished: Callable[[ItemResult], None], title: str) -> None:
        """Run these; ``finished`` is given each result as soon as it is there."""
        tries = list(todo)
        evaluate_episodes(
            llm,
            [self._episodes[item] for item, _ in tries],
            max_new_tokens=self.replying.max_new_tokens,
            max_turn=self.replying.max_turn,
            title=title,
            sampling=[self.replying.sampling(key) for key in tries],
            finished=lambda index, result: finished(item_of(result, tries[index][1])),
        )


def item_of(result: EpisodeResult, repeat: int = 0) -> ItemResult:
    """Give what an episode came to as an item's result."""
    grades, episode = result.grades, result.episode
    counts = {
        "valid_format": (float(grades.valid_replies), float(grades.replies)),
        **{name: (float(getattr(grades, name)), 1.0) for name in ("right_tool", "right_arguments", "solved")},
        "false_calls": (float(grades.false_call), 1.0),
        "turns": (float(grades.replies), 1.0),
    }
    if any(call.failed for call in result.calls):
        counts["recovery"] = (float(grades.solved), 1.0)
    group = f"{'unseen' if episode.unseen else 'seen'} tools, {episode.kind}"
    return ItemResult(episode.id, repeat, group, counts, failure_of(result), _transcript(result))


def failure_of(result: EpisodeResult) -> str | None:
    """Give what went wrong in an episode that was not solved, None in one that was.

    An early end for want of readable replies comes first, then the first of the points that grades tell.
    """
    grades, steps = result.grades, result.episode.steps
    kinds = (
        (grades.solved, None),
        (result.ending == "unreadable", f"stopped after {MAX_UNREADABLE} unreadable replies in a row"),
        (grades.valid_replies == 0, "no reply in valid format"),
        (not steps and bool(result.calls), "call where none is right"),
        (bool(steps) and not result.calls, "no call"),
        (not grades.right_tool, "wrong tool"),
        (not grades.right_arguments, "wrong arguments"),
        (result.answer is None, "no final answer"),
    )
    return next((kind for holds, kind in kinds if holds), "wrong final answer")


def _transcript(result: EpisodeResult) -> tuple[tuple[str, str], ...]:
    episode = result.episode
    said = [("tools", ", ".join(tool.name for tool in episode.tools)), ("user", episode.question)]
    for reply, observation in zip(result.replies, result.observations, strict=True):
        said.append(("model", reply))
        if observation is not None:
            said.append(("observation", observation))
    steps = [_in_words(step) for step in episode.steps] or ["no call"]
    said.append(("expected", "\n".join([*steps, episode.answer])))
    return tuple(said)


def _in_words(step: Step) -> str:
    return f"{step.tool} {json.dumps(dict(step.arguments), ensure_ascii=False)} -> {step.observation}"
