"""The embedded base model's second lesson: looking things up in lists (the first one is nano_pretrain)."""

from mmengine.config import read_base

with read_base():
    from .nano_pretrain import *

pretrained_model_name_or_path = "work_dirs/nano_first_lesson"
records = 50_000
lr = 1.5e-3
save_steps = 1_000

train_dataset["dataset"]["lesson"] = "lookups"
