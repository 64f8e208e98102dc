"""`xagent eval agent`: a model, and the base that it came from, at a suite's items."""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from xagent.agent.lagent_llm import load_agent_llm
from xagent.assets import resolve
from xagent.chat.protocol import get_protocol
from xagent.evaluation.items import ItemLog
from xagent.evaluation.score_report import BASE, MODEL, Score, Side
from xagent.evaluation.suite import Suite, ordered
from xagent.inference.prompting import AgentSettings, PromptBuilder, load_agent_settings

_WEIGHTS = ("*.safetensors", "pytorch_model*.bin", "adapter_model.bin", "tokenizer.json")


@dataclass(frozen=True)
class Contestant:
    """A model that is scored.

    Attributes:
        path: a directory, an ``xagent:`` name or a hub id. adapter: a PEFT adapter's directory to put on it.
        spoken: template and protocol that it is spoken to in, whatever its ``xagent.json`` says.
        dtype, device, max_batch_size: see :func:`xagent.agent.lagent_llm.load_agent_llm`.
    """

    path: str
    adapter: str | None
    spoken: AgentSettings
    dtype: str | None = None
    device: str = "auto"
    max_batch_size: int = 16

    def settings(self) -> dict[str, Any]:
        """Give what tells its results from another model's: JSON values. ``weights`` are the files' sizes and times."""
        template = self.spoken.template
        return {
            "path": self.path,
            "adapter": self.adapter,
            "template": template if isinstance(template, str) else dict(template),
            "protocol": self.spoken.protocol,
            "dtype": self.dtype,
            "weights": [stamp for path in (self.path, self.adapter) if path for stamp in _stamps(path)],
        }

    def load(self) -> Any:
        """Load it.

        Raises:
            CheckpointError: it can't be loaded.
        """
        llm = load_agent_llm(
            self.path,
            self.adapter,
            defaults=self.spoken,
            dtype=self.dtype,
            device=self.device,
            max_batch_size=self.max_batch_size,
        )
        llm.prompts = PromptBuilder(llm.prompts.tokenizer, self.spoken.template, self.spoken.protocol)
        return llm


def spoken_as(model: str, adapter: str | None = None, template: str | None = None, protocol: str | None = None) -> AgentSettings:
    """Give template and protocol for a model: what is asked for, else its adapter's ``xagent.json``, else its own.

    Raises:
        ConfigError: the protocol is unknown.
    """
    found = load_agent_settings(model)
    if adapter is not None:
        found = load_agent_settings(adapter, found)
    chosen = AgentSettings(template or found.template, protocol or found.protocol)
    get_protocol(chosen.protocol)
    return chosen


def score(suite: Suite, model: Contestant, base: str | None = None, *, out: Path, overwrite: bool = False) -> Score:
    """Try a model at a suite, and the base before it in the same words; finished items of a killed run are not done again.

    Args:
        model: what is scored.
        base: the model to compare with; it is spoken to in the model's template and protocol.
        out: the folder of the finished items, ``base.items.jsonl`` and ``model.items.jsonl``.
        overwrite: do all items anew.

    Raises:
        OutputError: ``out`` holds items of other models or settings, or can't be written.
        CheckpointError: a model can't be loaded.
    """
    contestants = {BASE: replace(model, path=base, adapter=None)} if base is not None else {}
    contestants[MODEL] = model
    logs = {
        name: ItemLog(out / f"{name}.items.jsonl", _identity(suite, one.settings()), overwrite)
        for name, one in contestants.items()
    }
    return Score(suite, [_side(suite, name, one, logs[name]) for name, one in contestants.items()])


def _identity(suite: Suite, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {"suite": suite.name, **suite.settings, **settings}


def _side(suite: Suite, name: str, contestant: Contestant, log: ItemLog) -> Side:
    todo = [key for key in suite.keys() if key not in log.results]
    started = time.perf_counter()
    if todo:
        llm = contestant.load()
        suite.run(llm, todo, log.add, name)
        del llm
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return Side(name, contestant.settings(), ordered(log.results, suite.keys()), time.perf_counter() - started)


def _stamps(path: str) -> list[list[Any]]:
    """Give name, size and time of the files that decide what a model says; nothing for a hub id."""
    folder = resolve(path) if path.startswith("xagent:") else Path(path)
    files = sorted({file for pattern in _WEIGHTS for file in folder.glob(pattern)}) if folder.is_dir() else []
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
