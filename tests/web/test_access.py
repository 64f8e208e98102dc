"""Who may open the page, and how the server is started."""

from __future__ import annotations

import argparse
import os
import socket

import pytest
from free_ports import free_port

from xagent.cli import main
from xagent.commands import web
from xagent.web.access import is_loopback, refusal
from xagent.web.options import DemoOptions, read_options, words_of


@pytest.mark.parametrize(
    ("address", "expected"),
    [("localhost", True), ("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("[::1]", True), ("0.0.0.0", False)]
    + [
        ("::", False),
        ("192.168.1.5", False),
        ("example.org", False),
        ("127.0.0.1.example.org", False),
        (None, False),
        ("", False),
    ],
)
def test_loopback(address: str | None, expected: bool) -> None:
    assert is_loopback(address) is expected


@pytest.mark.parametrize(
    ("address", "token", "given", "host", "expected"),
    [
        ("localhost", "", None, "localhost:8501", None),
        ("localhost", "", None, None, None),
        ("127.0.0.1", "", None, "[::1]:8501", None),
        ("localhost", "", None, "evil.example:8501", "host"),
        ("localhost", "", None, "localhost.evil.example:8501", "host"),
        ("localhost", "secret", "secret", "forwarded.example", None),
        ("localhost", "secret", None, "localhost", "token"),
        ("0.0.0.0", "", None, "localhost", "open"),
        (None, "", "anything", "localhost", "open"),
        ("0.0.0.0", "secret", "secre", "localhost", "token"),
        ("0.0.0.0", "sécret", "sécret", "192.168.1.5:80", None),
    ],
)
def test_refusal(address: str | None, token: str, given: str | None, host: str | None, expected: str | None) -> None:
    assert refusal(address, token, given, host) == expected


@pytest.mark.parametrize(
    "options",
    [
        DemoOptions(),
        DemoOptions("./merged", "./base", "./adapter", ("python", "mcp:'run --fast a,b'"), "qwen_chat", "hermes"),
        DemoOptions("-odd", system="--be brief", dtype="bf16", device="cpu", load_in_4bit=True, language="zh"),
    ],
)
def test_options_survive_the_way_to_the_page(options: DemoOptions) -> None:
    assert read_options(words_of(options)) == options


def test_beyond_this_computer_a_token_is_wanted(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XAGENT_WEB_TOKEN", raising=False)
    assert main(["web", "--address", "0.0.0.0"]) == 2
    assert "--address 0.0.0.0 lets other computers in, and there is no token: set XAGENT_WEB_TOKEN" in capsys.readouterr().err


def test_a_port_in_use_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["web", "--address", "127.0.0.1", "--port", str(port)]) == 2
    assert f"can't listen at 127.0.0.1, port {port}: Address already in use; choose another --port" in capsys.readouterr().err


def test_what_streamlit_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[list[str]] = []
    monkeypatch.setattr("streamlit.web.cli.main", lambda words, standalone_mode: told.append(words))
    monkeypatch.setenv("XAGENT_WEB_TOKEN", "")
    parser = argparse.ArgumentParser()
    web.add_arguments(parser)
    port = free_port()
    web.run(parser.parse_args(["./merged", "--compare=b", "--token", "s", "--address", "127.0.0.1", "--port", str(port)]))
    [words] = told
    pairs = dict(zip(words[2:-4:2], words[3:-4:2], strict=False))
    assert pairs["--server.address"] == "127.0.0.1" and pairs["--server.port"] == str(port)
    assert pairs["--browser.gatherUsageStats"] == "false" and pairs["--server.headless"] == "true"
    assert pairs["--runner.postScriptGC"] == "false"
    assert words[-5:] == ["--", "--compare=b", "--device=auto", "--", "./merged"]
    assert "s" not in words and os.environ["XAGENT_WEB_TOKEN"] == "s"
