"""What a visitor has chosen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from xagent.playground import Language

Mode = Literal["run", "typed"]
"""Who does the tools' work: the server, or the visitor, who types the observations."""


@dataclass(frozen=True)
class Generation:
    """How replies are drawn; in effect from the next question on.

    Attributes:
        max_turn: how many replies may be written to one question.
        max_new_tokens: each reply is cut after so many tokens.
        temperature: 0 is greedy.
        top_p: the mass of likeliest tokens that is drawn from.
        seed: of what is drawn.
    """

    max_turn: int = 6
    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Setup:
    """What a conversation stands on; another setup begins another conversation.

    Attributes:
        themes: of the playground, all of whose tools are offered.
        tools: names of single tools that are offered too, before those of the themes.
        mode: who does their work.
        system: text of the visitor's own for the system turn; empty is none.
        protocol: how tools are called; None is what each model was trained in.
        language: of the system text and of the playground's descriptions.
    """

    themes: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    mode: Mode = "run"
    system: str = ""
    protocol: str | None = None
    language: Language = "en"


@dataclass(frozen=True)
class Settings:
    """Everything that a visitor has chosen; ``language`` is that of the page."""

    language: Language = "en"
    setup: Setup = field(default_factory=Setup)
    generation: Generation = field(default_factory=Generation)
