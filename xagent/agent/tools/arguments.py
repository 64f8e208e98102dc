"""A call's arguments against the tool's JSON schema, with faults in words that a model can act on."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from xagent.chat.message import ToolSpec
from xagent.playground import ToolFault

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

_SHOWN_FAULTS = 3
_TYPE_WORDS = {
    "string": "a string",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


def checked_arguments(spec: ToolSpec, arguments: Any) -> dict[str, Any]:
    """Give the arguments if they fit the tool's schema.

    A parameter that the schema does not list is a fault unless ``additionalProperties`` allows it. ``null`` for an optional
    parameter that can't be null counts as left out: models write it so. References are resolved inside the schema only.

    Raises:
        ToolFault: they don't fit; the message names the parameters.
    """
    if not isinstance(arguments, Mapping):
        raise ToolFault(f"the arguments of '{spec.name}' must be an object, got {_kind(arguments)}")
    schema = dict(spec.parameters)
    given = _without_nulls(dict(arguments), schema)
    faults = [*_unknown(given, schema), *_missing(given, schema)] or list(_faults(given, schema))
    if faults:
        further = f" (and {len(faults) - _SHOWN_FAULTS} more)" if len(faults) > _SHOWN_FAULTS else ""
        raise ToolFault("; ".join(faults[:_SHOWN_FAULTS]) + further)
    return given


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Give " Did you mean '...'?" where a known name is near, else nothing."""
    near = difflib.get_close_matches(name[:80], list(known), n=1)
    return f" Did you mean '{near[0]}'?" if near else ""


def _without_nulls(arguments: dict[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    properties, required = schema.get("properties") or {}, schema.get("required") or []

    def is_left_out(name: str) -> bool:
        return name in properties and name not in required and not _validator(properties[name], schema).is_valid(None)

    return {name: value for name, value in arguments.items() if value is not None or not is_left_out(name)}


def _unknown(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    properties = schema.get("properties")
    if properties is None or schema.get("additionalProperties") or schema.get("patternProperties"):
        return []
    known = ", ".join(properties) or "none"
    return [
        f"unknown parameter '{name[:80]}'." + (did_you_mean(name, properties) or f" The parameters are: {known}.")
        for name in map(str, arguments)
        if name not in properties
    ]


def _missing(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    return [f"missing parameter '{name}'" for name in schema.get("required") or [] if name not in arguments]


def _faults(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterable[str]:
    try:
        for error in _validator(schema, schema).iter_errors(arguments):
            yield _words(error)
    except RecursionError:
        yield "the arguments are nested too deeply"
    except Exception as error:  # a reference of the schema that leads nowhere: the tool's fault, not the model's
        yield f"the arguments can't be checked against the tool's schema: {str(error)[:200]}"


def _validator(schema: Any, whole: Mapping[str, Any]) -> Any:
    """Give a validator that never fetches anything: references reach only the schema's own definitions."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import validator_for
    from referencing import Registry

    kind = validator_for(whole, default=Draft202012Validator)
    shared = {key: whole[key] for key in ("$defs", "definitions") if key in whole}
    return kind({**shared, **schema} if isinstance(schema, Mapping) else schema, registry=Registry())


def _words(error: ValidationError) -> str:
    from jsonschema.exceptions import best_match

    if error.context:
        deepest = best_match(error.context)
        if deepest is not None and len(error.context) == 1:
            return _words(deepest)
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path).lstrip(".")
    what = f"parameter '{place[:120]}'" if place else "the arguments"
    if error.validator == "type":
        wanted = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
        return f"{what} must be {' or '.join(_TYPE_WORDS.get(name, str(name)) for name in wanted)}, got {_shown(error.instance)}"
    if error.validator == "enum":
        choices = ", ".join(json.dumps(choice, ensure_ascii=False) for choice in error.validator_value)
        return f"{what} must be one of {choices[:300]}, got {_shown(error.instance)}"
    if error.validator == "required":
        names = [name for name in error.validator_value if name not in error.instance]
        return f"{what} lacks {', '.join(map(repr, names))}"
    return f"{what}: {error.message[:200]}"


def _shown(value: Any) -> str:
    if isinstance(value, (Mapping, list)):
        return _kind(value)
    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else f"'{value}'"
    return text if len(text) <= 60 else f"{text[:60]}..."


def _kind(value: Any) -> str:
    if isinstance(value, Mapping):
        return "an object"
    return "a list" if isinstance(value, list) else f"{str(value)[:60]!r}"
