"""Mixing: exact amounts, random under the seed, no leak into training, and counts that add up."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from xagent.data import DataSource, TokenDataset, process_hf_dataset, self_cognition_map_fn_factory
from xagent.data.dataset import learning_faults
from xagent.data.formats import alpaca_map_fn, openai_map_fn
from xagent.data.mix import draw, interleave, read_sources, samples_wanted, split_validation
from xagent.data.report import SourceReport, mix_table
from xagent.errors import ConfigError, DataError

Write = Callable[..., Path]


def talks(word: str, count: int) -> list[dict[str, Any]]:
    return [
        {"messages": [{"role": "user", "content": f"{word} {n}"}, {"role": "assistant", "content": f"{word} is {n * n}"}]}
        for n in range(count)
    ]


def said(data: TokenDataset, tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """What the samples ask, in the data's order: ``red 3``."""
    texts = [tokenizer.decode(data.table.lists("input_ids")[int(place)]) for place in data.samples]
    return [text.split("user\n")[1].split("<|im_end|>")[0] for text in texts]


@pytest.fixture
def mixed(cache: Path, write_jsonl: Write, chatml: PreTrainedTokenizerFast) -> Callable[..., TokenDataset]:
    """Mix 10 red, 20 green and 4 blue conversations."""
    paths = {word: write_jsonl(*talks(word, count), name=f"{word}.jsonl") for word, count in COUNTS.items()}

    def make(*amounts: dict[str, Any], **options: Any) -> TokenDataset:
        entries = [{"dataset": str(path), **amount} for path, amount in zip(paths.values(), amounts or [{}, {}, {}], strict=True)]
        return process_hf_dataset(
            **{"datasets": entries, "tokenizer": chatml, "max_length": 128, "template": "qwen_chat", **options}
        )

    return make


COUNTS = {"red": 10, "green": 20, "blue": 4}
WHOLE: dict[str, Any] = {}


# Amounts


def test_the_recipe_of_three_lines(mixed: Any, chatml: PreTrainedTokenizerFast) -> None:
    data = mixed(WHOLE, {"ratio": 1.5}, {"num_samples": 11})
    counts = Counter(said(data, chatml))
    red, green, blue = ({text: n for text, n in counts.items() if text.startswith(word)} for word in COUNTS)
    assert red == {f"red {n}": 1 for n in range(10)}, "whole"
    assert sum(green.values()) == 15 and set(green.values()) == {1}, "15 of 20, none twice"
    assert sum(blue.values()) == 11 and sorted(blue.values()) == [2, 3, 3, 3], "whole passes first, then a sample"
    report = data.report
    assert report.reconciles() and report.records == 34 and report.kept == 34
    assert [(one.name, one.samples, one.used, one.left_out) for one in report.sources] == [
        ("red.jsonl", 10, 10, 0),
        ("green.jsonl", 15, 15, 5),
        ("blue.jsonl", 11, 4, 0),
    ]


def test_tokens_of_each_source_are_those_of_its_samples(mixed: Any) -> None:
    data = mixed({"weight": 2}, {"weight": 0.5}, {"weight": 2.5})
    assert [one.samples for one in data.report.sources] == [20, 10, 10]
    rows = list(data)
    assert data.report.tokens == sum(len(row["input_ids"]) for row in rows) == sum(data.sample_lengths)
    trained = sum(
        int((part[1:] != -100).sum()) for row in rows for part in np.split(row["labels"], np.cumsum(row["lengths"])[:-1])
    )
    assert data.report.trained_tokens == trained
    assert data.report.fill_rate == pytest.approx(data.report.tokens / (len(data) * 128))
    ids, trained_column = data.table.lists("input_ids"), data.table.numbers("trained")
    starts = np.cumsum([0, *COUNTS.values()])
    for one, start, stop in zip(data.report.sources, starts[:-1], starts[1:], strict=True):
        places = [int(place) for place in data.samples if start <= place < stop]
        assert one.tokens == sum(len(ids[place]) for place in places)
        assert one.trained_tokens == sum(int(trained_column[place]) for place in places)


def test_a_source_may_have_loss_weights_of_its_own(mixed: Any) -> None:
    doubled = {"red": [2.0, 1.0]}
    data = mixed(WHOLE, {"loss_weights": []}, {"loss_weights": "hermes"}, loss_weights=doubled)
    weights = data.table.lists("loss_weights")
    seen = [{float(weight) for weight in weights[place]} for place in (0, 10, 30)]
    assert 2.0 in seen[0], "red has the data set's"
    assert seen[1] == {0.0, 1.0} == seen[2], "green has none, blue has others"


def test_faulty_loss_weights_of_a_source_are_named_when_the_config_loads() -> None:
    entries = [{"dataset": "a"}, {"dataset": "b", "loss_weights": "reakt"}]
    (fault,) = learning_faults({"datasets": entries})
    assert fault.startswith("datasets.1.loss_weights") and "reakt" in fault


def test_a_sample_is_random_under_the_seed(mixed: Any, chatml: PreTrainedTokenizerFast) -> None:
    amounts = (WHOLE, {"num_samples": 6}, WHOLE)
    chosen = {seed: frozenset(text for text in said(mixed(*amounts, seed=seed), chatml) if "green" in text) for seed in range(6)}
    assert all(len(texts) == 6 for texts in chosen.values()) and len(set(chosen.values())) == 6
    assert chosen[3] == {text for text in said(mixed(*amounts, seed=3), chatml) if "green" in text}
    assert frozenset(f"green {n}" for n in range(6)) not in chosen.values(), "not the first ones"


@settings(max_examples=100, deadline=None)
@given(size=st.integers(1, 40), wanted=st.integers(1, 200), seed=st.integers(-5, 2**70))
def test_draw_repeats_whole_passes_then_samples(size: int, wanted: int, seed: int) -> None:
    pool = np.arange(100, 100 + size)
    counts = np.bincount(draw(pool, wanted, seed, 0) - 100, minlength=size)
    assert counts.sum() == wanted and counts.max() - counts.min() <= 1 and counts.min() == wanted // size


def test_every_record_is_as_likely_as_the_others() -> None:
    drawn = np.concatenate([draw(np.arange(20), 5, seed, 0) for seed in range(4000)])
    counts = np.bincount(drawn, minlength=20)
    assert abs(counts - 1000).max() < 150, counts  # 1000 expected, a standard deviation of 27


def test_ratio_counts_what_is_taken_whole_or_by_weight() -> None:
    sources = read_sources([{"dataset": "a"}, {"dataset": "b", "weight": 0.5}, {"dataset": "c", "ratio": 2}])
    assert samples_wanted(sources, [30, 20, 7]) == [30, 10, 80]
    with pytest.raises(DataError, match="c: nothing of this data set is left"):
        samples_wanted(sources, [30, 20, 0])


def test_mixing_encodes_each_data_set_once(mixed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    mixed()
    from xagent.data import dataset as module

    def unexpected(*arguments: Any) -> None:
        raise AssertionError("it is in the cache")

    monkeypatch.setattr(module, "prepare", unexpected)
    assert mixed({"weight": 3}, {"ratio": 2}, {"num_samples": 100}, val_size=0.2, seed=9).report.reconciles()


def test_dropped_records_are_counted_by_source(cache: Path, write_jsonl: Write, chatml: PreTrainedTokenizerFast) -> None:
    good, poor = write_jsonl(*talks("red", 5), name="a.jsonl"), write_jsonl(*talks("x", 3), {"messages": []}, 7, name="b.jsonl")
    entries = [{"dataset": str(good)}, {"dataset": str(poor), "num_samples": 7}]
    data = process_hf_dataset(datasets=entries, tokenizer=chatml, max_length=128, template="qwen_chat", on_bad_record="drop")
    first, second = data.report.sources
    assert (first.records, first.kept, second.records, second.kept, second.samples) == (5, 5, 5, 3, 7)
    assert second.outcomes == {"bad record": 2, "kept": 3} and data.report.reconciles() and data.report.records == 10
    assert data.report.examples["bad record"][0].startswith(f"{poor}:4: ")


# Order


def test_interleaving_stops_at_the_first_or_the_last(mixed: Any, chatml: PreTrainedTokenizerFast) -> None:
    probabilities = [0.25, 0.5, 0.25]
    first = Counter(text.split()[0] for text in said(mixed(interleave_probs=probabilities), chatml))
    assert first["blue"] == 4 and first["red"] < 10 and first["green"] < 20
    counts = Counter(said(mixed(interleave_probs=probabilities, stopping_strategy="all_exhausted"), chatml))
    by_word = {word: [n for text, n in counts.items() if text.split()[0] == word] for word in COUNTS}
    assert all(len(by_word[word]) == size for word, size in COUNTS.items()), "each record at least once"
    assert sum(by_word["blue"]) > 8 and max(by_word["blue"]) - min(by_word["blue"]) <= 1


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    parts=st.lists(st.integers(1, 9), min_size=4, max_size=4),
    everything=st.booleans(),
    seed=st.integers(0, 99),
)
def test_interleave_rules(sizes: list[int], parts: list[int], everything: bool, seed: int) -> None:
    probabilities = [part / sum(parts[: len(sizes)]) for part in parts[: len(sizes)]]
    pools = [np.arange(size) + 100 * index for index, size in enumerate(sizes)]
    order, samples = interleave(pools, probabilities, "all_exhausted" if everything else "first_exhausted", seed)
    counts = [int((order == index).sum()) for index in range(len(sizes))]
    assert counts == [len(one) for one in samples]
    full = [count >= size for count, size in zip(counts, sizes, strict=True)]
    last = int(order[-1])
    if everything:
        assert all(full) and counts[last] == sizes[last], "it stops with the last data set's last record"
    else:
        assert sum(full) == 1 and counts[last] == sizes[last]
    for one, pool in zip(samples, pools, strict=True):
        for start in range(0, len(one), len(pool)):
            turn = one[start : start + len(pool)]
            assert len(set(turn.tolist())) == len(turn) and set(turn.tolist()) <= set(pool.tolist()), (
                "each pass is of all records"
            )


def test_interleaving_follows_the_probabilities() -> None:
    order, _ = interleave([np.arange(10**6)] * 2, [0.2, 0.8], "first_exhausted", 0)
    assert np.mean(order == 0) == pytest.approx(0.2, abs=0.002)
    halves = [np.mean(half == 0) for half in np.array_split(order, 10)]
    assert np.std(halves) < 0.005, "all along"


def test_samples_of_unpacked_rows_come_in_order(mixed: Any, chatml: PreTrainedTokenizerFast) -> None:
    data = mixed(interleave_probs=[0.4, 0.4, 0.2], pack_to_max_length=False)
    texts = said(data, chatml)
    rows = [chatml.decode(row["input_ids"]) for row in data]
    assert len(rows) == len(texts) and all(text in row for text, row in zip(texts, rows, strict=True))
    assert [text.split()[0] for text in texts] != sorted(text.split()[0] for text in texts)


# Validation


def test_validation_is_taken_before_upsampling(mixed: Any, chatml: PreTrainedTokenizerFast) -> None:
    amounts = ({"weight": 5}, WHOLE, {"num_samples": 50})
    train = mixed(*amounts, val_size=0.25)
    held_out = mixed(*amounts, val_size=0.25, part="validation")
    trained, validated = said(train, chatml), said(held_out, chatml)
    assert not set(trained) & set(validated), "no leak"
    assert len(validated) == len(set(validated)) == round(34 * 0.25), "each once, whatever the weights"
    assert Counter(text.split()[0] for text in validated) == {"red": 2, "green": 5, "blue": 1}, "a quarter of each"
    assert set(trained) | set(validated) == {
        text for word, count in COUNTS.items() for text in (f"{word} {n}" for n in range(count))
    }
    assert len([text for text in trained if "blue" in text]) == 50
    for report in (train.report, held_out.report):
        assert report.reconciles()
    assert [one.set_aside for one in train.report.sources] == [one.samples for one in held_out.report.sources]
    assert said(mixed(*amounts, val_size=8, part="validation"), chatml) == validated, "a count is as good as a share"
    assert said(mixed(*amounts, val_size=8, part="validation", seed=1), chatml) != validated
    most = mixed(*amounts, val_size=0.25, max_val_samples=4, part="validation")
    assert said(most, chatml) == said(mixed(*amounts, val_size=4, part="validation"), chatml)
    assert len(mixed(*amounts, val_size=4, max_val_samples=100, part="validation").samples) == 4


def test_equal_samples_are_on_one_side(cache: Path, write_jsonl: Write, chatml: PreTrainedTokenizerFast) -> None:
    one, other = write_jsonl(*talks("red", 20) * 3, name="a.jsonl"), write_jsonl(*talks("red", 30), name="b.jsonl")
    options = dict(tokenizer=chatml, max_length=128, template="qwen_chat", val_size=0.1)
    entries = [{"dataset": str(one)}, {"dataset": str(other)}]
    train, held_out = (process_hf_dataset(datasets=entries, **options, part=part) for part in ("train", "validation"))
    assert not set(said(train, chatml)) & set(said(held_out, chatml))
    assert len(train.samples) + len(held_out.samples) == 90 and len(held_out.samples) > 9


def test_a_single_data_set_can_be_split(cache: Path, write_jsonl: Write, chatml: PreTrainedTokenizerFast) -> None:
    path = str(write_jsonl(*talks("red", 40)))
    train, held_out = (
        process_hf_dataset(path, chatml, 128, template="qwen_chat", val_size=0.1, part=part) for part in ("train", "validation")
    )
    assert (len(train.samples), len(held_out.samples)) == (36, 4)
    assert "held out" in train.report.summary()
    for part in ("train", "validation"):
        with pytest.raises(DataError, match=r"val_size = 0.01 of 40 samples leaves nothing for the validation part"):
            process_hf_dataset(path, chatml, 128, template="qwen_chat", val_size=0.01, part=part)
    with pytest.raises(DataError, match="leaves nothing for the train part"):
        process_hf_dataset(path, chatml, 128, template="qwen_chat", val_size=40)


@settings(max_examples=60, deadline=None)
@given(
    data=st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=30), min_size=1, max_size=4),
    size=st.floats(0.05, 0.9),
    seed=st.integers(0, 9),
)
def test_parts_are_a_partition(data: list[list[int]], size: float, seed: int) -> None:
    numbers = [np.array(one, np.uint64) for one in data]
    try:
        train, held_out = (split_validation(numbers, size, part, seed) for part in ("train", "validation"))
    except DataError:
        return
    for one, left, right in zip(numbers, train, held_out, strict=True):
        assert sorted([*left, *right]) == list(range(len(one)))
    values = [{int(n) for one, places in zip(numbers, part, strict=True) for n in one[places]} for part in (train, held_out)]
    assert not values[0] & values[1]


# The report


def test_the_realised_mix_is_a_table() -> None:
    sources = [
        SourceReport("ms_agent", 30_000, {"kept": 29_990, "bad record": 10}, 0, 0, 29_990, 29_990, 20_000_000, 5_000_000),
        SourceReport("self", 134, {"kept": 134}, 14, 0, 120, 3_000, 180_000, 60_000),
    ]
    assert all(one.reconciles() for one in sources)
    assert mix_table(sources) == [
        "mix       records    kept  held out  not drawn    used  samples  passes      tokens    trained   share",
        "ms_agent   30,000  29,990         0          0  29,990   29,990    1.00  20,000,000  5,000,000   98.8%",
        "self          134     134        14          0     120    3,000   25.00     180,000     60,000    1.2%",
        "in all     30,134  30,124        14          0  30,110   32,990    1.10  20,180,000  5,060,000  100.0%",
    ]


def test_the_mix_is_in_the_summary_and_survives_json(mixed: Any, tmp_path: Path) -> None:
    report = mixed({"weight": 2}, WHOLE, WHOLE).report
    assert "\n".join(mix_table(report.sources)) in report.summary()
    report.save(tmp_path / "report.json")
    assert type(report).load(tmp_path / "report.json") == report
    json.loads((tmp_path / "report.json").read_text())


# Faults


@pytest.mark.parametrize(
    ("entries", "faults"),
    [
        ([], ["datasets must be a list of dict(dataset=..., dataset_map_fn=..., ...), got []"]),
        ("a.jsonl", ["datasets must be a list of dict(dataset=..., dataset_map_fn=..., ...), got 'a.jsonl'"]),
        (["a"], ["datasets.0: expected dict(dataset=..., dataset_map_fn=..., ...), got 'a'"]),
        (
            [{"dataset": "a", "wieght": 2}, {"weight": 0, "num_samples": 1.5}],
            [
                "datasets.0.wieght: an entry of datasets has no 'wieght' (did you mean 'weight'?)",
                "datasets.1: missing 'dataset', a path or dict(type=load_dataset_from, path=...)",
                "datasets.1: give one of weight, ratio and num_samples, got weight and num_samples",
                "datasets.1.weight: expected a number above 0, got 0",
                "datasets.1.num_samples: expected a whole number above 0, got 1.5",
            ],
        ),
        (
            [{"dataset": "a", "ratio": 2}, {"dataset": "b", "num_samples": 5}],
            ["ratio counts samples of the data sets taken whole or by weight, and datasets has none of these"],
        ),
    ],
)
def test_faults_of_entries_come_together(entries: Any, faults: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        read_sources(entries)
    assert caught.value.faults == faults


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"interleave_probs": [0.5, 0.5]}, r"interleave_probs must be 3 positive number\(s\) with the sum 1"),
        ({"interleave_probs": [0.5, 0.5, 0.5]}, "interleave_probs must be"),
        ({"interleave_probs": [1.0, 0.0, 0.0]}, "interleave_probs must be"),
        ({"stopping_strategy": "never"}, "stopping_strategy must be one of first_exhausted, all_exhausted, got 'never'"),
        ({"val_size": 1.5}, "val_size must be a share between 0 and 1 or a whole number of samples, got 1.5"),
        ({"val_size": 0}, "val_size must be a share"),
        ({"part": "validation"}, "part = 'validation' needs val_size"),
        ({"max_val_samples": 10}, "max_val_samples needs val_size"),
        ({"max_val_samples": 0, "val_size": 0.1}, "max_val_samples must be a whole number of samples above 0, got 0"),
        ({"part": "test", "val_size": 0.1}, "part must be one of train, validation, got 'test'"),
        ({"dataset": "x.jsonl"}, r"give dataset, or datasets=\[dict\(dataset=...\), ...\] to mix several; got both"),
        ({"datasets": None}, "got neither"),
        ({"tokenizer": None}, "process_hf_dataset needs tokenizer and max_length"),
    ],
)
def test_faults_of_options(mixed: Any, options: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        mixed(**options)


def test_names() -> None:
    sources = read_sources(
        [
            {"dataset": "x/agent.jsonl"},
            DataSource({"type": print, "path": "y/agent.jsonl"}, openai_map_fn),
            {"dataset": object(), "dataset_map_fn": alpaca_map_fn},
            {"dataset": "z", "name": "chat"},
        ]
    )
    assert [source.name for source in sources] == ["agent.jsonl", "agent.jsonl (1)", "datasets.2", "chat"]


# Self-cognition


def test_self_cognition_by_language() -> None:
    read = self_cognition_map_fn_factory(("小智", "Xiao Zhi"), ("魔搭", "ModelScope"))
    chinese = read({"query": "你是？", "response": "我是{{NAME}}，由{{AUTHOR}}训练的。", "tag": "zh"})
    assert [message.content for message in chinese.messages] == ["你是？", "我是小智，由魔搭训练的。"]
    english = read({"query": "Who?", "response": "I am {{NAME}} by {{AUTHOR}} {{ name }}.", "tag": "en"})
    assert english.messages[1].content == "I am Xiao Zhi by ModelScope Xiao Zhi."
    untagged = read({"instruction": "hi", "input": "", "output": "I am {{name}} of {{author}}."})
    assert untagged.messages[1].content == "I am Xiao Zhi of ModelScope."
    assert read({"instruction": "你好", "output": "{{name}}"}).messages[1].content == "小智"
    talk = read({"messages": [{"role": "user", "content": "{{other}}?"}, {"role": "assistant", "content": "{{Name}}"}]})
    assert [message.content for message in talk.messages] == ["{{other}}?", "Xiao Zhi"], "other braces are data"
    same = self_cognition_map_fn_factory("{{AUTHOR}}", "A")
    assert same({"query": "q", "response": "{{NAME}} {{AUTHOR}}"}).messages[1].content == "{{AUTHOR}} A", "replaced once"


def test_self_cognition_faults() -> None:
    for wrong in ("", ("a",), ("a", ""), None, 3):
        with pytest.raises(ConfigError, match=r"model_author must be a text or \(Chinese, English\)"):
            self_cognition_map_fn_factory("a", wrong)  # type: ignore[arg-type]
    read = self_cognition_map_fn_factory("a", "b")
    with pytest.raises(DataError, match="'tag' must be zh or en, got 'fr'"):
        read({"query": "q", "response": "r", "tag": "fr"})
    with pytest.raises(DataError, match="needs one of the keys query, instruction, messages, conversations, got keys"):
        read({"text": "x"})


def test_real_self_cognition_data(cache: Path, shared_data: Path, qwen: PreTrainedTokenizerFast) -> None:
    read = dict(type=self_cognition_map_fn_factory, model_name=("小智", "Xiao Zhi"), model_author=("魔搭", "ModelScope"))
    files = {"self_cognition.jsonl": 134, "identity.json": 91}
    entries = [{"dataset": str(shared_data / "general" / name), "dataset_map_fn": read, "num_samples": 3000} for name in files]
    data = process_hf_dataset(datasets=entries, tokenizer=qwen, max_length=2048, template="qwen_chat")
    assert [(one.records, one.kept, one.samples) for one in data.report.sources] == [(134, 134, 3000), (91, 91, 3000)]
    texts = [qwen.decode(data.table.lists("input_ids")[place]) for place in range(len(data.table))]
    assert not [text for text in texts if "{{" in text]
    rows = [
        json.loads(line) for line in (shared_data / "general" / "self_cognition.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    words = {"zh": ("小智", "魔搭"), "en": ("Xiao Zhi", "ModelScope")}
    for row, text in zip(rows, texts, strict=False):
        name, author = words[row["tag"]]
        assert row["response"].replace("{{NAME}}", name).replace("{{AUTHOR}}", author) in text
        assert not any(other in text for word in words.values() if word != (name, author) for other in word), "one language"
