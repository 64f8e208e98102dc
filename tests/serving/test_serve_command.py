"""The command: what it refuses before a model is loaded, and a real one that is served, asked and told to end."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import openai
import pytest
from scripted import ScriptedEngine
from served import served

from xagent.cli import main
from xagent.commands.serve import named_adapters
from xagent.errors import ConfigError
from xagent.serving.server import open_socket


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XAGENT_API_KEY", raising=False)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--host", "0.0.0.0"], "a key is required, --api-key or XAGENT_API_KEY"),
        (["--max-replies", "0"], "--max-replies must be >= 1, got 0"),
        (["--drain-seconds", "inf"], "--drain-seconds must be finite"),
        (["--temperature", "3"], "--temperature must be from 0 to 2"),
        (["--top-p", "0"], r"--top-p must be in \(0, 1\]"),
        (["--port", "70000"], "--port must be from 0 to 65535"),
        (["--stop-words", ""], "--stop-words: a word is empty"),
        (["--engine", "vllm"], "--engine vllm and --base-url http://HOST:PORT, a running vLLM server, belong together"),
        (["--base-url", "http://x"], "belong together"),
        (["--engine", "vllm", "--base-url", "http://x", "--load-in-4bit"], "--load-in-4bit: what --engine vllm loads is said to"),
        (["--adapter", "base=x"], "the model itself is called so"),
        (["--adapter", "a=x", "--adapter", "y/a"], "another adapter is called 'a'"),
        (["--host", "no.such.host.invalid", "--api-key", "k"], "--host no.such.host.invalid"),
    ],
)
def test_wrong_settings_end_before_a_model_is_loaded(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "no/such/base", *words]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_a_port_in_use_ends_before_a_model_is_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    with open_socket("127.0.0.1", 0) as taken:
        assert main(["serve", "no/such/base", "--port", str(taken.getsockname()[1])]) == 2
    assert "is in use; choose another with --port" in capsys.readouterr().err


def test_adapters_have_names() -> None:
    assert named_adapters(["agent=work/a", "work/b"]) == {"agent": "work/a", "b": "work/b"}
    for word in ("=x", "name="):
        with pytest.raises(ConfigError, match="expected NAME=DIR, or DIR"):
            named_adapters([word])


@pytest.mark.parametrize(
    "option",
    [
        ("--stop_words", "Observation"),
        ("--stop-words", "Observation:", "END"),
        ("--stop-words", "Observation", "--stop-words", "END"),
    ],
)
def test_the_observation_s_mark_may_be_typed_with_its_colon_or_without(
    option: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    served_as: list[tuple[str, ...]] = []
    engine = ScriptedEngine([])
    monkeypatch.setattr("xagent.inference.loading.load_engine", lambda *words, **more: engine)
    monkeypatch.setattr("xagent.serving.server.serve", lambda service, _: served_as.append(service.settings.stop_words))
    assert main(["serve", "model", "--port", "0", *option]) == 0
    assert served_as == [("Observation:", "END") if "END" in option else ("Observation:",)]


@pytest.mark.slow
def test_a_real_model_is_served_and_ends_on_sigterm(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with served(log, "xagent:nano/base") as (server, address):
        with openai.OpenAI(base_url=f"{address}/v1", api_key="EMPTY", timeout=300) as api:
            assert [model.id for model in api.models.list().data] == ["base"]
            messages: Any = [{"role": "user", "content": "Tom has 3 apples."}]
            whole = api.chat.completions.create(model="base", messages=messages, max_tokens=12, logprobs=True)
            stream = api.chat.completions.create(model="base", messages=messages, max_tokens=12, stream=True)
            pieces = [next(stream)]
            server.send_signal(signal.SIGTERM)
            pieces += list(stream)
        content = "".join(chunk.choices[0].delta.content or "" for chunk in pieces)
        assert content == whole.choices[0].message.content and pieces[-1].choices[0].finish_reason in ("length", "stop")
        assert whole.usage and whole.usage.completion_tokens <= 12
        assert server.wait(60) == 0, log.read_text()
