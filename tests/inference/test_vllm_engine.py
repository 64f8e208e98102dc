"""The engine that asks a vLLM server: what it sends, and what it makes of the answers of a small stand-in on a real socket."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_models import byte_tokenizer
from vllm_stand_in import StandIn, fault, saying

from xagent.chat.message import Conversation, Message
from xagent.errors import ConfigError, EngineError
from xagent.inference.engine import GenerationRequest, Grammar
from xagent.inference.loading import connect_vllm
from xagent.inference.prompting import PromptBuilder
from xagent.inference.vllm import VllmEngine

pytest.importorskip("httpx")


@pytest.fixture
def server():
    made = StandIn()
    thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def engine(server: StandIn):
    made = VllmEngine(f"{server.url}/v1/", PromptBuilder(byte_tokenizer(), "llama3_chat"), api_key="secret")
    yield made
    made.close()


def ask(engine: VllmEngine, **settings: Any) -> GenerationRequest:
    ids = engine.prompts.prompt_ids(Conversation((Message("user", "Hi"),)))
    return GenerationRequest(tuple(ids), **settings)


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def ids_of(engine: VllmEngine, text: str) -> list[int]:
    return list(engine.prompts.tokenizer(text, add_special_tokens=False).input_ids)


def test_the_server_is_asked_with_our_tokens_and_its_tokens_are_read_as_ours(server: StandIn, engine: VllmEngine) -> None:
    assert (engine.model, engine.adapters, engine.context) == ("tool-model", ("polite",), 200)
    end = engine.prompts.tokenizer.convert_tokens_to_ids("<|eot_id|>")
    server.script = saying([*ids_of(engine, "你好, 北京"), end], "stop")
    request = ask(engine, temperature=0.5, top_p=0.9, seed=7, adapter="polite", max_new_tokens=64)
    stream = engine.submit(request)
    pieces = [delta.text for delta in stream]
    assert "".join(pieces) == "你好, 北京" and len(pieces) > 3 and not any("\ufffd" in piece for piece in pieces)
    reply = stream.reply()
    assert (reply.text, reply.finish_reason, reply.stopped_by) == ("你好, 北京", "stop", None)
    assert (reply.prompt_tokens, reply.new_tokens) == (len(request.prompt_ids), 15)
    (body,) = server.asked
    assert body["prompt"] == list(request.prompt_ids) and body["model"] == "polite"
    assert (body["temperature"], body["top_p"], body["seed"], body["max_tokens"]) == (0.5, 0.9, 7, 64)
    assert body["stop_token_ids"] == sorted(engine.prompts.stop_ids) and "stop" not in body
    assert (body["stream"], body["return_token_ids"], body["skip_special_tokens"]) == (True, True, False)
    assert body["ignore_eos"]
    assert (body["top_k"], body["min_p"], body["repetition_penalty"]) == (0, 0.0, 1.0), "not what generation_config.json says"
    assert body["presence_penalty"] == body["frequency_penalty"] == 0.0 and "structured_outputs" not in body
    assert server.keys == ["Bearer secret"]


def test_a_json_schema_is_the_server_s_to_hold(server: StandIn, engine: VllmEngine) -> None:
    server.script = saying(ids_of(engine, "{}"), "stop")
    assert engine.submit(ask(engine, json_schema='{"type": "object"}')).reply().text == "{}"
    assert engine.submit(ask(engine)).reply().text == "{}"
    kept, free = server.asked
    held = kept["response_format"]
    assert held["type"] == "json_schema" and held["json_schema"]["schema"].pop("x-guidance")["whitespace_flexible"] is False
    assert held["json_schema"] == {"name": "reply", "schema": {"type": "object"}} and "response_format" not in free
    server.script = lambda body: iter([fault('Grammar error: Unimplemented keys: ["uniqueItems"]', 400)])
    stream = engine.submit(ask(engine, json_schema='{"type": "array", "uniqueItems": true}'))
    with pytest.raises(ConfigError, match="schema can't be followed: the vLLM server refused the request: Grammar error: U"):
        stream.reply()
    server.script = lambda body: iter([fault("EngineCore encountered an issue.", 500, "InternalServerError")])
    with pytest.raises(EngineError, match="the vLLM server failed: EngineCore encountered"):
        engine.submit(ask(engine, json_schema="{}")).reply()


def test_a_grammar_is_the_server_s_to_hold(server: StandIn, engine: VllmEngine) -> None:
    pytest.importorskip("llguidance")
    grammar = Grammar('start: "add" | "subtract"\n')
    assert engine.follows(grammar) and not engine.follows(Grammar("start: nothing\n"))
    server.script = saying(ids_of(engine, "add"), "stop")
    assert engine.submit(ask(engine, grammar=grammar)).reply().text == "add"
    assert server.asked[0]["structured_outputs"] == {"grammar": grammar.lark}


def test_a_stop_word_ends_the_reply_and_the_connection(server: StandIn, engine: VllmEngine) -> None:
    go_on = threading.Event()

    def endless(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield from saying(ids_of(engine, "Thought: x\nObservation: 5"), None)(body)
        assert go_on.wait(60)
        while True:
            yield {"choices": [{"text": "y", "token_ids": ids_of(engine, "y")}]}

    server.script = endless
    reply = engine.submit(ask(engine, stop=("Observation:",))).reply()
    assert (reply.text, reply.finish_reason, reply.stopped_by) == ("Thought: x\n", "stop", "Observation:")
    assert reply.new_tokens == len("Thought: x\nObservation:")
    go_on.set()
    assert server.broken_off.wait(60)


def test_cancelling_ends_the_reply_at_once(server: StandIn, engine: VllmEngine) -> None:
    go_on = threading.Event()

    def halting(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield from saying(ids_of(engine, "abcd"), None)(body)
        go_on.wait(60)
        yield from saying(ids_of(engine, "efgh"))(body)

    server.script = halting
    stream = engine.submit(ask(engine))
    pieces = iter(stream)
    shown = "".join(next(pieces).text for _ in "abcd")
    stream.cancel()
    assert list(pieces) == [] and shown == "abcd"
    assert (stream.reply().text, stream.reply().finish_reason) == ("abcd", "cancelled")
    go_on.set()
    stream.cancel()


def test_cancelling_hangs_up_on_a_server_that_says_nothing(server: StandIn, engine: VllmEngine) -> None:
    server.is_silent = True
    stream = engine.submit(ask(engine))
    until(lambda: bool(server.asked))
    stream.cancel()
    assert list(stream) == [] and stream.reply().finish_reason == "cancelled"
    assert server.broken_off.wait(60)


def test_a_machine_that_vanishes_is_missed_while_it_says_nothing(server: StandIn, engine: VllmEngine) -> None:
    server.is_silent = True
    stream = engine.submit(ask(engine))
    until(lambda: stream._socket is not None)
    with stream._lock:  # held until all is said to the socket
        assert stream._socket is not None and stream._socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    stream.cancel()


def test_log_probabilities_are_read(server: StandIn, engine: VllmEngine) -> None:
    ids = ids_of(engine, "ab")

    def told(start: int, size: int) -> dict[str, Any]:
        chosen = ids[start : start + size]
        top = [{"token_id:9": -0.5, f"token_id:{token}": -1.5, "token_id:8": -1.0} for token in chosen]
        return {"tokens": [f"token_id:{token}" for token in chosen], "token_logprobs": [-1.5] * len(chosen), "top_logprobs": top}

    server.script = saying(ids, logprobs=told)
    reply = engine.submit(ask(engine, logprobs=2)).reply()
    assert [(one.token, one.token_id, one.logprob) for one in reply.logprobs] == [("a", ids[0], -1.5), ("b", ids[1], -1.5)]
    assert [(top.token_id, top.logprob) for top in reply.logprobs[0].top] == [(9, -0.5), (8, -1.0)]
    assert (server.asked[0]["logprobs"], server.asked[0]["return_tokens_as_token_ids"]) == (2, True)


def test_faults_of_the_server_are_told(server: StandIn, engine: VllmEngine) -> None:
    def fails(match: str) -> None:
        stream = engine.submit(ask(engine))
        with pytest.raises(EngineError, match=match):
            list(stream)
        with pytest.raises(EngineError, match=match):
            stream.reply()

    server.refusal = 404, fault("The model `tool-model` does not exist.", 404, "NotFoundError", "model")
    fails("refused the request: 404 The model `tool-model` does not exist")
    server.refusal = 401, {"error": "Unauthorized"}
    fails("refused the request: 401 Unauthorized")
    server.refusal = None
    server.script = lambda body: iter([fault("EngineCore encountered an issue.", 500, "InternalServerError")])
    fails("the vLLM server failed: EngineCore encountered an issue")
    server.script = lambda body: iter([fault("Token id 99999 is out of vocabulary", 400)])
    fails("the vLLM server refused the request: Token id 99999 is out of vocabulary")
    server.script = lambda body: iter([{"choices": [{"text": "old"}]}])
    fails("sends no token ids.*0.11")
    server.script = saying([70, 71], "abort")
    fails("ended the reply: abort")
    server.script = saying([70, 71], None)
    fails("its answer ends before the reply does")
    with pytest.raises(ConfigError, match="a prompt of 200 tokens fills the model's context of 200"):
        engine.submit(GenerationRequest((5,) * 200))
    server.script = saying([70, 71])
    assert engine.submit(GenerationRequest((5,) * 190)).reply().new_tokens == 2
    assert server.asked[-1]["max_tokens"] == 10, "no more than there is room for"
    with pytest.raises(ConfigError, match="unknown adapter 'rude'; known: polite"):
        engine.submit(ask(engine, adapter="rude"))
    engine.close()
    with pytest.raises(EngineError, match="was closed"):
        engine.submit(ask(engine))


def test_no_server_and_no_such_model(server: StandIn, tmp_path: Path) -> None:
    byte_tokenizer().save_pretrained(tmp_path)
    (tmp_path / "xagent.json").write_text(json.dumps({"template": "llama3_chat", "protocol": "hermes"}))
    engine = connect_vllm(server.url, tmp_path)
    assert (engine.prompts.template.name, engine.prompts.protocol.name) == ("llama3_chat", "hermes")
    engine.close()
    with pytest.raises(EngineError, match="serves no model other; it serves: tool-model"):
        connect_vllm(server.url, tmp_path, model="other")
    server.version = "0.10.2"
    with pytest.raises(EngineError, match="is vLLM 0.10.2; 0.11 or newer is needed"):
        connect_vllm(server.url, tmp_path)
    server.version = "0.1.dev7"
    connect_vllm(server.url, tmp_path).close()
    with pytest.raises(EngineError, match=r"no vLLM server answers at http://127.0.0.1:9: .*; start one with `vllm serve"):
        connect_vllm("http://127.0.0.1:9", tmp_path)
