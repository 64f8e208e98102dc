"""What a map function leaves unread: columns of a record, and keys of its turns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from xagent.chat.message import Conversation, excerpt
from xagent.data.formats.auto import MapFn
from xagent.data.rows import FILE
from xagent.data.self_cognition import SelfCognitionMap, read_by_keys

_EMPTY: tuple[Any, ...] = (None, "", [], {}, ())
_TOOL_COLUMNS = frozenset({"tools", "functions"})
"""Lists of objects that are no turns."""


class WatchedObject(dict[str, Any]):
    """An object that remembers which of its values were asked for; to see that a key is there is not to ask for its value."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        """Give a value."""
        self.read.add(key)
        return super().__getitem__(key)

    def __iter__(self) -> Iterator[str]:
        """Give the keys; overridden so that ``dict(row)`` and ``{**row}`` ask for the values one by one."""
        return super().__iter__()

    def __or__(self, other: Any) -> Any:
        """Give both objects as one."""
        return dict(self) | other

    def get(self, key: str, default: Any = None) -> Any:
        """Give a value, or the default."""
        self.read.add(key)
        return super().get(key, default)

    def pop(self, key: str, *default: Any) -> Any:
        """Take a value out."""
        self.read.add(key)
        return super().pop(key, *default)

    def items(self) -> Any:
        """Give keys and values."""
        self.read.update(self)
        return super().items()

    def values(self) -> Any:
        """Give the values."""
        self.read.update(self)
        return super().values()

    def copy(self) -> dict[str, Any]:
        """Give a plain object of the same values."""
        return dict(self)

    def items_as_they_are(self) -> Any:
        """Give keys and values to a reader that doesn't count."""
        return super().items()


@dataclass(frozen=True)
class Unread:
    """A value of a record that its map function did not ask for.

    Attributes:
        name: the column, or the key of turns, such as ``messages[].name``.
        where: which of the turns, such as ``messages[0]``; the column itself where it is no turn's. value: it itself.
    """

    name: str
    where: str
    value: Any

    def __str__(self) -> str:
        return f"{self.where}: {excerpt(self.value, 60)}"


class Watch:
    """A map function that reads as another one does, and remembers what that one left unread of the last record.

    Attributes:
        map_fn: the other one. unread: of the last record, each name once; nothing where it could not be read.
    """

    def __init__(self, map_fn: MapFn) -> None:
        self.map_fn = map_fn
        self.__name__ = getattr(map_fn, "__name__", type(map_fn).__name__)
        self.unread: list[Unread] = []

    def __call__(self, record: Mapping[str, Any]) -> Conversation:
        """Read a record."""
        self.unread = []
        watched = WatchedObject({key: _watched(key, value) for key, value in record.items()})
        conversation = self.map_fn(watched)
        self.unread = list(_unread(watched))
        return conversation


def watched_map_fn(map_fn: MapFn) -> tuple[MapFn, Watch]:
    """Give a map function that reads as ``map_fn`` does, and what watches it: there for what it fills in before it reads."""
    if isinstance(map_fn, SelfCognitionMap):
        watch = Watch(map_fn.dataset_map_fn or read_by_keys)
        return replace(map_fn, dataset_map_fn=watch), watch
    watch = Watch(map_fn)
    return watch, watch


def read_beside(row: Mapping[str, Any]) -> frozenset[str]:
    """Give the columns of a row that say where it came from, which the encoder reads; see ``xagent.data.prepare.place_of``."""
    named = FILE not in row and isinstance(row.get("source"), str) and isinstance(row.get("line"), int)
    return frozenset({"id", "source", "line"} if named else {"id"})


def _watched(column: str, value: Any) -> Any:
    if column in _TOOL_COLUMNS or not isinstance(value, (list, tuple)):
        return value
    return [WatchedObject(inner) if isinstance(inner, Mapping) else inner for inner in value]


def _unread(record: WatchedObject) -> Iterator[Unread]:
    for column, value in record.items_as_they_are():
        if column not in record.read:
            if value not in _EMPTY:
                yield Unread(column, column, value)
            continue
        named: set[str] = set()
        for index, turn in enumerate(value if isinstance(value, list) else ()):
            for key, inner in turn.items_as_they_are() if isinstance(turn, WatchedObject) else ():
                if key not in turn.read and key not in named and inner not in _EMPTY:
                    named.add(key)
                    yield Unread(f"{column}[].{key}", f"{column}[{index}]", inner)
