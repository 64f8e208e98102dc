"""The embedded base model's fifth lesson: the fourth one's matter once more, in other records (the fourth is nano_pretrain_planning)."""

from mmengine.config import read_base

from xagent.playground.reading import VERDICT_WEIGHTS

with read_base():
    from .._base_.agent_sft import *
    from .._base_.nano_lesson import *

pretrained_model_name_or_path = "work_dirs/nano_fourth_lesson"
records = 24_000

train_dataset["dataset"]["lesson"] = "planning"
train_dataset["dataset"]["seed"] = 2
train_dataset["loss_weights"] = VERDICT_WEIGHTS
