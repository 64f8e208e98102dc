"""How the reference agent thinks aloud: a verdict on each tool of the list, then what is known, what is missing, what follows."""

from __future__ import annotations

import re

import pytest

from xagent.chat.message import ToolSpec
from xagent.playground import generate_episodes
from xagent.playground.conversation import episodes_to_conversation
from xagent.playground.episode import Choice
from xagent.playground.reading import VERDICT_WEIGHTS, called, full_thought, known_values, plan, read_list
from xagent.playground.records import training_conversations


def tool(name: str, description: str, **parameters: str) -> ToolSpec:
    properties = {key: {"type": "string", "description": text} for key, text in parameters.items()}
    return ToolSpec(name, description, {"type": "object", "properties": properties, "required": list(properties)})


TOOLS = (
    tool("add", "Add two numbers.", first="first number", second="second number"),
    tool("boss", "Tell the manager of a person.", person="person's name"),
    tool("phone", "Look up the phone of a person", person="whose phone"),
)
QUESTION = "What is the phone of the manager of Ann?"


@pytest.mark.parametrize(
    ("choice", "read"),
    [
        (
            Choice("boss"),
            'add: Add two numbers - no. boss: Tell the manager of a person - yes, "manager". '
            "phone: Look up the phone of a person - no.",
        ),
        (
            Choice("boss", later="phone"),
            'add: Add two numbers - no. boss: Tell the manager of a person - yes, "manager". '
            'phone: Look up the phone of a person - yes, "phone".',
        ),
        (
            Choice(),
            "add: Add two numbers - no. boss: Tell the manager of a person - no. phone: Look up the phone of a person - no.",
        ),
    ],
)
def test_each_tool_of_the_list_gets_a_verdict(choice: Choice, read: str) -> None:
    assert read_list(TOOLS, QUESTION, "en", choice) == read
    assert full_thought("Then.", choice, TOOLS, QUESTION, "en") == f"{read} Then."


def test_no_choice_is_no_reading() -> None:
    assert full_thought("I need no tool.", None, TOOLS, QUESTION, "en") == "I need no tool."


def test_chinese_is_read_without_spaces() -> None:
    tools = (tool("a", "查货物的价格。", product="货物名称"), tool("b", "查城市的气温", city="城市名称"))
    read = "a：查货物的价格－不是。b：查城市的气温－是，“气温”。"
    assert full_thought("要用 b：city是北京。", Choice("b"), tools, "北京的气温是多少？", "zh") == read + "要用 b：city是北京。"
    assert known_values(tools[1], {}, "zh") == "city（城市名称）缺少"


def test_values_are_told_in_order_and_missing_ones_by_their_description() -> None:
    assert known_values(TOOLS[0], {"first": 2, "second": 3.5}, "en") == "first is 2, second is 3.5"
    assert known_values(TOOLS[0], {"second": "x"}, "en") == "first (first number) is missing, second is x"


def test_a_tool_is_called_with_its_parameters_in_their_order() -> None:
    names = [*TOOLS[0].parameters["properties"]]
    assert names == ["first", "second"]
    assert called(TOOLS[0]) == f"{TOOLS[0].name}(first, second)"


def test_a_plan_says_what_is_known_and_which_parameter_takes_the_result() -> None:
    assert plan(TOOLS[0], {"first": 2}, "second", "en") == "add(first, second): first is 2, second is the result"
    assert plan(TOOLS[0], {"first": 2, "second": 9}, "first", "zh") == "add(first, second)：first是结果，second是9"


def test_what_is_not_required_may_be_left_out() -> None:
    optional = ToolSpec("t", "T", {"type": "object", "properties": TOOLS[1].parameters["properties"], "required": []})
    assert known_values(optional, {}, "en") == ""


def test_a_conversation_reads_the_tools_that_it_offers() -> None:
    """Where episodes are joined, their tools are listed together: the reading follows that list, to its end."""
    for _, episodes in training_conversations(60, seed=3):
        conversation = episodes_to_conversation(episodes)
        names = [each.name for each in conversation.tools]
        for message in conversation.messages:
            read = re.findall(r"(?:^|[.。] ?)(\w+)[:：]", message.reasoning or "")
            listed = [name for name in read if name in names]
            assert listed in ([], names), message.reasoning


def test_a_plan_of_two_calls_says_which_parameter_takes_the_result_and_is_kept() -> None:
    for episode in generate_episodes(60, 4, kinds=("chained",)):
        thoughts = [message.reasoning or "" for message in episodes_to_conversation([episode]).messages if message.tool_calls]
        first, second = episode.steps
        following = {
            "en": rf"{first.tool}\([^()]*\): [^()]*, then {second.tool}\([^()]*\): .*\bis the result\b",
            "zh": rf"{first.tool}\([^()]*\)：[^()]*，(再用|然后是) {second.tool}\([^()]*\)：.*是结果",
        }
        assert re.search(following[episode.language], thoughts[0]), thoughts[0]
        assert second.tool in thoughts[1] and first.tool not in thoughts[1]


def test_every_verdict_weighs_more() -> None:
    """The rules find one verdict for each entry that is read."""
    for episode in generate_episodes(300, 8):
        for message in episodes_to_conversation([episode]).messages:
            text = message.reasoning or ""
            verdicts = [match[0] for rule in list(VERDICT_WEIGHTS)[:2] for match in re.finditer(rule, text)]
            assert len(verdicts) == len(re.findall(r" - (?:no|yes)\b|－(?:不是|是)", text))
