"""The top-level words of a config: what a training run must have and what it may have."""

from __future__ import annotations

REQUIRED = ("model", "train_dataloader", "optim_wrapper", "train_cfg")

# What mmengine's runner or ours reads besides; any other top-level name is a variable of the config's own.
OPTIONAL = (
    "work_dir",
    "param_scheduler",
    "auto_scale_lr",
    "val_dataloader",
    "val_cfg",
    "val_evaluator",
    "test_dataloader",
    "test_cfg",
    "test_evaluator",
    "default_hooks",
    "custom_hooks",
    "data_preprocessor",
    "load_from",
    "resume",
    "launcher",
    "env_cfg",
    "log_processor",
    "log_level",
    "visualizer",
    "default_scope",
    "randomness",
    "experiment_name",
    "strategy",
    "runner_type",
    "deepspeed",
    "sequence_parallel_size",
    "tokenizer",
)

KNOWN = (*REQUIRED, *OPTIONAL)
