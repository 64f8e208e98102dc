"""Packages whose names are imported when they are first used: a command pays for the libraries that it needs, and no others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def names_on_demand(package: str, home: Mapping[str, str]) -> Callable[[str], Any]:
    """Make a package's ``__getattr__``. For tools that read types the package imports the same names under ``TYPE_CHECKING``.

    Args:
        package: its ``__name__``.
        home: each name it offers, and the module inside the package that defines it. No module may have the name of
            something that another defines: once imported it would stand in its place.
    """

    def find(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{home[name]}"), name)

    return find
