"""From episodes to a conversation in the house's data model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from xagent.chat.message import Conversation, Message, Source, ToolCall
from xagent.playground.episode import Episode
from xagent.playground.reading import full_thought


def episodes_to_conversation(episodes: Sequence[Episode]) -> Conversation:
    """Write the reference solutions one after another: each question, its calls and their results, its final answer.

    The tools of all episodes are offered from the start; the source's id is the first episode's. A failed call's result is the
    fault's text, like any other result. Mistaken calls are not learned.
    """
    episodes = sharing_tools(episodes)
    tools = episodes[0].tools
    messages: list[Message] = []
    for episode in episodes:
        think = partial(full_thought, tools=tools, question=episode.question, language=episode.language)
        messages.append(Message("user", episode.question))
        for step in episode.steps:
            call = ToolCall(step.tool, dict(step.arguments))
            learned = False if step.mistaken else None
            messages.append(Message("assistant", reasoning=think(step.thought, step.choice), tool_calls=(call,), loss=learned))
            messages.append(Message("tool", step.observation, name=step.tool))
        messages.append(Message("assistant", episode.answer, reasoning=think(episode.final_thought, episode.choice)))
    return Conversation(tuple(messages), tools, Source(id=episodes[0].id)).validate()


def joined(episodes: list[Episode], another: Episode) -> list[Episode]:
    """Add an episode to those of one conversation, unless the tools of the others would solve what must stay unsolved."""
    together = [*episodes, another]
    offered = {tool.name for episode in together for tool in episode.tools}
    return episodes if any(offered.intersection(episode.absent) for episode in together) else together


def sharing_tools(episodes: Sequence[Episode]) -> list[Episode]:
    """Give the episodes of one conversation with the tools of all of them offered in each."""
    tools = tuple({tool.name: tool for episode in episodes for tool in episode.tools}.values())
    return [replace(episode, tools=tools) for episode in episodes]
