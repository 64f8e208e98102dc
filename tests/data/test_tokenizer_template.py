"""The tokenizer's own Jinja template: which characters are learned, and what real templates do that is out of the ordinary."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from xagent.chat.message import Conversation, Message, ToolCall, ToolSpec
from xagent.chat.protocol import PROTOCOLS
from xagent.chat.template import render, to_text
from xagent.data.encode import IGNORE_INDEX, encode
from xagent.data.tokenizer_template import TokenizerTemplate
from xagent.errors import DataError

PROMPT = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
MARKED = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}\n{% else %}{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
    + PROMPT
)
# The system message stands inside the first user message, and the reply ends with a space of the template's (Llama 2's own).
LLAMA2 = (
    "{% if messages[0].role == 'system' %}{% set loop_messages = messages[1:] %}{% set system = messages[0].content %}"
    "{% else %}{% set loop_messages = messages %}{% set system = false %}{% endif %}{% for m in loop_messages %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
    "{% if m.role == 'user' %}{{ '[INST] ' }}"
    "{% if loop.first and system %}{{ '<<SYS>>\n' + system + '\n<</SYS>>\n\n' }}{% endif %}"
    "{{ m.content.strip() + ' [/INST]' }}{% else %}{{ ' ' + m.content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
# A thought in the last reply only (Qwen3's own, in short).
QWEN3 = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
    "{{ m.content }}<|im_end|>\n{% endfor %}" + PROMPT
)
GEMMA = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for m in messages %}"
    "<|im_start|>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>model\n{% endif %}"
)
QUESTION, ANSWER = Message("user", "2 + 2?"), Message("assistant", "Four, I think.")
TALK = Conversation((Message("system", "Count."), QUESTION, ANSWER, Message("user", "Sure?"), Message("assistant", "Yes.")))


def with_template(tokenizer: PreTrainedTokenizerFast, jinja: str) -> PreTrainedTokenizerFast:
    changed = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer, eos_token=tokenizer.eos_token, bos_token=tokenizer.bos_token
    )
    changed.chat_template = jinja
    return changed


def learned(talk: Conversation, tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """Give the text of each stretch of trained tokens."""
    example = encode(render(talk, TokenizerTemplate(tokenizer)), tokenizer)
    stretches: list[list[int]] = [[]]
    for label in example.labels:
        if label == IGNORE_INDEX:
            stretches.append([])
        else:
            stretches[-1].append(label)
    return [tokenizer.decode(ids, clean_up_tokenization_spaces=False) for ids in stretches if ids]


# Generation markers


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).filter(lambda text: "<|" not in text)


@settings(max_examples=40, deadline=None)
@given(words=st.lists(WORDS, min_size=1, max_size=5))
def test_marked_spans_are_those_of_transformers(words: list[str], chatml: PreTrainedTokenizerFast) -> None:
    tokenizer = with_template(chatml, MARKED)
    messages = [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(words)]
    theirs = tokenizer.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
    talk = Conversation(tuple(Message(message["role"], message["content"]) for message in messages))
    example = encode(render(talk, TokenizerTemplate(tokenizer)), tokenizer)
    if example.input_ids == theirs["input_ids"]:  # else a token would reach over the edge of a reply, and the edge wins
        assert [int(weight > 0) for weight in example.loss_weights] == theirs["assistant_masks"]
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    assert to_text(render(talk, TokenizerTemplate(tokenizer))) == text
    replies = "".join(f"{text}<|im_end|>" for text in words[1::2])
    assert to_text(segment for segment in render(talk, TokenizerTemplate(tokenizer)) if segment.weight) == replies


def test_marked_ids_and_mask_are_those_of_transformers(any_tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer = with_template(any_tokenizer, MARKED)
    messages = [{"role": message.role, "content": message.content} for message in TALK.messages]
    theirs = tokenizer.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
    example = encode(render(TALK, TokenizerTemplate(tokenizer)), tokenizer)
    skip = len(example) - len(theirs["input_ids"])
    assert skip == len(tokenizer("").input_ids), "encode puts the BOS before a text that has none"
    assert example.input_ids[skip:] == theirs["input_ids"]
    assert [int(weight > 0) for weight in example.loss_weights[skip:]] == theirs["assistant_masks"]


def test_markers_decide_what_of_the_turns_end_is_learned(chatml: PreTrainedTokenizerFast) -> None:
    words_only = MARKED.replace(
        "{{ m.content }}<|im_end|>{% endgeneration %}\n", "{{ m.content }}{% endgeneration %}<|im_end|>\n"
    )
    assert learned(TALK, with_template(chatml, words_only)) == ["Four, I think.", "Yes."]
    line_end = MARKED.replace("<|im_end|>{% endgeneration %}\n", "<|im_end|>\n{% endgeneration %}")
    assert learned(TALK, with_template(chatml, line_end)) == ["Four, I think.<|im_end|>\n", "Yes.<|im_end|>\n"]


def test_what_stands_between_prompt_and_marker_is_not_learned(chatml: PreTrainedTokenizerFast) -> None:
    tokenizer = with_template(chatml, MARKED.replace("{% generation %}", "{{ '<think>\n\n</think>\n\n' }}{% generation %}"))
    assert learned(TALK, tokenizer) == ["Four, I think.<|im_end|>", "Yes.<|im_end|>"]
    segments = render(TALK, TokenizerTemplate(tokenizer))
    first = next(segment for segment in segments if segment.starts_reply)
    assert (first.text, first.weight) == ("<think>\n\n</think>\n\n", 0.0), "the reply begins where the prompt ends"


def test_a_marker_around_the_header_does_not_train_the_prompt(chatml: PreTrainedTokenizerFast) -> None:
    tokenizer = with_template(
        chatml,
        "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}<|im_start|>assistant\n{{ m.content }}<|im_end|>\n"
        "{% endgeneration %}{% else %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}" + PROMPT,
    )
    assert learned(TALK, tokenizer) == ["Four, I think.<|im_end|>\n", "Yes.<|im_end|>\n"]


def test_loss_false_outweighs_markers(chatml: PreTrainedTokenizerFast) -> None:
    silent = replace(ANSWER, loss=False)
    talk = Conversation((QUESTION, silent, replace(QUESTION, loss=True), ANSWER))
    assert learned(talk, with_template(chatml, MARKED)) == ["2 + 2?<|im_end|>", "Four, I think.<|im_end|>"]


def test_markers_in_strange_places_are_refused(chatml: PreTrainedTokenizerFast) -> None:
    last_only = MARKED.replace("{% if m.role == 'assistant' %}", "{% if m.role == 'assistant' and loop.last %}")
    with pytest.raises(DataError, match="has generation markers, but none around message 2, which is to be learned"):
        render(TALK, TokenizerTemplate(with_template(chatml, last_only)))
    silent = Conversation(tuple(replace(message, loss=False) if message is ANSWER else message for message in TALK.messages))
    assert learned(silent, with_template(chatml, last_only)) == ["Yes.<|im_end|>"]
    others = MARKED.replace("m.role == 'assistant'", "m.role == 'user'")
    with pytest.raises(DataError, match="does not enclose exactly one reply"):
        render(TALK, TokenizerTemplate(with_template(chatml, others)))


# Without markers: from the prompt's end to the turn's


def test_a_system_message_inside_the_user_message(any_tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer = with_template(any_tokenizer, LLAMA2)
    segments = render(TALK, TokenizerTemplate(tokenizer))
    text = "[INST] <<SYS>>\nCount.\n<</SYS>>\n\n2 + 2? [/INST] Four, I think. EOS[INST] Sure? [/INST] Yes. EOS"
    assert to_text(segments).replace(tokenizer.eos_token, "EOS") == text
    taught = to_text(segment for segment in segments if segment.weight)
    assert taught.replace(tokenizer.eos_token, "EOS") == " Four, I think. EOS Yes. EOS"
    with pytest.raises(DataError, match="refuses this conversation: roles must alternate"):
        render(Conversation((QUESTION, QUESTION, ANSWER)), TokenizerTemplate(tokenizer))


def test_a_thought_that_only_the_last_reply_has_is_learned_there(chatml: PreTrainedTokenizerFast) -> None:
    assert learned(TALK, with_template(chatml, QWEN3)) == ["Four, I think.<|im_end|>", "<think>\n\n</think>\n\nYes.<|im_end|>"]


def test_a_template_without_system_messages_says_so(chatml: PreTrainedTokenizerFast) -> None:
    template = TokenizerTemplate(with_template(chatml, GEMMA))
    with pytest.raises(DataError, match="refuses this conversation: System role not supported; use a named template"):
        render(TALK, template)
    assert to_text(render(Conversation(TALK.messages[1:3]), template)).startswith(
        "<|im_start|>user\n2 + 2?<|im_end|>\n<|im_start|>model\n"
    )
    assert template.STOP_WORDS == ("<|im_end|>",)


def test_a_conversation_may_begin_with_the_assistant(chatml: PreTrainedTokenizerFast) -> None:
    plain = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}" + PROMPT
    assert learned(Conversation((ANSWER,)), with_template(chatml, plain)) == ["Four, I think.<|im_end|>"]
    prompt = render(Conversation(()), TokenizerTemplate(with_template(chatml, plain)), add_generation_prompt=True)
    assert to_text(prompt) == "<|im_start|>assistant\n"
    with pytest.raises(DataError, match="refuses this conversation"):
        render(Conversation((ANSWER,)), TokenizerTemplate(with_template(chatml, LLAMA2)))


def test_what_a_template_adds_depending_on_the_words_is_refused(chatml: PreTrainedTokenizerFast) -> None:
    echoing = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if 'Yes' in messages[-1].content %}<|im_start|>{% endif %}" + PROMPT
    )
    with pytest.raises(DataError, match="adds something behind the last message that depends on it"):
        render(TALK, TokenizerTemplate(with_template(chatml, echoing)))


def test_errors_of_a_template_are_faults_of_the_record(chatml: PreTrainedTokenizerFast) -> None:
    for broken in ("{{ messages[0].content + 1 }}", "{{ messages.nothing.at.all }}", "{% if %}"):
        with pytest.raises(DataError, match="the tokenizer's chat template refuses this conversation"):
            render(TALK, TokenizerTemplate(with_template(chatml, broken)))


def test_the_stop_word_is_the_token_that_the_turns_end_begins_with(chatml: PreTrainedTokenizerFast) -> None:
    twofold = "{% for m in messages %}{{ m.content }}<|im_end|><|endoftext|>\n{% endfor %}"
    tokenizer = with_template(chatml, twofold)
    tokenizer.eos_token = "<|endoftext|>"
    assert TokenizerTemplate(tokenizer).STOP_WORDS == ("<|im_end|>", "<|endoftext|>")


@pytest.mark.parametrize("jinja", [MARKED, LLAMA2, QWEN3])
@pytest.mark.parametrize("protocol", list(PROTOCOLS))
def test_prompts_are_prefixes_of_the_trained_ids(any_tokenizer: PreTrainedTokenizerFast, jinja: str, protocol: str) -> None:
    tokenizer = with_template(any_tokenizer, jinja)
    template = TokenizerTemplate(tokenizer)
    call = Message("assistant", "", tool_calls=(ToolCall("look", {"a": "{x}"}),))
    tool = ToolSpec("look", "Looks", {"type": "object", "properties": {"a": {"type": "string"}}})
    calling = (QUESTION, call, Message("tool", "W\n"), ANSWER)
    talks = [TALK, Conversation((*TALK.messages, *calling)), Conversation((*TALK.messages, *calling), (tool,))]
    talks.append(Conversation(calling, (tool,)))
    for talk in talks:
        trained = encode(render(talk, template, protocol), tokenizer)
        for place, message in enumerate(talk.messages):
            if message.role == "assistant":
                before = Conversation(talk.messages[:place], talk.tools)
                prompt = encode(render(before, template, protocol, add_generation_prompt=True), tokenizer).input_ids
                assert trained.input_ids[: len(prompt)] == prompt
                assert trained.loss_weights[len(prompt) - 1] == 0.0 and trained.loss_weights[len(prompt)] == 1.0
