"""Generating on CUDA: requests that join and leave, what is drawn, 4-bit. Skipped where there is none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from xagent.chat.message import Conversation, Message
from xagent.inference.engine import GenerationRequest
from xagent.inference.loading import load_engine
from xagent.inference.local import LocalEngine
from xagent.inference.prompting import AgentSettings
from xagent.playground.generate import generate_episodes

pytestmark = [pytest.mark.gpu, pytest.mark.slow]

DEVICE = "cuda"
SETTINGS = AgentSettings("llama3_chat", "react")


def engine_on(device: str, **options) -> LocalEngine:
    return load_engine("xagent:nano/base", defaults=SETTINGS, device=device, **options)


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEngine]:
    with_cuda = engine_on(DEVICE, dtype="fp32", max_batch_size=4)
    yield with_cuda
    with_cuda.close()


def requests(engine: LocalEngine, **options) -> list[GenerationRequest]:
    """Ten prompts of different lengths, with tools."""
    prompts = [
        engine.prompts.prompt_ids(Conversation((Message("user", episode.question),), episode.tools))
        for episode in generate_episodes(10, 3)
    ]
    return [GenerationRequest(tuple(ids), max_new_tokens=24 + 7 * place, **options) for place, ids in enumerate(prompts)]


def replies(engine: LocalEngine, asked: list[GenerationRequest]) -> list[str]:
    """What is said to all of them at once."""
    return [stream.reply().text for stream in [engine.submit(request) for request in asked]]


def test_rows_that_join_and_leave_say_what_they_say_alone_and_on_the_cpu(engine: LocalEngine) -> None:
    asked = requests(engine)
    together = replies(engine, asked)
    assert together == [engine.submit(request).reply().text for request in asked]
    processor = engine_on("cpu", dtype="fp32")
    assert together == replies(processor, asked)
    processor.close()
    assert len(set(together)) > 5


def test_what_is_drawn_depends_on_the_seed_alone(engine: LocalEngine) -> None:
    asked = requests(engine, temperature=0.8, top_p=0.9, seed=7)
    together = replies(engine, asked)
    assert together == [engine.submit(request).reply().text for request in asked]
    assert together != replies(engine, requests(engine, temperature=0.8, top_p=0.9, seed=8))


@pytest.mark.parametrize("options", [{"dtype": "bf16"}, {"dtype": "bf16", "load_in_4bit": True}], ids=["bf16", "4bit"])
def test_half_precision_and_4_bit_say_something(options: dict) -> None:
    engine = engine_on(DEVICE, **options)
    (said,) = replies(engine, requests(engine)[:1])
    assert said.strip()
    engine.close()
