"""Chat completions: what a reader tells of a reply, as OpenAI's messages and chunks."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any

from xagent.chat.stream import Arguments, CallBegins, Event, Words
from xagent.inference.engine import Delta, Reply, TokenLogprob
from xagent.serving.completion import Completion
from xagent.serving.errors import ApiError
from xagent.serving.formats import read_format
from xagent.serving.parameters import ChatParameters
from xagent.serving.prompt import ChatPrompt, chat_prompt
from xagent.serving.replies import generation_requests, kept_stop_word
from xagent.serving.service import Service

_KEYS = {"content": "content", "reasoning": "reasoning_content"}


class Choice:
    """One reply as it is put together.

    Args:
        service: the server.
        index: which of the request's replies.
        prompt: says how the reply is read.
        has_logprobs: whether tokens' log-probabilities are told.
    """

    def __init__(self, service: Service, index: int, prompt: ChatPrompt, has_logprobs: bool) -> None:
        self.service, self.index = service, index
        self.reader = prompt.reader()
        self.has_logprobs = has_logprobs
        self.reply: Reply | None = None
        self.ids: list[str] = []
        self._untold: list[TokenLogprob] = []
        self._opening = prompt.opening

    def begin(self) -> Iterator[dict[str, Any]]:
        """Give the first chunk, and what is told of the reply's given beginning."""
        yield self._chunk({"role": "assistant", "content": ""})
        yield from map(self._chunk, map(self._delta, self.reader.feed(self._opening)))

    def take(self, item: Delta | Reply) -> Iterator[dict[str, Any]]:
        """Give the chunks that follow from a piece of the reply, or from its end."""
        if isinstance(item, Delta):
            self._untold += item.logprobs
            yield from map(self._chunk, map(self._delta, self.reader.feed(item.text)))
            return
        self.reply = item
        events = [*self.reader.feed(kept_stop_word(self.service, item)), *self.reader.finish()]
        yield from map(self._chunk, map(self._delta, events))
        last = self._chunk({} if self.ids else {"content": ""})
        yield {**last, "finish_reason": self.finish_reason(), **self._fault()}

    def whole(self) -> dict[str, Any]:
        """Give the reply as one message."""
        assert self.reply is not None
        calls = [_call(identity, call.name, call.arguments) for identity, call in zip(self.ids, self.reader.calls, strict=True)]
        content: str | None = self.reader.content.told
        message: dict[str, Any] = {"role": "assistant", "content": content if content or not calls else None, "refusal": None}
        if self.reader.reasoning.told:
            message["reasoning_content"] = self.reader.reasoning.told
        if calls:
            message["tool_calls"] = calls
        logprobs = {"content": list(map(_logprob, self.reply.logprobs)), "refusal": None} if self.has_logprobs else None
        choice = {"index": self.index, "message": message, "logprobs": logprobs, "finish_reason": self.finish_reason()}
        return {**choice, **self._fault()}

    def finish_reason(self) -> str:
        """Give OpenAI's word for why the reply ended."""
        assert self.reply is not None
        if self.reply.finish_reason == "length" and not self.reader.is_over:
            return "length"
        return "tool_calls" if self.reader.status == "calls" and self.reader.calls else "stop"

    def _fault(self) -> dict[str, str]:
        return {"incomplete": self.reader.error} if self.reader.error else {}

    def _delta(self, event: Event) -> dict[str, Any]:
        if isinstance(event, Words):
            return {_KEYS[event.channel]: event.text}
        if isinstance(event, CallBegins):
            self.ids.append(f"call_{secrets.token_hex(12)}")
            return {"tool_calls": [{"index": len(self.ids) - 1, **_call(self.ids[-1], event.name, "")}]}
        assert isinstance(event, Arguments)
        return {"tool_calls": [{"index": len(self.ids) - 1, "function": {"arguments": event.text}}]}

    def _chunk(self, delta: dict[str, Any]) -> dict[str, Any]:
        logprobs = {"content": list(map(_logprob, self._untold)), "refusal": None} if self._untold else None
        self._untold = []
        return {"index": self.index, "delta": delta, "logprobs": logprobs, "finish_reason": None}


class ChatCompletion(Completion):
    """One chat request: its prompt, and its replies on their way."""

    PREFIX, KIND, CHUNK_KIND = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def __init__(self, service: Service, parameters: ChatParameters) -> None:
        super().__init__(service, parameters)
        self.parameters = parameters
        self._choices: list[Choice] = []

    async def begin(self) -> None:
        """Put the prompt together and hand it to the engine.

        Raises:
            ApiError: the request can't be answered.
        """
        parameters = self.parameters
        if parameters.top_logprobs is not None and not parameters.logprobs:
            raise ApiError(400, "'top_logprobs' needs 'logprobs': true", "top_logprobs")
        schema = read_format(parameters)
        self.service.adapter_of(parameters.model)
        engine = self.service.engine
        prompt = await asyncio.to_thread(chat_prompt, engine.prompts, parameters, engine.follows)
        most = parameters.max_completion_tokens or parameters.max_tokens
        logprobs = (parameters.top_logprobs or 0) if parameters.logprobs else None
        requests = generation_requests(self.service, parameters, [prompt.ids], most, logprobs, schema, prompt.grammar)
        self._choices = [Choice(self.service, index, prompt, parameters.logprobs) for index in range(len(requests))]
        await self._submit(requests, prompt.lead)

    def _told(self) -> list[Choice]:
        return self._choices

    async def _chunks(self) -> AsyncIterator[dict[str, Any]]:
        assert self._replies
        for choice in self._choices:
            for chunk in choice.begin():
                yield chunk
        async for index, item in self._replies.items():
            choice = self._choices[index]
            was_over = choice.reader.is_over
            for chunk in choice.take(item):
                yield chunk
            if choice.reader.is_over and not was_over:
                self._replies.cancel(index)


def _call(identity: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}


def _logprob(token: TokenLogprob) -> dict[str, Any]:
    return {**_token(token), "top_logprobs": list(map(_token, token.top))}


def _token(token: TokenLogprob) -> dict[str, Any]:
    known = "\ufffd" not in token.token  # part of a character: its bytes can't be told from its text
    return {"token": token.token, "logprob": token.logprob, "bytes": list(token.token.encode()) if known else None}
