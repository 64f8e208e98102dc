"""Chat completions with the openai package: tools, choices, streams, and streams that equal what is not streamed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted import ScriptedEngine, serving

from xagent.chat.message import Message, ToolCall
from xagent.chat.protocol import PROTOCOLS, get_protocol
from xagent.serving.chat import ChatCompletion
from xagent.serving.parameters import ChatParameters, read_parameters
from xagent.serving.service import ServerSettings, Service

TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "Look.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
    for name in ("weather", "news")
]
ASK = [{"role": "user", "content": "Rain in Paris?"}]
NAMES = sorted(PROTOCOLS)
THINKING = [name for name in NAMES if name.startswith("react")]


def said(protocol: str, *calls: ToolCall, content: str = "", reasoning: str | None = None) -> str:
    return get_protocol(protocol).render_reply(Message("assistant", content, reasoning, calls))


def client(address: str, **more: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{address}/v1", api_key="EMPTY", max_retries=0, **more)


def put_together(chunks: Iterator[Any]) -> dict[str, Any]:
    """Fold a stream's chunks as clients do; chunks as JSON objects."""
    choices: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            made = choices.setdefault(
                choice["index"], {"content": "", "reasoning": "", "calls": [], "logprobs": [], "reason": None}
            )
            delta = choice["delta"]
            made["content"] += delta.get("content") or ""
            made["reasoning"] += delta.get("reasoning_content") or ""
            for call in delta.get("tool_calls") or ():
                if call.get("id"):
                    assert call["index"] == len(made["calls"]) and call["type"] == "function"
                    made["calls"].append([call["function"]["name"], ""])
                made["calls"][call["index"]][1] += call["function"].get("arguments") or ""
            made["logprobs"] += (choice.get("logprobs") or {}).get("content") or []
            assert made["reason"] is None, "nothing follows the finish reason"
            made["reason"] = choice["finish_reason"]
    return choices


def as_folded(response: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """Give a whole response in the same form."""
    return {
        choice["index"]: {
            "content": choice["message"]["content"] or "",
            "reasoning": choice["message"].get("reasoning_content", ""),
            "calls": [
                [call["function"]["name"], call["function"]["arguments"]] for call in choice["message"].get("tool_calls", ())
            ],
            "logprobs": (choice["logprobs"] or {}).get("content") or [],
            "reason": choice["finish_reason"],
        }
        for choice in response["choices"]
    }


def both_ways(text: str, protocol: str, **request: Any) -> tuple[dict[int, Any], dict[int, Any]]:
    """Give the same reply streamed and not, without a network."""

    async def ask(stream: bool) -> Any:
        service = Service(ScriptedEngine(lambda _: text, protocol), ServerSettings("scripted"))
        body = {"model": "scripted", "messages": ASK, "max_tokens": 4000, **request}
        completion = ChatCompletion(service, read_parameters(ChatParameters, body)[0])
        await completion.begin()
        try:
            return [chunk async for chunk in completion.chunks()] if stream else await completion.whole()
        finally:
            completion.close()
            assert service.running == 0

    return put_together(asyncio.run(ask(True))), as_folded(asyncio.run(ask(False)))


# What was streamed is what is not


marks = st.sampled_from(
    ["Action: f\n", "Action Input: ", '{"a": 1}', "{'a': True}", "<tool_call>\n", '{"name": "f", "arguments": {"x": "y"}}', "\n",
     "</tool_call>", "<think>", "</think>", '\n{"name": "f", "parameters": {', "}}", "Thought: ", "\nFinal Answer: ",
     "\nObservation:", "<|action_start|><|plugin|>\n", "<|action_end|>"]
)  # fmt: skip
texts = st.lists(marks | st.text(max_size=8), max_size=10).map("".join).filter(lambda text: "\0" not in text)


@pytest.mark.parametrize("protocol", NAMES)
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=texts, cut=st.integers(1, 120), one=st.booleans(), logprobs=st.booleans())
def test_a_stream_holds_what_the_whole_reply_holds(protocol: str, text: str, cut: int, one: bool, logprobs: bool) -> None:
    request: dict[str, Any] = {"tools": TOOLS, "max_tokens": cut, "parallel_tool_calls": not one, "logprobs": logprobs}
    streamed, whole = both_ways(text, protocol, **request)
    if streamed[0]["reason"] == "tool_calls":  # how many tokens came behind the end depends on when the engine heard of it
        streamed[0]["logprobs"] = whole[0]["logprobs"] = []
    assert streamed == whole


@pytest.mark.parametrize("protocol", NAMES)
def test_calls_come_back_as_calls(protocol: str) -> None:
    calls = (ToolCall("weather", {"city": "Paris", "days": [1, 2]}), ToolCall("news", {}))
    streamed, whole = both_ways(said(protocol, *calls, content="I look.", reasoning="hm"), protocol, tools=TOOLS)
    assert streamed == whole
    expected = [["weather", '{"city": "Paris", "days": [1, 2]}'], ["news", "{}"]]
    react = protocol.startswith("react")
    assert whole[0]["calls"] == expected and whole[0]["reason"] == "tool_calls"
    assert (whole[0]["content"], whole[0]["reasoning"]) == (("", "hm\nI look.") if react else ("I look.", "hm"))


@pytest.mark.parametrize("protocol", NAMES)
def test_an_answer_comes_back_as_text(protocol: str) -> None:
    streamed, whole = both_ways(said(protocol, content="It rains.\n\nBye"), protocol, tools=TOOLS)
    assert streamed == whole
    assert (whole[0]["content"], whole[0]["calls"], whole[0]["reason"]) == ("It rains.\n\nBye", [], "stop")


@pytest.mark.parametrize("protocol", NAMES)
def test_a_reply_cut_inside_a_call_says_length_and_calls_nothing_that_can_run(protocol: str) -> None:
    text = said(protocol, ToolCall("weather", {"city": "Paris"}))
    streamed, whole = both_ways(text, protocol, tools=TOOLS, max_tokens=text.index("ris"))
    assert streamed == whole
    assert (whole[0]["reason"], whole[0]["calls"]) == ("length", [["weather", '{"city": "Pa']])


def test_without_tools_a_reply_is_the_text_whatever_it_looks_like() -> None:
    text = "Thought: hm\nAction: f\nAction Input: {}\n"
    assert both_ways(text, "react")[1][0]["content"] == text
    assert both_ways(" <tool_call>\n", "hermes")[1][0]["content"] == " <tool_call>\n"


# Over the wire


def test_calls_and_results_round_trip_through_the_client() -> None:
    first = said("hermes", ToolCall("weather", {"city": "Paris"}), ToolCall("news", {"city": "Rome"}), content="I look.")
    engine = ScriptedEngine([first, "Rain, and no news."], "hermes")
    with serving(engine) as (_, address), client(address) as api:
        messages: list[Any] = [*ASK]
        response = api.chat.completions.create(model="scripted", messages=messages, tools=TOOLS)
        choice = response.choices[0]
        assert (choice.finish_reason, choice.message.content) == ("tool_calls", "I look.")
        calls = choice.message.tool_calls
        assert calls and [call.function.name for call in calls] == ["weather", "news"]
        assert len({call.id for call in calls}) == 2 and all(call.id.startswith("call_") for call in calls)
        messages.append(choice.message)
        messages += [
            {"role": "tool", "tool_call_id": call.id, "content": text}
            for call, text in zip(calls[::-1], ("none", "rain"), strict=True)
        ]
        response = api.chat.completions.create(model="scripted", messages=messages, tools=TOOLS)
        assert response.choices[0].message.content == "Rain, and no news."
        assert response.choices[0].finish_reason == "stop"
    asked = engine.prompt()
    assert asked.index("<tool_response>\nrain") < asked.index("<tool_response>\nnone"), "results stand in the calls' order"
    assert engine.requests[0].temperature == 0.0 and engine.requests[0].max_new_tokens == 2048


def test_a_stream_through_the_client_with_usage() -> None:
    text = said("react", ToolCall("weather", {"city": "Paris"}), reasoning="I look")
    with serving(ScriptedEngine(lambda _: text)) as (_, address), client(address) as api:
        options: Any = {"include_usage": True}
        stream = api.chat.completions.create(model="scripted", messages=ASK, tools=TOOLS, stream=True, stream_options=options)  # type: ignore[call-overload]
        chunks = [chunk.model_dump() for chunk in stream]
    made = put_together(iter(chunks))[0]
    assert made["calls"] == [["weather", '{"city": "Paris"}']] and made["reasoning"] == "I look"
    assert made["reason"] == "tool_calls"
    pieces = [chunk for chunk in chunks for choice in chunk["choices"] if choice["delta"].get("tool_calls")]
    assert len(pieces) > 10, "arguments come in deltas"
    assert all(chunk["usage"] is None for chunk in chunks[:-1]) and chunks[-1]["choices"] == []
    usage = chunks[-1]["usage"]
    assert usage["completion_tokens"] == len(text) and usage["total_tokens"] == usage["prompt_tokens"] + len(text)


def test_the_asynchronous_client_and_its_stream_helper() -> None:
    async def talk(address: str) -> tuple[str, list[str]]:
        async with openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="EMPTY", max_retries=0) as api:
            messages: Any = ASK
            whole = await api.chat.completions.create(model="scripted", messages=messages)
            stream = await api.chat.completions.create(model="scripted", messages=messages, stream=True)
            return str(whole.choices[0].message.content), [str(chunk.choices[0].delta.content) async for chunk in stream]

    with serving(ScriptedEngine(lambda _: "Yes, 雨。")) as (_, address):
        whole, pieces = asyncio.run(talk(address))
    assert whole == "".join(pieces) == "Yes, 雨。"
    assert len(pieces) == 9  # the role, seven characters, the end


def test_several_replies_have_seeds_of_their_own() -> None:
    engine = ScriptedEngine(lambda request: f"seed {request.seed}")
    with serving(engine) as (_, address), client(address) as api:
        response = api.chat.completions.create(model="scripted", messages=ASK, n=3, seed=7, temperature=0.9, top_p=0.5)  # type: ignore[arg-type]
        assert [choice.message.content for choice in response.choices] == ["seed 7", "seed 8", "seed 9"]
        assert [choice.index for choice in response.choices] == [0, 1, 2]
        assert response.usage and response.usage.completion_tokens == 18
        assert response.usage.prompt_tokens == len(engine.requests[0].prompt_ids)
        stream = api.chat.completions.create(model="scripted", messages=ASK, n=3, seed=7, stream=True)  # type: ignore[arg-type]
        made = put_together(chunk.model_dump() for chunk in stream)
    assert [made[index]["content"] for index in range(3)] == ["seed 7", "seed 8", "seed 9"]
    assert (engine.requests[0].temperature, engine.requests[0].top_p) == (0.9, 0.5)


def test_stop_words_of_the_request_and_of_the_server() -> None:
    with (
        serving(ScriptedEngine(lambda _: "a\nObservation: b END c"), stop_words=("Observation:",)) as (_, address),
        client(address) as api,
    ):
        response = api.chat.completions.create(model="scripted", messages=ASK, stop="END")  # type: ignore[arg-type]
        assert response.choices[0].message.content == "a\nObservation:", "the server's own stay part of the reply"
    with serving(ScriptedEngine(lambda _: "a\nObservation: b END c")) as (_, address), client(address) as api:
        for stop in ("END", ["x", "END"]):
            response = api.chat.completions.create(model="scripted", messages=ASK, stop=stop)  # type: ignore[arg-type]
            assert response.choices[0].message.content == "a\nObservation: b "
            assert response.choices[0].finish_reason == "stop"


def test_logprobs() -> None:
    with serving(ScriptedEngine(lambda _: "ab")) as (_, address), client(address) as api:
        response = api.chat.completions.create(model="scripted", messages=ASK, logprobs=True, top_logprobs=2)  # type: ignore[arg-type]
        told = response.choices[0].logprobs
        assert told and told.content
        assert [(token.token, token.logprob, token.bytes) for token in told.content] == [("a", -0.5, [97]), ("b", -0.5, [98])]
        assert [(token.token, token.logprob) for token in told.content[0].top_logprobs] == [("x", -1.0), ("y", -2.0)]
        stream = api.chat.completions.create(model="scripted", messages=ASK, logprobs=True, stream=True)  # type: ignore[arg-type]
        assert [token["token"] for token in put_together(chunk.model_dump() for chunk in stream)[0]["logprobs"]] == ["a", "b"]


# Tool choice


@pytest.mark.parametrize("protocol", [name for name in NAMES if name not in THINKING])
@pytest.mark.parametrize("named", [False, True])
def test_a_call_is_forced_by_its_opening(protocol: str, named: bool) -> None:
    call = ToolCall("news", {"city": "Rome"})
    whole_reply = said(protocol, call)
    if named:
        cut = whole_reply.index('{"city"') + 1
    else:
        cut = len(whole_reply[: whole_reply.index("news")].rstrip('" '))
    opening, rest = whole_reply[:cut], whole_reply[cut:]
    choice: Any = {"type": "function", "function": {"name": "news"}} if named else "required"
    engine = ScriptedEngine(lambda _: rest + "\nand more", protocol)
    with serving(engine) as (_, address), client(address) as api:
        response = api.chat.completions.create(model="scripted", messages=ASK, tools=TOOLS, tool_choice=choice)  # type: ignore[call-overload]
        stream = api.chat.completions.create(model="scripted", messages=ASK, tools=TOOLS, tool_choice=choice, stream=True)  # type: ignore[call-overload]
        streamed = put_together(chunk.model_dump() for chunk in stream)[0]
    assert engine.prompt().endswith(opening)
    made = response.choices[0]
    assert [(one.function.name, one.function.arguments) for one in made.message.tool_calls] == [("news", '{"city": "Rome"}')]
    assert streamed["calls"] == [["news", '{"city": "Rome"}']]
    assert made.finish_reason == streamed["reason"] == "tool_calls"
    if named:
        assert engine.streams[0].cancelled.is_set() and made.message.content is None, "one call was asked for"


@pytest.mark.parametrize("protocol", THINKING)
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize(
    ("begun", "shown", "thought"),
    [
        ("Thought: I look.\nFinal Answer: It rains.", "Thought: I look.\n", "I look."),
        ("Thought: I look. Final Answer: It rains.", "Thought: I look. ", "I look."),
        ("Thought: I look.\nAction : weather\nAction Input: {}", "Thought: I look.\n", "I look."),
        ("Thought: I look.\n  Action：weather", "Thought: I look.\n  ", "I look."),
        ("Thought: I look.\nResponse: rain", "Thought: I look.\n", "I look."),
        ("Thought: I look.", "Thought: I look.", "I look."),
        ("It rains.", "It rains.", "It rains."),
        ("Final Answer: It rains.", "", None),
        ("", "", None),
    ],
)
def test_a_forced_call_comes_behind_the_thought(protocol: str, named: bool, begun: str, shown: str, thought: str | None) -> None:
    call = said(protocol, ToolCall("news", {"city": "Rome"}))
    cut = call.index('"city"') if named else call.index(":") + 1
    opening, rest = call[:cut], call[cut:]
    engine = ScriptedEngine([begun, rest] * 2, protocol)
    choice = {"type": "function", "function": {"name": "news"}} if named else "required"
    request: Any = {"model": "scripted", "messages": ASK, "tools": TOOLS, "tool_choice": choice}
    with serving(engine) as (_, address), client(address) as api:
        whole = api.chat.completions.create(**request)
        streamed = put_together(chunk.model_dump() for chunk in api.chat.completions.create(**request, stream=True))[0]
    made = whole.choices[0]
    assert [(one.function.name, one.function.arguments) for one in made.message.tool_calls] == [("news", '{"city": "Rome"}')]
    assert (made.message.content, getattr(made.message, "reasoning_content", None)) == (None, thought)
    assert (streamed["calls"], streamed["content"], streamed["reasoning"]) == ([["news", '{"city": "Rome"}']], "", thought or "")
    assert made.finish_reason == streamed["reason"] == "tool_calls"
    line_end = "" if not shown.strip(" ") or shown.rstrip(" ").endswith("\n") else "\n"
    assert engine.prompt(1) == engine.prompt(3) == engine.prompt(0) + shown + line_end + opening
    assert whole.usage.completion_tokens == len(shown) + len(rest), "what was given is not counted"


def test_a_thought_may_use_up_the_tokens_or_meet_the_clients_stop_word() -> None:
    text = "Thought: I look and look.\nFinal Answer: It rains."
    for limits, reason, words in (({"max_tokens": 15}, "length", "I look"), ({"stop": [" and"]}, "stop", "I look")):
        engine = ScriptedEngine(lambda _: text)
        with serving(engine) as (_, address), client(address) as api:
            request: Any = {"model": "scripted", "messages": ASK, "tools": TOOLS, "tool_choice": "required", **limits}
            made = api.chat.completions.create(**request).choices[0]
        assert len(engine.requests) == 1, "no call can follow"
        assert (made.finish_reason, made.message.tool_calls, made.message.reasoning_content) == (reason, None, words)


def test_tool_choice_none_offers_no_tools_and_calls_nothing() -> None:
    engine = ScriptedEngine(lambda _: "It may rain.", "react")
    with serving(engine) as (_, address), client(address) as api:
        response = api.chat.completions.create(model="scripted", messages=ASK, tools=TOOLS, tool_choice="none")  # type: ignore[call-overload]
        assert response.choices[0].message.content == "It may rain." and "weather" not in engine.prompt()
        call = {"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
        history = [*ASK, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "a", "content": "rain"}]
        response = api.chat.completions.create(model="scripted", messages=history, tools=TOOLS, tool_choice="none")  # type: ignore[call-overload]
        assert response.choices[0].message.content == "It may rain." and response.choices[0].finish_reason == "stop"
        assert engine.prompt().endswith("Final Answer:"), "the protocol's own beginning of an answer"


def test_one_call_where_parallel_ones_are_not_wanted() -> None:
    text = said("hermes", ToolCall("weather"), ToolCall("news"))
    _, whole = both_ways(text, "hermes", tools=TOOLS, parallel_tool_calls=False)
    assert whole[0]["calls"] == [["weather", "{}"]]


# Models


def test_models_and_adapters() -> None:
    engine = ScriptedEngine(lambda request: f"by {request.adapter}", adapters=("agent",))
    with serving(engine, model_name="org/base") as (_, address), client(address) as api:
        assert [model.id for model in api.models.list().data] == ["org/base", "agent"]
        assert api.models.retrieve("org/base").id == "org/base"
        for name, adapter in (("org/base", None), ("agent", "agent")):
            response = api.chat.completions.create(model=name, messages=ASK)  # type: ignore[arg-type]
            assert (response.choices[0].message.content, response.model) == (f"by {adapter}", name)
        for ask in (lambda: api.models.retrieve("gpt"), lambda: api.chat.completions.create(model="gpt", messages=ASK)):  # type: ignore[arg-type]
            with pytest.raises(openai.NotFoundError, match="there is no model 'gpt'; there are: org/base, agent") as caught:
                ask()
            assert caught.value.code == "model_not_found"


# Plain completions


def test_completions() -> None:
    engine = ScriptedEngine(lambda request: "bc" if len(request.prompt_ids) < 3 else "other")
    with serving(engine) as (_, address), client(address) as api:
        response = api.completions.create(model="scripted", prompt="a", logprobs=1, max_tokens=9)
        assert (response.choices[0].text, response.choices[0].finish_reason) == ("bc", "stop")
        told = response.choices[0].logprobs
        assert told and (told.tokens, told.text_offset, told.top_logprobs) == (["b", "c"], [0, 1], [{"x": -1.0}, {"x": -1.0}])
        response = api.completions.create(model="scripted", prompt=["a", "long one"], n=2)
        assert [choice.text for choice in response.choices] == ["bc", "bc", "other", "other"]
        read = sum(len(request.prompt_ids) for request in engine.requests[1::2])
        assert response.usage and (response.usage.prompt_tokens, response.usage.completion_tokens) == (read, 14)
        stream = api.completions.create(model="scripted", prompt=[7, 8], max_tokens=1, stream=True)
        chunks = list(stream)
        assert "".join(chunk.choices[0].text for chunk in chunks) == "b" and chunks[-1].choices[0].finish_reason == "length"
        for prompt in ([], [[]], [10**9]):
            with pytest.raises(openai.BadRequestError):
                api.completions.create(model="scripted", prompt=prompt)


def test_json_is_dumped_as_the_client_reads_it() -> None:
    response = both_ways("\ud83d", "react")[1][0]["content"]
    assert json.loads(json.dumps(response)) == "\ud83d"
