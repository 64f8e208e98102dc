"""The client programs against a model that learned them: the nano base, tuned and served by the true commands.

What is asked is held out, so that the model has to copy what it never saw; the wording is learned by heart, as it should be.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from client_programs import FIRE_QUESTION, GPA_QUESTION, GPA_TOOL, calculate_gpa, fire_program, gpa_program
from served import served
from training_fixtures import caches  # noqa: F401

from xagent import cli
from xagent.config import load_config

FIRE_SYSTEM: str = load_config("qwen2_5_7b_instruct_lora_msagent_e2")["SYSTEM"]
"""The article's system text, as ms-agent's data words it."""
CONFIG = """
from mmengine.config import read_base

with read_base():
    from xagent.configs._base_.agent_sft import *

from xagent.data.formats import sharegpt_tool_map_fn

pretrained_model_name_or_path = "xagent:nano/base"
data_path = {data!r}
max_length = 1024
accumulative_counts = 1
max_epochs = 1
lr = 1e-3
save_steps = 100_000
evaluation_freq = 100_000
quantization_config = None
lora = None  # all weights
model["use_activation_checkpointing"] = False
train_dataset["dataset_map_fn"] = sharegpt_tool_map_fn
train_dataset["protocol"] = "function_call"
train_dataset["train_on_observation_keyword"] = True
"""
MODEL = "yi-agent-6b"


def gpa_record(generator: random.Random) -> dict[str, Any]:
    """ShareGPT's turns, as LLaMA-Factory's data has them."""
    count = generator.choice((3, 4, 4, 5))
    grades = [generator.choice("ABC") for _ in range(count)]
    hours = [generator.randint(1, 5) for _ in range(count)]
    while generator.random() < 0.7 and sum(hours) != 12:  # long fractions: twelfths
        hours = [generator.randint(1, 5) for _ in range(count)]
    question = f"我的成绩是 {', '.join(grades)},学时是 {', '.join(map(str, hours))}"
    if question == GPA_QUESTION:
        return gpa_record(generator)
    gpa = calculate_gpa(grades, hours)
    turns = [
        ("human", question),
        ("function_call", json.dumps({"name": "calculate_gpa", "arguments": {"grades": grades, "hours": hours}})),
        ("observation", json.dumps({"gpa": gpa})),
        ("gpt", f"根据你的成绩和学时,你的平均绩点 (GPA) 为 {gpa}。"),
    ]
    return {"conversations": as_sharegpt(turns), "tools": json.dumps([GPA_TOOL["function"]], ensure_ascii=False)}


def fire_record(generator: random.Random) -> dict[str, Any]:
    """ms-agent's turns: the whole episode is one text of the assistant's."""
    image = f"/tmp/{generator.randint(2, 99)}.jpg"
    place = [generator.randint(100, 3000) / 10, generator.randint(100, 3000) / 10]
    burns = generator.random() < 0.7
    seen = str([{"coordinate": place, "on_fire": True}]) if burns else "[]"
    answer = f"There is fire in the image at coordinates {place}" if burns else "There is no fire in the image"
    turns = [
        ("system", FIRE_SYSTEM),
        ("user", FIRE_QUESTION.replace("/tmp/1.jpg", image)),
        ("assistant", f"{fire_call(image)}\n{seen}\nThought: I now know the final answer\nFinal Answer: {answer}"),
    ]
    return {"conversations": as_sharegpt(turns), "tools": "[]"}


def fire_call(image: str) -> str:
    thought = "Thought: I need to check if there is fire in the image"
    return f"{thought}\nAction: fire_recognition\nAction Input: {{'image': '{image}'}}\nObservation:"


def as_sharegpt(turns: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"from": role, "value": text} for role, text in turns]


@pytest.fixture(scope="module")
def address(caches: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:  # noqa: F811
    """Tune the nano base on both kinds of records for one epoch, convert the checkpoint, and serve it."""
    folder = tmp_path_factory.mktemp("tuned")
    generator = random.Random(0)
    records = [gpa_record(generator) for _ in range(300)] + [fire_record(generator) for _ in range(100)]
    config, data, run, model = (folder / name for name in ("config.py", "records.json", "run", "model"))
    data.write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8")
    config.write_text(CONFIG.format(data=str(data)), encoding="utf-8")
    assert cli.main(["train", str(config), "--work-dir", str(run)]) == 0
    [checkpoint] = run.glob("iter_*.pth")
    assert cli.main(["convert", "pth_to_hf", str(run / "config.py"), str(checkpoint), str(model)]) == 0
    words = [str(model), "--served-model-name", MODEL, "--stop_words", "Observation"]
    with served(folder / "log", *words) as (_, found):
        yield found


@pytest.mark.slow
def test_the_gpa_loop(address: str) -> None:
    arguments, gpa, answer = gpa_program(address, MODEL)
    assert arguments == {"grades": ["A", "A", "B", "C"], "hours": [3, 4, 3, 2]}
    assert gpa == 3.4166666666666665
    assert answer == "根据你的成绩和学时,你的平均绩点 (GPA) 为 3.4166666666666665。"


@pytest.mark.slow
def test_an_observation_appended_by_hand(address: str) -> None:
    first, second = fire_program(address, FIRE_SYSTEM)
    assert first == fire_call("/tmp/1.jpg")
    answer = "There is fire in the image at coordinates [101.1, 200.9]"
    assert second == f"\nThought: I now know the final answer\nFinal Answer: {answer}"


@pytest.mark.slow
def test_streamed_arguments_are_the_same_call(address: str) -> None:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="0") as api:
        messages: Any = [{"role": "user", "content": GPA_QUESTION}]
        stream = api.chat.completions.create(model=MODEL, messages=messages, tools=[GPA_TOOL], stream=True)  # type: ignore[call-overload]
        pieces = [call.function for chunk in stream for call in chunk.choices[0].delta.tool_calls or ()]
    assert pieces[0].name == "calculate_gpa"
    arguments = "".join(piece.arguments or "" for piece in pieces)
    assert json.loads(arguments) == {"grades": ["A", "A", "B", "C"], "hours": [3, 4, 3, 2]}


@pytest.mark.slow
def test_a_forced_call_is_the_call_that_was_trained(address: str) -> None:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="0") as api:
        for choice in ("required", {"type": "function", "function": {"name": "calculate_gpa"}}):
            request: Any = {"model": MODEL, "messages": [{"role": "user", "content": GPA_QUESTION}], "tools": [GPA_TOOL]}
            made = api.chat.completions.create(**request, tool_choice=choice).choices[0]
            [call] = made.message.tool_calls or [None]
            assert (call.function.name, made.message.content, made.finish_reason) == ("calculate_gpa", None, "tool_calls")
            assert json.loads(call.function.arguments) == {"grades": ["A", "A", "B", "C"], "hours": [3, 4, 3, 2]}
