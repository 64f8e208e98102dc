"""Whole client programs, as their users write them: an observation appended by hand, and a function called in a loop."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import openai

FIRE_QUESTION = "输入图片是/tmp/1.jpg,协助判断图片中是否存在着火点"
FIRE_SEEN = "[{'coordinate': [101.1, 200.9], 'on_fire': True}]"
GPA_QUESTION = "我的成绩是 A, A, B, C,学时是 3, 4, 3, 2"
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


def fire_program(address: str, system: str) -> tuple[str, str]:
    """Ask, append the observation to the reply, and let the model go on: with ``stop`` and ``seed``, the second time streamed.

    It is SWIFT's client: what the first request gave, without or with the stop word at its end, begins the second one's turn.
    """
    client = openai.OpenAI(api_key="EMPTY", base_url=f"{address}/v1")
    model = client.models.list().data[0].id
    messages: list[Any] = [{"role": "system", "content": system}, {"role": "user", "content": FIRE_QUESTION}]
    response = client.chat.completions.create(model=model, messages=messages, stop=["Observation:"], seed=42)
    first = response.choices[0].message.content or ""
    messages.append({"role": "assistant", "content": f"{first}\n{FIRE_SEEN}"})
    stream = client.chat.completions.create(model=model, messages=messages, stop=["Observation:"], stream=True, seed=42)
    pieces = []
    for chunk in stream:
        pieces.append(chunk.choices[0].delta.content)
    assert None not in pieces, "a program may print each piece as it is"
    return first, "".join(map(str, pieces))


def calculate_gpa(grades: Sequence[str], hours: Sequence[int]) -> float:
    scores = {"A": 4, "B": 3, "C": 2}
    return sum(scores[grade] * hour for grade, hour in zip(grades, hours, strict=True)) / sum(hours)


def gpa_program(address: str, model: str) -> tuple[dict[str, Any], float, str | None]:
    """LLaMA-Factory's client: the call comes back as a message of role ``function``, the result without the call's id.

    Give the arguments that the model called the function with, what it returned, and the model's answer.
    """
    client = openai.OpenAI(base_url=f"{address}/v1", api_key="0")
    messages: list[Any] = [{"role": "user", "content": GPA_QUESTION}]
    tools: Any = [GPA_TOOL]
    result = client.chat.completions.create(messages=messages, model=model, tools=tools)
    called: Any = (result.choices[0].message.tool_calls or [])[0]
    name, arguments = called.function.name, json.loads(called.function.arguments)
    messages.append({"role": "function", "content": json.dumps({"name": name, "argument": arguments}, ensure_ascii=False)})
    gpa = {"calculate_gpa": calculate_gpa}[name](**arguments)
    messages.append({"role": "tool", "content": json.dumps({"gpa": gpa}, ensure_ascii=False)})
    result = client.chat.completions.create(messages=messages, model=model, tools=tools)
    return arguments, gpa, result.choices[0].message.content
