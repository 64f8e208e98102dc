"""Questions, and beneath each what every model made of it, side by side; on a phone one below the other."""

from __future__ import annotations

import json

import streamlit as st

from xagent.web.cards import (
    answer_card,
    call_card,
    model_heading,
    notice,
    question_card,
    seconds_text,
    step_card,
    unfinished_card,
    writing_card,
)
from xagent.web.desk import PendingCall
from xagent.web.exchange import Exchange
from xagent.web.pane import Pane
from xagent.web.visit import Visit
from xagent.web.words import Words

REFRESH_SECONDS = 0.4
"""How often the page looks for news while a model works."""

_EDITED, _DRAW = "edited question", "draw of examples"


def show_conversation(visit: Visit, words: Words) -> None:
    """Show all questions; the last one again and again while a model works on it."""
    count = len(visit.questions)
    if count == 0:
        _show_examples(visit, words)
        return
    running = visit.running
    for index in range(count - 1 if running else count):
        _show_question(visit, index, words)
        _show_exchanges(visit, index, words)
    if running:
        _show_question(visit, count - 1, words)
        st.fragment(_watch, run_every=REFRESH_SECONDS)(visit, count - 1, words)
    else:
        _show_actions(visit, words)


def _watch(visit: Visit, index: int, words: Words) -> None:
    """Show the question that is worked on; when all is done, show the whole page anew."""
    _show_exchanges(visit, index, words)
    if not visit.running:
        st.rerun()
    st.button(words.stop, key="stop", icon=":material/stop_circle:", type="primary", on_click=visit.stop)


def _show_examples(visit: Visit, words: Words) -> None:
    setup = visit.settings.setup
    draw = st.session_state.setdefault(_DRAW, 0)
    examples = visit.shelf.examples(visit.shelf.offered(setup), visit.settings.language, draw)
    if not examples:
        return
    st.markdown(f"**{words.examples}**")
    for number, question in enumerate(examples):
        st.button(question, key=f"example-{draw}-{number}", on_click=visit.ask, args=(question,))
    st.button(words.other_examples, key="other-examples", icon=":material/casino:", on_click=_draw_again)


def _draw_again() -> None:
    st.session_state[_DRAW] += 1


def _show_question(visit: Visit, index: int, words: Words) -> None:
    question = visit.questions[index]
    with st.chat_message("user", avatar=":material/person:"):
        if st.session_state.get(_EDITED) == index and not visit.running:
            _show_editor(visit, index, words)
            return
        st.html(question_card(question))
        if not visit.running:
            st.button(
                words.edit,
                key=f"edit-{index}",
                icon=":material/edit:",
                type="tertiary",
                on_click=_edit,
                args=(index,),
            )


def _edit(index: int | None) -> None:
    st.session_state[_EDITED] = index


def _show_editor(visit: Visit, index: int, words: Words) -> None:
    with st.form(f"editor-{index}", border=False):
        text = st.text_area(words.edit_label.format(number=index + 1), visit.questions[index], key=f"edited-{index}")
        again, cancel = st.columns(2)
        if again.form_submit_button(words.ask_again, type="primary", width="stretch") and text.strip():
            _edit(None)
            visit.edit(index, text.strip())
            st.rerun()
        if cancel.form_submit_button(words.cancel, width="stretch"):
            _edit(None)
            st.rerun()


def _show_exchanges(visit: Visit, index: int, words: Words) -> None:
    for column, pane in zip(st.columns(len(visit.panes)), visit.panes, strict=True):
        with column:
            st.html(model_heading(pane.name))
            _show_exchange(visit, pane, pane.exchanges[index], words)


def _show_exchange(visit: Visit, pane: Pane, exchange: Exchange, words: Words) -> None:
    for number, step in enumerate(exchange.steps, 1):
        st.html(step_card(step, number, words))
    pending = pane.desk.pending if pane.desk is not None and not exchange.is_over else None
    if pending is not None:
        _show_desk(pane, pending, words)
    elif not exchange.is_over:
        st.html(writing_card(exchange.writing, words))
    elif exchange.answer is not None:
        st.html(answer_card(exchange.answer, pane.thought_of(exchange), _timing(exchange, words), words))
    elif exchange.awaited:
        _show_mark(visit, pane, exchange, words)
    else:
        _show_end(exchange, words)


def _show_end(exchange: Exchange, words: Words) -> None:
    if exchange.writing:
        st.html(unfinished_card(exchange.writing, words))
    if exchange.fault is not None:
        st.html(notice(words.fault.format(reason=exchange.fault)))
    else:
        st.html(notice(words.no_answer.format(reason=exchange.ended)))


def _show_desk(pane: Pane, call: PendingCall, words: Words) -> None:
    assert pane.desk is not None
    st.html(call_card(call.tool, call.arguments, words))
    with st.form(f"desk-{pane.name}-{call.number}"):
        text = st.text_area(words.type_observation.format(tool=call.tool), key=f"observation-{pane.name}-{call.number}")
        if st.form_submit_button(words.send, type="primary"):
            pane.desk.answer(call.number, text)


def _show_mark(visit: Visit, pane: Pane, exchange: Exchange, words: Words) -> None:
    """Show a reply that stopped at an observation's mark; the last one can be gone on with."""
    st.html(writing_card(exchange.writing, words, words.awaits))
    if visit.running or exchange is not pane.exchanges[-1]:
        return
    key = f"{pane.name}-{len(pane.exchanges)}-{len(exchange.writing)}"
    with st.form(f"mark-{key}"):
        text = st.text_area(words.observation, key=f"marked-{key}")
        if st.form_submit_button(words.send, type="primary"):
            visit.observe(pane, text)
            st.rerun()


def _show_actions(visit: Visit, words: Words) -> None:
    columns = st.columns(len(visit.panes))
    for column, pane in zip(columns, visit.panes, strict=True):
        line = json.dumps(pane.record(), ensure_ascii=False) + "\n"
        column.download_button(
            f"{words.export}: {pane.name}",
            line.encode(),
            f"conversation-{pane.name}.jsonl",
            "application/jsonl",
            key=f"export-{pane.name}",
            icon=":material/download:",
            on_click="ignore",
            width="stretch",
        )
    st.button(words.retry, key="retry", icon=":material/refresh:", on_click=visit.retry)


def _timing(exchange: Exchange, words: Words) -> str:
    return words.timing.format(seconds=seconds_text(exchange.seconds or 0.0), tokens=exchange.new_tokens)
