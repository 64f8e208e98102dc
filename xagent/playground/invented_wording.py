"""How people ask for tools that don't exist, and how the model speaks about them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from xagent.playground.invented_tools import Invention, Parameter
from xagent.playground.tool import Language

_JOIN_EN = {
    1: ("{0}", "{0}", "the {k0} {0}", '"{0}"', "{k0} {0}"),
    2: (
        "{0} and {1}",
        "{0} with {1}",
        "{0} at {1}",
        "{0} in {1}",
        "{0} by {1}",
        "from {0} to {1}",
        "between {0} and {1}",
        "{0} {k1} {1}",
        "{0} (the {k1} is {1})",
        "{k0} {0} and {k1} {1}",
        "{0} for {1}",
        "{0} on {1}",
        "{0} to {1}",
        "{k0} {0}, {k1} {1}",
        '"{0}" and "{1}"',
        "{0} with a {k1} of {1}",
    ),
    3: (
        "{0}, {1} and {2}",
        "{0} from {1} to {2}",
        "{k0} {0}, {k1} {1} and {k2} {2}",
        "{0} with {1} and {2}",
        "{0} at {1} for {2}",
        "{0} by {1} with {2}",
        "{0} between {1} and {2}",
        "{0} (the {k1} is {1}, the {k2} is {2})",
    ),
}
_JOIN_ZH = {
    1: ("{0}", "{0}", "{k0}{0}", "“{0}”", "{k0}为{0}"),
    2: (
        "{0}和{1}",
        "{0}与{1}",
        "从{0}到{1}",
        "{k0}{0}、{k1}{1}",
        "{0}，{k1}是{1}",
        "{k0}为{0}，{k1}为{1}",
        "{0}在{1}",
        "“{0}”和“{1}”",
    ),
    3: ("{0}、{1}和{2}", "{k0}{0}、{k1}{1}、{k2}{2}", "{0}，从{1}到{2}", "{0}，{k1}是{1}，{k2}是{2}"),
}
_ASK_EN = (
    "What is the {topic} of {values}?",
    "{Verb} the {topic} of {values}.",
    "Please {verb} the {topic} for {values}.",
    "Can you tell me the {topic} of {values}?",
    "I need the {topic} for {values}.",
    "{values}: what is the {topic}?",
    "Which {topic} has {values}?",
    "Tell me the {topic} of {values}, please.",
    "How can I {verb} the {topic} of {values}?",
    "Find out the {topic} for {values}",
    "Could you {verb} {values} and give the {topic}?",
    "For {values}, what {topic} do we have?",
    "How much {topic} for {values}?",
    "I want to know the {topic} of the {thing} {values}.",
    "Give me the {topic} of {values}.",
    "{values} - {topic}?",
    "Name the {topic} of {values}.",
    "Tell me how much {topic} {values} has.",
    "In {values}, what is the {topic}?",
    "On which {topic} is {values}?",
    "I look for {values}. Which {topic} is it?",
    "When I take {values}, what {topic} do I get?",
    "Use {values} and {verb} the {topic}.",
    "My {thing} is {values}. What {topic} does it have?",
    "Check {values} for its {topic}.",
    "With {values}, how many {topic} are there?",
    "{Verb} {values}: I want its {topic}.",
    "Does {values} have a {topic}?",
    "Of {values} give the {topic}",
)
_ASK_ZH = (
    "{values}的{topic}是多少？",
    "请{verb}{values}的{topic}。",
    "帮我{verb}一下{values}的{topic}。",
    "我想知道{values}的{topic}。",
    "{values}的{topic}是什么？",
    "{topic}：{values}",
    "请问{values}的{topic}？",
    "能告诉我{values}的{topic}吗？",
    "{verb}{values}的{topic}",
    "{values}有多少{topic}？",
    "{values}在哪个{topic}？",
    "{values}还有几个{topic}？",
    "《{values}》的{topic}是谁？",
    "{values}能{verb}出什么{topic}？",
    "去{values}要多少{topic}？",
    "用{values}来{verb}{topic}。",
    "{thing}{values}一共有几{topic}？",
    "把{values}拿来{verb}{topic}。",
    "{values}这个{thing}，{topic}有多大？",
    "{values}{thing}要{topic}多久？",
    "从{values}里{verb}{topic}，结果是几？",
    "{values}叫什么{topic}？",
)


# A question may also be put together of a part from each of these, so that values stand between words of all kinds.
COMPOSED_SHARE = 0.4
_OPENINGS: Mapping[Language, tuple[str, ...]] = {
    "en": (
        "",
        "What is",
        "Tell me",
        "Show me",
        "Say",
        "I wonder about",
        "Do you know",
        "Could you {verb}",
        "We need",
        "Look for",
        "Which is",
        "How long is",
        "Where is",
        "Since when is",
        "Please {verb}",
        "Can I get",
        "My boss asks for",
        "Is there",
        "Now",
        "Quick:",
        "{Verb}",
        "How many are",
        "Who is",
        "When is",
        "I have to {verb}",
        "Out of interest:",
    ),
    "zh": (
        "",
        "",
        "请",
        "请问",
        "帮我{verb}",
        "麻烦{verb}",
        "我想问",
        "告诉我",
        "看看",
        "想知道",
        "现在{verb}",
        "能不能{verb}",
        "你知道",
        "老板问",
        "请{verb}",
        "我要{verb}",
    ),
}
_TOPICS: Mapping[Language, tuple[str, ...]] = {
    "en": ("{topic}", "the {topic}", "the {topic}", "its {topic}", "a {topic}", "the {thing} {topic}", "the right {topic}"),
    "zh": ("{topic}", "{topic}", "{topic}", "{thing}{topic}"),
}
_LINKS: Mapping[Language, tuple[str, ...]] = {
    "en": (
        "of",
        "of",
        "of the {thing}",
        "for",
        "for the {thing}",
        "in",
        "at",
        "from",
        "with",
        "on",
        "to",
        "when it is",
        "if I take",
        "that belongs to",
        "behind",
        "about",
        "called",
        "named",
        "by",
        "over",
        "under",
        "after",
        "before",
        "given",
        "that has",
    ),
    "zh": ("，{thing}是", "，用", "：", "，从", "，给", "，这是", "，在", "，对", "，{thing}"),
}
_LEADS: Mapping[Language, tuple[str, ...]] = {
    "en": (
        "",
        "With",
        "For",
        "In",
        "I have",
        "Take",
        "There is",
        "Look at",
        "About",
        "My {thing} is",
        "The {thing}",
        "If it is",
        "Suppose",
        "From",
        "On",
        "At",
        "I am in",
        "Someone said",
        "We saw",
        "Between us,",
    ),
    "zh": (
        "",
        "",
        "",
        "在",
        "从",
        "用",
        "把",
        "给",
        "去",
        "如果{thing}是",
        "{thing}",
        "这个{thing}",
        "我有",
        "关于",
        "对",
        "听说",
    ),
}
_TURNS: Mapping[Language, tuple[str, ...]] = {
    "en": (",", ":", " -", ", so", " and", ", then", ". Now", " has", " gives", "?", " makes", ", with", " needs"),
    "zh": (
        "的",
        "的",
        "的",
        "的",
        "里的",
        "上的",
        "这个{thing}的",
        "，它的",
        "，要看",
        "按",
        "有",
        "要",
        "，",
        "到底有",
        "对应的",
    ),
}
_CLOSINGS: Mapping[Language, tuple[str, ...]] = {
    "en": (
        "?",
        "?",
        ".",
        ".",
        "",
        " please?",
        " today?",
        " now.",
        " again.",
        " for me.",
        " at home.",
        " in the store.",
        ", please.",
        " if you can.",
        " or not?",
        " there?",
        "!",
        " exactly?",
    ),
    "zh": (
        "？",
        "。",
        "",
        "是多少？",
        "是什么？",
        "有多少？",
        "怎么样？",
        "在哪？",
        "是哪个？",
        "有几个？",
        "吗？",
        "呢？",
        "给我。",
        "告诉我。",
        "是几？",
        "多大？",
        "多久？",
        "是谁？",
        "吧。",
    ),
}


def _composed(generator: random.Random, language: Language) -> str:
    """Put a question's template together, with the values before or after what is asked for."""
    gap = " " if language == "en" else ""
    drawn = {
        part: generator.choice(texts[language])
        for part, texts in dict(o=_OPENINGS, t=_TOPICS, k=_LINKS, l=_LEADS, u=_TURNS, c=_CLOSINGS).items()
    }
    if generator.random() < (0.6 if language == "en" else 0.25):
        text = gap.join((drawn["o"], drawn["t"], drawn["k"], "{values}")) + drawn["c"]
    else:
        opening = drawn["o"] if generator.random() < 0.4 else ""
        text = gap.join((drawn["l"], "{values}")) + drawn["u"] + gap + gap.join(filter(None, (opening, drawn["t"]))) + drawn["c"]
    return text.strip()


def values_text(generator: random.Random, tool: Invention, arguments: dict[str, Any], language: Language) -> str:
    given = [parameter for parameter in tool.parameters if parameter.name in arguments]
    join = generator.choice((_JOIN_EN if language == "en" else _JOIN_ZH)[len(given)])
    words = {f"k{place}": spoken(parameter, language) for place, parameter in enumerate(given)}
    return join.format(*(str(arguments[parameter.name]) for parameter in given), **words)


def spoken(parameter: Parameter, language: Language) -> str:
    return parameter.name.replace("_", " ") if language == "en" else parameter.description


# How one speaks of the result of a first tool within a question that a second one answers.
_INNER: Mapping[Language, tuple[str, ...]] = {
    "en": (
        "the {topic} of {values}",
        "the {topic} of {values}",
        "the {topic} for {values}",
        "{values}'s {topic}",
        "{topic} {values}",
        "the {topic} in {values}",
        "the {topic} that {values} has",
        "the {topic} when I {verb} {values}",
    ),
    "zh": ("{values}的{topic}", "{values}的{topic}", "{values}{topic}", "{verb}{values}得到的{topic}", "{values}那个{topic}"),
}
_FIRST_THEN: Mapping[Language, tuple[str, ...]] = {
    "en": (
        "{Verb1} {inner}, then {verb2} its {topic2}.",
        "First find {inner}. Then tell me the {topic2} of it.",
        "{Verb1} {inner} and {verb2} the {topic2}.",
        "Look up {inner} and tell me the {topic2}.",
        "I have {values}. Which {topic2} has its {topic1}?",
        "Get {inner} and {verb2} it: what {topic2} is that?",
        "With {inner}, how much {topic2} do we get?",
        "What {topic2} does {inner} give?",
    ),
    "zh": (
        "先{verb1}{inner}，再{verb2}它的{topic2}。",
        "请查{inner}，然后给出{topic2}。",
        "请{verb1}{inner}，再{verb2}{topic2}。",
        "{inner}{verb2}成{topic2}是多少？",
        "{inner}，它的{topic2}是什么？",
        "有{values}，其{topic1}是哪个{topic2}？",
    ),
}
# What stands in a question for a value that nobody gave.
_NOTHING: Mapping[Language, tuple[str, ...]] = {
    "en": (
        "it",
        "that",
        "this one",
        "mine",
        "the {thing}",
        "my {thing}",
        "this {thing}",
        "that {thing}",
        "a {thing}",
        "them",
        "one",
    ),
    "zh": ("它", "那个", "这个{thing}", "那{thing}", "我的{thing}", "这", "一个{thing}", "{thing}", "他"),
}


def ask_two(
    generator: random.Random,
    first: Invention,
    second: Invention,
    values: str,
    others: dict[str, Any],
    place: str,
    language: Language,
) -> str:
    """Ask for the second tool's topic of the first one's, in one breath or one after the other.

    Args:
        values: the words for the first tool's arguments.
        others: the second tool's arguments without the one that the first tool gives.
        place: the name of that one.
    """
    words = {"topic": first.topic, "verb": first.verb, "values": values}
    inner = generator.choice(_INNER[language]).format(**words)
    if others or generator.random() < 0.6:
        return ask(generator, second, values_text(generator, second, {place: inner, **others}, language), language)
    return generator.choice(_FIRST_THEN[language]).format(
        inner=inner,
        values=values,
        topic1=first.topic,
        topic2=second.topic,
        verb1=first.verb,
        verb2=second.verb,
        Verb1=first.verb.capitalize(),
    )


def ask_without(generator: random.Random, tool: Invention, language: Language) -> str:
    """Ask for a tool's topic without any value for it."""
    if generator.random() < 0.4:
        text = generator.choice(_BARE[language]).format(
            topic=tool.topic, verb=tool.verb, thing=tool.thing, Verb=tool.verb.capitalize()
        )
        return text[:1].upper() + text[1:]
    return ask(generator, tool, generator.choice(_NOTHING[language]).format(thing=tool.thing), language)


_BARE: Mapping[Language, tuple[str, ...]] = {
    "en": (
        "What is the {topic}?",
        "Please {verb} the {topic}.",
        "I need the {topic}.",
        "Can you {verb} a {topic}?",
        "How many {topic} are there?",
        "{Verb} a {topic}.",
        "Which {topic} is it?",
        "{topic}?",
        "Tell me its {topic}.",
        "How much {topic} does it have?",
        "Where do I find the {topic}?",
        "What {topic} does the {thing} have?",
        "{Verb} the {thing}: {topic}!",
    ),
    "zh": (
        "请{verb}{topic}。",
        "{topic}是多少？",
        "帮我{verb}一下{topic}。",
        "我要{topic}。",
        "是哪个{topic}？",
        "有多少{topic}？",
        "{thing}的{topic}呢？",
        "请{verb}一个{topic}。",
        "那{thing}{topic}是什么？",
        "{topic}在哪？",
        "{verb}{topic}",
    ),
}


def ask(generator: random.Random, tool: Invention, values: str, language: Language) -> str:
    if generator.random() < COMPOSED_SHARE:
        form = _composed(generator, language)
    else:
        form = generator.choice(_ASK_EN if language == "en" else _ASK_ZH)
    verb = tool.verb
    return form.format(topic=tool.topic, values=values, verb=verb, Verb=verb.capitalize(), thing=tool.thing)


ANSWERS = {
    "en": ("The {topic} is {result}.", "It is {result}.", "The answer is {result}.", "{result}", "The result is {result}."),
    "zh": ("{topic}是{result}。", "结果是{result}。", "答案是{result}。", "{result}"),
}
THOUGHTS = {
    "en": ("I need {name}: {values}.", "I use {name}: {values}."),
    "zh": ("要用 {name}：{values}。", "需要 {name}：{values}。"),
}
FIRST = {
    "en": ("First I need {name}: {values}, then {later}.", "I first use {name}: {values}, then {later}."),
    "zh": ("先用 {name}：{values}，再用 {later}。", "第一步需要 {name}：{values}，然后是 {later}。"),
}
NEXT = {
    "en": ("Now I need {name}: {values}.", "Then I use {name}: {values}."),
    "zh": ("再用 {name}：{values}。", "接着需要 {name}：{values}。"),
}
RETRY = {
    "en": ("I will try again with {right}.", "The right name is {right}."),
    "zh": ("我用{right}再试一次。", "正确的是{right}。"),
}
DONE = {"en": ("I now know the answer.", "I have the result."), "zh": ("我知道答案了。", "我已经得到结果。")}
UNKNOWN = {"en": "unknown {thing} '{wrong}'. Did you mean '{right}'?", "zh": "没有{thing}“{wrong}”，您是不是要找“{right}”？"}
NONE = {
    "en": (
        "None of the tools can do this.",
        "Sorry, none of the tools fits this question.",
        "I can't: none of the tools can help here.",
    ),
    "zh": ("没有合适的工具可以完成。", "抱歉，没有合适的工具。", "这里没有合适的工具能回答这个问题。"),
}
ASK_BACK = {
    "en": ("Please tell me the {what}.", "What is the {what}?", "I need to know the {what}."),
    "zh": ("请告诉我{what}。", "请问{what}是什么？", "还需要{what}。"),
}
NOT_FIT = {"en": ("No tool fits.", "I have no tool for this."), "zh": ("没有工具适用。", "列表里没有这样的工具。")}


def pick(generator: random.Random, texts: Mapping[str, tuple[str, ...]], language: Language, **values: str) -> str:
    return generator.choice(texts[language]).format(**values)
