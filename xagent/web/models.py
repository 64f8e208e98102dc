"""Which models the demo shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xagent.inference.engine import Engine
from xagent.inference.loading import load_engine
from xagent.inference.prompting import AgentSettings, load_agent_settings
from xagent.web.options import DemoOptions

DEMO_FOLDER = Path("work_dirs/demo")
BASE = "xagent:nano/base"
DEMO_SETTINGS = AgentSettings("llama3_chat", "react")
"""What the base of the demo is spoken to in: what the tuned one was trained in."""
ADAPTER = "adapter"


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready.

    Attributes:
        name: how it is called on the page.
        adapter: which of the engine's adapters answers; None is the model without.
    """

    name: str
    engine: Engine
    adapter: str | None = None


def load_models(options: DemoOptions) -> tuple[LoadedModel, ...]:
    """Load what is shown, the model to compare with first.

    Where no model is named they are the demo's, as far as they are there. A base is spoken to as the model is, unless its own
    ``xagent.json`` says otherwise. A base that is compared with an adapter on it is in memory once.

    Raises:
        XAgentError: a model can't be loaded, or template or protocol is unknown.
    """
    if options.model is None:
        return _demo_models(options)
    if options.compare is None:
        name = name_of(options.adapter or options.model)
        return (LoadedModel(name, _load(options, options.model, options.adapter)),)
    if options.adapter is not None and options.compare == options.model:
        return _adapter_and_base(options, options.model, options.adapter)
    model = _load(options, options.model, options.adapter)
    base = _load(options, options.compare, defaults=_spoken(options.model, options.adapter))
    first, second = told_apart(options.compare, options.adapter or options.model)
    return LoadedModel(first, base), LoadedModel(second, model)


def name_of(path: str) -> str:
    """Give the last part of a path, a hub id or an ``xagent:`` name."""
    return Path(path.rstrip("/").rpartition(":")[2]).name or path


def told_apart(one: str, other: str) -> tuple[str, str]:
    """Give short names for two paths: their last parts, or where these are equal the paths."""
    names = name_of(one), name_of(other)
    if names[0] != names[1]:
        return names
    return (one, other) if one != other else (f"{names[0]} 1", f"{names[0]} 2")


def _demo_models(options: DemoOptions) -> tuple[LoadedModel, ...]:
    merged = DEMO_FOLDER / "merged"
    base = LoadedModel("base", _load(options, options.compare or BASE, defaults=DEMO_SETTINGS))
    return (base, LoadedModel("tuned", _load(options, str(merged)))) if merged.is_dir() else (base,)


def _adapter_and_base(options: DemoOptions, base: str, adapter: str) -> tuple[LoadedModel, ...]:
    first, second = told_apart(base, adapter)
    engine = _load(options, base, adapters={ADAPTER: adapter})
    return LoadedModel(first, engine), LoadedModel(second, engine, ADAPTER)


def _spoken(model: str, adapter: str | None) -> AgentSettings:
    found = load_agent_settings(model)
    return load_agent_settings(adapter, found) if adapter else found


def _load(options: DemoOptions, path: str, adapter: str | None = None, **more: Any) -> Engine:
    how: dict[str, Any] = dict(dtype=options.dtype, device=options.device, load_in_4bit=options.load_in_4bit)
    return load_engine(path, adapter, template=options.template, protocol=options.protocol, **how, **more)
