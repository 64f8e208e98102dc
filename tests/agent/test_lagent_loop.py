"""Lagent's own loop over our model: its prompts are what was trained, its calls are never lost."""

from __future__ import annotations

import pytest
from agent_fixtures import Reciter, tiny_model, tiny_tokenizer
from lagent.actions import ActionExecutor
from lagent.actions.base_action import BaseAction, tool_api
from lagent.agents.react import CALL_PROTOCOL_CN, ReActProtocol
from lagent.schema import ActionReturn, ActionStatusCode
from scripted_engine import Said, ScriptedEngine, ScriptedStream

from xagent.agent.lagent_llm import EngineLLM, LagentLLM
from xagent.agent.lagent_tools import ObjectParser, PlaygroundAction, playground_actions
from xagent.agent.languages import system_language
from xagent.agent.react import XAgentProtocol, build_react_agent
from xagent.agent.transcript import to_conversation
from xagent.chat.message import Conversation, Message, ToolCall, ToolSpec
from xagent.chat.protocol import PROTOCOLS, get_protocol
from xagent.chat.protocol.react import describe_tool, read_description
from xagent.chat.template import render, to_text
from xagent.data.dataset import choose_template
from xagent.errors import ConfigError
from xagent.inference.prompting import PromptBuilder
from xagent.model.generation import Generator
from xagent.playground import KINDS, TOOLS, episodes_to_conversation, generate_episodes


class Scripted:
    """A language model that says these replies and remembers what it was shown."""

    def __init__(self, *replies: str) -> None:
        self.replies, self.shown = list(replies), []

    def chat(self, messages, **settings) -> str:
        self.shown.append([dict(message) for message in messages])
        return self.replies[len(self.shown) - 1]


class Adder(BaseAction):
    """An action as Lagent's users write them."""

    @tool_api
    def run(self, first: int, note: str = "") -> str:
        """Add one.

        Args:
            first (int): the number
            note (str): a note
        """
        return str(int(first) + 1)


def specs(*names: str, language: str = "en") -> list[ToolSpec]:
    return [TOOLS[name].spec(language) for name in names]


@pytest.mark.parametrize("template", ["llama3_chat", "internlm2_chat", "qwen_chat", "tokenizer"])
@pytest.mark.parametrize("protocol", list(PROTOCOLS))
def test_every_prompt_of_the_loop_is_a_prefix_of_what_was_trained(template: str, protocol: str) -> None:
    episodes = [next(generate_episodes(1, seed, kinds=[kind])) for kind in KINDS for seed in (1, 2)]
    conversations = [episodes_to_conversation([episode]) for episode in episodes]
    tokenizer = tiny_tokenizer()
    frame = choose_template(template, tokenizer)
    if template == "tokenizer":
        pytest.importorskip("jinja2")
    reciter = Reciter(conversations, tokenizer, frame, protocol)
    llm = LagentLLM(reciter, PromptBuilder(tokenizer, template, protocol))
    for episode in episodes:
        agent = build_react_agent(llm, playground_actions(episode.tools), system_language(protocol))
        outcome = agent.chat(episode.question)
        assert outcome.response == episode.answer
        assert len(reciter.batches) == len(episode.steps) + 1
        reciter.batches.clear()


@pytest.mark.parametrize("language, protocol", [("en", "react"), ("zh", "react_zh")])
def test_the_prompt_is_lagents_own_byte_for_byte(language: str, protocol: str) -> None:
    tools = specs("add_numbers", "phone_extension", language=language)
    theirs = ReActProtocol(call_protocol=CALL_PROTOCOL_CN) if language == "zh" else ReActProtocol()
    actions = ActionExecutor(playground_actions(tools))
    history = [{"role": "user", "content": "1 + 1?"}]
    ours = XAgentProtocol(language)
    assert ours.format([], history, actions) == theirs.format([], history, actions)
    assert ours.format([], history, actions)[0]["content"] == get_protocol(protocol).render_system(tools)
    forced = ours.format([], history, actions, force_stop=True)
    assert [message["role"] for message in forced] == ["system", "user", "system"]


def test_tools_are_described_as_in_training() -> None:
    (tool,) = specs("add_numbers")
    assert PlaygroundAction(tool).description == describe_tool(tool)
    assert describe_tool(read_description(describe_tool(tool))) == describe_tool(tool)
    with pytest.raises(ConfigError, match="no playground tools: nonsense"):
        playground_actions([ToolSpec("nonsense")])


def test_a_result_a_fault_and_unicode_come_back_as_they_are() -> None:
    (tool,) = specs("add_numbers")
    action = PlaygroundAction(tool)
    right = action('{"first": 2, "second": 3}')
    assert (right.state, right.format_result(), right.args) == (0, "5", {"first": 2, "second": 3})
    python = action("{'first': 2, 'second': 3}")
    assert python.format_result() == "5"
    fault = action('{"first": "two", "second": 3}')
    assert fault.state == ActionStatusCode.ARGS_ERROR and "'first' must be a number" in fault.errmsg
    missing = action("{}")
    assert missing.errmsg == "missing parameter 'first'"
    text = "中文 ñ ق 🙂 €"
    assert ObjectParser(action).parse_outputs(text) == [{"type": "text", "content": text}]


def test_an_input_is_read_and_never_evaluated() -> None:
    action = PlaygroundAction(specs("add_numbers")[0])
    for text in ("__import__('os').getcwd()", "{'first': 1 + 1, 'second': 3}", '{"first": 1} {"second": 2}', "", "[1, 2]"):
        refused = action(text)
        assert refused.state == ActionStatusCode.ARGS_ERROR and "must be one JSON object" in refused.errmsg


def test_the_first_of_several_calls_is_run_and_the_observation_says_so() -> None:
    one, two = (f'Action:add_numbers\nAction Input:{{"first": {number}, "second": 1}}' for number in (1, 2))
    llm = Scripted(f"Thought:both\n{one}\n{two}", "Final Answer:2")
    outcome = build_react_agent(llm, playground_actions(specs("add_numbers"))).chat("?")
    assert outcome.response == "2"
    shown = llm.shown[1][-1]
    assert shown == {"role": "system", "content": "Response:2\n(the first of 2 calls was run; make one call in each turn)\n"}


@pytest.mark.parametrize(
    "reply, observation",
    [
        ('Action:add_numbers\nAction Input:{"first": 1', "Please follow the format"),
        ("Action:add_numbers", "Please follow the format"),
        ("hello there", "Please follow the format"),
        ("", "Please follow the format"),
        ("Action:sub_numbers\nAction Input:{}", "there is no tool 'sub_numbers'; the tools are: add_numbers"),
        ("Action:a.b.c\nAction Input:{}", "there is no tool 'a.b.c'; the tools are: add_numbers"),
        ("Action:NoAction.x\nAction Input:{}", "there is no tool 'NoAction.x'; the tools are: add_numbers"),
        ('Action:add_numbers\nAction Input:{"first": 1}', "missing parameter 'second'"),
    ],
)
def test_the_loop_goes_on_after_a_bad_reply(reply: str, observation: str) -> None:
    llm = Scripted(reply, "Thought:now\nFinal Answer: done")
    outcome = build_react_agent(llm, playground_actions(specs("add_numbers"))).chat("?")
    assert outcome.response == "done"
    assert llm.shown[1][-1]["content"] == f"Response:{observation}\n"


def test_a_tool_whose_name_has_dots_is_found() -> None:
    class Echo(PlaygroundAction):
        def run(self, arguments: dict) -> ActionReturn:
            return ActionReturn(arguments, type=self.name, result=self._parser.parse_outputs(arguments["text"]))

    tool = ToolSpec(
        "Search.web.find", "Echo.", {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    )
    llm = Scripted('Action:Search.web.find\nAction Input:{"text": "Action: 你好\\nFinal Answer: no"}', "Final Answer:yes")
    outcome = build_react_agent(llm, [Echo(tool)]).chat("?")
    assert outcome.response == "yes"
    assert llm.shown[1][-1]["content"] == "Response:Action: 你好\nFinal Answer: no\n"


@pytest.mark.parametrize("protocol", ["hermes", "llama3_json", "internlm2", "function_call", "react_ms_agent"])
def test_actions_of_lagents_own_are_shown_in_any_protocol(protocol: str) -> None:
    spoken = get_protocol(protocol)
    call = spoken.render_reply(Message("assistant", tool_calls=(ToolCall("Adder", {"first": 2}),)))
    llm = Scripted(f"{call}{call}" if protocol == "hermes" else call, spoken.render_reply(Message("assistant", "3")))
    outcome = build_react_agent(llm, [Adder()], protocol=protocol).chat("?")
    assert outcome.response == "3"
    conversation = to_conversation(llm.shown[1], spoken)
    text = to_text(render(conversation, "qwen_chat", spoken))
    assert "Add one." in text and "the number" in text and "a note" in text
    result = "3\n(the first of 2 calls was run; make one call in each turn)" if protocol == "hermes" else "3"
    assert spoken.render_result(result).strip() in text and "Response:" not in text
    if not protocol.startswith("react"):
        required = {
            "first": {"type": "integer", "description": "the number"},
            "note": {"type": "string", "description": "a note"},
        }
        assert conversation.tools[0].parameters == {"type": "object", "properties": required, "required": ["first"]}


def test_a_call_named_like_lagents_own_actions_does_not_end_the_loop() -> None:
    llm = Scripted('Action:FinishAction\nAction Input:{"response": "x"}', "Final Answer:done")
    assert build_react_agent(llm, playground_actions(specs("add_numbers"))).chat("?").response == "done"


def test_the_last_turn_is_told_to_stop_and_a_loop_without_an_answer_ends() -> None:
    llm = Scripted("no", "no", "no")
    outcome = build_react_agent(llm, playground_actions(specs("add_numbers")), max_turn=3).chat("?")
    assert outcome.response == "Sorry that I cannot answer your question."
    assert llm.shown[2][-1]["content"].startswith("You should directly give results")
    assert llm.shown[1][-1]["content"] == "Response:Please follow the format\n"
    with pytest.raises(ConfigError, match="max_turn"):
        build_react_agent(llm, [], max_turn=0)
    with pytest.raises(ConfigError, match="language"):
        build_react_agent(llm, [], language="fr")


def test_lagents_messages_become_turns() -> None:
    messages = [
        {"role": "system", "content": "Response: is how results look"},
        {"role": "user", "content": "Response:no"},
        {"role": "assistant", "content": "Action:x"},
        {"role": "system", "content": "Response:5\n"},
        {"role": "system", "content": "stop now"},
    ]
    found = to_conversation(messages, get_protocol("react")).messages
    assert [message.role for message in found] == ["system", "user", "assistant", "user", "system"]
    assert [message.content for message in found] == [message["content"] for message in messages]
    with pytest.raises(ConfigError, match="unknown role 'tool'"):
        to_conversation([{"role": "tool", "content": ""}], get_protocol("react"))


def test_a_real_model_answers_one_conversation_or_many() -> None:
    tokenizer = tiny_tokenizer()
    prompts = PromptBuilder(tokenizer, "llama3_chat")
    llm = LagentLLM(Generator(tiny_model(), tokenizer), prompts, max_new_tokens=8)
    one, other = [{"role": "user", "content": "Hi"}], [{"role": "user", "content": "你好"}]
    assert llm.chat([one, other]) == [llm.chat(one), llm.chat(other)]
    text, finished = llm.complete(to_conversation(one, prompts.protocol), max_new_tokens=3)
    assert llm.chat(one).startswith(text.rstrip("\ufffd")) and not finished
    assert llm.chat(one, temperature=1.0, seed=1) == llm.chat(one, temperature=1.0, seed=1) != llm.chat(one)
    with pytest.raises(ConfigError, match="unknown generation parameters top_k"):
        llm.chat(one, top_k=3)


def test_any_engine_speaks_in_the_loop_and_its_text_is_told_as_it_comes() -> None:
    told: list[str] = []
    call = 'Thought:add\nAction:add_numbers\nAction Input:{"first": 2, "second": 3}'
    engine = ScriptedEngine(call, "Thought:so\nFinal Answer:5")
    llm = EngineLLM(engine, told.append, max_new_tokens=64, stop=("Response:",))
    agent = build_react_agent(llm, playground_actions(specs("add_numbers")))
    assert agent.chat("2 + 3?").response == "5"
    assert "".join(told) == f"{call}Thought:so\nFinal Answer:5" and len(told) > 10
    assert {(one.max_new_tokens, one.temperature, one.stop) for one in engine.requests} == {(64, 0.0, ("Response:",))}
    assert engine.shown[1].startswith(engine.shown[0]) and "Response:5" in engine.shown[1]


def test_a_reply_is_cancelled_when_whoever_is_told_of_it_fails() -> None:
    def fails(text: str) -> None:
        raise KeyboardInterrupt

    engine = ScriptedEngine("a long reply")
    streams: list[ScriptedStream] = []
    submit = engine.submit
    engine.submit = lambda request: streams.append(submit(request)) or streams[-1]
    with pytest.raises(KeyboardInterrupt):
        EngineLLM(engine, fails).chat([{"role": "user", "content": "Hi"}])
    assert streams[0].cancelled.is_set()
    assert EngineLLM(ScriptedEngine(Said("cut", "length"))).complete(Conversation((Message("user", "Hi"),))) == ("cut", False)
