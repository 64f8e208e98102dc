"""Training on two machines, by the command line: two starters on this one, each with a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from free_ports import free_port
from tiny_models import losses_in
from training_fixtures import ROOT, cfg_options

from xagent.model.checkpoint import read_trained_state

Ended = tuple[int, str]
"""Exit code and standard error."""


def two_machines(config: Path, work_dir: Path, *arguments: str, by_variables: bool = False, **options: Any) -> list[Ended]:
    """Start ``xagent train`` as on two machines; the addresses are given by flags, or by XTuner's variables.

    ``on_second__NAME=VALUE`` among the options is given to the second machine alone.
    """
    port = free_port()
    apart = {name.removeprefix("on_second__"): options.pop(name) for name in list(options) if name.startswith("on_second__")}
    started = []
    for rank in (1, 0):
        given = {**options, **(apart if rank == 1 else {})}
        words = [sys.executable, "-m", "xagent.cli", "train", str(config), "--work-dir", str(work_dir), *arguments]
        env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
        if by_variables:
            env |= {"NNODES": "2", "NODE_RANK": str(rank), "ADDR": "127.0.0.1", "PORT": str(port), "NPROC_PER_NODE": "1"}
        else:
            words += ["--nnodes", "2", "--node-rank", str(rank), "--master-addr", "127.0.0.1", "--master-port", str(port)]
        words += cfg_options(given)
        started.append(subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True))
    errors = [machine.communicate(timeout=600)[1] for machine in started]
    return [(machine.returncode, error) for machine, error in zip(started, errors, strict=True)][::-1]


@pytest.mark.parametrize(
    ("by_variables", "arguments"),
    [(False, []), pytest.param(True, ["--deepspeed", "zero2"], marks=pytest.mark.slow)],
    ids=["flags, DDP", "variables, ZeRO-2"],
)
def test_two_machines_are_one_process(
    exact: Path, reference: Path, tmp_path: Path, by_variables: bool, arguments: list[str]
) -> None:
    ended = two_machines(exact, tmp_path / "two", *arguments, by_variables=by_variables, accumulative_counts=4)
    assert [code for code, _ in ended] == [0, 0], ended
    assert len(losses_in(reference)) == 6
    assert losses_in(tmp_path / "two") == pytest.approx(losses_in(reference), abs=1e-5)
    one, two = (read_trained_state(max(folder.glob("iter_*.pth")))[0] for folder in (reference, tmp_path / "two"))
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_a_fault_of_both_machines_is_told_once_on_each(exact: Path, tmp_path: Path) -> None:
    ended = two_machines(exact, tmp_path / "out", data_path="/nowhere/x.jsonl")
    for code, error in ended:
        assert code == 2
        assert error.count("xagent: error: ") == 1 and "no such file or folder: '/nowhere/x.jsonl'" in error
        assert "Traceback" not in error


@pytest.mark.slow
def test_a_fault_of_one_machine_ends_the_other_with_its_message(exact: Path, tmp_path: Path) -> None:
    first, second = two_machines(exact, tmp_path / "out", on_second__data_path="/nowhere/x.jsonl")
    assert (first[0], second[0]) == (2, 2)
    assert first[1].count("xagent: error: on machine 1: ") == second[1].count("xagent: error: ") == 1
    for _, error in (first, second):
        assert "no such file or folder: '/nowhere/x.jsonl'" in error and "Traceback" not in error


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_crash_on_one_machine_ends_the_other(configs: Callable[..., Path], rank: int, tmp_path: Path) -> None:
    part = f"\nfrom interruptions import FailOnRank\ncustom_hooks.append(dict(type=FailOnRank, rank={rank}, fault='crash'))\n"
    ended = two_machines(configs(f"machine_{rank}", parts=[part]), tmp_path)
    assert [code for code, _ in ended] == [1, 1]
    assert f"process {rank}:\nTraceback" in ended[rank][1]
    assert f"on machine {rank}: Traceback" in ended[1 - rank][1]
    for _, error in ended:
        assert error.count("ZeroDivisionError: one of us") == 1 and "closed by peer" not in error
