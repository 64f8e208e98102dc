"""A lesson of the nano base: all its weights, on text that the project generates. It is laid over agent_sft, so a leaf names both:

with read_base():
    from .._base_.agent_sft import *
    from .._base_.nano_lesson import *
"""
# ruff: noqa: F821  (`model`, `tokenizer` and the hooks are agent_sft's)

from xagent.data.formats import openai_map_fn
from xagent.playground.pretraining import pretraining_dataset

#######################################################################
#                          PART 1  Settings                           #
#######################################################################
records = 20_000  # conversations, each drawn once
max_length = 2048

batch_size = 1
accumulative_counts = 1
max_epochs = 1
lr = 1.5e-3
betas = (0.9, 0.98)
weight_decay = 0.05
warmup_ratio = 0.02

save_steps = 500
save_total_limit = 1

#######################################################################
#                      PART 2  Model & Tokenizer                      #
#######################################################################
quantization_config = None
lora = None
model["use_activation_checkpointing"] = False
model["autocast_dtype"] = "bf16"  # twice as fast where the processor multiplies in bf16, slow where it does not
model["llm"]["dtype"] = "float32"

#######################################################################
#                    PART 3  Dataset & Dataloader                     #
#######################################################################
train_dataset["dataset"] = dict(type=pretraining_dataset, count=records, seed=1)
train_dataset["dataset_map_fn"] = openai_map_fn

#######################################################################
#                          PART 5  Runtime                            #
#######################################################################
custom_hooks = [dict(type=DatasetInfoHook, tokenizer=tokenizer), dict(type=ThroughputHook), dict(type=LossCurveHook)]
