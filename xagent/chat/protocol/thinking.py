"""The thought in ``<think>`` tags at the beginning of a reply, as Qwen3, DeepSeek-R1 and others write it."""

from __future__ import annotations

import re
from abc import abstractmethod
from dataclasses import replace

from xagent.chat.message import Message
from xagent.chat.protocol.base import ParsedReply, Protocol

_THOUGHT = re.compile(r"\s*<think>(.*?)</think>", re.DOTALL)
_BEGUN = re.compile(r"\s*<think>")
UNFINISHED = "the thought is not ended: there is a <think> and no </think>"

TAGS = r"</?think>"
"""What a text must hold to be taken for a thought or the end of one (a regular expression)."""


def write_thought(reasoning: str | None) -> list[str]:
    """Give the lines that stand before a reply's text: none without a thought."""
    return [] if reasoning is None else [f"<think>\n{reasoning}\n</think>"]


def split_thought(text: str) -> tuple[str | None, str]:
    """Give the thought (None where there is none) and what follows it."""
    thought = _THOUGHT.match(text)
    return (thought[1].strip(), text[thought.end() :]) if thought else (None, text)


def is_unfinished_thought(text: str) -> bool:
    """Say whether a reply was cut inside its thought."""
    return bool(_BEGUN.match(text)) and not _THOUGHT.match(text)


def with_thought_apart(message: Message) -> Message:
    """Give a message whose content begins with a thought in tags as one with that reasoning."""
    if message.reasoning is not None:
        return message
    reasoning, content = split_thought(message.content)
    return replace(message, reasoning=reasoning, content=content.strip())


class ThinkingProtocol(Protocol):
    """A protocol whose replies may begin with a thought in tags."""

    def parse(self, text: str) -> ParsedReply:
        """Read the thought, and what follows it."""
        if is_unfinished_thought(text):
            return ParsedReply("incomplete", error=UNFINISHED, rest=text)
        return self.parse_said(*split_thought(text))

    @abstractmethod
    def parse_said(self, thought: str | None, said: str) -> ParsedReply:
        """Read the calls of what follows the thought, and the text around them; ``thought`` is the reply's reasoning."""

    def canonical(self, message: Message) -> Message:
        """Give a message with a thought in tags as its reasoning."""
        return with_thought_apart(super().canonical(message))
