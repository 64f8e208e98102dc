"""Whether a value of a config fits an annotation; where it clearly does not, what was expected."""

from __future__ import annotations

import os
import re
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from enum import Enum
from pathlib import PurePath
from typing import Any

from xagent.config.names import did_you_mean

_LITERALS = (bool, int, float, complex, str, bytes, list, tuple, set, type(None))
_OF_ELEMENTS = (Sequence, Collection, Iterable)
_READ_FROM_TEXT = {"torch.dtype", "torch.device"}
"""Classes whose values libraries take by name too; `bfloat16` is a dtype."""
_PLACEHOLDER = re.compile(r"\\\[.+?\\\]")
"""`pissa_niter_[number of iters]`, as peft writes it, after :func:`re.escape`."""


@dataclass(frozen=True)
class Misfit:
    """One value that does not fit.

    Attributes:
        place: the keys and indices that lead to it; empty where it is the value as a whole.
        expected: what the annotation says, in words.
        got: the value.
        hint: `` (did you mean 'a'?)``, or nothing.
    """

    place: tuple[str, ...]
    expected: str
    got: Any
    hint: str = ""


def misfits(value: Any, annotation: Any) -> list[Misfit]:
    """Return what of a value clearly does not fit an annotation: all of its wrong elements, or the value as a whole.

    An int fits float, a bool fits neither; text fits Path, PathLike and an Enum whose value it is: text beside an Enum means
    such a value. list and tuple stand for each other, elements are looked at in turn, an exact tuple has its length. A class
    that is none of these fits its instances. What describes a call (a dict with `type`) fits anything, and so does any value an
    annotation that says nothing (Any, a type variable, another library's protocol).
    """
    if isinstance(value, Mapping) and "type" in value:
        return []
    choices = list(_choices(annotation))
    if any(_is_enum(choice) for choice in choices):
        choices = [choice for choice in choices if choice is not str]
    found = [_misfits_of_choice(value, choice) for choice in choices]
    if not all(found):
        return []
    inside = [of_choice for of_choice in found if all(misfit.place for misfit in of_choice)]
    if len(inside) == 1:
        return inside[0]
    expected = [
        _shown(choice) if of_choice[0].place else of_choice[0].expected for choice, of_choice in zip(choices, found, strict=True)
    ]
    words = [word for choice in choices for word in _words(choice)]
    hint = did_you_mean(value, words) if isinstance(value, str) else ""
    return [Misfit((), " or ".join(dict.fromkeys(expected)), value, hint)]


def parts(annotation: Any) -> Iterator[Any]:
    """Yield an annotation and what stands in its brackets."""
    yield annotation
    for part in typing.get_args(annotation):
        yield from parts(part)


def _choices(annotation: Any) -> Iterator[Any]:
    """Yield the members of a union, or the annotation itself."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        yield from _choices(typing.get_args(annotation)[0])
    elif origin is typing.Union or type(annotation).__name__ == "UnionType":
        for choice in typing.get_args(annotation):
            yield from _choices(choice)
    else:
        yield annotation


def _misfits_of_choice(value: Any, choice: Any) -> list[Misfit]:
    """Return the misfits of a value and an annotation that is no union."""
    if not _fits_outside(value, choice):
        return [Misfit((), _shown(choice), value)]
    origin, arguments = typing.get_origin(choice), typing.get_args(choice)
    if isinstance(value, Mapping):
        return _of_elements(value.items(), arguments[1]) if origin in (dict, Mapping) and len(arguments) == 2 else []
    if not isinstance(value, (list, tuple)) or not arguments:
        return []
    if origin is tuple and Ellipsis not in arguments:
        if len(value) != len(arguments):
            return [Misfit((), f"{_shown(choice)} of {len(arguments)}", value)]
        return [misfit for index, part in enumerate(value) for misfit in _inside(str(index), part, arguments[index])]
    return _of_elements(enumerate(value), arguments[0])


def _of_elements(elements: Iterable[tuple[Any, Any]], annotation: Any) -> list[Misfit]:
    return [misfit for key, element in elements for misfit in _inside(str(key), element, annotation)]


def _inside(key: str, value: Any, annotation: Any) -> Iterator[Misfit]:
    for misfit in misfits(value, annotation):
        yield replace(misfit, place=(key, *misfit.place))


def _fits_outside(value: Any, choice: Any) -> bool:
    """Return whether a value fits an annotation, whatever its elements are."""
    origin = typing.get_origin(choice) or choice
    if origin is typing.Literal:
        return any(_is_literal(value, literal) for literal in typing.get_args(choice))
    if origin is None or origin is type(None):
        return value is None
    if typing.is_typeddict(origin):
        return isinstance(value, Mapping)
    if origin is Callable:
        return callable(value) or isinstance(value, str)  # a registered name
    if not isinstance(origin, type) or origin is type or origin is object:
        return True
    return _fits_class(value, origin, typing.get_args(choice))


def _fits_class(value: Any, kind: type, arguments: tuple[Any, ...]) -> bool:
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    if kind is os.PathLike or issubclass(kind, PurePath):
        return isinstance(value, (str, os.PathLike))
    if issubclass(kind, Enum):
        return isinstance(value, kind) or value in [member.value for member in kind]
    if kind in (list, tuple):
        return isinstance(value, (list, tuple))
    if kind in _OF_ELEMENTS:
        return _has_elements(value, arguments)
    if kind in (str, bool, dict):
        return isinstance(value, kind)
    if f"{kind.__module__}.{kind.__qualname__}" in _READ_FROM_TEXT and isinstance(value, str):
        return True
    try:
        return isinstance(value, kind) or not isinstance(value, _LITERALS)
    except TypeError:  # a protocol that can't be asked
        return True


def _has_elements(value: Any, arguments: tuple[Any, ...]) -> bool:
    """Return whether a value can stand for a sequence; text can where its characters fit."""
    if isinstance(value, str):
        return not arguments or not misfits(value, arguments[0])
    return hasattr(value, "__getitem__") or isinstance(value, Iterable)


def _is_literal(value: Any, literal: Any) -> bool:
    if isinstance(value, str) and isinstance(literal, str) and "[" in literal:
        return re.fullmatch(_PLACEHOLDER.sub(".+", re.escape(literal)), value) is not None
    return bool(value == literal) and isinstance(value, bool) is isinstance(literal, bool)


def _is_enum(choice: Any) -> bool:
    return isinstance(choice, type) and issubclass(choice, Enum)


def _words(choice: Any) -> Iterator[str]:
    """Yield the texts that an annotation names."""
    named = typing.get_args(choice) if typing.get_origin(choice) is typing.Literal else ()
    for word in [member.value for member in choice] if _is_enum(choice) else named:
        if isinstance(word, str):
            yield word


def _shown(choice: Any) -> str:
    if typing.get_origin(choice) is typing.Literal:
        return " or ".join(repr(literal) for literal in typing.get_args(choice))
    if _is_enum(choice):
        return " or ".join(repr(member.value) for member in choice)
    origin = typing.get_origin(choice) or choice
    if origin is None or origin is type(None):
        return "None"
    if is_dataclass(origin) and isinstance(origin, type):
        return f"dict(type={origin.__name__})"
    return getattr(origin, "__name__", str(origin))
