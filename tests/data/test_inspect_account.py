"""The account of raw records: every record and call is somewhere, bad calls are named, and machines can read it."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from xagent import cli
from xagent.chat.message import Conversation, Message, ToolCall, ToolSpec
from xagent.chat.template import get_template
from xagent.commands.check_dataset import is_data
from xagent.data import process_hf_dataset, self_cognition_map_fn_factory
from xagent.data.inspect import check_file
from xagent.data.inspect.audit import Audit, audit, reason_of
from xagent.data.inspect.calls import calls_in_record
from xagent.data.inspect.schema import call_faults
from xagent.data.inspect.seen import Seen, content_fingerprint, questions_in
from xagent.data.inspect.sources import RecordSource, format_map_fns
from xagent.data.inspect.unread import WatchedObject
from xagent.data.inspect.written import WrittenCall, written_calls
from xagent.data.prepare import RowEncoder
from xagent.data.report import PLACEHOLDER, placeholder_warning
from xagent.data.source import load_dataset_from
from xagent.errors import DataError, XAgentError

Write = Callable[..., Path]
PARAMETERS = {"type": "object", "properties": {"x": {"type": "integer"}}}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": PARAMETERS}}]


def calling(*arguments: Any, name: str = "f", ask: str = "go", **more: Any) -> dict[str, Any]:
    calls = [{"function": {"name": name, "arguments": given}} for given in arguments]
    return {"messages": [{"role": "user", "content": ask}, {"role": "assistant", "tool_calls": calls}], "tools": TOOLS, **more}


# Calls in raw records


def test_calls_of_each_form() -> None:
    text = "Thought: a\nAction: f\nAction Input: {}\nObservation: 1\nAction: g\nAction Input: {'a': 'Action Input: '}\n"
    text += "no Action Input: x"
    assert len(written_calls(text)) == 2
    openai = {"messages": [{"role": "assistant", "content": text, "tool_calls": [{}, {}, {}]}, {"role": "user", "content": text}]}
    assert calls_in_record(openai) == 3, "the text beside structured calls holds no further ones"
    assert calls_in_record({"messages": [{"role": "assistant", "function_call": {"name": "f"}}]}) == 1
    assert (
        calls_in_record({"conversation": [{"role": "assistant", "content": text}, {"role": "assistant", "content": None}]}) == 2
    )
    sharegpt = [{"from": "function_call", "value": value} for value in ('{"name": 1}', '[{"name": 1}, {"name": 2}]', "broken")]
    assert calls_in_record({"conversations": [*sharegpt, {"from": "gpt", "value": text}]}) == 6
    parts = [
        {"type": "text", "text": text},
        {"type": "tool_use", "name": "f"},
        {"type": "tool_call", "value": '[{"a": 1}, {"b": 2}]'},
    ]
    assert calls_in_record({"messages": [{"role": "assistant", "content": parts}]}) == 3
    assert calls_in_record({"messages": [{"role": "assistant", "content": parts[:1]}]}) == 2
    assert calls_in_record({"conversations": json.dumps(sharegpt)}) == 4, "the cell of a CSV file"
    assert calls_in_record({"dialogue": [{"role": "assistant", "tool_calls": [{}, {}]}]}) == 2, "a layout that 'auto' knows"


def test_calls_nested_too_deeply_are_counted(write_jsonl: Write) -> None:
    deep = "[" * 100_000 + "]" * 100_000
    turns = [{"from": "human", "value": "a"}, {"from": "function_call", "value": deep}, {"from": "gpt", "value": "b"}]
    account = check_file(write_jsonl({"conversations": turns}, {"conversations": turns[::2]}), format="sharegpt").accounts[0]
    assert (account.records, account.kept, account.calls, account.lost.total) == (2, 1, 1, 1)
    assert calls_in_record({"messages": "none", "x": 1}) == 0 and calls_in_record({"messages": [1, None]}) == 0


# Calls that stand in texts

REACT = 'Thought: a\nAction: f\nAction Input: {"x": 1}\n'
HERMES = '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>'
INTERNLM2 = '<|action_start|><|plugin|>\n{"name": "f", "parameters": {"x": 1}}<|action_end|>'
CODE = "<|action_start|><|interpreter|>\n```python\n1 + 1\n```<|action_end|>"
LLAMA3 = '{"name": "f", "parameters": {"x": 1}}'
QWEN1_5 = '✿FUNCTION✿: f\n✿ARGS✿: {"x": 1}\n'
IN_CAPITALS = "ACTION: f\nACTION_INPUT: {}\n"
ALL_WORDINGS = {
    REACT: "react",
    HERMES: "hermes",
    INTERNLM2: "internlm2",
    CODE: "internlm2",
    LLAMA3: "llama3_json",
    QWEN1_5: "✿FUNCTION✿",
    IN_CAPITALS: "ACTION_INPUT",
}


@pytest.mark.parametrize(("text", "wording"), ALL_WORDINGS.items())
def test_a_call_in_each_wording(text: str, wording: str) -> None:
    (call,) = written_calls(f"I look.\n{text}")
    assert (call.wording, call.is_readable) == (wording, True)
    assert call.is_read_by("react") == (wording == "react") == call.is_read_by("function_call")
    assert [found.wording for found in written_calls(f"{text}\n\n{HERMES}")] == [wording, "hermes"]


def test_calls_in_texts_are_counted_once() -> None:
    assert written_calls(f"{REACT}Observation: {HERMES}\n{LLAMA3}\nThought: done")[1:] == [], "the world's words hold no call"
    assert [call.text for call in written_calls('Action: f\nAction Input:\n{"name": "g", "arguments": {}}\n')] == [
        'Action: f\nAction Input:\n{"name": "g", "arguments": {}}\n'
    ]
    several = f'{LLAMA3}; {LLAMA3}\n[{{"name": "g", "arguments": {{}}}}, {{"name": "h", "arguments": {{}}}}]'
    assert [json.loads(call.text)["name"] for call in written_calls(several)] == ["f", "f", "g", "h"]
    assert written_calls(f"<think>\n{HERMES}\n</think>\nNo.") == [], "a thought of a call is none"


@pytest.mark.parametrize(
    "text",
    [
        "a <tool_call> tag",
        "Action: go home.\nThen sleep.",
        "no Action Input: x",
        '{"name": "Anna", "arguments": "none"}',
        '{"name": "f", "parameters": {"type": "object", "properties": {"x": {}}}}',
        "<|action_start|> alone",
    ],
)
def test_words_that_are_no_calls(text: str) -> None:
    assert written_calls(text) == []


@pytest.mark.parametrize("text", ["Action: f\nAction Input: what is it?\n", "Action Input: {}\n", '<tool_call>\n{"name"'])
def test_broken_calls_are_calls(text: str) -> None:
    (call,) = written_calls(text)
    assert call == WrittenCall("hermes" if "<" in text else "react", text) and not call.is_readable


def said(*texts: str) -> dict[str, Any]:
    turns = [[{"role": "user", "content": f"go {text}"}, {"role": "assistant", "content": text}] for text in texts]
    return {"messages": [turn for pair in turns for turn in pair]}


@pytest.mark.parametrize(
    ("protocol", "rendered", "lost"),
    [
        ("react", 3, {"hermes": 1, "internlm2": 2, "llama3_json": 1, "✿FUNCTION✿": 1, "ACTION_INPUT": 1}),
        ("hermes", 1, {"react": 3, "internlm2": 2, "llama3_json": 1, "✿FUNCTION✿": 1, "ACTION_INPUT": 1}),
        ("internlm2", 2, {"react": 3, "hermes": 1, "llama3_json": 1, "✿FUNCTION✿": 1, "ACTION_INPUT": 1}),
    ],
)
def test_calls_in_another_protocol_than_the_chosen_one(
    cache: Path, write_jsonl: Write, protocol: str, rendered: int, lost: dict[str, int]
) -> None:
    broken = "Action: f\nAction Input: what is it?\n"
    data = write_jsonl(said(*ALL_WORDINGS), said(REACT + "Observation: 1\n" + REACT + broken))
    (account,) = check_file(data, format="openai", protocol=protocol).accounts
    assert account.reconciles() and (account.kept, account.calls, account.rendered) == (2, 10, rendered)
    reasons = {
        f"calls written in another protocol ({wording}) than the chosen one ({protocol})": lost[wording] for wording in lost
    }
    assert account.lost.counts == {**reasons, "calls written in a text that no protocol can read": 1}
    (example,) = account.lost.examples["calls written in a text that no protocol can read"]
    assert example == f"{data}:2: 'Action: f\\nAction Input: what is it?'"


def test_calls_of_texts_in_dropped_records_and_in_final_answers(cache: Path, write_jsonl: Write) -> None:
    dropped = {"query": "go", "response": REACT, "loss": False}
    data = write_jsonl(dropped, {**said(LLAMA3), "tools": TOOLS}, name="mixed.jsonl")
    source = RecordSource(
        load_dataset_from(data),
        RowEncoder(None, unlearned_or_openai_map_fn, get_template("default"), "react", 9, "drop_turns"),  # type: ignore[arg-type]
        "own",
        "",
    )
    account = audit([source])
    assert account.reconciles() and (account.kept, account.calls, account.rendered) == (1, 2, 0)
    assert account.lost.counts == {
        "calls in dropped records": 1,
        "calls written in another protocol (llama3_json) than the chosen one (react)": 1,
    }


def unlearned_or_openai_map_fn(row: Mapping[str, Any]) -> Conversation:
    if "query" in row:
        return Conversation((Message("user", row["query"]), Message("assistant", row["response"], loss=False)))
    return format_map_fns()["openai"](row)


# What a map function leaves unread


def test_columns_and_keys_that_are_not_read(cache: Path, write_jsonl: Write, capsys: pytest.CaptureFixture[str]) -> None:
    turns = [
        {"role": "user", "content": "a", "name": "Anna", "extra": ""},
        {"role": "assistant", "content": "b", "reasoning": "c", "score": 0, "name": None},
        {"role": "user", "content": "d", "name": "Bert"},
        {"role": "tool", "content": "e", "name": "f"},
        {"role": "assistant", "content": "g"},
    ]
    rows = [
        {"id": "1", "source": "web", "messages": turns, "tools": TOOLS},
        {"source": {}, "messages": turns[:2], "rating": [5]},
        {"source": "book", "messages": [], "lost": 1},
    ]
    data = str(write_jsonl(*rows))
    expected = {"source": 1, "messages[].name": 2, "messages[].score": 2, "rating": 1}
    code, out, _ = run(capsys, data, "--format", "openai", "--json")
    assert code == 0 and json.loads(out)["unread"] == expected, "of what can't be read nothing is said"
    code, out, _ = run(capsys, data, "--format", "openai")
    assert "not read by the map function (records where it has a value):\n         2  messages[].name\n" in out
    assert f"            {data}:1 (id 1): messages[0]: 'Anna'\n            {data}:2: messages[0]: 'Anna'\n" in out
    assert f"         1  rating\n            {data}:2: rating: [5]\n" in out
    whole = str(write_jsonl(*rows[:2], name="whole.jsonl"))
    assert run(capsys, whole, "--format", "openai", "--strict")[0] == 0, "it is no fault"


def test_what_counts_as_read() -> None:
    row = WatchedObject({"a": 1, "b": 2})
    assert ("a" in row, sorted(row), list(row.keys()), len(row)) == (True, ["a", "b"], ["a", "b"], 2) and row.read == set()
    assert row.get("b") == 2 and row.read == {"b"} and row["a"] == 1 and row.read == {"a", "b"}

    def read_all(read: Callable[[WatchedObject], Any]) -> bool:
        row = WatchedObject({"a": 1, "b": 2})
        read(row)
        return row.read == {"a", "b"}

    ways: list[Callable[[WatchedObject], Any]] = [
        dict, lambda row: {**row}, lambda row: row | {}, lambda row: row.copy(), json.dumps, lambda row: list(row.items()),
        lambda row: list(row.values()), lambda row: [row.pop("a"), row.pop("b", None)], lambda row: row.__class__(row),
    ]  # fmt: skip
    assert [read_all(way) for way in ways] == [True] * len(ways)
    assert json.loads(json.dumps(row)) == {"a": 1, "b": 2} == dict(row)


def test_unread_names_are_bounded(write_jsonl: Write) -> None:
    rows = [{"query": "a", "response": "b", f"key {number}": number + 1} for number in range(150)]
    (account,) = check_file(write_jsonl(*rows), format="query_response").accounts
    assert len(account.unread.counts) == 101 and account.unread.counts["others"] == 50 and account.unread.total == 150


# Places for the model's name


IDENTITY = [
    {"query": "Who are you?", "response": "I am {{NAME}} of {{ AUTHOR }}.", "tag": "en"},
    {"query": "Say {{NAME}}.", "response": "No.", "tag": "en"},
    {"query": "Your maker?", "response": "{{author}}.", "tag": "en"},
]


def test_places_for_a_name_are_warned_of(cache: Path, write_jsonl: Write, capsys: pytest.CaptureFixture[str]) -> None:
    data = str(write_jsonl(*IDENTITY))
    code, out, _ = run(capsys, data, "--format", "query_response", "--strict")
    assert (
        code == 0
        and (
            "warning: 2 record(s) teach the model to say {{NAME}} or {{AUTHOR}} as it stands, for example "
            f"{data}:1: {{{{NAME}}}}. Where its own are meant: dataset_map_fn=dict(type=self_cognition_map_fn_factory, "
            "model_name=..., model_author=...) puts them in\n"
        )
        in out + "\n"
    )
    found = json.loads(run(capsys, data, "--format", "query_response", "--json")[1])
    assert found["reasons"] == {"placeholder that is learned as it stands": 2} and found["unread"] == {"tag": 3}


def test_places_for_a_name_that_are_filled_in(write_jsonl: Write) -> None:
    table = load_dataset_from(write_jsonl(*({**row, "quality": 1} for row in IDENTITY)))
    map_fn = self_cognition_map_fn_factory("Otto", "Ada")
    encoder = RowEncoder(None, map_fn, get_template("default"), "react", 9, "drop_turns")  # type: ignore[arg-type]
    account = audit([RecordSource(table, encoder, "self_cognition", "")])
    assert account.kept == 3 and account.placeholders.total == 0
    assert account.unread.counts == {"quality": 3}, "the factory walks over all columns, but reads none for it"


def test_encoding_warns_of_places_for_a_name(
    cache: Path, write_jsonl: Write, chatml: PreTrainedTokenizerFast, caplog: pytest.LogCaptureFixture
) -> None:
    data = write_jsonl(*IDENTITY)
    report = process_hf_dataset(data, chatml, 128, "query_response", template="qwen_chat").report
    assert (report.placeholders, report.examples[PLACEHOLDER]) == (2, [f"{data}:1: {{{{NAME}}}}", f"{data}:3: {{{{author}}}}"])
    assert report.summary().splitlines()[-1] == f"warning: {placeholder_warning(2, f'{data}:1: {{{{NAME}}}}')}"
    assert [record.getMessage() for record in caplog.records if record.name == "xagent.data.dataset"] == report.warnings()
    short = process_hf_dataset(data, chatml, 128, self_cognition_map_fn_factory("Otto", "Ada"), template="qwen_chat").report
    assert (short.placeholders, short.warnings()) == (0, []) and "warning" not in short.summary()


# Calls against schemas


def faults(arguments: dict[str, Any], properties: dict[str, Any], **schema: Any) -> list[tuple[str, str]]:
    tool = ToolSpec("f", "", {"type": "object", "properties": properties, **schema})
    return list(call_faults(ToolCall("f", arguments), (tool,)))


def test_faults_of_a_call() -> None:
    assert list(call_faults(ToolCall("g"), (ToolSpec("f"), ToolSpec("h")))) == [("unknown tool", "'g' is none of f, h")]
    assert faults({"x": 1}, {"x": {"type": "integer"}}, required=["x"]) == []
    assert faults({"y": 1}, {"x": {"type": "integer"}}, required=["x"]) == [
        ("unknown argument", "f: y is none of x"),
        ("missing argument", "f: x"),
    ]
    assert faults({"x": "1"}, {"x": {"type": "integer"}}) == [("ill-typed argument", "f: x must be integer, got string '1'")]
    assert faults({"x": "c"}, {"x": {"type": "string", "enum": ["a", "b"]}}) == [
        ("value not in enum", "f: x is 'c', not one of ['a', 'b']")
    ]
    nested = {"x": {"type": "object", "properties": {"y": {"type": "array", "items": {"type": "number"}}}, "required": ["z"]}}
    assert faults({"x": {"y": [1, 2.5, "3"]}}, nested) == [
        ("ill-typed argument", "f: x.y[2] must be number, got string '3'"),
        ("missing argument", "f: x.z"),
    ]


@pytest.mark.parametrize(
    ("value", "schema", "fits"),
    [
        (True, {"type": "integer"}, False),
        (True, {"type": "boolean"}, True),
        (3.0, {"type": "integer"}, True),
        (3.5, {"type": "integer"}, False),
        (3, {"type": "number"}, True),
        (None, {"type": ["string", "null"]}, True),
        (None, {"type": "string"}, False),
        (None, {"type": "string", "nullable": True}, True),
        ({}, {"type": "dict"}, True),
        ([1], {"type": "List[int]"}, True),
        ("a", {"type": "str, optional"}, True),
        ("a", {"type": "some other word"}, True),
        ("a", {}, True),
        ("a", True, True),
        ("a", {"anyOf": [{"type": "integer"}, {"type": "string"}]}, True),
        ([], {"anyOf": [{"type": "integer"}, {"type": "string"}]}, False),
        (1, {"enum": [True]}, False),
        (1, {"enum": [1, 2]}, True),
    ],
)
def test_types_and_enums(value: Any, schema: Any, fits: bool) -> None:
    assert (faults({"x": value}, {"x": schema}) == []) is fits


def test_additional_properties() -> None:
    assert faults({"y": 1}, {}) == [("unknown argument", "f: y is none of none at all")]
    assert faults({"y": 1}, {}, additionalProperties=True) == []
    assert faults({"y": 1}, {}, additionalProperties={"type": "string"}) == [
        ("ill-typed argument", "f: y must be string, got integer '1'")
    ]
    tool = ToolSpec("f", "", {"type": "object"})
    assert list(call_faults(ToolCall("f", {"y": 1}), (tool,))) == [], "a schema without properties says nothing"


def test_deep_schemas_end() -> None:
    schema: dict[str, Any] = {"type": "object"}
    schema["properties"] = {"x": schema}
    value: dict[str, Any] = {}
    for _ in range(200):
        value = {"x": value}
    assert list(call_faults(ToolCall("f", value), (ToolSpec("f", "", schema),))) == []


# The account


def test_every_record_and_call_is_somewhere(write_jsonl: Write, chatml: PreTrainedTokenizerFast) -> None:
    rows = [
        calling({"x": 1}, {"x": 2}),
        calling({"x": 1}, {"x": 2}),
        calling({"x": "1"}, ask="again"),
        {"messages": [{"role": "user", "content": "?"}, {"role": "robot", "tool_calls": [1, 2, 3]}]},
        {"messages": [{"role": "user", "content": "never answered"}]},
        {
            "messages": [
                *calling({"x": 3})["messages"],
                {"role": "tool", "content": "9"},
                *calling({"x": 4}, ask="u" * 900)["messages"],
            ]
        },
        {"messages": [{"role": "user", "content": "u" * 2000}, *calling({"x": 5})["messages"][1:]]},
    ]
    source = RecordSource(
        load_dataset_from(write_jsonl(*rows)),
        RowEncoder(chatml, format_map_fns()["openai"], get_template("qwen_chat"), "hermes", 900, "drop_turns"),
        "openai",
        "said so",
    )
    account = audit([source])
    assert account.reconciles()
    assert (account.records, account.kept, account.unreadable) == (7, 4, 1)
    assert account.dropped.counts == {"message has the unknown role …": 1, "nothing to learn": 1, "too long": 1}
    assert account.repaired.counts == {"trailing turns cut": 1}
    assert (account.calls, account.rendered) == (11, 6)
    assert account.lost.counts == {"calls in dropped records": 4, "calls in turns that were cut": 1}
    assert account.faults.counts == {"ill-typed argument": 1} and account.checked_calls == 5 and account.unlisted_calls == 3
    assert account.duplicates.counts == {"duplicate records": 1}
    (repeated,) = account.duplicates.examples["duplicate records"]
    assert repeated.endswith("data.jsonl:1") and ":2: the same as" in repeated
    assert account.roles == {"user": 7, "assistant": 6, "tool": 1} and account.turns == {2: 4, 1: 1, 5: 1}
    assert account.losses == "3 record(s) dropped, 1 record(s) repaired, 5 call(s) dropped"


def test_a_call_that_a_map_function_loses_shows(write_jsonl: Write) -> None:
    def forgetful_map_fn(row: Any) -> Conversation:
        return Conversation((Message("user", "a"), Message("assistant", "b", tool_calls=(ToolCall("f"),))))

    table = load_dataset_from(write_jsonl(calling({"x": 1}, {"x": 2}, {"x": 3})))
    encoder = RowEncoder(None, forgetful_map_fn, get_template("default"), "react", 9, "drop_turns")  # type: ignore[arg-type]
    account = audit([RecordSource(table, encoder, "forgetful", "")])
    assert account.reconciles() and (account.calls, account.rendered) == (3, 1)
    assert account.lost.counts == {"calls that the map function lost": 2}
    assert account.lost.examples["calls that the map function lost"][0].endswith("data.jsonl:1")


def test_a_call_that_a_protocol_garbles_shows(write_jsonl: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    from xagent.chat.protocol import PROTOCOLS

    table = load_dataset_from(write_jsonl(calling({"x": 1}, {"x": 1})))
    encoder = RowEncoder(None, format_map_fns()["openai"], get_template("default"), "hermes", 9, "drop_turns")  # type: ignore[arg-type]
    render = PROTOCOLS["hermes"].render_reply
    monkeypatch.setattr(PROTOCOLS["hermes"], "render_reply", lambda message: render(message)[:-60])
    account = audit([RecordSource(table, encoder, "openai", "")])
    assert account.reconciles() and (account.calls, account.rendered) == (2, 1), "one of two equal calls is cut off"
    assert account.lost.counts == {"calls that can't be read back from the rendered text": 1}


def test_memory_does_not_grow_with_the_records(write_jsonl: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xagent.data.inspect.audit._ROWS_AT_ONCE", 16)
    characters = 20_000

    def peak(count: int) -> int:
        rows = [calling({"x": number}, ask=f"question {number} " + "w" * characters) for number in range(count)]
        table = load_dataset_from(write_jsonl(*rows, name=f"{count}.jsonl"))
        encoder = RowEncoder(None, format_map_fns()["openai"], get_template("default"), "hermes", 9, "drop_turns")  # type: ignore[arg-type]
        tracemalloc.start()
        assert audit([RecordSource(table, encoder, "openai", "")]).kept == count
        high = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return high

    peak(20)  # what is built once
    assert peak(160) - peak(40) < 120 * characters / 10, "nothing of a record's text is held"


def test_reasons_of_like_faults_are_alike() -> None:
    assert (
        reason_of("a.jsonl:3: message 12 has the unknown role 'x'; expected one of a", "a.jsonl:3")
        == "message has the unknown role …"
    )
    assert reason_of("a:1: message 0 (role 'user'): only an assistant message can call tools", "a:1") == (
        "message: only an assistant message can call tools"
    )
    assert reason_of("a:1: message 2: call of 'f g': the arguments of a call are no valid JSON (x): {", "a:1") == (
        "call: the arguments of a call are no valid JSON"
    )
    assert reason_of("a:1 (id 7): an openai record needs a non-empty list 'messages', got keys []", "a:1 (id 7)") == (
        "an openai record needs a non-empty list …"
    )
    assert reason_of("a:1", "a:1") == "can't be read"


# Duplicates and held-out questions


def test_fingerprints_know_content() -> None:
    def talk(answer: str, source: str = "a", **call: Any) -> Conversation:
        calls = (ToolCall("f", call),) if call else ()
        return Conversation((Message("user", "q"), Message("assistant", answer, tool_calls=calls)))

    assert content_fingerprint(talk("a")) == content_fingerprint(talk("a", "b"))
    assert content_fingerprint(talk("a", x=1, y=2)) == content_fingerprint(talk("a", y=2, x=1))
    different = [talk("a"), talk("b"), talk("a", x=1), talk("a", x="1"), Conversation(talk("a").messages, (ToolSpec("f"),))]
    assert len({content_fingerprint(conversation) for conversation in different}) == len(different)
    assert content_fingerprint(talk("half \ud83d"))


def test_seen() -> None:
    seen = Seen()
    assert (seen.first(b"1", "a"), seen.first(b"1", "b"), seen.find(b"1"), seen.find(b"2")) == (None, "a", "a", None)
    seen.close()


def test_questions_of_each_form() -> None:
    turns = [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "x"}]
    assert list(questions_in({"messages": turns})) == ["a"]
    assert list(questions_in({"question": [[{"role": "user", "content": "bfcl"}]], "function": []})) == ["bfcl"]
    assert list(questions_in({"conversations": [{"from": "human", "value": "b"}]})) == ["b"]
    assert list(
        questions_in({"messages": [{"role": "user", "content": [{"type": "text", "text": "c"}, {"type": "image"}]}]})
    ) == ["c"]
    assert list(questions_in({"instruction": "d", "input": "e", "output": "f"})) == ["d\ne"]
    assert list(questions_in({"query": "g", "response": "h"})) == ["g"] and list(
        questions_in({"question": "i", "answer": ""})
    ) == ["i"]
    assert list(questions_in({"text": "j"})) == [] and list(questions_in([1])) == []


def test_held_out_questions_are_found(write_jsonl: Write) -> None:
    def talk(*asks: str) -> dict[str, Any]:
        return {
            "messages": [
                turn for ask in asks for turn in ({"role": "user", "content": ask}, {"role": "assistant", "content": "a"})
            ]
        }

    data = write_jsonl(talk("What is  IT?"), talk("what is it?", "and that?"), talk("other"), name="train.jsonl")
    held_out = write_jsonl({"question": "what is it?\n"}, {"question": "and?"}, name="bench.jsonl")
    checked = check_file(data, held_out, format="openai")
    assert checked.accounts[0].leaks.counts == {"held-out: all user turns": 1, "held-out: some user turns": 1}
    assert f"train.jsonl:1: 'What is IT?' is in {held_out}:1\n" in checked.text
    with pytest.raises(DataError, match="the held-out file has no user turn, instruction, query or question in any record"):
        check_file(data, write_jsonl({"text": "a"}, name="no.jsonl"), format="openai")


def test_held_out_records_that_cannot_be_read_are_counted(write_jsonl: Write, capsys: pytest.CaptureFixture[str]) -> None:
    data = str(write_jsonl(calling({"x": 1}), name="train.jsonl"))
    held_out = str(write_jsonl("{broken", {"question": "go"}, '{"a": 1, "a": 2}', name="bench.jsonl"))
    code, out, err = run(capsys, data, "--format", "openai", "--held-out", held_out)
    assert code == 0 and "held-out: all user turns" in out
    assert f"         1  held-out: broken JSON\n            {held_out}:1: broken JSON: Expecting" in out
    code, out, err = run(capsys, data, "--format", "openai", "--held-out", held_out, "--strict", "--json")
    assert code == 2 and "xagent: error: 2 held-out record(s) not read (--strict)" in err
    reasons = {"held-out: broken JSON": 1, "held-out: the key … stands twice in one object": 1, "held-out: all user turns": 1}
    assert json.loads(out)["reasons"] == reasons


# The command line


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = cli.main(["check-dataset", *words])
    out, err = capsys.readouterr()
    return code, out, err


def test_json_and_strict(cache: Path, write_jsonl: Write, capsys: pytest.CaptureFixture[str]) -> None:
    good = str(write_jsonl(calling({"x": 1}), name="good.jsonl"))
    code, out, _ = run(capsys, good, "--format", "openai", "--protocol", "hermes", "--json", "--strict")
    assert code == 0 and json.loads(out) == {
        "format": "openai",
        "protocol": "hermes",
        "records": {"in": 1, "kept": 1, "repaired": 0, "dropped": 0},
        "calls": {"in": 1, "rendered": 1, "dropped": 0},
        "reasons": {},
        "unread": {},
    }
    bad = str(write_jsonl(calling({"x": 1}), calling("{", name="g"), calling({"y": 1}), name="bad.jsonl"))
    code, out, err = run(capsys, bad, "--format", "openai", "--json", "--strict")
    assert code == 2 and json.loads(out) == {
        "format": "openai",
        "protocol": "react",
        "records": {"in": 3, "kept": 2, "repaired": 0, "dropped": 1},
        "calls": {"in": 3, "rendered": 2, "dropped": 1},
        "reasons": {
            "call: the arguments of a call are no valid JSON": 1,
            "calls in dropped records": 1,
            "schema: unknown argument": 1,
        },
        "unread": {},
    }
    assert "xagent: error: 1 record(s) dropped, 1 call(s) dropped (--strict)" in err
    assert run(capsys, bad, "--format", "openai")[0] == 0, "without --strict the account is all"


def test_text_of_a_file(cache: Path, write_jsonl: Write, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = str(write_jsonl(calling({"x": 1}), calling({"x": 1}, name="\x1b[31mg"), {"messages": []}))
    code, out, _ = run(capsys, path, "--format", "openai")
    assert code == 0 and "\x1b" not in out
    assert "records   3 in = 2 kept (0 of them repaired) + 1 dropped\ncalls     2 in = 2 rendered + 0 dropped\n" in out
    assert "dropped:\n         1  an openai record needs a non-empty list …\n" in out and f"{path}:3: an openai record" in out
    assert "calls against the tools' schemas: 1 of 2 fit\n         1  unknown tool\n" in out
    assert (
        "messages: 2 user, 2 assistant\nmessages of a record: min 2, p10 2, median 2, p90 2, max 2; records that list tools: 2"
        in out
    )
    assert "\ncharacters of a record: min " in out and "█" in out


def test_a_tokenizer_counts_tokens(
    cache: Path, write_jsonl: Write, capsys: pytest.CaptureFixture[str], tmp_path: Path, chatml: PreTrainedTokenizerFast
) -> None:
    chatml.save_pretrained(tmp_path / "tokenizer")
    path = str(write_jsonl({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}))
    options = (path, "--format", "openai", "--tokenizer", str(tmp_path / "tokenizer"), "--template", "qwen_chat")
    code, out, _ = run(capsys, *options, "--json")
    text = "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>"
    assert json.loads(out)["tokens"] == {"all": len(chatml(text).input_ids), "trained": 2} and code == 0
    code, out, _ = run(capsys, *options, "--max-length", "5")
    assert "         1  too long\n" in out and "; max_length 5\n" in out and "  over max_length" in out
    assert "warning: 1 of 1 records are dropped, most of the data" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "opena"], "unknown format 'opena'; did you mean openai? Known: "),
        (["--format", "openai", "--protocol", "herms"], "unknown protocol 'herms'; did you mean hermes?"),
        (["--format", "openai", "--max-length", "1"], "--max-length must be at least 2 tokens, got 1"),
        (["--format", "openai", "--max-length", "9"], "--max-length counts tokens: say with which --tokenizer"),
        (["--format", "openai", "--template", "tokenizer"], "template 'tokenizer' needs a tokenizer: --tokenizer PATH"),
        (["--format", "openai", "--template", "qwen"], "unknown chat template 'qwen'"),
        (["--format", "openai", "--tokenizer", "/nowhere"], "--tokenizer /nowhere: no tokenizer can be loaded from there"),
        (["--format", "openai", "--held-out", "/nowhere.jsonl"], "/nowhere.jsonl: no such file or folder"),
        (["--cfg-options", "a=1"], "--cfg-options change a config, and"),
    ],
)
def test_wrong_options(
    cache: Path, write_jsonl: Write, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    code, out, err = run(capsys, str(write_jsonl(calling({"x": 1}))), *words)
    assert code == 2 and out == "" and message in err


def test_configs_and_data_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    assert is_data(str(tmp_path / "data")) and is_data("data.jsonl") and is_data("some/folder")
    assert not is_data("nano_qlora_glaive") and not is_data("./my_config.py")
    code, _, err = run(capsys, "nano_qlora_glaive", "--protocol", "react", "--max-length", "9")
    assert code == 2 and "--protocol, --max-length: a config says this itself; change it with --cfg-options" in err


# Real data


def counts(account: Audit) -> tuple[int, int, int, int]:
    assert account.reconciles()
    return account.records, account.kept, account.calls, account.rendered


@pytest.mark.parametrize("protocol", ["react", "hermes"])
def test_real_glaive(cache: Path, shared_data: Path, protocol: str) -> None:
    folder = shared_data / "glaive_toolcall"
    found = [
        check_file(folder / f"glaive_toolcall_{name}_demo.json", format="sharegpt_tool", protocol=protocol)
        for name in ("en", "zh")
    ]
    english, chinese = (checked.accounts[0] for checked in found)
    assert counts(english) == (300, 300, 211, 211) and counts(chinese) == (300, 300, 216, 216)
    assert english.faults.counts == {"ill-typed argument": 1}
    assert chinese.faults.counts == {"missing argument": 15, "value not in enum": 2} and chinese.faulty_calls == 8
    texts = [json.loads((folder / f"glaive_toolcall_{name}_demo.json").read_text(encoding="utf-8")) for name in ("en", "zh")]
    for account, rows in zip((english, chinese), texts, strict=True):
        different = {hashlib.md5(json.dumps(row, sort_keys=True).encode()).digest() for row in rows}
        assert account.duplicates.total == 300 - len(different)


def test_real_files_without_tools(cache: Path, shared_data: Path) -> None:
    general = shared_data / "general"
    for name, records in (("alpaca_en_demo", 999), ("alpaca_zh_demo", 1000), ("identity", 91)):
        assert counts(check_file(general / f"{name}.json", format="alpaca").accounts[0]) == (records, records, 0, 0)


def test_real_identity(cache: Path, shared_data: Path) -> None:
    (alpaca,) = check_file(shared_data / "general" / "identity.json", format="alpaca").accounts
    assert (alpaca.placeholders.total, alpaca.unread.counts) == (85, {})
    (query,) = check_file(shared_data / "general" / "self_cognition.jsonl", format="query_response").accounts
    assert (query.placeholders.total, query.unread.counts) == (69, {"tag": 134})


def test_real_ms_agent(cache: Path, shared_data: Path) -> None:
    (account,) = check_file(shared_data / "ms_agent_sample.jsonl", format="sharegpt_tool").accounts
    assert counts(account) == (1, 1, 3, 3), "the calls stand in the assistant's text"


def test_a_benchmark_is_not_in_the_training_data(cache: Path, shared_data: Path) -> None:
    data = shared_data / "glaive_toolcall" / "glaive_toolcall_en_demo.json"
    (clean,) = check_file(data, shared_data / "bfcl" / "simple_python.jsonl", format="sharegpt_tool").accounts
    assert clean.leaks.total == 0
    (same,) = check_file(data, data, format="sharegpt_tool").accounts
    assert same.leaks.counts == {"held-out: all user turns": 300}


def test_formats_that_are_not_known_are_asked_for(cache: Path, write_jsonl: Write) -> None:
    with pytest.raises(XAgentError, match="format.*--format"):
        check_file(write_jsonl({"strange": 1}))
