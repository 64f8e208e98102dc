"""Prompts, stop tokens, and what a model's directory says about how to talk to it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from agent_fixtures import tiny_model, tiny_tokenizer

from xagent.agent.lagent_llm import load_agent_llm
from xagent.chat.message import Conversation, Message, ToolCall, ToolSpec
from xagent.chat.protocol import PROTOCOLS
from xagent.chat.template import render
from xagent.data.encode import encode
from xagent.errors import CheckpointError, ConfigError, DataError
from xagent.inference.prompting import AgentSettings, PromptBuilder, load_agent_settings

HELLO = Conversation((Message("system", "Be brief."), Message("user", "Hi <|eot_id|>")))


def test_a_prompt_ends_where_the_reply_begins_and_data_is_no_special_token() -> None:
    tokenizer = tiny_tokenizer()
    ids = PromptBuilder(tokenizer, "llama3_chat").prompt_ids(HELLO)
    assert ids.count(tokenizer.convert_tokens_to_ids("<|eot_id|>")) == 2
    assert tokenizer.decode(ids) == (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nHi <|eot_id|><|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    )


@pytest.mark.parametrize(
    "template, stops",
    [
        ("llama3_chat", {"<|eot_id|>"}),
        ("qwen_chat", {"<|im_end|>", "<|eot_id|>"}),
        ("tokenizer", {"<|eot_id|>"}),
        ("default", {"<|eot_id|>"}),
    ],
)
def test_stop_words_and_eos_end_a_reply(template: str, stops: set[str]) -> None:
    tokenizer = tiny_tokenizer()
    builder = PromptBuilder(tokenizer, template)
    assert builder.stop_ids == {tokenizer.convert_tokens_to_ids(stop) for stop in stops}
    assert builder.text([*tokenizer("你好", add_special_tokens=False).input_ids, *builder.stop_ids]) == "你好"


def test_a_tokenizer_that_knows_no_end_is_refused() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(ConfigError, match="nothing would end a reply"):
        PromptBuilder(tokenizer, "default")
    tokenizer.chat_template = None
    with pytest.raises(DataError, match="needs a tokenizer with a chat template"):
        PromptBuilder(tokenizer)


def test_settings_come_from_xagent_json_then_from_the_defaults(tmp_path: Path) -> None:
    assert load_agent_settings(tmp_path) == AgentSettings("tokenizer", "react")
    (tmp_path / "xagent.json").write_text(json.dumps({"template": "llama3_chat", "base_model": "x", "new key": 1}))
    assert load_agent_settings(tmp_path, AgentSettings("qwen_chat", "react_zh")) == AgentSettings("llama3_chat", "react_zh")
    (tmp_path / "xagent.json").write_text("[")
    with pytest.raises(CheckpointError, match=r"xagent.json: is no JSON object"):
        load_agent_settings(tmp_path)


def test_a_protocol_of_another_version_is_named_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "xagent.json").write_text(json.dumps({"protocol": "hermess", "xagent_version": "9.0"}))
    with pytest.raises(ConfigError, match=r"xagent.json: unknown protocol 'hermess'; did you mean hermes.*xagent 9.0, this is"):
        load_agent_settings(tmp_path)
    (tmp_path / "xagent.json").write_text(json.dumps({"protocol": ["hermes"]}))
    with pytest.raises(CheckpointError, match=r"xagent.json: 'protocol' must be a name, got \['hermes'\]"):
        load_agent_settings(tmp_path)


@pytest.mark.parametrize("protocol", list(PROTOCOLS))
def test_a_reply_is_read_from_its_ids(protocol: str) -> None:
    """Special tokens that a protocol writes calls with are text of the reply; others are not."""
    tokenizer = tiny_tokenizer()
    prompts = PromptBuilder(tokenizer, "internlm2_chat", protocol)
    message = Message("assistant", tool_calls=(ToolCall("查", {"x": "<|action_end|>"}), ToolCall("g")))
    talk = Conversation((*HELLO.messages, message), (ToolSpec("g"),))
    begun = Conversation(talk.messages[:-1], talk.tools)
    ids = encode(render(talk, "internlm2_chat", protocol), tokenizer).input_ids[len(prompts.prompt_ids(begun)) :]
    text = prompts.text(ids)
    assert prompts.protocol.parse(text).calls == message.tool_calls
    assert text == prompts.protocol.render_reply(message)
    actions = tokenizer.convert_tokens_to_ids(["<|action_start|>", "<|plugin|>", "<|action_end|>"])
    assert [token for token in ids if token in actions] == (actions * 2 if protocol == "internlm2" else [])


def test_a_model_is_loaded_as_it_was_trained_to_be_talked_to(tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    (tmp_path / "xagent.json").write_text(json.dumps({"template": "llama3_chat", "protocol": "react_zh"}))
    llm = load_agent_llm(tmp_path, device="cpu", max_new_tokens=4)
    assert (llm.prompts.template.name, llm.prompts.protocol.name) == ("llama3_chat", "react_zh")
    assert isinstance(llm.chat([{"role": "user", "content": "Hi"}]), str)
