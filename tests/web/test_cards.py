"""What a step looks like: a model's text stays text, and the reducer keeps what was written."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from xagent.agent.session import Answered, Ended, Step, StepDone, TextPiece
from xagent.web.cards import (
    LONG,
    answer_card,
    call_card,
    notice,
    plain_label,
    question_card,
    seconds_text,
    step_card,
    writing_card,
)
from xagent.web.exchange import Exchange, advance
from xagent.web.words import CHINESE, ENGLISH, WORDS

SIGNS = st.text(alphabet=st.sampled_from("<>&\"'/=abc \n{}") | st.characters(exclude_categories=["Cs"]), max_size=60)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def _read(html: str) -> _Reader:
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader


def test_a_step_shows_thought_tool_arguments_observation_and_time() -> None:
    step = Step("I add.", "add_numbers", {"a": 2, "b": "<3>"}, "5", None, 0.0123)
    texts = [text for text in _read(step_card(step, 2, ENGLISH)).texts if text.strip()]
    arguments = '{\n  "a": 2,\n  "b": "<3>"\n}'
    labelled = ["Thought", "I add.", "Tool", "add_numbers", "Arguments", arguments, "Observation", "5"]
    assert texts == ["Step 2", "12 ms", *labelled]


def test_half_a_character_in_a_call_can_be_sent_to_the_browser() -> None:
    card = step_card(Step("", "echo", {"text": "a\ud83d"}, "b\ud83d", None, 0.1), 1, ENGLISH)
    assert card.encode().decode() == card and "a\ufffd" in card and "b\ufffd" in card


def test_a_failed_step_names_its_fault() -> None:
    step = Step("", "serch", {}, "there is no tool", "unknown tool", None)
    texts = [text for text in _read(step_card(step, 1, CHINESE)).texts if text.strip()]
    assert texts == ["第 1 步", "没有此工具", "工具", "serch", "参数", "{}", "观察", "there is no tool"]


def test_a_long_observation_is_whole_and_folded() -> None:
    text = "".join(str(index) for index in range(LONG))
    reader = _read(step_card(Step("", "read", {}, text, None, 0.0), 1, ENGLISH))
    assert text in reader.texts and "details" in reader.tags


@given(SIGNS, SIGNS, SIGNS)
def test_no_text_becomes_markup(thought: str, value: str, observation: str) -> None:
    plain = _read(step_card(Step("x", "x", {"x": "x"}, "x", None, 0.0), 1, ENGLISH)).tags
    shown = _read(step_card(Step("x" + thought, "x" + value, {"x": value}, observation, None, 0.0), 1, ENGLISH)).tags
    assert shown == plain
    for card in (
        writing_card("x" + value, ENGLISH),
        question_card(value),
        notice(value),
        answer_card("x" + value, "", "", ENGLISH),
    ):
        assert set(_read(card).tags) <= {"div", "p", "b", "pre"}
    assert _read(call_card(value, {"x": value}, ENGLISH)).tags == ["div", "dl", "dt", "dd", "pre", "dt", "dd", "pre"]


def test_a_label_is_no_markdown() -> None:
    assert plain_label("a_b: 2 *3*\n[x](y) `z` é 中") == "a\\_b\\: 2 \\*3\\* \\[x\\]\\(y\\) \\`z\\` é 中"


def test_seconds() -> None:
    assert [seconds_text(value) for value in (0.0004, 0.25, 1.0, 61.26)] == ["< 1 ms", "250 ms", "1.0 s", "61.3 s"]


def test_both_languages_say_everything() -> None:
    for words in WORDS.values():
        assert all(vars(words).values())
    assert ENGLISH.faults.keys() == CHINESE.faults.keys() and ENGLISH.refusals.keys() == CHINESE.refusals.keys()


@given(st.lists(st.tuples(st.integers(0, 2), SIGNS)))
def test_the_reply_on_its_way_is_what_came_of_its_turn(pieces: list[tuple[int, str]]) -> None:
    pieces = sorted(pieces, key=lambda piece: piece[0])
    shown = Exchange("q")
    for turn, text in pieces:
        shown = advance(shown, TextPiece(turn, text))
    last = pieces[-1][0] if pieces else None
    assert shown.writing == "".join(text for turn, text in pieces if turn == last)


def test_an_exchange_from_question_to_answer() -> None:
    step = Step("I add.", "add_numbers", {"a": 2}, "5", None, 0.1)
    shown = Exchange("2+3?")
    for event in (TextPiece(0, "I "), TextPiece(0, "add."), StepDone(step), TextPiece(1, "Five.")):
        shown = advance(shown, event)
        assert not shown.is_over
    assert shown == Exchange("2+3?", (step,), "Five.", 1)
    answered = Exchange("2+3?", (step,), "", 1, "Five.", "Five.", seconds=1.5, new_tokens=20)
    assert advance(shown, Answered("Five.", 1.5, 20)) == answered
    ended = advance(shown, Ended("stopped", "stopped"))
    assert ended.is_over and (ended.writing, ended.ended, ended.answer) == ("Five.", "stopped", None)
