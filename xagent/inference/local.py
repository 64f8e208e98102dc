"""An engine that runs the model in this process."""

from __future__ import annotations

from xagent.errors import EngineError
from xagent.inference.engine import GenerationRequest, Grammar
from xagent.inference.prompting import PromptBuilder
from xagent.inference.reply_stream import QueuedReplyStream, check_request
from xagent.model.generation_batch import Sampling
from xagent.model.json_grammar import JsonConstraint, JsonGrammars
from xagent.model.scheduler import Scheduler, Ticket


class LocalEngine:
    """Runs a model in this process; requests share its forward passes. See :class:`xagent.inference.engine.Engine`.

    Args:
        scheduler: runs the model, and is closed with the engine.
        prompts: turns conversations into prompts as training did.
        adapters: names that the scheduler knows.
    """

    def __init__(self, scheduler: Scheduler, prompts: PromptBuilder, adapters: tuple[str, ...] = ()) -> None:
        self.scheduler, self.prompts, self.adapters = scheduler, prompts, adapters
        self.context = scheduler.context
        self._grammars = JsonGrammars(prompts.tokenizer, prompts.stop_ids)

    def submit(self, request: GenerationRequest) -> LocalReplyStream:
        """Begin a reply.

        Raises:
            ConfigError: the prompt fills the context, the adapter is unknown, or the JSON schema or the grammar can't be
                followed (which takes llguidance, extra ``[json]``).
            EngineError: the engine was closed.
        """
        check_request(request, self.context, self.adapters)
        constraint = self._constraint(request)
        stream = LocalReplyStream(request, self.prompts)
        stream.scheduler = self.scheduler
        try:
            stream.ticket = self.scheduler.submit(
                request.prompt_ids,
                stream,
                request.max_new_tokens,
                self.prompts.stop_ids,
                Sampling(request.temperature, request.top_p, request.seed),
                request.logprobs,
                request.adapter,
                constraint,
            )
        except RuntimeError as error:
            raise EngineError("the engine was closed; load the model again") from error
        return stream

    def follows(self, grammar: Grammar) -> bool:
        """Say whether replies can be kept to a grammar: llguidance is installed, and understands it."""
        return self._grammars.follow(grammar.lark)

    def outage(self) -> str | None:
        """Say that the engine was closed, if so."""
        return "the engine was closed" if self.scheduler.closed else None

    def _constraint(self, request: GenerationRequest) -> JsonConstraint | None:
        if request.json_schema is not None:
            return self._grammars.of_schema(request.json_schema)
        return None if request.grammar is None else self._grammars.of_lark(request.grammar.lark)

    def close(self) -> None:
        """Cancel what runs and free the model."""
        self.scheduler.close()


class LocalReplyStream(QueuedReplyStream):
    """A reply that a scheduler generates."""

    scheduler: Scheduler
    ticket: Ticket

    def cancel(self) -> None:
        """End the reply before the next step; one that has ended stays as it is."""
        self.scheduler.cancel(self.ticket)
