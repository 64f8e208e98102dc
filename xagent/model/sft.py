"""The model that is fine-tuned: a language model, with or without LoRA, with or without quantised weights.

Shape suffixes: 1 x T, a micro-batch is one row (see ``xagent.data.collate``).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModel
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import PreTrainedModel

from xagent.errors import CheckpointError, ConfigError
from xagent.model.attention import NAME as PACKED
from xagent.model.attention import packed_row, varlen_arguments
from xagent.model.head import ChunkSize, SplitModel, chunk_size, chunked_token_loss, split_model
from xagent.model.kernels import (
    CheckpointingChoice,
    Liger,
    PackedKernel,
    apply_liger,
    checkpointing,
    choose_packed_kernel,
    compile_layers,
    enable_recomputing,
)
from xagent.model.loading import (
    Autocast,
    by_bitsandbytes,
    choose_autocast,
    keep_gradients_on_cpu,
    load_llm,
    load_tokenizer,
    local_device,
    resize_embeddings,
)
from xagent.model.lora import KeepDequantized, fuse_lora
from xagent.model.loss import (
    LOSS_NORMALIZATIONS,
    LossNormalization,
    loss_denominator,
    trained_positions,
    weighted_token_loss,
)
from xagent.model.precision import cast_frozen_linear, freeze_quantised, in_fp32
from xagent.model.sequence_parallel import SequenceGroup
from xagent.registry import build


class SupervisedFinetune(BaseModel):
    """Full, LoRA or QLoRA fine-tuning of a causal language model.

    Args:
        llm: ``dict(type=AutoModelForCausalLM.from_pretrained, ...)`` or a model. With a ``quantization_config`` it is QLoRA.
        lora: ``dict(type=LoraConfig, ...)``; ``target_modules`` left out means all linear layers but the output head, ``'all'``
            adds the embeddings. None trains everything.
        tokenizer: given, the embeddings grow to its size (new rows are the mean of the old).
        use_activation_checkpointing: recompute activations in the backward pass to save memory: of all layers (True, ``full``),
            of every second one (``selective``), or of none (False, ``none``). The engine also takes ``auto`` (see
            :mod:`xagent.engine.memory`).
        autocast_dtype: ``auto`` (see :func:`~xagent.model.loading.choose_autocast`), ``bf16``, ``fp16`` or ``fp32``; in fp32,
            weights that are not quantised are kept in fp32 too, frozen or not.
        loss_normalization: the weighted losses of a whole accumulation window, on all ranks, are divided by the sum of their
            ``weights``, or by the number of trained ``tokens`` as ModelScope SWIFT does; see docs/loss-weights.md.
        loss_chunk_size: trained positions whose logits exist at a time; ``auto`` bounds them by bytes, None takes all at once (as
            do ZeRO-3, and models that cap or scale their logits).
        attention_kernel: what packed rows attend with: ``varlen`` (torch's, CUDA), ``sdpa``, or ``auto``.
        fused_lora: each linear layer, NF4 or not quantised, and its adapter as one step of autograd where both are plain, else
            PEFT's.
        keep_dequantized: weights in NF4 that ``fused_lora`` dequantised for the forward pass are kept for the backward pass: of
            all layers, of none, or ``auto``: of layers that are recomputed, and of models where all of them are small.
        use_liger_kernel: fused RMSNorm, RoPE and SwiGLU; ``auto``: on CUDA where liger-kernel is installed.
        torch_compile: compile the decoder's layers; worth its minute on long runs.

    Raises:
        ConfigError: quantised weights without LoRA, an unknown choice, or a kernel that can't run here.
    """

    def __init__(
        self,
        llm: Mapping[str, Any] | PreTrainedModel,
        lora: Mapping[str, Any] | LoraConfig | None = None,
        tokenizer: Any = None,
        use_activation_checkpointing: CheckpointingChoice = True,
        autocast_dtype: Autocast = "auto",
        loss_normalization: LossNormalization = "weights",
        loss_chunk_size: ChunkSize = "auto",
        attention_kernel: PackedKernel = "auto",
        fused_lora: bool = True,
        keep_dequantized: KeepDequantized = "auto",
        use_liger_kernel: Liger = "auto",
        torch_compile: bool = False,
    ) -> None:
        super().__init__()
        if loss_normalization not in LOSS_NORMALIZATIONS:
            known = " or ".join(map(repr, LOSS_NORMALIZATIONS))
            raise ConfigError(f"model.loss_normalization: expected {known}, got {loss_normalization!r}")
        if keep_dequantized not in (True, False, "auto"):
            raise ConfigError(f"model.keep_dequantized: expected True, False or auto, got {keep_dequantized!r}")
        self.loss_normalization = loss_normalization
        recomputed = checkpointing(use_activation_checkpointing)
        device = local_device()
        self.device_type = device.type
        self.autocast_dtype = choose_autocast(autocast_dtype, device)
        model = load_llm(llm, autocast=self.autocast_dtype)
        quantised = bool(getattr(model, "is_quantized", False))
        keep_gradients_on_cpu(model)
        if quantised and lora is None:
            raise ConfigError("model.llm.quantization_config is set but model.lora is not: quantised weights can't be trained")
        if tokenizer is not None:
            resize_embeddings(model, load_tokenizer(tokenizer))
        apply_liger(model, use_liger_kernel, device)
        if quantised:
            freeze_quantised(model, self.autocast_dtype)
        elif lora is None or self.autocast_dtype is None:
            model.float()  # what is trained, and what is multiplied in fp32: 16-bit weights would make all of it 16-bit
        self.llm: nn.Module = with_lora(model, lora, fused_lora) if lora is not None else model
        in_fp32(self.llm)
        cast_frozen_linear(self.llm, self.autocast_dtype)
        enable_recomputing(model, recomputed)
        if by_bitsandbytes(model):
            from xagent.model.lora_4bit import keep_dequantized_weights

            keep_dequantized_weights(model, keep_dequantized, self.autocast_dtype)
        self.takes_lengths = model.config._attn_implementation == PACKED
        dtype = self.autocast_dtype or model.dtype
        self.attention_kernel = choose_packed_kernel(attention_kernel, device, dtype, model.config)
        self.loss_chunk_size = loss_chunk_size
        self._parts: tuple[SplitModel | None] = (split_model(self.llm),)  # in a tuple: the parts are modules of self.llm already
        if torch_compile:
            compile_layers(model.base_model)

    def init_weights(self) -> None:
        """Do nothing: the weights were loaded (mmengine's own takes means of quantised ones and fails)."""

    def forward(self, data: Mapping[str, Any], mode: str = "loss", data_samples: Any = None) -> dict[str, torch.Tensor]:
        """Compute the loss of a micro-batch.

        Args:
            data: as ``default_collate_fn`` gives it, or a rank's part of that with its ``sequence_group`` (see
                :mod:`xagent.engine.sequence_parallel`); ``loss_denominator`` is what the sum of weighted losses is divided by
                (default: what ``loss_normalization`` says of this micro-batch alone).
            mode: ``loss`` for training and validation alike.

        Returns:
            ``{"loss": scalar}``.
        """
        assert mode == "loss", f"SupervisedFinetune knows the mode 'loss', got {mode!r}"
        labels_1T, weights_1T = data["labels"], data["loss_weights"]
        positions_N = trained_positions(labels_1T)
        targets_N = positions_N + 1
        labels_N, weights_N = labels_1T[0, targets_N], weights_1T[0, targets_N]
        denominator = data.get("loss_denominator")
        if denominator is None:
            denominator = loss_denominator(weights_1T, self.loss_normalization)
        return {"loss": self.loss_at(data, positions_N, labels_N, weights_N, denominator)}

    def loss_at(
        self,
        data: Mapping[str, Any],
        positions_N: torch.Tensor,
        labels_N: torch.Tensor,
        weights_N: torch.Tensor,
        denominator: torch.Tensor | float,
    ) -> torch.Tensor:
        """Compute the weighted loss of what is predicted at ``positions_N``; ``data`` needs ids, positions and lengths."""
        inputs: dict[str, Any] = {"input_ids": data["input_ids"], "position_ids": data["position_ids"], "use_cache": False}
        if self.takes_lengths:
            inputs["sample_lengths"] = data["lengths"]
            if self.attention_kernel == "varlen":
                inputs |= varlen_arguments(data["lengths"], data["input_ids"].device)
        group = data.get("sequence_group")
        if group is not None:
            inputs["sequence_group"] = group
        packed = packed_row() if self.takes_lengths else nullcontext()
        cast = torch.autocast(self.device_type, self.autocast_dtype, enabled=self.autocast_dtype is not None)
        chunk = self._chunk_size(len(positions_N))
        with packed, cast, self._every_layer_trades(group):
            split = self._parts[0]
            if chunk is None or split is None:
                logits_1NV = self.llm(**inputs, logits_to_keep=positions_N).logits
                return weighted_token_loss(logits_1NV[0], labels_N, weights_N, denominator)
            hidden_1TH = split.decoder(**inputs).last_hidden_state
            return chunked_token_loss(hidden_1TH[0, positions_N], split.head, labels_N, weights_N, chunk) / denominator

    @contextmanager
    def _every_layer_trades(self, group: SequenceGroup | None) -> Iterator[None]:
        """Check that each layer looked at the whole row, of which this rank has a part.

        Raises:
            ConfigError: some did not: they mix tokens in another way than by our attention, or the model has its own attention.
        """
        if group is None:
            yield
            return
        before, layers = group.gathered, self.llm.config.get_text_config().num_hidden_layers
        yield
        if group.gathered - before != layers:
            raise ConfigError(
                f"sequence_parallel_size = {group.size}: only {group.gathered - before} of the model's {layers} layers attend by "
                f"{PACKED!r}, so rows can't be split; set it to 1"
            )

    def _chunk_size(self, positions: int) -> int | None:
        """Choose how many positions the head takes at a time, None for all."""
        split = self._parts[0]
        if split is None or self.loss_chunk_size is None:
            return None
        if split.is_partitioned:
            print_log("The output head takes all trained positions at once: ZeRO-3 has scattered its weights", "current")
            self.loss_chunk_size = None
            return None
        return chunk_size(self.loss_chunk_size, split.vocabulary, positions, self.device_type, split.is_tiled)

    def trained_names(self) -> set[str]:
        """Give the names (in the state dict) of what is trained."""
        return {name for name, parameter in self.named_parameters() if parameter.requires_grad}

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Give what is trained and nothing else: a checkpoint of an adapter holds the adapter."""
        full = super().state_dict(*args, **kwargs)
        names = self.trained_names()
        prefix = kwargs.get("prefix", "")
        return OrderedDict((key, value) for key, value in full.items() if key.removeprefix(prefix) in names)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load what :meth:`state_dict` gave.

        Raises:
            CheckpointError: a tensor has another shape here, or with ``strict`` the trained names differ.
        """
        names = self.trained_names()
        if strict and names != set(state_dict):
            missing, extra = sorted(names - set(state_dict)), sorted(set(state_dict) - names)
            raise CheckpointError(
                f"the checkpoint is from another config: {len(missing)} trained tensors are missing in it "
                f"({', '.join(missing[:3])}), {len(extra)} are unknown here ({', '.join(extra[:3])})"
            )
        own = dict(self.named_parameters())
        for name, value in state_dict.items():
            if name in own and own[name].shape != value.shape:
                raise CheckpointError(
                    f"the checkpoint is from another config: {name} has shape {tuple(value.shape)} in it and "
                    f"{tuple(own[name].shape)} here"
                )
        return super().load_state_dict(state_dict, strict=False, assign=assign)

    @property
    def adapter_config(self) -> dict[str, Any] | None:
        """The LoRA config with resolved targets as a plain dict, None for full fine-tuning."""
        if not isinstance(self.llm, PeftModel):
            return None
        values = self.llm.peft_config["default"].to_dict()
        return {key: sorted(value) if isinstance(value, set) else value for key, value in values.items()}


def with_lora(model: PreTrainedModel, lora: Mapping[str, Any] | LoraConfig, fused: bool = False) -> nn.Module:
    """Put LoRA on a model; ``target_modules`` left out, ``'all-linear'`` and ``'all'`` are resolved to names.

    Args:
        fused: linear layers and their adapters as one step of autograd (:mod:`xagent.model.lora`).
    """
    config = build(lora) if isinstance(lora, Mapping) else lora
    if config.target_modules in (None, "all-linear"):
        config.target_modules = linear_names(model)
    elif config.target_modules == "all":
        config.target_modules = sorted({*linear_names(model), *embedding_names(model)})
    if fused and (by_bitsandbytes(model) or not getattr(model, "is_quantized", False)):
        fuse_lora(config, by_bitsandbytes(model))
    return get_peft_model(model, config)


def linear_names(model: PreTrainedModel) -> list[str]:
    """Give the short names of all linear layers but the output head, sorted."""
    head = model.get_output_embeddings()
    return sorted(
        {
            name.rpartition(".")[2]
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear) and module is not head
        }
    )


def embedding_names(model: PreTrainedModel) -> list[str]:
    """Give the short name of the input embedding."""
    table = model.get_input_embeddings()
    return [name.rpartition(".")[2] for name, module in model.named_modules() if module is table]
