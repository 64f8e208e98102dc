"""Raw Agent-FLAN becomes a data set in which every line is accounted for; a broken line stops it with nothing written."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xagent.convert import agent_flan, output
from xagent.convert.agent_flan import FILE_STEMS, convert_agent_flan, describe_report
from xagent.convert.agent_flan_rows import ROLES, RowFault, parse_row
from xagent.errors import DataError, OutputError

SCRIPT = Path(__file__).parents[2] / "tools" / "convert_agentflan.py"


def row(text="hello", **more):
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": text}, {"role": "assistant", "content": "a"}]
    return {"conversation": messages, "id": "x", **more}


def write_file(folder, stem, lines):
    folder.mkdir(parents=True, exist_ok=True)
    texts = [line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines]
    (folder / f"{stem}.jsonl").write_text("".join(text + "\n" for text in texts), encoding="utf-8")


@pytest.fixture
def raw(tmp_path):
    """A folder with all seven files, two rows each."""
    for stem in FILE_STEMS:
        write_file(tmp_path / "data", stem, [row(f"{stem} 1"), row(f"{stem} 2")])
    return tmp_path / "data"


def test_rows_keep_their_order_their_file_and_their_line(raw, tmp_path):
    report = convert_agent_flan(raw)
    dataset = datasets.load_from_disk(str(tmp_path / "data_converted"))
    assert dataset.column_names == ["messages", "id", "source", "line"]
    assert [(each["source"], each["line"]) for each in dataset] == [(f"{stem}.jsonl", n) for stem in FILE_STEMS for n in (1, 2)]
    assert [each["messages"][1]["content"] for each in dataset] == [f"{stem} {n}" for stem in FILE_STEMS for n in (1, 2)]
    assert (report.rows, report.messages, report.trained_messages, report.notices) == (14, 42, 14, [])


def test_loss_has_three_states_and_roles_have_one_name(tmp_path):
    messages = [
        {"role": "human", "content": "q", "loss": True},
        {"role": "gpt", "content": "a", "loss": None},
        {"role": "user", "content": "q"},
        {"role": "bot", "content": "a", "loss": False},
        {"role": "assistant", "content": "a", "loss": True},
    ]
    write_file(tmp_path / "data", FILE_STEMS[0], [{"conversation": messages, "id": 17}])
    report = convert_agent_flan(tmp_path / "data")
    (found,) = datasets.load_from_disk(str(tmp_path / "data_converted"))
    assert [(each["role"], each["loss"]) for each in found["messages"]] == [
        ("user", True),
        ("assistant", None),
        ("user", None),
        ("assistant", False),
        ("assistant", True),
    ]
    assert found["id"] == "17"
    assert (report.files[0].trained_messages, report.files[0].untrained_messages) == (3, 2)


def test_byte_order_mark_line_ends_empty_lines_and_unicode(tmp_path):
    (tmp_path / "data").mkdir()
    text = "\ufeff" + json.dumps(row("你好\u2028😀"), ensure_ascii=False) + "\r\n\r\n   \n" + json.dumps(row("tschüß"))
    (tmp_path / "data" / f"{FILE_STEMS[0]}.jsonl").write_bytes(text.encode())
    report = convert_agent_flan(tmp_path / "data")
    dataset = datasets.load_from_disk(str(tmp_path / "data_converted"))
    assert [(each["messages"][1]["content"], each["line"]) for each in dataset] == [("你好\u2028😀", 1), ("tschüß", 4)]
    assert (report.files[0].lines, report.files[0].empty_lines, report.files[0].rows) == (4, 2, 2)


def test_the_report_on_disk_reconciles(raw, tmp_path):
    convert_agent_flan(raw)
    stored = json.loads((tmp_path / "data_converted" / "conversion_report.json").read_text())
    for counts in [*stored["files"], stored["totals"]]:
        assert counts["lines"] == counts["rows"] + counts["empty_lines"]
        assert counts["messages"] == counts["trained_messages"] + counts["untrained_messages"]
    assert stored["totals"]["rows"] == sum(each["rows"] for each in stored["files"]) == 14
    assert stored["inputs"][0]["bytes"] == (raw / f"{FILE_STEMS[0]}.jsonl").stat().st_size
    assert len(stored["inputs"][0]["sha256"]) == 64


def test_missing_and_further_files_are_noted(tmp_path):
    for stem in ("zzz", "aaa", FILE_STEMS[3]):
        write_file(tmp_path / "data", stem, [row(stem)])
    report = convert_agent_flan(tmp_path / "data")
    assert [count.name for count in report.files] == [f"{FILE_STEMS[3]}.jsonl", "aaa.jsonl", "zzz.jsonl"]
    assert report.notices[0].startswith("6 of the 7 Agent-FLAN files are not there: agent_instruct_react.jsonl, ")
    assert report.notices[1] == "not part of Agent-FLAN, converted too: aaa.jsonl, zzz.jsonl"
    assert "note: 6 of the 7" in describe_report(report)


def test_a_clone_of_the_repository_is_understood(raw, tmp_path):
    assert convert_agent_flan(tmp_path).rows == 14
    assert (tmp_path / "data_converted").is_dir()


def test_converting_again_changes_nothing(raw, tmp_path):
    convert_agent_flan(raw)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data_converted").iterdir()}
    report = convert_agent_flan(raw)
    assert report.already_converted
    assert report.rows == 14
    assert describe_report(report).startswith("already converted, nothing to do")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "data_converted").iterdir()} == before


def test_the_same_input_gives_the_same_fingerprint_and_another_does_not(raw, tmp_path):
    convert_agent_flan(raw, tmp_path / "one")
    convert_agent_flan(raw, tmp_path / "two")
    write_file(raw, FILE_STEMS[0], [row("changed")])
    convert_agent_flan(raw, tmp_path / "three")
    one, two, three = (datasets.load_from_disk(str(tmp_path / name))._fingerprint for name in ("one", "two", "three"))
    assert one == two != three


def test_another_data_set_in_the_way_is_kept_unless_told_otherwise(raw, tmp_path):
    convert_agent_flan(raw)
    write_file(raw, FILE_STEMS[0], [row("changed")])
    with pytest.raises(OutputError, match="data_converted: exists and is not empty"):
        convert_agent_flan(raw)
    assert len(datasets.load_from_disk(str(tmp_path / "data_converted"))) == 14
    assert convert_agent_flan(raw, overwrite=True).rows == 13
    assert len(datasets.load_from_disk(str(tmp_path / "data_converted"))) == 13


def test_a_damaged_result_is_not_taken_for_done(raw, tmp_path):
    convert_agent_flan(raw)
    (tmp_path / "data_converted" / "data-00000-of-00001.arrow").write_bytes(b"half")
    with pytest.raises(OutputError, match="exists and is not empty"):
        convert_agent_flan(raw)


@pytest.mark.parametrize("report", ["[]", "{}", "{", '{"format": 1}', "lacks format", "lacks files", "names other outputs"])
def test_a_report_that_is_damaged_proves_nothing(raw, tmp_path, report):
    convert_agent_flan(raw)
    path = tmp_path / "data_converted" / "conversion_report.json"
    stored = json.loads(path.read_text())
    if report.startswith("lacks"):
        del stored[report.split()[1]]
        report = json.dumps(stored)
    elif report == "names other outputs":
        report = json.dumps({**stored, "outputs": {"none.arrow": 1}})
    path.write_text(report)
    with pytest.raises(OutputError, match="exists and is not empty"):
        convert_agent_flan(raw)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=40) | st.from_regex(r'\{"conversation": ?\[?[{}\[\]",:a-z0-9\\]{0,30}', fullmatch=True).map(str.encode))
def test_any_line_is_a_conversation_or_a_fault(line):
    with pytest.raises(RowFault):
        parse_row(line)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(ROLES)), st.text(), st.sampled_from([None, True, False])), min_size=1),
    st.none() | st.text() | st.integers(),
)
def test_any_conversation_comes_through_unchanged(messages, identity):
    row = {"conversation": [dict(zip(("role", "content", "loss"), each, strict=True)) for each in messages], "id": identity}
    expected = [{"role": ROLES[role], "content": content, "loss": loss} for role, content, loss in messages]
    found = parse_row(json.dumps(row).encode())
    assert found == (expected, None if identity is None else str(identity))


BROKEN = {
    '{"conversation": [': "is no valid JSON: Expecting value at column 19",
    "[1, 2]": "expected an object with a list 'conversation', got list [1, 2]",
    '{"messages": []}': "expected an object with a list 'conversation', got an object with the keys messages",
    '{"conversation": []}': "the conversation is empty",
    '{"conversation": ["hi"]}': "message 0: expected an object with 'role' and 'content', got str 'hi'",
    '{"conversation": [{"role": "tool", "content": "x"}]}': "message 0: unknown role 'tool'; expected one of system, user",
    '{"conversation": [{"role": ["user"], "content": "x"}]}': "message 0: unknown role ['user']",
    '{"conversation": [{"role": "user", "content": null}]}': "message 0 (role 'user'): content must be text, got NoneType None",
    '{"conversation": [{"role": "user", "content": "", "loss": 2}]}': "message 0 (role 'user'): loss must be true, false or",
    '{"conversation": [{"role": "user", "content": "x"}], "id": [1]}': "id must be text or a number, got list [1]",
    '{"conversation": [{"role": "user", "content": "\\ud800"}]}': "message 0: holds half of a surrogate pair",
    '{"conversation": [{"role": "user", "content": "x"}], "id": "\\udfff"}': "id: holds half of a surrogate pair",
    '{"conversation": [{"role": "user", "content": "x"}], "id": true}': "id must be text or a number, got bool True",
    '{"conversation": {}}': "expected an object with a list 'conversation', got an object with the keys conversation",
    "{}": "expected an object with a list 'conversation', got an object with the keys (none)",
    '{"conversation": [{"content": "x"}]}': "message 0: unknown role None; expected one of system, user",
    '{"conversation": [{}, ' + "1" * 5000 + "]}": "holds a number of too many digits to be a conversation",
    "[" * 100_000: "is nested too deeply to be a conversation",
}


@pytest.mark.parametrize("line", BROKEN, ids=lambda line: line[:60])
def test_a_broken_line_is_named_and_nothing_is_written(raw, tmp_path, line):
    write_file(raw, FILE_STEMS[2], [row(), row(), line, row()])
    with pytest.raises(DataError) as caught:
        convert_agent_flan(raw)
    assert str(caught.value).startswith(f"{raw / FILE_STEMS[2]}.jsonl:3: {BROKEN[line]}")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_bytes_that_are_no_utf8(raw):
    (raw / f"{FILE_STEMS[0]}.jsonl").write_bytes('{"conversation": "ü"}\n'.encode("latin-1"))
    with pytest.raises(DataError, match=r"agent_instruct_react.jsonl:1: is no UTF-8 at byte 19 of the line"):
        convert_agent_flan(raw)


def test_up_to_twenty_faults_are_shown_together(raw):
    write_file(raw, FILE_STEMS[0], ["{", row(), "}"])
    write_file(raw, FILE_STEMS[6], ["["])
    with pytest.raises(DataError) as caught:
        convert_agent_flan(raw)
    message = str(caught.value)
    assert message.startswith("3 broken lines:\n")
    assert all(
        place in message for place in (f"{FILE_STEMS[0]}.jsonl:1:", f"{FILE_STEMS[0]}.jsonl:3:", f"{FILE_STEMS[6]}.jsonl:1:")
    )
    write_file(raw, FILE_STEMS[0], ["{"] * 100)
    with pytest.raises(DataError) as caught:
        convert_agent_flan(raw)
    assert str(caught.value).startswith("at least 20 broken lines:\n")
    assert str(caught.value).count("\n") == 21


def test_lfs_pointers_are_recognised(raw, tmp_path):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    (raw / f"{FILE_STEMS[1]}.jsonl").write_text(pointer)
    with pytest.raises(
        DataError, match=r"agent_instruct_tflan.jsonl: is a Git-LFS pointer, not the data; run `git lfs pull` in .*data"
    ):
        convert_agent_flan(raw)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize(("make", "message"), [
    (lambda path: None, "nowhere: no such folder; expected the raw Agent-FLAN files"),
    (lambda path: path.write_text(""), "nowhere: is a file; name the folder"),
    (lambda path: path.mkdir(), r"nowhere: holds no \*.jsonl file .*expected agent_instruct_react.jsonl, "),
    (lambda path: write_file(path, FILE_STEMS[0], ["", ""]), "the files hold no rows, only 2 empty lines"),
    (lambda path: write_file(path, FILE_STEMS[0], []), "the files hold no rows"),
])  # fmt: skip
def test_nothing_to_convert(tmp_path, make, message):
    make(tmp_path / "nowhere")
    with pytest.raises(DataError, match=message):
        convert_agent_flan(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere_converted").exists()


def test_no_space_and_no_place(raw, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file is not a directory"):
        convert_agent_flan(raw, tmp_path / "file" / "out")
    monkeypatch.setattr(output.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1 << 40, 1 << 40, 1000))
    with pytest.raises(OutputError, match="are free on that disk; make room"):
        convert_agent_flan(raw, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_space_that_runs_out_on_the_way(raw, tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(agent_flan, "_convert_line", fail)
    with pytest.raises(OutputError, match="out: can't be written: No space left on device"):
        convert_agent_flan(raw, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_the_script_of_the_tutorial(raw, tmp_path):
    done = subprocess.run([sys.executable, str(SCRIPT), str(raw)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "total: 14 conversations, 42 messages" in done.stdout
    write_file(raw, FILE_STEMS[0], ["{"])
    failed = subprocess.run([sys.executable, str(SCRIPT), str(raw), str(tmp_path / "out")], capture_output=True, text=True)
    assert failed.returncode == 2
    assert "agent_instruct_react.jsonl:1: is no valid JSON" in failed.stderr
    assert "Traceback" not in failed.stderr


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_memory_does_not_grow_with_the_input(tmp_path):
    code = (
        "import re, sys; from xagent.convert.agent_flan import convert_agent_flan; convert_agent_flan(sys.argv[1]);"
        "print(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1])"
    )
    peaks = []
    for count in (200, 40_000):
        folder = tmp_path / str(count)
        write_file(folder, FILE_STEMS[0], [json.dumps(row("word " * 400))] * count)
        done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout) * 1024)
    assert peaks[1] - peaks[0] < 20e6, f"peak grew by {(peaks[1] - peaks[0]) / 1e6:.0f} MB over an input of 85 MB"
