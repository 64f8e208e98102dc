"""Client programs against a model that says what it should, in every protocol: what they send arrives as they mean it."""

from __future__ import annotations

import pytest
from client_programs import FIRE_SEEN, fire_program, gpa_program
from scripted import ScriptedEngine, serving

from xagent.chat.message import Message, ToolCall
from xagent.chat.protocol import get_protocol
from xagent.inference.engine import GenerationRequest
from xagent.serving.prompt import line_end_behind_observation

SYSTEM = (
    "Answer the following questions as best you can. You have access to the following APIs:\n"
    "1. fire_recognition: Call this tool to interact with the fire recognition API. Parameters: "
    '[{"name": "image", "description": "The input image to recognize fire", "required": "True"}]\n\n'
    "Use the following format:\n\nThought: ...\nObservation: the result of the action\nBegin!"
)
FIRST = (
    "Thought: I need to check if there is fire.\nAction: fire_recognition\nAction Input: {'image': '/tmp/1.jpg'}\nObservation:"
)
SECOND = "\nFinal Answer: There is fire in the image at coordinates [101.1, 200.9]"


def fire_engine() -> ScriptedEngine:
    """A model that goes on with its own turn behind an observation."""

    def script(request: GenerationRequest) -> str:
        prompt = engine.prompts.tokenizer.decode(request.prompt_ids)
        if prompt.endswith(f"{FIRE_SEEN}\n"):
            return SECOND.lstrip()
        return SECOND if prompt.endswith(FIRE_SEEN) else FIRST + " [made up]"

    engine = ScriptedEngine(script, "react_ms_agent")
    return engine


@pytest.mark.parametrize("kept", [True, False])
def test_an_observation_appended_by_hand(kept: bool) -> None:
    engine = fire_engine()
    words = ("Observation:",) if kept else ()
    with serving(engine, stop_words=words) as (_, address):
        first, second = fire_program(address, SYSTEM)
    assert first == (FIRST if kept else FIRST.removesuffix("Observation:"))
    assert second == SECOND
    assert [request.seed for request in engine.requests] == [42, 42]
    line_end = "\n" if kept else ""  # without the word nothing tells that these are an observation
    expected = f"assistant<|end_header_id|>\n\n{first}\n{FIRE_SEEN}{line_end}"
    assert engine.prompt().endswith(expected), "the turn is open, and as it was"


@pytest.mark.parametrize(
    ("words", "line_end"),
    [
        ("Action: f\nAction Input: {}\nObservation: rain", "\n"),
        ("Action: f\nAction Input: {}\nResponse:[1]", "\n"),
        ("Action: f\nAction Input: {}\nObservation: rain\n", ""),
        ("Action: f\nAction Input: {}\nObservation: rain\nThought: so", ""),
        ("Action: f\nAction Input: {}\nObservation:", ""),
        ("Action: f\nAction Input: {", ""),
        ("Observation: no call was made", ""),
        ("", ""),
    ],
)
def test_a_reply_goes_on_on_a_new_line_behind_an_observation(words: str, line_end: str) -> None:
    assert line_end_behind_observation(words) == line_end


@pytest.mark.parametrize("protocol", ["function_call", "react", "hermes", "llama3_json"])
def test_the_gpa_loop(protocol: str) -> None:
    spoken = get_protocol(protocol)
    call = ToolCall("calculate_gpa", {"grades": ["A", "A", "B", "C"], "hours": [3, 4, 3, 2]})
    called = spoken.render_reply(Message("assistant", tool_calls=(call,)))

    def script(request: GenerationRequest) -> str:
        prompt = engine.prompts.tokenizer.decode(request.prompt_ids)
        if called in prompt and '{"gpa": 3.4166666666666665}' in prompt:
            return spoken.render_reply(Message("assistant", "根据你的成绩和学时,你的平均绩点 (GPA) 为 3.4166666666666665。"))
        return called

    engine = ScriptedEngine(script, protocol)
    with serving(engine, model_name="yi-agent-6b") as (_, address):
        arguments, gpa, answer = gpa_program(address, "yi-agent-6b")
    assert (arguments, gpa) == (call.arguments, 3.4166666666666665)
    assert answer == "根据你的成绩和学时,你的平均绩点 (GPA) 为 3.4166666666666665。"
