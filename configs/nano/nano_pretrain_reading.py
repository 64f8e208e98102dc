"""The embedded base model's third lesson: reading a list aloud until something fits (the second one is nano_pretrain_lookups)."""

from mmengine.config import read_base

from xagent.playground.reading import VERDICT_WEIGHTS

with read_base():
    from .._base_.agent_sft import *
    from .._base_.nano_lesson import *

pretrained_model_name_or_path = "work_dirs/nano_second_lesson"
records = 17_000

train_dataset["dataset"]["lesson"] = "reading"
train_dataset["loss_weights"] = VERDICT_WEIGHTS
