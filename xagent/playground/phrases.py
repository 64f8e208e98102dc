"""What the reference agent thinks and says around its calls: few short templates, so that a tiny model can learn them."""

from __future__ import annotations

from collections.abc import Mapping

from xagent.playground.tool import Language

Phrases = Mapping[Language, tuple[str, ...]]

NO_TOOL_MARKER: Mapping[Language, str] = {"en": "none of the tools", "zh": "没有合适的工具"}

USE: Phrases = {
    "en": ("I need {tool}: {values}.", "I use {tool}: {values}."),
    "zh": ("要用 {tool}：{values}。", "需要 {tool}：{values}。"),
}
USE_FIRST: Phrases = {
    "en": ("First I need {tool}: {values}, then {later}.", "I first use {tool}: {values}, then {later}."),
    "zh": ("先用 {tool}：{values}，再用 {later}。", "第一步需要 {tool}：{values}，然后是 {later}。"),
}
USE_NEXT: Phrases = {
    "en": ("Now I need {tool}: {values}.", "Then I use {tool}: {values}."),
    "zh": ("再用 {tool}：{values}。", "接着需要 {tool}：{values}。"),
}
OTHER_FIRST: Phrases = {
    "en": ("The other comes first. I first use {tool}: {values}, then {later}.",),
    "zh": ("次序反了，先用 {tool}：{values}，再用 {later}。",),
}
TRY_AGAIN: Phrases = {
    "en": ("The tool says {value} is right. I will try again.", "The right name is {value}. I try again."),
    "zh": ("工具说应该是{value}。我再试一次。", "正确的是{value}，我再试一次。"),
}
KNOWN: Phrases = {
    "en": ("I now know the answer.", "Now I can answer."),
    "zh": ("我现在知道答案了。", "现在可以回答了。"),
}
NO_CALL: Phrases = {
    "en": ("I need no tool for this.", "I can answer this myself."),
    "zh": ("这不需要工具。", "我可以直接回答。"),
}
NO_TOOL: Phrases = {
    "en": ("The tools do not fit.", "No tool in the list fits."),
    "zh": ("列表里的工具都不适用。", "工具都不适用。"),
}
NO_TOOL_ANSWERS: Phrases = {
    "en": (
        "Sorry, none of the tools can do this.",
        "I can not help here: none of the tools fits.",
        "For this task, none of the tools is right.",
        "Sorry, none of the tools I have fits.",
    ),
    "zh": (
        "抱歉，没有合适的工具可以做这件事。",
        "我帮不了你，这里没有合适的工具。",
        "对于这个任务，没有合适的工具。",
        "抱歉，我这里没有合适的工具。",
    ),
}
ASK: Phrases = {
    "en": ("Please tell me the {value}.", "Gladly. What is the {value}?", "I need the {value} first."),
    "zh": ("请告诉我{value}。", "好的，请问{value}是什么？", "我还需要{value}。"),
}
# Common Chinese characters that replace one of a misspelled key.
CHINESE_SLIPS = "天地人口手足日月上下左右大小多少东南西北前后里外"
