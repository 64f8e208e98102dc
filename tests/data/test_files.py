"""Every kind of file gives the same rows, in constant memory, and says what it can't give."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
import types
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
from datasets import Dataset, DatasetDict
from hypothesis import example, given
from hypothesis import strategies as st

from xagent.config.paths import path_faults
from xagent.data import files, load_dataset_from
from xagent.data.files import raw_rows
from xagent.data.rows import parse_json, record_in
from xagent.errors import ConfigError, DataError

Write = Callable[..., Path]
TALK = [{"role": "user", "content": "Grüße 你好 \u2028 {x}"}, {"role": "assistant", "content": "ok"}]
ROWS = [{"id": 1, "messages": TALK}, {"id": 2, "messages": TALK[:1]}]


def rows_of(path: Path, **options: Any) -> list[Any]:
    return [record_in(row) for row in load_dataset_from(path, **options)]


def refused(path: Path | str, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        load_dataset_from(path, **options)
    return str(caught.value)


def as_lines(rows: list[Any], end: str = "\n") -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + end for row in rows).encode()


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_json_and_lines_with_bom_and_crlf(cache: Path, tmp_path: Path, bom: bytes, end: str) -> None:
    (tmp_path / "x.jsonl").write_bytes(bom + as_lines(ROWS, end))
    (tmp_path / "x.json").write_bytes(bom + json.dumps(ROWS, ensure_ascii=False, indent=2).replace("\n", end).encode())
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(bom + as_lines(ROWS, end)))
    (tmp_path / "x.json.gz").write_bytes(gzip.compress(bom + json.dumps(ROWS).replace("\n", end).encode()))
    assert [rows_of(tmp_path / name) for name in ("x.jsonl", "x.json", "x.jsonl.gz", "x.json.gz")] == [ROWS] * 4


def test_parquet_and_arrow_directories(cache: Path, tmp_path: Path) -> None:
    parquet.write_table(arrow.Table.from_pylist(ROWS), tmp_path / "x.parquet")
    assert rows_of(tmp_path / "x.parquet") == ROWS
    assert rows_of(tmp_path / "x.parquet", max_length=1) == ROWS[:1]
    Dataset.from_list(ROWS).save_to_disk(str(tmp_path / "arrow"))
    assert rows_of(tmp_path / "arrow") == ROWS
    DatasetDict(train=Dataset.from_list(ROWS), test=Dataset.from_list(ROWS[:1])).save_to_disk(str(tmp_path / "split"))
    assert rows_of(tmp_path / "split", split="test") == ROWS[:1]
    assert list(load_dataset_from(tmp_path / "split")) == ["train", "test"]
    assert refused(tmp_path / "split", split="dev") == f"{tmp_path / 'split'}: there is no split 'dev'; there are train, test"


def test_parquet_keeps_maps_and_writes_dates_as_text(cache: Path, tmp_path: Path) -> None:
    columns = {
        "arguments": arrow.array([[("b", 2), ("a", None)]], arrow.map_(arrow.string(), arrow.int64())),
        "day": arrow.array([date(2024, 2, 29)]),
    }
    parquet.write_table(arrow.table(columns), tmp_path / "x.parquet")
    assert rows_of(tmp_path / "x.parquet") == [{"arguments": {"b": 2}, "day": "2024-02-29"}]


def test_parquet_with_bytes_is_a_fault_of_its_rows(cache: Path, tmp_path: Path) -> None:
    parquet.write_table(arrow.table({"a": [b"\x00", None], "b": ["x", "y"]}), tmp_path / "x.parquet")
    (bad, good) = load_dataset_from(tmp_path / "x.parquet")
    with pytest.raises(DataError, match="a value of type bytes, which is no text, number, list or object"):
        record_in(bad)
    assert record_in(good) == {"b": "y"}


def test_csv_cells_may_hold_lines_quotes_and_json(cache: Path, tmp_path: Path) -> None:
    with (tmp_path / "x.csv").open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerows([["query", "response"], ['a\r\n"b", 你', ""], ["x" * 200_000, json.dumps(TALK)]])
    table = load_dataset_from(tmp_path / "x.csv")
    assert [record_in(row) for row in table] == [
        {"query": 'a\r\n"b", 你', "response": ""},
        {"query": "x" * 200_000, "response": json.dumps(TALK)},
    ]
    assert table["line"][:] == [3, 4], "the line on which a row ends"


def test_ragged_csv_rows_are_faults(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n1\n1,2,3\n")
    found = [(row["line"], row["fault"]) for row in load_dataset_from(tmp_path / "x.csv")]
    assert found == [(2, None), (3, "it has 1 cells, the head has 2 columns"), (4, "it has 3 cells, the head has 2 columns")]
    (tmp_path / "y.csv").write_text("a,a\n1,2\n")
    assert refused(tmp_path / "y.csv").startswith(f"{tmp_path / 'y.csv'}:1: the heads of the columns must be distinct")


def test_folders_mix_kinds_and_leave_out_what_is_no_data(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(as_lines([{"n": 1}]))
    (tmp_path / "b.json.gz").write_bytes(gzip.compress(b'[{"n": 2}]'))
    parquet.write_table(arrow.table({"n": [3]}), tmp_path / "c.parquet")
    Dataset.from_list([{"n": 4}]).save_to_disk(str(tmp_path / "d"))
    (tmp_path / "dataset_infos.json").write_text('{"n": "not data"}')
    (tmp_path / ".hidden.jsonl").write_text('{"n": "not data"}')
    (tmp_path / "README.md").write_text("not data")
    assert rows_of(tmp_path) == [{"n": 1}, {"n": 2}, {"n": 3}, {"n": 4}]


def test_what_is_left_out_of_a_folder_is_named(cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "A.JSONL").write_bytes(as_lines([{"n": 1}]))
    (tmp_path / "B.Json.GZ").write_bytes(gzip.compress(b'[{"n": 2}]'))
    for name in ("README.md", "LICENSE", "dataset_info.txt.md"):
        (tmp_path / name).write_text("not data")
    assert rows_of(tmp_path) == [{"n": 1}, {"n": 2}] and not caplog.records
    (tmp_path / "more.txt").write_text("perhaps data")
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "x.jsonl").write_bytes(as_lines(ROWS))
    assert rows_of(tmp_path) == [{"n": 1}, {"n": 2}]
    assert f"{tmp_path}: not read: the folder later, more.txt" in caplog.text


def test_folders_of_folders_are_named(cache: Path, tmp_path: Path) -> None:
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.jsonl").write_bytes(as_lines(ROWS))
    assert refused(tmp_path).endswith("in this folder; its folders test, train have some: name one of them")


def test_damaged_archives_and_files_are_named(cache: Path, tmp_path: Path) -> None:
    packed = gzip.compress(as_lines(ROWS * 50))
    (tmp_path / "cut.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    (tmp_path / "text.jsonl.gz").write_bytes(as_lines(ROWS))
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no, this is text")
    for name in ("cut.jsonl.gz", "text.jsonl.gz"):
        assert refused(tmp_path / name).startswith(f"{tmp_path / name}: the archive is damaged or cut off: ")
    assert refused(tmp_path / "x.parquet").startswith(f"{tmp_path / 'x.parquet'}: no readable Parquet file: ")
    (tmp_path / "arrow").mkdir()
    (tmp_path / "arrow" / "dataset_info.json").write_text("{}")
    assert refused(tmp_path / "arrow").startswith(f"{tmp_path / 'arrow'}: no readable Arrow data set: ")


def test_zstandard(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.jsonl.zst"
    path.write_bytes(b"(\xb5/\xfd packed")
    monkeypatch.setitem(sys.modules, "zstandard", None)
    assert refused(path) == f"{path}: .zst files need the package zstandard: pip install zstandard (or unpack it: unzstd)"
    unpacked = types.ModuleType("zstandard")
    unpacked.ZstdError = RuntimeError  # type: ignore[attr-defined]
    unpacked.open = lambda file, mode: io.BytesIO(as_lines(ROWS))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "zstandard", unpacked)
    assert rows_of(path) == ROWS


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@example(records=[0.5, 1e22, -2], chunk=1, indent=None, escaped=False)
@given(
    records=st.lists(JSON, max_size=5),
    chunk=st.integers(1, 9),
    indent=st.none() | st.integers(0, 2),
    escaped=st.booleans(),
)
def test_lists_are_read_element_by_element_whatever_the_window(
    tmp_path_factory: pytest.TempPathFactory, records: list[Any], chunk: int, indent: int | None, escaped: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "window.json"
    path.write_text(json.dumps(records, indent=indent, ensure_ascii=escaped), encoding="utf-8", errors="surrogatepass")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_CHUNK", chunk)
        rows = list(raw_rows(path))
    assert [row.line for row in rows] == list(range(1, len(records) + 1))
    assert [row.fault or parse_json(row.text) for row in rows] == records


def test_a_hub_id_is_looked_for_on_the_hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def load_dataset(*arguments: Any, **options: Any) -> Dataset:
        asked.append((arguments, options))
        return Dataset.from_list(ROWS)

    monkeypatch.delenv("XAGENT_HUB", raising=False)
    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    assert rows_of("owner/some-data", subset="en", split="train", max_length=1) == ROWS[:1]  # type: ignore[arg-type]
    assert asked == [(("owner/some-data", "en"), {"split": "train"})]
    assert "no such file or folder" in refused("owner/some.jsonl"), "a file's ending is no hub id"


def test_modelscope(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class MsDataset:
        def __init__(self, table: Dataset) -> None:
            self.table = table

        def to_hf_dataset(self) -> Dataset:
            return self.table

        @staticmethod
        def load(name: str, subset_name: str | None, split: str | None) -> Any:
            assert (name, subset_name) == ("owner/some-data", None)
            found = MsDataset(Dataset.from_list(ROWS))
            return found if split else {"train": found}

    package, module = types.ModuleType("modelscope"), types.ModuleType("modelscope.msdatasets")
    module.MsDataset = MsDataset  # type: ignore[attr-defined]
    monkeypatch.setenv("XAGENT_HUB", "modelscope")
    monkeypatch.setitem(sys.modules, "modelscope", None)
    assert "need the package modelscope: pip install modelscope" in refused("owner/some-data")
    monkeypatch.setitem(sys.modules, "modelscope", package)
    monkeypatch.setitem(sys.modules, "modelscope.msdatasets", module)
    assert rows_of("owner/some-data", split="train") == ROWS  # type: ignore[arg-type]
    assert list(load_dataset_from("owner/some-data")) == ["train"]


def test_hubs_out_of_reach(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XAGENT_HUB", raising=False)
    said = refused("owner/some-data")
    assert said.startswith("owner/some-data: no such file or folder here, and Hugging Face did not give a data set of that id (")
    assert said.endswith("set XAGENT_HUB=modelscope; without a network, download it elsewhere and name the files.")
    monkeypatch.setenv("XAGENT_HUB", "gitlab")
    with pytest.raises(ConfigError, match="XAGENT_HUB must be one of huggingface, modelscope, got 'gitlab'"):
        load_dataset_from("owner/some-data")


def test_a_config_may_name_a_hub_id() -> None:
    def faults(name: str) -> list[str]:
        return list(path_faults("data", {"type": load_dataset_from, "path": name}))

    assert faults("owner/some-data") == []
    for missing in ("owner/some.jsonl", "owner/some.csv.gz", "./owner/some-data", "a/b/c"):
        assert faults(missing)[0].startswith(f"data.path: no such file or folder: {missing!r}")
