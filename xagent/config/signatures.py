"""What a callable of a config accepts: its arguments, its required ones, its annotations."""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

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

_HUB_HINTS: dict[str, Any] = {
    "pretrained_model_name_or_path": str,
    "trust_remote_code": bool | None,
    "local_files_only": bool,
    "force_download": bool,
    "revision": str | None,
}
_MODEL_HINTS: dict[str, Any] = {"load_in_4bit": bool, "load_in_8bit": bool, "use_safetensors": bool | None}
_SIDE = Literal["left", "right"]
_TOKENIZER_HINTS: dict[str, Any] = {"padding_side": _SIDE, "truncation_side": _SIDE, "use_fast": bool}

# Callables that take **kwargs but use none that they don't name.
_CLOSED = {"BitsAndBytesConfig"}


@dataclass(frozen=True)
class Signature:
    """What a callable accepts.

    Attributes:
        names: its arguments by name.
        required: those without a default.
        first: its first argument, which mmengine passes by position in some places.
        hints: the annotations that could be resolved, those of arguments that reach it through **kwargs too.
        defaults: the default values; an argument fits its own, whatever its annotation says.
        open: whether it takes other keys too.
    """

    names: frozenset[str]
    required: tuple[str, ...] = ()
    first: str | None = None
    hints: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    open: bool = False


def signature_of(kind: Callable[..., Any]) -> Signature | None:
    """Return the signature of a class, function or method, or None when Python can't tell."""
    if getattr(kind, "__name__", "") == "from_pretrained":
        return _from_pretrained(getattr(kind, "__self__", None))
    try:
        parameters = list(inspect.signature(kind).parameters.values())
    except (ValueError, TypeError):
        return None
    own = _named(parameters)
    known, hints = dict(own), _hints(kind)
    is_open = any(p.kind is p.VAR_KEYWORD for p in parameters)
    if is_open and inspect.isclass(kind):
        is_open = _add_inherited(kind, known, hints)
    return Signature(
        names=frozenset(known),
        required=tuple(name for name, p in own.items() if p.default is p.empty),
        first=next(iter(own), None),
        hints={name: hint for name, hint in hints.items() if name in known},
        defaults={name: p.default for name, p in known.items() if p.default is not p.empty},
        open=is_open and getattr(kind, "__name__", "") not in _CLOSED,
    )


def argument_names(kind: Callable[..., Any]) -> frozenset[str]:
    """Return the names of the arguments that a callable is known to accept."""
    found = signature_of(kind)
    return found.names if found is not None else frozenset()


def _from_pretrained(owner: Any) -> Signature:
    name = getattr(owner, "__name__", "")
    words, hints = [*_HUB_WORDS], dict(_HUB_HINTS)
    if "Tokenizer" in name or "Processor" in name:
        words += _TOKENIZER_WORDS
        hints |= _TOKENIZER_HINTS
    elif "Config" in name:
        words += _CONFIG_WORDS
    else:
        words += _MODEL_WORDS
        hints |= _MODEL_HINTS
    return Signature(
        names=frozenset(words),
        required=("pretrained_model_name_or_path",),
        first="pretrained_model_name_or_path",
        hints=hints,
        open=True,
    )


def _named(parameters: Iterable[inspect.Parameter]) -> dict[str, inspect.Parameter]:
    """Return the parameters that can be given by name."""
    return {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def _add_inherited(kind: type, known: dict[str, inspect.Parameter], hints: dict[str, Any]) -> bool:
    """Follow **kwargs up the classes, add the arguments that they may reach, and return whether even the last takes any."""
    for owner in kind.__mro__:
        init = owner.__dict__.get("__init__")
        if init is None or owner is object:
            continue
        try:
            parameters = list(inspect.signature(init).parameters.values())[1:]
        except (ValueError, TypeError):
            return True
        found = _named(parameters)
        hints |= {name: hint for name, hint in _hints(owner).items() if name in found and name not in known}
        known |= {name: parameter for name, parameter in found.items() if name not in known}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return False
    return True


def _hints(kind: Any) -> dict[str, Any]:
    """Resolve each annotation by itself: one that can't be resolved hides only itself."""
    target = kind.__init__ if inspect.isclass(kind) else kind
    scopes = list(_scopes(kind, target))
    hints = {name: _resolved(hint, scopes) for name, hint in getattr(target, "__annotations__", {}).items()}
    return {name: hint for name, hint in hints.items() if hint is not None}


def _scopes(kind: Any, target: Any) -> Iterator[dict[str, Any]]:
    """Yield where the names of annotations may be defined: a dataclass repeats those of its bases in its own `__init__`."""
    owners = inspect.getmro(kind) if inspect.isclass(kind) else (kind,)
    for index, owner in enumerate(owners):
        around = vars(sys.modules.get(getattr(owner, "__module__", ""), typing))
        yield {**around, **(getattr(target, "__globals__", {}) if index == 0 else {})}


def _resolved(hint: Any, scopes: Iterable[dict[str, Any]]) -> Any:
    if not isinstance(hint, str):
        return hint
    for scope in scopes:
        try:
            return eval(hint, scope)  # the annotation's own source, as typing.get_type_hints does it
        except Exception:  # another library's code: whatever it raises, it tells nothing
            continue
    return None
