"""Type hints as JSON schemas, and JSON values as what the hints ask for."""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import inspect
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

from xagent.agent.tools.docstring import read_docstring
from xagent.errors import ConfigError

_SIMPLE: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
_LISTS = (list, set, frozenset, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
_MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_SUPPORTED = (
    "str, int, float, bool, None, Any, Literal, Enum, Optional, Union, list, tuple, set, dict, dataclasses, TypedDict, "
    "and Annotated[type, 'description']"
)


def schema_of(hint: Any, where: str, outer: tuple[Any, ...] = ()) -> dict[str, Any]:
    """Give the JSON schema of a type hint.

    Args:
        hint: a resolved hint (no text).
        where: named in errors, such as ``search(query)``.
        outer: classes that the hint stands in.

    Raises:
        ConfigError: the hint has no JSON form, or a class contains itself.
    """
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any or hint is object:
        return {}
    if hint in _SIMPLE:
        return {"type": _SIMPLE[hint]}
    if origin is typing.Annotated:
        words = [word for word in inner[1:] if isinstance(word, str)]
        return {**schema_of(inner[0], where, outer), **({"description": words[0]} if words else {})}
    if origin is Literal:
        return _choices(list(inner), where)
    if origin in (Union, types.UnionType):
        return {"anyOf": [schema_of(one, where, outer) for one in inner]}
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _choices([member.value for member in hint], where)
    if dataclasses.is_dataclass(hint) or typing.is_typeddict(hint):
        return _object(hint, where, outer)
    if hint is tuple or origin is tuple:
        return _tuple(inner, where, outer)
    if hint in _LISTS or origin in _LISTS:
        unique = {"uniqueItems": True} if (origin or hint) in (set, frozenset) else {}
        return {"type": "array", **({"items": schema_of(inner[0], where, outer)} if inner else {}), **unique}
    if hint in _MAPPINGS or origin in _MAPPINGS:
        return _mapping(inner, where, outer)
    raise ConfigError(f"{where}: the type hint {_name(hint)} has no JSON form; use {_SUPPORTED}")


def without_none(hint: Any) -> Any:
    """Give the hint of an optional parameter without its None: who leaves it out gets None."""
    if get_origin(hint) is typing.Annotated:
        return typing.Annotated[(without_none(get_args(hint)[0]), *get_args(hint)[1:])]
    if get_origin(hint) not in (Union, types.UnionType):
        return hint
    left = tuple(one for one in get_args(hint) if one is not type(None))
    return Union[left] if left else hint  # noqa: UP007  (a union of a tuple)


def hints_of(owner: Any, where: str) -> dict[str, Any]:
    """Give the resolved hints of a function or class.

    Raises:
        ConfigError: a hint names something that is not there.
    """
    try:
        return typing.get_type_hints(owner, include_extras=True)
    except (NameError, TypeError, AttributeError, SyntaxError) as error:
        raise ConfigError(f"{where}: a type hint can't be resolved: {error}") from error


def to_python(value: Any, hint: Any) -> Any:
    """Give a JSON value, checked already, as the hint asks for it: whole floats as int, lists as tuples or sets, objects as
    dataclasses, values as enum members. What needs no change is given back as it is.
    """
    origin, inner = get_origin(hint), get_args(hint)
    if origin is typing.Annotated:
        return to_python(value, inner[0])
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if origin in (Union, types.UnionType):
        return _first_fitting(value, inner)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return hint(value)
    if isinstance(value, Mapping):
        return _object_value(value, hint, origin, inner)
    if isinstance(value, list):
        return _list_value(value, hint, origin, inner)
    return value


def _choices(values: list[Any], where: str) -> dict[str, Any]:
    kinds = {_SIMPLE.get(type(value)) for value in values}
    if None in kinds:
        raise ConfigError(f"{where}: choices must be strings, numbers, booleans or None, got {values!r:.200}")
    return {**({"type": str(kinds.pop())} if len(kinds) == 1 else {}), "enum": values}


def _object(hint: Any, where: str, outer: tuple[Any, ...]) -> dict[str, Any]:
    if hint in outer:
        raise ConfigError(f"{where}: {_name(hint)} contains itself; tools' parameters must end somewhere")
    described, hints = read_docstring(hint.__doc__).parameters, hints_of(hint, where)
    if dataclasses.is_dataclass(hint):
        fields = {field.name: field for field in dataclasses.fields(hint) if field.init}
        names, required = (
            list(fields),
            [name for name, field in fields.items() if field.default is field.default_factory is dataclasses.MISSING],
        )
    else:
        names, required = list(hints), sorted(hint.__required_keys__, key=list(hints).index)
    properties = {}
    for name in names:
        one = hints[name] if name in required else without_none(hints[name])
        schema = schema_of(one, f"{where}.{name}", (*outer, hint))
        properties[name] = {**schema, **({"description": described[name]} if name in described else {})}
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _tuple(inner: tuple[Any, ...], where: str, outer: tuple[Any, ...]) -> dict[str, Any]:
    if not inner:
        return {"type": "array"}
    if len(inner) == 2 and inner[1] is Ellipsis:
        return {"type": "array", "items": schema_of(inner[0], where, outer)}
    items = [schema_of(one, where, outer) for one in inner]
    return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}


def _mapping(inner: tuple[Any, ...], where: str, outer: tuple[Any, ...]) -> dict[str, Any]:
    if inner and inner[0] is not str:
        raise ConfigError(f"{where}: keys of objects are text in JSON, got {_name(inner[0])}; use dict[str, ...]")
    values = schema_of(inner[1], where, outer) if inner else {}
    return {"type": "object", "additionalProperties": values or True}


def _first_fitting(value: Any, hints: tuple[Any, ...]) -> Any:
    from jsonschema import Draft202012Validator

    for hint in hints:
        if Draft202012Validator(schema_of(hint, "")).is_valid(value):
            return to_python(value, hint)
    return value


def _object_value(value: Mapping[str, Any], hint: Any, origin: Any, inner: tuple[Any, ...]) -> Any:
    if dataclasses.is_dataclass(hint) or typing.is_typeddict(hint):
        hints = hints_of(hint, _name(hint))
        return hint(**{name: to_python(one, hints[name]) for name, one in value.items()})
    return {name: to_python(one, inner[1]) for name, one in value.items()} if origin in _MAPPINGS else dict(value)


def _list_value(value: list[Any], hint: Any, origin: Any, inner: tuple[Any, ...]) -> Any:
    kind = origin or hint
    if kind is tuple:
        many = (inner[0],) * len(value) if len(inner) == 2 and inner[1] is Ellipsis else inner
        return tuple(to_python(one, of) for one, of in zip(value, many, strict=True)) if inner else tuple(value)
    items = [to_python(one, inner[0]) for one in value] if inner else value
    return kind(items) if kind in (set, frozenset) else items


def _name(hint: Any) -> str:
    return inspect.formatannotation(hint)
