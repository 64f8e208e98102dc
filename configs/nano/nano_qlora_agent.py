"""The embedded nano model learns the ReAct protocol by QLoRA: what `xagent demo` trains, in minutes on two CPU cores."""

from mmengine.config import read_base

from xagent.playground.reading import VERDICT_WEIGHTS

with read_base():
    from .._base_.agent_sft import *

#######################################################################
#                          PART 1  Settings                           #
#######################################################################
pretrained_model_name_or_path = "xagent:nano/base"
data_path = "work_dirs/demo/data_converted"

max_length = 2048
batch_size = 1
accumulative_counts = 1
max_epochs = 1
lr = 1.6e-3
warmup_ratio = 0.05

save_steps = 200
evaluation_freq = 1000
evaluation_inputs = ["What is 15 percent of 240?"]

#######################################################################
#                      PART 2  Model & Tokenizer                      #
#######################################################################
lora["r"] = 32
lora["lora_alpha"] = 32
lora["lora_dropout"] = 0.0
model["use_activation_checkpointing"] = False

#######################################################################
#                    PART 3  Dataset & Dataloader                     #
#######################################################################
train_dataset["loss_weights"] = VERDICT_WEIGHTS
