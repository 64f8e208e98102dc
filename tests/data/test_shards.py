"""Prepared shards: the same rows as without them, checked, refused for other settings, and resumed after a kill."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from xagent.cli import main
from xagent.data import TokenDataset, load_prepared_dataset, process_hf_dataset
from xagent.data.shards import read_manifest, write_shards
from xagent.errors import ConfigError, DataError, OutputError

Write = Callable[..., Path]
OPTIONS: dict[str, Any] = {"max_length": 128, "template": "qwen_chat"}


def talk(number: int) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"question {number}"}, {"role": "assistant", "content": "answer " * (number % 7)}]
    return {"messages": messages}


@pytest.fixture
def data(cache: Path, write_jsonl: Write, chatml: PreTrainedTokenizerFast) -> TokenDataset:
    entries = [{"dataset": str(write_jsonl(*map(talk, range(40)))), "weight": 1.5}]
    return process_hf_dataset(datasets=entries, tokenizer=chatml, **OPTIONS)


def as_lists(data: TokenDataset) -> list[dict[str, list[Any]]]:
    return [{key: list(values) for key, values in row.items()} for row in data]


def test_rows_are_the_same(data: TokenDataset, chatml: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    manifest = write_shards(data, tmp_path / "out", max_shard_size=3000)
    assert len(manifest.files) > 3 and sum(shard.rows for shard in manifest.files.values()) == len(data)
    assert all(shard.size < 3000 + 2000 for shard in manifest.files.values())
    opened = load_prepared_dataset(tmp_path / "out", chatml, **OPTIONS)
    assert as_lists(opened) == as_lists(data) and opened.report == data.report and len(opened) == len(data)
    assert {key: value.dtype for key, value in opened[0].items() if key != "lengths"} == {
        key: value.dtype for key, value in data[0].items() if key != "lengths"
    }
    assert sorted(opened.sample_lengths) == sorted(data.sample_lengths)
    assert as_lists(opened)[-1] == {key: list(values) for key, values in opened[-1].items()}
    with pytest.raises(IndexError):
        opened[len(opened)]
    shipped = pickle.dumps(opened)
    assert len(shipped) < 20_000 and as_lists(pickle.loads(shipped)) == as_lists(data)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*manifest.files, "manifest.json"}


def test_the_manifest_says_what_it_is(data: TokenDataset, tmp_path: Path) -> None:
    manifest = write_shards(data, tmp_path / "out")
    assert manifest == read_manifest(tmp_path / "out")
    assert manifest.counts == {
        "rows": len(data),
        "samples": 60,
        "tokens": data.report.tokens,
        "trained_tokens": data.report.trained_tokens,
        "records": 40,
    }
    assert manifest.settings["max_length"] == 128 and manifest.settings["template"]["name"] == "qwen_chat"
    assert manifest.settings["sources"][0]["weight"] == 1.5 and manifest.settings["tokenizer"]["vocabulary"] > 400
    assert {"xagent", "python", "pyarrow", "tokenizers"} <= set(manifest.versions)


def test_other_settings_are_refused_with_both_values(
    data: TokenDataset, chatml: PreTrainedTokenizerFast, qwen_like: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    write_shards(data, out)
    with pytest.raises(ConfigError) as caught:
        load_prepared_dataset(out, qwen_like, 256, template="default", protocol="hermes")
    length, protocol, tokenizer, template = caught.value.faults
    assert length == f"{out}: it was prepared with max_length = 128, this config has max_length = 256"
    assert protocol == f"{out}: it was prepared with protocol = 'react', this config has protocol = 'hermes'"
    assert f"prepared with the tokenizer '{type(chatml).__name__}' ({len(chatml):,} tokens, identity " in tokenizer
    assert f"this config has 'other-model' ({len(qwen_like):,} tokens, identity " in tokenizer
    assert "prepared with the template 'qwen_chat' (identity " in template and "this config has 'default' (identity " in template
    assert template.endswith("Prepare it again with this config, or use the settings that it was prepared with")


@pytest.fixture
def qwen_like(chatml: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    other = PreTrainedTokenizerFast(tokenizer_object=chatml.backend_tokenizer, eos_token="<|im_end|>")
    other.add_tokens(["hello"])
    other.name_or_path = "other-model"
    return other


@pytest.mark.parametrize("fault", ["missing", "shorter", "changed"])
def test_damage_is_found(
    data: TokenDataset, chatml: PreTrainedTokenizerFast, tmp_path: Path, fault: str, monkeypatch: Any
) -> None:
    out = tmp_path / "out"
    write_shards(data, out)
    shard = out / "shard-00000.arrow"
    content = shard.read_bytes()
    if fault == "missing":
        shard.unlink()
    else:
        shard.write_bytes(content[:-1] if fault == "shorter" else content[:900] + bytes([content[900] ^ 1]) + content[901:])
    said = {"missing": "is missing", "shorter": "bytes, manifest.json says", "changed": "its content changed: sha256 is"}[fault]
    with pytest.raises(DataError, match=said):
        load_prepared_dataset(out, chatml, **OPTIONS)
    with pytest.raises(DataError, match=said):
        write_shards(data, out)
    monkeypatch.setenv("RANK", "1")
    if fault == "changed":
        load_prepared_dataset(out, chatml, **OPTIONS)  # the first process hashes for all of them
        with pytest.raises(DataError, match=said):
            load_prepared_dataset(out, chatml, **OPTIONS, verify=True)
    else:
        with pytest.raises(DataError, match=said):
            load_prepared_dataset(out, chatml, **OPTIONS)


def test_wrong_folders(data: TokenDataset, chatml: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none: no prepared data here \(no manifest.json\). Write it with: xagent data prepare"):
        load_prepared_dataset(tmp_path / "none", chatml, **OPTIONS)
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.tex").write_text("x")
    with pytest.raises(OutputError, match="full: is not empty and holds no prepared data"):
        write_shards(data, full)
    with pytest.raises(OutputError, match="is a file; give a folder"):
        write_shards(data, full / "thesis.tex")
    for text in ("[]", "{", '{"format": 9}', '{"format": 1, "files": {"../x.arrow": {"rows": 1, "size": 1, "sha256": ""}}}'):
        (full / "manifest.json").write_text(text)
        with pytest.raises(DataError, match="manifest.json: is no manifest of prepared data"):
            read_manifest(full)


def test_preparing_again(data: TokenDataset, chatml: PreTrainedTokenizerFast, tmp_path: Path, write_jsonl: Write) -> None:
    out = tmp_path / "out"
    first = write_shards(data, out)
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert write_shards(data, out) == first and {path: path.stat().st_mtime_ns for path in out.iterdir()} == before
    other = process_hf_dataset(str(write_jsonl(talk(1), name="other.jsonl")), chatml, **OPTIONS)
    with pytest.raises(OutputError, match="holds data prepared with other settings or records"):
        write_shards(other, out)


def test_where_the_tokenizer_lies_does_not_matter(data: TokenDataset, chatml: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    first = write_shards(data, tmp_path / "out")
    data.settings["tokenizer"] = {**data.settings["tokenizer"], "name": "/another/place"}
    assert write_shards(data, tmp_path / "out") == first


def test_begun_shards_are_checked_and_kept(data: TokenDataset, tmp_path: Path, monkeypatch: Any) -> None:
    from xagent.data import shards

    out, whole = tmp_path / "out", write_shards(data, tmp_path / "whole", 2000)
    write = shards._write
    written: list[str] = []

    def dying(data: Any, path: Path, start: int, stop: int) -> Any:
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path.name)
        return write(data, path, start, stop)

    monkeypatch.setattr(shards, "_write", dying)
    with pytest.raises(KeyboardInterrupt):
        write_shards(data, out, 2000)
    with pytest.raises(DataError, match="was begun and not finished"):
        read_manifest(out)
    (out / "shard-00001.arrow").write_bytes(b"damaged")
    (out / "shard-00003.arrow.123.tmp").write_bytes(b"half")
    written.clear()
    monkeypatch.setattr(shards, "_write", lambda *arguments: written.append(arguments[1].name) or write(*arguments))
    assert write_shards(data, out, 2000).files == whole.files
    assert written == ["shard-00001.arrow", *list(whole.files)[3:]]
    assert {path.name for path in out.iterdir()} == {*whole.files, "manifest.json"}


# The command, and a config that points at what it wrote


@pytest.fixture
def config_file(cache: Path, tmp_path: Path, write_jsonl: Write, chatml: PreTrainedTokenizerFast, monkeypatch: Any) -> Path:
    chatml.save_pretrained(str(tmp_path / "tokenizer"))
    path = tmp_path / "my_config.py"
    path.write_text(CONFIG.format(data=write_jsonl(*map(talk, range(40))), folder=tmp_path))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf"))
    return path


CONFIG = """
from transformers import AutoTokenizer
from mmengine.dataset import DefaultSampler
from torch.optim import AdamW
from xagent.data import default_collate_fn, load_prepared_dataset, process_hf_dataset
from xagent.data.formats import openai_map_fn
from xagent.engine import TrainLoop, ValLoop
from transformers import LlamaConfig, LlamaForCausalLM
from xagent.model import SupervisedFinetune

max_length = 128
tokenizer = dict(type=AutoTokenizer.from_pretrained, pretrained_model_name_or_path="{folder}/tokenizer")
train_dataset = dict(
    type=process_hf_dataset,
    datasets=[dict(dataset="{data}", weight=2)],
    dataset_map_fn=openai_map_fn,
    tokenizer=tokenizer,
    max_length=max_length,
    template="qwen_chat",
    val_size=0.2,
)
val_dataset = dict(train_dataset, part="validation")
prepared_dataset = dict(
    type=load_prepared_dataset, path="{folder}/out", tokenizer=tokenizer, max_length=max_length, template="qwen_chat"
)
use_prepared = False
train_dataloader = dict(
    batch_size=1,
    dataset=prepared_dataset if use_prepared else train_dataset,
    sampler=dict(type=DefaultSampler, shuffle=True),
    collate_fn=dict(type=default_collate_fn),
)
val_dataloader = dict(batch_size=1, dataset=val_dataset, sampler=dict(type=DefaultSampler, shuffle=False))
model = dict(type=SupervisedFinetune, llm=dict(type=LlamaForCausalLM, config=dict(type=LlamaConfig)))  # not made
optim_wrapper = dict(optimizer=dict(type=AdamW, lr=1e-4))
train_cfg = dict(type=TrainLoop, max_epochs=1)
val_cfg = dict(type=ValLoop)
"""


def test_the_command(config_file: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    assert main(["data", "prepare", str(config_file), str(out)]) == 0
    said = capsys.readouterr().out
    assert "40 records: " in said and "held out" in said and f"written: {out}\n" in said and "1 shards, " in said
    assert read_manifest(out).counts["samples"] == 64
    assert main(["data", "prepare", str(config_file), str(out), "--num-proc", "2"]) == 0, "the same again"
    validation = str(tmp_path / "validation")
    assert main(["data", "prepare", str(config_file), validation, "--dataloader", "val_dataloader"]) == 0
    assert read_manifest(Path(validation)).counts["samples"] == 8
    capsys.readouterr()
    assert main(["check-dataset", str(config_file), "--cfg-options", "use_prepared=True"]) == 0
    assert "40 records: " in capsys.readouterr().out
    assert main(["log-dataset", str(config_file), "--cfg-options", "use_prepared=True", "--show", "text"]) == 0
    assert "<|im_start|>user\nquestion" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--max-shard-size", "big"], "max_shard_size must be a size such as 500MB or 2GB, got 'big'"),
        (["--num-proc", "0"], "--num-proc must be at least 1, got 0"),
        (["--cfg-options", "max_length=64", "use_prepared=True"], "no such file or folder"),
        (["--cfg-options", "train_dataset.datasets=[]"], "datasets must be a list"),
    ],
)
def test_faults_of_the_command(config_file: Path, tmp_path: Path, capsys: Any, words: list[str], fault: str) -> None:
    assert main(["data", "prepare", str(config_file), str(tmp_path / "out"), *words]) == 2
    assert fault in capsys.readouterr().err


def test_prepared_data_with_another_max_length_is_refused(config_file: Path, tmp_path: Path, capsys: Any) -> None:
    assert main(["data", "prepare", str(config_file), str(tmp_path / "out")]) == 0
    assert main(["check-dataset", str(config_file), "--cfg-options", "use_prepared=True", "max_length=64"]) == 2
    assert "prepared with max_length = 128, this config has max_length = 64" in capsys.readouterr().err
    assert main(["data", "prepare", str(config_file), str(tmp_path / "new"), "--cfg-options", "use_prepared=True"]) == 2
    assert (
        "train_dataloader.dataset gives a PreparedDataset; process_hf_dataset's data can be prepared" in capsys.readouterr().err
    )


def test_faults_of_entries_are_found_at_load(config_file: Path, tmp_path: Path, capsys: Any) -> None:
    config_file.write_text(config_file.read_text().replace('data.jsonl", weight=2)', 'gone.jsonl", wieght=2), dict(ratio=2)'))
    assert main(["data", "prepare", str(config_file), str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "train_dataloader.dataset.datasets.0.wieght: an entry of datasets has no 'wieght' (did you mean 'weight'?)" in error
    assert "train_dataloader.dataset.datasets.1: missing 'dataset'" in error
    assert f"train_dataloader.dataset.datasets.0.dataset: no such file or folder: '{tmp_path / 'gone.jsonl'}'" in error


def test_a_config_without_data_is_refused_at_load(config_file: Path, capsys: Any) -> None:
    config_file.write_text(config_file.read_text().replace("datasets=[", "other=["))
    assert main(["data", "prepare", str(config_file), "x"]) == 2
    error = capsys.readouterr().err
    assert "process_hf_dataset has no argument 'other'" in error and "give dataset, or datasets=" in error
