"""Arrow files as one table: what stands in which file is not seen from outside."""

from __future__ import annotations

import pickle
from pathlib import Path

import pyarrow as pa
import pytest

from xagent.data.arrow_files import ArrowFiles

LISTS = [[1, 2], [], [3], [4, 5, 6], [7]]


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Three streams: two rows in two batches, none, three rows."""
    schema = pa.schema({"ids": pa.list_(pa.int32()), "number": pa.int64()})
    written = []
    for name, batches in (("a", [[0], [1]]), ("b", [[]]), ("c", [[2, 3, 4]])):
        path = tmp_path / f"{name}.arrow"
        with pa.ipc.new_stream(str(path), schema) as stream:
            for rows in batches:
                values = {"ids": [LISTS[row] for row in rows], "number": [10 * row for row in rows]}
                stream.write_batch(pa.record_batch(values, schema=schema))
        written.append(path)
    return written


def test_rows_are_found_across_files_and_batches(files: list[Path]) -> None:
    table = ArrowFiles(files)
    assert len(table) == 5
    assert [table.lists("ids")[index].tolist() for index in range(5)] == LISTS
    assert table.lists("ids").lengths().tolist() == [2, 0, 1, 3, 1]
    assert table.lists("ids").flat().tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert table.numbers("number").tolist() == [0, 10, 20, 30, 40]


def test_a_sliced_column_starts_where_it_was_cut(files: list[Path]) -> None:
    table = ArrowFiles(files[2:])
    table._table = table.table.slice(1)
    assert [table.lists("ids")[index].tolist() for index in range(2)] == [[4, 5, 6], [7]]
    assert table.lists("ids").flat().tolist() == [4, 5, 6, 7]


def test_tables_are_joined_and_travel_as_paths(files: list[Path]) -> None:
    joined = ArrowFiles(files[2:]) + ArrowFiles(files[:1])
    assert joined.lists("ids").flat().tolist() == [3, 4, 5, 6, 7, 1, 2]
    sent = pickle.dumps(joined)
    assert len(sent) < 1000
    assert pickle.loads(sent).lists("ids").flat().tolist() == [3, 4, 5, 6, 7, 1, 2]


def test_no_rows_at_all(files: list[Path]) -> None:
    table = ArrowFiles(files[1:2])
    assert len(table) == 0
    assert table.lists("ids").lengths().tolist() == table.lists("ids").flat().tolist() == []
