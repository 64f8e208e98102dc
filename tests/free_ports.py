"""Ports for servers that a test starts a moment later."""

from __future__ import annotations

import random
import socket

_PORTS = range(15_000, 32_000)
"""Below those that Linux gives to outgoing connections (from 32,768 on), which could take such a port meanwhile."""


def free_ports(count: int) -> list[int]:
    """Draw different ports that nothing listens on now."""
    drawn = iter(random.SystemRandom().sample(_PORTS, len(_PORTS)))
    found: list[int] = []
    while len(found) < count:
        port = next(drawn)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
    return found


def free_port() -> int:
    """Draw a port that nothing listens on now."""
    return free_ports(1)[0]
