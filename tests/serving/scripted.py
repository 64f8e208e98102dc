"""An engine that says what a test wants, and a server around it, in a thread."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tiny_models import byte_tokenizer

from xagent.errors import XAgentError
from xagent.inference.engine import Delta, GenerationRequest, Grammar, Reply, TokenLogprob
from xagent.inference.prompting import PromptBuilder
from xagent.serving.server import make_server, open_socket
from xagent.serving.service import ServerSettings, Service

Script = Callable[[GenerationRequest], str]
PROTOCOL_TOKENS = ("<|action_start|>", "<|action_end|>", "<|plugin|>", "<|interpreter|>")


def byte_prompts(protocol: str = "react") -> PromptBuilder:
    """Prompts in which a token is a byte."""
    tokenizer = byte_tokenizer()
    if protocol == "internlm2":
        tokenizer.add_special_tokens({"additional_special_tokens": list(PROTOCOL_TOKENS)})
    return PromptBuilder(tokenizer, "llama3_chat", protocol)


class ScriptedEngine:
    """Answers each request with a text, a character a token.

    Args:
        script: gives the text for a request; or the texts for one request after the other.
        protocol: what replies are in.
        adapters, context: see :class:`xagent.inference.engine.Engine`.
        wait: replies stop behind their first character until this is set.
    """

    def __init__(
        self,
        script: Script | list[str],
        protocol: str = "react",
        adapters: tuple[str, ...] = (),
        context: int | None = None,
        wait: threading.Event | None = None,
    ) -> None:
        self.prompts = byte_prompts(protocol)
        self.adapters, self.context, self.wait = adapters, context, wait
        texts = iter(script if isinstance(script, list) else ())
        self.script: Script = (lambda _: next(texts)) if isinstance(script, list) else script
        self.requests: list[GenerationRequest] = []
        self.streams: list[ScriptedStream] = []
        self.closed = False

    def submit(self, request: GenerationRequest) -> ScriptedStream:
        if self.closed:
            raise XAgentError("the engine was closed")
        self.requests.append(request)
        self.streams.append(ScriptedStream(request, self.script(request), self.wait))
        return self.streams[-1]

    def follows(self, grammar: Grammar) -> bool:
        return False

    def outage(self) -> str | None:
        return "the engine was closed" if self.closed else None

    def close(self) -> None:
        self.closed = True

    def prompt(self, index: int = -1) -> str:
        """Give what a request made the model read."""
        return str(self.prompts.tokenizer.decode(self.requests[index].prompt_ids))


class ScriptedStream:
    def __init__(self, request: GenerationRequest, text: str, wait: threading.Event | None) -> None:
        self.request, self.wait = request, wait
        self.cancelled = threading.Event()
        places = [(text.find(word), word) for word in request.stop if word in text]
        end, self.stopped_by = min(places) if places else (len(text), None)
        self.text, self.reason = text[:end], "stop"
        if request.max_new_tokens <= end:
            self.text, self.reason, self.stopped_by = text[: request.max_new_tokens], "length", None
        self.told = ""
        self.ended = False

    def __iter__(self) -> Iterator[Delta]:
        for place, sign in enumerate(self.text):
            if place == 1 and self.wait:
                while not (self.wait.wait(0.01) or self.cancelled.is_set()):
                    pass
            if self.cancelled.is_set():
                break
            if sign == "\0":
                raise XAgentError("the model fell over") from FloatingPointError("its foot was no number")
            self.told += sign
            yield Delta(sign, self._logprobs(sign))
        self.ended = True

    def cancel(self) -> None:
        self.cancelled.set()

    def reply(self) -> Reply:
        if not self.ended:
            list(self)
        reason = "cancelled" if self.cancelled.is_set() and self.told != self.text else self.reason
        read = len(self.request.prompt_ids)
        logprobs = tuple(entry for sign in self.told for entry in self._logprobs(sign))
        return Reply(self.told, reason, self.stopped_by, read, len(self.told), logprobs)  # type: ignore[arg-type]

    def _logprobs(self, sign: str) -> tuple[TokenLogprob, ...]:
        if self.request.logprobs is None:
            return ()
        top = tuple(TokenLogprob(other, ord(other), -1.0 - place) for place, other in enumerate("xyz"[: self.request.logprobs]))
        return (TokenLogprob(sign, ord(sign), -0.5, top),)


@contextmanager
def serving(engine: Any, **settings: Any) -> Iterator[tuple[Service, str]]:
    """Run a server in a thread; give it and its address."""
    service = Service(engine, ServerSettings(**{"model_name": "scripted", **settings}))
    listening = open_socket("127.0.0.1", 0)
    server = make_server(service)
    service.server = server  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    try:
        until(lambda: server.started)
        yield service, address
    finally:
        server.should_exit = True
        thread.join(60)
        listening.close()


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something to hold."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def raw_request(address: str, text: str) -> socket.socket:
    """Send bytes as they are; the socket is left open. A server may answer, and close it, before it has read all."""
    host, _, port = address.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=60)
    with suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(text.encode())
    return connection
