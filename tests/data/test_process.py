"""process_hf_dataset: every record accounted for, caches that know when they are stale, and what bad input gets."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset, DatasetDict, load_dataset
from transformers import PreTrainedTokenizerFast

from xagent.chat.message import Conversation, Message
from xagent.chat.template import PROMPT_TEMPLATE, render
from xagent.data import TokenDataset, default_collate_fn, load_dataset_from, process_hf_dataset, template_map_fn_factory
from xagent.data import dataset as dataset_module
from xagent.data.cache import function_identity
from xagent.data.encode import encode
from xagent.data.formats import agent_flan_map_fn, openai_map_fn, sharegpt_tool_map_fn
from xagent.data.prepare import fit
from xagent.data.report import BAD, CUT, KEPT, NOTHING_LEARNED, TOO_LONG, DatasetReport
from xagent.errors import ConfigError, DataError

Write = Callable[..., Path]


def talk(*words: str, **last: Any) -> dict[str, Any]:
    messages = [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(words)]
    messages[-1].update(last)
    return {"messages": messages}


def prepared(dataset: Any, tokenizer: Any, **options: Any) -> TokenDataset:
    return process_hf_dataset(dataset, tokenizer, **{"max_length": 128, "template": "qwen_chat", **options})


def ids_of(data: TokenDataset) -> list[list[int]]:
    return [row["input_ids"].tolist() for row in data]


def refused(dataset: Any, tokenizer: Any, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        prepared(dataset, tokenizer, **options)
    return str(caught.value)


TALKS = [talk("hi", "hello"), talk("a", "b", "c", "d"), talk("what?", "x" * 30), talk("q", "r")]


# Rows


def test_rows_are_what_encode_gives(cache: Path, write_jsonl: Write, chatml: PreTrainedTokenizerFast) -> None:
    data = prepared(write_jsonl(*TALKS), chatml, pack_to_max_length=False)
    for row, record in zip(data, TALKS, strict=True):
        example = encode(render(openai_map_fn(record), "qwen_chat"), chatml)
        assert row["input_ids"].tolist() == example.input_ids and row["lengths"] == [len(example)]
        assert row["labels"].tolist() == example.labels
        assert row["loss_weights"].tolist() == example.loss_weights
    assert data.report.reconciles() and data.report.rows == len(data) == 4 and data.report.fill_rate is None
    assert data.report.messages == {"system": 0, "user": 5, "assistant": 5, "tool": 0, "tool calls": 0}
    assert data.sample_lengths == [len(row["input_ids"]) for row in data]
    assert data.report.tokens == sum(data.sample_lengths)
    assert data.report.trained_tokens == sum(int((row["labels"] != -100).sum()) for row in data)


def test_packed_rows_hold_whole_samples(cache: Path, write_jsonl: Write, chatml: PreTrainedTokenizerFast) -> None:
    path = write_jsonl(*TALKS * 5)
    single = sorted(ids_of(prepared(path, chatml, pack_to_max_length=False)))
    data = prepared(path, chatml)
    pieces = []
    for row in data:
        assert len(row["input_ids"]) <= 128 and sum(row["lengths"]) == len(row["input_ids"]) == len(row["labels"])
        pieces += [part.tolist() for part in np.split(row["input_ids"], np.cumsum(row["lengths"])[:-1])]
    assert sorted(pieces) == single
    assert data.report.fill_rate == pytest.approx(data.report.tokens / (len(data) * 128))
    assert ids_of(data) == ids_of(prepared(path, chatml)) != ids_of(prepared(path, chatml, seed=1))
    data_order = prepared(path, chatml, shuffle_before_pack=False)
    assert data_order.rows == prepared(path, chatml, shuffle_before_pack=False, seed=5).rows
    batch = default_collate_fn([data[0], data[1]])["data"]
    assert batch["lengths"] == [*data[0]["lengths"], *data[1]["lengths"]]


def test_rows_travel_to_other_processes(cache: Path, write_jsonl: Write, chatml: PreTrainedTokenizerFast) -> None:
    data = prepared(write_jsonl(*TALKS * 200), chatml)
    before = ids_of(data)
    shipped = pickle.dumps(data)
    assert len(shipped) < 50_000, "the mapped memory must not travel"
    assert ids_of(pickle.loads(shipped)) == before


def test_rows_are_read_in_less_than_a_millisecond(cache: Path, write_jsonl: Write, chatml: PreTrainedTokenizerFast) -> None:
    data = prepared(write_jsonl(*[talk("u" * 50, "a" * 200)] * 40), chatml, max_length=4096)
    assert len(data[0]["input_ids"]) > 3500
    seconds = []
    for _ in range(200):
        started = time.perf_counter()
        data[0]
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 1e-3


# The account


def test_every_record_is_accounted_for(cache: Path, write_jsonl: Write, chatml: PreTrainedTokenizerFast) -> None:
    path = write_jsonl(
        talk("hi", "hello"),
        talk("hi", "hello", "more", "x" * 300),  # cut
        talk("u" * 300, "hello"),  # too long from the start
        talk("hi", "hello", loss=False),  # nothing to learn
        {"messages": [{"role": "narrator", "content": "once"}]},
        {"messages": []},
        7,
    )
    data = prepared(path, chatml, max_length=60, on_bad_record="drop")
    report = data.report
    assert report.records == 7 and report.reconciles() and report.kept == 2
    assert report.outcomes == {KEPT: 1, CUT: 1, TOO_LONG: 1, NOTHING_LEARNED: 1, BAD: 3}
    examples = {outcome: notes[0] for outcome, notes in report.examples.items()}
    assert examples[CUT].startswith(f"{path}:2: ") and examples[CUT].endswith(" tokens, max_length is 60")
    assert examples[TOO_LONG].startswith(f"{path}:3: ")
    assert examples[NOTHING_LEARNED] == f"{path}:4: no message of it is trained"
    assert report.examples[BAD][0].startswith(f"{path}:5: message 0 has the unknown role 'narrator'; expected one of")
    assert report.examples[BAD][1] == f"{path}:6: an openai record needs a non-empty list 'messages', got keys ['messages']"
    assert report.examples[BAD][2] == f"{path}:7: a record must be a JSON object, got 7"
    assert {
        tuple(row) for row in ids_of(prepared(path, chatml, max_length=60, on_bad_record="drop", pack_to_max_length=False))
    } == {
        tuple(encode(render(openai_map_fn(talk("hi", "hello")), "qwen_chat"), chatml).input_ids),
        tuple(
            encode(render(openai_map_fn(talk("hi", "hello", "more", "x")), "qwen_chat"), chatml)
            .cut(data.sample_lengths[1])
            .input_ids
        ),
    }
    text = report.summary()
    assert "7 records" in text and f"             {path}:6: " in text and "messages: " in text


def test_summary_reads_well() -> None:
    report = DatasetReport(
        records=1200,
        outcomes={BAD: 3, KEPT: 1100, CUT: 97},
        examples={BAD: ["a.jsonl:3: no role"], CUT: ["a.jsonl:9: 5000 tokens, max_length is 4096"]},
        messages={"system": 0, "user": 2000, "assistant": 2000, "tool": 5, "tool calls": 7},
        tokens=1_000_000,
        trained_tokens=250_000,
        rows=250,
        fill_rate=0.977,
    )
    assert report.reconciles()
    assert report.summary() == (
        "1,200 records: 1,000,000 tokens kept, 250,000 of them trained (25.0%)\n"
        "      1,100  kept\n"
        "          3  bad record\n"
        "             a.jsonl:3: no role\n"
        "         97  kept, trailing turns cut\n"
        "             a.jsonl:9: 5000 tokens, max_length is 4096\n"
        "        250  rows, 97.7% of their slots filled\n"
        "messages: 2,000 user, 2,000 assistant, 5 tool, 7 tool calls"
    )


def test_truncation_cuts_whole_turns_or_drops(chatml: PreTrainedTokenizerFast) -> None:
    example = encode(render(openai_map_fn(talk("hi", "hello", "more", "x" * 40)), "qwen_chat"), chatml)
    ends = example.turn_ends
    assert fit(example, len(example), "drop_turns") == (example, KEPT, "")
    for length in (len(example) - 1, ends[2], ends[1] + 1, ends[1]):
        kept, outcome, note = fit(example, length, "drop_turns")
        assert outcome == CUT and len(kept) in ends and len(kept) <= length and note.endswith(f"max_length is {length}")
    assert fit(example, ends[1] - 1, "drop_turns")[1] == TOO_LONG, "what remains teaches nothing"
    assert fit(example, len(example) - 1, "drop_sample")[:2] == (type(example)(), TOO_LONG)


def test_drop_sample_counts(cache: Path, write_jsonl: Write, chatml: PreTrainedTokenizerFast) -> None:
    path = write_jsonl(talk("hi", "hello"), talk("hi", "hello", "more", "x" * 300))
    report = prepared(path, chatml, max_length=60, too_long="drop_sample").report
    assert report.outcomes == {KEPT: 1, TOO_LONG: 1} and report.reconciles()


# What bad input gets


def test_bad_records_stop_the_run_together(cache: Path, write_jsonl: Write, chatml: PreTrainedTokenizerFast) -> None:
    broken = {"messages": [{"role": "narrator", "content": "once"}], "id": "seven"}
    path = write_jsonl(talk("hi", "hello"), broken, {"messages": []})
    lines = refused(path, chatml).splitlines()
    assert lines[0] == "2 of 3 records can't be read:"
    assert lines[1].startswith(
        f"  {path}:2 (id seven): message 0 has the unknown role 'narrator'; expected one of ai, api, assistant, bot,"
    )
    assert lines[2] == f"  {path}:3: an openai record needs a non-empty list 'messages', got keys ['messages']"
    assert lines[3] == "Mend them, or drop and count them with on_bad_record='drop'."
    assert not list(cache.glob("*.tmp")), "nothing half-written"
    many = refused(write_jsonl(*[broken] * 25), chatml)
    assert "25 of 25 records" in many and "  and 5 more\n" in many


def test_faults_of_all_data_sets_come_together_and_dropping_encodes_nothing_again(
    cache: Path, write_jsonl: Write, chatml: PreTrainedTokenizerFast, preparations: list[Path]
) -> None:
    one, other = write_jsonl(talk("a", "b"), {}, name="one.jsonl"), write_jsonl({}, talk("c", "d"), name="other.jsonl")
    entries = [{"dataset": str(one)}, {"dataset": str(other)}]
    text = refused(None, chatml, datasets=entries)
    assert f"1 of 2 records can't be read:\n  {one}:2: " in text and f"1 of 2 records can't be read:\n  {other}:1: " in text
    assert prepared(None, chatml, datasets=entries, on_bad_record="drop").report.kept == 2
    assert len(preparations) == 2


def test_bad_records_come_out_of_several_processes(cache: Path, write_jsonl: Write, chatml: PreTrainedTokenizerFast) -> None:
    path = write_jsonl(*TALKS, {"messages": [{"role": "narrator"}]})
    assert refused(path, chatml, num_proc=2).startswith(
        f"1 of 5 records can't be read:\n  {path}:5: message 0 has the unknown role"
    )


def test_files_that_cannot_be_read(cache: Path, write_jsonl: Write, chatml: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    path = write_jsonl(talk("a", "b"), '{"messages": [}')
    said = f'1 of 2 records can\'t be read:\n  {path}:2: broken JSON: Expecting value (column 15): {{"messages": [}}\n'
    assert refused(path, chatml).startswith(said)
    assert refused(dict(type=load_dataset_from, path=str(path)), chatml).startswith(said)
    pointer = tmp_path / "pointer.jsonl"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    assert "this is a Git-LFS pointer, not the data" in refused(str(pointer), chatml)
    assert "no such file or folder" in refused(tmp_path / "none", chatml)
    described = dict(type=load_dataset, path="json", data_files=str(path), cache_dir=str(tmp_path / "hf"))
    assert refused(described, chatml).startswith("the data set can't be read: ")


def test_nothing_left_to_learn(cache: Path, write_jsonl: Write, chatml: PreTrainedTokenizerFast) -> None:
    masked = write_jsonl(talk("hi", "hello", loss=False), talk("hi", "yo", loss=False))
    assert refused(masked, chatml) == (
        "nothing is left to learn from 2 record(s):\n"
        f"  2 dropped: nothing to learn, for example {masked}:1: no message of it is trained\n"
        "Learned are an assistant's messages whose loss is not false."
    )
    long = write_jsonl(talk("hi", "hello"), name="long.jsonl")
    length = len(encode(render(openai_map_fn(talk("hi", "hello")), "qwen_chat"), chatml))
    assert refused(long, chatml, max_length=8) == (
        "nothing is left to learn from 1 record(s):\n"
        f"  1 dropped: too long, for example {long}:1: {length} tokens, max_length is 8\n"
        "Raise max_length."
    )
    bad = write_jsonl({}, name="bad.jsonl")
    assert "1 bad record, for example" in refused(bad, chatml, on_bad_record="drop")


def test_half_surrogates_are_bad_records(cache: Path, write_jsonl: Write, chatml: PreTrainedTokenizerFast) -> None:
    path = write_jsonl('{"messages": [{"role": "user", "content": "\\ud83d"}, {"role": "assistant", "content": "x"}]}')
    assert f"{path}:1: its text holds half a surrogate pair ('\\ud83d'), which is no character" in refused(path, chatml)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"too_long": "cut"}, "too_long must be one of drop_turns, drop_sample, got 'cut'"),
        ({"on_bad_record": "skip"}, "on_bad_record must be one of error, drop, got 'skip'"),
        ({"max_length": 0}, "max_length must be a whole number of tokens, at least 2, got 0"),
        ({"template": "lama3_chat"}, "unknown chat template 'lama3_chat'; did you mean llama3_chat"),
        ({"protocol": "reakt"}, "unknown protocol 'reakt'"),
        ({"split": "trian", "dataset": "dict"}, "the data set has no split 'trian'; it has train, test"),
        ({"dataset": [1]}, r"dataset must be a path or give a datasets.Dataset \(not a streaming one\), got a list"),
        ({"dataset": {"path": "x"}}, "got a dict without 'type'"),
        ({"dataset_map_fn": 3}, "dataset_map_fn must be a function from row to Conversation, got 3"),
        (
            {"dataset_map_fn": "xagent.data.formats.openai_mapfn"},
            "got 'xagent.data.formats.openai_mapfn'; did you mean xagent.data.formats.openai_map_fn?",
        ),
        (
            {"template_map_fn": "llama3"},
            r"template_map_fn must be dict\(type=template_map_fn_factory, template=...\), got 'llama3'",
        ),
    ],
)
def test_options_are_checked(cache: Path, chatml: PreTrainedTokenizerFast, options: dict[str, Any], fault: str) -> None:
    table = Dataset.from_list(TALKS)
    given = {"dataset": table, "tokenizer": chatml, "max_length": 64, "template": "qwen_chat", **options}
    if given["dataset"] == "dict":
        given["dataset"] = DatasetDict(train=table, test=table)
    with pytest.raises(ConfigError, match=fault):
        process_hf_dataset(**given)


# The cache


@pytest.fixture
def preparations(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that were prepared, rather than found."""
    seen: list[Path] = []

    def watched(*arguments: Any) -> None:
        seen.append(arguments[-1])
        dataset_prepare(*arguments)

    dataset_prepare = dataset_module.prepare
    monkeypatch.setattr(dataset_module, "prepare", watched)
    return seen


def plain_map_fn(row: Any) -> Conversation:
    return openai_map_fn(row)


def shouting_map_fn(row: Any, mark: str = "!") -> Conversation:
    messages = openai_map_fn(row).messages
    return Conversation(tuple(Message(m.role, m.content + mark) for m in messages))


def test_a_second_call_prepares_nothing(
    cache: Path, write_jsonl: Write, chatml: PreTrainedTokenizerFast, preparations: list[Path]
) -> None:
    path = write_jsonl(*TALKS)
    first, second = prepared(path, chatml), prepared(path, chatml)
    assert len(preparations) == 1
    assert ids_of(first) == ids_of(second) and first.report == second.report
    prepared(path, chatml, pack_to_max_length=False)
    prepared(path, chatml, seed=7)
    assert len(preparations) == 1, "packing is not part of what is cached"
    prepared(path, chatml, template=None, template_map_fn=dict(type=template_map_fn_factory, template=PROMPT_TEMPLATE.qwen_chat))
    assert len(preparations) == 1, "the same template in XTuner's spelling"


def test_what_changes_is_prepared_again(
    cache: Path, write_jsonl: Write, chatml: PreTrainedTokenizerFast, preparations: list[Path]
) -> None:
    path = write_jsonl(*TALKS)
    other = PreTrainedTokenizerFast(tokenizer_object=chatml.backend_tokenizer, eos_token="<|endoftext|>")
    other.add_tokens(["hello"])
    restyled = PreTrainedTokenizerFast(tokenizer_object=chatml.backend_tokenizer, eos_token="<|im_end|>")
    restyled.chat_template = str(chatml.chat_template).replace("helpful", "careful")
    ways: list[dict[str, Any]] = [
        {},
        {"template": "internlm2_chat"},
        {"template": "default"},
        {"template": "tokenizer"},
        {"template": "tokenizer", "tokenizer": restyled},
        {"tokenizer": other},
        {"max_length": 64},
        {"protocol": "hermes"},
        {"too_long": "drop_sample"},
        {"max_dataset_length": 2},
        {"dataset_map_fn": plain_map_fn},
        {"dataset_map_fn": shouting_map_fn},
        {"dataset_map_fn": partial(shouting_map_fn, mark="?")},
        {"dataset_map_fn": partial(shouting_map_fn, mark="...")},
    ]
    for count, way in enumerate(ways, 1):
        prepared(path, **{"tokenizer": chatml, **way})
        assert len(preparations) == count, way
    for way in ways:
        prepared(path, **{"tokenizer": chatml, **way})
    assert len(preparations) == len(ways), "and each is found again"
    write_jsonl(*TALKS, talk("new", "data"))
    prepared(path, chatml)
    assert len(preparations) == len(ways) + 1


def test_functions_are_known_by_what_they_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closing_over(value: Any) -> Any:
        return lambda row: value

    class Mapper:
        def __init__(self, word: str) -> None:
            self.word = word

        def __call__(self, row: Any) -> Any:
            return self.word

        def method(self, row: Any) -> Any:
            return self.word

    same = [closing_over({"a": 1}), closing_over({"a": 2}), closing_over(closing_over(1)), closing_over(closing_over(2))]
    same += [Mapper("x"), Mapper("y"), Mapper("x").method, Mapper("y").method, plain_map_fn, shouting_map_fn]
    names = [function_identity(function) for function in same]
    assert len(set(names)) == len(names)
    assert function_identity(closing_over({"a": 1})) == names[0] and function_identity(Mapper("x")) == names[4]
    monkeypatch.syspath_prepend(tmp_path)
    identities = []
    for body in ("return 1", "return helper()"):
        (tmp_path / "changing_map_fn.py").write_text(f"def helper():\n    return 1\n\n\ndef map_fn(row):\n    {body}\n")
        import importlib
        import sys

        sys.modules.pop("changing_map_fn", None)
        importlib.invalidate_caches()
        identities.append(function_identity(importlib.import_module("changing_map_fn").map_fn))
    assert identities[0] != identities[1]


def test_what_was_begun_and_not_finished_is_begun_again(
    cache: Path, write_jsonl: Write, chatml: PreTrainedTokenizerFast, preparations: list[Path]
) -> None:
    path = write_jsonl(*TALKS)
    prepared(path, chatml)
    folder = preparations[0].with_suffix("")
    (folder / "report.json").unlink()
    (folder.with_suffix(".tmp")).mkdir()
    assert len(prepared(path, chatml)) > 0 and len(preparations) == 2
    assert not folder.with_suffix(".tmp").exists() and not (folder / "scratch").exists()


# Tables of other kinds


def test_two_processes_give_what_one_gives(
    cache: Path, write_jsonl: Write, chatml: PreTrainedTokenizerFast, monkeypatch: Any
) -> None:
    path = write_jsonl(*[talk(f"question {i}", f"answer {i * i}") for i in range(300)], talk("x", "y", loss=False))
    one = prepared(path, chatml, num_proc=1)
    monkeypatch.setenv("XAGENT_CACHE", str(cache.parent / "other"))
    two = prepared(path, chatml, num_proc=2)
    assert ids_of(one) == ids_of(two) and one.report == two.report
    assert not list(cache.parent.rglob("scratch"))


def test_converted_agent_flan_with_nulls_for_missing_loss(cache: Path, tmp_path: Path, chatml: PreTrainedTokenizerFast) -> None:
    ask = {"role": "user", "content": "a"}
    hidden, shown = ({"role": "assistant", "content": text, "loss": loss} for text, loss in (("hidden", False), ("shown", True)))
    rows = [
        {"messages": [ask, {"role": "assistant", "content": "b"}], "id": "1", "source": "x.jsonl", "line": 1},
        {"messages": [{**ask, "loss": False}, hidden, shown], "id": "2", "source": "x.jsonl", "line": 2},
        {"messages": [ask, hidden], "id": "3", "source": "y.jsonl", "line": 9},
    ]
    Dataset.from_list(rows).save_to_disk(str(tmp_path / "flan"))
    table = load_dataset_from(tmp_path / "flan")
    assert table[0]["messages"][0]["loss"] is None
    data = prepared(tmp_path / "flan", chatml, dataset_map_fn=agent_flan_map_fn, pack_to_max_length=False)
    said = [chatml.decode([label for label in row["labels"] if label != -100]) for row in data]
    assert said == ["b<|im_end|>", "shown<|im_end|>"]
    assert data.report.examples[NOTHING_LEARNED] == ["y.jsonl:9 (id 3): no message of it is trained"]
    assert sorted(path.name for path in (tmp_path / "flan").iterdir()) == [
        "data-00000-of-00001.arrow",
        "dataset_info.json",
        "state.json",
    ]


def test_nulls_of_typed_tables_are_missing_keys(cache: Path, chatml: PreTrainedTokenizerFast) -> None:
    def calling(name: str, **given: Any) -> dict[str, Any]:
        call = {"function": {"name": name, "arguments": given}}
        parameters = {"type": "object", "properties": {key: {"type": "string"} for key in given}}
        record = talk("do", "")
        record["messages"][1]["tool_calls"] = [call]
        return {**record, "tools": [{"name": name, "parameters": parameters}]}

    table = Dataset.from_list([calling("f", city="Paris"), calling("g", query="x")])
    assert table[0]["messages"][1]["tool_calls"][0]["function"]["arguments"] == {"city": "Paris", "query": None}
    data = prepared(table, chatml, protocol="hermes", pack_to_max_length=False, max_length=2048)
    assert '"arguments": {"city": "Paris"}}\n</tool_call>' in chatml.decode(data[0]["input_ids"])
    assert "null" not in chatml.decode(data[0]["input_ids"])


def test_in_memory_tables_and_splits(cache: Path, chatml: PreTrainedTokenizerFast, preparations: list[Path]) -> None:
    tables = DatasetDict(train=Dataset.from_list(TALKS), test=Dataset.from_list(TALKS[:1]))
    assert prepared(tables, chatml).report.records == 4
    assert prepared(tables, chatml, split="test").report.records == 1
    assert prepared(DatasetDict(train=Dataset.from_list(TALKS)), chatml).report.records == 4
    assert len(preparations) == 2, "equal tables are one"


def test_faults_of_own_map_functions_are_named(cache: Path, write_jsonl: Write, chatml: PreTrainedTokenizerFast) -> None:
    def clumsy(row: Any) -> Any:
        return row["missing"]

    def wrong(row: Any) -> Any:
        return [row]

    path = write_jsonl(*TALKS[:1])
    assert f"{path}:1: clumsy can't read it: KeyError: 'missing'" in refused(path, chatml, dataset_map_fn=clumsy)
    assert f"{path}:1: wrong must give a Conversation, got list" in refused(path, chatml, dataset_map_fn=wrong)


def test_map_functions_by_name(cache: Path, write_jsonl: Write, chatml: PreTrainedTokenizerFast) -> None:
    named = prepared(write_jsonl(*TALKS), chatml, dataset_map_fn="xagent.data.formats.openai_map_fn")
    assert named.report.kept == 4


@pytest.mark.parametrize("protocol", ["react", "hermes"])
def test_real_glaive_records_are_all_accounted_for(
    cache: Path, shared_data: Path, qwen: PreTrainedTokenizerFast, protocol: str
) -> None:
    data = prepared(
        shared_data / "glaive_toolcall" / "glaive_toolcall_zh_demo.json",
        qwen,
        dataset_map_fn=sharegpt_tool_map_fn,
        protocol=protocol,
        max_length=2048,
    )
    english = prepared(
        shared_data / "glaive_toolcall" / "glaive_toolcall_en_demo.json",
        qwen,
        dataset_map_fn=sharegpt_tool_map_fn,
        protocol=protocol,
        max_length=2048,
    )
    for report in (data.report, english.report):
        assert report.records == 300 and report.reconciles() and BAD not in report.outcomes
    assert data.report.messages["tool calls"] + english.report.messages["tool calls"] == 427
    assert data.report.fill_rate is not None and data.report.fill_rate > 0.95
