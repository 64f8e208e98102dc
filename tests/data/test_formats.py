"""Map functions: rows of every format become conversations."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from xagent.chat.message import Message, ToolCall, ToolSpec
from xagent.chat.turns import flatten
from xagent.data.formats import (
    agent_flan_map_fn,
    alpaca_map_fn,
    anthropic_map_fn,
    chat_map_fn_factory,
    ms_agent_map_fn,
    openai_map_fn,
    pretrain_map_fn,
    query_response_map_fn,
    recognise,
    sharegpt_tool_map_fn,
)
from xagent.data.source import read_records
from xagent.errors import ConfigError, DataError


def test_openai() -> None:
    talk = openai_map_fn(
        {
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": "u", "loss": None},
                {
                    "role": "assistant",
                    "content": None,
                    "reasoning_content": "r",
                    "tool_calls": [
                        {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
                        {"id": "2", "type": "function", "function": {"name": "g", "arguments": {"b": [None]}}},
                    ],
                    "weight": 2,
                },
                {"role": "tool", "content": "x", "tool_call_id": "1", "name": "f"},
                {"role": "function", "content": "y"},
                {"role": "assistant", "content": "done", "loss": False},
                {"role": "assistant", "content": "", "function_call": {"name": "h", "arguments": ""}},
            ],
            "tools": [{"type": "function", "function": {"name": "f"}}],
        }
    )
    assert talk.tools == (ToolSpec("f"),)
    assert talk.messages == (
        Message("system", "s"),
        Message("user", "u"),
        Message("assistant", "", "r", (ToolCall("f", {"a": 1}, "1"), ToolCall("g", {"b": [None]}, "2")), weight=2.0),
        Message("tool", "x", tool_call_id="1", name="f"),
        Message("tool", "y"),
        Message("assistant", "done", loss=False),
        Message("assistant", "", tool_calls=(ToolCall("h"),)),
    )
    assert talk.validate()


def test_agent_flan_raw_and_converted() -> None:
    turns = [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a", "loss": None}]
    raw = agent_flan_map_fn({"conversation": turns, "id": "1"})
    assert raw == agent_flan_map_fn({"messages": turns, "conversation": None})
    assert [message.loss for message in raw.messages] == [None, None]


def test_sharegpt() -> None:
    talk = sharegpt_tool_map_fn(
        {
            "conversations": [
                {"from": "human", "value": "u"},
                {"from": "function_call", "value": '[{"name": "f", "arguments": {"a": 1}}, {"name": "g", "arguments": "{}"}]'},
                {"from": "observation", "value": "o"},
                {"from": "gpt", "value": "a", "loss": False},
            ],
            "tools": '[{"name": "f", "description": "d", "parameters": {"type": "object"}}]',
            "system": "s",
        }
    )
    assert talk.messages == (
        Message("system", "s"),
        Message("user", "u"),
        Message("assistant", tool_calls=(ToolCall("f", {"a": 1}), ToolCall("g", {}))),
        Message("tool", "o"),
        Message("assistant", "a", loss=False),
    )
    assert talk.tools == (ToolSpec("f", "d", {"type": "object"}),)
    assert sharegpt_tool_map_fn({"conversations": [{"from": "human", "value": "u"}], "tools": "  "}).tools == ()


def test_every_glaive_call_is_read(shared_data: Path) -> None:
    count = calls = 0
    for language in ("en", "zh"):
        path = shared_data / "glaive_toolcall" / f"glaive_toolcall_{language}_demo.json"
        for row in json.loads(path.read_text(encoding="utf-8")):
            talk = sharegpt_tool_map_fn(row).validate()
            count += 1
            calls += sum(len(message.tool_calls) for message in talk.messages)
    assert (count, calls) == (600, 427)


def test_alpaca_and_text() -> None:
    row = {"instruction": "do", "input": "this", "output": "done", "system": "s", "history": [["q", "a"]]}
    assert [m.content for m in alpaca_map_fn(row).messages] == ["s", "q", "a", "do\nthis", "done"]
    assert [m.content for m in alpaca_map_fn({"instruction": "do", "input": "", "output": ""}).messages] == ["do", ""]
    assert pretrain_map_fn({"text": "t"}).messages == (Message("assistant", "t"),)


@pytest.mark.parametrize("map_fn", [alpaca_map_fn, query_response_map_fn, agent_flan_map_fn, sharegpt_tool_map_fn, openai_map_fn])
def test_tools_and_system_are_read_in_every_format(map_fn: Any) -> None:
    turns = [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]
    row = {"instruction": "u", "output": "a", "query": "u", "response": "a", "messages": turns, "system": "S"}
    row["conversations"] = [{"from": "human", "value": "u"}, {"from": "gpt", "value": "a"}]
    found = map_fn({**row, "tools": '[{"name": "f"}]'})
    assert found.messages == (Message("system", "S"), Message("user", "u"), Message("assistant", "a"))
    assert found.tools == (ToolSpec("f"),)


def test_real_alpaca_rows(shared_data: Path) -> None:
    for name in ("alpaca_en_demo.json", "alpaca_zh_demo.json", "identity.json"):
        rows = json.loads((shared_data / "general" / name).read_text(encoding="utf-8"))
        assert all(alpaca_map_fn(row).validate() for row in rows)


def test_content_in_parts_as_llama_factory_writes_it() -> None:
    talk = openai_map_fn(
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "value": "u"}]},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "reasoning", "value": "r"},
                        {"type": "text", "value": "c"},
                        {"type": "tool_call", "value": '{"name": "f", "arguments": {"a": 1}}'},
                        {"type": "tool_call", "value": {"name": "g", "arguments": {}}},
                    ],
                    "loss": 0,
                },
                {"role": "tool", "content": [{"type": "text", "value": "x"}]},
                {"role": "tool", "content": {"y": [1, None]}},
                {"role": "tool", "content": [1, 2]},
                {"role": "tool", "content": None},
            ],
            "tools": ['{"type": "function", "function": {"name": "f", "parameters": {"type": "dict"}}, "required": ["a"]}'],
        }
    )
    assert talk.messages == (
        Message("user", "u"),
        Message("assistant", "c", "r", (ToolCall("f", {"a": 1}), ToolCall("g")), loss=False),
        Message("tool", "x"),
        Message("tool", '{"y": [1, null]}'),
        Message("tool", "[1, 2]"),
        Message("tool", ""),
    )
    assert talk.tools == (ToolSpec("f", "", {"type": "dict", "required": ["a"]}),)


def test_anthropic_blocks() -> None:
    talk = anthropic_map_fn(
        {
            "system": [{"type": "text", "text": "s"}],
            "messages": [
                {"role": "user", "content": "u"},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "t", "signature": "x"},
                        {"type": "text", "text": "c"},
                        {"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}},
                        {"type": "tool_use", "id": "2", "name": "g", "input": {}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "2", "content": [{"type": "text", "text": "y"}]},
                        {"type": "tool_result", "tool_use_id": "1", "content": "x", "is_error": True},
                        {"type": "text", "text": "and?"},
                    ],
                },
                {"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            ],
            "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object", "required": []}}],
        }
    )
    assert talk.validate().messages == (
        Message("system", "s"),
        Message("user", "u"),
        Message("assistant", "c", "t", (ToolCall("f", {"a": 1}, "1"), ToolCall("g", {}, "2"))),
        Message("tool", "y", tool_call_id="2", name="g"),
        Message("tool", "x", tool_call_id="1", name="f"),
        Message("user", "and?"),
        Message("assistant", "ab"),
    )
    assert talk.tools == (ToolSpec("f", "d", {"type": "object", "required": []}),)


def test_the_order_of_parts_is_kept() -> None:
    call = {"type": "tool_use", "id": "1", "name": "f", "input": {}}
    parts = [{"type": "text", "text": "a"}, call, {"type": "text", "text": "b"}, {"type": "thinking", "thinking": "t"}, call]
    talk = anthropic_map_fn({"messages": [{"role": "assistant", "content": parts, "weight": 2}]})
    called = (ToolCall("f", {}, "1"),)
    assert talk.messages == (
        Message("assistant", "a", tool_calls=called, weight=2.0),
        Message("assistant", "b", weight=2.0),
        Message("assistant", "", "t", called, weight=2.0),
    )


def test_consecutive_turns_of_one_role_stay_apart() -> None:
    names = ["user", "user", "assistant", "assistant", "tool", "tool", "assistant", "system"]
    talk = openai_map_fn({"messages": [{"role": name, "content": str(place)} for place, name in enumerate(names)]}).validate()
    assert [(message.role, message.content) for message in talk.messages] == [
        (name, str(place)) for place, name in enumerate(names)
    ]


def test_function_call_turns_stay_apart_and_parallel_calls_together() -> None:
    calls = ['{"name": "f", "arguments": {}}', '[{"name": "g"}, {"name": "h", "parameters": {"a": 1}}]']
    turns = [{"from": "human", "value": "u"}, *({"from": "function_call", "value": call, "weight": 3} for call in calls)]
    assert sharegpt_tool_map_fn({"conversations": turns}).messages[1:] == (
        Message("assistant", tool_calls=(ToolCall("f"),), weight=3.0),
        Message("assistant", tool_calls=(ToolCall("g"), ToolCall("h", {"a": 1})), weight=3.0),
    )


def test_arguments_as_python_wrote_them() -> None:
    call = {"name": "f", "arguments": "{'a': True, 'b': [None, 'x']}"}
    talk = openai_map_fn({"messages": [{"role": "assistant", "tool_calls": [{"function": call}]}]})
    assert talk.messages[0].tool_calls == (ToolCall("f", {"a": True, "b": [None, "x"]}),)


def test_nothing_is_evaluated(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    for text in (f"__import__('pathlib').Path({str(touched)!r}).touch()", f"{{'a': open({str(touched)!r}, 'w')}}"):
        with pytest.raises(DataError, match="the arguments of a call are no valid JSON"):
            openai_map_fn({"messages": [{"role": "assistant", "tool_calls": [{"name": "f", "arguments": text}]}]})
        with pytest.raises(DataError, match="a function_call must be JSON"):
            sharegpt_tool_map_fn({"conversations": [{"from": "function_call", "value": text}]})
    assert not touched.exists()


def test_calls_under_two_keys_count_once() -> None:
    call = {"name": "f", "arguments": {"a": 1}}
    block = {"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}}
    both = {"role": "assistant", "content": [block], "tool_calls": [{"id": "1", "function": call}]}
    legacy = {"role": "assistant", "content": None, "tool_calls": [{"function": call}], "function_call": call}
    assert [message.tool_calls for message in openai_map_fn({"messages": [both, legacy]}).messages] == [
        (ToolCall("f", {"a": 1}, "1"),),
        (ToolCall("f", {"a": 1}),),
    ]


def test_legacy_openai_functions() -> None:
    row = {
        "messages": [
            {"role": "user", "content": "u"},
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"a": 1}'}},
            {"role": "function", "name": "f", "content": "x"},
        ],
        "functions": [{"name": "f", "parameters": {"type": "object"}}],
    }
    talk = openai_map_fn(row)
    assert talk.tools == (ToolSpec("f", "", {"type": "object"}),)
    assert talk.messages[1:] == (Message("assistant", tool_calls=(ToolCall("f", {"a": 1}),)), Message("tool", "x", name="f"))


def test_layouts_of_your_own() -> None:
    api_bank = chat_map_fn_factory(messages="dialogue", content_tag="text", observation_tag="API", function_tag=["API-Request"])
    turns = [
        {"role": "User", "text": "u"},
        {"role": "API-Request", "text": '{"name": "f", "arguments": {}}'},
        {"role": "API", "text": "x"},
        {"role": "AI", "text": "a"},
    ]
    expected = (Message("user", "u"), Message("assistant", tool_calls=(ToolCall("f"),)), Message("tool", "x"))
    assert api_bank({"dialogue": turns}).messages == (*expected, Message("assistant", "a"))
    assert api_bank({"dialogue": json.dumps(turns), "system": "s"}).messages[:2] == (Message("system", "s"), Message("user", "u"))
    assert pickle.loads(pickle.dumps(api_bank))({"dialogue": turns}).messages == (*expected, Message("assistant", "a"))
    swapped = chat_map_fn_factory(role_tag="who", user_tag="tool", observation_tag=("user", "api"))
    assert [m.role for m in swapped({"messages": [{"who": who, "content": ""} for who in ("tool", "user", "api")]}).messages] == [
        "user",
        "tool",
        "tool",
    ]
    with pytest.raises(ConfigError, match="the role name 'x' must be a text and stand for one role only"):
        chat_map_fn_factory(user_tag="x", assistant_tag="x")
    with pytest.raises(ConfigError, match="content_tag must be a non-empty text, got None"):
        chat_map_fn_factory(content_tag=None)  # type: ignore[arg-type]


def test_toolbench_rows_are_sharegpt() -> None:
    roles = ("system", "user", "assistant", "function", "assistant")
    talk = sharegpt_tool_map_fn({"id": "Step 1: x", "conversations": [{"from": role, "value": role} for role in roles]})
    assert [message.role for message in talk.messages] == ["system", "user", "assistant", "tool", "assistant"]


def test_query_and_response() -> None:
    row = {
        "query": "q",
        "response": "r",
        "history": [["a", "b"], ["c", "d"]],
        "system": "s",
        "tools": [{"name": "f"}],
        "tag": "zh",
    }
    talk = query_response_map_fn(row)
    assert [(m.role, m.content) for m in talk.messages] == [
        ("system", "s"),
        *(("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d"), ("user", "q"), ("assistant", "r")),
    ]
    assert talk.tools == (ToolSpec("f"),)
    assert [m.content for m in query_response_map_fn({"query": "q", "response": "r", "history": '[["a", "b"]]'}).messages] == [
        *("a", "b", "q", "r")
    ]


def test_every_real_record_and_call_is_read(shared_data: Path) -> None:
    expected = {
        ("glaive_toolcall/reason_tool_use_demo_50.jsonl", "openai"): (50, 274, 68),
        ("glaive_toolcall/glaive_toolcall_en_demo.json", "sharegpt"): (300, 1914, 211),
        ("glaive_toolcall/glaive_toolcall_zh_demo.json", "sharegpt"): (300, 1880, 216),
        ("general/alpaca_en_demo.json", "alpaca"): (999, 1998, 0),
        ("general/alpaca_zh_demo.json", "alpaca"): (1000, 2000, 0),
        ("general/identity.json", "alpaca"): (91, 182, 0),
        ("general/self_cognition.jsonl", "query_response"): (134, 268, 0),
        ("ms_agent_sample.jsonl", "ms_agent"): (1, 7, 0),
    }
    for (name, format_name), counts in expected.items():
        rows = [record for _, record in read_records(shared_data / name)]
        found = recognise(rows)
        assert found.format == format_name, name
        talks = [found(row).validate() for row in rows]
        messages = [message for talk in talks for message in talk.messages]
        assert (len(talks), len(messages), sum(len(message.tool_calls) for message in messages)) == counts, name


def test_no_word_of_the_real_reasoning_data_is_lost(shared_data: Path) -> None:
    for _, row in read_records(shared_data / "glaive_toolcall" / "reason_tool_use_demo_50.jsonl"):
        talk = openai_map_fn(row)
        for turn, message in zip(row["messages"], talk.messages, strict=True):
            parts = [(part["type"], part["value"]) for part in turn["content"]]
            said = [("reasoning", message.reasoning)] if message.reasoning is not None else []
            said += [("text", message.content)] if message.content else []
            said += [("tool_call", json.dumps({"name": c.name, "arguments": c.arguments})) for c in message.tool_calls]
            assert [(kind, json.loads(text) if kind == "tool_call" else text) for kind, text in said] == [
                (kind, json.loads(text) if kind == "tool_call" else text) for kind, text in parts
            ]
        assert len(talk.tools) == len(json.loads(row["tools"]))


def test_ms_agent_keeps_observations_inline_and_never_trains_them(shared_data: Path) -> None:
    ((_, row),) = read_records(shared_data / "ms_agent_sample.jsonl")
    talk = ms_agent_map_fn(row)
    assert [message.content for message in talk.messages] == [turn["value"] for turn in row["conversations"]]
    pieces = [piece for turn in flatten(talk) for piece in turn.pieces]
    observations = [text for text, _ in pieces if text.startswith("Observation:")]
    assert len(observations) == 3
    assert {weight for text, weight in pieces if text in observations} == {0.0}
    assert not any("Observation" in text for text, weight in pieces if weight)


@pytest.mark.parametrize(
    ("map_fn", "row", "fault"),
    [
        (openai_map_fn, {"conversations": []}, "needs a non-empty list 'messages', got keys ['conversations']"),
        (openai_map_fn, {"messages": ["x"]}, "message 0 must be an object with role and content, got str"),
        (openai_map_fn, {"messages": [{"role": "narrator"}]}, "message 0 has the unknown role 'narrator'; expected one of"),
        (
            openai_map_fn,
            {"messages": [{"role": "user", "content": [1]}]},
            "message 0 (role 'user'): content part 0 must be an object with a type, got 1",
        ),
        (
            openai_map_fn,
            {"messages": [{"role": "user", "content": "x", "weight": "much"}]},
            "message 0 (role 'user'): weight must be a number, got 'much'",
        ),
        (
            openai_map_fn,
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {}}]}]},
            "message 0 (role 'assistant'): a tool call needs a name",
        ),
        (
            openai_map_fn,
            {"messages": [{"role": "assistant", "tool_calls": "f()"}]},
            "message 0 (role 'assistant'): tool_calls must be JSON (broken JSON: Expecting value (column 1): f())",
        ),
        (
            openai_map_fn,
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}]},
            "message 0 (role 'assistant'): call of 'f': the arguments of a call are no valid JSON",
        ),
        (openai_map_fn, {"messages": [{"role": "user", "content": ""}], "tools": "f"}, "'tools' must be a JSON list"),
        (openai_map_fn, {"messages": [{"role": "user", "content": ""}], "tools": [1]}, "a tool needs a non-empty 'name', got 1"),
        (
            agent_flan_map_fn,
            {"id": 1},
            "an agent_flan record needs a non-empty list 'messages' or 'conversation', got keys ['id']",
        ),
        (sharegpt_tool_map_fn, {}, "needs a non-empty list 'conversations', got keys []"),
        (
            sharegpt_tool_map_fn,
            {"conversations": [{"from": "gpt"}]},
            "message 0 (role 'assistant') has no 'value', only ['from']",
        ),
        (sharegpt_tool_map_fn, {"conversations": [{"from": "gtp", "value": ""}]}, "message 0 has the unknown role 'gtp'"),
        (
            sharegpt_tool_map_fn,
            {"conversations": [{"from": "function_call", "value": "f()"}]},
            "message 0 (role 'function_call'): a function_call must be JSON",
        ),
        (
            sharegpt_tool_map_fn,
            {"conversations": [{"from": "function_call", "value": "[]"}]},
            "message 0 (role 'function_call'): a function_call holds no call",
        ),
        (sharegpt_tool_map_fn, {"conversations": [{"from": "human", "value": ""}], "tools": "{"}, "'tools' must be a JSON list"),
        (
            sharegpt_tool_map_fn,
            {"conversations": [{"from": "human", "value": ""}], "tools": '{"name": "f"}'},
            "'tools' must be a JSON list",
        ),
        (alpaca_map_fn, {"instruction": "x"}, "an alpaca record needs the text 'output', got keys ['instruction']"),
        (
            alpaca_map_fn,
            {"instruction": "x", "output": "y", "history": [["q"]]},
            "'history' must be a list of [question, answer]",
        ),
        (
            openai_map_fn,
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "message 0 (role 'user'): content part 0 has the type 'image_url', which is no text; known are",
        ),
        (
            openai_map_fn,
            {"messages": [{"role": "user", "content": [{"type": "tool_use", "name": "f"}]}]},
            "message 0 (role 'user'): a user turn can't hold call; only an assistant's can",
        ),
        (openai_map_fn, {"messages": [{"role": "user", "contents": "x"}]}, "message 0 (role 'user') has no 'content', only"),
        (openai_map_fn, {"messages": [{"role": "user", "content": {}}]}, "must be text, a list of parts or null, got dict"),
        (openai_map_fn, {"messages": [{"role": "user", "content": "x", "loss": "no"}]}, "loss must be true, false or missing"),
        (
            openai_map_fn,
            {"messages": [{"role": "assistant", "tool_calls": [{"name": "f"}], "function_call": {"name": "g"}}]},
            "message 0 (role 'assistant'): 'tool_calls' and 'function_call' differ; which is meant can't be told",
        ),
        (
            openai_map_fn,
            {"messages": [{"role": "assistant", "tool_calls": [{"name": "f", "arguments": {}, "input": {}}]}]},
            "message 0 (role 'assistant'): call of 'f' has arguments under 'arguments' and 'input'",
        ),
        (
            openai_map_fn,
            {"messages": [{"role": "user", "content": ""}], "tools": [{"name": "f"}], "functions": [{"name": "g"}]},
            "the tools in 'tools' and 'functions' differ",
        ),
        (
            anthropic_map_fn,
            {"messages": [{"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}]}]},
            "message 0 (role 'assistant'): content part 0 has the type 'redacted_thinking', which is no text",
        ),
        (query_response_map_fn, {"query": "q"}, "a query_response record needs the text 'response', got keys ['query']"),
        (alpaca_map_fn, {"instruction": "x", "output": "y", "input": 3}, "'input' must be text, got 3"),
        (pretrain_map_fn, {"txt": ""}, "a pretrain record needs the text 'text', got keys ['txt']"),
    ],
)
def test_faults_name_the_message(map_fn: Any, row: dict[str, Any], fault: str) -> None:
    with pytest.raises(DataError) as caught:
        map_fn(row)
    assert fault in str(caught.value)
