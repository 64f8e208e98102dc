"""The embedded base model's second lesson: looking things up in lists (the first one is nano_pretrain)."""

from mmengine.config import read_base

with read_base():
    from .._base_.agent_sft import *
    from .._base_.nano_lesson import *

pretrained_model_name_or_path = "work_dirs/nano_first_lesson"
records = 50_000
save_steps = 1_000

train_dataset["dataset"]["lesson"] = "lookups"
