"""How much memory a training step will take, found by running it on tensors that have shapes but no data.

The model is built and runs one micro-batch, forward and backward, in torch's fake mode; every storage that is alive is counted.
So whatever the architecture, the dtypes, LoRA, recomputation and the chunked loss do to memory is in the figure.
"""

from __future__ import annotations

import copy
import json
import os
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import torch
from mmengine.config import Config
from mmengine.logging import print_log
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoConfig, AutoModelForCausalLM

from xagent.errors import ConfigError
from xagent.model import SupervisedFinetune, attention
from xagent.model.head import SplitModel
from xagent.model.kernels import Checkpointing, checkpointing
from xagent.model.loading import choose_autocast, compute_dtype_of, local_device, resolve_paths
from xagent.model.lora import SMALL_MODEL_BYTES
from xagent.model.precision import freeze_quantised
from xagent.model.sft import with_lora

# Bytes for each weight that NF4 with double quantisation keeps: half a byte and its share of the scales (arXiv:2305.14314, 3).
NF4_BYTES = 0.5 + 0.127 / 8
_LAYERS_TRACED = (2, 4)
"""A deeper model is traced with so many layers and the line through both figures is followed: layers are alike."""
_CHANGED_LOGITS = ("final_logit_softcapping", "logits_scaling", "logit_scale")


@dataclass(frozen=True)
class Sizes:
    """Parameters of a model that was built without weights; ``largest_linear`` is the weights of its largest linear layer."""

    total: int
    trainable: int
    frozen_linear: int
    largest_linear: int
    frozen_bytes: int


def model_config_of(model: Mapping[str, Any]) -> Any:
    """Read the language model's own config.

    Raises:
        ConfigError: it can't be read.
    """
    llm = resolve_paths(model["llm"])
    path = llm.get("pretrained_model_name_or_path")
    try:
        return AutoConfig.from_pretrained(path, trust_remote_code=bool(llm.get("trust_remote_code")))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"model.llm.pretrained_model_name_or_path {path!r}: no model config there: {str(error).splitlines()[0]}"
        ) from error


def measure_model(model_config: Mapping[str, Any]) -> Sizes:
    """Build the model on the meta device, LoRA included, and count.

    Raises:
        ConfigError: the model's own config can't be read.
    """
    config = model_config_of(model_config)
    autocast = _autocast(model_config)
    with torch.device("meta"):
        model: Any = _empty(model_config, config)
        head = model.get_output_embeddings()
        linear = [each.weight for each in model.modules() if isinstance(each, torch.nn.Linear) and each is not head]
        if model_config.get("lora") is not None:
            model = with_lora(model, model_config["lora"])
    frozen_linear = {id(weight) for weight in linear if not weight.requires_grad}
    quantised = _is_quantised(model_config)
    tables = {id(each.weight) for each in model.modules() if isinstance(each, torch.nn.Embedding)}
    size = 0.0
    for parameter in model.parameters():
        if parameter.requires_grad:
            continue
        if quantised and id(parameter) in frozen_linear:
            size += parameter.numel() * NF4_BYTES
        elif autocast is None:
            size += parameter.numel() * torch.float32.itemsize
        elif parameter.dim() == 2 and id(parameter) not in tables:
            size += parameter.numel() * autocast.itemsize
        else:
            size += parameter.nbytes
    return Sizes(
        sum(parameter.numel() for parameter in model.parameters()),
        sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        sum(weight.numel() for weight in linear if id(weight) in frozen_linear),
        max((weight.numel() for weight in linear), default=0),
        int(size),
    )


def expected_memory(
    sizes: Sizes, cfg: Config, lengths: list[int], world_size: int, trained_share: float = 1.0, how: str | None = None
) -> dict[str, float]:
    """Estimate the peak memory of one process's tensors in bytes, by part.

    Python and its libraries come on top, and on a CPU what the C library keeps of freed blocks under 32 MiB (docs/scaling.md).

    Weights; gradients and AdamW's two moments in fp32 for what is trained (divided by the ranks as the ZeRO stage says); and
    what a micro-batch makes for a while: activations, a chunk of logits, dequantised weights.

    Args:
        lengths: tokens of each sample in the largest micro-batch; of which a process has its part where rows are shared.
        trained_share: the share of its tokens that is trained.
        how: ``none``, ``selective`` or ``full`` recomputation; default: the config's, where ``auto`` counts as ``full``.
    """
    model = cfg.model
    stage = _zero_stage(cfg)
    shared = world_size if stage else 1
    autocast = _autocast(model)
    trained_width = 4 if model.get("lora") is not None or not stage or autocast is None else autocast.itemsize
    part = cfg.get("sequence_parallel_size") or 1
    own = lengths if part == 1 else [-(-sum(lengths) // part)]
    return {
        "frozen weights": sizes.frozen_bytes / (world_size if stage == 3 else 1),
        "trained weights": sizes.trainable * trained_width / (world_size if stage == 3 else 1),
        "gradients": sizes.trainable * 4 / (shared if stage >= 2 else 1),
        "optimizer": sizes.trainable * 8 / shared,
        "activations": float(activation_bytes(model, own, trained_share, how)) + _dequantised_bytes(sizes, model, how),
    }


def _dequantised_bytes(sizes: Sizes, model: Mapping[str, Any], how: str | None) -> int:
    """Give the bytes of the dequantised weights that are alive together.

    That is the largest one; where they are kept for the backward pass, those of one recomputed layer and of all others.
    """
    if not _is_quantised(model):
        return 0
    width = (_autocast(model) or torch.float32).itemsize
    wanted = model.get("keep_dequantized", "auto") if _fuses_nf4(model) else False
    recomputed = {"none": 0.0, "selective": 0.5, "full": 1.0}[_chosen_recomputation(model, how)]
    weights = float(sizes.largest_linear)
    if wanted and recomputed:
        weights = max(weights, sizes.frozen_linear / model_config_of(model).get_text_config().num_hidden_layers)
    if wanted is True or (wanted == "auto" and sizes.frozen_linear * width <= SMALL_MODEL_BYTES):
        weights = max(weights, weights * bool(recomputed) + sizes.frozen_linear * (1 - recomputed))
    return int(weights * width)


def _chosen_recomputation(model: Mapping[str, Any], how: str | None) -> str:
    return checkpointing(model.get("use_activation_checkpointing", True)) if how is None else how


def activation_bytes(model: Mapping[str, Any], lengths: list[int], trained_share: float, how: str | None = None) -> int:
    """Give the most bytes that one micro-batch has alive at a time beside weights and gradients."""
    config = model_config_of(model)
    layers = config.get_text_config().num_hidden_layers
    chosen = _chosen_recomputation(model, how)
    if layers <= max(_LAYERS_TRACED):
        return _trace(model, config, lengths, trained_share, chosen)
    few, more = (_trace(model, _with_layers(config, count), lengths, trained_share, chosen) for count in _LAYERS_TRACED)
    return few + (more - few) * (layers - _LAYERS_TRACED[0]) // (_LAYERS_TRACED[1] - _LAYERS_TRACED[0])


def largest_row(dataset: Any, batch_size: int) -> list[int]:
    """Give the sample lengths of the largest micro-batch that a data set can give: full packs, or its longest samples."""
    report = dataset.report
    if report.fill_rate:
        return [round(report.tokens / (report.fill_rate * len(dataset)))] * batch_size
    return sorted(dataset.sample_lengths)[-batch_size:]


def choose_checkpointing(cfg: Config, world_size: int = 1) -> Checkpointing:
    """Choose which layers recompute their activations: the config's choice, or for ``auto`` the least that fits.

    Fitting is told by :func:`expected_memory` for a micro-batch of samples of ``max_length``, all of it trained, against the
    device's free memory; a fifth of that is left alone. What can't be estimated is ``full``.
    """
    wanted = cfg.model.get("use_activation_checkpointing", True)
    if wanted != "auto":
        return checkpointing(wanted)
    loader = cfg.train_dataloader
    max_length = loader["dataset"].get("max_length") if isinstance(loader.get("dataset"), Mapping) else None
    if not isinstance(max_length, int):
        return "full"
    sizes, free = measure_model(cfg.model), free_memory()
    lengths = [max_length] * loader["batch_size"]
    choices: tuple[Checkpointing, ...] = ("none", "selective")
    for how in choices:
        try:
            needed = sum(expected_memory(sizes, cfg, lengths, world_size, how=how).values())
        except (AttributeError, RuntimeError, TypeError, ValueError) as error:
            reason = str(error).strip().splitlines()[:1]
            print_log(
                f"Activation checkpointing is full: the memory can't be estimated ({type(error).__name__}: {reason})", "current"
            )
            return "full"
        if needed <= 0.8 * free:
            return how
    return "full"


def free_memory() -> float:
    """Give the bytes that this process's device has free; processes on one CPU share them."""
    device = local_device()
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    return psutil.virtual_memory().available / int(os.environ.get("LOCAL_WORLD_SIZE", 1))


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all storages that are made inside it and still alive, and remembers the most.

    Attributes:
        now: bytes alive.
        most: the largest ``now``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._seen: dict[int, Any] = {}

    def ignore(self, tensors: Any) -> None:
        """Leave out tensors that were there before."""
        for tensor in tensors:
            self._watch(tensor.untyped_storage(), 0)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                self._watch(storage, storage.nbytes())
        self.most = max(self.most, self.now)
        return result

    def _watch(self, storage: Any, size: int) -> None:
        key = storage._cdata
        if key in self._seen:
            return

        def gone(_: Any) -> None:
            self.now -= size
            self._seen.pop(key, None)

        self._seen[key] = weakref.ref(storage, gone)
        self.now += size


def _trace(model: Mapping[str, Any], config: Any, lengths: list[int], trained_share: float, how: str) -> int:
    """Run one micro-batch of fake tensors and give the most bytes alive beside weights and gradients."""
    device = local_device()
    trained = _meta_finetune(model, config, how)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.device(device):
        _give_fake_storage(trained, device)
        parameters = list(trained.parameters())
        for parameter in parameters:
            if parameter.requires_grad:
                parameter.grad = torch.zeros_like(parameter)
        tokens = sum(lengths)
        count = max(1, min(tokens - 1, round(tokens * trained_share)))
        data = {
            "input_ids": torch.zeros(1, tokens, dtype=torch.int64),
            "position_ids": torch.zeros(1, tokens, dtype=torch.int64),
            "lengths": lengths,
        }
        positions, labels, weights = torch.arange(count), torch.zeros(count, dtype=torch.int64), torch.ones(count)
        with LiveBytes() as live:
            live.ignore([*parameters, *(each.grad for each in parameters if each.grad is not None), *trained.buffers()])
            trained.loss_at(data, positions, labels, weights, torch.ones(())).backward()
    return live.most


def _meta_finetune(model: Mapping[str, Any], config: Any, how: str) -> SupervisedFinetune:
    """Build what is trained without memory for weights; without values the chunked loss can't be tried, so it is set here."""
    options = {key: value for key, value in model.items() if key not in ("type", "llm", "tokenizer", "torch_compile")}
    with torch.device("meta"):
        llm = _empty(model, config)
        if _is_quantised(model):
            freeze_quantised(llm, _autocast(model))
        trained = SupervisedFinetune(llm, **{**options, "use_activation_checkpointing": how}).train()
    if _is_quantised(model) and not _fuses_nf4(model):
        for layer in trained.modules():
            if isinstance(layer, torch.nn.Linear) and not layer.weight.requires_grad:
                layer.register_forward_hook(_like_its_input)
    if not any(getattr(config, name, None) not in (None, 1.0) for name in _CHANGED_LOGITS):
        causal = trained.llm.get_base_model() if model.get("lora") is not None else trained.llm
        trained._parts = (SplitModel(causal.base_model, causal.get_output_embeddings()),)
    return trained


def _give_fake_storage(model: torch.nn.Module, device: torch.device) -> None:
    """Replace tensors on the meta device by fake ones on ``device``, where autocast and kernels are the device's own."""
    made: dict[int, Any] = {}
    for module in model.modules():
        for kept in (module._parameters, module._buffers):
            for name, value in kept.items():
                if value is not None and id(value) not in made:
                    fake = torch.empty(value.shape, dtype=value.dtype, device=device)
                    made[id(value)] = torch.nn.Parameter(fake, value.requires_grad) if kept is module._parameters else fake
                if value is not None:
                    kept[name] = made[id(value)]


def _empty(model: Mapping[str, Any], config: Any) -> Any:
    """Build the language model without its weights, in the dtype and with the attention that loading gives it."""
    llm = resolve_paths(model["llm"])
    wanted = llm.get("dtype", llm.get("torch_dtype", "auto"))
    dtype = getattr(config, "dtype", None) if wanted in (None, "auto") else wanted
    dtype = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    chosen = llm.get("attn_implementation", attention.NAME)
    if getattr(config, "attn_logit_softcapping", None):
        chosen = "eager"
    return AutoModelForCausalLM.from_config(
        config,
        dtype=dtype or torch.float32,
        attn_implementation=chosen,
        trust_remote_code=bool(llm.get("trust_remote_code")),
    )


def _with_layers(config: Any, count: int) -> Any:
    changed = copy.deepcopy(config)
    text = changed.get_text_config()
    for name, value in list(vars(text).items()):
        if isinstance(value, list) and len(value) == text.num_hidden_layers:
            setattr(text, name, value[:count])
    text.num_hidden_layers = count
    return changed


def _autocast(model: Mapping[str, Any]) -> torch.dtype | None:
    return choose_autocast(model.get("autocast_dtype", "auto"), local_device())


def _is_quantised(model: Mapping[str, Any]) -> bool:
    return model["llm"].get("quantization_config") is not None


def _fuses_nf4(model: Mapping[str, Any]) -> bool:
    """Tell whether quantised layers and their adapters are one step of autograd: in 4 bits, computing in what all else does."""
    autocast, quantization = _autocast(model), model["llm"]["quantization_config"]
    named = quantization.get if isinstance(quantization, Mapping) else partial(getattr, quantization)
    same = compute_dtype_of(quantization, autocast) == (autocast or torch.float32)
    return bool(model.get("fused_lora", True) and named("load_in_4bit", False)) and same


def _like_its_input(layer: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
    """Cast as bitsandbytes' own layers do."""
    return output.to(inputs[0].dtype)


def _zero_stage(cfg: Config) -> int:
    if not cfg.get("deepspeed"):
        return 0
    settings = json.loads(Path(cfg.deepspeed).read_text(encoding="utf-8"))
    return int(settings.get("zero_optimization", {}).get("stage", 0))
