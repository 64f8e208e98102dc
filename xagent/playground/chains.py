"""Tasks that take two calls: the first tool's result is an argument of the second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from xagent.playground.registry import TOOLS
from xagent.playground.tool import Language


@dataclass(frozen=True)
class Chain:
    """A recipe of two calls.

    Attributes:
        first, second: names of tools.
        parameter: the parameter of the second tool that takes the first one's result.
        questions: for each language, templates with fields for the first tool's parameters and the second's other ones.
    """

    first: str
    second: str
    parameter: str
    questions: Mapping[Language, tuple[str, ...]]

    @property
    def held_out(self) -> bool:
        """Tell whether both tools are held out (they are on the same side)."""
        return TOOLS[self.first].held_out


def _chain(first: str, second: str, parameter: str, en: tuple[str, ...], zh: tuple[str, ...]) -> Chain:
    assert TOOLS[first].held_out == TOOLS[second].held_out, (first, second)
    return Chain(first, second, parameter, {"en": en, "zh": zh})


CHAINS: tuple[Chain, ...] = (
    _chain(
        "team_manager",
        "phone_extension",
        "person",
        ("What is the phone extension of the manager of {person}?", "Find the manager of {person} and look up the extension."),
        ("{person}的经理的分机电话是多少？", "请查{person}的上级经理，再查经理的分机。"),
    ),
    _chain(
        "team_manager",
        "office_room",
        "person",
        ("In which office room sits the manager of {person}?", "Find the office of the boss of {person}."),
        ("{person}的经理在哪个办公厅？", "请查{person}的上级经理在哪个厅办公。"),
    ),
    _chain(
        "office_room",
        "room_seats",
        "room",
        ("How many seats has the office room of {person}?", "Tell me the seats of the room where {person} sits."),
        ("{person}的办公厅有多少个座位？", "请查同事{person}所在的办公厅的座位数。"),
    ),
    _chain(
        "product_price",
        "percent_of",
        "number",
        (
            "What is {percent} percent of the price of the {product}?",
            "Compute {percent} percent of the price of the product {product}.",
        ),
        ("求百分之 {percent}，基数是{product}的价格。", "{product}的价格的百分之 {percent} 是多少？"),
    ),
    _chain(
        "product_price",
        "multiply_numbers",
        "first",
        ("Multiply the price of the {product} by {second}.", "Look up the price of the {product} and multiply it with {second}."),
        ("{product}的价格乘以 {second} 是多少？", "请把{product}的价格和 {second} 相乘。"),
    ),
    _chain(
        "product_supplier",
        "supplier_city",
        "supplier",
        ("In which city is the supplier of the {product}?", "Tell me the home city of the supplier who delivers the {product}."),
        ("{product}的供应商在哪个城市？", "请查物品{product}的供应商所在的城市。"),
    ),
    _chain(
        "departure_time",
        "add_minutes",
        "time",
        (
            "What time is it {minutes} minutes after the departure of train {train}?",
            "Train {train} is {minutes} minutes late. At what time after its departure does it leave?",
        ),
        ("车次 {train} 的发车时间过 {minutes} 分钟是什么时刻？", "{train} 晚点 {minutes} 分钟发车，是什么时刻？"),
    ),
    _chain(
        "town_temperature",
        "celsius_to_fahrenheit",
        "celsius",
        ("What is the temperature in {town} in Fahrenheit?", "Report the temperature of {town} and convert it to Fahrenheit."),
        ("{town}的气温是多少华氏度？", "请查{town}的气温，再换成华氏度。"),
    ),
    _chain(
        "search_handbook",
        "page_editor",
        "page",
        (
            "Who is the editor of the handbook page about {query}?",
            "Search the handbook for {query} and tell me the editor of the page.",
        ),
        ("手册里讲{query}的页面，编辑是谁？", "请在手册里搜索{query}，再查页面的编辑。"),
    ),
    _chain(
        "country_capital",
        "reverse_text",
        "text",
        ("Spell the capital of {country} backwards.", "Reverse the name of the capital of {country}."),
        ("请把{country}的首都倒过来写。", "{country}首都的名字倒过来是什么？"),
    ),
    _chain(
        "country_capital",
        "count_letters",
        "text",
        ("How many letters has the capital of {country}?", "Count the letters in the capital of {country}."),
        ("{country}的首都有几个字？", "请数一数{country}的首都有多少个字。"),
    ),
    _chain(
        "main_ingredient",
        "reverse_text",
        "text",
        ("Spell the main ingredient of {dish} backwards.", "Reverse the main ingredient of the recipe {dish}."),
        ("请把{dish}的主要食材倒过来写。", "{dish}的主要食材倒过来是什么？"),
    ),
    _chain(
        "cooking_minutes",
        "add_minutes",
        "minutes",
        (
            "I start cooking {dish} at {time}. At what time is it done?",
            "It is {time}. What time is it after the cooking of {dish}?",
        ),
        ("我 {time} 开始煮{dish}，什么时刻煮好？", "现在是 {time}，煮完{dish}是什么时刻？"),
    ),
    _chain(
        "stock_count",
        "divide_numbers",
        "number",
        (
            "Divide the stock of the {product} by {divisor}.",
            "Check the stock of the {product} and divide it into {divisor} equal parts.",
        ),
        ("{product}的库存除以 {divisor} 的商是多少？", "请查{product}的库存，再和 {divisor} 相除。"),
    ),
    _chain(
        "add_days",
        "weekday_of_date",
        "date",
        ("What weekday is the date {date} plus {days} days?", "Starting on {date}, which weekday is {days} days later?"),
        ("{date}再过 {days} 天后是星期几？", "请查{date}加上 {days} 天后是星期几。"),
    ),
    _chain(
        "ticket_fare",
        "multiply_numbers",
        "first",
        (
            "Look up the ticket fare to {town} and multiply it by {second}.",
            "Multiply the fare for a trip to {town} with {second}.",
        ),
        ("去{town}的票价乘以 {second} 是多少？", "请把到{town}的票价和 {second} 相乘。"),
    ),
    _chain(
        "room_seats",
        "divide_numbers",
        "number",
        ("Divide the seats of the {room} by {divisor}.", "How many seats has the {room}? Divide that number by {divisor}."),
        ("{room}的座位数除以 {divisor} 的商是多少？", "请查{room}有多少个座位，再除以 {divisor}。"),
    ),
    _chain(
        "stock_count",
        "percent_of",
        "number",
        (
            "How many are {percent} percent of the stock of the {product}?",
            "Of the {product} in stock, compute {percent} percent.",
        ),
        ("{product}的库存的百分之 {percent} 是多少？", "请查{product}的库存，再算它的百分之 {percent}。"),
    ),
    _chain(
        "ticket_fare",
        "percent_of",
        "number",
        (
            "A child pays {percent} percent of the ticket fare to {town}. How much is that?",
            "Take the ticket fare to {town} and compute {percent} percent of it.",
        ),
        ("去{town}的票价的百分之 {percent} 是多少？", "孩子只付去{town}的票价的百分之 {percent}，是多少钱？"),
    ),
    _chain(
        "cooking_minutes",
        "multiply_numbers",
        "first",
        (
            "I cook {dish} {second} times. Multiply the cooking minutes.",
            "Multiply the minutes that the cooking of {dish} takes by {second}.",
        ),
        ("{dish}要煮的分钟数乘以 {second} 是多少？", "我煮 {second} 次{dish}，请把要煮的分钟数相乘。"),
    ),
    _chain(
        "animal_lifespan",
        "add_numbers",
        "first",
        (
            "To the years the animal {animal} lives add {second}.",
            "What is the sum of {second} and the years that the animal {animal} lives?",
        ),
        ("{animal}的寿命加上 {second} 的和是多少？", "请查{animal}的寿命有多少年，再加上 {second}。"),
    ),
    _chain(
        "town_temperature",
        "add_numbers",
        "first",
        (
            "Add {second} to the temperature in {town}.",
            "It gets {second} degrees warmer than the temperature of {town}. Add them.",
        ),
        ("{town}的气温加上 {second} 是多少？", "请查{town}的气温，再和 {second} 相加。"),
    ),
    _chain(
        "days_between",
        "divide_numbers",
        "number",
        (
            "Count the days between {start} and {end}, then divide them by {divisor}.",
            "Divide by {divisor} the number of days that lie between {start} and {end}.",
        ),
        ("{start}和{end}相隔的天数除以 {divisor} 的商是多少？", "请数{start}和{end}相隔多少天，再除以 {divisor}。"),
    ),
    _chain(
        "hours_to_seconds",
        "divide_numbers",
        "number",
        (
            "Convert {hours} hours to seconds and divide by {divisor}.",
            "How many seconds are {hours} hours, if I divide them by {divisor}?",
        ),
        ("{hours} 小时换成秒，再除以 {divisor} 的商是多少？", "请把 {hours} 小时的秒数除以 {divisor}。"),
    ),
    _chain(
        "book_author",
        "reverse_text",
        "text",
        ("Spell the author who wrote {book} backwards.", "Find the author of {book} and reverse the name."),
        ("请把《{book}》的作者的名字倒过来写。", "《{book}》的作者倒过来怎么写？"),
    ),
    _chain(
        "town_mayor",
        "count_letters",
        "text",
        ("How many letters has the name of the mayor of {town}?", "Who is the mayor of {town}? Count the letters of the name."),
        ("{town}的镇长的名字有几个字？", "请查{town}的镇长，再数名字有多少个字。"),
    ),
    _chain(
        "country_capital",
        "repeat_text",
        "text",
        (
            "Repeat the capital of {country} exactly {times} times.",
            "Name the capital of {country}, then repeat it {times} times.",
        ),
        ("请把{country}的首都重复 {times} 遍。", "请查{country}的首都，再重复 {times} 遍。"),
    ),
    _chain(
        "element_symbol",
        "repeat_text",
        "text",
        (
            "Repeat the chemical symbol of {element} {times} times.",
            "Give the symbol of {element} and repeat it for {times} times.",
        ),
        ("请把{element}的化学符号重复 {times} 遍。", "{element}的化学符号重复 {times} 遍是什么？"),
    ),
    _chain(
        "phone_extension",
        "repeat_text",
        "text",
        (
            "Look up the extension of {person} and repeat it {times} times.",
            "Repeat {times} times the phone extension of {person}.",
        ),
        ("请把{person}的分机电话重复 {times} 遍。", "请查{person}的分机，再重复 {times} 遍。"),
    ),
    _chain(
        "birthday_date",
        "week_number",
        "date",
        ("Which week number has the birthday of {person}?", "In what week of the year was {person} born?"),
        ("{person}的生日是全年第几周？", "{person}出生的那天属于第几周？"),
    ),
    _chain(
        "birthday_date",
        "go_back_days",
        "date",
        ("From the birthday of {person} go back {days} days.", "Which day came {days} days earlier than {person} was born?"),
        ("从{person}的生日往前倒推 {days} 天是哪天？", "请从{person}的生日倒推 {days} 天。"),
    ),
    _chain(
        "find_news",
        "headline_date",
        "headline",
        ("When was the news on the {query} published?", "Browse the news on {query} and state when the headline was published."),
        ("{query}的新闻是哪天发表的？", "报道{query}的新闻标题何时发表？"),
    ),
    _chain(
        "headline_date",
        "week_number",
        "date",
        (
            "In what week of the year was the headline {headline} published?",
            "Which week number had it when {headline} was published?",
        ),
        ("“{headline}”发表的那天是全年第几周？", "标题“{headline}”发表在第几周？"),
    ),
    _chain(
        "page_total",
        "subtract_numbers",
        "number",
        (
            "From the total pages of {book} subtract {amount}.",
            "What difference remains of the pages of {book}, reduced by {amount}?",
        ),
        ("《{book}》的页数减去 {amount} 的差是多少？", "从小说《{book}》的页数里减去 {amount}，差是几？"),
    ),
    _chain(
        "population_size",
        "division_remainder",
        "number",
        (
            "Which remainder has the population of {town} modulo {divisor}?",
            "Of the inhabitants in {town}, what is left over in rows of {divisor}?",
        ),
        ("{town}的人口对 {divisor} 取余数，余数是几？", "{town}的人口被 {divisor} 除，余数剩下几？"),
    ),
    _chain(
        "atomic_number",
        "square_root",
        "number",
        (
            "What is the square root of the atomic number of {element}?",
            "Fetch the atomic number of {element} and extract the root.",
        ),
        ("{element}的原子序数的平方根是多少？", "请对{element}的原子序数开平方，平方根是几？"),
    ),
)


def chains(unseen: bool) -> tuple[Chain, ...]:
    """Give the chains of held-out tools, or those of training tools."""
    return tuple(chain for chain in CHAINS if chain.held_out == unseen)
