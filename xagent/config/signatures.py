"""What a callable of a config accepts: its arguments, its required ones, its simple annotations."""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

# transformers' Auto*.from_pretrained take **kwargs; these are the words they understand (transformers 5.23:
# PreTrainedModel.from_pretrained, PreTrainedTokenizerBase.from_pretrained, AutoConfig.from_pretrained).
_HUB_WORDS = (
    "pretrained_model_name_or_path cache_dir force_download local_files_only token revision subfolder proxies "
    "trust_remote_code code_revision"
).split()
_MODEL_WORDS = (
    "config ignore_mismatched_sizes use_safetensors weights_only key_mapping state_dict variant tp_plan tp_size "
    "device_mesh distributed_config attn_implementation experts_implementation output_loading_info device_map max_memory "
    "offload_folder offload_buffers offload_state_dict quantization_config adapter_kwargs adapter_name generation_config "
    "gguf_file dtype torch_dtype low_cpu_mem_usage use_kernels kernel_config load_in_4bit load_in_8bit use_cache "
    "max_position_embeddings rope_scaling rope_parameters tie_word_embeddings attention_dropout num_hidden_layers"
).split()
_TOKENIZER_WORDS = (
    "use_fast tokenizer_type padding_side truncation_side model_max_length add_bos_token add_eos_token add_prefix_space "
    "bos_token eos_token unk_token pad_token sep_token cls_token mask_token additional_special_tokens chat_template "
    "clean_up_tokenization_spaces split_special_tokens legacy use_default_system_prompt encode_special_tokens gguf_file "
    "extra_special_tokens from_slow config"
).split()
_CONFIG_WORDS = "return_unused_kwargs trust_remote_code".split()

# Callables that take **kwargs but use none that they don't name.
_CLOSED = {"BitsAndBytesConfig"}


@dataclass(frozen=True)
class Signature:
    """What a callable accepts.

    Attributes:
        names: its arguments by name.
        required: those without a default.
        first: its first argument, which mmengine passes by position in some places.
        hints: the annotations that could be resolved.
        open: whether it takes other keys too.
    """

    names: frozenset[str]
    required: tuple[str, ...] = ()
    first: str | None = None
    hints: Mapping[str, Any] = field(default_factory=dict)
    open: bool = False


def signature_of(kind: Callable[..., Any]) -> Signature | None:
    """Return the signature of a class, function or method, or None when Python can't tell."""
    if getattr(kind, "__name__", "") == "from_pretrained":
        return _from_pretrained(getattr(kind, "__self__", None))
    try:
        parameters = list(inspect.signature(kind).parameters.values())
    except (ValueError, TypeError):
        return None
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    names = {p.name for p in named}
    is_open = any(p.kind is p.VAR_KEYWORD for p in parameters)
    if is_open and inspect.isclass(kind):
        inherited, is_open = _inherited(kind)
        names |= inherited
    return Signature(
        names=frozenset(names),
        required=tuple(p.name for p in named if p.default is p.empty),
        first=named[0].name if named else None,
        hints=_hints(kind),
        open=is_open and getattr(kind, "__name__", "") not in _CLOSED,
    )


def argument_names(kind: Callable[..., Any]) -> frozenset[str]:
    """Return the names of the arguments that a callable is known to accept."""
    found = signature_of(kind)
    return found.names if found is not None else frozenset()


def _from_pretrained(owner: Any) -> Signature:
    name = getattr(owner, "__name__", "")
    words = [*_HUB_WORDS]
    if "Tokenizer" in name or "Processor" in name:
        words += _TOKENIZER_WORDS
    elif "Config" in name:
        words += _CONFIG_WORDS
    else:
        words += _MODEL_WORDS
    return Signature(
        names=frozenset(words),
        required=("pretrained_model_name_or_path",),
        first="pretrained_model_name_or_path",
        hints={"pretrained_model_name_or_path": str},
        open=True,
    )


def _inherited(kind: type) -> tuple[set[str], bool]:
    """Follow **kwargs up the classes: the arguments that they may reach, and whether even the last one takes any."""
    names: set[str] = set()
    for owner in kind.__mro__:
        init = owner.__dict__.get("__init__")
        if init is None or owner is object:
            continue
        try:
            parameters = list(inspect.signature(init).parameters.values())[1:]
        except (ValueError, TypeError):
            return names, True
        names |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return names, False
    return names, True


def _hints(kind: Any) -> dict[str, Any]:
    """Resolve each annotation by itself: one that can't be resolved hides only itself."""
    target = kind.__init__ if inspect.isclass(kind) else kind
    scope = {**vars(sys.modules.get(getattr(kind, "__module__", ""), typing)), **getattr(target, "__globals__", {})}
    hints = {name: _resolved(hint, scope) for name, hint in getattr(target, "__annotations__", {}).items()}
    return {name: hint for name, hint in hints.items() if hint is not None}


def _resolved(hint: Any, scope: dict[str, Any]) -> Any:
    if not isinstance(hint, str):
        return hint
    try:
        return eval(hint, scope)  # the annotation's own source, as typing.get_type_hints does it
    except Exception:  # another library's code: whatever it raises, it tells nothing
        return None


def mismatch(value: Any, hint: Any) -> str | None:
    """Return what was expected when `value` clearly does not fit a simple annotation, else None.

    Simple are int, float, str, bool, None, Path, list, tuple, Sequence, dict, Literal and unions of these; an int fits float, a
    bool fits neither, text fits Path, list and tuple stand for each other and, as text does, for Sequence. Anything else fits.
    """
    choices = typing.get_args(hint) if _is_union(hint) else (hint,)
    verdicts = [_fits(value, choice) for choice in choices]
    if any(verdict is not False for verdict in verdicts):
        return None
    return " or ".join(_shown(choice) for choice in choices)


def _is_union(hint: Any) -> bool:
    origin = typing.get_origin(hint)
    return origin is typing.Union or type(hint).__name__ == "UnionType"


def _fits(value: Any, hint: Any) -> bool | None:
    """Return whether the value fits, or None when the annotation is not a simple one."""
    origin = typing.get_origin(hint) or hint
    if origin is typing.Literal:
        return any(value == choice and isinstance(value, bool) is isinstance(choice, bool) for choice in typing.get_args(hint))
    if origin is type(None):
        return value is None
    if origin is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if origin is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if isinstance(origin, type) and issubclass(origin, PurePath):
        return isinstance(value, (str, PurePath))
    if origin in (str, bool):
        return isinstance(value, origin)
    if origin in (list, tuple):
        return isinstance(value, (list, tuple))
    if origin is Sequence:
        return None if hasattr(value, "__getitem__") else False
    if origin is dict:
        return isinstance(value, dict)
    return None


def _shown(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(repr(choice) for choice in typing.get_args(hint))
    origin = typing.get_origin(hint) or hint
    if origin is type(None):
        return "None"
    return getattr(origin, "__name__", str(origin))
