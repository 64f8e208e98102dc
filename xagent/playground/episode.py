"""An episode: one task for an agent, with the calls that solve it and what a good ending says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from xagent.chat.message import ToolSpec
from xagent.playground.tool import Language

Kind = Literal["single", "chained", "recovered", "no_call", "no_tool_fits", "ask_back"]
KINDS: tuple[Kind, ...] = ("single", "chained", "recovered", "no_call", "no_tool_fits", "ask_back")


@dataclass(frozen=True)
class Choice:
    """How a tool is chosen from the list: the one that fits (None: none does); another may be needed after it."""

    right: str | None = None
    later: str | None = None


@dataclass(frozen=True)
class Step:
    """One reference call: the thought before it, the call, and what the tool really answered.

    Attributes:
        thought: what is thought after a tool is chosen, or instead.
        choice: how the tool was chosen; None where the thought needs no look at the list.
        mistaken: the call is a mistake, there to be mended: it is read and not learned.
    """

    thought: str
    tool: str
    arguments: Mapping[str, Any]
    observation: str
    failed: bool = False
    choice: Choice | None = None
    mistaken: bool = False


@dataclass(frozen=True)
class Episode:
    """One task.

    Attributes:
        id: unique within a generated set, e.g. ``seen-single-en-00012``.
        kind: single call, two chained calls, a failing call that is recovered, no call needed, no tool fits, an
            argument is missing (ask back).
        tools: the tools offered, in the order in which they are listed.
        steps: the reference calls with their real observations; empty where no call is right.
        final_thought, answer: how the reference ends.
        answer_contains: texts that a right final answer must contain (case-insensitive), e.g. the tool's result, or the name of
            the missing parameter.
        unseen: the task needs a held-out tool.
        absent: the tools with which a task that no offered tool fits could be solved.
        choice: how the list is read before the final thought; None where it isn't.
    """

    id: str
    kind: Kind
    language: Language
    tools: tuple[ToolSpec, ...]
    question: str
    steps: tuple[Step, ...]
    final_thought: str
    answer: str
    answer_contains: tuple[str, ...] = ()
    unseen: bool = False
    absent: tuple[str, ...] = ()
    choice: Choice | None = None
