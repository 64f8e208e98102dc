"""Encoding in parts: a killed run goes on where it was, with what it finished checked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from xagent.data import parts, process_hf_dataset
from xagent.data.parts import Job, encode_in_parts, part_files
from xagent.errors import XAgentError

Write = Callable[..., Path]

RUN = """
import sys, time
from transformers import AutoTokenizer
from xagent.data import parts, process_hf_dataset
from xagent.data.formats import openai_map_fn

parts.ROWS_IN_PART = 8

def watched_map_fn(row):
    with open(sys.argv[4], "a") as file:
        file.write(row["id"] + "\\n")
        while int(row["id"]) >= int(sys.argv[3]):  # comes no further, and shows that it lives
            file.write("waits\\n")
            file.flush()
            time.sleep(0.01)
    return openai_map_fn(row)

if __name__ == "__main__":
    tokenizer = AutoTokenizer.from_pretrained(sys.argv[2])
    data = process_hf_dataset(sys.argv[1], tokenizer, 128, watched_map_fn, template="qwen_chat", num_proc=int(sys.argv[5]))
    print(data.report.records, data.report.kept, data.report.tokens, [row["input_ids"].sum() for row in data])
"""


def talk(number: int) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"question {number}"}, {"role": "assistant", "content": f"answer {number}"}]
    return {"id": str(number), "messages": messages}


@pytest.fixture
def run(cache: Path, tmp_path: Path, write_jsonl: Write, chatml: PreTrainedTokenizerFast) -> Callable[..., subprocess.Popen[str]]:
    """Start a process that prepares 80 records in parts of 8, writing down each record that it reads; at one it may stay."""
    chatml.save_pretrained(str(tmp_path / "tokenizer"))
    path = write_jsonl(*map(talk, range(80)))
    script = tmp_path / "run.py"
    script.write_text(RUN)
    environment = {**os.environ, "HF_DATASETS_CACHE": str(tmp_path / "hf")}

    def start(stays_at: int, log: Path, num_proc: int) -> subprocess.Popen[str]:
        words = [sys.executable, str(script), str(path), str(tmp_path / "tokenizer"), str(stays_at), str(log), str(num_proc)]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)

    return start


@pytest.mark.parametrize("num_proc", [1, 2])
def test_a_killed_run_goes_on(
    run: Callable[..., subprocess.Popen[str]], cache: Path, tmp_path: Path, num_proc: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(40, tmp_path / "first.log", num_proc)
    deadline = time.monotonic() + 600
    while len(list(cache.glob("*.tmp/part-*.json"))) < 3:
        assert first.poll() is None and time.monotonic() < deadline, first.communicate()
        time.sleep(0.01)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate(timeout=60)
    (folder,) = cache.glob("*.tmp")
    time.sleep(0.3)
    finished = {path.name: path.stat().st_mtime_ns for path in part_files(folder) if path.with_suffix(".json").is_file()}
    assert 3 <= len(finished) < 10
    read = len((tmp_path / "first.log").read_text().split())
    time.sleep(0.3)
    assert len((tmp_path / "first.log").read_text().split()) == read, "no process goes on without its parent"
    damaged = min(finished)
    with (folder / damaged).open("r+b") as file:
        file.seek(200)
        file.write(b"\xff")

    second = run(80, tmp_path / "second.log", num_proc)
    out, errors = second.communicate(timeout=600)
    assert second.returncode == 0, errors
    kept = len(finished) - 1
    assert f"{8 * kept} of 80 records were encoded by an earlier run" in errors
    again = (tmp_path / "second.log").read_text().split()
    assert len(again) == len(set(again)) == 80 - 8 * kept, "what was finished is not read again, what is damaged is"
    (folder,) = (path.parent for path in cache.glob("*/report.json"))
    for name in set(finished) - {damaged}:
        assert (folder / name).stat().st_mtime_ns == finished[name]
    assert not list(cache.glob("*.tmp")) and not list(folder.glob("unfinished*"))

    monkeypatch.setenv("XAGENT_CACHE", str(tmp_path / "other"))
    whole, errors = run(80, tmp_path / "third.log", 1).communicate(timeout=600)
    assert out == whole and out.startswith("80 80 "), errors


def columns(batch: Any, indices: list[int]) -> dict[str, list[Any]]:
    """Encode a row to as many tokens as its number says."""
    rows = len(indices)
    return {
        "input_ids": [[7] * number for number in batch["n"]],
        "loss_weights": [[1.0] * number for number in batch["n"]],
        "outcome": ["kept" if number else "bad record" for number in batch["n"]],
        "note": ["" if number else f"row {index}" for number, index in zip(batch["n"], indices, strict=True)],
        "tokens": list(batch["n"]),
        "trained": list(batch["n"]),
        "messages": [[0, 1, 1, 0, 0]] * rows,
    }


@pytest.fixture
def table() -> Any:
    from datasets import Dataset

    return Dataset.from_dict({"n": [index % 5 for index in range(2 * parts.ROWS_IN_PART + 3)]})


def test_accounts_add_up(table: Any, tmp_path: Path) -> None:
    accounts = encode_in_parts(table, columns, 1, tmp_path)
    assert [(account.start, account.stop) for account in accounts] == [(0, 2048), (2048, 4096), (4096, 4099)]
    assert sum(account.tokens for account in accounts) == sum(table["n"])
    assert sum(account.outcomes.get("bad record", 0) for account in accounts) == table["n"][:].count(0)
    assert accounts[0].examples["bad record"][:2] == ["row 0", "row 5"] and len(accounts[0].examples["bad record"]) == 20
    assert accounts[0].messages == {"system": 0, "user": 2048, "assistant": 2048, "tool": 0, "tool calls": 0}


@pytest.mark.parametrize("fault", ["shortened", "changed", "no account", "broken account", "account of other records"])
def test_a_damaged_part_is_made_again(table: Any, tmp_path: Path, fault: str) -> None:
    encode_in_parts(table, columns, 1, tmp_path)
    first = part_files(tmp_path)[0]
    content, account = first.read_bytes(), first.with_suffix(".json")
    if fault == "shortened":
        first.write_bytes(content[:-1])
    elif fault == "changed":
        first.write_bytes(content[:400] + bytes([content[400] ^ 1]) + content[401:])
    elif fault == "no account":
        account.unlink()
    elif fault == "broken account":
        account.write_text("{")
    else:
        account.write_text(json.dumps({**json.loads(account.read_text()), "stop": 2000}))
    (tmp_path / "unfinished-1.arrow").write_bytes(b"half")
    seen: list[int] = []

    def watched(batch: Any, indices: list[int]) -> dict[str, list[Any]]:
        seen.extend(indices)
        return columns(batch, indices)

    accounts = encode_in_parts(table, watched, 1, tmp_path)
    assert seen == list(range(2048)), "the first part only"
    assert first.read_bytes() == content and len(accounts) == 3
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".arrow"] * 3 + [".json"] * 3


def test_a_process_that_is_killed_is_a_clear_fault(table: Any, tmp_path: Path) -> None:
    def deadly(batch: Any, indices: list[int]) -> dict[str, list[Any]]:
        if indices[0] >= 2048:
            deadline = time.monotonic() + 120
            while not (tmp_path / "part-000000000000.json").is_file() and time.monotonic() < deadline:
                time.sleep(0.01)  # until the other process has finished its part
            os.kill(os.getpid(), signal.SIGKILL)
        return columns(batch, indices)

    with pytest.raises(XAgentError, match="a tokenising process was killed, perhaps because memory ran out"):
        encode_in_parts(table, deadly, 2, tmp_path)
    assert [path.name for path in part_files(tmp_path)] == ["part-000000000000.arrow"]


def test_a_part_may_be_empty(cache: Path, write_jsonl: Write, chatml: PreTrainedTokenizerFast, monkeypatch: Any) -> None:
    monkeypatch.setattr(parts, "ROWS_IN_PART", 2)
    path = write_jsonl({}, {}, talk(1), {}, talk(2))
    data = process_hf_dataset(path, chatml, 128, template="qwen_chat", on_bad_record="drop", pack_to_max_length=False)
    assert [chatml.decode(row["input_ids"]).count("question") for row in data] == [1, 1]
    assert data.report.outcomes == {"bad record": 3, "kept": 2} and data.sample_lengths == [len(row["input_ids"]) for row in data]


def test_interrupted_work_stays(cache: Path, write_jsonl: Write, chatml: PreTrainedTokenizerFast, monkeypatch: Any) -> None:
    monkeypatch.setattr(parts, "ROWS_IN_PART", 2)
    path = write_jsonl(*map(talk, range(6)))
    encode = Job.encode

    def interrupted(job: Job, start: int, stop: int) -> Any:
        if start == 4:
            raise KeyboardInterrupt
        return encode(job, start, stop)

    monkeypatch.setattr(Job, "encode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        process_hf_dataset(path, chatml, 128, template="qwen_chat")
    assert len(list(cache.glob("*.tmp/part-*.json"))) == 2
    monkeypatch.setattr(Job, "encode", encode)
    assert process_hf_dataset(path, chatml, 128, template="qwen_chat").report.kept == 6
    assert not list(cache.glob("*.tmp"))
