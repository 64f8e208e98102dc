"""Each protocol's own words, and the replies that broke other parsers."""

from __future__ import annotations

import ast
import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from xagent.chat.message import Conversation, Message, ToolCall, ToolSpec
from xagent.chat.protocol import ParsedReply, get_protocol
from xagent.chat.protocol.react import describe_tool
from xagent.chat.template import render, to_text
from xagent.chat.turns import flatten
from xagent.errors import DataError

CITY = ToolSpec(
    "get_weather",
    "Weather of a {city}",
    {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "where"}, "unit": {"type": "string", "enum": ["c", "f"]}},
        "required": ["city"],
    },
)

# ReAct


@pytest.mark.parametrize(
    ("text", "name", "given"),
    [
        ("Action: a-b.c\nAction Input: {\"x\": 1}", "a-b.c", {"x": 1}),
        ("Thought: 想\nAction: 查询天气\nAction Input: {'城市': '北京', 'n': None}", "查询天气", {"城市": "北京", "n": None}),
        ('Action: f\nAction Input: {"x": "Action: g\\nAction Input: {}"}', "f", {"x": "Action: g\nAction Input: {}"}),
        ('Action: f\nAction Input: {"x": {"y": [{"z": "}"}]}}\nObservation: made up', "f", {"x": {"y": [{"z": "}"}]}}),
        ('Sure!\n  Action : f\n  Action Input : {"x": 1} and more\n', "f", {"x": 1}),
        ('Action：f\nAction Input：\n{"x":\n1}', "f", {"x": 1}),
        ("Action: f\nAction Input: {}\nResponse: made up\nAction: g\nAction Input: {}", "f", {}),
    ],
)  # fmt: skip
def test_react_reads_what_broke_others(text: str, name: str, given: dict[str, Any]) -> None:
    reply = get_protocol("react").parse(text)
    assert (reply.status, reply.calls) == ("calls", (ToolCall(name, given),))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('Thought: x\nAction: f\nAction Input: {"x": "cut o', "the input of 'f' is no JSON object"),
        ("Action: f", "the call of 'f' has no Action Input"),
        ("Action: f\nThought: hm\nAction: g\nAction Input: {}", "the call of 'f' has no Action Input"),
        ("Action Input: {}", "an Action Input without an Action"),
        ("Action: f\nAction Input: [1]", "no JSON object"),
        ("Action: f\nAction Input: __import__('os').system('true')", "no JSON object"),
        ("Action: f\nAction Input: {'x': __import__('os')}", "no JSON object"),
    ],
)
def test_react_executes_nothing_incomplete(text: str, error: str) -> None:
    reply = get_protocol("react").parse(text)
    assert reply.status == "incomplete" and error in str(reply.error) and reply.calls == ()


def test_react_answers_and_plain_text() -> None:
    spoken = get_protocol("react")
    assert spoken.parse("Thought:easy\nFinal Answer:42\nAction: is a word here") == ParsedReply(
        "answer", "42\nAction: is a word here", "easy"
    )
    assert spoken.parse(" Hello there ") == ParsedReply("text", "Hello there")


@pytest.mark.parametrize("protocol", ["react", "react_zh", "react_ms_agent"])
@pytest.mark.parametrize(
    "text",
    ["Thought: a\nAction: f\nAction Input: {}", "Thought: a\nFinal Answer: b", "Action: f\nAction Input: city=Oslo"],
)
def test_a_text_that_speaks_react_is_not_put_into_a_final_answer(protocol: str, text: str) -> None:
    spoken = get_protocol(protocol)
    assert spoken.render_reply(Message("assistant", text)) == text
    assert spoken.parse(spoken.render_reply(Message("assistant", "Thought is free."))).content == "Thought is free."


def test_react_system_is_lagents() -> None:
    react = pytest.importorskip("lagent.agents.react")
    from xagent.chat.protocol.react import FIELDS

    for protocol, wording in (("react", react.CALL_PROTOCOL_EN), ("react_zh", react.CALL_PROTOCOL_CN)):
        theirs = wording.format(tool_description=[describe_tool(CITY)], action_names=["get_weather"], **FIELDS)
        assert get_protocol(protocol).render_system([CITY], "Be {brief}.") == f"Be {{brief}}.\n\n{theirs}"
        assert get_protocol(protocol).render_system([CITY]) == theirs


def test_react_describes_tools_in_lagents_form() -> None:
    assert describe_tool(CITY) == {
        "name": "get_weather",
        "description": "Weather of a {city}",
        "parameters": [
            {"name": "city", "type": "STRING", "description": "where"},
            {"name": "unit", "type": "STRING", "description": "", "schema": {"enum": ["c", "f"]}},
        ],
        "required": ["city"],
    }


def test_react_parallel_calls_keep_their_order_and_text_becomes_thought() -> None:
    message = Message("assistant", "Both.", tool_calls=(ToolCall("f", {"x": "ü"}), ToolCall("g")))
    assert get_protocol("react").render_reply(message) == (
        'Thought:Both.\nAction:f\nAction Input:{"x": "ü"}\nAction:g\nAction Input:{}'
    )


# Hermes


def test_hermes_system_is_qwens() -> None:
    text = get_protocol("hermes").render_system([CITY], "Be brief.")
    assert text.startswith("Be brief.\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\n")
    tools = text.partition("<tools>\n")[2].partition("\n</tools>")[0]
    assert [json.loads(one) for one in tools.split("\n")] == [CITY.to_openai()]
    assert text.endswith('{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            'Hi <tool_call>{"name": "f", "arguments": {"a": "</tool_call>"}}</tool_call> bye',
            [ToolCall("f", {"a": "</tool_call>"})],
        ),
        ("<tool_call>\n{'name': 'f', 'arguments': {'a': None}}\n</tool_call>", [ToolCall("f", {"a": None})]),
        ('<tool_call>{"name": "f"}</tool_call><tool_call>{"name": "g", "arguments": null}', [ToolCall("f"), ToolCall("g")]),
        ('<tool_call>{"name": "f", "arguments": "{\\"a\\": 1}"}</tool_call>', [ToolCall("f", {"a": 1})]),
    ],
)
def test_hermes_reads_what_broke_others(text: str, expected: list[ToolCall]) -> None:
    reply = get_protocol("hermes").parse(text)
    assert (reply.status, list(reply.calls)) == ("calls", expected)


@pytest.mark.parametrize(
    "text",
    ['<tool_call>{"name": "f", "arguments": {"a": ', '<tool_call>{"arguments": {}}</tool_call>', "<tool_call>",
     '<tool_call>{"name": "f", "arguments": [1]}</tool_call>', '<tool_call>{"name": "f", "arguments": "x"}</tool_call>'],
)  # fmt: skip
def test_hermes_executes_nothing_incomplete(text: str) -> None:
    reply = get_protocol("hermes").parse(text)
    assert reply.status == "incomplete" and reply.error and not reply.calls


def test_python_literals_are_never_run() -> None:
    with pytest.raises(ValueError):
        ast.literal_eval("{'x': open('/etc/passwd')}")  # what the parser relies on


@pytest.mark.parametrize(
    ("text", "calls", "thought", "rest"),
    [
        ('Action: "f"\nAction Input: ```json\n{"x": 1}\n```', (ToolCall("f", {"x": 1}),), None, ""),
        ("Action: f\nplease\nAction Input: {'t': (1, 2)} ok", (ToolCall("f", {"t": [1, 2]}),), "please\nok", ""),
        ('Action: f\nAction Input: {"x": "a\nb"}', (ToolCall("f", {"x": "a\nb"}),), None, ""),
        (
            "Thought: a\nAction: f\nAction Input: {}\nThought: b\nAction: g\nAction Input: {}\nObservation: 1\nFinal Answer: 2",
            (ToolCall("f"), ToolCall("g")),
            "a\nb",
            "Observation: 1\nFinal Answer: 2",
        ),
        ("Action: f\nAction Input: {}\nFinal Answer: 3", (ToolCall("f"),), None, "Final Answer: 3"),
        ("Thought: see\nObservation: no\nAction: f\nAction Input: {}", (ToolCall("f"),), "see\nObservation: no", ""),
    ],
)
def test_react_loses_nothing(text: str, calls: tuple[ToolCall, ...], thought: str | None, rest: str) -> None:
    assert get_protocol("react").parse(text) == ParsedReply("calls", "", thought, calls, rest=rest)


def test_what_an_incomplete_call_holds_is_the_rest() -> None:
    reply = get_protocol("react").parse("Thought: x\nAction: f\nAction Input: {}\nAction: g\nAction Input: {'b': b'1'}")
    assert (reply.status, reply.calls, reply.reasoning) == ("incomplete", (ToolCall("f"),), "x")
    assert reply.rest == "Action: g\nAction Input: {'b': b'1'}"


@pytest.mark.parametrize("protocol", ["react", "react_ms_agent", "function_call"])
@pytest.mark.parametrize(
    ("parameters", "fault"),
    [
        ({"properties": ["a"]}, "'properties' must be an object of JSON schemas"),
        ({"properties": {"a": "string"}}, "the schema of parameter 'a' must be an object"),
        ({"properties": {"a": {}}, "required": True}, "'required' must be a list of parameter names"),
    ],
)
def test_tools_that_cannot_be_listed_are_refused(protocol: str, parameters: dict[str, Any], fault: str) -> None:
    with pytest.raises(DataError, match=f"tool 'f': {fault}"):
        get_protocol(protocol).render_system([ToolSpec("f", "", parameters)])


# ms-agent


def test_ms_agents_own_record_is_written_byte_for_byte(shared_data: Path) -> None:
    record = json.loads((shared_data / "ms_agent_sample.jsonl").read_text(encoding="utf-8").splitlines()[0])
    system = record["conversations"][0]["value"]
    tools = []
    for line in system.partition("APIs:\n")[2].partition("\n\nUse the")[0].split("\n\n"):
        name, given = line.split(". ", 1)[1].split(":")[0], json.loads(line.partition("Parameters: ")[2])
        properties = {one["name"]: {"description": one["description"]} for one in given}
        tools.append(ToolSpec(name, "", {"type": "object", "properties": properties, "required": list(properties)}))
    assert get_protocol("react_ms_agent").render_system(tools) == system
    first = get_protocol("react_ms_agent").parse(record["conversations"][2]["value"])
    assert first.calls == (ToolCall("hm_product_recommend", {"keywords_dict": {"商品类目": "手机"}}),)
    assert first.rest.startswith("Observation: [{") and "Final Answer: 您好" in first.rest


def test_ms_agents_wording() -> None:
    spoken = get_protocol("react_ms_agent")
    described = "Call this tool to interact with the fire alert API. It alerts. "
    text = spoken.render_system([CITY, ToolSpec("fire_alert", described.strip())], "Be brief.")
    assert text == (
        "Be brief.\n\nAnswer the following questions as best you can. You have access to the following APIs:\n"
        "1. get_weather: Call this tool to interact with the getweather API. What is the getweather API useful for? "
        'Weather of a {city}. Parameters: [{"name": "city", "description": "where", "required": "True", "type": "string"}, '
        '{"name": "unit", "description": "", "required": "False", "type": "string", "schema": {"enum": ["c", "f"]}}]\n\n'
        "2. fire_alert: Call this tool to interact with the fire alert API. It alerts. Parameters: []\n\n"
        "Use the following format:\n\nThought: you should always think about what to do\n"
        "Action: the action to take, should be one of the above tools[get_weather, fire_alert]\n"
        "Action Input: the input to the action\nObservation: the result of the action\n"
        "... (this Thought/Action/Action Input/Observation can be repeated zero or more times)\n"
        "Thought: I now know the final answer\nFinal Answer: the final answer to the original input question\nBegin!"
    )
    call = Message("assistant", reasoning="hot?", tool_calls=(ToolCall("get_weather", {"city": "北京"}),))
    assert spoken.render_reply(call) == 'Thought: hot?\nAction: get_weather\nAction Input: {"city": "北京"}'
    assert spoken.render_reply(Message("assistant", "Yes.")) == "Final Answer: Yes."
    assert spoken.render_result("31") == "Observation: 31\n"


# Hermes, further


@pytest.mark.parametrize(
    ("text", "content", "names", "rest"),
    [
        ('<tool_call>{"name": "f"}\n<tool_call>{"name": "g"}</tool_call>', "", ["f", "g"], ""),
        ('a\n<tool_call>{"name": "f", "arguments": {}}}</tool_call>\nb', "a\nb", ["f"], ""),
        (
            '<tool_call>{"name": "f"}</tool_call><tool_response>1</tool_response>so',
            "",
            ["f"],
            "<tool_response>1</tool_response>so",
        ),
        ("see <tool_response> there", "see <tool_response> there", [], ""),
    ],
)
def test_hermes_loses_nothing(text: str, content: str, names: list[str], rest: str) -> None:
    reply = get_protocol("hermes").parse(text)
    assert (reply.content, [call.name for call in reply.calls], reply.rest) == (content, names, rest)


# Llama 3


@pytest.mark.parametrize(
    ("text", "content", "calls"),
    [
        ('<|python_tag|>{"name": "f", "parameters": {"a": "1"}}', "", [ToolCall("f", {"a": "1"})]),
        ('{"name": "f", "parameters": {}}; {"name": "g", "parameters": {}}', "", [ToolCall("f"), ToolCall("g")]),
        ('[{"name": "f", "parameters": {}}, {"name": "g", "arguments": {}}]', "", [ToolCall("f"), ToolCall("g")]),
        ("{'name': 'f', 'parameters': {'a': None}}", "", [ToolCall("f", {"a": None})]),
        ('{"type": "function", "function": "f", "parameters": {"a": 1}}', "", [ToolCall("f", {"a": 1})]),
        ('Sure.\n{"name": "f", "parameters": {}}\nWait.', "Sure.\nWait.", [ToolCall("f")]),
        ('{"temperature": 22}', '{"temperature": 22}', []),
        ('{"name": "Bob"}', '{"name": "Bob"}', []),
        ('a {"name": "f", "parameters": {}}', 'a {"name": "f", "parameters": {}}', []),
        ('[\n{"x": {"name": "f", "parameters": {}}}\n]', '[\n{"x": {"name": "f", "parameters": {}}}\n]', []),
    ],
)
def test_llama3_reads_calls_and_leaves_other_objects_alone(text: str, content: str, calls: list[ToolCall]) -> None:
    reply = get_protocol("llama3_json").parse(text)
    assert (reply.status, reply.content, list(reply.calls)) == ("calls" if calls else "answer", content, calls)


@pytest.mark.parametrize(
    "text",
    ["{", '{"na', '{"name": "f", "parameters": {"a":', '[{"name": "f"', "{'name': 'f', 'parameters': {'a': open('x')}}",
     '{"name": "f", "parameters": [1]}', '{"name": 3, "parameters": {}}'],
)  # fmt: skip
def test_llama3_executes_nothing_incomplete(text: str) -> None:
    reply = get_protocol("llama3_json").parse(f"Sure.\n{text}")
    assert (reply.status, reply.content, reply.calls, reply.rest.strip()) == ("incomplete", "Sure.", (), text)


def test_llama3_system_has_no_date_and_ends_with_the_conversations_own() -> None:
    text = get_protocol("llama3_json").render_system([CITY], "Be brief.")
    assert text.startswith("You have access to the following functions. To call a function, please respond with JSON ")
    assert text.partition("Do not use variables.\n\n")[2] == (
        json.dumps(CITY.to_openai(), indent=4, ensure_ascii=False) + "\n\nBe brief."
    )


def test_llama3_results_come_from_ipython() -> None:
    talk = Conversation(
        (Message("user", "U"), Message("assistant", tool_calls=(ToolCall("f"),)), Message("tool", "5"), Message("tool", "6"))
    )
    ended = "<|eot_id|><|start_header_id|>ipython<|end_header_id|>\n\n5\n6<|eot_id|>"
    assert to_text(render(talk, "llama3_chat", "llama3_json")).endswith(ended)
    assert to_text(render(talk, "default", "llama3_json"), "</s>").endswith("</s>\n<|User|>:5\n6\n")


# InternLM2

PYTHON = ToolSpec("IPythonInterpreter", "Runs Python.", {"type": "object", "properties": {"command": {"type": "string"}}})


def test_internlm2_as_its_chat_format_shows_it() -> None:
    made = (ToolCall("get_weather", {"city": "上海"}),)
    code = (ToolCall("IPythonInterpreter", {"command": "print(1)"}),)
    talk = Conversation(
        (
            Message("system", "You are helpful."),
            Message("user", "Hot in Shanghai?"),
            Message("assistant", "Let me see.", tool_calls=made),
            Message("tool", '{"temperature": 22}', name="get_weather"),
            Message("assistant", tool_calls=code),
            Message("tool", "1", name="IPythonInterpreter"),
            Message("assistant", "No."),
        ),
        (CITY, PYTHON),
    )
    tools = json.dumps([CITY.to_openai()["function"]], indent=4, ensure_ascii=False)
    assert to_text(render(talk, "internlm2_chat", "internlm2")) == (
        "<|im_start|>system\nYou are helpful.<|im_end|>\n"
        "<|im_start|>system name=<|interpreter|>\nRuns Python.<|im_end|>\n"
        f"<|im_start|>system name=<|plugin|>\n{tools}<|im_end|>\n"
        "<|im_start|>user\nHot in Shanghai?<|im_end|>\n"
        "<|im_start|>assistant\nLet me see.<|action_start|><|plugin|>\n"
        '{"name": "get_weather", "parameters": {"city": "上海"}}<|action_end|><|im_end|>\n'
        '<|im_start|>environment name=<|plugin|>\n{"temperature": 22}<|im_end|>\n'
        "<|im_start|>assistant\n<|action_start|><|interpreter|>\n```python\nprint(1)\n```<|action_end|><|im_end|>\n"
        "<|im_start|>environment name=<|interpreter|>\n1<|im_end|>\n"
        "<|im_start|>assistant\nNo.<|im_end|>"
    )
    plain = to_text(render(talk, "default", "internlm2"), "</s>")
    assert plain.startswith(f"<|System|>:You are helpful.\n\nRuns Python.\n\n{tools}\n<|User|>:Hot in Shanghai?\n")


@pytest.mark.parametrize(
    ("text", "content", "calls"),
    [
        ('Hi<|action_start|><|plugin|>{"name": "f", "parameters": {}}<|action_end|>bye', "Hi\nbye", [ToolCall("f")]),
        ("<|action_start|><|plugin|>\n{'name': 'f', 'parameters': {'a': '<|action_end|>'}}", "",
         [ToolCall("f", {"a": "<|action_end|>"})]),
        ("<|action_start|><|interpreter|>\n1 + 1<|action_end|>", "", [ToolCall("IPythonInterpreter", {"command": "1 + 1"})]),
        ("the <|plugin|> token", "the <|plugin|> token", []),
    ],
)  # fmt: skip
def test_internlm2_reads_what_broke_others(text: str, content: str, calls: list[ToolCall]) -> None:
    reply = get_protocol("internlm2").parse(text)
    assert (reply.status, reply.content, list(reply.calls)) == ("calls" if calls else "answer", content, calls)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("<|action_start|>", "stands neither"),
        ('<|action_start|><|plugin|>{"name": "f", ', "no complete object"),
        ('<|action_start|><|plugin|>{"parameters": {}}<|action_end|>', "a call without a name"),
        ("<|action_start|><|interpreter|>\n```python\nprint(", "has no <|action_end|>"),
    ],
)
def test_internlm2_executes_nothing_incomplete(text: str, error: str) -> None:
    reply = get_protocol("internlm2").parse(text)
    assert (reply.status, reply.calls, reply.rest) == ("incomplete", (), text) and error in str(reply.error)
    assert list(get_protocol("internlm2").markup(text)) == []


def test_internlm2_marks_its_own_tokens_and_nothing_in_arguments() -> None:
    call = ToolCall("f", {"a": "<|action_start|><|plugin|>"})
    message = Message("assistant", "Hi", reasoning="hm", tool_calls=(call,))
    (turn,) = flatten(Conversation((message,)), "internlm2")
    assert [turn.text[begin:end] for begin, end in turn.markup] == ["<|action_start|>", "<|plugin|>", "<|action_end|>"]
    assert [text for text, _, is_markup in turn.parts() if not is_markup] == [
        "<think>\nhm\n</think>\nHi",
        '\n{"name": "f", "parameters": {"a": "<|action_start|><|plugin|>"}}',
    ]


# LLaMA-Factory's default


def test_function_call_is_llama_factorys() -> None:
    spoken = get_protocol("function_call")
    lists = {"type": "object", "properties": {"n": {"type": "array", "items": {"type": "integer"}}, "m": {"default": 3}}}
    assert spoken.render_system([CITY, ToolSpec("sum", "Adds.", lists)], "Be brief.") == (
        "Be brief.\n\nYou have access to the following tools:\n"
        "> Tool Name: get_weather\nTool Description: Weather of a {city}\nTool Args:\n"
        "  - city (string, required): where\n  - unit (string): , should be one of [c, f]\n\n"
        "> Tool Name: sum\nTool Description: Adds.\nTool Args:\n"
        '  - n (array): , where each item should be integer\n  - m (): , schema: {"default": 3}\n\n'
        "Use the following format if using a tool:\n```\nAction: tool name (one of [get_weather, sum])\n"
        "Action Input: the input to the tool, in a JSON format representing the kwargs "
        '(e.g. ```{"input": "hello world", "num_beams": 5}```)\n```\n'
    )
    both = (ToolCall("f", {"a": 1}), ToolCall("g"))
    assert spoken.render_reply(Message("assistant", tool_calls=both)) == (
        'Action: f\nAction Input: {"a": 1}\nAction: g\nAction Input: {}'
    )
    assert spoken.render_reply(Message("assistant", "Plain.")) == "Plain."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Thought: no field here", ParsedReply("answer", "Thought: no field here")),
        ("Observation: just words", ParsedReply("answer", "Observation: just words")),
        ('So\nAction: 查-a.b\nAction Input: {"x": "Action: y"}\nObservation: 1',
         ParsedReply("calls", "So", None, (ToolCall("查-a.b", {"x": "Action: y"}),), rest="Observation: 1")),
        ("<think>t</think>Action: f\nAction Input: {}", ParsedReply("calls", "", "t", (ToolCall("f"),))),
        ("Hm\nAction: f", ParsedReply("incomplete", "Hm", None, (), "the call of 'f' has no Action Input", "Action: f")),
    ],
)  # fmt: skip
def test_function_call_reads_what_broke_others(text: str, expected: ParsedReply) -> None:
    assert get_protocol("function_call").parse(text) == expected


def test_the_documented_examples_are_what_the_code_does(repo_root: Path) -> None:
    tool = runpy.run_path(str(repo_root / "tools" / "build_protocols_doc.py"))
    assert tool["page"]() == tool["PAGE"].read_text(encoding="utf-8"), "run: python tools/build_protocols_doc.py"
