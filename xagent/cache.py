"""Where xagent keeps what it need not find out twice."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Give ``$XAGENT_CACHE``, or ``~/.cache/xagent``.

    Raises:
        RuntimeError: neither is set: there is no home folder.
    """
    return Path(os.environ.get("XAGENT_CACHE") or Path.home() / ".cache" / "xagent")
