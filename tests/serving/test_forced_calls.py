"""Forced calls of a model that was never trained: each can be read, and fits its tool."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import openai
import pytest
import torch
from scripted import PROTOCOL_TOKENS, byte_prompts, serving
from tiny_models import VOCABULARY, llama_config
from transformers import LlamaForCausalLM

from xagent.chat.message import Message, ToolCall, ToolSpec
from xagent.chat.protocol import PROTOCOLS
from xagent.inference.local import LocalEngine
from xagent.model.json_grammar import JsonGrammars
from xagent.model.scheduler import Scheduler
from xagent.serving.call_grammar import call_grammars
from xagent.serving.parameters import ChatParameters
from xagent.serving.prompt import call_opening, chat_prompt

pytest.importorskip("llguidance")

SCHEMAS: dict[str, dict[str, Any]] = {
    "book": {
        "type": "object",
        "properties": {
            "city": {"type": "string", "maxLength": 5},
            "days": {"type": "integer", "minimum": 1, "maximum": 30},
            "by": {"enum": ["train", "飞机"]},
        },
        "required": ["city", "days"],
    },
    "lights": {"type": "object", "properties": {"on": {"type": "array", "items": {"type": "boolean"}, "maxItems": 3}}},
    "ping": {},
}
TOOLS = [{"type": "function", "function": {"name": name, "parameters": schema}} for name, schema in SCHEMAS.items()]
SPECS = [ToolSpec(name, "", schema) for name, schema in SCHEMAS.items()]
CALLS = (
    ToolCall("book", {"city": "Paris", "days": 3, "by": "飞机"}),
    ToolCall("ping", {}),
    ToolCall("lights", {"on": [True, False]}),
)


@pytest.fixture(scope="module", params=sorted(PROTOCOLS))
def engine(request: pytest.FixtureRequest) -> Iterator[LocalEngine]:
    """An untrained model that speaks a protocol."""
    torch.manual_seed(0)
    config = llama_config(vocab_size=VOCABULARY + len(PROTOCOL_TOKENS), max_position_embeddings=8192, initializer_range=0.3)
    scheduler = Scheduler(LlamaForCausalLM(config).eval(), max_batch_size=10)
    engine = LocalEngine(scheduler, byte_prompts(request.param))
    yield engine
    engine.close()


def test_twenty_forced_calls_can_all_be_read_and_fit_their_tools(engine: LocalEngine) -> None:
    named = {"type": "function", "function": {"name": "book"}}
    with serving(engine, model_name="untrained", max_tokens=4000) as (_, address):
        with openai.OpenAI(base_url=f"{address}/v1", api_key="EMPTY", max_retries=0, timeout=600) as client:
            request: Any = {"model": "untrained", "messages": [{"role": "user", "content": "Go!"}], "tools": TOOLS, "seed": 1}
            request |= {"n": 10, "temperature": 1.0, "parallel_tool_calls": False}
            choices = [
                choice
                for how in (named, "required")
                for choice in client.chat.completions.create(**request, tool_choice=how).choices
            ]
    calls = [call.function for choice in choices for call in choice.message.tool_calls or ()]
    assert len(calls) == 20 and {choice.finish_reason for choice in choices} == {"tool_calls"}
    assert {call.name for call in calls[:10]} == {"book"} and {call.name for call in calls} > {"book"}
    for call in calls:
        jsonschema.validate(json.loads(call.arguments), {**SCHEMAS[call.name], "additionalProperties": False})
    assert len({call.arguments for call in calls[:10]}) > 5, "drawn, not dictated"


def test_calls_as_they_are_trained_are_what_the_grammar_allows(engine: LocalEngine) -> None:
    prompts = engine.prompts
    grammars = JsonGrammars(prompts.tokenizer, prompts.stop_ids)

    def allows(lark: str, *calls: ToolCall, begun: str = "") -> bool:
        words = prompts.protocol.write_reply(Message("assistant", tool_calls=calls))
        constraint, size = grammars.of_lark(lark), len(prompts.tokenizer)
        for token in prompts.tokenizer(words.removeprefix(begun), add_special_tokens=False).input_ids:
            if not constraint.allowed(size)[token]:
                return False
            constraint.take(token)
        return bool(constraint.allowed(size)[sorted(prompts.stop_ids)].any())

    several, loose = (found.lark for found in call_grammars(prompts, SPECS, "", many=True))
    single = call_grammars(prompts, SPECS, "", many=False)[0].lark
    assert allows(several, *CALLS) and allows(several, *CALLS[::-1]) and all(allows(single, call) for call in CALLS)
    assert not allows(single, *CALLS) and not allows(several, ToolCall("other", {}))
    for arguments in ({"city": "Paris"}, {"city": "Paris", "days": 31}, {"city": "Paris", "days": 3, "other": 1}, {}):
        assert not allows(single, ToolCall("book", arguments)) and allows(loose, ToolCall("book", arguments))
    begun = call_opening(prompts, SPECS, "book", bracket=False)
    named = call_grammars(prompts, SPECS[:1], begun, many=False)[0]
    assert allows(named.lark, CALLS[0], begun=begun) and not allows(named.lark, CALLS[0]) and engine.follows(named)
    assert not allows(named.lark, ToolCall("book", {"city": "Paris"}), begun=begun)


def test_a_schema_that_cant_be_held_still_gives_an_object(engine: LocalEngine) -> None:
    odd: Any = {"name": "odd", "parameters": {"type": "object", "properties": {"x": {"type": "array", "uniqueItems": True}}}}
    request = ChatParameters(
        model="m",
        messages=[{"role": "user", "content": "Go!"}],
        tools=[{"type": "function", "function": odd}],
        tool_choice="required",
    )
    found = chat_prompt(engine.prompts, request, engine.follows)
    grammar = found.lead.grammar if found.lead else found.grammar
    assert grammar is not None and "uniqueItems" not in grammar.lark
    free = chat_prompt(engine.prompts, request, lambda _: False)
    assert (free.lead.grammar if free.lead else free.grammar) is None and (free.ids, free.opening) == (found.ids, found.opening)


def test_a_tool_that_is_called_with_code_is_left_to_the_model() -> None:
    interpreter = ToolSpec("IPythonInterpreter", "", {"type": "object", "properties": {"command": {"type": "string"}}})
    assert call_grammars(byte_prompts("internlm2"), [*SPECS, interpreter], "", many=False) == []
    assert len(call_grammars(byte_prompts("hermes"), [*SPECS, interpreter], "", many=False)) == 2
