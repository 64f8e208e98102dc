"""The one way to ask a model for text: what a request says, what comes back, and what every engine can do.

Chat, server, web demo, Lagent's loop and the score all speak to an :class:`Engine`; which one runs the model is a setting.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from xagent.errors import ConfigError
from xagent.inference.prompting import PromptBuilder

FinishReason = Literal["stop", "length", "cancelled"]
"""``stop``: the model ended, or a stop word was met; ``length``: cut at ``max_new_tokens`` or the context's end."""


@dataclass(frozen=True)
class Grammar:
    """What a whole reply must be, without the words of it that the prompt ends with already.

    Attributes:
        lark: llguidance's dialect of Lark, https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md
    """

    lark: str


@dataclass(frozen=True)
class GenerationRequest:
    """What to continue, and how.

    Attributes:
        prompt_ids: what the model reads, from ``engine.prompts``.
        max_new_tokens: the reply is cut after so many tokens.
        temperature: 0 is greedy.
        top_p: the mass of likeliest tokens that is drawn from.
        seed: of what is drawn: the same request gives the same reply, whatever else runs.
        stop: texts that end the reply; they, and what follows, are never shown. The template's own end needs no mention.
        logprobs: for each token its log-probability and those of so many likeliest ones; None gives none.
        adapter: the name of one of ``engine.adapters``; None is the model that was loaded.
        json_schema: a JSON schema, as JSON text: a reply that the model ends is an instance of it. (One that is cut is the
            beginning of one.) None is any text.
        grammar: what a reply that the model ends is, in place of ``json_schema``; one that the engine :meth:`Engine.follows`.

    Raises:
        ConfigError: there is no prompt, or a setting is out of range.
    """

    prompt_ids: tuple[int, ...]
    max_new_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    adapter: str | None = None
    json_schema: str | None = None
    grammar: Grammar | None = None

    def __post_init__(self) -> None:
        faults = []
        if not self.prompt_ids:
            faults.append("the prompt has no tokens; give at least one (the BOS token)")
        if self.max_new_tokens < 1:
            faults.append(f"max_new_tokens must be >= 1, got {self.max_new_tokens}")
        if not self.temperature >= 0:
            faults.append(f"temperature must be a number >= 0, got {self.temperature!r}")
        if not 0 < self.top_p <= 1:
            faults.append(f"top_p must be in (0, 1], got {self.top_p!r}")
        if not all(self.stop):
            faults.append("a stop word is empty")
        if self.logprobs is not None and not 0 <= self.logprobs <= 20:
            faults.append(f"logprobs must be from 0 to 20, got {self.logprobs}")
        if self.json_schema is not None and self.grammar is not None:
            faults.append("a reply is kept to a JSON schema or to a grammar, not to both")
        if faults:
            raise ConfigError(faults)


@dataclass(frozen=True)
class TokenLogprob:
    """How likely a token was.

    Attributes:
        token: its text; what is no whole character yet is shown as U+FFFD.
        token_id: its id.
        logprob: natural logarithm, of the model's own distribution (temperature 1).
        top: the likeliest tokens at that place, likeliest first, without their own ``top``.
    """

    token: str
    token_id: int
    logprob: float
    top: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True)
class Delta:
    """A piece of a reply that may be shown: never part of a stop word or of a character.

    Attributes:
        text: the new characters, possibly none.
        logprobs: of the tokens that came since the last piece, where asked for.
    """

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True)
class Reply:
    """A whole reply.

    Attributes:
        text: all deltas' texts.
        finish_reason: why it ended.
        stopped_by: the stop word that was met, None where the model ended by itself or was cut.
        prompt_tokens, new_tokens: how many were read and generated, the one that ended the reply included.
        logprobs: of all tokens of ``text``, where asked for.
    """

    text: str
    finish_reason: FinishReason
    stopped_by: str | None = None
    prompt_tokens: int = 0
    new_tokens: int = 0
    logprobs: tuple[TokenLogprob, ...] = ()


class ReplyStream(Protocol):
    """A reply on its way. Iterate once to have its pieces as they come."""

    def __iter__(self) -> Iterator[Delta]:
        """Give the pieces, and end when the reply does.

        Raises:
            EngineUnavailable: the engine is gone.
            XAgentError: the engine could not go on.
        """

    def cancel(self) -> None:
        """End the reply now and free its place in the batch; from any thread, also when it has ended."""

    def reply(self) -> Reply:
        """Wait for the end and give the whole reply; iterating before is not needed.

        Raises:
            XAgentError: the engine could not go on.
        """


class Engine(Protocol):
    """Runs a model. Safe to use from many threads; requests share its forward passes."""

    prompts: PromptBuilder
    """Turns conversations into prompts, as training did, and knows the protocol that replies are in."""
    adapters: tuple[str, ...]
    """Names that a request's ``adapter`` may have."""
    context: int | None
    """How many tokens prompt and reply may have together; None where there is no limit."""

    def submit(self, request: GenerationRequest) -> ReplyStream:
        """Begin a reply.

        Raises:
            ConfigError: the prompt fills the context, the adapter is unknown, or the JSON schema or the grammar can't be
                followed.
            XAgentError: the engine was closed.
        """

    def follows(self, grammar: Grammar) -> bool:
        """Say whether replies can be kept to a grammar."""

    def outage(self) -> str | None:
        """Say why no request can be answered now; None where nothing is known. May take seconds."""

    def close(self) -> None:
        """Cancel what runs and free the model. More than once is fine."""
