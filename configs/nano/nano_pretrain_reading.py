"""The embedded base model's third lesson: reading a list aloud until something fits (the second one is nano_pretrain_lookups)."""

from mmengine.config import read_base

from xagent.playground.reading import VERDICT_WEIGHTS

with read_base():
    from .nano_pretrain import *

pretrained_model_name_or_path = "work_dirs/nano_second_lesson"
records = 17_000
lr = 1.5e-3
save_steps = 500

train_dataset["dataset"]["lesson"] = "reading"
train_dataset["loss_weights"] = VERDICT_WEIGHTS
