"""A session tells what happens, stops when it is told to, and is a training record of what the model saw."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
from scripted_engine import Said, ScriptedEngine

from xagent.agent.session import AgentSession, Answered, Ended, Step, StepDone, TextPiece
from xagent.agent.tools import Tool, ToolBox
from xagent.agent.tools.selection import load_tools
from xagent.chat.message import Conversation, Message, ToolCall, ToolSpec
from xagent.chat.protocol import PROTOCOLS, get_protocol
from xagent.chat.template import render, to_text
from xagent.chatting.records import load_record, save_record
from xagent.cli import main
from xagent.data.encode import encode
from xagent.data.formats import openai_map_fn
from xagent.errors import ConfigError, DataError, XAgentError

CALL = ToolCall("add_numbers", {"first": 2, "second": 3})


def call_in(protocol: str, call: ToolCall = CALL, thought: str = "I add.") -> str:
    return get_protocol(protocol).render_reply(Message("assistant", reasoning=thought, tool_calls=(call,)))


def answer_in(protocol: str, text: str = "It is 5.", thought: str = "Done.") -> str:
    return get_protocol(protocol).render_reply(Message("assistant", text, reasoning=thought))


def session_of(*replies: str | Said, protocol: str = "react", tools: str | None = "playground:add_numbers", **options):
    engine = ScriptedEngine(*replies, protocol=protocol)
    return AgentSession(engine, load_tools(tools) if tools else ToolBox(), **options), engine


def words(events: list, turn: int) -> str:
    return "".join(event.text for event in events if isinstance(event, TextPiece) and event.turn == turn)


def steps(events: list) -> list[Step]:
    return [event.step for event in events if isinstance(event, StepDone)]


@pytest.mark.parametrize("protocol", list(PROTOCOLS))
def test_a_question_is_worked_on_and_told_as_it_happens(protocol: str) -> None:
    language = "zh" if protocol == "react_zh" else "en"
    session, engine = session_of(call_in(protocol), answer_in(protocol), protocol=protocol, language=language)
    start = time.perf_counter()
    events = list(session.ask("2 + 3?"))
    took = time.perf_counter() - start
    assert words(events, 0) == call_in(protocol) and words(events, 1) == answer_in(protocol)
    (step,) = steps(events)
    assert (step.thought, step.tool, step.arguments) == ("I add.", "add_numbers", {"first": 2, "second": 3})
    assert (step.observation, step.fault) == ("5", None) and 0 < step.seconds < took
    assert isinstance(events[-1], Answered) and events[-1].text == "It is 5."
    assert events[-1].new_tokens == len(call_in(protocol)) + len(answer_in(protocol))
    assert [message.role for message in session.history] == ["user", "assistant", "tool", "assistant"]
    assert session.history[1] == Message("assistant", reasoning="I add.", tool_calls=(CALL,))
    assert session.history[2:] == (Message("tool", "5", name="add_numbers"), Message("assistant", "It is 5.", reasoning="Done."))
    assert not session.is_busy and len(engine.requests) == 2


@pytest.mark.parametrize("protocol", list(PROTOCOLS))
def test_the_record_trains_the_text_that_the_model_saw(protocol: str, tmp_path: Path) -> None:
    language = "zh" if protocol == "react_zh" else "en"
    replies = [call_in(protocol), answer_in(protocol), call_in(protocol), answer_in(protocol, "Again 5.")]
    session, engine = session_of(*replies, protocol=protocol, language=language, system="Be brief.")
    assert list(session.ask("2 + 3?")) and list(session.ask("and again?"))
    record = session.to_record()
    assert [tool["function"]["name"] for tool in record["tools"]] == ["add_numbers"]
    assert record["messages"][0] == {"role": "system", "content": "Be brief."}
    call = record["messages"][2]["tool_calls"][0]
    assert json.loads(call["function"]["arguments"]) == {"first": 2, "second": 3}
    assert record["messages"][3]["tool_call_id"] == call["id"]
    file = tmp_path / "record.jsonl"
    file.write_text(json.dumps(record) + "\n", encoding="utf-8")
    assert main(["check-dataset", str(file), "--strict", "--protocol", session.protocol.name]) == 0
    conversation = openai_map_fn(json.loads(file.read_text(encoding="utf-8"))).validate()
    prompts = engine.prompts
    trained = encode(render(conversation, prompts.template, session.protocol), prompts.tokenizer).input_ids
    for request, reply in zip(engine.requests, replies, strict=True):
        whole = [*request.prompt_ids, *prompts.tokenizer.encode(reply, add_special_tokens=False)]
        if protocol != "internlm2":  # its calls hold special tokens, which a plain reading of the text doesn't
            assert trained[: len(whole)] == whole
        assert trained[: len(request.prompt_ids)] == list(request.prompt_ids)
    assert "".join(replies[-1:]) in to_text(render(conversation, prompts.template, session.protocol))


def cut_call(protocol: str) -> str:
    return call_in(protocol)[: call_in(protocol).index("second") + 4]


@pytest.mark.parametrize(
    "reply, fault, observation",
    [
        (Said(cut_call("react"), "length"), "the reply was cut inside a call, at 65 tokens: nothing was run", None),
        (cut_call("react"), "is no JSON object", None),
        ("hello there", "neither a call nor an answer", None),
        (call_in("react", ToolCall("sub_numbers")), "unknown tool", "there is no tool 'sub_numbers'; the tools are: add_numbers"),
        (call_in("react", ToolCall("add_numbers", {"first": 1})), "error", "missing parameter 'second'"),
    ],
)
def test_a_bad_reply_is_a_step_with_a_fault_and_no_example(reply: str | Said, fault: str, observation: str | None) -> None:
    session, engine = session_of(reply, answer_in("react"))
    events = list(session.ask("2 + 3?"))
    (step,) = steps(events)
    assert fault in step.fault and step.observation == (observation or "Please follow the format")
    assert isinstance(events[-1], Answered)
    is_call = observation is not None
    assert (step.tool is not None) == is_call and (step.seconds is not None) == (fault == "error")
    messages = session.to_record()["messages"]
    bad = next(message for message in messages if message["role"] == "assistant")
    assert bad.get("loss") is (None if is_call else False)
    text = to_text(render(openai_map_fn(session.to_record()).validate(), "qwen_chat", session.protocol))
    seen = engine.shown[1].removesuffix("<|im_start|>assistant\n")
    assert text.startswith(seen)


def test_a_tool_that_did_not_run_took_no_time() -> None:
    parameters = {"type": "object", "properties": {"first": {"type": "integer"}}, "required": ["first"]}
    tool = Tool(ToolSpec("add_numbers", "", parameters), lambda _: "5")
    replies = [call_in("react", ToolCall("add_numbers", given)) for given in ({"first": "x"}, {"first": 2})]
    session = AgentSession(ScriptedEngine(*replies, answer_in("react")), ToolBox([tool]))
    refused, run = steps(list(session.ask("?")))
    assert (refused.fault, refused.seconds) == ("bad arguments", None) and run.fault is None and run.seconds is not None


def test_a_call_cut_by_its_length_is_never_run_in_any_protocol() -> None:
    for protocol in PROTOCOLS:
        ran: list = []
        tool = Tool(ToolSpec("add_numbers"), ran.append)
        engine = ScriptedEngine(Said(cut_call(protocol), "length"), answer_in(protocol), protocol=protocol)
        events = list(AgentSession(engine, ToolBox([tool])).ask("?"))
        assert ran == [] and "cut inside a call" in steps(events)[0].fault and isinstance(events[-1], Answered)


def test_replies_in_another_spacing_are_kept_word_for_word() -> None:
    spaced = 'Thought: I add.\nAction: add_numbers\nAction Input: {"first": 2, "second": 3}'
    session, engine = session_of(spaced, "Thought: Done.\nFinal Answer: 5")
    list(session.ask("2 + 3?"))
    assert session.history[1].tool_calls == (CALL,)
    record = session.to_record()
    text = to_text(render(openai_map_fn(record).validate(), "qwen_chat", session.protocol))
    assert engine.shown[1] + "Thought: Done.\nFinal Answer: 5<|im_end|>" == text.rstrip("\n")


def test_a_loop_without_an_answer_says_why_it_ended() -> None:
    session, _ = session_of(*["no"] * 2, max_turn=2)
    assert list(session.ask("?"))[-1] == Ended("Stopped: no answer within 2 replies", "turns")
    wrong = call_in("react", ToolCall("add_numbers", {"first": 1}))
    session, _ = session_of(*[wrong] * 3)
    events = list(session.ask("?"))
    assert len(steps(events)) == 3
    assert isinstance(events[-1], Ended) and events[-1].kind == "repeats" and "failed 3 times" in events[-1].reason
    assert [message.role for message in session.history] == ["user", *["assistant", "tool"] * 3]


def test_a_plain_chat_is_one_reply_to_each_question() -> None:
    session, engine = session_of("Hello!", Said("I am", "length"), tools=None, system="Be kind.")
    assert list(session.ask("Hi"))[-1].text == "Hello!"
    cut = list(session.ask("Who?"))[-1]
    assert (cut.text, cut.finish_reason) == ("I am", "length")
    assert "system\nBe kind.<|im_end|>" in engine.shown[1] and "Hello!<|im_end|>" in engine.shown[1]
    assert session.to_record()["messages"][-1] == {"role": "assistant", "content": "I am", "loss": False}


def stop_at_the_first_piece(session: AgentSession, question: str) -> list:
    events, stopper = [], threading.Thread(target=session.stop)
    for event in session.ask(question):
        if not events:
            assert isinstance(event, TextPiece)
            stopper.start()
        events.append(event)
    stopper.join()  # else it might stop what is asked next
    return events


def test_a_reply_is_stopped_and_its_words_are_kept_but_not_learned() -> None:
    session, engine = session_of(Said("Thought:I wo", hangs=True), answer_in("react"))
    events = stop_at_the_first_piece(session, "2 + 3?")
    assert events[-1] == Ended("stopped by the user", "stopped")
    _, reply = session.history
    assert reply.loss is False and reply.content == words(events, 0) and "Thought:I wo".startswith(reply.content)
    assert list(session.retry())[-1].text == "It is 5."
    assert [message.role for message in session.history] == ["user", "assistant"]
    assert engine.requests[0].prompt_ids == engine.requests[1].prompt_ids


def test_a_question_to_which_nothing_was_said_is_taken_back() -> None:
    session, engine = session_of(Said(hangs=True), answer_in("react"))

    def stop_once_the_model_is_asked() -> None:
        while not engine.requests:
            time.sleep(0.001)
        session.stop()

    threading.Thread(target=stop_once_the_model_is_asked, daemon=True).start()
    assert list(session.ask("2 + 3?"))[-1].kind == "stopped"
    assert session.history == ()
    assert list(session.retry())[-1].text == "It is 5."


def test_the_wait_for_a_tool_is_stopped_and_every_call_has_a_result() -> None:
    begun, free, waited = threading.Event(), threading.Event(), threading.Event()

    def wait(arguments: dict) -> str:
        begun.set()
        free.wait(120)
        waited.set()
        return "too late"

    engine = ScriptedEngine(call_in("react", ToolCall("wait")), answer_in("react"))
    session = AgentSession(engine, ToolBox([Tool(ToolSpec("wait"), wait)]))
    threading.Thread(target=lambda: (begun.wait(120), session.stop())).start()
    events = list(session.ask("?"))
    assert not waited.is_set(), "the tool still waits"
    free.set()
    assert events[-1].kind == "stopped" and steps(events)[0].observation == "stopped by the user"
    assert [message.role for message in session.history] == ["user", "assistant", "tool"]
    assert list(session.ask("go on"))[-1].text == "It is 5."


def test_who_stops_iterating_stops_the_work() -> None:
    session, _ = session_of(Said("Thought:I wo", hangs=True), answer_in("react"))
    events = session.ask("?")
    next(events)
    assert session.is_busy
    with pytest.raises(ConfigError, match="a question is being worked on; stop it first"):
        session.clear()
    with pytest.raises(ConfigError, match="a question is being worked on"):
        next(session.ask("another?"))
    events.close()
    assert not session.is_busy and session.history[-1].loss is False
    session.clear()
    assert session.history == ()


def test_a_fault_of_the_engine_takes_the_question_back_and_the_session_goes_on() -> None:
    faulty = Said("Thou", error=XAgentError("out of memory"))
    session, _ = session_of(answer_in("react"), faulty, answer_in("react", "6"))
    list(session.ask("2 + 3?"))
    with pytest.raises(XAgentError, match="out of memory"):
        list(session.ask("3 + 3?"))
    assert len(session.history) == 2 and not session.is_busy
    assert list(session.retry())[-1].text == "6"
    assert session.history[2].content == "3 + 3?"


def test_editing_drops_what_follows_and_retry_asks_the_edited_question() -> None:
    session, engine = session_of(call_in("react"), answer_in("react"), answer_in("react", "It is 7."))
    list(session.ask("2 + 3?"))
    session.edit(3, "Five.")
    assert session.history[3] == Message("assistant", "Five.", reasoning="Done.")
    assert session.to_record()["messages"][-1]["content"] == "Five."
    session.edit(0, "3 + 4?")
    assert session.history == (Message("user", "3 + 4?"),)
    assert list(session.retry())[-1].text == "It is 7."
    assert "3 + 4?" in engine.shown[2] and "2 + 3?" not in engine.shown[2]
    with pytest.raises(ConfigError, match="there is no message 9: the history has 2"):
        session.edit(9, "")


@pytest.mark.parametrize("protocol", list(PROTOCOLS))
def test_a_record_is_loaded_and_the_conversation_goes_on_as_if_it_had_not_ended(protocol: str) -> None:
    session, engine = session_of(call_in(protocol), "so", answer_in(protocol), answer_in(protocol), protocol=protocol, system="S")
    list(session.ask("2 + 3?"))
    loaded, other = session_of(answer_in(protocol), protocol=protocol)
    loaded.load(json.loads(json.dumps(session.to_record())))
    assert loaded.system == "S" and len(loaded.history) == len(session.history)
    list(session.ask("more"))
    list(loaded.ask("more"))
    assert other.shown[-1] == engine.shown[-1]


def test_what_cannot_be_loaded_is_refused_and_the_history_stays() -> None:
    session, _ = session_of(call_in("react"), answer_in("react"))
    list(session.ask("2 + 3?"))
    plain, _ = session_of("Hello!", tools=None)
    list(plain.ask("Hi"))
    with pytest.raises(ConfigError, match="offers tools that are not here: add_numbers; give them with --tools"):
        plain.load(session.to_record())
    with pytest.raises(DataError):
        plain.load({"messages": [{"role": "narrator", "content": "x"}]})
    assert len(plain.history) == 2


def test_a_new_system_text_clears_the_history() -> None:
    session, engine = session_of("Hello!", "Ahoy!", tools=None)
    list(session.ask("Hi"))
    session.set_system("You are a pirate.")
    assert session.history == () and session.system == "You are a pirate."
    list(session.ask("Hi"))
    assert engine.shown[1] == "<|im_start|>system\nYou are a pirate.<|im_end|>\n" + engine.shown[0]


def test_what_cannot_be_asked_is_refused() -> None:
    session, _ = session_of(tools=None)
    with pytest.raises(ConfigError, match="nothing was asked yet"):
        list(session.retry())
    with pytest.raises(ConfigError, match="the question is empty"):
        session.ask("  ")
    with pytest.raises(ConfigError, match="waits for no observation"):
        session.observe("5")
    with pytest.raises(ConfigError, match="max_turn"):
        session_of(max_turn=0)
    with pytest.raises(ConfigError, match="language must be one of en, zh"):
        session_of(language="fr")
    with pytest.raises(ConfigError, match="temperature must be a number >= 0"):
        session_of(temperature=-1.0)


def test_the_model_goes_on_in_the_same_turn_after_a_typed_observation() -> None:
    call = "Thought: look\nAction: look\nAction Input: {}\n"
    session, engine = session_of(call + "Observation: made up", "Final Answer: an owl", tools=None, stop=("Observation:",))
    events = list(session.ask("What is there?"))
    assert words(events, 0) == f"{call}Observation:" and events[-1] == Ended("the model waits for an observation", "observation")
    assert session.awaits_observation
    events = list(session.observe("an owl"))
    assert events[-1].text == "Final Answer: an owl" and not session.awaits_observation
    assert session.history[1:] == (Message("assistant", f"{call}Observation: an owl\nFinal Answer: an owl"),)
    finished = Conversation(session.history)
    trained = encode(render(finished, engine.prompts.template, "react"), engine.prompts.tokenizer).input_ids
    assert trained[: len(engine.requests[1].prompt_ids)] == list(engine.requests[1].prompt_ids)


def test_a_fault_after_an_observation_leaves_the_model_waiting() -> None:
    broken = Said("Fi", error=XAgentError("out of memory"))
    session, _ = session_of("A\nResponse: x", broken, "Final Answer: 5", tools=None, stop=("Response:",))
    list(session.ask("?"))
    with pytest.raises(XAgentError):
        list(session.observe("5"))
    assert session.awaits_observation
    list(session.observe("5"))
    assert session.history[1].content == "A\nResponse:5\nFinal Answer: 5"


def test_half_a_character_in_a_call_ends_nothing(tmp_path: Path) -> None:
    """A model can write it as JSON's escape; its tool gets it, the model reads U+FFFD, and the record is as it wrote."""
    heard = []

    def echo(arguments: dict[str, str]) -> str:
        heard.append(arguments["text"])
        return arguments["text"]

    spec = ToolSpec("echo", "Say it again.", {"type": "object", "properties": {"text": {"type": "string"}}})
    engine = ScriptedEngine('Thought:x\nAction:echo\nAction Input:{"text": "a\\ud83d"}', answer_in("react"))
    session = AgentSession(engine, ToolBox([Tool(spec, echo)]))
    events = list(session.ask("Say it."))
    assert heard == ["a\ud83d"] and steps(events)[0].observation == "a\ufffd" and isinstance(events[-1], Answered)
    record = session.to_record()
    assert '{"text": "a\\ud83d"}' in record["messages"][1]["content"], "as the model wrote it: the escape"
    path = save_record(str(tmp_path / "said.jsonl"), record)
    assert load_record(str(path)) == record
    with pytest.raises(DataError, match="half a surrogate pair"):
        list(session.ask("And \ud83d?"))
    half = {"messages": [{"role": "user", "content": "\ud83d"}]}
    assert load_record(str(save_record(str(path), half))) == half
