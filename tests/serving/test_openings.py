"""How a reply is begun for the model: with tokens that begin what was trained, in a tokenizer that joins signs and spaces."""

from __future__ import annotations

from typing import Any

import pytest
from scripted import PROTOCOL_TOKENS
from transformers import AutoTokenizer

from xagent.assets import resolve
from xagent.chat.message import Conversation, Message, ToolCall, ToolSpec
from xagent.chat.protocol import PROTOCOLS
from xagent.chat.template import render
from xagent.data.encode import encode
from xagent.inference.prompting import PromptBuilder
from xagent.serving.parameters import ChatParameters
from xagent.serving.prompt import answer_opening, call_opening, chat_prompt

ASK = Message("user", "Rain?")
CALLS = (ToolCall("weather", {"city": "Paris"}), ToolCall("news", {}), ToolCall("查", {"2nd": [1]}))
TOOLS = tuple(
    ToolSpec(call.name, "", {"type": "object", "properties": {name: {"type": "string"} for name in call.arguments}})
    for call in CALLS
)


def nano_prompts(protocol: str) -> PromptBuilder:
    tokenizer = AutoTokenizer.from_pretrained(resolve("xagent:nano/base"))
    if protocol == "internlm2":
        tokenizer.add_special_tokens({"additional_special_tokens": list(PROTOCOL_TOKENS)})
    return PromptBuilder(tokenizer, "llama3_chat", protocol)


def trained(prompts: PromptBuilder, reply: Message) -> list[int]:
    return encode(render(Conversation((ASK, reply), TOOLS), prompts.template, prompts.protocol), prompts.tokenizer).input_ids


def begun(prompts: PromptBuilder, opening: str) -> list[int]:
    return prompts.prompt_ids(Conversation((ASK, Message("assistant", opening)), TOOLS), continue_last=True)


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_a_forced_call_begins_as_it_was_trained(protocol: str) -> None:
    prompts = nano_prompts(protocol)
    any_call = call_opening(prompts, TOOLS)
    for call in CALLS:
        ids = trained(prompts, Message("assistant", tool_calls=(call,)))
        named = [call_opening(prompts, TOOLS, call.name, bracket) for bracket in (True, False)]
        for opening in (any_call, *named):
            assert opening, "something is forced"
            start = begun(prompts, opening)
            assert start == ids[: len(start)], opening
        assert all(call.name in opening for opening in named), "the named tool is"


def test_the_rest_of_a_begun_token_is_left_to_the_model() -> None:
    prompts = nano_prompts("function_call")
    assert call_opening(prompts, TOOLS) == "Action", "the colon is one token with the space behind it"
    assert call_opening(prompts, TOOLS, "weather") == "Action: weather\nAction Input"
    assert prompts.up_to_token("Action: weather", "\n") == "Action: weather"
    assert prompts.up_to_token(":", " x") == ":", "nothing shorter is left"


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_an_answer_that_must_be_begins_as_it_was_trained(protocol: str) -> None:
    prompts = nano_prompts(protocol)
    opening = answer_opening(prompts)
    ids, start = trained(prompts, Message("assistant", "It rains.")), begun(prompts, opening) if opening else []
    assert start == ids[: len(start)] and bool(opening) == protocol.startswith("react")


def test_before_a_grammar_nothing_is_left_to_the_model() -> None:
    call: Any = {"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    messages = [{"role": "user", "content": "Rain?"}, {"role": "assistant", "tool_calls": [call]}]
    messages.append({"role": "tool", "tool_call_id": "a", "content": "rain"})
    prompts = nano_prompts("react_ms_agent")
    for form, opening in (("text", "Final Answer"), ("json_object", "Final Answer:")):
        request = ChatParameters(model="m", messages=messages, response_format={"type": form})
        assert chat_prompt(prompts, request).opening == opening
