"""The text that the embedded base model learns from: it speaks and copies, and knows no tool protocol.

Invented episodes are told as a clerk filling in *forms* from a desk: other words, another layout and other turns than any
tool protocol has. A record is ``{"messages": [{role, content, loss, weight}]}``, for ``openai_map_fn``.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from xagent.chat.message import ToolSpec
from xagent.errors import ConfigError
from xagent.playground import catalogues, invented_tools
from xagent.playground.conversation import joined, sharing_tools
from xagent.playground.cues import shared_words
from xagent.playground.disguise import in_other_words
from xagent.playground.episode import Episode, Kind, Step
from xagent.playground.generate import generate_episodes
from xagent.playground.held_out import holds_held_out_text, may_be_trained
from xagent.playground.invented import draw_episodes
from xagent.playground.invented_tools import draw_value
from xagent.playground.reading import full_thought
from xagent.playground.tool import LANGUAGES, Language
from xagent.playground.words import NOUNS_EN, NOUNS_ZH, TALK_EN, made_up_hanzi, made_up_word, patchwork

if TYPE_CHECKING:
    from datasets import Dataset

CONTEXT_WEIGHT = 0.25
"""What the words of system and user weigh: predicting lists of forms teaches copying, but most of them is chance."""

SPEECH_SHARE = 0.2

Lesson = Literal["forms", "lookups", "reading", "planning"]
"""What a model learns: first to speak, to copy and to fill in forms; then to look things up in lists; then to read a list
aloud, and to say what is known and what is missing (``reading.py``); then all of that together, with plans of two steps, under
any labels, and with the words of the playground's training tools."""

LATER_CONTEXT_WEIGHT = 0.05
"""``CONTEXT_WEIGHT`` of the lessons after the first: copying is known by then."""

LOOKUPS_SHARES = {"catalogue": 0.4, "speech": 0.1}
"""How many records of the second lesson are of a kind; the others are forms."""

READING_SHARES = {"speech": 0.08, "talk": 0.12}
"""How many records of the third lesson are talk alone, and before how many questions of the others somebody just talks."""

READING_KINDS: dict[Kind, float] = {"single": 0.4, "chained": 0.16, "recovered": 0.1, "no_tool_fits": 0.16, "ask_back": 0.18}
"""The shares of the kinds in the third lesson."""

PLANNING_SHARES = {"speech": 0.12, "real": 0.5, "disguised": 0.75}
"""How many records of the fourth lesson are speech, mostly of copying, how many of the others are about the playground's training
tools, told as forms, and how many of those in other words (``disguise.py``)."""

PLANNING_KINDS: dict[Kind, float] = {"single": 0.32, "chained": 0.26, "recovered": 0.08, "no_tool_fits": 0.15, "ask_back": 0.19}
"""The shares of the kinds among its records about invented tools."""

REAL_KINDS: dict[Kind, float] = {
    "single": 0.36,
    "chained": 0.28,
    "recovered": 0.08,
    "no_call": 0.05,
    "no_tool_fits": 0.09,
    "ask_back": 0.14,
}
"""The shares of the kinds among those about the playground's tools."""


def pretraining_records(count: int, seed: int, lesson: Lesson = "forms") -> Iterator[dict[str, Any]]:
    """Give ``count`` records of a lesson, the same ones for the same arguments, one at a time.

    A record in which a held-out tool's name, description or question turns up by chance is drawn again.

    Raises:
        ConfigError: the lesson is unknown.
    """
    if lesson not in get_args(Lesson):
        raise ConfigError(f"lesson must be one of {', '.join(get_args(Lesson))}, got {lesson!r}")
    weight = CONTEXT_WEIGHT if lesson == "forms" else LATER_CONTEXT_WEIGHT
    draw = {"forms": _draw, "lookups": _draw_lookups, "reading": _draw_reading, "planning": _draw_planning}[lesson]
    for number in range(count):
        generator = random.Random(f"pretraining-{seed}-{number}" if lesson == "forms" else f"{lesson}-{seed}-{number}")
        while True:
            turns = draw(generator)
            if not holds_held_out_text("\n".join(text for _, text in turns)):
                break
        yield {"id": f"pretrain-{seed}-{number}", "messages": [_message(role, text, weight) for role, text in turns]}


def pretraining_dataset(count: int, seed: int, lesson: Lesson = "forms") -> Dataset:
    """Give the records as a Hugging Face data set, for a config's ``dataset=dict(type=pretraining_dataset, ...)``."""
    from datasets import Dataset

    # What was generated is known by its arguments and by the text of what draws it: the data set's cache follows both.
    code = "".join(path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.rglob("*.py")))
    fingerprint = hashlib.sha256(f"{count} {seed} {lesson} {code}".encode()).hexdigest()[:16]
    return Dataset.from_generator(
        pretraining_records, gen_kwargs={"count": count, "seed": seed, "lesson": lesson}, fingerprint=fingerprint
    )


def _draw(generator: random.Random) -> list[tuple[str, str]]:
    language = generator.choice(LANGUAGES)
    if generator.random() < SPEECH_SHARE:
        return _speech(generator, language)
    rounds = generator.choices((1, 2, 3, 4), (0.35, 0.25, 0.2, 0.2))[0]
    return _desk(generator, draw_episodes(generator, language, "desk", rounds))


def _draw_lookups(generator: random.Random) -> list[tuple[str, str]]:
    language = generator.choice(LANGUAGES)
    place = generator.random()
    if place < LOOKUPS_SHARES["catalogue"]:
        return catalogues.catalogue(generator, language)
    if place < LOOKUPS_SHARES["catalogue"] + LOOKUPS_SHARES["speech"]:
        return _speech(generator, language)
    return _desk(generator, draw_episodes(generator, language, "desk", generator.randint(2, 5)), quoting=True)


def _draw_reading(generator: random.Random) -> list[tuple[str, str]]:
    language = generator.choice(LANGUAGES)
    if generator.random() < READING_SHARES["speech"]:
        return _speech(generator, language)
    episodes = draw_episodes(generator, language, "desk", generator.randint(2, 5), READING_KINDS)
    return _reading_desk(generator, episodes, _usual_labels(generator, language))


def _draw_planning(generator: random.Random) -> list[tuple[str, str]]:
    language = generator.choice(LANGUAGES)
    if generator.random() < PLANNING_SHARES["speech"]:
        return _recital(generator, language)
    labels = _drawn_labels(generator, language)
    if generator.random() >= PLANNING_SHARES["real"]:
        return _reading_desk(generator, _invented_episodes(generator, language), labels)
    real = _real_episodes(generator, language, generator.randint(1, 3))
    if generator.random() < PLANNING_SHARES["disguised"]:
        real = in_other_words(generator, real)
    return _reading_desk(generator, real, labels)


def _invented_episodes(generator: random.Random, language: Language) -> list[Episode]:
    while True:
        episodes = draw_episodes(generator, language, "desk", generator.randint(1, 4), PLANNING_KINDS)
        if all(may_be_trained(episode) for episode in episodes):
            return episodes


def _real_episodes(generator: random.Random, language: Language, count: int) -> list[Episode]:
    """Draw training episodes of the playground's tools that can stand in one conversation."""
    found: list[Episode] = []
    for kind in generator.choices(list(REAL_KINDS), list(REAL_KINDS.values()), k=count):
        seed = generator.randrange(2**40)
        drawn = next(generate_episodes(1, seed, purpose="training", languages=(language,), kinds=(kind,)))
        found = joined(found, drawn)
    return sharing_tools(found)


def _message(role: str, text: str, context_weight: float) -> dict[str, Any]:
    weight = 1.0 if role == "assistant" else context_weight
    return {"role": role, "content": text, "loss": True, "weight": weight}


# Forms


def _desk(generator: random.Random, episodes: list[Episode], quoting: bool = False) -> list[tuple[str, str]]:
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


def _reading_desk(generator: random.Random, episodes: list[Episode], labels: _Labels) -> list[tuple[str, str]]:
    """Tell episodes that offer the same tools, with all that the reference agent thinks."""
    language, tools = episodes[0].language, episodes[0].tools
    turns = [("system", _counter(generator, language, tools))]
    remark, answer = labels.remark, labels.answer
    for episode in episodes:
        if generator.random() < READING_SHARES["talk"]:
            question, reply = generator.choice(_TALKS[language])(generator)
            turns += [("user", question), ("assistant", f"{remark}{_pick(generator, _NO_FORM, language)}\n{answer}{reply}")]
        turns.append(("user", episode.question))
        for step in episode.steps:
            thought = full_thought(step.thought, step.choice, tools, episode.question, language)
            turns += [("assistant", f"{remark}{thought}\n{labels.fill(step)}"), ("user", labels.desk + step.observation)]
        thought = full_thought(episode.final_thought, episode.choice, tools, episode.question, language)
        turns.append(("assistant", _in_forms(f"{remark}{thought}\n{answer}{episode.answer}")))
    return turns


@dataclass(frozen=True)
class _Labels:
    """How a clerk writes: what stands before a remark, an answer and the desk's words, and how a form is filled in."""

    fill: Callable[[Step], str]
    remark: str
    answer: str
    desk: str


def _usual_labels(generator: random.Random, language: Language) -> _Labels:
    fill = _filling(generator)
    remark, answer = generator.choice(_LABELS[language])
    return _Labels(fill, remark, answer, generator.choice(_DESK[language]))


def _drawn_labels(generator: random.Random, language: Language) -> _Labels:
    """Draw labels, most of them words that mean nothing: what matters is that a conversation keeps to its own."""
    if generator.random() < 0.35:
        return _usual_labels(generator, language)
    end = generator.choice((":", ": ", "：", " = "))

    def label() -> str:
        word = made_up_word(generator) if generator.random() < 0.6 else generator.choice(NOUNS_EN)
        if generator.random() < 0.25:
            word = f"{word} {generator.choice(NOUNS_EN)}"
        return (word.capitalize() if generator.random() < 0.8 else word) + end

    remark, answer, desk = label(), label(), label()
    if generator.random() < 0.3:
        return _Labels(_filling(generator), remark, answer, desk)
    form, blanks = label(), label()

    def fill(step: Step) -> str:
        return f"{form}{step.tool}\n{blanks}{json.dumps(dict(step.arguments), ensure_ascii=False)}"

    return _Labels(fill, remark, answer, desk)


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


# Speech


def _speech(generator: random.Random, language: Language) -> list[tuple[str, str]]:
    turns: list[tuple[str, str]] = []
    if generator.random() < 0.4:
        turns.append(("system", "You are a friendly helper." if language == "en" else "你是一个友好的助手。"))
    for _ in range(generator.randint(1, 4)):
        question, answer = generator.choice(_TALKS[language])(generator)
        turns += [("user", question), ("assistant", answer)]
    return turns


def _recital(generator: random.Random, language: Language) -> list[tuple[str, str]]:
    """Say texts again, whole or a part of them: copying, dense and of everything."""
    turns: list[tuple[str, str]] = []
    for _ in range(generator.randint(2, 5)):
        if generator.random() < 0.25:
            question, answer = generator.choice(_TALKS[language])(generator)
        else:
            texts = [_any_text(generator, language) for _ in range(generator.randint(2, 5))]
            if generator.random() < 0.5:
                whole = generator.choice((" ", ", ", "; ", "\n", " - ", ": ")).join(texts)
                question, answer = f"{generator.choice(_AGAIN[language])}{whole}", whole
            else:
                place = generator.randrange(len(texts))
                lines = "\n".join(f"{number}. {text}" for number, text in enumerate(texts, start=1))
                question, answer = f"{lines}\n{_LINE[language].format(number=place + 1)}", texts[place]
        turns += [("user", question), ("assistant", answer)]
    return turns


_AGAIN: Mapping[Language, tuple[str, ...]] = {
    "en": ("Say again: ", "Repeat: ", "Copy this\n"),
    "zh": ("请重复：", "跟我说：", "照抄："),
}
_LINE: Mapping[Language, str] = {"en": "Read line {number}.", "zh": "读第{number}行。"}


def _any_text(generator: random.Random, language: Language) -> str:
    """Draw a value, a sentence of any words, or what a tool that doesn't exist is for."""
    style = generator.random()
    if style < 0.4:
        return str(draw_value(generator, generator.choice(("string", "string", "string", "number")), language))
    if style < 0.6:
        return invented_tools.invent(generator, language).spec.description
    words = _words(generator, language, 3, 8)
    if style < 0.8 and language == "en":
        words = [word if generator.random() < 0.4 else patchwork(generator) for word in words]
    if generator.random() < 0.6:
        words += generator.sample(words, generator.randint(1, len(words)))
        if language == "en" and generator.random() < 0.5:
            # Nearly the same word again: what follows it is not what followed the other.
            words.insert(generator.randrange(len(words)), generator.choice(words) + generator.choice(("s", "ed", "ly", "ing")))
    return (" " if language == "en" else "").join(words)


def _words(generator: random.Random, language: Language, low: int = 2, high: int = 5) -> list[str]:
    size = generator.randint(low, high)
    if language == "zh":
        return [generator.choice(NOUNS_ZH) if generator.random() < 0.6 else made_up_hanzi(generator) for _ in range(size)]
    words = [generator.choice(generator.choice((NOUNS_EN, TALK_EN, TALK_EN))) for _ in range(size)]
    words = [word if generator.random() < 0.75 else made_up_word(generator) for word in words]
    return [
        word.upper() if generator.random() < 0.08 else word.capitalize() if generator.random() < 0.35 else word for word in words
    ]


def _repeat_en(generator: random.Random) -> tuple[str, str]:
    text = generator.choice((" ", " ", ", ", ":", ": ", "\n")).join(_words(generator, "en", 3, 9))
    return generator.choice((f"Say again: {text}", f"Repeat after me: {text}", f"{text} - please echo that.")), text


def _which_en(generator: random.Random) -> tuple[str, str]:
    words = _words(generator, "en", 3, 5)
    place = generator.randrange(len(words))
    order = ("first", "second", "third", "fourth", "fifth")[place]
    return f"Here are some words: {', '.join(words)}. What is the {order} word?", f"The {order} word is {words[place]}."


def _greet_en(generator: random.Random) -> tuple[str, str]:
    name = made_up_word(generator).capitalize()
    return generator.choice(
        (
            ("Hello!", "Hello! How can I help you?"),
            ("Hi there", "Hi! What can I do for you?"),
            ("Good morning.", "Good morning! What do you need?"),
            ("Thanks a lot!", "You are welcome!"),
            ("Thank you.", "You are welcome."),
            ("Goodbye!", "Goodbye! Have a nice day."),
            ("How are you?", "I am fine, thank you."),
            (f"My name is {name}.", f"Nice to meet you, {name}!"),
            (f"I am {name}. Hello!", f"Hello {name}! How can I help you?"),
        )
    )


def _fact_en(generator: random.Random) -> tuple[str, str]:
    one, two = _words(generator, "en", 2, 2)
    who = made_up_word(generator).capitalize()
    return f"{who} has a {one} and a {two}. Who has a {two}?", f"{who} has a {two}."


def _repeat_zh(generator: random.Random) -> tuple[str, str]:
    text = "".join(_words(generator, "zh"))
    return generator.choice((f"请重复：{text}", f"跟我说：{text}")), text


def _which_zh(generator: random.Random) -> tuple[str, str]:
    words = _words(generator, "zh", 3, 5)
    place = generator.randrange(len(words))
    return f"有这些词：{'、'.join(words)}。第{place + 1}个是什么？", f"第{place + 1}个是{words[place]}。"


def _greet_zh(generator: random.Random) -> tuple[str, str]:
    name = made_up_hanzi(generator, 2, 3)
    return generator.choice(
        (
            ("你好！", "你好！有什么可以帮你？"),
            ("早上好", "早上好！需要我做什么？"),
            ("谢谢！", "不客气！"),
            ("多谢你的帮助", "不客气，很高兴能帮到你。"),
            ("再见", "再见，祝你愉快！"),
            ("你好吗？", "我很好，谢谢。"),
            (f"我叫{name}。", f"很高兴认识你，{name}！"),
        )
    )


def _fact_zh(generator: random.Random) -> tuple[str, str]:
    one, two = _words(generator, "zh", 2, 2)
    who = made_up_hanzi(generator, 2, 3)
    return f"{who}有{one}和{two}。谁有{two}？", f"{who}有{two}。"


_TALKS = {
    "en": (_repeat_en, _which_en, _greet_en, _fact_en),
    "zh": (_repeat_zh, _which_zh, _greet_zh, _fact_zh),
}
