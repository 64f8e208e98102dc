"""Bad rows: each is counted with its place and reason, none is fatal, and its neighbours are read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from xagent.data import load_dataset_from, process_hf_dataset
from xagent.data.formats import openai_map_fn
from xagent.data.report import BAD
from xagent.data.rows import record_in
from xagent.errors import DataError

Write = Callable[..., Path]
GOOD: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}
DEEP = "[" * 200_000 + "]" * 200_000
HUGE = "9" * 5_000


def calling(arguments: str) -> str:
    """Give a record with one call, whose arguments are put in as JSON text."""
    call = f'{{"function": {{"name": "f", "arguments": {arguments}}}}}'
    return f'{{"messages": [{{"role": "user", "content": "u"}}, {{"role": "assistant", "tool_calls": [{call}]}}]}}'


def offering(tools: str) -> str:
    """Give a record with tools, put in as JSON text."""
    return f'{{"messages": {json.dumps(GOOD["messages"])}, "tools": {tools}}}'


BAD_ROWS = {
    "deeply nested": (f'{{"messages": {DEEP}}}', "its JSON is nested too deeply to be read"),
    "deeply nested arguments": (calling("[" * 150 + "]" * 150), "the arguments of a call must be an object, got list"),
    "deeply nested inside arguments": (
        calling('{"a": ' + "[" * 150 + "]" * 150 + "}"),
        "message 1 (role 'assistant'): call 0: arguments of 'f': nested deeper than 100 levels",
    ),
    "deeply nested text of arguments": (calling(json.dumps('{"a": ' + DEEP + "}")), "no valid JSON (nested too deeply)"),
    "deeply nested schema": (
        offering('[{"name": "f", "parameters": {"a": ' + "[" * 150 + "]" * 150 + "}}]"),
        "tool 'f': parameters: nested deeper than 100 levels",
    ),
    "huge number": (calling(f'{{"a": {HUGE}}}'), "its JSON can't be read: Exceeds the limit"),
    "NaN": (calling('{"a": [1, NaN]}'), "arguments of 'f': nan is no JSON number"),
    "infinity": (calling('{"a": -Infinity}'), "arguments of 'f': -inf is no JSON number"),
    "number beyond floats": (calling('{"a": 1e999}'), "arguments of 'f': inf is no JSON number"),
    "NaN in text": (calling(json.dumps('{"a": NaN}')), "arguments of 'f': nan is no JSON number"),
    "NaN as weight": (
        '{"messages": [{"role": "assistant", "content": "a", "weight": NaN}]}',
        "message 0 (role 'assistant'): weight must be a finite number >= 0, got nan",
    ),
    "equal keys": (calling('{"a": 1, "b": 2, "a": 3}'), "the key 'a' stands twice in one object"),
    "equal keys in text": (calling(json.dumps('{"a": 1, "a": 3}')), "the key 'a' stands twice in one object"),
    "equal keys in a Python literal": (
        calling(json.dumps("{'a': {'b': 1, 'b': True}}")),
        "the key 'b' stands twice in one object",
    ),
    "raw control character": ('{"messages": [{"role": "user", "content": "a\x1bb"}]}', "broken JSON: Invalid control character"),
    "null in a name": (calling("{}").replace('"f"', '"f\\ng"'), "the name must be one line without space around it, got 'f\\ng'"),
    "half a surrogate pair": ('{"messages": [{"role": "assistant", "content": "\\ud83d"}]}', "half a surrogate pair"),
    "half a pair in a fault": ('{"messages": [{"role": "\\ud83d"}]}', "message 0 has the unknown role '\\ud83d'"),
    "tools that are not JSON": (offering('"get_weather(city)"'), "'tools' must be a JSON list (broken JSON: Expecting value"),
    "tools that are no list": (offering('{"name": "f"}'), "'tools' must be a JSON list, got dict"),
    "a tool without name": (offering('[{"name": "f"}, {}]'), "tool 1: a tool needs a non-empty 'name', got {}"),
    "schema that is no object": (offering('[{"name": "f", "parameters": []}]'), "'parameters' must be a JSON schema object"),
    "no object": ("[1, 2]", "a record must be a JSON object, got [1, 2]"),
    "null": ("null", "a record must be a JSON object, got None"),
    "empty object": ("{}", "needs a non-empty list 'messages', got keys []"),
}


def encode(path: Path, tokenizer: PreTrainedTokenizerFast, **options: Any) -> Any:
    options = dict(max_length=4096, template="qwen_chat", on_bad_record="drop", protocol="hermes") | options
    return process_hf_dataset(str(path), tokenizer, **options)


def test_bad_rows_are_counted_and_shown(cache: Path, write_jsonl: Write, chatml: PreTrainedTokenizerFast) -> None:
    lines: list[Any] = []
    for bad, _ in BAD_ROWS.values():
        lines += [GOOD, bad]
    path = write_jsonl(*lines)
    report = encode(path, chatml).report
    assert report.records == len(lines) and report.reconciles()
    assert report.outcomes == {"kept": len(BAD_ROWS), BAD: len(BAD_ROWS)}
    shown = report.examples[BAD]
    for number, (note, (name, (_, fault))) in enumerate(zip(shown, BAD_ROWS.items(), strict=False)):
        assert note.startswith(f"{path}:{2 * number + 2}: "), name
        assert fault in note, name
        assert note.isprintable(), name


@pytest.mark.parametrize("name", ["deeply nested", "NaN", "equal keys"])
def test_a_bad_row_stops_a_strict_run_with_its_place(
    cache: Path, write_jsonl: Write, chatml: PreTrainedTokenizerFast, name: str
) -> None:
    bad, fault = BAD_ROWS[name]
    path = write_jsonl(GOOD, bad)
    with pytest.raises(DataError) as caught:
        encode(path, chatml, on_bad_record="error")
    assert f"1 of 2 records can't be read:\n  {path}:2: " in str(caught.value)
    assert fault in str(caught.value)


def test_bad_elements_of_a_list_are_rows_of_their_own(cache: Path, tmp_path: Path, chatml: PreTrainedTokenizerFast) -> None:
    path = tmp_path / "list.json"
    elements = [json.dumps(GOOD), f'{{"messages": {DEEP}}}', f'{{"a": {HUGE}}}', '{"a": 1, "a": 2}', json.dumps(GOOD)]
    path.write_bytes(("[" + ",\n".join(elements)).encode() + b',\n{"a": "\xff"}, 7]')
    report = encode(path, chatml).report
    assert report.outcomes == {"kept": 2, BAD: 5}
    assert [note.removeprefix(f"{path}:")[:40] for note in report.examples[BAD]] == [
        "2: its JSON is nested too deeply to be r",
        "3: its JSON can't be read: Exceeds the l",
        "4: the key 'a' stands twice in one objec",
        "6: it holds a byte that is no UTF-8 (0xf",
        "7: a record must be a JSON object, got 7",
    ]


BIG: dict[str, Any] = {"messages": [GOOD["messages"][0], {"role": "assistant", "content": "word " * 2_000_000}]}


def test_turns_of_ten_megabytes_are_read(cache: Path, write_jsonl: Write, tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text(json.dumps([BIG, GOOD]))
    for path in (write_jsonl(BIG, GOOD), tmp_path / "list.json"):
        big, good = (openai_map_fn(record_in(row)).validate() for row in load_dataset_from(path))
        assert len(big.messages[1].content) == 10_000_000 and good.messages[1].content == "hello"


@pytest.mark.slow
def test_turns_of_ten_megabytes_are_too_long(cache: Path, write_jsonl: Write, chatml: PreTrainedTokenizerFast) -> None:
    path = write_jsonl(GOOD, BIG, GOOD)
    report = encode(path, chatml).report
    assert report.outcomes == {"kept": 2, "dropped: too long": 1}
    assert report.examples["dropped: too long"][0].startswith(f"{path}:2: ")


def test_control_characters_are_data_where_json_allows_them(
    cache: Path, write_jsonl: Write, chatml: PreTrainedTokenizerFast
) -> None:
    text = "a\x00b\x1b[31mc\x7f\u2028\u202e\ufeffd"
    record = {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": text}]}
    data = encode(write_jsonl(record), chatml, pack_to_max_length=False)
    assert chatml.decode(data[0]["input_ids"]).count(text) == 2


@pytest.mark.parametrize("tools", ["[]", "null", '""', '" "', '"[]"', '"null"'])
def test_empty_tools_are_no_tools(cache: Path, write_jsonl: Write, chatml: PreTrainedTokenizerFast, tools: str) -> None:
    data = encode(write_jsonl(offering(tools)), chatml, pack_to_max_length=False)
    plain = encode(write_jsonl(GOOD, name="plain.jsonl"), chatml, pack_to_max_length=False)
    assert list(data[0]["input_ids"]) == list(plain[0]["input_ids"])
