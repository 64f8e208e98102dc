"""Locks of DeepSpeed's compiled parts: a killed process must not stop every training after it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from xagent.engine import extension_builds
from xagent.engine.extension_builds import release_left_builds

HOLDING = """
import sys, time
from torch.utils.file_baton import FileBaton
assert FileBaton(sys.argv[1]).try_acquire()
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    texts: list[str] = []
    monkeypatch.setattr(extension_builds, "print_log", lambda text, **options: texts.append(text))
    return texts


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torch would lock a part named ``part``."""
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    (tmp_path / "part").mkdir()
    return tmp_path / "part" / "lock"


@pytest.fixture
def sleeping(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], list[float]]:
    """Have the waiting do this instead of sleeping; give how long it would have slept each time."""

    def replace(work: Callable[[], None]) -> list[float]:
        slept: list[float] = []
        clock = SimpleNamespace(time=time.time, sleep=lambda seconds: (slept.append(seconds), work()))
        monkeypatch.setattr(extension_builds, "time", clock)  # the module's own: other threads sleep as ever
        return slept

    return replace


def seem_quiet_for(seconds: float, folder: Path) -> None:
    for file in folder.iterdir():
        os.utime(file, (time.time() - seconds,) * 2)


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_holds_is_not(lock: Path, said: list[str]) -> None:
    """With torch's own lock, held by a process that is killed."""
    with subprocess.Popen([sys.executable, "-c", HOLDING, str(lock)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        seem_quiet_for(10_000, lock.parent)
        assert release_left_builds() == [] and lock.exists() and said == []
        holder.kill()
    assert release_left_builds() == [lock] and not lock.exists()
    assert len(said) == 1 and f"{lock}: left by a process that was killed" in said[0]
    assert release_left_builds() == [] and len(said) == 1


def test_locks_under_a_device_and_a_python_version_are_found_too(tmp_path: Path, lock: Path, said: list[str]) -> None:
    deeper = tmp_path / "py311_cpu" / "other" / "lock"
    deeper.parent.mkdir(parents=True)
    for file in (lock, deeper):
        file.touch()
        seem_quiet_for(301, file.parent)
    assert release_left_builds() == [lock, deeper] and len(said) == 2


def test_a_fresh_lock_that_nobody_here_holds_may_be_another_machines(
    lock: Path, said: list[str], sleeping: Callable[..., list[float]]
) -> None:
    """It is waited for while something is written beside it, aloud, and once."""
    lock.touch()
    seem_quiet_for(1_000, lock.parent)
    (lock.parent / "build.ninja").touch()
    slept = sleeping(lambda: seem_quiet_for(301, lock.parent) if len(slept) == 3 else None)
    assert release_left_builds() == [lock] and len(slept) == 3
    assert len(said) == 2 and "nobody on this machine does; waiting until" in said[0] and "delete the file" in said[0]


def test_a_build_that_ends_meanwhile_is_waited_for_and_nothing_removed(
    lock: Path, said: list[str], sleeping: Callable[..., list[float]]
) -> None:
    lock.touch()
    sleeping(lock.unlink)
    assert release_left_builds() == [] and len(said) == 1


def test_a_folder_that_cannot_be_written_to_costs_no_training(lock: Path, said: list[str]) -> None:
    lock.touch()
    seem_quiet_for(1_000, lock.parent)
    (lock.parent.parent / ".xagent.lock").mkdir()
    assert release_left_builds() == [] and lock.exists()
    assert len(said) == 1 and "can't be tested" in said[0] and "delete it" in said[0]


def test_where_nothing_was_ever_compiled_nothing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "none"))
    assert release_left_builds() == [] and not (tmp_path / "none").exists()
