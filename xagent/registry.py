"""Build what a config describes as `dict(type=CALLABLE, argument=...)`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from xagent.assets import PREFIX, resolve

if TYPE_CHECKING:
    from mmengine.registry import Registry


@cache
def builder() -> Registry:
    """Give the registry that builds. Its scope is that of mmengine's runner, so that inside a run no other is searched for."""
    from mmengine.registry import Registry

    return Registry("builder", scope="mmengine")


def build(described: Any, **defaults: Any) -> Any:
    """Call what `dict(type=CALLABLE, argument=...)` describes; give anything else back as it is.

    One level only, as XTuner's `BUILDER.build`: a nested description is passed on, and its receiver builds it. Arguments that
    name embedded assets (`xagent:nano`) become their paths.

    Args:
        described: a dict with `type` (a class, function, method, or dotted string), or an object.
        defaults: arguments for those that the description leaves out.

    Raises:
        ConfigError: it names an embedded asset that is not there.
    """
    if not isinstance(described, Mapping) or "type" not in described:
        return described
    from mmengine.config import ConfigDict

    config = ConfigDict({key: _located(value) for key, value in described.items()})
    return builder().build(config, default_args=defaults or None)


def _located(value: Any) -> Any:
    return str(resolve(value)) if isinstance(value, str) and value.startswith(PREFIX) else value
