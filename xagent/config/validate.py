"""Validate a config before anything is loaded: all faults at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.config.lazy import LazyAttr, LazyObject

from xagent.config.calls import call_faults
from xagent.config.checks import combination_faults, sharing_faults
from xagent.config.deepspeed import deepspeed_faults
from xagent.config.flatten import Line, names_read
from xagent.config.keys import KNOWN, REQUIRED
from xagent.config.load import own_items
from xagent.config.names import nearest
from xagent.config.paths import path_faults
from xagent.config.plain import UNREAD, load_from_faults, plain_faults, top_level_faults
from xagent.errors import ConfigError

_NEAR = 0.85


def validate_config(config: Config, *, check_paths: bool | Collection[str] = True, world_size: int | None = None) -> None:
    """Check a config that `load_config` gave.

    Args:
        config: the config.
        check_paths: whether the models and data that it names must be there, or only those under some top-level keys
            (`["train_dataloader"]`). Default: all of them.
        world_size: the number of processes, for DeepSpeed's `train_batch_size` and `sequence_parallel_size`; unknown by default.

    Raises:
        ConfigError: listing every fault: missing and misspelled keys, arguments that a `type` does not take or lacks,
            wrong types, impossible combinations, missing paths (models, data, `load_from`), a DeepSpeed JSON that contradicts
            the config.
    """
    faults = [*_top_level_faults(config)]
    values: dict[str, Any] = {}
    for key, value in own_items(config):
        values[key] = resolve_imports(value, key, faults.append)
    named = {key: value for key, value in values.items() if key in KNOWN}
    for where, node in _distinct(walk({key: value for key, value in named.items() if key not in UNREAD})):
        of_calls = [*call_faults(where, node), *plain_faults(where, node)]
        named_there = {fault.partition(": ")[0] for fault in of_calls}
        faults += of_calls
        faults += [fault for fault in combination_faults(where, node) if fault.partition(": ")[0] not in named_there]
    for where, node in _distinct(walk(_chosen(named, check_paths))):
        faults += path_faults(where, node)
    faults += [*load_from_faults(_chosen(named, check_paths)), *top_level_faults(named), *_validation_faults(named)]
    faults += sharing_faults(named.get("sequence_parallel_size"), world_size)
    if isinstance(named.get("deepspeed"), str):
        faults += deepspeed_faults(named["deepspeed"], named, world_size)
    if faults:
        raise ConfigError(list(dict.fromkeys(faults)), config.filename)


def resolve_imports(value: Any, where: str, report: Callable[[str], None]) -> Any:
    """Return a plain copy of a config value with its lazy imports replaced by what they name."""
    if isinstance(value, (LazyObject, LazyAttr)):
        try:
            return value.build()
        except Exception as error:  # an import runs anybody's code
            report(f"{where}: {error}")
            return None
    if isinstance(value, ConfigDict):
        return {key: resolve_imports(inner, f"{where}.{key}", report) for key, inner in dict.items(value)}
    if isinstance(value, (list, tuple)):
        return type(value)(resolve_imports(inner, f"{where}.{index}", report) for index, inner in enumerate(value))
    return value


def walk(value: Any, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every dict in a value with its dotted key, outer ones first."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    if isinstance(value, dict) and where:
        yield where, value
    for key, item in inner:
        yield from walk(item, f"{where}.{key}" if where else str(key))


def _chosen(named: dict[str, Any], check_paths: bool | Collection[str]) -> dict[str, Any]:
    if isinstance(check_paths, bool):
        return named if check_paths else {}
    return {key: value for key, value in named.items() if key in check_paths}


def _distinct(nodes: Iterable[tuple[str, dict[str, Any]]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Skip dicts that stood under the same name before: a tokenizer that four parts of a config share is checked once."""
    seen = set()
    for where, node in nodes:
        mark = (where.rpartition(".")[2], repr(node))
        if mark not in seen:
            seen.add(mark)
            yield where, node


def _validation_faults(named: Mapping[str, Any]) -> Iterator[str]:
    """Yield what would leave out the validation that a config half describes."""
    loader, loop = named.get("val_dataloader"), named.get("val_cfg")
    if loader is not None and loop is None:
        yield "val_dataloader: nothing validates with it; add val_cfg = dict(type=ValLoop), or set val_dataloader = None"
    if loop is not None and loader is None:
        yield "val_cfg: there is no val_dataloader to validate with; add one, or set val_cfg = None"


def _top_level_faults(config: Config) -> Iterator[str]:
    present = dict(own_items(config))
    unused = _unused(config, present)
    for key in REQUIRED:
        if key not in present:
            near = nearest(key, unused)
            yield f"missing key {key!r}{f' (is {near[0]!r} meant to be it?)' if near else ''}"
    known = {*KNOWN, *present} - set(unused) - set(REQUIRED)
    for key in unused:
        near = [name for name in nearest(key, known, _NEAR, 1) if _letters(name) != _letters(key)]
        if near:
            yield f"unknown key {key!r}, which nothing uses (did you mean {near[0]!r}?)"


def _letters(name: str) -> str:
    """Return a name without its digits: `data_path2` is no misspelled `data_path1`."""
    return "".join(character for character in name if not character.isdigit())


def _unused(config: Config, present: Mapping[str, Any]) -> list[str]:
    """Return the top-level names that neither the runner nor the config itself reads: misspelled ones are among them."""
    lines = [Line(text, "", number) for number, text in enumerate((config.text or "").splitlines(), 1)]
    used = names_read(lines)
    return [key for key in present if key not in KNOWN and key not in used]
