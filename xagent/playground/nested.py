"""Tasks of two calls put together from the training tools' own sentences: where a question has a value, the words for another
tool's result stand instead.

"What is 15 percent of 240?" and "the price of the desk lamp" make "What is 15 percent of the price of the desk lamp?". More than
200 pairs of tools come of it, more than anybody would write down as :data:`xagent.playground.chains.CHAINS`. What is named so is
looked up: people compute with what they looked up, and seldom look up what they computed.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from xagent.playground.tool import Language

Content = Literal["number", "text", "person", "city", "time", "room", "supplier", "page"]
"""What a tool's result tells, and what a parameter may be told by one."""


@dataclass(frozen=True)
class Result:
    """How people speak of what a tool gives, instead of naming the value.

    Attributes:
        contents: what the result can serve as.
        phrases: for each language, phrases with fields for the tool's parameters.
    """

    contents: tuple[Content, ...]
    phrases: Mapping[Language, tuple[str, ...]]


def _result(contents: str, en: tuple[str, ...], zh: tuple[str, ...]) -> Result:
    return Result(tuple(contents.split()), {"en": en, "zh": zh})  # type: ignore[arg-type]


RESULTS: Mapping[str, Result] = {
    "room_seats": _result("number", ("the seats of the {room}", "the number of seats in the {room}"), ("{room}的座位数",)),
    "product_price": _result("number", ("the price of the {product}",), ("{product}的价格", "商品{product}的价格")),
    "stock_count": _result("number", ("the stock of the {product}", "our stock of the {product}"), ("{product}的库存",)),
    "ticket_fare": _result("number", ("the ticket fare to {town}", "the fare to {town}"), ("去{town}的票价", "到{town}的票价")),
    "town_temperature": _result("number", ("the temperature in {town}", "the temperature of {town}"), ("{town}的气温",)),
    "cooking_minutes": _result("number", ("the cooking minutes of {dish}",), ("煮{dish}的分钟数",)),
    "animal_lifespan": _result("number", ("the years that the animal {animal} lives",), ("{animal}的寿命",)),
    "phone_extension": _result("number text", ("the phone extension of {person}",), ("{person}的分机", "{person}的分机电话")),
    "train_platform": _result("number", ("the platform of train {train}",), ("列车 {train} 的站台号",)),
    "departure_time": _result("time", ("the departure time of train {train}",), ("车次 {train} 的发车时间",)),
    "office_room": _result("room text", ("the office room of {person}", "the office of {person}"), ("{person}的办公厅",)),
    "team_manager": _result(
        "person text", ("the manager of {person}", "the boss of {person}"), ("{person}的经理", "{person}的上级")
    ),
    "product_supplier": _result(
        "supplier text", ("the supplier of the {product}", "the supplier of the item {product}"), ("{product}的供应商",)
    ),
    "supplier_city": _result("city text", ("the city of the firm {supplier}",), ("{supplier}公司所在的城市",)),
    "town_mayor": _result("text", ("the mayor of {town}", "the mayor's name in {town}"), ("{town}的镇长", "{town}镇长的名字")),
    "main_ingredient": _result("text", ("the main ingredient of {dish}",), ("{dish}的主要食材",)),
    "book_author": _result("text", ("the author of {book}", "the author of the book {book}"), ("《{book}》的作者",)),
    "library_shelf": _result("text", ("the library shelf of {book}",), ("《{book}》的书架号",)),
    "element_symbol": _result("text", ("the chemical symbol of {element}", "the symbol of {element}"), ("{element}的化学符号",)),
    "country_capital": _result("text", ("the capital of {country}",), ("{country}的首都",)),
    "search_handbook": _result("page text", ("the handbook page about {query}",), ("手册里讲{query}的页面",)),
    "page_editor": _result("text", ("the editor of the page {page}",), ("“{page}”页面的编辑",)),
}

TAKES: Mapping[Content, tuple[tuple[str, str], ...]] = {
    "number": (
        ("add_numbers", "first"),
        ("add_numbers", "second"),
        ("multiply_numbers", "first"),
        ("multiply_numbers", "second"),
        ("divide_numbers", "number"),
        ("divide_numbers", "divisor"),
        ("percent_of", "number"),
        ("percent_of", "percent"),
        ("average_numbers", "first"),
        ("average_numbers", "second"),
        ("average_numbers", "third"),
        ("round_number", "number"),
        ("roman_numeral", "number"),
        ("binary_number", "number"),
        ("circle_area", "radius"),
        ("rectangle_area", "width"),
        ("rectangle_area", "height"),
        ("box_volume", "length"),
        ("box_volume", "height"),
        ("celsius_to_fahrenheit", "celsius"),
        ("miles_to_kilometers", "miles"),
        ("pounds_to_kilograms", "pounds"),
        ("inches_to_centimeters", "inches"),
        ("hours_to_seconds", "hours"),
        ("exchange_currency", "amount"),
        ("add_days", "days"),
        ("add_minutes", "minutes"),
    ),
    "text": (
        ("reverse_text", "text"),
        ("count_letters", "text"),
        ("uppercase_word", "word"),
        ("repeat_text", "text"),
        ("join_words", "first"),
        ("join_words", "second"),
        ("replace_letter", "word"),
    ),
    "person": (("phone_extension", "person"), ("office_room", "person")),
    "city": (("town_temperature", "town"), ("ticket_fare", "town"), ("town_mayor", "town")),
    "time": (("add_minutes", "time"),),
    "room": (("room_seats", "room"),),
    "supplier": (("supplier_city", "supplier"),),
    "page": (("page_editor", "page"),),
}

_LOOK_UP: Mapping[Language, tuple[str, ...]] = {
    "en": ("Look up {inner}. {question}", "Take {inner}. {question}", "First find {inner}, then tell me: {question}"),
    "zh": ("先查{inner}。{question}", "请查{inner}，再回答：{question}", "先求{inner}，然后{question}"),
}
_IT: Mapping[Language, tuple[str, ...]] = {"en": ("it", "that", "the result"), "zh": ("它", "这个结果")}
BEFOREHAND_SHARE = 0.2
"""How many questions name the first result in a sentence of its own."""


_THINGS = "text|words?|numbers?|date|time|page|firm|employee|town"  # kinds of things that questions name before a value
Asking = Callable[[Mapping[str, Any], Mapping[str, Any]], str]
"""Gives a question from the first call's arguments and the second's."""


def draw_pair(rng: random.Random) -> tuple[str, str, str]:
    """Draw two training tools and the second one's parameter that takes the first one's result."""
    first = rng.choice(sorted(RESULTS))
    content = rng.choice(RESULTS[first].contents)
    second, parameter = rng.choice([taken for taken in TAKES[content] if taken[0] != first])
    return first, second, parameter


def nested_question(rng: random.Random, template: str, parameter: str, phrase: str, language: Language) -> Asking:
    """Give what asks a question with a phrase for the value of one parameter.

    What only fits a plain value (an article, the kind of thing, quotation marks, spaces around a number in Chinese) goes.
    """
    beforehand = rng.choice(_LOOK_UP[language]) if rng.random() < BEFOREHAND_SHARE else None
    it = rng.choice(_IT[language])

    def asked(arguments: Mapping[str, Any], following: Mapping[str, Any]) -> str:
        inner = phrase.format(**arguments)
        question = _with(template, parameter, inner if beforehand is None else it, language).format(**following)
        return _capitalised(question if beforehand is None else beforehand.format(inner=inner, question=question))

    return asked


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _with(template: str, parameter: str, words: str, language: Language) -> str:
    field = rf"\{{{parameter}\}}"
    pattern = rf"[“《 ]?{field}[”》 ]?" if language == "zh" else rf"(\b(the )?({_THINGS}) |\bthe )?{field}"
    return re.sub(pattern, lambda _: words, template).strip()
