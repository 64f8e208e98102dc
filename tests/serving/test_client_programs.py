"""Whole client programs, as their users write them: the two requests of an observation appended by hand, and the GPA loop."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import openai
import pytest
from scripted import ScriptedEngine, serving

from xagent.chat.message import Message, ToolCall
from xagent.chat.protocol import get_protocol
from xagent.inference.engine import GenerationRequest

QUESTION = "输入图片是/tmp/1.jpg,协助判断图片中是否存在着火点"
SYSTEM = (
    "Answer the following questions as best you can. You have access to the following APIs:\n"
    "1. fire_recognition: Call this tool to interact with the fire recognition API. Parameters: "
    '[{"name": "image", "description": "The input image to recognize fire", "required": "True"}]\n\n'
    "Use the following format:\n\nThought: ...\nObservation: the result of the action\nBegin!"
)
SEEN = "[{'coordinate': [101.1, 200.9], 'on_fire': True}]"
FIRST = (
    "Thought: I need to check if there is fire.\nAction: fire_recognition\nAction Input: {'image': '/tmp/1.jpg'}\nObservation:"
)
SECOND = "\nFinal Answer: There is fire in the image at coordinates [101.1, 200.9]"


def fire_engine() -> ScriptedEngine:
    """A model that goes on with its own turn behind an observation."""

    def script(request: GenerationRequest) -> str:
        prompt = engine.prompts.tokenizer.decode(request.prompt_ids)
        return SECOND if prompt.endswith(SEEN) else FIRST + " [made up]"

    engine = ScriptedEngine(script, "react_ms_agent")
    return engine


def fire_program(address: str) -> tuple[str, str]:
    """Ask, append the observation to the reply, and let the model go on: with ``stop`` and ``seed``, the second time streamed."""
    client = openai.OpenAI(api_key="EMPTY", base_url=f"{address}/v1")
    model = client.models.list().data[0].id
    messages: list[Any] = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}]
    response = client.chat.completions.create(model=model, messages=messages, stop=["Observation:"], seed=42)
    first = response.choices[0].message.content or ""
    messages.append({"role": "assistant", "content": f"{first}\n{SEEN}"})
    stream = client.chat.completions.create(model=model, messages=messages, stop=["Observation:"], stream=True, seed=42)
    pieces = []
    for chunk in stream:
        pieces.append(chunk.choices[0].delta.content)
    assert None not in pieces, "a program may print each piece as it is"
    return first, "".join(map(str, pieces))


@pytest.mark.parametrize("kept", [True, False])
def test_an_observation_appended_by_hand(kept: bool) -> None:
    engine = fire_engine()
    words = ("Observation:",) if kept else ()
    with serving(engine, stop_words=words) as (_, address):
        first, second = fire_program(address)
    assert first == (FIRST if kept else FIRST.removesuffix("Observation:"))
    assert second == SECOND
    assert [request.seed for request in engine.requests] == [42, 42]
    assert engine.prompt().endswith(f"assistant<|end_header_id|>\n\n{first}\n{SEEN}"), "the turn is open, and as it was"


GPA_TOOL = {
    "type": "function",
    "function": {
        "name": "calculate_gpa",
        "description": "根据课程成绩和学时计算 GPA",
        "parameters": {
            "type": "object",
            "properties": {
                "grades": {"type": "array", "items": {"type": "string"}, "description": "课程成绩"},
                "hours": {"type": "array", "items": {"type": "integer"}, "description": "课程学时"},
            },
            "required": ["grades", "hours"],
        },
    },
}


def calculate_gpa(grades: Sequence[str], hours: Sequence[int]) -> float:
    scores = {"A": 4, "B": 3, "C": 2}
    return sum(scores[grade] * hour for grade, hour in zip(grades, hours, strict=True)) / sum(hours)


def gpa_program(address: str, model: str) -> tuple[float, str | None]:
    """LLaMA-Factory's client: the call comes back as a message of role ``function``, the result without the call's id."""
    client = openai.OpenAI(base_url=f"{address}/v1", api_key="0")
    messages: list[Any] = [{"role": "user", "content": "我的成绩是 A, A, B, C,学时是 3, 4, 3, 2"}]
    tools: Any = [GPA_TOOL]
    result = client.chat.completions.create(messages=messages, model=model, tools=tools)
    called: Any = (result.choices[0].message.tool_calls or [])[0]
    name, arguments = called.function.name, json.loads(called.function.arguments)
    messages.append({"role": "function", "content": json.dumps({"name": name, "argument": arguments}, ensure_ascii=False)})
    gpa = {"calculate_gpa": calculate_gpa}[name](**arguments)
    messages.append({"role": "tool", "content": json.dumps({"gpa": gpa}, ensure_ascii=False)})
    result = client.chat.completions.create(messages=messages, model=model, tools=tools)
    return gpa, result.choices[0].message.content


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
        gpa, answer = gpa_program(address, "yi-agent-6b")
    assert gpa == 3.4166666666666665
    assert answer == "根据你的成绩和学时,你的平均绩点 (GPA) 为 3.4166666666666665。"
