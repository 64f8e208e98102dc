"""The page as Streamlit runs it: questions, tools that are really run, and visitors who don't disturb each other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from scripted_engine import Said, ScriptedEngine
from streamlit.testing.v1 import AppTest

from xagent.chat.message import Message, ToolCall
from xagent.chat.protocol import get_protocol
from xagent.data.formats import openai_map_fn
from xagent.errors import CheckpointError
from xagent.web import app
from xagent.web.models import LoadedModel
from xagent.web.options import DemoOptions
from xagent.web.visit import Visit
from xagent.web.words import CHINESE, ENGLISH

REACT = get_protocol("react")
ADDING = ToolCall("add_numbers", {"first": 2, "second": 3})
CALL = REACT.render_reply(Message("assistant", reasoning="I need the tool add_numbers.", tool_calls=(ADDING,)))
ANSWER = REACT.render_reply(Message("assistant", "The sum is 5.", reasoning="I now know the answer."))
OPTIONS = DemoOptions("scripted")

pytestmark = pytest.mark.usefixtures("on_this_computer")


@pytest.fixture(autouse=True)
def _nothing_shared() -> Iterator[None]:
    """Give every test models and visitors of its own."""
    st.cache_resource.clear()
    yield
    st.cache_resource.clear()


def _page(options, load):  # its source is run by itself, without this file's imports
    from xagent.web.app import show

    show(options, load)


def _models(*engines: ScriptedEngine) -> Callable[[DemoOptions], tuple[LoadedModel, ...]]:
    names = ("base", "tuned") if len(engines) == 2 else ("tuned",)
    return lambda options: tuple(LoadedModel(name, engine) for name, engine in zip(names, engines, strict=True))


def _open(load: Any, session: str | None = None, options: DemoOptions = OPTIONS) -> AppTest:
    page = AppTest.from_function(_page, kwargs={"options": options, "load": load}, default_timeout=120)
    if session is not None:
        page.query_params["session"] = session
    return _sound(page.run())


def _sound(page: AppTest) -> AppTest:
    assert not page.exception, page.exception
    return page


def _settle(page: AppTest) -> AppTest:
    """Look at the page until nothing runs on it."""
    return _until(page, lambda: not any(button.key == "stop" for button in page.button))


def _until(page: AppTest, what: Callable[[], bool]) -> AppTest:
    """Look at the page, as its fragment does, until something holds."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if what():
            return page
        time.sleep(0.05)
        _sound(page.run())
    raise AssertionError(f"it never came to this: {_html(page)}")


def _ask(page: AppTest, question: str) -> AppTest:
    return _settle(_sound(page.chat_input[0].set_value(question).run()))


def _html(page: AppTest) -> str:
    return "\n".join(str(one.value) for one in page.html if "<style>" not in str(one.value))


def _button(page: AppTest, label: str) -> Any:
    [found] = [button for button in page.button if button.label == label]
    return found


def _parameter(page: AppTest, name: str) -> str:
    """Give a parameter of the page's address, which AppTest keeps as a text or as a list of one."""
    found = page.query_params[name]
    return found if isinstance(found, str) else found[0]


def _visit(page: AppTest, load: Any) -> Visit:
    found = app._shared(OPTIONS, load).visits.find(_parameter(page, "session"))
    assert found is not None
    return found


def test_two_models_answer_the_same_question() -> None:
    base, tuned = ScriptedEngine(*["I can't add."] * 6), ScriptedEngine(CALL, ANSWER)
    page = _ask(_open(_models(base, tuned)), "What is 2 plus 3?")
    shown = _html(page)
    assert '<h2 class="xagent-model">base</h2>' in shown and '<h2 class="xagent-model">tuned</h2>' in shown
    assert "No answer: Stopped: no answer within 6 replies" in shown
    assert '<pre class="xagent-pre">add_numbers</pre>' in shown
    assert '<dt>Observation</dt><dd><pre class="xagent-pre">5</pre></dd>' in shown
    assert "<b>Thought</b> I now know the answer." in shown and '<p class="xagent-said">The sum is 5.</p>' in shown
    assert len(base.requests) == 6 and len(tuned.requests) == 2
    assert all("add_numbers" in engine.shown[0] and "What is 2 plus 3?" in engine.shown[0] for engine in (base, tuned))
    assert [button.label for button in page.download_button] == [f"{ENGLISH.export}: base", f"{ENGLISH.export}: tuned"]


def test_the_record_of_a_conversation_is_training_data() -> None:
    load = _models(ScriptedEngine(CALL, ANSWER))
    page = _ask(_open(load), "What is 2 plus 3?")
    read = openai_map_fn(_visit(page, load).panes[0].record()).validate()
    assert [message.role for message in read.messages] == ["user", "assistant", "tool", "assistant"]
    assert [(call.name, call.arguments) for call in read.messages[1].tool_calls] == [("add_numbers", {"first": 2, "second": 3})]
    assert [tool.name for tool in read.tools] == ["add_numbers", "celsius_to_fahrenheit", "weekday_of_date", "country_capital"]


def test_half_a_character_in_a_call_does_not_break_the_page() -> None:
    engine = ScriptedEngine('Thought:x\nAction:add_numbers\nAction Input:{"first": "\\ud83d", "second": 3}', ANSWER)
    page = _ask(_open(_models(engine)), "What is 2 plus 3?")
    assert "The sum is 5." in _html(page) and len(page.download_button) == 1


def test_a_stopped_answer_can_be_had_again() -> None:
    engine = ScriptedEngine(Said("Thought: hm", hangs=True), CALL, ANSWER)
    page = _open(_models(engine))
    page = _sound(page.chat_input[0].set_value("What is 2 plus 3?").run())
    assert page.chat_input[0].disabled
    page = _until(page, lambda: "Thought: hm" in _html(page))
    page = _settle(_sound(_button(page, ENGLISH.stop).click().run()))
    assert "No answer: stopped by the user" in _html(page) and "Thought: hm" in _html(page)
    page = _settle(_sound(_button(page, ENGLISH.retry).click().run()))
    assert "The sum is 5." in _html(page) and "Thought: hm" not in _html(page)
    assert engine.shown[1] == engine.shown[0] and not page.chat_input[0].disabled


def test_an_edited_question_takes_the_place_of_what_followed_it() -> None:
    engine = ScriptedEngine(ANSWER, ANSWER, "Thought: again.\nFinal Answer: Six.")
    page = _ask(_ask(_open(_models(engine)), "What is 2 plus 3?"), "And once more?")
    page = _sound(page.button(key="edit-0").click().run())
    page.text_area(key="edited-0").set_value("What is 3 plus 3?")
    page = _settle(_sound(_button(page, ENGLISH.ask_again).click().run()))
    shown = _html(page)
    assert "What is 3 plus 3?" in shown and "Six." in shown
    assert "What is 2 plus 3?" not in shown and "And once more?" not in shown
    assert engine.shown[2] == engine.shown[0].replace("What is 2 plus 3?", "What is 3 plus 3?")


def test_an_observation_is_typed_by_hand() -> None:
    engine = ScriptedEngine(CALL, ANSWER)
    page = _open(_models(engine))
    page.radio(key="mode").set_value("typed")
    page = _sound(_button(page, ENGLISH.apply).click().run())
    page = _sound(page.chat_input[0].set_value("What is 2 plus 3?").run())
    page = _until(page, lambda: any(area.key == "observation-tuned-1" for area in page.text_area))
    page.text_area(key="observation-tuned-1").set_value("five, of course")
    page = _settle(_sound(_button(page, ENGLISH.send).click().run()))
    assert '<pre class="xagent-pre">five, of course</pre>' in _html(page) and "The sum is 5." in _html(page)
    assert "five, of course" in engine.shown[1]


def test_without_tools_the_reply_stops_where_the_visitor_observes() -> None:
    engine = ScriptedEngine("Action: look\nObservation: made up", "It is red.")
    page = _open(_models(engine))
    page.radio(key="mode").set_value("typed")
    page.multiselect(key="tools").set_value([])
    page.text_area(key="system").set_value("You may write Action: look.")
    page = _sound(_button(page, ENGLISH.apply).click().run())
    page = _ask(page, "Which colour?")
    assert ENGLISH.awaits in _html(page) and "made up" not in _html(page)
    [area] = [area for area in page.text_area if area.label == ENGLISH.observation]
    area.set_value("red light")
    page = _settle(_sound(_button(page, ENGLISH.send).click().run()))
    assert "It is red." in _html(page)
    assert "You may write Action: look." in engine.shown[0]
    assert engine.shown[1].endswith("Action: look\nObservation: red light\n")


def test_a_refresh_finds_the_conversation_and_nobody_else_does() -> None:
    load = _models(ScriptedEngine(CALL, ANSWER, "Thought: easy.\nFinal Answer: Mine."))
    first = _ask(_open(load), "What is 2 plus 3?")
    session = _parameter(first, "session")
    second = _open(load)
    assert "The sum is 5." not in _html(second) and _parameter(second, "session") != session
    again = _open(load, session)
    assert "The sum is 5." in _html(again) and _parameter(again, "session") == session
    second = _ask(second, "And for me?")
    assert "Mine." in _html(second) and "Mine." not in _html(_open(load, session))


def test_a_running_answer_survives_a_refresh() -> None:
    load = _models(ScriptedEngine(Said("Thought: hm", hangs=True)))
    page = _sound(_open(load).chat_input[0].set_value("What is 2 plus 3?").run())
    session = _parameter(page, "session")
    again = _open(load, session)
    assert ENGLISH.writing in _html(again)
    assert "No answer: stopped by the user" in _html(_settle(_sound(_button(again, ENGLISH.stop).click().run())))


def test_a_conversation_that_is_gone_is_told() -> None:
    page = _open(_models(ScriptedEngine()), "no such session")
    assert [info.value for info in page.info] == [ENGLISH.forgotten]
    assert _parameter(page, "session") != "no such session"


def test_what_was_chosen_is_there_after_a_refresh() -> None:
    load = _models(ScriptedEngine(ANSWER))
    page = _open(load)
    page = _sound(page.slider(key="temperature").set_value(0.7).run())
    page = _sound(page.selectbox(key="language").set_value("zh").run())
    page.multiselect(key="themes").set_value(["dates"])
    page.multiselect(key="tools").set_value(["count_letters"])
    page.selectbox(key="protocol").set_value("hermes")
    page = _sound(_button(page, CHINESE.apply).click().run())
    page = _open(load, _parameter(page, "session"))
    assert page.title[0].value == CHINESE.title
    assert page.slider(key="temperature").value == 0.7 and page.selectbox(key="protocol").value == "hermes"
    assert page.multiselect(key="themes").value == ["dates"] and page.multiselect(key="tools").value == ["count_letters"]


def test_choices_reach_the_model() -> None:
    engine = ScriptedEngine(*["Hello."] * 2)
    load = _models(engine)
    page = _open(load)
    page = _sound(page.slider(key="temperature").set_value(0.7).run())
    page = _sound(page.number_input(key="max_new_tokens").set_value(64).run())
    page = _sound(page.number_input(key="seed").set_value(5).run())
    page.multiselect(key="tools").set_value(["count_letters"])
    page.selectbox(key="protocol").set_value("hermes")
    page.text_area(key="system").set_value("Be brief.")
    page = _sound(_button(page, ENGLISH.apply).click().run())
    page = _ask(page, "How many letters has owl?")
    [request] = engine.requests
    assert (request.temperature, request.max_new_tokens, request.seed, request.top_p) == (0.7, 64, 5, 1.0)
    assert "Be brief." in engine.shown[0] and "<tools>" in engine.shown[0] and "add_numbers" not in engine.shown[0]
    page = _sound(page.slider(key="temperature").set_value(0.0).run())
    page = _ask(page, "And eagle?")
    assert engine.requests[1].temperature == 0.0 and "How many letters has owl?" in engine.shown[1]


def test_a_new_conversation_forgets_the_old_one() -> None:
    engine = ScriptedEngine(ANSWER, ANSWER)
    page = _ask(_open(_models(engine)), "What is 2 plus 3?")
    page = _sound(_button(page, ENGLISH.clear).click().run())
    assert "The sum is 5." not in _html(page)
    page = _ask(page, "What is 2 plus 3?")
    assert engine.shown[1] == engine.shown[0]


def test_an_example_is_asked_by_a_click() -> None:
    engine = ScriptedEngine(ANSWER)
    page = _open(_models(engine))
    examples = [button for button in page.button if str(button.key).startswith("example-")]
    assert len(examples) == 3
    question = examples[0].label.replace("\\", "")
    page = _settle(_sound(examples[0].click().run()))
    assert question in engine.shown[0] and "The sum is 5." in _html(page)


def test_a_fault_of_the_engine_is_shown_and_the_talk_goes_on() -> None:
    engine = ScriptedEngine(Said("Thou", error=CheckpointError("the <b>device</b> is gone")), ANSWER)
    page = _ask(_open(_models(engine)), "What is 2 plus 3?")
    assert "This went wrong: the &lt;b&gt;device&lt;/b&gt; is gone" in _html(page)
    assert "The sum is 5." in _html(_settle(_sound(_button(page, ENGLISH.retry).click().run())))


def test_a_model_that_cannot_be_loaded_is_told() -> None:
    def load(options: DemoOptions) -> tuple[LoadedModel, ...]:
        raise CheckpointError("./merged: there is no model here")

    page = _open(load)
    assert [error.value for error in page.error] == ["./merged: there is no model here"] and not page.chat_input


def test_the_token_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAGENT_WEB_TOKEN", "secret")
    load = _models(ScriptedEngine())
    page = _open(load)
    assert [error.value for error in page.error] == [ENGLISH.refusals["token"]] and not page.chat_input
    page.query_params["token"] = "secret"
    page = _sound(page.run())
    assert not page.error and len(page.chat_input) == 1 and _parameter(page, "token") == "secret"


def test_the_script_reads_the_words_behind_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    missing = tmp_path / "merged"
    monkeypatch.setattr("sys.argv", ["agent_web_demo.py", str(missing), "--compare", "xagent:nano/base", "--tools", "playground"])
    script = Path(__file__).parents[2] / "tools" / "agent_web_demo.py"
    page = _sound(AppTest.from_file(str(script), default_timeout=120).run())
    [error] = page.error
    assert str(missing) in error.value and not page.chat_input
    monkeypatch.setattr("sys.argv", ["agent_web_demo.py", "--comprae", "x"])
    assert [error.value for error in page.run().error] == [
        "The words after the script's name can't be read; the terminal says why."
    ]


def test_models_are_loaded_once() -> None:
    loads: list[DemoOptions] = []

    def load(options: DemoOptions) -> tuple[LoadedModel, ...]:
        loads.append(options)
        return _models(ScriptedEngine())(options)

    for _ in range(2):
        _open(load).run()
    assert loads == [OPTIONS]
