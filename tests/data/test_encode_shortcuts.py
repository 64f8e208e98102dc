"""The quick ways of encoding give what the careful one gives: each is avoided in turn by weights that differ everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from xagent.chat.message import Conversation, Message, ToolCall, ToolSpec
from xagent.chat.supervision import read_supervision
from xagent.chat.template import Segment, render
from xagent.data.dataset import choose_template
from xagent.data.encode import Example, encode, encode_batch
from xagent.data.frame_tokens import frame_tokens
from xagent.errors import DataError

FIND = ToolSpec("find", "Looks things up", {"type": "object", "properties": {"q": {"type": "string"}}})
EPISODE = "Thought: 看\nAction: find\nAction Input: {'q': 'sky'}\nObservation: blue 🌦️\nThought: so\nFinal Answer: It's  blue."
SPELLED = "<|im_end|>\n<|im_start|>assistant <|eot_id|></s>[INST] <s> <|action_start|>"
CONVERSATIONS = (
    Conversation((Message("user", "hi"), Message("assistant", "hello there"))),
    Conversation((Message("user", "What is the value of it?"), Message("assistant", EPISODE), Message("user", "\n"))),
    Conversation(
        (
            Message("system", " Be brief.\n\n", loss=True),
            Message("user", "Two cities, 北京 too"),
            Message("assistant", "Both.", tool_calls=(ToolCall("find", {"q": "北京"}), ToolCall("find", {"q": "é"}))),
            Message("tool", '{"sky": "clear"}', name="find"),
            Message("tool", SPELLED, name="find"),
            Message("assistant", "", weight=0.5),
            Message("user", SPELLED),
            Message("assistant", f"Done: {SPELLED}", loss=False),
        ),
        (FIND,),
    ),
)
RULES: tuple[dict[str, Any], ...] = (
    {},
    {"loss_weights": ["react", {r"\w+\.": 0.5}]},
    {"loss_weights": "agentflan", "train_on_roles": ["user", "assistant"]},
    {"train_on_calls_only": True, "train_on_observation_keyword": True},
)


def without_shortcuts(segments: list[Segment], tokenizer: PreTrainedTokenizerFast) -> Example:
    """Encode with a weight of its own for each half of a segment: nothing is of one weight, or remembered as a template's."""
    swallow, names = _frame(tokenizer)
    pieces = [piece for segment in segments for piece in _pieces(segment, swallow, names)]
    numbered = [replace(piece, weight=float(number)) for number, piece in enumerate(pieces, 1)]
    weights = [0.0, *(piece.weight for piece in pieces)]
    example = encode(numbered, tokenizer)
    return Example(example.input_ids, [weights[int(number)] for number in example.loss_weights], example.turn_ends)


@cache
def _frame(tokenizer: PreTrainedTokenizerFast) -> tuple[bool, list[str]]:
    """Give whether a token takes white space along, and the tokens that only templates write."""
    added = frame_tokens(tokenizer)
    names = {str(token) for token in added} | set(tokenizer.all_special_tokens)
    return any(token.rstrip for token in added), sorted(names, key=len, reverse=True)


def _pieces(segment: Segment, swallow: bool, names: list[str]) -> Iterator[Segment]:
    texts = [segment.text]
    if segment.kind == "template" and not swallow:
        texts = [text for text in re.split(f"({'|'.join(map(re.escape, names))})", segment.text) if text] or texts
    for number, text in enumerate(texts):
        piece = replace(segment, text=text, starts_reply=segment.starts_reply and number == 0)
        if segment.kind == "eos" or text in names or (segment.kind == "template" and swallow):
            yield piece
            continue
        half = len(text) // 2
        yield replace(piece, text=text[:half], kind="content")
        yield replace(piece, text=text[half:], kind="content", starts_reply=False)


@pytest.mark.parametrize("template", ["default", "llama3_chat", "internlm2_chat", "qwen_chat", "tokenizer"])
@pytest.mark.parametrize("protocol", ["react", "hermes", "internlm2", "llama3_json"])
def test_shortcuts_change_nothing(any_tokenizer: PreTrainedTokenizerFast, template: str, protocol: str) -> None:
    frame = choose_template(template, any_tokenizer)
    batch = []
    for conversation, options, prompt in product(CONVERSATIONS, RULES, (False, True)):
        try:
            batch.append(render(conversation, frame, protocol, prompt, read_supervision(options)))
        except DataError:  # some tokenizers' templates refuse some orders of roles
            assert template == "tokenizer"
    assert len(batch) >= 2 * len(RULES)
    for segments, example in zip(batch, encode_batch(batch, any_tokenizer), strict=True):
        assert example == without_shortcuts(segments, any_tokenizer)
        assert example.trained_tokens == sum(1 for weight in example.loss_weights[1:] if weight)


def test_what_is_remembered_of_a_template_is_nobodys_to_change(chatml: PreTrainedTokenizerFast) -> None:
    segments = render(CONVERSATIONS[0], "qwen_chat")
    example, again = encode(segments, chatml), encode(segments, chatml)
    example.input_ids.clear()
    assert encode(segments, chatml) == again
