"""Completions of plain texts: no template, no protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from xagent.chat.message import check_characters
from xagent.errors import DataError
from xagent.inference.engine import Delta, Reply, TokenLogprob
from xagent.serving.completion import Completion
from xagent.serving.errors import ApiError
from xagent.serving.parameters import CompletionParameters
from xagent.serving.replies import generation_requests, kept_stop_word
from xagent.serving.service import Service

_MAX_PROMPTS = 64


class TextChoice:
    """One text as it is put together."""

    def __init__(self, service: Service, index: int, has_logprobs: bool) -> None:
        self.service, self.index, self.has_logprobs = service, index, has_logprobs
        self.text = ""
        self.reply: Reply | None = None

    def take(self, item: Delta | Reply) -> dict[str, Any]:
        """Give the chunk that follows from a piece, or from the end."""
        start = len(self.text)
        piece = kept_stop_word(self.service, item) if isinstance(item, Reply) else item.text
        self.text += piece
        reason = None
        if isinstance(item, Reply):
            self.reply, reason = item, finish_reason(item)
        logprobs = _logprobs(item.logprobs, start) if self.has_logprobs and isinstance(item, Delta) else None
        return {"index": self.index, "text": piece, "logprobs": logprobs, "finish_reason": reason}

    def whole(self) -> dict[str, Any]:
        """Give the text."""
        assert self.reply is not None
        logprobs = _logprobs(self.reply.logprobs, 0) if self.has_logprobs else None
        return {"index": self.index, "text": self.text, "logprobs": logprobs, "finish_reason": finish_reason(self.reply)}


class TextCompletion(Completion):
    """One request for completions."""

    PREFIX, KIND, CHUNK_KIND = "cmpl", "text_completion", "text_completion"

    def __init__(self, service: Service, parameters: CompletionParameters) -> None:
        super().__init__(service, parameters)
        self.parameters = parameters
        self._choices: list[TextChoice] = []

    async def begin(self) -> None:
        """Hand the prompts to the engine.

        Raises:
            ApiError: the request can't be answered.
        """
        parameters = self.parameters
        self.service.adapter_of(parameters.model)
        prompts = await asyncio.to_thread(self._prompt_ids)
        self._prompts = len(prompts)
        requests = generation_requests(self.service, parameters, prompts, parameters.max_tokens, parameters.logprobs)
        has_logprobs = parameters.logprobs is not None
        self._choices = [TextChoice(self.service, index, has_logprobs) for index in range(len(requests))]
        await self._submit(requests)

    def _told(self) -> list[TextChoice]:
        return self._choices

    async def _chunks(self) -> AsyncIterator[dict[str, Any]]:
        assert self._replies
        async for index, item in self._replies.items():
            yield self._choices[index].take(item)

    def _prompt_ids(self) -> list[tuple[int, ...]]:
        given: Any = self.parameters.prompt
        if isinstance(given, str) or (given and all(isinstance(entry, int) for entry in given)):
            given = [given]
        if not given or len(given) > _MAX_PROMPTS:
            raise ApiError(400, f"'prompt' must be a text, token ids, or a list of 1 to {_MAX_PROMPTS} of them", "prompt")
        return [self._ids(prompt) for prompt in given]

    def _ids(self, prompt: Any) -> tuple[int, ...]:
        tokenizer = self.service.engine.prompts.tokenizer
        if isinstance(prompt, str):
            try:
                check_characters(prompt)
            except DataError as error:
                raise ApiError(400, f"'prompt': {error}", "prompt") from error
            prompt = tokenizer(prompt).input_ids
        if not prompt:
            raise ApiError(400, "'prompt' has no tokens; give at least one (the BOS token)", "prompt")
        if any(not 0 <= token < len(tokenizer) for token in prompt):
            raise ApiError(400, f"'prompt' has token ids outside 0 to {len(tokenizer) - 1}", "prompt")
        return tuple(prompt)


def finish_reason(reply: Reply) -> str:
    """Give OpenAI's word for why a text ended."""
    return "length" if reply.finish_reason == "length" else "stop"


def _logprobs(tokens: tuple[TokenLogprob, ...], start: int) -> dict[str, Any]:
    offsets, place = [], start
    for token in tokens:
        offsets.append(place)
        place += len(token.token)
    return {
        "tokens": [token.token for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [{other.token: other.logprob for other in token.top} for token in tokens],
        "text_offset": offsets,
    }
