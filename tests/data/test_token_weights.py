"""Loss weights of tokens: rules reach tokens of a text that is tokenised once, from the config on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_models import byte_tokenizer
from transformers import PreTrainedTokenizerFast

from xagent.chat.message import Conversation, Message
from xagent.chat.reply import Reply
from xagent.chat.supervision import read_supervision
from xagent.chat.template import PROMPT_TEMPLATE, render
from xagent.chat.weights import WEIGHT_RULES
from xagent.config.checks import combination_faults
from xagent.data import process_hf_dataset, template_map_fn_factory
from xagent.data.dataset import Learning, Reading, learning_faults, open_records
from xagent.data.encode import encode
from xagent.data.formats import openai_map_fn
from xagent.errors import ConfigError

PARTS = [
    ("Thought: look\n", "t"),
    ("Action:", "k"),
    (" f\n", "c"),
    ("Action Input:", "k"),
    (' {"q": "a\nThought: b"}\n', "c"),
    ("Observation: W\n", "o"),
    ("Final Answer: x", "t"),
]
TALK = Conversation((Message("user", "q"), Message("assistant", "".join(text for text, _ in PARTS))))
WEIGHTS = {
    "react": {"t": 1.0, "k": 2.0, "c": 2.0, "o": 0.0},
    "alpha_umi": {"t": 1.0, "k": 2.0, "c": 2.0, "o": 0.0},
    "agentflan": {"t": 1.0, "k": 1.0, "c": 3.0, "o": 0.0},
    "hermes": {"t": 1.0, "k": 1.0, "c": 1.0, "o": 0.0},
    "qwen": {"t": 1.0, "k": 1.0, "c": 1.0, "o": 0.0},
}


@pytest.mark.parametrize("rule", list(WEIGHT_RULES))
def test_golden_token_weights_of_a_react_reply(rule: str) -> None:
    """One token a byte: the weights can be written down."""
    tokenizer = byte_tokenizer()
    example = encode(render(TALK, "llama3_chat", supervision=read_supervision({"loss_weights": rule})), tokenizer)
    reply = [WEIGHTS[rule][kind] for text, kind in PARTS for _ in text.encode()]
    assert example.loss_weights == [0.0] * (len(example) - len(reply) - 1) + reply + [1.0]


@pytest.mark.parametrize("rule", list(WEIGHT_RULES))
def test_a_token_weighs_what_its_first_character_weighs(any_tokenizer: PreTrainedTokenizerFast, rule: str) -> None:
    plain, weighed = (
        encode(render(TALK, "qwen_chat", supervision=read_supervision({"loss_weights": rules})), any_tokenizer)
        for rules in (None, rule)
    )
    assert weighed.input_ids == plain.input_ids, "weights never change how a text is tokenised"
    assert set(weighed.loss_weights) == {0.0, 1.0, *WEIGHTS[rule].values()}


RECORD = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": TALK.messages[1].content}]}


def prepared(path: Path, tokenizer: PreTrainedTokenizerFast, **options: Any) -> list[float]:
    rows = process_hf_dataset(str(path), tokenizer, 200, openai_map_fn, template="llama3_chat", **options)
    return [float(weight) for weight in rows[0]["loss_weights"]]


class Halve:
    """A rule of one's own, as a config names it: ``dict(type=Halve, factor=...)``."""

    def __init__(self, factor: float = 0.5) -> None:
        self.factor = factor

    def spans(self, reply: Reply) -> list[tuple[int, int, float]]:
        """Weigh the whole reply."""
        return [(0, len(reply.text), self.factor)]


def test_options_reach_the_tokens_and_the_cache_tells_them_apart(cache: Path, write_jsonl: Callable[..., Path]) -> None:
    path, tokenizer = write_jsonl(RECORD), byte_tokenizer()
    calls = sum(len(text) for text, kind in PARTS if kind in "kc")
    answer = sum(len(text) for text, kind in PARTS if kind == "t")
    assert sum(prepared(path, tokenizer)) == calls + answer + 1
    assert sum(prepared(path, tokenizer, loss_weights="react")) == 2 * calls + answer + 1
    assert sum(prepared(path, tokenizer, loss_weights={"Action:": [2, 2]})) == 2 * calls + answer + 1
    assert sum(prepared(path, tokenizer, loss_weights=["react", dict(type=Halve)])) == calls + answer / 2 + 1
    assert sum(prepared(path, tokenizer, loss_weights=dict(type=Halve, factor=0.25))) == (calls + answer) / 4 + 1
    assert sum(prepared(path, tokenizer, train_on_calls_only=True)) == calls
    assert sum(prepared(path, tokenizer, train_on_roles=["user"])) == len("q") + 1
    kept = prepared(path, tokenizer, train_on_observation_keyword=True)
    assert sum(kept) == calls + answer + 1 + len("Observation:")


def test_whoever_looks_at_data_gets_the_same_weights(write_jsonl: Callable[..., Path]) -> None:
    table, encoder = open_records(
        str(write_jsonl(RECORD)),
        byte_tokenizer(),
        200,
        Reading(dataset_map_fn=openai_map_fn, template="llama3_chat", learning=Learning("react")),
    )
    read = encoder.read(table[0], 0)
    assert {segment.weight for segment in read.segments} == {0.0, 1.0, 2.0}


def test_faults_are_found_when_the_config_loads() -> None:
    node = dict(
        type=process_hf_dataset,
        tokenizer=None,
        max_length=8,
        dataset="x",
        loss_weights=["raect", dict(type=Halve)],
        train_on_roles=["tool"],
    )
    faults = list(combination_faults("train_dataloader.dataset", node))
    assert len(faults) == 2
    assert faults[0].startswith("train_dataloader.dataset.loss_weights.0: no rule is called 'raect'; did you mean 'react'?")
    assert faults[1].startswith("train_dataloader.dataset.train_on_roles: tool results are the world's words")
    assert list(learning_faults({"loss_weights": dict(type=Halve)})) == []


def test_unknown_templates_and_protocols_are_found_when_the_config_loads() -> None:
    described = dict(type=template_map_fn_factory, template="llama9_chat")
    node = dict(type=process_hf_dataset, tokenizer=None, max_length=8, dataset="x", template="qwen_chta", protocol="raect")
    faults = [*combination_faults("a.template_map_fn", described), *combination_faults("a", node)]
    assert [fault.partition(": ")[0] for fault in faults] == ["a.template_map_fn.template", "a.template", "a.protocol"]
    assert "llama3_chat" in faults[0] and "qwen_chat" in faults[1] and "react" in faults[2]
    known = {**node, "template": "tokenizer", "protocol": "qwen"}
    assert list(combination_faults("a", known)) == []
    assert list(combination_faults("a", {**described, "template": PROMPT_TEMPLATE.llama3_chat})) == []


def test_what_a_described_rule_gives_is_checked(cache: Path, write_jsonl: Callable[..., Path]) -> None:
    with pytest.raises(ConfigError, match="loss_weights: expected the name of a rule"):
        prepared(write_jsonl(RECORD), byte_tokenizer(), loss_weights=dict(type=int))
