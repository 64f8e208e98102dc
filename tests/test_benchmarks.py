"""The benchmarks' scripts run: what they measure is for people, what they check is checked here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EVERYTHING = (
    "train_overhead",
    "levers",
    "profile_step",
    "memory_estimate",
    "startup",
    "growth",
    "encode_streaming",
    "prepare_killed",
)
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}


def run(root: Path, script: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Call a script of benchmarks/."""
    command = [sys.executable, str(root / "benchmarks" / script), *words]
    return subprocess.run(command, capture_output=True, text=True, env=_environment(root), timeout=900)


def _printed(repo_root: Path, code: str) -> Any:
    """Run code among the benchmarks, and give the JSON that it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=repo_root / "benchmarks", env=_environment(repo_root)
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _environment(root: Path) -> dict[str, str]:
    return {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(root)}


@pytest.mark.slow
def test_gpu_train_on_a_tiny_model(repo_root: Path, tmp_path: Path) -> None:
    words = ["--device", "cpu", "--tiny", "--tokens", "128", "--kinds", "lora16", "qlora16", "--out", str(tmp_path)]
    done = run(repo_root, "gpu_train.py", *words)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "gpu_train.json").read_text())["figures"]
    assert "Left out: no CUDA device" in done.stdout and figures["left_out"]
    assert figures["against_plain"]["loss"] < 5e-3
    assert [(case["kind"], case["checkpointing"]) for case in figures["cases"]] == [
        (kind, how) for kind in ("lora16", "qlora16") for how in ("none", "full")
    ]
    for case in figures["cases"]:
        assert case["tokens_per_second"] > 0 and sum(case["breakdown"].values()) <= 1.2
        assert (case["recomputed_flops_per_second"] > 0) == (case["checkpointing"] == "full")


def test_the_work_of_the_comparison(repo_root: Path, tmp_path: Path) -> None:
    """Seeded conversations with a long tail, and the same text every time."""
    code = (
        "import sys, json, hashlib; from pathlib import Path\n"
        "from compare_work import write_conversations\n"
        "text = write_conversations(Path(sys.argv[1]), 300).read_text()\n"
        "sizes = sorted(sum(len(turn['content']) for turn in json.loads(line)['messages']) for line in text.splitlines())\n"
        "trained = sum(len(turn['content']) for line in text.splitlines() for turn in json.loads(line)['messages']"
        " if turn['role'] == 'assistant')\n"
        "print(json.dumps([hashlib.sha256(text.encode()).hexdigest(), sizes[0], sizes[150], sizes[-1], trained / sum(sizes)]))"
    )
    found = []
    for name in ("one.jsonl", "other.jsonl"):
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / name)],
            capture_output=True,
            text=True,
            check=True,
            cwd=repo_root / "benchmarks",
        )
        found.append(json.loads(done.stdout))
    assert found[0] == found[1]
    _, shortest, median, longest, share = found[0]
    assert longest > 2.5 * median > 4 * shortest / 2
    assert 0.15 < share < 0.45


@pytest.mark.parametrize(
    ("commands", "dearest"),
    [
        (("list-cfg", "check-dataset"), {"check-dataset": {"pandas", "datasets", "xagent"}}),
        pytest.param(("train", "merge"), {"train": {"torch"}, "merge": {"torch"}}, marks=pytest.mark.slow),
    ],
)
def test_startup(repo_root: Path, tmp_path: Path, commands: tuple[str, ...], dearest: dict[str, set[str]]) -> None:
    """The dearest imports are these and no others: in the processor's seconds, each takes twice those that come next."""
    done = run(repo_root, "startup.py", "--smoke", "--only", *commands, "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "startup.json").read_text())["figures"]
    assert tuple(figures) == commands
    for name, one in figures.items():
        assert 0 < one["cpu_seconds"] and one["runs"] == [{key: one[key] for key in ("seconds", "cpu_seconds")}]
        assert len(one["imports"]) == 10 and f"\n{name}: " in done.stdout
        seconds = [row["seconds"] for row in one["imports"]]
        assert seconds == sorted(seconds, reverse=True) and seconds[0] > 0
    for name, libraries in dearest.items():
        assert {row["library"] for row in figures[name]["imports"][: len(libraries)]} == libraries


def test_imports_are_clocked_without_what_they_import(repo_root: Path) -> None:
    """`outer` imports `inner` and then `broken`, which fails; the clock's readings are made up."""
    code = (
        "import json, import_clock\n"
        "from startup import Imported, by_library\n"
        "readings = iter([0, 10_000, 40_000, 50_000, 57_000, 100_000, 100_000, 300_000, 310_000, 310_999])\n"
        "import_clock.thread_time_ns = lambda: next(readings)\n"
        "def find(name, _):\n"
        "    if name == 'outer':\n"
        "        timed('inner', None)\n"
        "        try:\n"
        "            timed('inner.broken', None)\n"
        "        except ImportError:\n"
        "            pass\n"
        "    if name == 'inner.broken':\n"
        "        raise ImportError(name)\n"
        "ended = []\n"
        "timed = import_clock.clock_imports(find, ended)\n"
        "for name in ('outer', 'inner.late', 'small'):\n"
        "    timed(name, None)\n"
        "print(json.dumps([ended, by_library([Imported(*one) for one in ended])]))"
    )
    ended, libraries = _printed(repo_root, code)
    assert ended == [[1, 30, "inner"], [1, 7, "inner.broken"], [0, 63, "outer"], [0, 200, "inner.late"], [0, 0, "small"]]
    assert libraries == [
        {"library": "inner", "seconds": 237e-6, "asked_by": "outer"},
        {"library": "outer", "seconds": 63e-6, "asked_by": ""},
        {"library": "small", "seconds": 0.0, "asked_by": ""},
    ]


def test_parts_of_a_measurement(repo_root: Path, tmp_path: Path) -> None:
    """The first part starts a file anew; the others keep where and with what the parts before them ran."""
    code = (
        "import sys; from pathlib import Path\n"
        "from machine import earlier_figures, save_results\n"
        "folder, add = Path(sys.argv[1]), '--add' in sys.argv\n"
        "figures = (earlier_figures('some', add, folder) or []) + [sys.argv[2]]\n"
        "save_results('some', {'commit': sys.argv[2]}, figures, folder, add)\n"
    )

    def measured(*words: str) -> dict[str, Any]:
        command = [sys.executable, "-c", code, str(tmp_path), *words]
        subprocess.run(command, check=True, cwd=repo_root / "benchmarks")
        found: dict[str, Any] = json.loads((tmp_path / "some.json").read_text())
        return found

    measured("stale")
    first = measured("one")
    assert first["figures"] == ["one"] and first["machine"] == {"commit": "one"} and "earlier_parts" not in first
    measured("two", "--add")
    third = measured("three", "--add")
    assert third["figures"] == ["one", "two", "three"] and third["machine"] == {"commit": "three"}
    assert [part["machine"]["commit"] for part in third["earlier_parts"]] == ["one", "two"]
    assert third["earlier_parts"][0] == {key: first[key] for key in ("command", "versions", "machine")}


def test_everything_starts_each_file_anew_and_then_adds(repo_root: Path) -> None:
    listed = run(repo_root, "everything.py", "--list")
    assert listed.returncode == 0, listed.stderr
    parts: dict[str, list[str]] = {}
    for line in listed.stdout.splitlines():
        script, _, words = line.partition("python benchmarks/")[2].partition(" ")
        parts.setdefault(script, []).append(words)
    assert list(parts) == [f"{name}.py" for name in EVERYTHING]
    for script, each in parts.items():
        assert (repo_root / "benchmarks" / script).is_file()
        assert ["--add" in words for words in each] == [place > 0 for place in range(len(each))]


def test_a_comparison_in_parts_replaces_only_what_it_measures_again(repo_root: Path) -> None:
    code = (
        "import json, compare\n"
        "kind = lambda *values: dict(zip(('model', 'dtype', 'packing', 'runs'), values))\n"
        "before = [kind('narrow', 'fp32', 'packed', 1), kind('narrow', 'bf16', 'packed', 2), kind('wide', 'bf16', 'packed', 3)]\n"
        "found = [kind('narrow', 'bf16', 'packed', 4), kind('narrow', 'bf16', 'unpacked', 5)]\n"
        "print(json.dumps([each['runs'] for each in compare.other_kinds(before, found)]))"
    )
    assert _printed(repo_root, code) == [1, 3]


def test_a_profiles_parts(repo_root: Path) -> None:
    """Products by their sizes and by where they run; multiplications and additions by hand."""
    code = (
        "import json, profile_step as p\n"
        "from types import SimpleNamespace as Event\n"
        "head, optimizer = (Event(name=name, cpu_parent=None) for name in (p.HEAD, 'benchmark: optimizer'))\n"
        "made = lambda name, shapes=(), parent=None: Event(name=name, input_shapes=shapes, cpu_parent=parent)\n"
        "events = [made('aten::mm', [[630, 256], [256, 704]]), made('aten::addmm_', [[630, 704], [630, 8], [8, 704], [], []]),\n"
        " made('aten::mm', [[190, 256], [256, 2688]], head), made('aten::exp_', [[190, 2688]], head),\n"
        " made('aten::view', [], head),\n"
        " made('aten::_scaled_dot_product_flash_attention_for_cpu'), made('aten::silu'), made('aten::copy_'),\n"
        " made('aten::mul_', [], optimizer), made('autograd::engine::evaluate_function: SiluBackward0'), made('aten::t')]\n"
        "print(json.dumps([[p.part_of(event) for event in events], [p.flops_of(event.input_shapes) for event in events[:3]],"
        " p.attention_flops(10)]))"
    )
    parts, flops, attention = _printed(repo_root, code)
    nothing = "views, allocation, autograd's own work"
    assert parts == [
        "products with frozen weights",
        "products of LoRA",
        "products of the head",
        "other work of the head",
        nothing,
        "attention",
        "sums, norms, activations",
        "copies, filling, joining",
        "optimizer, clipping",
        nothing,
        nothing,
    ]
    assert flops == [2 * 630 * 256 * 704, 2 * 630 * 8 * 704, 2 * 190 * 256 * 2688]
    assert attention == 6 * 2 * 256 * 6 * 10**2 / 2  # six products, 2 a multiplication, half of the square, six layers
