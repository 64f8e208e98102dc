"""Fixtures to train tiny models by the true command line; conftest files import what they need."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_models import save_base, write_config, write_data

from xagent import cli

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with its tokenizer."""
    return save_base(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty conversations: two whole windows of eight, and half a one."""
    return write_data(tmp_path_factory.mktemp("data") / "data.jsonl", 20)


@pytest.fixture(scope="session")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep caches out of the home directory."""
    folder = tmp_path_factory.mktemp("caches")
    patch = pytest.MonkeyPatch()
    patch.setenv("XAGENT_CACHE", str(folder / "xagent"))
    patch.setenv("HF_DATASETS_CACHE", str(folder / "hf"))
    yield
    patch.undo()


@pytest.fixture(scope="session")
def train_cli() -> Callable[..., int]:
    """Call ``xagent train`` in this process; give the exit code."""

    def call(config: Path, work_dir: Path, *arguments: str, **options: Any) -> int:
        return cli.main(["train", str(config), "--work-dir", str(work_dir), *arguments, *cfg_options(options)])

    return call


@pytest.fixture(scope="session")
def train_process() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Call ``python -m xagent.cli train`` in a process of its own."""

    def call(
        config: Path, work_dir: Path, *arguments: str, env: dict[str, str] | None = None, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "xagent.cli", "train", str(config), "--work-dir", str(work_dir), *arguments]
        inherited = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "OMP_NUM_THREADS": "1", **(env or {})}
        return subprocess.run([*words, *cfg_options(options)], capture_output=True, text=True, env=inherited, timeout=900)

    return call


def cfg_options(options: dict[str, Any]) -> list[str]:
    """Spell keyword arguments as ``--cfg-options``; ``__`` stands for a dot."""
    return ["--cfg-options", *(f"{key.replace('__', '.')}={value}" for key, value in options.items())] if options else []


@pytest.fixture(scope="session")
def configs(tiny: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a config for the tiny model under a name."""
    folder = tmp_path_factory.mktemp("configs")

    def write(name: str, **parts: Any) -> Path:
        return write_config(folder / f"{name}.py", parts.pop("base", tiny), parts.pop("data", data), **parts)

    return write
