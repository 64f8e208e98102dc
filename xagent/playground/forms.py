"""Episodes told as a clerk filling in forms from a desk.

Other words, another layout and other turns than any tool protocol has; what is told are turns of (role, text).
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xagent.chat.message import ToolSpec
from xagent.playground.cues import shared_words
from xagent.playground.episode import Episode, Step
from xagent.playground.reading import full_thought
from xagent.playground.speech import TALKS
from xagent.playground.tool import Language
from xagent.playground.words import NOUNS_EN, made_up_word

TALK_SHARE = 0.12
"""Before how many questions of a conversation that reads its list aloud somebody just talks."""


def tell(generator: random.Random, episodes: list[Episode], quoting: bool = False) -> list[tuple[str, str]]:
    """Tell episodes that offer the same tools; with ``quoting``, what a form is known by is quoted before it is named."""
    language = episodes[0].language
    turns = [("system", _counter(generator, language, episodes[0].tools))]
    fill = _filling(generator)
    remark, answer = generator.choice((("", ""), *_LABELS[language]))
    desk = generator.choice(_DESK[language])
    for episode in episodes:
        turns.append(("user", episode.question))
        for place, step in enumerate(episode.steps):
            turns.append(("assistant", f"{remark}{_remark(generator, episode, step, place, quoting)}\n{fill(step)}"))
            turns.append(("user", desk + step.observation))
        turns.append(("assistant", answer + (episode.answer if episode.steps else _retold(episode))))
    return turns


def tell_reading(generator: random.Random, episodes: list[Episode], labels: Labels) -> list[tuple[str, str]]:
    """Tell episodes that offer the same tools, with all that the reference agent thinks."""
    language, tools = episodes[0].language, episodes[0].tools
    turns = [("system", _counter(generator, language, tools))]
    remark, answer = labels.remark, labels.answer
    for episode in episodes:
        if generator.random() < TALK_SHARE:
            question, reply = generator.choice(TALKS[language])(generator)
            turns += [("user", question), ("assistant", f"{remark}{_pick(generator, _NO_FORM, language)}\n{answer}{reply}")]
        turns.append(("user", episode.question))
        for step in episode.steps:
            thought = full_thought(step.thought, step.choice, tools, episode.question, language)
            turns += [("assistant", f"{remark}{thought}\n{labels.fill(step)}"), ("user", labels.desk + step.observation)]
        thought = full_thought(episode.final_thought, episode.choice, tools, episode.question, language)
        turns.append(("assistant", _in_forms(f"{remark}{thought}\n{answer}{episode.answer}")))
    return turns


@dataclass(frozen=True)
class Labels:
    """How a clerk writes: what stands before a remark, an answer and the desk's words, and how a form is filled in."""

    fill: Callable[[Step], str]
    remark: str
    answer: str
    desk: str


def usual_labels(generator: random.Random, language: Language) -> Labels:
    """Draw labels of the few that are words people would write."""
    fill = _filling(generator)
    remark, answer = generator.choice(_LABELS[language])
    return Labels(fill, remark, answer, generator.choice(_DESK[language]))


def drawn_labels(generator: random.Random, language: Language) -> Labels:
    """Draw labels, most of them words that mean nothing: what matters is that a conversation keeps to its own."""
    if generator.random() < 0.35:
        return usual_labels(generator, language)
    end = generator.choice((":", ": ", "：", " = "))

    def label() -> str:
        word = made_up_word(generator) if generator.random() < 0.6 else generator.choice(NOUNS_EN)
        if generator.random() < 0.25:
            word = f"{word} {generator.choice(NOUNS_EN)}"
        return (word.capitalize() if generator.random() < 0.8 else word) + end

    remark, answer, desk = label(), label(), label()
    if generator.random() < 0.3:
        return Labels(_filling(generator), remark, answer, desk)
    form, blanks = label(), label()

    def fill(step: Step) -> str:
        return f"{form}{step.tool}\n{blanks}{json.dumps(dict(step.arguments), ensure_ascii=False)}"

    return Labels(fill, remark, answer, desk)


def _counter(generator: random.Random, language: Language, tools: Sequence[ToolSpec]) -> str:
    """List the forms that can be had."""
    listing = generator.choice((_as_literals, _as_literals, _as_lines, _as_json))
    header = generator.choice(_HEADERS[language])
    footer = generator.choice(_FOOTERS[language]).format(names=[tool.name for tool in tools])
    return f"{header}\n{listing(generator, tools)}\n{footer}"


def _filling(generator: random.Random) -> Callable[[Step], str]:
    return generator.choice((_arrow, _blanks, _object, _two_lines(generator), _two_lines(generator), _two_lines(generator)))


def _in_forms(text: str) -> str:
    """Speak of forms where an episode speaks of tools."""
    return text.replace("tool", "form").replace("工具", "表格")


_NO_FORM = {"en": ("I need no form for this.", "No form is needed."), "zh": ("这不用填表格。", "我可以自己回答。")}
_HEADERS = {
    "en": (
        "Forms on the desk:",
        "These forms can be filled in.",
        "You are a clerk. The desk has these forms:",
        "You are a assistant who can fill in forms.\nThe list of forms:",
    ),
    "zh": (
        "桌上的表格：",
        "可以填写下列表格。",
        "你是一名办事员，有这些表格：",
        "你是一个可以填写表格的助手，可以填写的表格包括：",
    ),
}
_FOOTERS = {
    "en": (
        "Forms: {names}",
        "Choose among {names}.",
        "Fill in one form at a time.",
        "To fill in a form, say why, name the form, one of {names}, and give its blanks. If no form is needed, answer. Begin!",
    ),
    "zh": (
        "表格：{names}",
        "从{names}中选择。",
        "一次填一张表。",
        "如果填表，请先说明原因，再写表格名称（需要从{names}中选择）和表格内容。如果已经知道答案，请直接回答。开始！",
    ),
}
_LABELS = {
    "en": (("Note:", "Reply:"), ("Why: ", "So: "), ("(1) ", "(2) "), ("Note: ", "")),
    "zh": (("说明:", "答复:"), ("原因：", "答复："), ("（一）", "（二）"), ("说明：", "")),
}
_DESK = {"en": ("Desk says: ", "Desk:", "Result: "), "zh": ("柜台回复：", "柜台:", "结果：")}
# What the parts of a form are called in a listing, each drawn by itself.
_FORM_KEYS = ("form", "name", "title")
_USE_KEYS = ("use", "about", "description")
_BLANKS_KEYS = ("blanks", "fields", "parameters")
_BLANK_KEYS = ("blank", "name", "field")
_KIND_KEYS = ("kind", "type")
_NOTE_KEYS = ("note", "description", "meaning")
_NEEDED_KEYS = ("needed", "required", None)
_KINDS = (
    {"string": "words", "number": "amount", "integer": "count"},
    {"string": "STRING", "number": "FLOAT", "integer": "NUMBER"},
    {"string": "text", "number": "number", "integer": "number"},
)


def _as_literals(generator: random.Random, tools: Sequence[ToolSpec]) -> str:
    """List forms as Python writes them, under keys drawn at random."""
    form, use, blanks, blank, kind, note = (
        generator.choice(keys) for keys in (_FORM_KEYS, _USE_KEYS, _BLANKS_KEYS, _BLANK_KEYS, _KIND_KEYS, _NOTE_KEYS)
    )
    needed, kinds = generator.choice(_NEEDED_KEYS), generator.choice(_KINDS)
    forms = []
    for tool in tools:
        entry: dict[str, Any] = {form: tool.name, use: tool.description}
        entry[blanks] = [{blank: name, kind: kinds[each["type"]], note: each["description"]} for name, each in _properties(tool)]
        if needed:
            entry[needed] = [name for name, _ in _properties(tool)]
        forms.append(entry)
    return str(forms)


def _as_json(generator: random.Random, tools: Sequence[ToolSpec]) -> str:
    form, use = generator.choice(_FORM_KEYS), generator.choice(_USE_KEYS)
    return "\n".join(
        json.dumps(
            {form: tool.name, use: tool.description, **{name: each["description"] for name, each in _properties(tool)}},
            ensure_ascii=False,
        )
        for tool in tools
    )


def _as_lines(generator: random.Random, tools: Sequence[ToolSpec]) -> str:
    kinds = generator.choice(_KINDS)
    return "\n".join(f"- {tool.name}: {tool.description} ({_blanks_line(tool, kinds)})" for tool in tools)


def _blanks_line(tool: ToolSpec, kinds: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {kinds[each['type']]}, {each['description']}" for name, each in _properties(tool))


def _properties(tool: ToolSpec) -> list[tuple[str, Any]]:
    return list(tool.parameters["properties"].items())


def _arrow(step: Step) -> str:
    return f"{step.tool} -> {json.dumps(dict(step.arguments), ensure_ascii=False)}"


def _blanks(step: Step) -> str:
    return "\n".join(
        [f"[{step.tool}]", *(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in step.arguments.items())]
    )


def _object(step: Step) -> str:
    return json.dumps({"form": step.tool, "blanks": dict(step.arguments)}, ensure_ascii=False)


def _two_lines(generator: random.Random) -> Callable[[Step], str]:
    """Give a way to fill in forms: the name on one line, the blanks as an object on the next."""
    form = generator.choice(("Form:", "Form: ", "Sheet:", "Pick: ", "表格:", "- "))
    blanks = generator.choice(("Blanks:", "Blanks: ", "Fields:", "With: ", "内容:", "  "))

    def fill(step: Step) -> str:
        return f"{form}{step.tool}\n{blanks}{json.dumps(dict(step.arguments), ensure_ascii=False)}"

    return fill


def _remark(generator: random.Random, episode: Episode, step: Step, place: int, quoting: bool) -> str:
    right = next(iter(step.arguments.values()))
    if place and episode.steps[place - 1].failed:
        wrong = episode.steps[place - 1].arguments
        right = next(value for name, value in step.arguments.items() if value != wrong[name])
        return _pick(generator, _CORRECT, episode.language).format(right=right)
    if quoting and (cue := _cue(episode, step.tool)):
        return _pick(generator, _QUOTE, episode.language).format(name=step.tool, cue=cue)
    return _pick(generator, _TAKE, episode.language).format(name=step.tool, right=right)


def _cue(episode: Episode, name: str) -> str:
    said = {tool.name: tool.description for tool in episode.tools}
    others = [text for other, text in said.items() if other != name]
    return shared_words(episode.question, said[name], others, episode.language)


_TAKE = {
    "en": ("I take the form {name}.", "The form {name} fits.", "{name} it is."),
    "zh": ("我填表格 {name}。", "应该用表格 {name}。", "{name} 合适。"),
}
_QUOTE = {
    "en": (
        '"{cue}": the form {name}.',
        '"{cue}" goes on {name}.',
        'For "{cue}" I take {name}.',
        '"{cue}" is what {name} is for.',
    ),
    "zh": ("“{cue}”：填表格 {name}。", "“{cue}”要填 {name}。", "看到“{cue}”，我填 {name}。", "“{cue}”是 {name} 管的。"),
}
_CORRECT = {"en": ("I correct it to {right}.", "It must be {right}."), "zh": ("我改成{right}。", "应该是{right}。")}


def _pick(generator: random.Random, texts: Mapping[str, tuple[str, ...]], language: Language) -> str:
    return generator.choice(texts[language])


def _retold(episode: Episode) -> str:
    """Give the ending of an episode without steps in the clerk's words."""
    if episode.kind == "ask_back":
        return f"{episode.final_thought} {episode.answer}"
    return "None of the forms is right for that." if episode.language == "en" else "没有合适的表格。"
