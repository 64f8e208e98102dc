"""Exit codes, and how the processes of one training bring their faults to the process that started them."""

from __future__ import annotations

import atexit
import os
import sys
from pathlib import Path

OK, OUR_FAULT, USER_FAULT, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 130, 141

# Set by `xagent train` for the processes that it starts: a folder in which each leaves its message, to be shown once.
FAULT_DIR = "XAGENT_FAULT_DIR"


def report_fault(message: str) -> None:
    """Show a user's fault; in a process of a training that xagent started, leave it for the starter to show."""
    if not _leave("fault", message):
        print(f"xagent: error: {message}", file=sys.stderr)


def report_crash(text: str) -> None:
    """Show a fault of ours; in a process of a training that xagent started, leave it for the starter to show."""
    if not _leave("crash", text):
        print(text, file=sys.stderr)


def left_faults(folder: Path) -> list[str]:
    """Return the users' faults that the processes left in a folder, each once, in the order of their ranks."""
    return list(dict.fromkeys(path.read_text(encoding="utf-8") for path in sorted(folder.glob("fault_*"))))


def first_crash(folder: Path) -> str | None:
    """Return the crash that a process left first: those of the others, which lost their partner, follow from it."""
    crashes = sorted(folder.glob("crash_*"), key=lambda path: path.stat().st_mtime_ns)
    return f"process {int(crashes[0].name[-5:])}:\n{crashes[0].read_text(encoding='utf-8')}" if crashes else None


def end_process_of_several() -> None:
    """End this process, with exit code 0, if it is one of several that trained together, once all of them are done.

    Python's own end would take gloo's threads apart while they run, which now and then aborts a training that went well.
    """
    from torch import distributed

    if not distributed.is_available() or not distributed.is_initialized() or distributed.get_world_size() == 1:
        return
    distributed.barrier()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(OK)


def _leave(kind: str, text: str) -> bool:
    folder = os.environ.get(FAULT_DIR)
    if not folder or "LOCAL_RANK" not in os.environ:
        return False
    Path(folder, f"{kind}_{int(os.environ.get('RANK', 0)):05}").write_text(text, encoding="utf-8")
    return True
