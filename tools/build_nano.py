"""Make the untrained nano model: a tokenizer from generated text, and a Llama of random weights.

    python tools/build_nano.py work_dirs/nano_start
    xagent train nano_pretrain --work-dir work_dirs/nano_pretrain
    xagent convert pth_to_hf nano_pretrain work_dirs/nano_pretrain/iter_N.pth work_dirs/nano_first_lesson
    xagent train nano_pretrain_lookups --work-dir work_dirs/nano_lookups
    xagent convert pth_to_hf nano_pretrain_lookups work_dirs/nano_lookups/iter_N.pth work_dirs/nano_second_lesson
    xagent train nano_pretrain_reading --work-dir work_dirs/nano_reading
    xagent convert pth_to_hf nano_pretrain_reading work_dirs/nano_reading/iter_N.pth work_dirs/nano_third_lesson
    xagent train nano_pretrain_planning --work-dir work_dirs/nano_planning
    xagent convert pth_to_hf nano_pretrain_planning work_dirs/nano_planning/iter_N.pth work_dirs/nano_fourth_lesson
    xagent train nano_pretrain_revision --work-dir work_dirs/nano_revision
    xagent convert pth_to_hf nano_pretrain_revision work_dirs/nano_revision/iter_N.pth work_dirs/nano_base
    python tools/build_nano.py --adopt work_dirs/nano_base      # bf16, into xagent/assets/nano/base

The same commands give the same model on the same machine.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from xagent.assets import resolve
from xagent.playground.pretraining import pretraining_records
from xagent.playground.words import TALK_EN

# Llama-3's names for its special tokens.
BOS, EOS, PAD = "<|begin_of_text|>", "<|eot_id|>", "<|finetune_right_pad_id|>"
SPECIAL = [BOS, "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", EOS, "<|eom_id|>", "<|python_tag|>", PAD]
VOCABULARY = 3072
# A value must have the same tokens in a sentence and in JSON: letters, digits, Chinese characters and everything between them are
# cut apart before pairs are merged, so that no token holds a piece of a value and a piece of what stands around it.
PIECES = Regex(r"\p{Han}|[\p{L}&&[^\p{Han}]]+|\p{N}|[^\p{L}\p{N}]+")
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n"
    "{{ message['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)


def corpus() -> Iterator[str]:
    """Give the text that the tokenizer learns from: pretraining text of another seed, and plain words."""
    for record in pretraining_records(10_000, seed=99):
        for message in record["messages"]:
            yield message["content"]
    for word in TALK_EN:
        yield from [word, word.capitalize()] * 60 + [word.upper()] * 30


def train_tokenizer() -> PreTrainedTokenizerFast:
    """Train byte-level BPE on :func:`corpus`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(PIECES, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        corpus(), trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=SPECIAL, initial_alphabet=alphabet)
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS, pad_token=PAD, model_max_length=4096)
    return writing_like_llama(fast)


def writing_like_llama(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """Let a tokenizer put BOS before a text, and write chats, as Llama 3's does."""
    backend = tokenizer.backend_tokenizer
    begin = (BOS, backend.token_to_id(BOS))
    backend.post_processor = processors.TemplateProcessing(f"{BOS} $A", f"{BOS} $A {BOS} $B", [begin])
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def random_model(tokenizer: PreTrainedTokenizerFast, seed: int = 0) -> LlamaForCausalLM:
    """Make the untrained model."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.05,
        max_position_embeddings=4096,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def adopt(trained: Path) -> Path:
    """Copy a trained full model into the package, in bf16."""
    target = resolve("xagent:nano").joinpath("base") if resolve("xagent:nano").is_dir() else Path("xagent/assets/nano/base")
    model = AutoModelForCausalLM.from_pretrained(trained, dtype=torch.bfloat16)
    model.config.use_cache = True
    model.save_pretrained(target)
    writing_like_llama(AutoTokenizer.from_pretrained(trained)).save_pretrained(target)
    return target


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the untrained model goes, or with --adopt the trained one is")
    parser.add_argument("--adopt", action="store_true", help="copy a trained model into xagent/assets/nano/base")
    args = parser.parse_args()
    if args.adopt:
        print(f"wrote {adopt(args.folder)}")
        return
    tokenizer = train_tokenizer()
    model = random_model(tokenizer)
    model.save_pretrained(args.folder)
    tokenizer.save_pretrained(args.folder)
    print(f"wrote {args.folder}: {len(tokenizer)} tokens, {model.num_parameters():,} parameters")


if __name__ == "__main__":
    main()
