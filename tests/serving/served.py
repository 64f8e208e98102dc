"""`xagent serve` as a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripted import until


@contextmanager
def served(log: Path, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run ``xagent serve WORDS`` on a free port; give the process and its address. Its output goes to ``log``."""
    command = [sys.executable, "-m", "xagent.cli", "serve", *words, "--port", "0"]
    with log.open("w") as out:
        server = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    try:
        until(lambda: "/v1" in log.read_text() or server.poll() is not None, 300)
        found = re.search(r"serving at (http://127\.0\.0\.1:\d+)/v1", log.read_text())
        assert found, log.read_text()
        yield server, found[1]
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()
