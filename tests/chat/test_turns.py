"""What of a conversation is learned: observations inside replies in every wording, and the options that choose."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xagent.chat.message import Conversation, Message, ToolCall
from xagent.chat.reply import Reply
from xagent.chat.supervision import read_supervision
from xagent.chat.turns import flatten
from xagent.errors import ConfigError


def learned(conversation: Conversation, protocol: str = "react", **options: Any) -> list[str]:
    """Give what is learned of each turn."""
    turns = flatten(conversation, protocol, read_supervision(options))
    return ["".join(text for text, weight in turn.pieces if weight) for turn in turns]


def said(text: str, **options: Any) -> str:
    return learned(Conversation((Message("assistant", text),)), **options)[0]


# Observations inside an assistant's text


INLINE = {
    "react": ("Action: f\nAction Input: {}\n", "Response: WORLD\n{}\n", "Thought: t"),
    "ms_agent": ("Action: f\nAction Input: {'a': 1}\n", "Observation：WORLD\nsays: so\n", "Final Answer: t"),
    "json": ('Action: f\nAction Input: {"a": 1}\n', 'Observation: {"text": "a\nThought: WORLD"}\n', "Thought: t"),
    "arguments": ('Action: f\nAction Input: {"a": "x\nObservation: mine"}\n', "Observation: WORLD\n", "Thought: t"),
    "fenced": ('Action: f\nAction Input: ```json\n{"a": 1}\n```\n', "Observation: WORLD\n", "Thought: t"),
    "hermes": (
        '<tool_call>\n{"name": "f", "arguments": {"x": "<tool_response>"}}\n</tool_call>\n',
        "<tool_response>\nWORLD\n</tool_response>\n<tool_response>\nWORLD\n</tool_response>\n",
        "So it is.",
    ),
    "qwen1": ('✿FUNCTION✿: f\n✿ARGS✿: {"a": 1}\n', "✿RESULT✿: WORLD\n", "✿RETURN✿: t"),
    "internlm2": (
        '<|action_start|><|plugin|>\n{"name": "f", "parameters": {}}<|action_end|><|im_end|>\n',
        "<|im_start|>environment name=<|plugin|>\nWORLD<|im_end|>\n<|im_start|>assistant\n",
        "So it is.",
    ),
    "llama3": (
        '{"name": "f", "parameters": {}}<|eot_id|>',
        "<|start_header_id|>ipython<|end_header_id|>\n\nWORLD<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        "So it is.",
    ),
}


@pytest.mark.parametrize("wording", list(INLINE))
@pytest.mark.parametrize("rules", [None, ["react", "agentflan", "hermes", "qwen"]], ids=["plain", "weighed"])
def test_inline_observations_are_never_learned(wording: str, rules: Any) -> None:
    call, observation, answer = INLINE[wording]
    text = call + observation + answer
    assert said(text, loss_weights=rules) == call + answer
    assert Reply(text).observations[0].start == len(call)


def test_an_observation_at_the_end_teaches_no_end() -> None:
    for wording in ("react", "hermes", "internlm2"):
        call, observation, _ = INLINE[wording]
        turn = flatten(Conversation((Message("assistant", call + observation),)))[0]
        assert turn.suffix_weight == 0.0 and turn.pieces == ((call, 1.0), (observation, 0.0))


@pytest.mark.parametrize(
    "text",
    [
        "Response: Dear Sir,\nObservation: birds sing.",
        "Use the tag <tool_response> for results.",
        "Write Action: and then Observation: on lines of their own.",
        '{"name": "Ann", "age": 3}\nObservation: none',
    ],
)
def test_words_that_look_like_observations_are_the_models_without_a_call(text: str) -> None:
    assert said(text) == text


def test_the_word_that_announces_an_observation_can_be_learned() -> None:
    call, observation, answer = INLINE["ms_agent"]
    options = {"loss_weights": "react", "train_on_observation_keyword": True}
    assert said(call + observation + answer, **options) == f"{call}Observation：{answer}"
    weighed = read_supervision(options).pieces(call + observation + answer, 1.0)
    assert weighed == ((f"{call}Observation：", 2.0), ("WORLD\nsays: so\n", 0.0), (answer, 1.0))


# The options


SYSTEM, ASK = Message("system", "S"), Message("user", "U")
CALL = Message("assistant", "I look.", tool_calls=(ToolCall("f", {"a": 1}), ToolCall("g")))
TALK = Conversation((SYSTEM, ASK, Message("assistant", "A1"), ASK, CALL, Message("tool", "R"), Message("assistant", "A2")))
CALLS = (
    '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>\n<tool_call>\n{"name": "g", "arguments": {}}\n</tool_call>'
)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["", "", "A1", "", f"I look.\n{CALLS}", "", "A2"]),
        ({"train_on_turns": "last"}, ["", "", "", "", "", "", "A2"]),
        ({"train_on_turns": "after_last_user"}, ["", "", "", "", f"I look.\n{CALLS}", "", "A2"]),
        ({"train_on_calls_only": True}, ["", "", "", "", CALLS, "", ""]),
        ({"train_on_roles": ["user"]}, ["", "U", "", "U", "", "", ""]),
        ({"train_on_roles": ["system", "user", "assistant"]}, ["S", "U", "A1", "U", f"I look.\n{CALLS}", "", "A2"]),
        ({"train_on_calls_only": True, "train_on_turns": "last"}, ["", "", "", "", "", "", ""]),
    ],
)
def test_options_choose_what_is_learned(options: dict[str, Any], expected: list[str]) -> None:
    assert learned(TALK, "hermes", **options) == expected


def test_the_records_loss_still_counts() -> None:
    talk = Conversation((Message("user", "U", loss=True), Message("assistant", "A", loss=False), Message("assistant", "B")))
    assert learned(talk) == ["U", "", "B"]
    assert learned(talk, train_on_roles=["assistant"]) == ["", "", "B"]
    assert learned(talk, train_on_roles=["user", "assistant"]) == ["U", "", "B"]
    last_is_not = Conversation((ASK, Message("assistant", "A"), ASK, Message("assistant", "B", loss=False)))
    assert learned(last_is_not, train_on_turns="last") == ["", "", "", ""], "the last turn is the last, learned or not"


def test_results_are_never_learned() -> None:
    talk = Conversation((ASK, CALL, Message("tool", "R", loss=True)))
    assert learned(talk, "hermes", train_on_roles=["system", "user", "assistant"])[2] == ""


@pytest.mark.parametrize(
    ("protocol", "calls"),
    [
        ("react", 'Action:f\nAction Input:{"a": 1}\nAction:g\nAction Input:{}'),
        ("react_ms_agent", 'Action: f\nAction Input: {"a": 1}\nAction: g\nAction Input: {}'),
        ("function_call", 'Action: f\nAction Input: {"a": 1}\nAction: g\nAction Input: {}'),
        ("hermes", CALLS),
        (
            "internlm2",
            '<|action_start|><|plugin|>\n{"name": "f", "parameters": {"a": 1}}<|action_end|>\n'
            '<|action_start|><|plugin|>\n{"name": "g", "parameters": {}}<|action_end|>',
        ),
    ],
)
def test_calls_only_in_each_protocol(protocol: str, calls: str) -> None:
    (turn,) = flatten(Conversation((CALL,)), protocol, read_supervision({"train_on_calls_only": True}))
    assert "".join(text for text, weight in turn.pieces if weight) == calls
    assert turn.suffix_weight == 1.0, "a turn that ends with a call teaches to stop there"


def test_calls_only_in_llama3s_json() -> None:
    one = Message("assistant", tool_calls=(ToolCall("f", {"a": 1}),))
    assert learned(Conversation((one,)), "llama3_json", train_on_calls_only=True) == ['{"name": "f", "parameters": {"a": 1}}']


def test_calls_only_of_an_answer_learns_nothing_of_it() -> None:
    (turn,) = flatten(Conversation((Message("assistant", "Hello"),)), "react", read_supervision({"train_on_calls_only": True}))
    assert turn.pieces == (("Hello", 0.0),) and turn.suffix_weight == 0.0


def test_faults_are_shown_together() -> None:
    with pytest.raises(ConfigError) as caught:
        read_supervision(
            {
                "loss_weights": "x",
                "train_on_roles": ["tool", "narrator"],
                "train_on_turns": "first",
                "train_on_calls_only": 1,
                "protocol": "not ours",
            }
        )
    assert caught.value.faults[1:] == [
        "train_on_roles: tool results are the world's words, which are never learned; choose from system, user, assistant",
        "train_on_roles: unknown role 'narrator'; choose from system, user, assistant",
        "train_on_turns: expected one of all, last, after_last_user, got 'first'",
        "train_on_calls_only: expected True or False, got 1",
    ]
    with pytest.raises(ConfigError, match="train_on_roles: expected a list of roles .*, got 'user'"):
        read_supervision({"train_on_roles": "user"})


MARKS = (
    *(
        "Action: f\n",
        "Action Input: {'q': 1}\n",
        "Observation: w\n",
        "OBSERVATION：w",
        " Response : w\n",
        "✿FUNCTION✿: f\n",
        "✿RESULT✿: w\n",
    ),
    *(
        "<tool_call>",
        "</tool_call>",
        "<tool_response>w</tool_response>\n",
        "<|im_start|>environment w",
        "<|im_start|>assistant\n",
    ),
    *("<|start_header_id|>ipython<|end_header_id|>w", "Thought: t\n", "\n", "words ", "Tool", "✿ARGS✿: {}\n"),
)


@given(st.lists(st.sampled_from(MARKS), max_size=8).map("".join))
def test_replies_without_a_word_of_the_world_hold_no_observation(text: str) -> None:
    reply = Reply(text)
    assert reply.observations == [part for part in reply.parts if part.kind == "observation"]
