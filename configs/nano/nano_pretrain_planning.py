"""The embedded base model's fourth lesson: to read, plan and copy under any labels (the third one is nano_pretrain_reading)."""

from mmengine.config import read_base

from xagent.playground.reading import VERDICT_WEIGHTS

with read_base():
    from .._base_.agent_sft import *
    from .._base_.nano_lesson import *

pretrained_model_name_or_path = "work_dirs/nano_third_lesson"
records = 22_000

train_dataset["dataset"]["lesson"] = "planning"
train_dataset["loss_weights"] = VERDICT_WEIGHTS
