"""An engine that asks a running vLLM server, with our prompts and our reading of the replies.

Speaks ``/v1/completions`` of vLLM's OpenAI-compatible server with token ids both ways (``return_token_ids``; grammars as
``structured_outputs``, in vLLM since 0.11): https://docs.vllm.ai/en/stable/serving/openai_compatible_server.html. Texts are made
here, so stop words, characters and special tokens are what they are with a local model. Tried with vLLM 0.32.0.
"""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from xagent.errors import ConfigError, EngineError, EngineUnavailable
from xagent.inference.engine import FinishReason, GenerationRequest, Grammar
from xagent.inference.prompting import PromptBuilder
from xagent.inference.reply_stream import QueuedReplyStream, check_request
from xagent.model.generation_batch import Chosen
from xagent.model.json_grammar import JsonGrammars, as_written

if TYPE_CHECKING:
    import httpx

SECONDS = 600.0
"""How long the server may be silent."""

_NOTHING_ELSE = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
"""What the server would else take from the model's ``generation_config.json``, a local model would not. (So are its EOS tokens,
which ``ignore_eos`` leaves to us.)"""

OLDEST = (0, 11)
"""The oldest vLLM that holds replies to our grammars; older ones ignore them silently."""

_HEALTH_SECONDS = 5.0
"""How long the server may take to say that it is well."""

_GONE = (502, 503, 504)
"""What the server, or a proxy before it, answers when nobody generates behind it."""

_KEEP_ALIVE = {"TCP_KEEPIDLE": 20, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 4}
"""A machine that vanished without a word is missed after so many seconds of silence, asked so often."""

_TOKEN = "token_id:"
"""What a token's name begins with under ``return_tokens_as_token_ids``."""


class _Refused(EngineError):
    """What the server says is wrong, with its status (None: it doesn't say)."""

    def __init__(self, message: str, status: int | None) -> None:
        super().__init__(message)
        self.status = status


class VllmEngine:
    """Asks a vLLM server. See :class:`xagent.inference.engine.Engine`; the server shares its passes among requests itself.

    Adapters are the LoRA modules that the server was started with (``--lora-modules name=path``).

    Args:
        base_url: the server's, with or without ``/v1``.
        prompts: turns conversations into prompts as training did; made from the same tokenizer as the server's.
        model: which of the served models; None is the first that is no adapter.
        api_key: what the server was started with, if so.
        timeout: seconds of silence after which a request fails.

    Raises:
        EngineError: httpx is not installed, there is no such server, it is too old, or it serves no such model.
    """

    def __init__(
        self,
        base_url: str,
        prompts: PromptBuilder,
        model: str | None = None,
        api_key: str | None = None,
        timeout: float = SECONDS,
    ) -> None:
        self.base_url, self.prompts = base_url.rstrip("/").removesuffix("/v1"), prompts
        self._client = _client(self.base_url, api_key, timeout)
        served = self._models()
        self._check_version()
        bases = [one for one in served if not one.get("parent")]
        chosen = next((one for one in bases if model in (None, one["id"])), None)
        if chosen is None:
            known = ", ".join(one["id"] for one in bases) or "none"
            raise EngineError(f"the server at {self.base_url} serves no model {model or ''}; it serves: {known}")
        self.model: str = chosen["id"]
        self.context: int | None = chosen.get("max_model_len")
        self.adapters: tuple[str, ...] = tuple(one["id"] for one in served if one.get("parent"))
        self._grammars = JsonGrammars(prompts.tokenizer, prompts.stop_ids)
        self._running: set[VllmReplyStream] = set()
        self._closed = False

    def submit(self, request: GenerationRequest) -> VllmReplyStream:
        """Begin a reply.

        Raises:
            ConfigError: the prompt fills the context, or the adapter is unknown.
            EngineError: the engine was closed.
        """
        check_request(request, self.context, self.adapters)
        if self._closed:
            raise EngineError("the engine was closed; connect to the server again")
        stream = VllmReplyStream(request, self.prompts)
        self._running.add(stream)
        threading.Thread(target=self._generate, args=(stream,), name="vllm request", daemon=True).start()
        return stream

    def follows(self, grammar: Grammar) -> bool:
        """Say whether replies can be kept to a grammar: llguidance is installed here and understands it.

        The server's reads it too, and so does its xgrammar, if not all of JSON schemas (``--structured-outputs-config.backend``).
        """
        return self._grammars.follow(grammar.lark)

    def outage(self) -> str | None:
        """Say why the server can't be asked now: it can't be reached, or is not well."""
        import httpx

        if self._closed:
            return "the engine was closed"
        try:
            response = self._client.get("/health", timeout=_HEALTH_SECONDS)
        except httpx.HTTPError as error:
            return _broken_off(self.base_url, error)
        return f"the vLLM server is not well: {_refusal(response)}" if response.status_code >= 500 else None

    def close(self) -> None:
        """Cancel what runs and leave the server."""
        self._closed = True
        for stream in list(self._running):
            stream.cancel()
        self._client.close()

    def _models(self) -> list[dict[str, Any]]:
        import httpx

        try:
            response = self._client.get("/v1/models")
            response.raise_for_status()
            return list(response.json()["data"])
        except httpx.HTTPStatusError as error:
            raise EngineError(f"{self.base_url}/v1/models: {_refusal(error.response)}") from error
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise EngineError(
                f"no vLLM server answers at {self.base_url}: {error}; start one with `vllm serve MODEL` and give its address"
            ) from error

    def _check_version(self) -> None:
        """Refuse a server that says of itself that it is too old.

        Raises:
            EngineError: it does.
        """
        import httpx

        try:
            version = str(self._client.get("/version").json()["version"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return  # something that speaks as vLLM does
        if (found := re.match(r"(\d+)\.(\d+)(?!.*dev)", version)) and tuple(map(int, found.groups())) < OLDEST:
            raise EngineError(f"the server at {self.base_url} is vLLM {version}; {'.'.join(map(str, OLDEST))} or newer is needed")

    def _generate(self, stream: VllmReplyStream) -> None:
        import httpx

        try:
            # Of its own, for it ends with the reply, before the server's last word.
            headers = {"Connection": "close"}
            with self._client.stream("POST", "/v1/completions", json=self._body(stream.request), headers=headers) as response:
                if not stream.connect(response):
                    return
                if response.status_code != 200:
                    response.read()
                    raise _Refused(f"the vLLM server refused the request: {_refusal(response)}", response.status_code)
                stream.follow(_chunks(response), self.prompts.stop_ids)
        except _Refused as refused:
            stream.on_fault(_told(refused, stream.request))
        except httpx.HTTPError as error:
            stream.on_fault(EngineUnavailable(_broken_off(self.base_url, error)))
        except Exception as error:  # whoever reads the reply must hear of it
            stream.on_fault(error)
        finally:
            self._running.discard(stream)

    def _body(self, request: GenerationRequest) -> dict[str, Any]:
        room = request.max_new_tokens
        if self.context is not None:
            room = min(room, self.context - len(request.prompt_ids))
        body: dict[str, Any] = {
            "model": request.adapter or self.model,
            "prompt": list(request.prompt_ids),
            "max_tokens": room,
            "temperature": request.temperature,
            "top_p": request.top_p,
            **_NOTHING_ELSE,
            "seed": request.seed % 2**63,
            "stop_token_ids": sorted(self.prompts.stop_ids),
            "ignore_eos": True,
            "skip_special_tokens": False,
            "stream": True,
            "return_token_ids": True,
        }
        if request.logprobs is not None:
            body |= {"logprobs": request.logprobs, "return_tokens_as_token_ids": True}
        if request.json_schema is not None:
            schema = {"name": "reply", "schema": as_written(json.loads(request.json_schema))}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if request.grammar is not None:
            body["structured_outputs"] = {"grammar": request.grammar.lark}
        return body


class VllmReplyStream(QueuedReplyStream):
    """A reply that a server generates."""

    def __init__(self, request: GenerationRequest, prompts: PromptBuilder) -> None:
        super().__init__(request, prompts)
        self.cancelled = False
        self._new_tokens = 0
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def cancel(self) -> None:
        """End the reply now, and hang up, at which the server stops too; one that has ended stays as it is."""
        with self._lock:
            if not self._ended.is_set():
                self.cancelled = True
                self.on_end("cancelled", self._new_tokens)
                self._hang_up()

    def connect(self, response: httpx.Response) -> bool:
        """Take the connection that the reply comes by; False where nobody wants the reply any more."""
        with self._lock:
            connection = response.extensions.get("network_stream")
            self._socket = connection.get_extra_info("socket") if connection else None
            _keep_alive(self._socket)
            return not self.cancelled

    def _hang_up(self) -> None:
        """End the connection under the thread that reads it, which may wait for the server's first word for long."""
        if self._socket is not None:
            with suppress(OSError):  # it ended by itself
                self._socket.shutdown(socket.SHUT_RDWR)

    def follow(self, chunks: Iterator[Mapping[str, Any]], stop_ids: frozenset[int]) -> None:
        """Take what the server sends until the reply ends.

        Raises:
            EngineUnavailable: the server is gone, or going.
            EngineError: it reports a fault, or sends no token ids.
        """
        for chunk in chunks:
            for choice in chunk.get("choices", ()):
                with self._lock:
                    if self.cancelled:
                        return
                    reason = self._take(choice, stop_ids)
                    if reason is not None:
                        self.on_end(reason, self._new_tokens)
                        return
        raise EngineUnavailable("the vLLM server broke off: its answer ends before the reply does")

    def _take(self, choice: Mapping[str, Any], stop_ids: frozenset[int]) -> FinishReason | None:
        """Take a chunk's tokens and say whether the reply has ended with them, and why."""
        for chosen in _tokens(choice, self.request.logprobs):
            self._new_tokens += 1
            if chosen.token in stop_ids or self.on_token(chosen):
                return "stop"
        reason: Any = choice.get("finish_reason")
        if reason not in (None, "stop", "length"):
            kind = EngineUnavailable if reason == "abort" else EngineError  # aborted: the server is being ended
            raise kind(f"the vLLM server ended the reply: {reason}")
        found: FinishReason | None = reason
        return found


def _client(base_url: str, api_key: str | None, timeout: float) -> httpx.Client:
    try:
        import httpx
    except ImportError as error:
        raise EngineError("the vllm engine needs httpx, which is not installed: pip install 'xagent[vllm]'") from error
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    limits = httpx.Limits(max_connections=None)
    return httpx.Client(base_url=base_url, headers=headers, timeout=httpx.Timeout(timeout, connect=10.0), limits=limits)


def _chunks(response: httpx.Response) -> Iterator[dict[str, Any]]:
    """Read server-sent events.

    Raises:
        EngineError: one reports a fault, or is no JSON.
    """
    for line in response.iter_lines():
        data = line.removeprefix("data:").strip() if line.startswith("data:") else ""
        if data == "[DONE]":
            return
        if data:
            try:
                chunk = json.loads(data)
            except ValueError as error:
                raise EngineError(f"the vLLM server sent no JSON: {data[:200]!r}") from error
            if "error" in chunk:
                status = chunk["error"].get("code") if isinstance(chunk["error"], Mapping) else None
                did = "refused the request" if status == 400 else "failed"
                raise _Refused(f"the vLLM server {did}: {_message(chunk)}", status)
            yield chunk


def _tokens(choice: Mapping[str, Any], count: int | None) -> Iterator[Chosen]:
    """Read a chunk's tokens, with the log-probabilities of so many likeliest ones.

    Raises:
        EngineError: it has text, and no ids.
    """
    ids: Sequence[int] | None = choice.get("token_ids")
    if ids is None:
        if choice.get("text"):
            raise EngineError("the server sends no token ids (return_token_ids); it must be vLLM 0.11 or newer")
        return
    told = choice.get("logprobs")
    for place, token in enumerate(ids):
        if told is None:
            yield Chosen(token)
            continue
        ranked = sorted((told["top_logprobs"][place] or {}).items(), key=lambda one: -one[1])[:count]  # it adds the chosen one
        top = tuple((int(name.removeprefix(_TOKEN)), float(value)) for name, value in ranked)
        yield Chosen(token, float(told["token_logprobs"][place]), top)


def _told(refused: _Refused, request: GenerationRequest) -> EngineError | ConfigError:
    """Give what a refusal means: where the server calls a request with a JSON schema bad, the schema is."""
    if refused.status in _GONE:
        return EngineUnavailable(str(refused))
    if refused.status == 400 and request.json_schema is not None:
        return ConfigError(f"the JSON schema can't be followed: {refused}")
    return refused


def _broken_off(url: str, error: httpx.HTTPError) -> str:
    import httpx

    did = "can't be reached" if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)) else "broke off"
    return f"the vLLM server at {url} {did}: {type(error).__name__}: {error}"


def _keep_alive(connection: socket.socket | None) -> None:
    """Have the system ask, while a server says nothing, whether its machine is still there."""
    if connection is None:
        return
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEP_ALIVE.items():
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _refusal(response: httpx.Response) -> str:
    try:
        return f"{response.status_code} {_message(response.json())}"
    except ValueError:
        return f"{response.status_code} {response.text[:300]}"


def _message(body: Any) -> str:
    error = body.get("error", body) if isinstance(body, Mapping) else body
    return str(error.get("message", error) if isinstance(error, Mapping) else error)[:300]
