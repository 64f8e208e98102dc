"""Supervised fine-tuning of a chat model on agent conversations, by QLoRA on one GPU: what the leaves start from.

A leaf sets what differs. Settings take effect wherever they are used below, so `max_length = 2048` is all it takes;
`quantization_config = None` makes it LoRA on the 16-bit model, `lora = None` besides makes it full fine-tuning.
"""

from mmengine.dataset import DefaultSampler
from mmengine.hooks import DistSamplerSeedHook, IterTimerHook, LoggerHook, ParamSchedulerHook
from mmengine.optim import CosineAnnealingLR, LinearLR
from peft import LoraConfig
from torch import float16
from torch.optim import AdamW
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from xagent.chat.template import PROMPT_TEMPLATE
from xagent.data import default_collate_fn, load_dataset_from, process_hf_dataset, template_map_fn_factory
from xagent.data.formats import agent_flan_map_fn
from xagent.engine import TrainLoop
from xagent.engine.hooks import CheckpointHook, DatasetInfoHook, EvaluateChatHook, LossCurveHook, ThroughputHook
from xagent.model import SupervisedFinetune

#######################################################################
#                          PART 1  Settings                           #
#######################################################################
# Model: a hub id or a local directory
pretrained_model_name_or_path = "meta-llama/Meta-Llama-3-8B-Instruct"

# Data: what `xagent convert agent_flan data/agent_flan` writes
data_path = "./data/agent_flan_converted"
prompt_template = PROMPT_TEMPLATE.llama3_chat
max_length = 4096  # tokens
pack_to_max_length = True

# Scheduler & optimizer
batch_size = 1  # per device
accumulative_counts = 16  # micro-steps for one optimizer step
sequence_parallel_size = 1  # devices that share the tokens of each row, for rows beyond one device's memory
dataloader_num_workers = 0
max_epochs = 3
optim_type = AdamW
lr = 2e-4
betas = (0.9, 0.999)
weight_decay = 0
max_norm = 1  # gradients are clipped to this norm
warmup_ratio = 0.03

# Saving, in micro-steps
save_steps = 500
save_total_limit = 2  # checkpoints kept; -1 keeps all

# Chat samples before, during and after training, in micro-steps
evaluation_freq = 500
SYSTEM = (
    "You are a assistant who can utilize external tools.\n"
    '[{"name": "ArxivSearch.get_arxiv_article_information", "description": "Search arXiv and return the title, the authors '
    'and the abstract of the articles that fit best.", "parameters": [{"name": "query", "type": "STRING", '
    '"description": "what to search for"}], "required": ["query"], "parameter_description": '
    '"If you call this tool, you must pass arguments in the JSON format {key: value}"}]\n'
    "To use a tool, please use the following format:\n"
    "```\nThought:Think what you need to solve, do you need to use tools?\nAction:the tool name, should be one of the list\n"
    "Action Input:the input to the action\n```\n"
    "The response after utilizing tools should using the following format:\n"
    "```\nResponse:the results after call the tool.\n```\n"
    "If you already know the answer, or you do not need to use tools,\nplease using the following format to reply:\n"
    "```\nThought:the thought process to get the final answer\nFinal Answer:final answer\n```\nBegin!"
)
evaluation_inputs = [
    "Please help me search the InternLM2 Technical Report",
    "请帮我在 arXiv 上查找 InternLM2 Technical Report",
    "Which is larger, 9.11 or 9.9?",
]

#######################################################################
#                      PART 2  Model & Tokenizer                      #
#######################################################################
tokenizer = dict(
    type=AutoTokenizer.from_pretrained,
    pretrained_model_name_or_path=pretrained_model_name_or_path,
    padding_side="right",
)

# 4-bit NF4 with double quantisation
quantization_config = dict(
    type=BitsAndBytesConfig,
    load_in_4bit=True,
    bnb_4bit_quant_type="nf4",
    bnb_4bit_use_double_quant=True,
    bnb_4bit_compute_dtype=float16,
)

# All linear layers but the output head
lora = dict(
    type=LoraConfig,
    r=64,
    lora_alpha=16,
    lora_dropout=0.1,
    bias="none",
    task_type="CAUSAL_LM",
)

model = dict(
    type=SupervisedFinetune,
    llm=dict(
        type=AutoModelForCausalLM.from_pretrained,
        pretrained_model_name_or_path=pretrained_model_name_or_path,
        dtype="auto",
        quantization_config=quantization_config,
    ),
    lora=lora,
    tokenizer=tokenizer,
    use_activation_checkpointing="auto",  # none, selective or full, as the device's memory allows
    autocast_dtype="auto",  # bf16 where the device has it and is faster in it, else fp16 on CUDA and fp32 on the CPU
)

#######################################################################
#                    PART 3  Dataset & Dataloader                     #
#######################################################################
train_dataset = dict(
    type=process_hf_dataset,
    dataset=dict(type=load_dataset_from, path=data_path),
    tokenizer=tokenizer,
    max_length=max_length,
    dataset_map_fn=agent_flan_map_fn,
    template_map_fn=dict(type=template_map_fn_factory, template=prompt_template),
    pack_to_max_length=pack_to_max_length,
    shuffle_before_pack=True,
)

train_dataloader = dict(
    batch_size=batch_size,
    num_workers=dataloader_num_workers,
    dataset=train_dataset,
    sampler=dict(type=DefaultSampler, shuffle=True),
    collate_fn=dict(type=default_collate_fn),
)

#######################################################################
#                    PART 4  Scheduler & Optimizer                    #
#######################################################################
# The engine chooses the wrapper (plain, loss scaling, DeepSpeed); these numbers feed each of them
optim_wrapper = dict(
    optimizer=dict(type=optim_type, lr=lr, betas=betas, weight_decay=weight_decay),
    clip_grad=dict(max_norm=max_norm, error_if_nonfinite=False),
    accumulative_counts=accumulative_counts,
)

# Linear warm-up, then a cosine to 0
param_scheduler = [
    dict(
        type=LinearLR,
        start_factor=1e-5,
        by_epoch=True,
        begin=0,
        end=warmup_ratio * max_epochs,
        convert_to_iter_based=True,
    ),
    dict(
        type=CosineAnnealingLR,
        eta_min=0.0,
        by_epoch=True,
        begin=warmup_ratio * max_epochs,
        end=max_epochs,
        convert_to_iter_based=True,
    ),
]

train_cfg = dict(type=TrainLoop, max_epochs=max_epochs)

#######################################################################
#                           PART 5  Runtime                           #
#######################################################################
default_hooks = dict(
    timer=dict(type=IterTimerHook),
    logger=dict(type=LoggerHook, log_metric_by_epoch=False, interval=10),
    param_scheduler=dict(type=ParamSchedulerHook),
    checkpoint=dict(type=CheckpointHook, interval=save_steps, max_keep_ckpts=save_total_limit, save_optimizer=True),
    sampler_seed=dict(type=DistSamplerSeedHook),
)

custom_hooks = [
    dict(type=DatasetInfoHook, tokenizer=tokenizer),
    dict(
        type=EvaluateChatHook,
        tokenizer=tokenizer,
        every_n_iters=evaluation_freq,
        evaluation_inputs=evaluation_inputs,
        system=SYSTEM,
        prompt_template=prompt_template,
    ),
    dict(type=ThroughputHook),
    dict(type=LossCurveHook),
]

visualizer = None
log_level = "INFO"
log_processor = dict(by_epoch=False, window_size=1)
randomness = dict(seed=42, deterministic=False)
env_cfg = dict(cudnn_benchmark=False)
load_from = None
resume = False
