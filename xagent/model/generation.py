"""Generation for many prompts at once, with the tokens that each would get alone; and loading a model to generate with.

For requests that come and go there is :mod:`xagent.model.scheduler`; both run the same rows and batches.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from xagent.assets import resolve
from xagent.errors import CheckpointError, ConfigError
from xagent.model import attention
from xagent.model.adapters import first_line, with_adapter
from xagent.model.generation_batch import Batch, Reading, Row, Sampling, batch_size_of, context_of, generating
from xagent.model.generation_cache import Memory, can_batch, row_of
from xagent.model.loading import DTYPES, keep_unpackable, nf4_on, resize_embeddings
from xagent.startup import ready

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Completion:
    """What a model wrote after one prompt.

    Attributes:
        ids: the new tokens, without the stop token.
        finished: it ended with a stop token; False means that it was cut.
    """

    ids: list[int]
    finished: bool


class Generator:
    """Generates from token ids in batches, with a key-value cache. For one thread at a time.

    Greedy completions are those of ``model.generate`` on each prompt alone, up to rounding between equally likely tokens.

    Args:
        model: any causal language model of transformers, or a PeftModel around one. It is in eval mode while it generates, and
            back in its own mode afterwards.
        tokenizer: the model's own; kept for those who need it.
        max_batch_size: how many prompts run together at most. 16 to 32 suit two CPU cores; GPUs take more. Models whose layers
            keep more than keys and values (recurrent ones) run one prompt at a time.
        remember: how many past prompts' keys and values are kept, so that the next turn of a conversation computes only what
            is new. Only for weights that do not change: the default 0 keeps none.
    """

    def __init__(self, model: Any, tokenizer: PreTrainedTokenizerBase, max_batch_size: int = 16, remember: int = 0) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.max_batch_size = batch_size_of(model, max_batch_size)
        self.memory = Memory(remember if can_batch(model) else 0)
        self.context = context_of(model)

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int,
        stop_ids: Collection[int],
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> list[Completion]:
        """Complete each prompt; the results are in the prompts' order.

        A prompt that fills the model's context already gets an empty, unfinished completion and a warning in the log.

        Args:
            prompts: token ids, the BOS included where the model wants one.
            max_new_tokens: cut after so many tokens.
            stop_ids: tokens that end a completion.
            temperature, top_p, seed: see :class:`Sampling`; the default is greedy.

        Raises:
            ConfigError: a prompt is empty, or a setting is out of range.
        """
        if max_new_tokens < 1:
            raise ConfigError(f"max_new_tokens must be >= 1, got {max_new_tokens}")
        if not all(len(prompt) for prompt in prompts):
            raise ConfigError("a prompt has no tokens; give at least one (the BOS token)")
        sampling, stops = Sampling(temperature, top_p, seed), frozenset(stop_ids)
        rows = []
        for index, prompt in enumerate(prompts):
            limit = self._limit(len(prompt), max_new_tokens)
            rows.append(Row(list(prompt), limit, stops, sampling, sampling.stream(index)))
        waiting = sorted((row for row in rows if row.limit > 0), key=lambda row: (len(row.prompt), row.prompt))
        with generating(self.model):
            for start in range(0, len(waiting), self.max_batch_size):
                self._complete(waiting[start : start + self.max_batch_size])
        return [Completion(row.new, row.finished) for row in rows]

    def _limit(self, length: int, max_new_tokens: int) -> int:
        room = max_new_tokens if self.context is None else self.context - length
        if room <= 0:
            logger.warning("nothing is generated: a prompt of %d tokens, the model's context is %s", length, self.context)
        return min(max_new_tokens, room)

    def _complete(self, rows: list[Row]) -> None:
        """Complete the rows in one batch."""
        batch: Batch[Row] = Batch(self.model)
        for row in rows:
            reading = Reading(self.model, row)
            reading.start_from(*self.memory.find(row.prompt))
            reading.read()
            if row.going:
                batch.join(reading, len(rows))
            elif self.memory.size:
                self.memory.keep(row.ids_computed, row_of(reading.cache, 0, row.length))
        while batch.rows:
            batch.step()
            for row in [row for row in batch.rows if not row.going]:
                if self.memory.size:
                    self.memory.keep(row.ids_computed, batch.row_of(row))
                batch.drop(row)


def load_model(
    path: str | Path,
    adapter: str | Path | None = None,
    dtype: str | None = None,
    device: str = "auto",
    *,
    load_in_4bit: bool = False,
) -> tuple[Any, PreTrainedTokenizerBase]:
    """Load a causal language model to generate with, in eval mode, and its tokenizer. Never runs code from a repository.

    Args:
        path: a model's directory, an ``xagent:`` name, a hub id, or an adapter's directory (its base is loaded then).
        adapter: a PEFT adapter's directory to put on the model; its tokenizer is taken if it has one.
        dtype: ``bf16``, ``fp16`` or ``fp32``; None is the checkpoint's own.
        device: ``auto`` is the first CUDA device, else the CPU; or any name that torch knows.
        load_in_4bit: quantise the linear layers to NF4 with double quantisation while loading, as the base of a QLoRA training
            is; an adapter stays as it is.

    Raises:
        CheckpointError: the directory is missing, has no weights or no tokenizer, or adapter and model don't fit.
        ConfigError: the dtype or the asset is unknown.
    """
    if dtype is not None and dtype not in DTYPES:
        raise ConfigError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    ready()
    folder = find_model(path)
    if adapter is None and (Path(folder) / "adapter_config.json").is_file() and not (Path(folder) / "config.json").is_file():
        folder, adapter = _base_of(Path(folder)), folder
    where = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    model = _load_weights(folder, DTYPES[dtype] if dtype else "auto", nf4_on(where) if load_in_4bit else {})
    if where == "cpu" and model.config._attn_implementation == "sdpa":  # the same, and faster for grouped heads there
        model.set_attn_implementation(attention.NAME)
    has_own = adapter is not None and (Path(find_model(adapter)) / "tokenizer_config.json").is_file()
    tokenizer = load_tokenizer(find_model(adapter) if adapter is not None and has_own else folder)
    if adapter is not None:
        resize_embeddings(model, tokenizer)
        model = with_adapter(model, find_model(adapter))
    if load_in_4bit:
        keep_unpackable(model)
    else:
        model = model.to(where)
    return model.eval(), tokenizer


def find_model(path: str | Path) -> str:
    """Give a model's directory, or a hub id as it is.

    Raises:
        CheckpointError: it is a path, and there is no such directory.
    """
    name = str(path)
    if name.startswith("xagent:"):
        return str(resolve(name))
    is_hub_id = isinstance(path, str) and name.count("/") <= 1 and not name.startswith((".", "/", "~"))
    if Path(name).is_dir() or (is_hub_id and not Path(name).parent.is_dir()) or (is_hub_id and "/" not in name):
        return name
    if Path(name).is_file():
        raise CheckpointError(f"{name}: is a file; give a model's directory (`xagent convert pth_to_hf` makes one)")
    raise CheckpointError(f"{name}: no such model directory; give a directory with config.json and weights, or a hub id")


def _base_of(adapter: Path) -> str:
    from peft import PeftConfig

    base = PeftConfig.from_pretrained(str(adapter)).base_model_name_or_path
    if not base:
        raise CheckpointError(f"{adapter}: the adapter names no base model; give the base's directory and this one as adapter")
    return find_model(base)


def _load_weights(folder: str, dtype: torch.dtype | str, options: dict[str, Any]) -> Any:
    if Path(folder).is_dir():
        _check_directory(Path(folder))
    try:
        return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, trust_remote_code=False, **options)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder}: no causal language model can be loaded from there: {first_line(error)}") from error


def _check_directory(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{folder}: has no config.json; is it a model's directory?")
    if not any(folder.glob("*.safetensors")) and not any(folder.glob("pytorch_model*.bin")):
        raise CheckpointError(f"{folder}: has config.json but no weights (*.safetensors); download or convert them first")


def load_tokenizer(folder: str) -> PreTrainedTokenizerBase:
    """Load a tokenizer from a directory or the hub. Never runs code from a repository.

    Raises:
        CheckpointError: there is none.
    """
    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{folder}: has no tokenizer that can be loaded: {first_line(error)}") from error
