"""What of a conversation is learned, and how much: the options of a data set, in one place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from xagent.chat.message import Message, Role
from xagent.chat.reply import Reply
from xagent.chat.weights import Rule, WeightedSpan, multiply, read_rules, rule_faults
from xagent.errors import ConfigError

TrainedTurns = Literal["all", "last", "after_last_user"]
TRAINED_TURNS: tuple[TrainedTurns, ...] = get_args(TrainedTurns)
LEARNABLE_ROLES: tuple[Role, ...] = ("system", "user", "assistant")
"""Tool results are never learned."""

OPTIONS = ("loss_weights", "train_on_roles", "train_on_turns", "train_on_calls_only", "train_on_observation_keyword")
"""The options of a data set that :func:`read_supervision` reads."""


@dataclass(frozen=True)
class Supervision:
    """What is learned. Without any option: all that the model says, each token with weight 1.

    Observations never are, whatever the rules say: neither tool results nor those inside an assistant's text.

    Attributes:
        loss_weights: rules for the weights inside an assistant's text; they multiply.
        train_on_roles: only messages of these roles; None: an assistant's, and others where the record's ``loss`` is True.
            (LLaMA-Factory's ``train_on_prompt=True`` is all three roles.)
        train_on_turns: ``all``; ``last``, from the last assistant message on (LLaMA-Factory's ``mask_history=True``, SWIFT's
            ``loss_scale='last_round'``); or ``after_last_user``, the whole chain of calls that answers the last user message.
        train_on_calls_only: of an assistant's text only the calls, and the end of a turn that ends with one.
        train_on_observation_keyword: the word that announces an observation inside an assistant's text (``Observation:``) is
            learned, for clients that stop at it; the rules' weights hold for it.
    """

    loss_weights: tuple[Rule, ...] = ()
    train_on_roles: tuple[Role, ...] | None = None
    train_on_turns: TrainedTurns = "all"
    train_on_calls_only: bool = False
    train_on_observation_keyword: bool = False

    def weights_of(self, messages: Sequence[Message]) -> list[float]:
        """Give the weight of each message, 0 for those that are not learned."""
        first = self._first_learned(messages)
        return [message.weight if index >= first and self._is_learned(message) else 0.0 for index, message in enumerate(messages)]

    def pieces(self, text: str, weight: float, query: str = "") -> tuple[tuple[str, float], ...]:
        """Cut an assistant's text into pieces of one weight; ``query`` is what the user said directly before it."""
        if not text or not weight:
            return ((text, weight),) if text else ()
        spans = list(self._spans(Reply(text, query)))
        return multiply(text, weight, spans) if spans else ((text, weight),)

    def _first_learned(self, messages: Sequence[Message]) -> int:
        if self.train_on_turns == "all":
            return 0
        role = "assistant" if self.train_on_turns == "last" else "user"
        last = max((index for index, message in enumerate(messages) if message.role == role), default=0)
        return last if role == "assistant" else last + 1

    def _is_learned(self, message: Message) -> bool:
        if message.role == "tool" or message.loss is False:
            return False
        if self.train_on_roles is not None:
            return message.role in self.train_on_roles
        return message.role == "assistant" or message.loss is True

    def _spans(self, reply: Reply) -> Iterator[WeightedSpan]:
        for observation in reply.observations:
            learned = observation.opening if self.train_on_observation_keyword else 0
            yield observation.start + learned, observation.end, 0.0
        if self.train_on_calls_only:
            yield from self._beside_calls(reply)
        for rule in self.loss_weights:
            yield from rule.spans(reply)

    def _beside_calls(self, reply: Reply) -> Iterator[WeightedSpan]:
        kept = list(reply.calls)
        if self.train_on_observation_keyword:
            kept += [(part.start, part.start + part.opening) for part in reply.observations]
        position = 0
        for start, end in sorted(kept):
            if position < start:
                yield position, start, 0.0
            position = max(position, end)
        yield position, len(reply.text), 0.0


EVERYTHING_SAID = Supervision()
"""All that the model says, each token with weight 1."""


def read_supervision(options: Mapping[str, Any]) -> Supervision:
    """Read the options of a data set that are in ``OPTIONS``; others are left alone.

    Raises:
        ConfigError: listing every fault.
    """
    faults = list(supervision_faults(options))
    if faults:
        raise ConfigError(faults)
    given = {key: value for key, value in options.items() if key in OPTIONS}
    roles = given.get("train_on_roles")
    return Supervision(
        **{
            **given,
            "loss_weights": read_rules(given.get("loss_weights")),
            "train_on_roles": None if roles is None else tuple(roles),
        }
    )


def supervision_faults(options: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the options of a data set, each fault begins with its key."""
    yield from rule_faults(options.get("loss_weights"))
    roles = options.get("train_on_roles")
    if roles is not None:
        yield from _role_faults(roles)
    turns = options.get("train_on_turns", "all")
    if turns not in TRAINED_TURNS:
        yield f"train_on_turns: expected one of {', '.join(TRAINED_TURNS)}, got {turns!r}"
    for key in ("train_on_calls_only", "train_on_observation_keyword"):
        if not isinstance(options.get(key, False), bool):
            yield f"{key}: expected True or False, got {options[key]!r}"


def _role_faults(roles: Any) -> Iterator[str]:
    known = ", ".join(LEARNABLE_ROLES)
    if isinstance(roles, str) or not isinstance(roles, Sequence) or not roles:
        yield f"train_on_roles: expected a list of roles ({known}), got {roles!r}"
        return
    for role in roles:
        if role == "tool":
            yield f"train_on_roles: tool results are the world's words, which are never learned; choose from {known}"
        elif role not in LEARNABLE_ROLES:
            yield f"train_on_roles: unknown role {role!r}; choose from {known}"
