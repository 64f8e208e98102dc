"""Garbage collection while a command starts.

Importing torch and transformers makes most of a million objects, and all of them stay. Python's collector would look through them
time and again while they come, for a good part of the time that the imports take (docs/scaling.md, "Start-up").
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_USUAL = gc.get_threshold()
_RARELY = 100_000
"""New objects between two collections: a command that never gets ready must not fill the memory either."""


@contextmanager
def starting_up() -> Iterator[None]:
    """Collect rarely inside the block, until :func:`ready` is called."""
    gc.set_threshold(_RARELY, *_USUAL[1:])
    try:
        yield
    finally:
        gc.set_threshold(*_USUAL)


def ready() -> None:
    """End start-up, before the first weights are loaded: collect as usual, and leave out what is there already, for it will stay.

    What is left out is never freed if it is part of a circle, so no model may be there yet. Does nothing outside
    :func:`starting_up`: how a program that uses the package collects its garbage is its own matter.
    """
    if gc.get_threshold()[0] == _RARELY:
        gc.freeze()
        gc.set_threshold(*_USUAL)
