"""Plain talk, told as turns of (role, text): what a base learns to speak and to copy by."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from xagent.playground import invented_tools
from xagent.playground.invented_tools import draw_value
from xagent.playground.tool import Language
from xagent.playground.words import NOUNS_EN, NOUNS_ZH, TALK_EN, made_up_hanzi, made_up_word, patchwork


def speech(generator: random.Random, language: Language) -> list[tuple[str, str]]:
    """Talk for one to four rounds: repeating, counting, greeting, who has what."""
    turns: list[tuple[str, str]] = []
    if generator.random() < 0.4:
        turns.append(("system", "You are a friendly helper." if language == "en" else "你是一个友好的助手。"))
    for _ in range(generator.randint(1, 4)):
        question, answer = generator.choice(TALKS[language])(generator)
        turns += [("user", question), ("assistant", answer)]
    return turns


def recital(generator: random.Random, language: Language) -> list[tuple[str, str]]:
    """Say texts again, whole or a part of them: copying, dense and of everything."""
    turns: list[tuple[str, str]] = []
    for _ in range(generator.randint(2, 5)):
        if generator.random() < 0.25:
            question, answer = generator.choice(TALKS[language])(generator)
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


TALKS: Mapping[Language, tuple[Callable[[random.Random], tuple[str, str]], ...]] = {
    "en": (_repeat_en, _which_en, _greet_en, _fact_en),
    "zh": (_repeat_zh, _which_zh, _greet_zh, _fact_zh),
}
"""What draws a question and its answer."""
