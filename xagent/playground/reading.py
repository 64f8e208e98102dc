"""How the reference agent thinks: it reads its list of tools aloud and says of each whether the question is about it; then it
names the one to call with its parameters and what it knows of each; and so the tool that comes after it, of whose parameters one
is the result.

Every step of that is a copy, or a look at what was copied last. A small model learns these long before it finds a name, plans two
calls, or notices that a value is missing, from the question at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xagent.chat.message import ToolSpec
from xagent.playground.cues import shared_words
from xagent.playground.episode import Choice
from xagent.playground.tool import Language

_ENTRY: Mapping[Language, str] = {"en": "{name}: {said} - {verdict}.", "zh": "{name}：{said}－{verdict}。"}
_NO: Mapping[Language, str] = {"en": "no", "zh": "不是"}
_YES: Mapping[Language, str] = {"en": "yes", "zh": "是"}
_CUE: Mapping[Language, str] = {"en": '{verdict}, "{cue}"', "zh": "{verdict}，“{cue}”"}
_GAP: Mapping[Language, str] = {"en": " ", "zh": ""}
_GIVEN: Mapping[Language, str] = {"en": "{name} is {value}", "zh": "{name}是{value}"}
_MISSING: Mapping[Language, str] = {"en": "{name} ({what}) is missing", "zh": "{name}（{what}）缺少"}
_RESULT: Mapping[Language, str] = {"en": "the result", "zh": "结果"}
_COLON: Mapping[Language, str] = {"en": ": ", "zh": "："}
_AND: Mapping[Language, str] = {"en": ", ", "zh": "，"}

VERDICT_WEIGHTS = {
    r"(?<= - )(no|yes)\b[^.:\n]*\.": 6.0,
    r"(?<=－)(不是|是)[^。：\n]*。": 6.0,
    r"(?<=[：:])[^：:\n]*(缺少|missing)[^：:\n]*$": 3.0,
    r"\b(I need|I use|I first use|Then I use) \w+": 3.0,
    r"(先用|要用|再用|需要) \w+": 3.0,
    r"\([^()\n]*\)(?=[：:])": 3.0,
    r"(, then \w+\([^\n]*)?\.(?=\n)": 3.0,
    r"(，(再用|然后是) \w+\([^\n]*)?。(?=\n)": 3.0,
    r"\b(I now know|Now I can|I have the|I now have)\b": 3.0,
    r"(我现在知道|现在可以|我知道答|我已经得)": 3.0,
}
"""``loss_weights`` for such thoughts: most of what is read aloud is copied; what counts is the verdict behind each entry, which
tool is called with which parameters, whether another call follows, and to notice what is missing."""


def full_thought(thought: str, choice: Choice | None, tools: Sequence[ToolSpec], question: str, language: Language) -> str:
    """Give a thought with the reading of the list before it, where there is a choice to make."""
    read = "" if choice is None else read_list(tools, question, language, choice)
    return _GAP[language].join(text for text in (read, thought) if text)


def read_list(tools: Sequence[ToolSpec], question: str, language: Language, choice: Choice) -> str:
    """Read the list in its order, with a verdict on each tool.

    The words that the question shares with the description of a fitting tool are quoted.
    """
    entries = []
    for tool in tools:
        verdict = _NO[language]
        if tool.name in (choice.right, choice.later):
            verdict = _YES[language]
            others = [other.description for other in tools if other is not tool]
            if cue := shared_words(question, tool.description, others, language):
                verdict = _CUE[language].format(verdict=verdict, cue=cue)
        entries.append(_ENTRY[language].format(name=tool.name, said=tool.description.rstrip(".。"), verdict=verdict))
    return _GAP[language].join(entries)


def called(tool: ToolSpec) -> str:
    """Give a tool's name with those of its parameters behind it, which a model then goes through one by one."""
    return f"{tool.name}({', '.join(tool.parameters['properties'])})"


def plan(tool: ToolSpec, arguments: Mapping[str, Any], parameter: str, language: Language) -> str:
    """Name a tool that is called later, with what is known of its parameters; one of them is told by the call before it."""
    values = known_values(tool, {**arguments, parameter: _RESULT[language]}, language)
    return f"{called(tool)}{_COLON[language]}{values}"


def known_values(tool: ToolSpec, arguments: Mapping[str, Any], language: Language) -> str:
    """Say the value of each parameter, and which required ones are missing."""
    said = []
    for name, schema in tool.parameters["properties"].items():
        if name in arguments:
            said.append(_GIVEN[language].format(name=name, value=arguments[name]))
        elif name in tool.parameters["required"]:
            said.append(_MISSING[language].format(name=name, what=schema["description"]))
    return _AND[language].join(said)
