"""A model as Lagent's language model: any engine, or a local model whose batches do not depend on threads' timing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lagent.llms import BaseModel

from xagent.agent.batching import BatchingFront
from xagent.agent.transcript import to_conversation
from xagent.chat.message import Conversation
from xagent.errors import ConfigError
from xagent.inference.engine import Engine, GenerationRequest
from xagent.inference.prompting import AgentSettings, PromptBuilder, load_agent_settings
from xagent.model.generation import Completion, Generator, load_model


@dataclass(frozen=True)
class _Request:
    prompt: tuple[int, ...]
    settings: tuple[int, float, float, int]
    """max_new_tokens, temperature, top_p, seed."""


class ConversationLLM(BaseModel, ABC):
    """Lagent's ``BaseModel`` for whatever generates from prompts. Greedy unless a temperature is given.

    Args:
        prompts: turns conversations into token ids as training did.
        max_new_tokens: a reply is cut after so many tokens.
        temperature, top_p, seed: see :class:`xagent.inference.engine.GenerationRequest`.
    """

    def __init__(
        self,
        prompts: PromptBuilder,
        max_new_tokens: int = 512,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__("xagent", max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p, stop_words=None)
        self.prompts, self.seed = prompts, seed

    def chat(self, inputs: Sequence[Mapping[str, Any]] | Sequence[Sequence[Mapping[str, Any]]], **gen_params: Any) -> Any:
        """Give the reply to messages, or for a list of conversations the list of their replies.

        Args:
            inputs: Lagent's messages, ``{"role": ..., "content": ...}``.
            gen_params: ``max_new_tokens, temperature, top_p, seed`` in place of the model's own; others are refused.

        Raises:
            ConfigError: a parameter or a role is unknown.
        """
        if inputs and not isinstance(inputs[0], Mapping):
            return [self.chat(one, **gen_params) for one in inputs]  # type: ignore[arg-type]
        messages: Any = inputs
        return self.complete(to_conversation(messages, self.prompts.protocol), **gen_params)[0]

    def complete(self, conversation: Conversation, **gen_params: Any) -> tuple[str, bool]:
        """Give the reply to a conversation, and whether the model ended it (False: it was cut).

        Raises:
            ConfigError: a parameter is unknown.
        """
        return self._reply(_Request(tuple(self.prompts.prompt_ids(conversation)), self._settings(gen_params)))

    @abstractmethod
    def _reply(self, request: _Request) -> tuple[str, bool]:
        """Give the reply, and whether the model ended it."""

    def _settings(self, given: Mapping[str, Any]) -> tuple[int, float, float, int]:
        known = {"seed": self.seed, **{key: self.gen_params[key] for key in ("max_new_tokens", "temperature", "top_p")}}
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise ConfigError(f"unknown generation parameters {', '.join(unknown)}; known: {', '.join(sorted(known))}")
        chosen = {**known, **given}
        return chosen["max_new_tokens"], chosen["temperature"], chosen["top_p"], chosen["seed"]


class EngineLLM(ConversationLLM):
    """An engine behind Lagent's ``BaseModel``; safe to use from many threads.

    Args:
        engine: generates. A prompt that fills its context is refused with a ConfigError.
        on_delta: is told each piece of each reply as it comes, in the thread that asked.
        adapter: which of the engine's adapters replies.
        stop: texts that end a reply.
        settings: see :class:`ConversationLLM`.
    """

    def __init__(
        self,
        engine: Engine,
        on_delta: Callable[[str], None] | None = None,
        adapter: str | None = None,
        stop: tuple[str, ...] = (),
        **settings: Any,
    ) -> None:
        super().__init__(engine.prompts, **settings)
        self.engine, self.on_delta, self.adapter, self.stop = engine, on_delta, adapter, stop

    def _reply(self, request: _Request) -> tuple[str, bool]:
        max_new_tokens, temperature, top_p, seed = request.settings
        stream = self.engine.submit(
            GenerationRequest(request.prompt, max_new_tokens, temperature, top_p, seed, self.stop, adapter=self.adapter)
        )
        try:
            if self.on_delta is not None:
                for delta in stream:
                    self.on_delta(delta.text)
            reply = stream.reply()
        except BaseException:  # Ctrl-C too: nobody reads on
            stream.cancel()
            raise
        return reply.text, reply.finish_reason == "stop"


class LagentLLM(ConversationLLM):
    """A local model behind Lagent's ``BaseModel``, for many loops that go side by side; safe to use from many threads.

    Loops that joined (``front.join``) are answered in batches of all of them, so that a batch is made of the same prompts
    whatever the threads' timing: what a model says can depend on its batch in the last bits, which in bf16 can be another word.
    A score has to be the same again; where requests come and go, use :class:`EngineLLM`.

    Args:
        generator: runs the model.
        prompts, max_new_tokens, temperature, top_p, seed: see :class:`ConversationLLM`.
    """

    def __init__(self, generator: Generator, prompts: PromptBuilder, *given: Any, **settings: Any) -> None:
        super().__init__(prompts, *given, **settings)
        self.generator = generator
        self.front: BatchingFront[_Request, Completion] = BatchingFront(self._run, key=lambda request: request.prompt)

    def _reply(self, request: _Request) -> tuple[str, bool]:
        completion = self.front.ask(request)
        return self.prompts.text(completion.ids), completion.finished

    def _run(self, requests: list[_Request]) -> list[Completion]:
        """Generate for a batch: those with the same settings together; a sampled one alone, so that its stream is its own."""
        replies: dict[int, Completion] = {}
        groups: dict[object, list[int]] = {}
        for index, request in enumerate(requests):
            groups.setdefault(request.settings if request.settings[1] == 0 else index, []).append(index)
        for chosen in groups.values():
            max_new_tokens, temperature, top_p, seed = requests[chosen[0]].settings
            found = self.generator.generate(
                [requests[index].prompt for index in chosen], max_new_tokens, self.prompts.stop_ids, temperature, top_p, seed
            )
            replies.update(zip(chosen, found, strict=True))
        return [replies[index] for index in range(len(requests))]


def load_agent_llm(
    path: str | Path,
    adapter: str | Path | None = None,
    *,
    defaults: AgentSettings | None = None,
    dtype: str | None = None,
    device: str = "auto",
    max_batch_size: int = 16,
    max_new_tokens: int = 512,
) -> LagentLLM:
    """Load a model (and an adapter) for Lagent, spoken to in the template and protocol that its ``xagent.json`` names.

    The adapter's file comes first, then the model's.

    Args:
        path, adapter, dtype, device: see :func:`xagent.model.generation.load_model`.
        defaults: template and protocol where ``xagent.json`` says nothing.
        max_batch_size: how many loops share a forward pass at most; as many conversations' keys and values are kept.
        max_new_tokens: a reply is cut after so many tokens.

    Raises:
        CheckpointError: the model can't be loaded.
        ConfigError: template or protocol is unknown.
    """
    model, tokenizer = load_model(path, adapter, dtype, device)
    settings = load_agent_settings(path, defaults)
    if adapter:
        settings = load_agent_settings(adapter, settings)
    prompts = PromptBuilder(tokenizer, settings.template, settings.protocol)
    generator = Generator(model, tokenizer, max_batch_size, remember=2 * max_batch_size)
    return LagentLLM(generator, prompts, max_new_tokens)
