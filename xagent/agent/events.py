"""What a session tells while it works on a question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from xagent.inference.engine import FinishReason

EndKind = Literal["turns", "repeats", "stopped", "observation"]
"""``turns``: the replies that were allowed are used up; ``repeats``: the same call kept failing; ``stopped``: by the user;
``observation``: the model waits for one, see :meth:`xagent.agent.session.AgentSession.observe`."""


@dataclass(frozen=True)
class Step:
    """One reply of the model that was no answer, and what came of it.

    Attributes:
        thought: the model's words beside the call.
        tool: the tool that it called, None where no call could be read.
        arguments: those of the call.
        observation: what the model is shown, word for word.
        fault: what went wrong, in a few words; None after a result.
        seconds: how long the tool took; None where none ran.
    """

    thought: str
    tool: str | None
    arguments: Mapping[str, Any] | None
    observation: str
    fault: str | None
    seconds: float | None


@dataclass(frozen=True)
class TextPiece:
    """A piece of a reply, as the model writes it: in the words of its protocol.

    Attributes:
        turn: which reply to this question, from 0.
        text: the new characters.
    """

    turn: int
    text: str


@dataclass(frozen=True)
class StepDone:
    """A call was made, or a reply held none that could be run; the model goes on."""

    step: Step


@dataclass(frozen=True)
class Answered:
    """The model answered.

    Attributes:
        text: the answer, without the protocol's words around it.
        seconds: since the question.
        new_tokens: of all replies to the question.
        finish_reason: ``length`` where the answer was cut.
    """

    text: str
    seconds: float
    new_tokens: int
    finish_reason: FinishReason = "stop"


@dataclass(frozen=True)
class Ended:
    """The work ended without an answer.

    Attributes:
        reason: why, in words.
        kind: why, for programs.
    """

    reason: str
    kind: EndKind


Event = TextPiece | StepDone | Answered | Ended
