"""Memory of mapped files that is no longer read.

A checkpoint's file stays mapped as long as one of its tensors is used, and every page of it that was once read counts as the
process's memory. Weights that were cast to another dtype are read no more.
"""

from __future__ import annotations

import ctypes
import mmap
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

_HEAD = re.compile(r"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \d+ +(/.*)")
_MADV_DONTNEED = 4  # <linux/mman.h>


@dataclass(frozen=True)
class _Mapping:
    """A file in this process's memory.

    Attributes:
        begin, end: addresses.
        changed: bytes of it that are no longer the file's.
    """

    begin: int
    end: int
    changed: int


def let_go(tensors: Iterable[torch.Tensor]) -> int:
    """Take the pages of tensors on a CPU out of this process's memory, and give how many bytes that were at most.

    Only pages of mapped files of which nothing was changed: should one be read after all, it comes from the file again, which
    mostly is in the system's memory. Nothing happens for tensors that lie elsewhere, and on systems other than Linux.
    """
    ranges = [pages for tensor in tensors if tensor.device.type == "cpu" for pages in _whole_pages(tensor)]
    if not ranges or not sys.platform.startswith("linux"):
        return 0
    try:
        smaps = Path("/proc/self/smaps").read_text(errors="replace")
    except OSError:
        return 0
    files = [mapping for mapping in _mapped_files(smaps) if not mapping.changed]
    done = 0
    for begin, end in ranges:
        if any(mapping.begin <= begin and end <= mapping.end for mapping in files):
            ctypes.CDLL(None).madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), _MADV_DONTNEED)
            done += end - begin
    return done


def _whole_pages(tensor: torch.Tensor) -> Iterator[tuple[int, int]]:
    """Yield where the pages begin and end that hold nothing but this tensor."""
    begin = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    end = (tensor.data_ptr() + tensor.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if tensor.is_contiguous() and end > begin:
        yield begin, end


def _mapped_files(smaps: str) -> Iterator[_Mapping]:
    """Read ``/proc/PID/smaps`` (proc_pid_smaps(5)); ``Anonymous`` are the pages that differ from the file's."""
    found = None
    for line in smaps.splitlines():
        if head := _HEAD.fullmatch(line):
            found = int(head[1], 16), int(head[2], 16)
        elif line.startswith("Anonymous:") and found is not None:
            yield _Mapping(*found, int(line.split()[1]) * 1024)
            found = None
        elif not line.partition(" ")[0].endswith(":"):  # the head of memory that is no file's
            found = None
