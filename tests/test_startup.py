"""What starting a command imports, and what it leaves alone."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from xagent import cli
from xagent.assets import resolve
from xagent.startup import ready, starting_up

HEAVY = {"torch", "transformers", "peft", "bitsandbytes", "mmengine", "datasets", "lagent", "jsonschema", "streamlit", "fastapi"}


def imported(words: list[str], typed: str = "", expected_code: int = 0) -> set[str]:
    """Run a command in a process of its own and give which of the heavy libraries it imported."""
    code = (
        "import sys; from xagent.cli import main; code = main(sys.argv[1:]);"
        f" print('HEAVY', *sorted({HEAVY!r} & set(sys.modules))); sys.exit(code)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).resolve().parents[1])}
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, input=typed, env=environment)
    assert done.returncode == expected_code, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize("words", [["--help"], ["list-cfg"], *([name, "--help"] for name in cli.COMMANDS)])
def test_a_command_that_only_says_something_imports_no_library(words: list[str]) -> None:
    assert imported(words) == set()


@pytest.mark.parametrize(
    "words",
    [["train", "no_such_config"], ["train", "nano_qlora_agent", "--deepspeed", "zero9"], ["copy-cfg", "no_such_config", "."]],
)
def test_a_name_that_is_not_there_is_refused_before_any_library_is_imported(words: list[str]) -> None:
    assert imported(words, expected_code=2) == set()


def test_checking_a_file_without_a_tokenizer_needs_no_torch(tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    messages = [{"role": "user", "content": "What is 2 + 2?"}, {"role": "assistant", "content": "4"}]
    file.write_text(json.dumps({"messages": messages}) + "\n", encoding="utf-8")
    assert imported(["check-dataset", str(file)]) == {"datasets"}


def test_a_chat_without_tools_imports_what_runs_the_model_only() -> None:
    assert imported(["chat", "xagent:nano/base"], "exit\n") == {"torch", "transformers"}


def test_merging_without_a_comparison_imports_neither_peft_nor_bitsandbytes(tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"], "bias": "none"}
    (adapter / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    size = json.loads((resolve("xagent:nano/base") / "config.json").read_text(encoding="utf-8"))["hidden_size"]
    place = "base_model.model.model.layers.0.self_attn.q_proj"
    factors = {f"{place}.lora_A.weight": torch.ones(2, size), f"{place}.lora_B.weight": torch.ones(size, 2)}
    save_file(factors, adapter / "adapter_model.safetensors")
    words = ["convert", "merge", "xagent:nano/base", str(adapter), str(tmp_path / "merged")]
    assert imported([*words, "--no-verify"]) == {"torch", "transformers"}
    assert {"peft"} <= imported([*words[:-1], str(tmp_path / "compared")])


def test_a_trainings_numbers_are_kept_without_matplotlib(tmp_path: Path) -> None:
    code = """
import sys
from mmengine.visualization import LocalVisBackend, Visualizer
from xagent.engine.visualizer import NumbersOnly

kept = NumbersOnly.get_instance("run", vis_backends=[dict(type=LocalVisBackend)], save_dir=sys.argv[1])
kept.add_scalars({"loss": 2.5}, step=3)
kept.close()
assert Visualizer.get_current_instance() is kept
assert "matplotlib" not in sys.modules
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).resolve().parents[1])}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    (line,) = (tmp_path / "vis_data" / "scalars.json").read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == {"loss": 2.5, "step": 3}


@pytest.mark.parametrize("package", ["xagent.config", "xagent.data", "xagent.model"])
def test_a_package_has_all_the_names_that_it_offers(package: str) -> None:
    module = import_module(package)
    assert module.__all__ and all(getattr(module, name).__name__ == name for name in module.__all__)
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'no_such_name'"):
        _ = module.no_such_name


def test_garbage_is_collected_rarely_until_a_command_is_ready() -> None:
    usual, frozen = gc.get_threshold(), gc.get_freeze_count()
    ready()  # outside a command: the program's own matter
    assert (gc.get_threshold(), gc.get_freeze_count()) == (usual, frozen)
    try:
        with starting_up():
            assert gc.get_threshold()[0] == 100_000
            ready()
            assert gc.get_threshold() == usual and gc.get_freeze_count() > frozen
        with pytest.raises(KeyError), starting_up():
            raise KeyError
        assert gc.get_threshold() == usual
    finally:
        gc.unfreeze()
