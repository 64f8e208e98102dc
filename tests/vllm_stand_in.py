"""A small stand-in for vLLM's server, on a real socket."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

OF_VLLM = {"object": "model", "created": 1795280715, "owned_by": "vllm", "permission": []}
MODELS = [
    {"id": "tool-model", "root": "/models/tool", "parent": None, "max_model_len": 200, **OF_VLLM},
    {"id": "polite", "root": "/models/polite", "parent": "tool-model", "max_model_len": None, **OF_VLLM},
]


class StandIn(ThreadingHTTPServer):
    """Answers as vLLM's server does (seen in 0.32.0); ``script`` gives what each request's chunks are about."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.script: Callable[[dict[str, Any]], Iterator[dict[str, Any]]] = lambda body: iter(())
        self.refusal: tuple[int, dict[str, Any]] | None = None
        self.version = "0.32.0"
        self.is_silent = False
        self.broken_off = threading.Event()
        self.is_well = True
        self._connections: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def start(self) -> None:
        """Answer, in a thread."""
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def die(self) -> None:
        """Go away as a killed process does: in the middle of answers, and nobody listens any more."""
        self.shutdown()
        self.server_close()
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


def as_told(chunk: dict[str, Any], body: dict[str, Any], is_first: bool) -> dict[str, Any]:
    """Give a chunk with all that vLLM's has."""
    if "error" in chunk:
        return chunk
    (given,) = chunk["choices"]
    told = {"index": 0, "logprobs": None, "finish_reason": None, "stop_reason": None, "prompt_token_ids": None, **given}
    if is_first:
        told["prompt_token_ids"] = body["prompt"]
    head = {"id": "cmpl-9457e34744a24e26", "object": "text_completion", "created": 1795281630, "model": body["model"]}
    return {**head, "choices": [told], **({"system_fingerprint": "vllm-0.32.0-5170c1b6"} if told["finish_reason"] else {})}


def fault(message: str, status: int, kind: str = "BadRequestError", param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": status}}


class _Handler(BaseHTTPRequestHandler):
    server: StandIn

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/health":
            return self._json(200 if self.server.is_well else 503, {})
        told = {"/v1/models": {"object": "list", "data": MODELS}, "/version": {"version": self.server.version}}
        self._json(200, told[self.path])

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body)
        self.server.keys.append(self.headers.get("Authorization"))
        if self.server.refusal is not None:
            return self._json(*self.server.refusal)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        if self.server.is_silent:
            self.rfile.read(1)  # until the client hangs up
            return self.server.broken_off.set()
        try:
            for number, chunk in enumerate(self.server.script(body)):
                self.wfile.write(f"data: {json.dumps(as_told(chunk, body, number == 0))}\n\n".encode())
                self.wfile.flush()
            self.wfile.write(b"data: [DONE]\n\n")
        except (BrokenPipeError, ConnectionResetError):
            self.server.broken_off.set()

    def _json(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def saying(ids: list[int], finish_reason: str | None = "length", size: int = 2, **more: Any):
    """Give a script that sends these tokens in chunks of some."""

    def script(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for start in range(0, len(ids), size):
            last = finish_reason if start + size >= len(ids) else None
            choice = {"text": "?", "token_ids": ids[start : start + size], "finish_reason": last}
            yield {"choices": [choice | {key: value(start, size) for key, value in more.items()}]}

    return script
