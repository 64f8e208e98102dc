"""Compiled parts of DeepSpeed that a killed process left locked.

torch puts a file ``lock`` beside such a part while it compiles or loads it (``torch/utils/file_baton.py``), and whoever finds one
waits for its end: without a word, and for ever if that process was killed. Its maker holds the file open, which tells the living
from the dead on one machine; in a home that several machines share, how long nothing was written beside it tells.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import psutil
from filelock import FileLock
from mmengine.logging import print_log

QUIET_SECONDS = 300.0
"""How long nothing may be written beside a lock that nobody here holds: who compiles on another machine writes sooner."""

_POLL_SECONDS = 1.0


def release_left_builds(quiet_seconds: float = QUIET_SECONDS) -> list[Path]:
    """Remove the locks of builds whose process is gone, so that DeepSpeed's parts load instead of waiting for ever.

    A lock that a living process of this machine holds stays. One that nobody here holds is removed when nothing was written
    beside it for ``quiet_seconds``; until then it is waited for, and the log says so. Every process of a run may call it: a lock
    that one of them has taken anew is seen as held. Extensions of other programs in the same folder are treated alike.

    Returns:
        The locks that were removed, each told in the log.
    """
    root = _build_root()
    removed = []
    for lock in sorted([*root.glob("*/lock"), *root.glob("*/*/lock")]):
        try:
            if _release(lock, root / ".xagent.lock", quiet_seconds):
                removed.append(lock)
        except OSError as error:  # somebody else's folder, or one that is not to be written to
            _tell(f"{lock}: a lock of DeepSpeed's compiled parts that can't be tested ({error}); if loading hangs, delete it")
    return removed


def _release(lock: Path, guard: Path, quiet_seconds: float) -> bool:
    """Wait until a lock is gone, held by a living process, or removed, and tell whether it was removed."""
    told = False
    while True:
        with FileLock(guard):
            quiet = _quiet_for(lock)
            if quiet is None or _held(lock):
                return False
            if quiet >= quiet_seconds:
                lock.unlink(missing_ok=True)
                _tell(f"{lock}: left by a process that was killed while it compiled or loaded a part of DeepSpeed; removed")
                return True
        if not told:
            _tell(
                f"{lock}: someone compiles a part of DeepSpeed, and nobody on this machine does; waiting until nothing was "
                f"written there for {quiet_seconds:.0f} s. If that process was killed, delete the file to go on at once"
            )
            told = True
        time.sleep(_POLL_SECONDS)


def _build_root() -> Path:
    from torch.utils.cpp_extension import get_default_build_root

    return Path(os.environ.get("TORCH_EXTENSIONS_DIR") or get_default_build_root())


def _quiet_for(lock: Path) -> float | None:
    """Give the seconds since something was last written beside a lock; None: the lock is gone."""
    try:
        times = [lock.stat().st_mtime]
    except FileNotFoundError:
        return None
    for file in lock.parent.iterdir():
        try:
            times.append(file.stat().st_mtime)
        except FileNotFoundError:
            continue  # a compiler's temporary file
    return time.time() - max(times)


def _held(lock: Path) -> bool:
    """Tell whether a process of this machine has the file open."""
    path = os.path.realpath(lock)
    for process in psutil.process_iter():
        try:
            if any(opened.path == path for opened in process.open_files()):
                return True
        except psutil.Error:
            continue  # it has just ended, or is somebody else's
    return False


def _tell(text: str) -> None:
    print_log(text, logger="current", level=logging.WARNING)
