"""Processes of one training that tell each other what failed: small stand-ins, each with a part in a meeting."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from free_ports import free_port

from xagent.commands.meeting import open_store
from xagent.errors import XAgentError

ROOT = Path(__file__).resolve().parents[1]
MEMBER = """
import os, sys, time
from xagent.commands import exits, meeting
rank, port = int(sys.argv[1]), int(sys.argv[2])
os.environ.update(RANK=str(rank), GROUP_RANK=str(rank))
meeting._STILL_SECONDS = 300.0  # a process that a busy machine lets wait is not gone
if {rests}:
    meeting._LOOK_SECONDS = 3600.0  # the watcher rests, as if the main thread were quicker
store = meeting.open_store("127.0.0.1", port, keep=rank == 0, rank=rank, world=2)
member = meeting.Meeting(
    store, world=2, guests=1, keeps_store=rank == 0, machine=rank, when_told=exits.answer_failure
)
exits.join_meeting(member)
{body}
"""


def meet(tmp_path: Path, body: str, rests: bool = False, **env: str) -> tuple[list[int], list[str]]:
    """Run two processes; give exit codes and standard errors."""
    (tmp_path / "member.py").write_text(MEMBER.format(body=body, rests=rests))
    port = free_port()
    inherited = {name: value for name, value in os.environ.items() if name not in ("LOCAL_RANK", "RANK")}
    inherited |= {"PYTHONPATH": str(ROOT), "TORCH_CPP_LOG_LEVEL": "ERROR", **env}  # no word of tries before the store is there
    words = [sys.executable, str(tmp_path / "member.py")]
    members = [
        subprocess.Popen([*words, str(rank), str(port)], env=inherited, stderr=subprocess.PIPE, text=True) for rank in (0, 1)
    ]
    try:
        errors = [member.communicate(timeout=900)[1] for member in members]
    finally:
        for member in members:
            member.kill()
    return [member.returncode for member in members], errors


@pytest.mark.parametrize("failing", [0, 1])
def test_a_fault_of_one_is_told_and_ends_the_other(tmp_path: Path, failing: int) -> None:
    body = f"if rank == {failing}:\n    exits.report_fault('no such data')\n    sys.exit(2)\ntime.sleep(3600)"
    codes, errors = meet(tmp_path, body)
    assert codes == [2, 2]
    assert errors[failing] == "xagent: error: no such data\n" and errors[1 - failing] == ""


def test_what_follows_from_anothers_failure_is_not_shown(tmp_path: Path) -> None:
    body = (
        "if rank == 0:\n    while not member._store.check(['first']): time.sleep(0.01)\n    exits.report_lost('lost a partner')\n"
        "else:\n    exits.report_crash('the crash')\nsys.exit(1)"
    )
    codes, errors = meet(tmp_path, body, rests=True)
    assert codes == [1, 1]
    assert errors == ["", "the crash\n"]


def test_two_different_faults_are_both_shown(tmp_path: Path) -> None:
    codes, errors = meet(tmp_path, "exits.report_fault(f'fault {rank}')\nsys.exit(2)", rests=True)
    assert codes == [2, 2]
    assert errors == ["xagent: error: fault 0\n", "xagent: error: fault 1\n"]


def test_on_another_machine_the_starter_is_left_the_message(tmp_path: Path) -> None:
    body = "if rank == 1:\n    exits.report_crash('the crash')\n    sys.exit(1)\ntime.sleep(3600)"
    codes, errors = meet(tmp_path, body, XAGENT_FAULT_DIR=str(tmp_path), LOCAL_RANK="0")
    assert codes == [1, 1] and errors == ["", ""]
    assert (tmp_path / "crash_00001").read_text() == "the crash"
    assert (tmp_path / "told_crash_00000").read_text() == "on machine 1: the crash"


def test_an_equal_fault_on_each_machine_is_left_for_each_starter(tmp_path: Path) -> None:
    body = "exits.report_fault('no such data')\nsys.exit(2)"
    codes, _ = meet(tmp_path, body, rests=True, XAGENT_FAULT_DIR=str(tmp_path), LOCAL_RANK="0")
    assert codes == [2, 2]
    left = sorted((path.name, path.read_text()) for path in tmp_path.glob("*fault_0*"))
    first = int(left[0][0][-1])
    assert left == [(f"fault_0000{first}", "no such data"), (f"told_fault_0000{1 - first}", f"on machine {first}: no such data")]


def test_the_end_of_who_keeps_the_store_ends_the_others(tmp_path: Path) -> None:
    body = "if rank == 0:\n    while member._store.add('arrived', 0) < 2: time.sleep(0.01)\n    os._exit(9)\ntime.sleep(3600)"
    codes, errors = meet(tmp_path, body)
    assert codes == [9, 1]
    assert "process 0 of the training, which keeps the others together, has ended" in errors[1]


def test_who_keeps_the_store_waits_for_the_others_when_all_end_well(tmp_path: Path) -> None:
    body = "time.sleep(3 * rank)\nmember._store.set(f'done{rank}', 'x')\nmember.end()"
    assert meet(tmp_path, body) == ([0, 0], ["", ""])


def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            XAgentError, match=f"process 0 can't listen at 127.0.0.1:{port}: .*choose another port with MASTER_PORT"
        ):
            open_store("127.0.0.1", port, keep=True, rank=0, world=2)
