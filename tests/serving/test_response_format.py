"""``response_format`` with the openai package, from the nano base, which was never asked for JSON in its life."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

import jsonschema
import openai
import pytest
from pydantic import BaseModel, ConfigDict, Field
from scripted import ScriptedEngine, serving

from xagent.errors import ConfigError
from xagent.inference.loading import load_engine

pytest.importorskip("llguidance")

ASK: Any = [{"role": "user", "content": "Where shall we go, and for how long? Answer in JSON."}]


class Trip(BaseModel):
    """What the client wants to read."""

    model_config = ConfigDict(extra="forbid")
    city: str = Field(max_length=12)
    days: int = Field(ge=1, le=30)
    by: Literal["train", "bus", "飞机"]
    stops: list[bool] = Field(max_length=3)


FORMAT: Any = {"type": "json_schema", "json_schema": {"name": "trip", "schema": Trip.model_json_schema(), "strict": True}}


@pytest.fixture(scope="module")
def api() -> Iterator[openai.OpenAI]:
    # In bf16 what is drawn now and then depends on which others are in the batch, and so on when each came.
    engine = load_engine("xagent:nano/base", dtype="fp32", max_batch_size=8)
    with serving(engine, model_name="base", max_tokens=200) as (_, address):
        with openai.OpenAI(base_url=f"{address}/v1", api_key="EMPTY", max_retries=0, timeout=300) as client:
            yield client
    engine.close()


def test_the_client_parses_a_reply_into_its_own_class(api: openai.OpenAI) -> None:
    choice = api.chat.completions.parse(model="base", messages=ASK, response_format=Trip).choices[0]
    assert isinstance(choice.message.parsed, Trip) and choice.finish_reason == "stop"
    assert json.loads(choice.message.content or "") == choice.message.parsed.model_dump()


def test_many_drawn_replies_and_free_ones_beside_them(api: openai.OpenAI) -> None:
    request: Any = {"model": "base", "messages": ASK, "n": 6, "temperature": 1.5, "seed": 20}
    replies = [choice.message.content for choice in api.chat.completions.create(**request, response_format=FORMAT).choices]
    assert len(set(replies)) == 6, "drawn, each for itself"
    for reply in replies:
        jsonschema.validate(json.loads(reply or ""), Trip.model_json_schema())
    again = api.chat.completions.create(**request, response_format=FORMAT)
    assert [choice.message.content for choice in again.choices] == replies


def test_streams_hold_the_same_reply(api: openai.OpenAI) -> None:
    request: Any = {"model": "base", "messages": ASK, "response_format": FORMAT}
    whole = api.chat.completions.create(**request).choices[0].message.content
    chunks = list(api.chat.completions.create(**request, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole and len(chunks) > 5
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_any_object(api: openai.OpenAI) -> None:
    messages = [*ASK, {"role": "assistant", "content": '{"go": 1}'}, *ASK]
    request: Any = {"model": "base", "messages": messages, "response_format": {"type": "json_object"}}
    drawn = api.chat.completions.create(**request, n=8, temperature=1.3, seed=0, max_tokens=100).choices
    whole = [choice for choice in drawn if choice.finish_reason == "stop"]
    assert whole, "some end by themselves"
    for choice in drawn:
        assert choice.finish_reason in ("stop", "length") and (choice.message.content or "").startswith("{")
    assert all(isinstance(json.loads(choice.message.content or ""), dict) for choice in whole)


def test_a_schema_that_cant_be_followed_is_400(api: openai.OpenAI) -> None:
    schema: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "array", "uniqueItems": True}}}
    with pytest.raises(openai.BadRequestError, match='Unimplemented keys: \\["uniqueItems"\\]') as caught:
        api.chat.completions.create(model="base", messages=ASK, response_format=schema)
    assert caught.value.param == "response_format"


def test_an_engine_without_the_library_is_400() -> None:
    def refuse(_: Any) -> str:
        raise ConfigError("llguidance is not installed: pip install 'xagent[json]'")

    with serving(ScriptedEngine(refuse)) as (service, address):
        with openai.OpenAI(base_url=f"{address}/v1", api_key="EMPTY", max_retries=0) as client:
            with pytest.raises(openai.BadRequestError, match=r"pip install 'xagent\[json\]'"):
                client.chat.completions.create(model="scripted", messages=ASK, response_format={"type": "json_object"})
        assert service.running == 0


def test_the_schema_reaches_the_engine_and_plain_text_is_free() -> None:
    engine = ScriptedEngine(lambda _: "{}")
    with serving(engine) as (_, address):
        with openai.OpenAI(base_url=f"{address}/v1", api_key="EMPTY") as client:
            for kind in ("text", "json_object"):
                client.chat.completions.create(model="scripted", messages=ASK, response_format={"type": kind})  # type: ignore[call-overload]
            client.chat.completions.create(model="scripted", messages=ASK, response_format=FORMAT)
    schemas = [request.json_schema for request in engine.requests]
    assert schemas[:2] == [None, '{"type": "object"}'] and json.loads(schemas[2] or "") == Trip.model_json_schema()
