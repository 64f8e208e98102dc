"""Combinations and numbers that no training can run with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from xagent.config.names import did_you_mean

Checked = TypeVar("Checked", bound=Callable[..., Any])
_OWN_CHECK = "config_faults"


def checked_by(check: Callable[[Mapping[str, Any]], Iterable[str]]) -> Callable[[Checked], Checked]:
    """Let a function check its own arguments when a config that describes a call of it is loaded.

    Args:
        check: takes the described arguments (nothing of them is built yet) and gives faults, each beginning with its key.
    """

    def mark(function: Checked) -> Checked:
        vars(function)[_OWN_CHECK] = check
        return function

    return mark


def combination_faults(where: str, node: Mapping[str, Any]) -> Iterator[str]:
    """Yield what can't work in one dict of a config.

    Args:
        where: its dotted key.
        node: the dict, with its imports resolved.
    """
    yield from _number_faults(where, node)
    yield from _packing_faults(where, node)
    yield from _dataset_faults(where, node)
    check = getattr(node.get("type"), _OWN_CHECK, None)
    if callable(check):
        yield from (f"{where}.{fault}" for fault in check(node))
    if node.get("load_in_4bit") and node.get("load_in_8bit"):
        yield f"{where}: load_in_4bit and load_in_8bit are both on; choose one"
    yield from _choice_faults(where, node)
    if where == "model":
        yield from _model_faults(node)
    if where == "train_cfg":
        yield from _length_faults(node)
    if where.startswith("param_scheduler"):
        yield from _scheduler_faults(where, node)


def sharing_faults(size: Any, world_size: int | None) -> Iterator[str]:
    """Yield why groups of ``size`` processes can't be formed.

    Args:
        size: the config's `sequence_parallel_size`; None where it has none.
        world_size: the number of processes, None where it is not known.
    """
    if size is None:
        return
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        yield f"sequence_parallel_size: expected a whole number of at least 1, got {size!r}"
    elif world_size and world_size % size:
        yield (
            f"sequence_parallel_size = {size}: {world_size} process(es) can't be divided into groups of {size}; start {size}, or "
            "a multiple, with --nproc-per-node"
        )


# key -> (smallest value that works, whether that value itself works)
_LEAST = {
    "accumulative_counts": (1, True),
    "batch_size": (1, True),
    "max_length": (1, True),
    "max_epochs": (0, False),
    "max_iters": (0, False),
    "val_interval": (1, True),
    "num_workers": (0, True),
    "every_n_iters": (1, True),
    "loss_chunk_size": (1, True),
    "r": (1, True),
    "lora_alpha": (0, False),
    "lora_dropout": (0, True),
    "lr": (0, False),
    "max_norm": (0, False),
    "weight_decay": (0, True),
}
_WHOLE = {"accumulative_counts", "batch_size", "loss_chunk_size", "num_workers", "r"}
_QUANT_TYPES = ("nf4", "fp4")
_DTYPES = ("auto", "bfloat16", "float16", "float32", "float64")


def _number_faults(where: str, node: Mapping[str, Any]) -> Iterator[str]:
    for key, (least, included) in _LEAST.items():
        value = node.get(key)
        if value is None or isinstance(value, Mapping) or (key == "loss_chunk_size" and isinstance(value, str)):
            continue
        kinds = int if key in _WHOLE else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds):
            yield f"{where}.{key}: expected a {'whole ' if key in _WHOLE else ''}number, got {value!r}"
        elif value < least or (value == least and not included):
            yield f"{where}.{key} = {value!r}: expected {'at least' if included else 'more than'} {least}"
    dropout = node.get("lora_dropout")
    if isinstance(dropout, (int, float)) and dropout >= 1:
        yield f"{where}.lora_dropout = {dropout!r}: expected less than 1"


def _packing_faults(where: str, node: Mapping[str, Any]) -> Iterator[str]:
    if node.get("pack_to_max_length") and "max_length" in node and node["max_length"] is None:
        yield f"{where}: pack_to_max_length needs a max_length, which is None"


def _dataset_faults(where: str, node: Mapping[str, Any]) -> Iterator[str]:
    if getattr(node.get("type"), "__name__", "") != "process_hf_dataset":
        return
    for key in ("tokenizer", "max_length"):
        if key not in node:
            yield f"{where}: missing {key!r}, which process_hf_dataset needs"
    if (node.get("dataset") is None) == (node.get("datasets") is None):
        got = "neither" if node.get("dataset") is None else "both (leave one out, or set it to None)"
        yield f"{where}: give dataset, or datasets=[dict(dataset=...), ...] to mix several; got {got}"


def _choice_faults(where: str, node: Mapping[str, Any]) -> Iterator[str]:
    """Yield words that transformers would refuse after minutes, or take for something else."""
    kind = node.get("bnb_4bit_quant_type")
    if kind is not None and kind not in _QUANT_TYPES:
        yield f"{where}.bnb_4bit_quant_type: expected one of {', '.join(_QUANT_TYPES)}, got {kind!r}"
    dtype = node.get("dtype")
    if "pretrained_model_name_or_path" in node and isinstance(dtype, str) and dtype not in _DTYPES:
        yield f"{where}.dtype: expected one of {', '.join(_DTYPES)}, got {dtype!r}{did_you_mean(dtype, _DTYPES)}"


def _model_faults(node: Mapping[str, Any]) -> Iterator[str]:
    llm = node.get("llm")
    quantised = isinstance(llm, Mapping) and _is_quantised(llm)
    if quantised and not node.get("lora"):
        yield (
            "model: a quantised base can't be trained in full; set model.lora, or quantization_config = None to train all weights"
        )


def _is_quantised(llm: Mapping[str, Any]) -> bool:
    settings = llm.get("quantization_config")
    holders = (llm, settings) if isinstance(settings, Mapping) else (llm,)
    return any(holder.get(key) for holder in holders for key in ("load_in_4bit", "load_in_8bit"))


def _length_faults(node: Mapping[str, Any]) -> Iterator[str]:
    given = [key for key in ("max_epochs", "max_iters") if node.get(key) is not None]
    if len(given) != 1:
        got = "both" if given else "neither"
        yield f"train_cfg: give max_epochs or max_iters, got {got}"


def _scheduler_faults(where: str, node: Mapping[str, Any]) -> Iterator[str]:
    begin, end = node.get("begin", 0), node.get("end")
    for key, value in (("begin", begin), ("end", end)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            yield f"{where}.{key}: expected a number, got {value!r}"
    if isinstance(begin, (int, float)) and isinstance(end, (int, float)) and end < begin:
        yield f"{where}: begin = {begin!r} is after end = {end!r}"
