"""`xagent chat` as it is called: scripts on standard input, typed lines, and what can't be loaded."""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput
from scripted_engine import ScriptedEngine
from tiny_models import save_base

from xagent.agent.session import AgentSession
from xagent.agent.tools import ToolBox
from xagent.chat.message import Conversation, Message
from xagent.chatting.chat import Chat
from xagent.chatting.lines import TypedLines
from xagent.chatting.screen import Screen
from xagent.cli import main
from xagent.commands.chat import add_arguments, chat_with
from xagent.inference.engine import GenerationRequest
from xagent.inference.loading import load_engine
from xagent.model.provenance import Provenance

NANO = "xagent:nano/base"


def chat(monkeypatch: pytest.MonkeyPatch, script: str, *arguments: str) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(script))
    return main(["chat", *arguments])


def test_a_script_on_standard_input_is_answered_as_the_engine_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    saved = tmp_path / "said.jsonl"
    assert chat(monkeypatch, f"The owl\nsave {saved}\nexit\nnever read\n", NANO, "--max-new-tokens", "8") == 0
    shown = capsys.readouterr()
    engine = load_engine(NANO)
    ids = engine.prompts.prompt_ids(Conversation((Message("user", "The owl"),)))
    reply = engine.submit(GenerationRequest(tuple(ids), max_new_tokens=8)).reply()
    engine.close()
    assert shown.out == reply.text.removesuffix("\n") + "\n"
    if reply.finish_reason == "length":
        assert shown.err.endswith("(the answer was cut at 8 tokens)\n")
    assert main(["check-dataset", str(saved)]) == 0
    assert chat(monkeypatch, "", NANO, "--load", str(saved)) == 0
    assert "records   1 in" in capsys.readouterr().out


@pytest.mark.parametrize(("words", "streams"), [((), True), (("--stream",), True), (("--no-stream",), False)])
def test_replies_are_streamed_unless_said_otherwise(words: tuple[str, ...], streams: bool) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert parser.parse_args(["model", *words]).stream is streams


def test_a_terminal_without_the_characters_is_shown_their_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.TextIOWrapper(io.BytesIO(), "ascii", write_through=True)
    monkeypatch.setattr("sys.stdin", io.StringIO("Hi\n"))
    monkeypatch.setattr("sys.stdout", out)
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    chat_with(ScriptedEngine("你好"), ToolBox(), parser.parse_args(["model"]))
    assert out.buffer.getvalue() == b"\\u4f60\\u597d\n"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "option", [("--stop_words", "Observation"), ("--stop-words", "Observation:"), ("--stop-words=Observation",)]
)
def test_the_observation_s_mark_may_be_typed_with_its_colon_or_without(
    option: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call = "Thought: The Observation will tell.\nAction: fire_recognition\nAction Input: /tmp/1.jpg\n"
    engine = ScriptedEngine(f"{call}Observation: made up", "Final Answer: fire")
    monkeypatch.setattr("xagent.inference.loading.load_engine", lambda *words, **more: engine)
    assert chat(monkeypatch, "Is there fire?\n[True]\n", "model", *option) == 0
    assert capsys.readouterr().out == f"{call}Observation:\nFinal Answer: fire\n"
    assert engine.shown[1].endswith(f"{call}Observation: [True]\n"), "in the same turn"


def refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    assert chat(monkeypatch, "Hi\n", *arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and "Traceback" not in shown.err
    return shown.err


def test_a_model_without_a_chat_template_needs_one_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base = str(save_base(tmp_path / "base"))
    assert "needs a tokenizer with a chat template, and this one has none" in refused(capsys, monkeypatch, base)
    assert chat(monkeypatch, "Hi\n", base, "--template", "llama3_chat", "--max-new-tokens", "2") == 0


def test_an_adapter_of_another_base_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base, adapter = save_base(tmp_path / "base"), tmp_path / "adapter"
    adapter.mkdir()
    Provenance(template="llama3_chat", base_model="the-first", base_fingerprint="sha256:0123456789ab").write(adapter)
    said = refused(capsys, monkeypatch, str(base), "--adapter", str(adapter))
    assert "was trained on another base than" in said and "on the-first, fingerprint 0123456789ab" in said


def test_options_that_cannot_be_are_refused_at_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--tools nonsense: unknown; the forms are: playground" in refused(
        capsys, monkeypatch, "no model", "--tools", "nonsense"
    )
    assert "no such tool; the themes are" in refused(capsys, monkeypatch, NANO, "--tools", "playground:nonsense")
    assert "temperature must be a number >= 0, got -1.0" in refused(capsys, monkeypatch, NANO, "--temperature", "-1")
    assert "a stop word is empty" in refused(capsys, monkeypatch, NANO, "--stop-words", "")
    assert "can't be read" in refused(capsys, monkeypatch, NANO, "--load", "nowhere.jsonl")


class HandsOn(TypedLines):
    """Lines that somebody types when asked."""

    def __init__(self, history: Path, pipe: PipeInput, *keys: str) -> None:
        super().__init__(history)
        self.pipe, self.keys = pipe, iter(keys)

    def read(self, prompt: str) -> str:
        self.pipe.send_text(next(self.keys))
        return super().read(prompt)


def test_lines_are_edited_and_repeated_and_ctrl_c_forgets_only_the_line(tmp_path: Path) -> None:
    engine = ScriptedEngine("1", "2", "3")
    out, err = io.StringIO(), io.StringIO()
    left, up, ctrl_c, ctrl_d = "\x02", "\x1b[A", "\x03", "\x04"
    keys = f"helo{left}{left}l\r", f"{up}!\r", f"forget me{ctrl_c}", "clear\r", "again\r", ctrl_d
    with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
        lines = HandsOn(tmp_path / "history", pipe, *keys)
        Chat(AgentSession(engine, ToolBox()), lines, Screen(out, err), interactive=True).run()
    assert out.getvalue() == "1\n2\n3\n"
    assert err.getvalue() == "(exit or Ctrl-D leaves)\n(the conversation is forgotten)\n"
    assert "user\nhello<" in engine.shown[0] and "user\nhello!<" in engine.shown[1] and "hello" not in engine.shown[2]
    assert "+hello!\n" in (tmp_path / "history").read_text(encoding="utf-8")
