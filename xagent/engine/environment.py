"""What libraries must know before they are imported: this module is the first that ``xagent.engine`` imports."""

from __future__ import annotations

import os
import warnings

import torch

KERNEL_CACHES = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "128", "LRU_CACHE_CAPACITY": "128"}
"""How many kernels oneDNN, and torch above it, keep of those made for products of one size each, 1,024 by default: rows have ever
new lengths, so most would never run again, and in bf16 on a CPU they took more memory than all else (docs/scaling.md)."""


def prepare_environment() -> None:
    """Tell DeepSpeed that a machine without GPU trains on the CPU, which it would otherwise find out aloud; bound kernel caches.

    What the environment says already stays.
    """
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    for name, value in {"TOKENIZERS_PARALLELISM": "true", **KERNEL_CACHES}.items():
        os.environ.setdefault(name, value)


def quieten_warnings() -> None:
    """Hide what users can do nothing about.

    Schedulers count micro-steps, so the first of a window moves one before the optimizer steps; peft asks transformers, and
    DeepSpeed, mmengine and torch's own modules ask torch, for things by their old names.
    """
    warnings.filterwarnings("ignore", message=r"`torch\.jit\.\w+` is deprecated", category=DeprecationWarning)
    warnings.filterwarnings("ignore", message="Detected call of `scheduler.step", category=UserWarning)
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
    warnings.filterwarnings("ignore", message=r"`torch\.distributed\.\w+` is deprecated", category=FutureWarning)
    warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated", category=FutureWarning)


prepare_environment()
quieten_warnings()
