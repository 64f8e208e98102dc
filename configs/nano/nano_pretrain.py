"""The embedded base model's first lesson, from random weights: conversations about invented forms (see tools/build_nano.py)."""

from mmengine.config import read_base

with read_base():
    from .._base_.agent_sft import *
    from .._base_.nano_lesson import *

pretrained_model_name_or_path = "work_dirs/nano_start"
records = 76_000
lr = 2e-3
save_steps = 2_000
