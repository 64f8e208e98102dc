"""A reply that a model goes on inside: its ids are a prefix of what training makes of the finished message."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import byte_tokenizer

from xagent.chat.message import Conversation, Message, ToolCall, ToolSpec
from xagent.chat.protocol import PROTOCOLS, get_protocol
from xagent.chat.template import PROMPT_TEMPLATE, render
from xagent.data.encode import encode
from xagent.errors import DataError
from xagent.inference.prompting import PromptBuilder

QUESTION = Message("user", "Is there fire in /tmp/1.jpg?")
BEGUN = "Thought: I look.\nAction: fire\nAction Input: /tmp/1.jpg\nObservation: [{'on_fire': True}]\n"
REST = "Thought: it burns\nFinal Answer: Yes, 北京 burns.\n"


def going_on(prompts: PromptBuilder, before: Conversation, words: str) -> list[int]:
    talk = Conversation((*before.messages, Message("assistant", words)), before.tools)
    return prompts.prompt_ids(talk, continue_last=True)


@pytest.mark.parametrize("name", [*PROMPT_TEMPLATE, "tokenizer"])
@pytest.mark.parametrize("vocabulary", ["llama3", "chatml", "metaspace", "legacy"])
def test_an_unfinished_reply_is_a_prefix_of_the_finished_one(vocabulary: str, name: str, request: pytest.FixtureRequest) -> None:
    tokenizer = request.getfixturevalue(vocabulary)
    prompts = PromptBuilder(tokenizer, name)
    before = Conversation((Message("system", "Be brief."), QUESTION, Message("assistant", "Hm."), QUESTION))
    found = going_on(prompts, before, BEGUN)
    finished = Conversation((*before.messages, Message("assistant", BEGUN + REST)))
    trained = encode(render(finished, prompts.template), tokenizer).input_ids
    assert trained[: len(found)] == found
    begun = prompts.prompt_ids(before)
    assert found[: len(begun)] == begun
    assert BEGUN.strip() in tokenizer.decode(found)
    assert tokenizer.decode(found[-6:]).endswith(BEGUN[-3:])


@pytest.mark.parametrize("protocol", list(PROTOCOLS))
@pytest.mark.parametrize("name", ["llama3_chat", "internlm2_chat"])
def test_a_call_is_gone_on_with_at_any_letter(name: str, protocol: str) -> None:
    """With a token for each byte none stands on both sides of a cut, but for the protocol's own special tokens."""
    marks = list(get_protocol("internlm2").special_tokens)
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(marks, special_tokens=True)
    prompts = PromptBuilder(tokenizer, name, protocol)
    tools = (ToolSpec("查", "Look.", {"type": "object", "properties": {"x": {"type": "string"}}}),)
    before = Conversation((Message("system", "Be brief."), QUESTION), tools)
    reply = Message("assistant", tool_calls=(ToolCall("查", {"x": "<|action_end|>, 1"}),))
    trained = encode(render(Conversation((*before.messages, reply), tools), name, protocol), tokenizer).input_ids
    words = prompts.protocol.render_reply(reply)
    opening = "<|action_start|><|plugin|>" if protocol == "internlm2" else ""
    cuts = [length for length in range(len(words) + 1) if not 0 < length < len(opening)]
    cuts = [length for length in cuts if not opening or length <= words.rindex("<|action_end|>") or length == len(words)]
    for length in cuts:
        found = going_on(prompts, before, words[:length])
        assert trained[: len(found)] == found, words[:length]
    assert opening in words and len(cuts) > 20


@settings(max_examples=30)
@given(words=st.text(max_size=20), rest=st.text(max_size=10), name=st.sampled_from(list(PROMPT_TEMPLATE)))
def test_words_stand_as_they_are(words: str, rest: str, name: str) -> None:
    words, rest = (text.encode(errors="ignore").decode() for text in (words, rest))
    tokenizer = byte_tokenizer()
    prompts = PromptBuilder(tokenizer, name)
    before = Conversation((QUESTION,))
    found = going_on(prompts, before, words)
    finished = Conversation((QUESTION, Message("assistant", words + rest)))
    assert encode(render(finished, name), tokenizer).input_ids[: len(found)] == found
    assert tokenizer.decode(found[len(prompts.prompt_ids(before)) :]) == words


def test_what_cannot_be_gone_on_with_is_refused() -> None:
    prompts = PromptBuilder(byte_tokenizer(), "llama3_chat")
    call = Message("assistant", tool_calls=(ToolCall("f"),))
    for messages, found in (
        ((), "got no message"),
        ((QUESTION,), "got a message of role 'user'"),
        ((QUESTION, call), "got one with calls or reasoning apart"),
        ((QUESTION, Message("assistant", "x", reasoning="y")), "got one with calls or reasoning apart"),
    ):
        with pytest.raises(DataError, match=found):
            prompts.prompt_ids(Conversation(messages), continue_last=True)
