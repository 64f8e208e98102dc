"""An engine that says given replies in small pieces: for tests of what speaks to an engine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

from tiny_models import byte_tokenizer

from xagent.inference.engine import Delta, FinishReason, GenerationRequest, Grammar, Reply
from xagent.inference.prompting import PromptBuilder


@dataclass(frozen=True)
class Said:
    """A scripted reply.

    Attributes:
        text: what the model would write if nothing stopped it.
        finish_reason: ``length`` for a reply that is cut at its end.
        hangs: after its text the reply does not end until it is cancelled.
        error: raised after the text.
    """

    text: str = ""
    finish_reason: FinishReason = "stop"
    hangs: bool = False
    error: Exception | None = None


class ScriptedStream:
    """One reply on its way."""

    def __init__(self, said: Said, request: GenerationRequest, piece: int) -> None:
        self.said, self.piece, self.prompt_tokens = said, piece, len(request.prompt_ids)
        found = [(said.text.find(word), word) for word in request.stop if word in said.text]
        self.end, self.stopped_by = min(found, default=(len(said.text), None))
        self.cancelled = threading.Event()
        self.shown = ""
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[Delta]:
        for start in range(len(self.shown), self.end, self.piece):
            if self.cancelled.is_set():
                return
            delta = Delta(self.said.text[start : min(start + self.piece, self.end)])
            self.shown += delta.text
            yield delta
        if self.said.error is not None:
            raise self.said.error
        if self.said.hangs and self.stopped_by is None:
            assert self.cancelled.wait(120), "nobody cancelled the reply"

    def cancel(self) -> None:
        self.cancelled.set()

    def reply(self) -> Reply:
        for _ in self:
            pass
        reason = "stop" if self.stopped_by else self.said.finish_reason
        cancelled = self.cancelled.is_set() and (self.said.hangs or len(self.shown) < self.end)
        finish: FinishReason = "cancelled" if cancelled else reason
        return Reply(self.shown, finish, None if cancelled else self.stopped_by, self.prompt_tokens, len(self.shown))


class ScriptedEngine:
    """Says its replies one after another, and remembers what it was asked.

    Args:
        replies: texts, or more of a script.
        prompts: None: bytes as tokens, template ``qwen_chat``, and ``protocol``.
        piece: how many characters come at once.

    Attributes:
        requests: what was asked; shown: the text of each prompt.
    """

    adapters: tuple[str, ...] = ()
    context: int | None = None

    def __init__(
        self, *replies: str | Said, protocol: str = "react", prompts: PromptBuilder | None = None, piece: int = 3
    ) -> None:
        self.replies = [reply if isinstance(reply, Said) else Said(reply) for reply in replies]
        self.prompts = prompts or PromptBuilder(byte_tokenizer(["<|im_start|>", "<|im_end|>"]), "qwen_chat", protocol)
        self.piece = piece
        self.requests: list[GenerationRequest] = []
        self.closed = False

    @property
    def shown(self) -> list[str]:
        return [self.prompts.tokenizer.decode(list(request.prompt_ids)) for request in self.requests]

    def submit(self, request: GenerationRequest) -> ScriptedStream:
        self.requests.append(request)
        assert len(self.requests) <= len(self.replies), f"reply {len(self.requests)} is not in the script"
        return ScriptedStream(self.replies[len(self.requests) - 1], request, self.piece)

    def follows(self, grammar: Grammar) -> bool:
        return False

    def outage(self) -> str | None:
        return "the engine was closed" if self.closed else None

    def close(self) -> None:
        self.closed = True
