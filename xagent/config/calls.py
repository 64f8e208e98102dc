"""Check each `dict(type=CALLABLE, argument=...)` of a config against the callable's signature."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from importlib import import_module
from typing import Any

from mmengine import registry
from torch.utils.data import DataLoader

from xagent.config.fitting import misfits, parts
from xagent.config.names import did_you_mean, nearest
from xagent.config.signatures import Signature, signature_of

# What mmengine's builders or our engine pass themselves, by the key under which a description stands.
_INJECTED = {
    "sampler": {"dataset"},
    "batch_sampler": {"sampler", "batch_size"},
    "optimizer": {"params"},
    "optim_wrapper": {"optimizer", "model"},
    "param_scheduler": {"optimizer", "param_name"},
    "train_cfg": {"runner", "dataloader"},
    "val_cfg": {"runner", "dataloader", "evaluator"},
    "test_cfg": {"runner", "dataloader", "evaluator"},
    "default_hooks": {"runner", "tokenizer", "dataset"},
    "custom_hooks": {"runner", "tokenizer", "dataset"},
    "strategy": {"runner", "model"},
    "vis_backends": {"save_dir"},
}
# Words that a builder takes out before the callable sees them.
_BUILDERS_OWN = {
    "param_scheduler": {"convert_to_iter_based"},
    "default_hooks": {"priority"},
    "custom_hooks": {"priority"},
    "optim_wrapper": {"optimizer", "constructor"},
}
# mmengine's type says int, but with convert_to_iter_based these count epochs and may be fractions.
_MAY_BE_FLOAT = {("param_scheduler", "begin"), ("param_scheduler", "end"), ("param_scheduler", "T_max")}
CLIPPED_BY_NORM = ("optim_wrapper.clip_grad", "norm")
"""The one `type` that names no class: mmengine's word for what `clip_grad` does."""
_DATALOADER_WORDS = ("dataset", "sampler", "batch_sampler", "collate_fn", "worker_init_fn", "num_batch_per_epoch")
_WITH_MORE = {*_INJECTED, *_BUILDERS_OWN, "collate_fn"}
_NEAR = 0.8
_NOTHING = object()


def call_faults(where: str, node: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the arguments of a `dict(type=...)`; a dict without `type` has no faults.

    Args:
        where: its dotted key.
        node: the dict, with its imports resolved.
    """
    if node.get("type") is None or (where, node["type"]) == CLIPPED_BY_NORM:
        return
    kind = resolve_type(node["type"])
    if kind is None:
        yield f"{where}.type: {node['type']!r} names no class or function; import it in the config and write its name"
        return
    signature = signature_of(kind)
    if signature is None:
        return
    faults = list(_signature_faults(where, _name(kind), signature, node))
    yield from faults
    if not faults and is_dataclass(kind):
        yield from _own_faults(where, kind, node)


def _signature_faults(where: str, name: str, signature: Signature, node: Mapping[str, Any]) -> Iterator[str]:
    place = _place(where)
    for key in node:
        if key not in ("type", "_scope_") and key not in _BUILDERS_OWN.get(place, ()):
            yield from _key_faults(f"{where}.{key}", key, name, signature, node)
    yield from _missing(where, place, name, signature, node)
    yield from _argument_faults(where, signature, node)


def value_faults(where: str, value: Any, annotation: Any) -> Iterator[str]:
    """Yield what of a value does not fit an annotation, each with its own key, what was expected, and what is near."""
    for misfit in misfits(value, annotation):
        yield f"{'.'.join((where, *misfit.place))}: expected {misfit.expected}, got {shown(misfit.got)}{misfit.hint}"


def dataloader_faults(where: str, node: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with a dataloader's own keys, which mmengine gives to torch's DataLoader."""
    signature = signature_of(DataLoader)
    assert signature is not None
    known = {*signature.names, *_DATALOADER_WORDS}
    for key in node:
        if key not in known:
            yield f"{where}.{key}: a dataloader has no {key!r}{did_you_mean(key, known)}"
    yield from _argument_faults(where, signature, node)
    if "dataset" not in node:
        yield f"{where}: missing 'dataset'"


def resolve_type(kind: Any) -> Callable[..., Any] | None:
    """Return the callable that a `type` is or names (dotted, or registered with mmengine), or None."""
    if callable(kind):
        return kind  # type: ignore[no-any-return]
    if not isinstance(kind, str):
        return None
    module, dot, name = kind.rpartition(".")
    if not dot:
        return _registered(kind)
    try:
        found = getattr(import_module(module), name, None)
    except ImportError:
        owner = resolve_type(module) if "." in module else None
        found = getattr(owner, name, None)
    return found if callable(found) else None


def _registered(name: str) -> Callable[..., Any] | None:
    registries = [value for value in vars(registry).values() if isinstance(value, registry.Registry)]
    return next((found for one in registries if (found := one.module_dict.get(name)) is not None), None)


def _place(where: str) -> str:
    """Return the nearest key above that is a name: `custom_hooks` for `custom_hooks.0`, `optimizer` for `a.optimizer`."""
    names = [part for part in where.split(".") if not part.isdigit()]
    if len(names) > 1 and names[-2] == "default_hooks":
        return "default_hooks"
    return names[-1]


def _name(kind: Any) -> str:
    owner = getattr(kind, "__self__", None)
    prefix = f"{owner.__name__}." if isinstance(owner, type) else ""
    return prefix + str(getattr(kind, "__name__", kind))


def _key_faults(where: str, key: str, name: str, signature: Signature, node: Mapping[str, Any]) -> Iterator[str]:
    if key in signature.names:
        return
    free = [candidate for candidate in sorted(signature.names) if candidate not in node]
    if not signature.open:
        yield f"{where}: {name} has no argument {key!r}{did_you_mean(key, free)}"
    elif nearest(key, free, _NEAR):
        yield f"{where}: {name} has no argument {key!r}{did_you_mean(key, free, _NEAR)}"


def _argument_faults(where: str, signature: Signature, node: Mapping[str, Any]) -> Iterator[str]:
    """Yield the arguments whose values do not fit their annotations."""
    place = _place(where)
    for key, annotation in signature.hints.items():
        if key not in node or (place, key) in _MAY_BE_FLOAT or _is_default(node[key], signature.defaults.get(key, _NOTHING)):
            continue
        yield from value_faults(f"{where}.{key}", node[key], annotation)
        yield from _entry_faults(f"{where}.{key}", node[key], annotation)


def _is_default(value: Any, default: Any) -> bool:
    return type(value) is type(default) and bool(value == default)


def _own_faults(where: str, kind: Callable[..., Any], node: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a dataclass (peft's LoraConfig, transformers' BitsAndBytesConfig) says of its arguments when it is made.

    It is data only, so nothing is loaded; one that holds descriptions, or is given more when it is built, is left for the run.
    """
    arguments = {key: value for key, value in node.items() if key not in ("type", "_scope_")}
    if _place(where) in _WITH_MORE or _holds_descriptions(tuple(arguments.values())):
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kind(**arguments)
    except Exception as error:  # another library's check: its own words are what is known
        yield f"{where}: {_name(kind)} refuses this: {str(error).strip() or type(error).__name__}"


def _entry_faults(where: str, entries: Any, hint: Any) -> Iterator[str]:
    """Check the plain dicts of a list whose annotation names a dataclass for its entries."""
    kind = next((part for part in parts(hint) if is_dataclass(part)), None)
    if kind is None or not isinstance(entries, (list, tuple)):
        return
    known = {field.name: field.default is MISSING and field.default_factory is MISSING for field in fields(kind)}
    name = where.rpartition(".")[2]
    for index, entry in enumerate(entries):
        if not isinstance(entry, Mapping) or "type" in entry:
            continue
        for key in entry:
            if key not in known:
                yield f"{where}.{index}.{key}: an entry of {name} has no {key!r}{did_you_mean(key, known)}"
        for key, required in known.items():
            if required and entry.get(key) is None:
                yield f"{where}.{index}: missing {key!r}"


def _missing(where: str, place: str, name: str, signature: Signature, node: Mapping[str, Any]) -> Iterator[str]:
    given = {*node, *_INJECTED.get(place, ())}
    if place == "collate_fn" and signature.first:
        given.add(signature.first)  # the batch
    for key in signature.required:
        if key not in given:
            yield f"{where}: missing {key!r}, which {name} needs"


def _holds_descriptions(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "type" in value or any(map(_holds_descriptions, value.values()))
    return isinstance(value, (list, tuple)) and any(map(_holds_descriptions, value))


def shown(value: Any) -> str:
    """Show a value's type and, shortened, the value."""
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
