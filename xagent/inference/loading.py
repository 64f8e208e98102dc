"""From a model's directory to an engine that is spoken to as the model was trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from xagent.errors import CheckpointError
from xagent.inference.local import LocalEngine
from xagent.inference.prompting import AgentSettings, PromptBuilder, load_agent_settings
from xagent.inference.vllm import VllmEngine
from xagent.model.adapters import Adapters
from xagent.model.generation import find_model, load_model, load_tokenizer
from xagent.model.provenance import check_base, read_provenance
from xagent.model.scheduler import MEMORY_BYTES, READ_TOKENS, Scheduler
from xagent.startup import ready


def load_engine(
    path: str | Path,
    adapter: str | Path | None = None,
    adapters: Mapping[str, str | Path] | None = None,
    *,
    template: str | None = None,
    protocol: str | None = None,
    defaults: AgentSettings | None = None,
    dtype: str | None = None,
    device: str = "auto",
    load_in_4bit: bool = False,
    max_batch_size: int = 16,
    memory_bytes: int = MEMORY_BYTES,
    read_tokens: int = READ_TOKENS,
) -> LocalEngine:
    """Load a model, spoken to in the template and protocol that its ``xagent.json`` names; an adapter's file comes first.

    Args:
        path, adapter, dtype, device, load_in_4bit: see :func:`xagent.model.generation.load_model`.
        adapters: further adapters on the same base, by the names that requests choose them with. One engine speaks one template
            and protocol.
        template, protocol: what is spoken, whatever ``xagent.json`` says.
        defaults: what is spoken where neither says anything.
        max_batch_size, memory_bytes, read_tokens: see :class:`xagent.model.scheduler.Scheduler`.

    Raises:
        CheckpointError: the model can't be loaded, an adapter is of another base, or adapters want to be spoken to in ways, or
            with tokens, of their own.
        ConfigError: template or protocol is unknown, or an adapter's name can't be one.
        DataError: the template is the tokenizer's, which has none.
    """
    named = dict(adapters or {})
    folders = [*([adapter] if adapter else []), *named.values()]
    settings = _settings(path, folders, defaults, overruled=bool(template and protocol))
    settings = AgentSettings(template or settings.template, protocol or settings.protocol)
    for folder in folders:
        _check_base(path, folder)
    model, tokenizer = load_model(path, adapter, dtype, device, load_in_4bit=load_in_4bit)
    prompts = PromptBuilder(tokenizer, settings.template, settings.protocol)
    switch = Adapters(model)
    for name, folder in named.items():
        _check_tokenizer(name, folder, tokenizer)
    switch.load(named)
    scheduler = Scheduler(switch.model, switch if named else None, max_batch_size, memory_bytes, read_tokens)
    return LocalEngine(scheduler, prompts, tuple(named))


def connect_vllm(
    base_url: str,
    path: str | Path,
    adapter: str | Path | None = None,
    *,
    model: str | None = None,
    api_key: str | None = None,
    template: str | None = None,
    protocol: str | None = None,
    defaults: AgentSettings | None = None,
) -> VllmEngine:
    """Connect to a running vLLM server (``vllm serve PATH``), spoken to as the model was trained.

    Args:
        base_url: the server's. model: which of its models. api_key: its key.
        path: the served model's directory or hub id: its tokenizer and ``xagent.json`` are read, its weights are not.
        adapter: a PEFT adapter's directory whose ``xagent.json``, and tokenizer if it has one, come first.
        template, protocol, defaults: see :func:`load_engine`.

    Raises:
        EngineError: httpx is not installed, there is no such server, or it serves no such model.
        CheckpointError: there is no tokenizer.
        ConfigError: template or protocol is unknown.
    """
    ready()
    settings = _settings(path, [adapter] if adapter else [], defaults, overruled=bool(template and protocol))
    folder = find_model(path)
    if adapter is not None and (Path(find_model(adapter)) / "tokenizer_config.json").is_file():
        folder = find_model(adapter)
    prompts = PromptBuilder(load_tokenizer(folder), template or settings.template, protocol or settings.protocol)
    return VllmEngine(base_url, prompts, model, api_key)


def _check_base(path: str | Path, adapter: str | Path) -> None:
    base, folder = Path(find_model(path)), Path(find_model(adapter))
    if (base / "config.json").is_file():
        check_base(read_provenance(folder), folder, base)


def _settings(base: str | Path, adapters: list[str | Path], defaults: AgentSettings | None, overruled: bool) -> AgentSettings:
    """Give what the adapters say, else what the model says.

    Raises:
        CheckpointError: two adapters say different things, and it matters.
    """
    found = load_agent_settings(base, defaults)
    said = {str(path): load_agent_settings(path, found) for path in adapters}
    others = [settings for settings in said.values() if settings != found]
    if overruled or not others:
        return others[0] if others else found
    for path, settings in said.items():
        if settings != others[0]:
            first = next(one for one, its in said.items() if its == others[0])
            raise CheckpointError(
                f"adapters that were trained in different words can't share an engine: {first} in {_words(others[0])}, {path} in "
                f"{_words(settings)}; load them one by one, or choose template and protocol for all"
            )
    return others[0]


def _words(settings: AgentSettings) -> str:
    template: Any = settings.template if isinstance(settings.template, str) else settings.template.get("name", "of its own")
    return f"template {template!r} and protocol {settings.protocol!r}"


def _check_tokenizer(name: str, folder: str | Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse an adapter whose tokens are others than the model's.

    Raises:
        CheckpointError: it has a tokenizer with another vocabulary.
    """
    if (Path(folder) / "tokenizer_config.json").is_file():
        its = load_tokenizer(str(folder))
        if its.get_vocab() != tokenizer.get_vocab():
            raise CheckpointError(
                f"adapter {name!r} ({folder}) was trained with {len(its)} tokens, others than the model's {len(tokenizer)}; "
                "load it by itself (adapter=...), so that the model gets its tokens"
            )
