"""A real vLLM server beside the engine in this process: the same prompts, replies and stop words; schemas, calls, faults.

``XAGENT_TEST_VLLM`` is the command that starts one, up to where the model's folder follows: ``vllm serve``, or
``/some/venv/bin/python -m vllm.entrypoints.openai.api_server --model``.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import openai
import pytest
import torch
from peft import LoraConfig, get_peft_model
from scripted import until
from served import served
from transformers import AutoModelForCausalLM

from xagent.assets import resolve
from xagent.chat.message import Conversation
from xagent.chat.message import Message as ChatMessage
from xagent.errors import ConfigError, EngineError
from xagent.inference import vllm
from xagent.inference.engine import Engine, GenerationRequest, Reply
from xagent.inference.loading import connect_vllm, load_engine
from xagent.inference.local import LocalEngine
from xagent.inference.vllm import VllmEngine
from xagent.playground import generate_episodes
from xagent.serving.server import open_socket

COMMAND = os.environ.get("XAGENT_TEST_VLLM")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not COMMAND, reason="needs vLLM: XAGENT_TEST_VLLM='vllm serve', the command that starts it"),
]

SPOKEN = {"template": "llama3_chat", "protocol": "react"}
CONTEXT = 2048
SAME = 1e-3
"""Log-probabilities in fp32 differ by less; where two tokens are as close, either may be chosen."""
SCHEMAS: dict[str, dict[str, Any]] = {
    "book": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 5}, "days": {"type": "integer", "minimum": 1, "maximum": 30}},
        "required": ["city", "days"],
        "additionalProperties": False,
    },
    "lights": {"type": "object", "properties": {"on": {"enum": ["yes", "no"]}}, "additionalProperties": False},
}
TOOLS: Any = [{"type": "function", "function": {"name": name, "parameters": schema}} for name, schema in SCHEMAS.items()]


@dataclass
class Server:
    process: subprocess.Popen[bytes]
    url: str

    def running(self) -> int:
        """Give how many requests it has, in its passes or waiting."""
        told = httpx.get(f"{self.url}/metrics").text
        return int(sum(map(float, re.findall(r"^vllm:num_requests_(?:running|waiting)\{.*\} (\S+)$", told, re.M))))


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that nobody trained."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(resolve("xagent:nano/base"), dtype=torch.float32)
    folder = tmp_path_factory.mktemp("adapter")
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    get_peft_model(model, LoraConfig(r=8, target_modules=names, init_lora_weights=False)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def server(adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with open_socket("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("vllm") / "log"
    words = f"--served-model-name base --dtype float32 --max-model-len {CONTEXT} --enforce-eager --host 127.0.0.1 --port {port}"
    words += " --structured-outputs-config.backend guidance"
    lora = ["--enable-lora", "--max-lora-rank", "8", "--lora-modules", f"odd={adapter}"]
    command = [*shlex.split(COMMAND or ""), str(resolve("xagent:nano/base")), *words.split(), *lora]
    told = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env={**told, **environment})
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            return httpx.get(f"{url}/health").status_code == 200
        except httpx.HTTPError:
            return False

    try:
        until(answers, 900)
        yield Server(process, url)
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="module")
def remote(server: Server) -> Iterator[VllmEngine]:
    engine = connect_vllm(server.url, "xagent:nano/base", **SPOKEN)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def local(adapter: Path) -> Iterator[LocalEngine]:
    engine = load_engine("xagent:nano/base", adapters={"odd": adapter}, dtype="fp32", **SPOKEN)
    yield engine
    engine.close()


def ask(engine: Engine, question: str = "Tom has 3 apples and buys 4.", **settings: Any) -> GenerationRequest:
    ids = engine.prompts.prompt_ids(Conversation((ChatMessage("user", question),)))
    return GenerationRequest(tuple(ids), **{"max_new_tokens": 60, **settings})


def twenty(engine: Engine, **settings: Any) -> list[Reply]:
    """Ask the playground's questions, with their tools, all at once."""
    talks = [Conversation((ChatMessage("user", one.question),), one.tools) for one in generate_episodes(20, seed=7)]
    requests = [GenerationRequest(tuple(engine.prompts.prompt_ids(talk)), 60, logprobs=2, **settings) for talk in talks]
    return [stream.reply() for stream in [engine.submit(request) for request in requests]]


def same(one: Reply, other: Reply) -> bool:
    """Say whether two greedy replies are equal; where they aren't, hold that two tokens were equally likely."""
    for first, second in zip(one.logprobs, other.logprobs, strict=False):
        if first.token_id != second.token_id:
            assert abs(second.top[0].logprob - second.top[1].logprob) < SAME, (one.text, other.text)
            return False
        assert abs(first.logprob - second.logprob) < SAME, (first, second)
    assert (one.text, one.finish_reason, one.new_tokens) == (other.text, other.finish_reason, other.new_tokens)
    assert one.prompt_tokens == other.prompt_tokens
    return True


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """All chunks that servers send."""
    chunks: list[dict[str, Any]] = []
    plain = vllm._chunks

    def noted(response: httpx.Response) -> Iterator[dict[str, Any]]:
        for chunk in plain(response):
            chunks.append(chunk)
            yield chunk

    monkeypatch.setattr(vllm, "_chunks", noted)
    return chunks


def test_prompts_and_greedy_replies_are_those_of_the_engine_here(
    remote: VllmEngine, local: LocalEngine, heard: list[dict[str, Any]]
) -> None:
    assert (remote.model, remote.adapters, remote.context) == ("base", ("odd",), CONTEXT)
    for adapter in (None, "odd"):
        heard.clear()
        replies, expected = twenty(remote, adapter=adapter), twenty(local, adapter=adapter)
        read = sorted(chunk["choices"][0]["prompt_token_ids"] for chunk in heard if chunk["choices"][0]["prompt_token_ids"])
        talks = [Conversation((ChatMessage("user", one.question),), one.tools) for one in generate_episodes(20, seed=7)]
        assert read == sorted(local.prompts.prompt_ids(talk) for talk in talks)
        equal = sum(same(one, other) for one, other in zip(replies, expected, strict=True))
        print(f"{equal} of 20 replies are equal, adapter {adapter}")
        assert equal >= 18
    assert {"id", "object", "created", "model", "choices"} <= set(heard[0]), "as the stand-in of the fast tests"
    assert set(heard[0]["choices"][0]) == {
        *("index", "text", "logprobs", "finish_reason", "stop_reason", "prompt_token_ids", "token_ids")
    }


def test_adapters_are_others(remote: VllmEngine) -> None:
    assert remote.submit(ask(remote, adapter="odd")).reply().text != remote.submit(ask(remote)).reply().text


def test_a_stop_word_is_never_shown(remote: VllmEngine, local: LocalEngine) -> None:
    whole = remote.submit(ask(remote)).reply().text
    word = whole[8:14]
    stream = remote.submit(ask(remote, stop=(word, "never said")))
    pieces = [delta.text for delta in stream]
    reply = stream.reply()
    assert "".join(pieces) == reply.text == whole[: whole.index(word)] and len(pieces) > 1
    assert (reply.finish_reason, reply.stopped_by) == ("stop", word)
    assert reply == local.submit(ask(local, stop=(word, "never said"))).reply()


def test_a_seed_gives_the_same_reply_again(remote: VllmEngine) -> None:
    drawn = [remote.submit(ask(remote, temperature=1.0, top_p=0.9, seed=seed)).reply().text for seed in (5, 5, 6)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("waits", [False, True])
def test_a_cancelled_reply_is_soon_gone_at_the_server(server: Server, remote: VllmEngine, waits: bool) -> None:
    until(lambda: server.running() == 0, 60)
    endless = {"temperature": 1.5, "max_new_tokens": 2000, "json_schema": '{"type": "string", "minLength": 1900}'}
    stream = remote.submit(ask(remote, **endless))
    if waits:
        next(iter(stream))
    until(lambda: server.running() == 1, 60)
    stream.cancel()
    assert stream.reply().finish_reason == "cancelled"
    until(lambda: server.running() == 0, 60)


def test_a_reply_is_kept_to_its_schema(remote: VllmEngine) -> None:
    schema = SCHEMAS["book"]
    replies = [
        remote.submit(ask(remote, json_schema=json.dumps(schema), temperature=1.0, seed=seed)).reply() for seed in range(4)
    ]
    for reply in replies:
        assert reply.finish_reason == "stop" and json.dumps(json.loads(reply.text), ensure_ascii=False) == reply.text
        jsonschema.validate(json.loads(reply.text), schema)
    with pytest.raises(ConfigError, match='the JSON schema can\'t be followed: the vLLM server refused .*"uniqueItems"'):
        remote.submit(ask(remote, json_schema='{"type": "array", "uniqueItems": true}')).reply()


def test_what_the_server_refuses_is_told(server: Server, remote: VllmEngine) -> None:
    with pytest.raises(EngineError, match="the vLLM server refused the request: .*out of vocabulary"):
        remote.submit(GenerationRequest((99999,))).reply()
    with pytest.raises(ConfigError, match=f"a prompt of {CONTEXT} tokens fills the model's context of {CONTEXT}"):
        remote.submit(GenerationRequest((5,) * CONTEXT))
    almost = remote.submit(GenerationRequest((5,) * (CONTEXT - 2), max_new_tokens=60)).reply()
    assert almost.new_tokens <= 2 and almost.finish_reason in ("length", "stop")
    with pytest.raises(EngineError, match="serves no model other; it serves: base"):
        connect_vllm(server.url, "xagent:nano/base", model="other", **SPOKEN)
    remote.model, kept = "gone", remote.model
    with pytest.raises(EngineError, match="refused the request: 404 The model `gone` does not exist"):
        remote.submit(ask(remote)).reply()
    remote.model = kept


def test_the_openai_client_of_a_server_before_it(server: Server, tmp_path: Path) -> None:
    words = f"xagent:nano/base --engine vllm --base-url {server.url} --template llama3_chat --protocol hermes"
    with served(tmp_path / "log", *words.split()) as (_, address):
        with openai.OpenAI(base_url=f"{address}/v1", api_key="EMPTY", max_retries=0, timeout=600) as api:
            assert [model.id for model in api.models.list().data] == ["base", "odd"]
            request: Any = {"model": "base", "messages": [{"role": "user", "content": "Tom has 3 apples."}], "max_tokens": 300}
            whole = api.chat.completions.create(**request, logprobs=True, top_logprobs=2).choices[0]
            stream = list(api.chat.completions.create(**request, stream=True))
            assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == whole.message.content
            assert whole.logprobs and all(len(one.top_logprobs) == 2 for one in whole.logprobs.content or ())
            for choice in ("required", {"type": "function", "function": {"name": "book"}}):
                drawn = api.chat.completions.create(
                    **request, tools=TOOLS, tool_choice=choice, n=3, temperature=1.0, seed=1, parallel_tool_calls=False
                )
                for call in [call.function for one in drawn.choices for call in one.message.tool_calls or ()]:
                    jsonschema.validate(json.loads(call.arguments), SCHEMAS[call.name])
                assert [one.finish_reason for one in drawn.choices] == ["tool_calls"] * 3
            schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "array", "uniqueItems": True}}}
            with pytest.raises(openai.BadRequestError, match="uniqueItems") as refused:
                api.chat.completions.create(**request, response_format=schema)
            assert refused.value.param == "response_format"


def test_a_server_that_is_gone_is_told(server: Server, remote: VllmEngine) -> None:
    server.process.terminate()
    server.process.wait(60)
    with pytest.raises(EngineError, match=f"the vLLM server at {server.url} broke off: ConnectError"):
        remote.submit(ask(remote)).reply()
    with pytest.raises(EngineError, match=f"no vLLM server answers at {server.url}"):
        connect_vllm(server.url, "xagent:nano/base", **SPOKEN)
