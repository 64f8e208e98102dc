"""The embedded nano model and data, named `xagent:...` in configs and on the command line."""

from __future__ import annotations

from pathlib import Path

from xagent.errors import ConfigError

PREFIX = "xagent:"
_ROOT = Path(__file__).resolve().parent


def resolve(name: str) -> Path:
    """Return the path of an embedded asset: `xagent:nano` is `xagent/assets/nano`.

    Raises:
        ConfigError: the name does not start with `xagent:`, leaves the assets folder, or nothing is there.
    """
    if not name.startswith(PREFIX):
        raise ConfigError(f"{name!r} is no asset's name; they start with {PREFIX!r}")
    path = (_ROOT / name.removeprefix(PREFIX)).resolve()
    if not path.is_relative_to(_ROOT) or not path.exists() or path == _ROOT:
        models = sorted(found.parent.relative_to(_ROOT).as_posix() for found in _ROOT.rglob("config.json"))
        raise ConfigError(
            f"no embedded asset {name!r}; the models are: {', '.join(PREFIX + model for model in models) or 'none'}"
        )
    return path
