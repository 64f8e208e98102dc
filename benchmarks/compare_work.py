"""The work that `compare.py` gives to everyone: conversations, a tokenizer, two base models, an adapter. All seeded."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

MODELS = {"narrow": 8_192, "wide": 128_256}
SHAPE = dict(
    hidden_size=256, intermediate_size=704, num_hidden_layers=6, num_attention_heads=8, num_key_value_heads=4, rope_theta=10_000.0
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'assistant' %}{{ '<|im_start|>assistant\n' }}"
    "{% generation %}{{ message['content'] + '<|im_end|>\n' }}{% endgeneration %}"
    "{% else %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""ChatML, with the markers by which TRL finds what is the assistant's."""

_SYLLABLES = [first + second for first in "bcdfghklmnprstvz" for second in ("a", "e", "i", "o", "u", "an", "el", "or")]


def conversation(generator: random.Random, words: list[str]) -> list[dict[str, str]]:
    """Write one ReAct conversation: tools, a question, calls and observations, an answer; lengths have a long tail."""

    def text(count: float) -> str:
        return " ".join(generator.choice(words) for _ in range(max(3, round(count))))

    size = min(max(math.exp(generator.gauss(0.0, 0.62)), 0.35), 4.0)
    tools = [f"{generator.choice(words)}_{generator.choice(words)}" for _ in range(3)]
    shown = "\n".join(f"- {tool}: {text(8 * size)}. Arguments: {generator.choice(words)} (str)" for tool in tools)
    messages = [
        {"role": "system", "content": f"Answer with the help of tools.\n{shown}"},
        {"role": "user", "content": text(24 * size) + "?"},
    ]
    for _ in range(generator.choice((1, 1, 2, 3))):
        call = json.dumps({generator.choice(words): generator.choice(words), "n": generator.randrange(1000)})
        said = f"Thought: {text(9 * size)}\nAction: {generator.choice(tools)}\nAction Input: {call}"
        messages += [
            {"role": "assistant", "content": said},
            {"role": "user", "content": f"Response: {text(34 * size)}"},
        ]
    messages.append({"role": "assistant", "content": f"Thought: {text(6 * size)}\nFinal Answer: {text(16 * size)}"})
    return messages


def write_conversations(path: Path, count: int, seed: int = 0) -> Path:
    """Write ``{"messages": [...]}`` lines, once."""
    if not path.exists():
        generator = random.Random(seed)
        words = ["".join(generator.choice(_SYLLABLES) for _ in range(generator.choice((1, 2, 2, 3)))) for _ in range(9_000)]
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = (json.dumps({"messages": conversation(generator, words)}) + "\n" for _ in range(count))
        draft = path.with_suffix(".part")
        draft.write_text("".join(lines), encoding="utf-8")
        draft.rename(path)
    return path


def make_tokenizer(data: Path) -> Any:
    """Train a byte-level BPE of 8,192 tokens with ChatML's."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=MODELS["narrow"],
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    with data.open(encoding="utf-8") as lines:
        tokenizer.train_from_iterator((turn["content"] for line in lines for turn in json.loads(line)["messages"]), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        model_max_length=4096,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def make_base(folder: Path, vocabulary: int, tokenizer: Any) -> Path:
    """Save a Llama of random weights in fp32 with the tokenizer, once."""
    if not (folder / "model.safetensors").exists():
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        torch.manual_seed(0)
        config = LlamaConfig(**SHAPE, vocab_size=vocabulary, max_position_embeddings=4096, eos_token_id=2, pad_token_id=0)
        tokenizer.save_pretrained(folder)
        LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def make_adapter(folder: Path, base: Path) -> Path:
    """Save a LoRA adapter of random weights in PEFT's form, once."""
    if not (folder / "adapter_model.safetensors").exists():
        import torch
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM

        torch.manual_seed(1)
        model = AutoModelForCausalLM.from_pretrained(base)
        lora = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
        get_peft_model(model, lora).save_pretrained(folder)
    return folder


def make_work(folder: Path, conversations: int = 2_000, many: int = 20_000) -> dict[str, Path]:
    """Make everything under ``folder`` that isn't there yet, and give the paths by name."""
    from transformers import AutoTokenizer

    paths = {
        "train": write_conversations(folder / "data" / f"train_{conversations}.jsonl", conversations),
        "few": write_conversations(folder / "data" / "few_200.jsonl", 200, seed=1),
        "many": write_conversations(folder / "data" / f"many_{many}.jsonl", many, seed=2),
    }
    first = folder / "models" / "narrow"
    tokenizer = AutoTokenizer.from_pretrained(first) if (first / "tokenizer.json").exists() else make_tokenizer(paths["train"])
    for name, vocabulary in MODELS.items():
        paths[name] = make_base(folder / "models" / name, vocabulary, tokenizer)
    paths["adapter"] = make_adapter(folder / "models" / "adapter_wide", paths["wide"])
    return paths
