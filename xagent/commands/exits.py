"""Exit codes, and how the processes of one training bring their faults to the process that started them."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xagent.commands.meeting import Failure, Meeting

OK, OUR_FAULT, USER_FAULT, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 130, 141

# Set by `xagent train` for the processes that it starts: a folder in which each leaves its message, to be shown once.
FAULT_DIR = "XAGENT_FAULT_DIR"

_LOST = ("Connection closed by peer", "Connection reset by peer", "remote process exited", "Broken pipe")
"""What gloo and nccl say where another process has ended."""

_meeting: Meeting | None = None


def report_fault(message: str) -> None:
    """Show a user's fault; in a process of a training that xagent started, leave it for the starter to show."""
    _report("fault", message)


def report_crash(text: str) -> None:
    """Show a fault of ours; in a process of a training that xagent started, leave it for the starter to show."""
    _report("crash", text)


def report_lost(text: str) -> None:
    """Show that another process of the training is gone, unless that one, or another, has said why."""
    _report("lost", text)


def is_lost_partner(error: BaseException) -> bool:
    """Tell whether an exception only says that another process of the training has ended."""
    return isinstance(error, RuntimeError) and "RANK" in os.environ and any(words in str(error) for words in _LOST)


def speaks_for_all(arguments: Sequence[str]) -> bool:
    """Tell whether this process is the one to show a fault that all tasks of a Slurm step find in the same arguments."""
    return not {"slurm", "--launcher=slurm"}.intersection(arguments) or os.environ.get("SLURM_PROCID", "0") == "0"


def join_meeting(meeting: Meeting) -> None:
    """Let this process's faults be told to the training's other machines from here on."""
    global _meeting
    _meeting = meeting


def leave_meeting() -> None:
    """End without a word to the other processes: what ends this one ends them too."""
    if _meeting is not None:
        _meeting.leave()


def answer_failure(told: Failure | None) -> int:
    """Show another process's failure where it was not shown yet; give the exit code with which this one ends."""
    if told is None:
        if os.environ.get("SLURM_LOCALID", "0") == "0":
            _show("lost", "xagent: process 0 of the training, which keeps the others together, has ended; this one ends too")
        return OUR_FAULT
    elsewhere = told.machine != int(os.environ.get("GROUP_RANK", 0))
    if os.environ.get(FAULT_DIR) and elsewhere:  # under srun all machines write to one terminal
        _show(f"told_{told.kind}", f"on machine {told.machine}: {told.text}")
    return USER_FAULT if told.kind == "fault" else OUR_FAULT


def left_faults(folder: Path) -> list[str]:
    """Return the users' faults that the processes left in a folder, each once, in the order of their ranks.

    What another machine told is returned where no process of this one had a fault.
    """
    for kind in ("fault", "told_fault"):
        messages = list(dict.fromkeys(path.read_text(encoding="utf-8") for path in sorted(folder.glob(f"{kind}_*"))))
        if messages:
            return messages
    return []


def first_crash(folder: Path) -> str | None:
    """Return the crash that a process left first: those of the others, which lost their partner, follow from it."""
    for kind in ("crash", "told_crash"):
        crashes = sorted(folder.glob(f"{kind}_*"), key=lambda path: path.stat().st_mtime_ns)
        if crashes:
            text = crashes[0].read_text(encoding="utf-8")
            return text if kind == "told_crash" else f"process {int(crashes[0].name[-5:])}:\n{text}"
    return None


def lost_partner(folder: Path) -> str | None:
    """Return what a process said that lost another one, None where none did."""
    return next((path.read_text(encoding="utf-8") for path in sorted(folder.glob("*lost_*"))), None)


def end_process_of_several() -> None:
    """End this process, with exit code 0, if it is one of several that trained together, once all of them are done.

    Python's own end would take gloo's threads apart while they run, which now and then aborts a training that went well.
    """
    from torch import distributed

    if _meeting is not None:
        _meeting.end()
    if not distributed.is_available() or not distributed.is_initialized() or distributed.get_world_size() == 1:
        return
    distributed.barrier()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(OK)


def _report(kind: str, text: str) -> None:
    if _meeting is None:
        _show(kind, text)
    else:
        _meeting.fail(kind, text, lambda: _show(kind, text))


def _show(kind: str, text: str) -> None:
    if not _leave(kind, text):
        print(f"xagent: error: {text}" if kind == "fault" else text, file=sys.stderr)


def _leave(kind: str, text: str) -> bool:
    folder = os.environ.get(FAULT_DIR)
    if not folder or "LOCAL_RANK" not in os.environ:
        return False
    Path(folder, f"{kind}_{int(os.environ.get('RANK', 0)):05}").write_text(text, encoding="utf-8")
    return True
