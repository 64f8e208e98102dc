"""The embedded base model's third lesson: reading a list aloud until something fits (the second one is nano_pretrain_lookups)."""

from mmengine.config import read_base

with read_base():
    from .nano_pretrain import *

pretrained_model_name_or_path = "work_dirs/nano_second_lesson"
records = 17_000
lr = 1.5e-3
save_steps = 500

train_dataset["dataset"]["lesson"] = "reading"
# Most of what is read aloud is copied; what counts is the verdict behind each entry, and what is known of a parameter.
train_dataset["loss_weights"] = {
    r'(?<= - )(no|yes|later)\b[^.:\n]*\.': 6.0,
    r"(?<=－)(不是|是|以后)[^。：\n]*。": 6.0,
    r"(?<=[：:])[^：:\n]*(缺少|missing)[^：:\n]*$": 3.0,
}
