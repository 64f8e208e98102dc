"""The chat in the terminal: SWIFT's commands, typed observations, Ctrl-C, scripts, and faults that don't end it."""

from __future__ import annotations

import io
import json
import os
import signal
import threading
from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from scripted_engine import Said, ScriptedEngine

from xagent.agent.session import AgentSession
from xagent.agent.tools import Tool, ToolBox
from xagent.agent.tools.selection import load_tools
from xagent.chat.message import ToolSpec
from xagent.chatting.chat import Chat
from xagent.chatting.lines import CommandCompleter, PipedLines, ScriptError, history_file, open_history
from xagent.chatting.screen import Screen, harmless, shows_colours
from xagent.chatting.words import COMMANDS, Command, read_command
from xagent.errors import XAgentError

# The dialogue of ModelScope SWIFT's "Agent fine-tuning best practice", on one line and on many.
SYSTEM = """Answer the following questions as best you can. You have access to the following APIs:
1. fire_recognition: Call this tool to interact with the fire recognition API. This API is used to recognize whether there is \
fire in the image. Parameters: [{"name": "image", "description": "The input image to recognize fire", "required": "True"}]

2. fire_alert: Call this tool to interact with the fire alert API. This API will start an alert to warn the building's \
administraters. Parameters: []

3. call_police: Call this tool to interact with the police calling API. This API will call 110 to catch the thief. Parameters: []

4. call_fireman: Call this tool to interact with the fireman calling API. This API will call 119 to extinguish the fire. \
Parameters: []

Use the following format:

Thought: you should always think about what to do
Action: the action to take, should be one of the above tools[fire_recognition, fire_alert, call_police, call_fireman]
Action Input: the input to the action
Observation: the result of the action
... (this Thought/Action/Action Input/Observation can be repeated zero or more times)
Thought: I now know the final answer
Final Answer: the final answer to the original input question
Begin!"""
QUESTION = "输入图片是/tmp/1.jpg,协助判断图片中是否存在着火点"
CALL = """Thought: I need to use the fire\\_recognition API to analyze the input image and determine if there are any signs of \
fire.
Action: Use the fire\\_recognition API to analyze the input image.
Action Input: /tmp/1.jpg
"""
OBSERVED = "[{'coordinate': [101.1, 200.9], 'on_fire': True}]"
ANSWER = """Thought: The fire\\_recognition API has returned a result indicating that there is fire in the input image.
Final Answer: There is fire in the input image."""
MADE_UP = "Observation: no fire\nFinal Answer: no"


class Talk:
    """A chat over a script, and what it showed."""

    def __init__(
        self,
        script: str,
        *replies: str | Said,
        tools: str | None = None,
        streams: bool = True,
        out: io.StringIO | None = None,
        **options,
    ) -> None:
        self.engine = ScriptedEngine(*replies)
        self.session = AgentSession(self.engine, load_tools(tools) if tools else ToolBox(), **options)
        out, err = out or io.StringIO(), io.StringIO()
        Chat(self.session, PipedLines(io.StringIO(script)), Screen(out, err, streams)).run()
        self.out, self.err = out.getvalue(), err.getvalue()


@pytest.mark.parametrize("many_lines", [False, True])
def test_swifts_dialogue_works_line_for_line(many_lines: bool) -> None:
    one_line = SYSTEM.replace("\n", "\\n")
    head = f"multi-line#\nreset-system#\n{SYSTEM}#\nsingle-line#\n" if many_lines else f"reset-system\n{one_line}\n"
    talk = Talk(f"{head}{QUESTION}\n{OBSERVED}\nexit\n", CALL + MADE_UP, ANSWER, stop=("Observation:",))
    assert (talk.out, talk.err) == (f"{CALL}Observation:\n{ANSWER}\n", "")
    assert talk.session.system == SYSTEM
    assert [message.role for message in talk.session.history] == ["user", "assistant"]
    reply = f"{CALL}Observation: {OBSERVED}\n{ANSWER}"
    assert talk.session.history[1].content == reply
    frame = f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n"
    assert talk.engine.shown == [frame, f"{frame}{CALL}Observation: {OBSERVED}\n"]
    assert talk.session.to_record()["messages"] == [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": reply},
    ]


def test_the_model_may_ask_for_several_observations_in_one_turn() -> None:
    again = "Thought: once more\nAction: a\nAction Input: {}\nObservation: made up"
    talk = Talk("q\nfirst\nsecond\nnext question\n", again, again, "Final Answer: x", "Final Answer: y", stop=("Observation:",))
    turn = "Thought: once more\nAction: a\nAction Input: {}\nObservation: "
    assert talk.session.history[1].content == f"{turn}first\n{turn}second\nFinal Answer: x"
    assert [message.content for message in talk.session.history[2:]] == ["next question", "Final Answer: y"]


def test_replies_and_steps_are_shown_streamed_or_whole() -> None:
    replies = 'Thought:add\nAction:add_numbers\nAction Input:{"first": 2, "second": 3}', "Final Answer:5"
    shown = [Talk("2 + 3?\n", *replies, tools="playground:add_numbers", streams=streams).out for streams in (True, False)]
    lines = shown[0].splitlines()
    assert lines[:3] == replies[0].splitlines() and lines[4] == "Final Answer:5"
    assert lines[3].startswith("[add_numbers, 0.") and lines[3].endswith(" s] 5")
    assert [line for line in shown[1].splitlines() if " s] " not in line] == [line for line in lines if " s] " not in line]


def test_clear_and_default_system_and_reset_system_forget_the_conversation() -> None:
    script = "one\nclear\ntwo\nreset-system\nBe rude.\nthree\ndefault-system\nfour\n"
    talk = Talk(script, "1", "2", "3", "4", system="Be kind.")
    heads = ["Be kind.", "Be kind.", "Be rude.", "Be kind."]
    for shown, system, question in zip(talk.engine.shown, heads, ["one", "two", "three", "four"], strict=True):
        assert shown.count("<|im_start|>user") == 1 and question in shown and f"system\n{system}<" in shown
    assert talk.out == "1\n2\n3\n4\n"


def test_a_conversation_is_saved_as_data_and_loaded(tmp_path: Path) -> None:
    file = tmp_path / "good runs.jsonl"
    Talk(f"Hi\nsave '{file}'\nclear\nHo\nsave '{file}'\n", "Hello!", "Aha!", system="Be kind.")
    records = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert [record["messages"][-1]["content"] for record in records] == ["Hello!", "Aha!"]
    talk = Talk(f'load "{file}"\nand?\n', "More.")
    assert "system\nBe kind.<" in talk.engine.shown[0] and "Ho<|im_end|>" in talk.engine.shown[0]
    bad = tmp_path / "bad.jsonl"
    bad.write_text("{", encoding="utf-8")
    talk = Talk(f"load {bad}\nload {tmp_path / 'none.jsonl'}\nsave {tmp_path / 'x.txt'}\nsave\nHi\n", "still here")
    faults = talk.err.splitlines()
    assert "no JSON record" in faults[0] and "can't be read: No such file" in faults[1]
    assert all("ends with .jsonl" in fault for fault in faults[2:]) and len(faults) == 4
    assert talk.out == "still here\n"


def test_a_fault_of_a_reply_does_not_end_the_chat_and_retry_asks_again() -> None:
    talk = Talk("Hi\nretry\nretry\n", Said("He", error=XAgentError("out of memory")), "Hello!", "Hello again!")
    assert (talk.out, talk.err) == ("He\nHello!\nHello again!\n", "fault: out of memory\n")
    assert [message.content for message in talk.session.history] == ["Hi", "Hello again!"]
    assert Talk("retry\n").err == "fault: nothing was asked yet\n"


def test_a_cut_answer_a_wrong_tool_and_a_cut_call_are_told() -> None:
    assert "(the answer was cut at 5 tokens)" in Talk("Hi\n", Said("Hello", "length")).err
    replies = "Action:sing\nAction Input:{}", Said("Action:add_numbers\nAction Input:{", "length"), "Final Answer:no"
    talk = Talk("?\n", *replies, tools="playground:add_numbers")
    assert "[sing, unknown tool] there is no tool 'sing'; the tools are: add_numbers\n" in talk.out
    assert "[no call, the reply was cut inside a call, at 33 tokens: nothing was run]" in talk.out


class Impatient(io.StringIO):
    """Presses Ctrl-C once a reply has come so far: not before somebody listens to it."""

    def write(self, text: str) -> int:
        written = super().write(text)
        if self.getvalue() == "I will talk for ever":
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        return written


def test_ctrl_c_stops_the_reply_and_not_the_program() -> None:
    before = signal.getsignal(signal.SIGINT)
    talk = Talk("Hi\nHo\n", Said("I will talk for ever", hangs=True), "Aha!", out=Impatient())
    assert (talk.out, talk.err) == ("I will talk for ever\nAha!\n", "(stopped by the user)\n")
    assert signal.getsignal(signal.SIGINT) is before


def test_a_message_cut_short_by_the_end_of_the_script_is_not_lost() -> None:
    assert "one\ntwo<" in Talk("multi-line\none\ntwo", "3").engine.shown[0]
    talk = Talk("multi-line\none#\ntwo\n\nthree\n#\n", "3", "4")
    assert [message.content for message in talk.session.history] == ["one", "3", "two\n\nthree", "4"]


@pytest.mark.parametrize("word", COMMANDS)
def test_words_are_commands_alone_only(word: str) -> None:
    assert read_command(word) == read_command(f" {word} #") == Command(word)
    assert read_command(f"{word} is a nice word") is None and read_command(f"{word}\n{word}") is None


def test_the_file_of_save_may_have_spaces_and_a_sentence_is_none() -> None:
    assert read_command("save a.jsonl") == Command("save", "a.jsonl")
    assert read_command("load 'a b.jsonl'") == Command("load", "'a b.jsonl'")
    assert read_command("save money") is None


def test_tools_and_help_are_listed() -> None:
    tool = Tool(ToolSpec("look", "Look \x1b[2Jaround."), lambda arguments: None, note="it is dark")
    out = io.StringIO()
    session = AgentSession(ScriptedEngine(), ToolBox([tool]))
    Chat(session, PipedLines(io.StringIO("tools\nhelp\n")), Screen(out, io.StringIO())).run()
    assert out.getvalue().startswith("  look: Look \\x1b[2Jaround.\n  note: look: it is dark\n")
    assert all(f"  {word} " in out.getvalue() for word in COMMANDS)
    assert Talk("tools\n").out == "no tools; `xagent chat MODEL --tools ...` gives some\n"


def test_a_script_that_is_no_text_ends_with_its_line() -> None:
    engine = ScriptedEngine("Hello!")
    lines = PipedLines(io.TextIOWrapper(io.BytesIO("你好\nreset-system\ncaf\xe9\n".encode("latin-1", "replace")), "utf-8"))
    with pytest.raises(ScriptError, match="line 3 of the script is no text in utf-8; convert the script"):
        Chat(AgentSession(engine, ToolBox()), lines, Screen(io.StringIO(), io.StringIO())).run()
    assert len(engine.requests) == 1


def test_a_reply_cannot_command_the_terminal() -> None:
    assert harmless("a\ud83d") == "a\\ud83d"
    assert harmless("a\tb\nc\x1b]0;title\x07 你好 🙂‍↔️ \x9b1m") == "a\tb\nc\\x1b]0;title\\x07 你好 🙂‍↔️ \\x9b1m"
    assert "\x1b" not in Talk("Hi\n", "\x1b[2J").out


class Terminal(io.StringIO):
    """Says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert shows_colours(Terminal()) and not shows_colours(io.StringIO())
    out = Terminal()
    Screen(out, out).fault("bad \x1b[0m")
    assert out.getvalue() == "\x1b[31mfault: bad \\x1b[0m\x1b[0m\n"
    monkeypatch.setenv("TERM", "dumb")
    assert not shows_colours(Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not shows_colours(Terminal())


def test_commands_and_files_are_completed(tmp_path: Path) -> None:
    def complete(text: str) -> list[str]:
        return [found.text for found in CommandCompleter().get_completions(Document(text), CompleteEvent())]

    (tmp_path / "chat.jsonl").touch()
    assert complete("re") == ["reset-system", "retry"] and complete("hello wor") == []
    assert complete(f"load {tmp_path}/ch") == ["at.jsonl"]


def test_the_history_is_private_and_may_be_unwritable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = history_file()
    assert path == tmp_path / "xagent" / "chat_history"
    open_history(path).append_string("secret")
    assert path.stat().st_mode & 0o777 == 0o600 and "secret" in path.read_text(encoding="utf-8")
    (tmp_path / "file").touch()
    unwritable = open_history(tmp_path / "file" / "chat_history")
    unwritable.append_string("kept for now")
    assert unwritable.get_strings() == ["kept for now"]
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert history_file().is_absolute()
