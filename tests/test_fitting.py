"""Whether values of a config fit annotations."""

# ruff: noqa: UP007, UP045  (both spellings of a union are met in configs)
from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Protocol, TypedDict, TypeVar, Union

import pytest
import torch

from xagent.config.fitting import Misfit, misfits


class Size(str, Enum):
    SMALL = "small"
    LARGE = "large"


class Level(Enum):
    LOW = 1


class Thing:
    """A class that text does not become."""


@dataclass
class Settings:
    size: int = 0


class Sayable(Protocol):
    def say(self) -> None: ...


class Row(TypedDict):
    text: str


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (1, int),
        (1, float),
        ("x", str),
        (True, bool),
        ((1,), list),
        ([1], tuple[int, ...]),
        ([0.9, 1], tuple[float, float]),
        ({}, dict[str, int]),
        ({"a": [1]}, Mapping[str, list[int]]),
        (None, None),
        (None, type(None)),
        (None, Optional[int]),
        (1, Annotated[int, "positive"]),
        ("a", Literal["a", 2]),
        (True, Literal[True]),
        ("gauss_8", Literal["gauss", "gauss_[number]"]),
        (1, Any),
        (1, object),
        (1, TypeVar("T")),
        (1, Sayable),
        ("a/b", Path),
        (Path("a"), Path | None),
        ("a/b", os.PathLike[str]),
        ("small", Size),
        (Size.SMALL, Union[str, Size]),
        (1, Level),
        (Thing(), Thing),
        ({"type": Thing}, Thing),
        ([{"type": Thing}, 1], list[Thing | int]),
        ({"size": 1}, Settings),
        ({"text": "x"}, Row),
        ("bfloat16", torch.dtype),
        (len, Callable[[Any], int]),
        ("openai_map_fn", Callable[[Any], int]),
        ([1], Sized),
        ("abc", Sequence[str]),
        ([["a"], "b"], list[list[str] | str]),
        (Thing, type[Thing]),
    ],
)
def test_values_that_fit(value: Any, annotation: Any) -> None:
    assert misfits(value, annotation) == []


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        (True, int, "int"),
        (1.0, int, "int"),
        (False, float, "float"),
        ("1", float, "float"),
        (1, bool, "bool"),
        ({1}, list[int], "list"),
        ([], dict, "dict"),
        (0, type(None), "None"),
        ("x", Optional[int], "int or None"),
        ("x", int | None, "int or None"),
        (1.5, Union[int, str, list[int]], "int or str or list"),
        ([0.9], tuple[float, float], "tuple of 2"),
        (True, Literal[1, "x"], "1 or 'x'"),
        (1, Literal[True], "True"),
        ([], Literal["a"], "'a'"),
        (object(), Literal["a"] | None, "'a' or None"),
        ("x", Literal["gauss_[number]"], "'gauss_[number]'"),
        ("x", Thing, "Thing"),
        (None, Thing, "Thing"),
        ("x", Union[int, Thing], "int or Thing"),
        (3, Settings, "dict(type=Settings)"),
        ("medium", Union[str, Size, None], "'small' or 'large' or None"),
        (2, Level, "1"),
        (5, Sized, "Sized"),
        (5, Callable[[Any], int], "Callable"),
        (5, Sequence[str], "Sequence"),
        ("abc", Sequence[float], "Sequence"),
        (5, Row, "Row"),
        (5, torch.dtype, "dtype"),
        (5, os.PathLike, "PathLike"),
    ],
)
def test_a_value_that_does_not_fit_as_a_whole(value: Any, annotation: Any, expected: str) -> None:
    assert misfits(value, annotation) == [Misfit((), expected, value)]


def test_each_wrong_element_is_named_with_its_place() -> None:
    assert misfits([0.9, "x", None], list[float]) == [Misfit(("1",), "float", "x"), Misfit(("2",), "float", None)]
    assert misfits({"a": {"b": [1, "2"]}}, dict[str, dict[str, list[int]]] | None) == [Misfit(("a", "b", "1"), "int", "2")]
    assert misfits([[1, 2], [1]], list[tuple[int, int]]) == [Misfit(("1",), "tuple of 2", [1])]


def test_where_several_sequences_are_meant_the_whole_is_named() -> None:
    assert misfits([1, "x"], list[int] | tuple[str, ...]) == [Misfit((), "list or tuple", [1, "x"])]


def test_the_nearest_word_is_shown() -> None:
    assert misfits("larg", Optional[Size])[0].hint == " (did you mean 'large'?)"
    assert misfits(["a", "ritgh"], list[Literal["left", "right", "a"]])[0].hint == " (did you mean 'right'?)"
