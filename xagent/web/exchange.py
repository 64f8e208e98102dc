"""What is on show of one question and one model: how far the answer has come."""

from __future__ import annotations

from dataclasses import dataclass, replace

from xagent.agent.events import Answered, Ended, Event, Step, StepDone, TextPiece


@dataclass(frozen=True)
class Exchange:
    """A question and what became of it so far.

    Attributes:
        steps: the finished steps, in order.
        writing: the reply that is on its way, as the model writes it; what is left of it where the loop was ended.
        turn: which reply ``writing`` belongs to.
        answer: the model's answer; None while there is none.
        last_reply: the whole text that the answer was read from.
        ended: why there is no answer.
        awaited: the model waits for an observation, which the visitor types.
        position: where the question stands in the session's history.
        fault: what went wrong outside of the model.
        seconds, new_tokens: of the whole exchange, known with the answer.
    """

    question: str
    steps: tuple[Step, ...] = ()
    writing: str = ""
    turn: int = -1
    answer: str | None = None
    last_reply: str = ""
    ended: str | None = None
    awaited: bool = False
    position: int = 0
    fault: str | None = None
    seconds: float | None = None
    new_tokens: int | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self.answer is not None or self.ended is not None or self.fault is not None


def advance(exchange: Exchange, event: Event) -> Exchange:
    """Give the exchange after an event of its session."""
    if isinstance(event, TextPiece):
        begun = exchange.writing if event.turn == exchange.turn else ""
        return replace(exchange, writing=begun + event.text, turn=event.turn)
    if isinstance(event, StepDone):
        return replace(exchange, steps=(*exchange.steps, event.step), writing="")
    if isinstance(event, Answered):
        said = replace(exchange, answer=event.text, last_reply=exchange.writing, writing="")
        return replace(said, seconds=event.seconds, new_tokens=event.new_tokens)
    assert isinstance(event, Ended), event
    return replace(exchange, ended=event.reason, awaited=event.kind == "observation")


def reopened(exchange: Exchange, observation: str) -> Exchange:
    """Give the exchange whose model gets the observation that it waits for, and goes on in the same reply."""
    return replace(exchange, writing=f"{exchange.writing} {observation}\n", ended=None, awaited=False)
