"""A vLLM server that goes away while it is served: clients are told so, at once and in OpenAI's shape, and `/health` is."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from free_ports import free_port
from scripted import byte_prompts, serving, until
from vllm_stand_in import StandIn, saying

from xagent.inference import vllm
from xagent.inference.vllm import VllmEngine

ASK: Any = [{"role": "user", "content": "Hi"}]
BODY = {"model": "scripted", "messages": ASK}
CHAT = "/v1/chat/completions"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    monkeypatch.setattr(vllm, "_HEALTH_SECONDS", 60.0)
    made = StandIn(free_port())  # one that it can have again, whoever connects meanwhile
    made.start()
    yield made
    made.die()


@pytest.fixture
def address(server: StandIn) -> Iterator[str]:
    engine = VllmEngine(server.url, byte_prompts())
    with serving(engine) as (_, found):
        yield found
    engine.close()


def halting(server: StandIn, said: str) -> threading.Event:
    """Have the server say so much and wait; give what is set when it does."""
    begun, never = threading.Event(), threading.Event()
    ids = list(byte_prompts().tokenizer(said, add_special_tokens=False).input_ids)

    def script(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield from saying(ids, None)(body)
        begun.set()
        never.wait(60)

    server.script = script
    return begun


def error_of(response: httpx.Response) -> dict[str, Any]:
    assert (response.status_code, response.headers["retry-after"]) == (503, "10"), response.text
    error: dict[str, Any] = response.json()["error"]
    assert (error["type"], error["param"], error["code"]) == ("server_error", None, "engine_unavailable")
    return error


def ask(address: str, body: Any = BODY, path: str = CHAT) -> httpx.Response:
    return httpx.post(address + path, json=body, timeout=60)


def health(address: str) -> tuple[int, dict[str, str]]:
    response = httpx.get(f"{address}/health", timeout=60)
    return response.status_code, response.json()


def test_requests_to_a_server_that_is_gone_are_503_until_it_is_back(server: StandIn, address: str) -> None:
    server.script = saying([72, 105], "length")
    assert ask(address).status_code == 200 and health(address) == (200, {"status": "ok"})
    server.die()
    for path, body in ((CHAT, BODY), ("/v1/completions", {"model": "scripted", "prompt": "x"})):
        error = error_of(ask(address, body, path))
        assert f"the vLLM server at {server.url} can't be reached: ConnectError" in error["message"]
    until(lambda: health(address) == (503, {"status": "engine unavailable"}))
    again = StandIn(server.server_port)
    again.script = server.script
    again.start()
    try:
        assert ask(address).status_code == 200
        until(lambda: health(address) == (200, {"status": "ok"}))
    finally:
        again.die()


def test_a_reply_that_it_leaves_unfinished_is_503(server: StandIn, address: str) -> None:
    begun = halting(server, "half of")
    threading.Thread(target=lambda: begun.wait(60) and server.die(), daemon=True).start()
    response = ask(address)
    message = error_of(response)["message"]
    assert message.startswith("the vLLM server") and "broke off" in message and "half of" not in response.text


def test_a_stream_that_it_leaves_ends_with_the_error(server: StandIn, address: str) -> None:
    begun = halting(server, "half of")
    with httpx.stream("POST", address + CHAT, json={**BODY, "stream": True}, timeout=60) as response:
        lines = (line for line in response.iter_lines() if line)
        told = [json.loads(next(lines).removeprefix("data: ")) for _ in range(3)]
        assert begun.wait(60)
        server.die()
        told += [json.loads(line.removeprefix("data: ")) for line in lines]
    error = told.pop()["error"]
    assert (error["type"], error["code"]) == ("server_error", "engine_unavailable") and "the vLLM server" in error["message"]
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in told) == "half of"
    with openai.OpenAI(base_url=f"{address}/v1", api_key="x", max_retries=0) as api:
        with pytest.raises(openai.APIError, match="can't be reached"):
            list(api.chat.completions.create(model="scripted", messages=ASK, stream=True))


def test_a_server_that_is_being_ended_or_says_that_nobody_generates_is_503(server: StandIn, address: str) -> None:
    server.script = saying([72, 105], "abort")
    assert error_of(ask(address))["message"] == "the vLLM server ended the reply: abort"
    server.refusal = 503, {"error": {"message": "no upstream", "type": "", "param": None, "code": 503}}
    assert "503 no upstream" in error_of(ask(address))["message"]
    server.is_well = False
    until(lambda: health(address) == (503, {"status": "engine unavailable"}))
    server.refusal = 404, {"error": {"message": "no such model", "type": "", "param": None, "code": 404}}
    response = ask(address)
    assert (response.status_code, response.json()["error"]["code"]) == (500, "engine_failed"), "that does not pass"
