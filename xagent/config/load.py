"""Load a config: flatten it, put the command line's options in, and hand one flat source to mmengine."""

from __future__ import annotations

import os
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.config.lazy import LazyAttr, LazyObject

from xagent.config.find import find_config
from xagent.config.flatten import Line, flatten, join, names_read, set_setting, top_level_names
from xagent.config.keys import KNOWN
from xagent.config.names import did_you_mean
from xagent.config.options import assignment, check_path
from xagent.config.signatures import argument_names
from xagent.errors import ConfigError


def load_config(name: str | Path, options: Mapping[str, Any] | None = None) -> Config:
    """Load a config with its base and with options from the command line.

    Settings, the plain variables of PART 1, take effect wherever the base uses them, be they assigned by the leaf or
    given as options. Types are real classes, imported when they are first read.

    Args:
        name: a path to a `.py` file, or a bundled name.
        options: values for keys (`{"max_length": 2048, "optim_wrapper.optimizer.lr": 1e-4}`); default none. A dotted
            key must be there already, or be an argument of the callable that its dict's `type` names.

    Returns:
        An mmengine Config. `filename` is the user's file, `text` the flat source, which loads to the same config.

    Raises:
        ConfigError: the config is not found, does not run (with the original file and line), or lacks keys of the options, all
            of which are named.
    """
    path = find_config(name)
    options = dict(options or {})
    lines, faults = _set_top_level(flatten(path), {key: value for key, value in options.items() if "." not in key})
    dotted = {key: value for key, value in options.items() if "." in key}
    if dotted:
        faults += _dotted_faults(run(lines, path), dotted)
    if faults:
        raise ConfigError(faults, str(path))
    return run([*lines, *(Line(assignment(key, value), f"--cfg-options {key}", 1) for key, value in dotted.items())], path)


def run(lines: Sequence[Line], path: Path) -> Config:
    """Run flat source and return the Config, named after `path`.

    Raises:
        ConfigError: the source fails; the message names the original file and line.
    """
    text = join(lines)
    handle, temporary = tempfile.mkstemp(prefix="xagent_config_", suffix=".py")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        config = Config.fromfile(temporary, lazy_import=True)
    except Exception as error:  # a config is the user's code: whatever it raises is shown with its place
        raise _fault(error, lines, temporary, path) from error
    finally:
        os.unlink(temporary)
    object.__setattr__(config, "_filename", str(path))
    object.__setattr__(config, "_text", text)
    for value in dict.values(config._cfg_dict):
        _relocate(value, lines)
    _settle(config, str(path))
    return config


def own_items(config: Config) -> Iterator[tuple[str, Any]]:
    """Yield the top-level variables of a config that are not imported names, without importing anything."""
    for key, value in dict.items(config._cfg_dict):
        if key not in config._imported_names:
            yield key, value


def _set_top_level(lines: list[Line], options: Mapping[str, Any]) -> tuple[list[Line], list[str]]:
    """Return the source with the options set, and what is wrong with the others."""
    faults = []
    for key, value in options.items():
        replaced = set_setting(lines, key, value)
        if replaced is None:
            fault = _top_level_fault(lines, key)
            if fault:
                faults.append(fault)
                continue
            replaced = [*lines, Line(f"{key} = {value!r}", f"--cfg-options {key}", 1)]
        lines = replaced
    return lines, faults


def _top_level_fault(lines: Sequence[Line], key: str) -> str | None:
    """Return why an option can't be added to source that does not set it, or None."""
    if key not in KNOWN:
        return f"--cfg-options {key}: the config has no {key!r}{did_you_mean(key, [*top_level_names(lines), *KNOWN])}"
    if key in names_read(lines):
        return f"--cfg-options {key}: the config uses {key!r} but does not set it by `{key} = ...`"
    return None


def _dotted_faults(config: Config, options: Mapping[str, Any]) -> list[str]:
    values = dict(own_items(config))
    faults = (check_path(values, key, _arguments_beside(values, key)) for key in options)
    return [fault for fault in faults if fault]


def _arguments_beside(values: Mapping[str, Any], dotted: str) -> list[str]:
    """Return the arguments that the dict around a dotted key could have, by its `type`."""
    node: Any = values
    for key in dotted.split(".")[:-1]:
        try:
            node = node[int(key) if key.lstrip("-").isdigit() else key]
        except (KeyError, IndexError, TypeError):
            return []
    kind = node.get("type") if isinstance(node, ConfigDict) else None
    return sorted(argument_names(kind)) if callable(kind) else []


def _relocate(value: Any, lines: Sequence[Line]) -> None:
    """Let lazy imports say the original file and line when they fail."""
    if isinstance(value, LazyAttr):
        _relocate(value.__dict__["source"], lines)
    elif isinstance(value, LazyObject):
        number = (value.location or "").rpartition(", line ")[2]
        if number.isdigit() and 1 <= int(number) <= len(lines):
            line = lines[int(number) - 1]
            value.location = f"{line.file}:{line.number}"
    elif isinstance(value, dict):
        for inner in dict.values(value):
            _relocate(inner, lines)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _relocate(inner, lines)


def _settle(config: Config, source: str) -> None:
    """Replace lazy imports inside lists by what they name; mmengine does it for dicts only."""
    for key, value in own_items(config):
        dict.__setitem__(config._cfg_dict, key, _settled(value, source))


def _settled(value: Any, source: str) -> Any:
    if isinstance(value, ConfigDict):
        for key, inner in dict.items(value):
            dict.__setitem__(value, key, _settled(inner, source))
        return value
    if isinstance(value, (list, tuple)):
        return type(value)(_settled(_built(inner, source), source) for inner in value)
    return value


def _built(value: Any, source: str) -> Any:
    if not isinstance(value, (LazyObject, LazyAttr)):
        return value
    try:
        return value.build()
    except Exception as error:
        raise ConfigError(str(error), source) from error


def _fault(error: Exception, lines: Sequence[Line], temporary: str, path: Path) -> ConfigError:
    numbers = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == temporary]
    number = numbers[-1] if numbers else None
    what = _explain(error, lines)
    if number is None or not 1 <= number <= len(lines):
        return ConfigError(what.replace(temporary, str(path)), str(path))
    line = lines[number - 1]
    return ConfigError(f"{what}\n    {line.text.strip()}", f"{line.file}:{line.number}")


def _explain(error: Exception, lines: Sequence[Line]) -> str:
    if isinstance(error, NameError) and error.name:
        return f"NameError: {error.name!r} is not defined{did_you_mean(error.name, top_level_names(lines))}"
    if isinstance(error, RuntimeError) and not error.args:
        return "an imported name is called; a config describes calls instead, as dict(type=NAME, argument=...)"
    return f"{type(error).__name__}: {error}"
