"""Questions, and beneath each what every model made of it, side by side; on a phone one below the other."""

from __future__ import annotations

import json

import streamlit as st

from xagent.web.cards import (
    answer_card,
    call_card,
    model_heading,
    notice,
    plain_label,
    question_card,
    seconds_text,
    step_card,
    unfinished_card,
    writing_card,
)
from xagent.web.desk import ObservationDesk, PendingCall
from xagent.web.exchange import Exchange
from xagent.web.pane import Pane
from xagent.web.visit import Side, Visit
from xagent.web.words import Words

REFRESH_SECONDS = 0.4
"""How often the page looks for news while a model works."""

_EDITED, _DRAW = "edited question", "draw of examples"


def show_conversation(visit: Visit, words: Words, running: bool) -> None:
    """Show all questions; the last one again and again while a model works on it (``running``)."""
    rows = visit.rows()
    if not rows:
        _show_examples(visit, words)
        return
    for index, row in enumerate(rows[:-1] if running else rows):
        _show_question(visit, index, row[0][1].question, words, changeable=not running)
        _show_row(visit, row, words, last=index == len(rows) - 1)
    if running:
        _show_question(visit, len(rows) - 1, rows[-1][0][1].question, words, changeable=False)
        st.fragment(_watch, run_every=REFRESH_SECONDS)(visit, words)
    else:
        _show_actions(visit, words)


def _watch(visit: Visit, words: Words) -> None:
    """Show what is worked on; when all is done, or another tab took it away, show the whole page anew."""
    running, rows = visit.running, visit.rows()
    if not running or not rows:
        st.rerun()
    _show_row(visit, rows[-1], words, last=False)
    st.button(words.stop, key="stop", icon=":material/stop_circle:", type="primary", on_click=visit.stop)


def _show_examples(visit: Visit, words: Words) -> None:
    setup = visit.settings.setup
    draw = st.session_state.setdefault(_DRAW, 0)
    examples = visit.shelf.examples(visit.shelf.offered(setup), visit.settings.language, draw)
    if not examples:
        return
    st.markdown(f"**{words.examples}**")
    for number, question in enumerate(examples):
        st.button(plain_label(question), key=f"example-{draw}-{number}", on_click=visit.ask, args=(question,))
    st.button(words.other_examples, key="other-examples", icon=":material/casino:", on_click=_draw_again)


def _draw_again() -> None:
    st.session_state[_DRAW] += 1


def _show_question(visit: Visit, index: int, question: str, words: Words, changeable: bool) -> None:
    with st.chat_message("user", avatar=":material/person:"):
        if changeable and st.session_state.get(_EDITED) == (index, question):
            _show_editor(visit, index, question, words)
            return
        st.html(question_card(question))
        if changeable:
            edited = (index, question)
            st.button(words.edit, key=f"edit-{index}", icon=":material/edit:", type="tertiary", on_click=_edit, args=(edited,))


def _edit(edited: tuple[int, str] | None) -> None:
    st.session_state[_EDITED] = edited


def _show_editor(visit: Visit, index: int, question: str, words: Words) -> None:
    with st.form(f"editor-{index}", border=False):
        text = st.text_area(words.edit_label.format(number=index + 1), question, key=f"edited-{index}")
        again, cancel = st.columns(2)
        if again.form_submit_button(words.ask_again, type="primary", width="stretch") and text.strip():
            _edit(None)
            visit.edit(index, text.strip())
            st.rerun()
        if cancel.form_submit_button(words.cancel, width="stretch"):
            _edit(None)
            st.rerun()


def _show_row(visit: Visit, row: tuple[Side, ...], words: Words, last: bool) -> None:
    """Show what the models made of a question; where it is the last one, and none works on it, it can be gone on with."""
    for column, (pane, exchange) in zip(st.columns(len(row)), row, strict=True):
        with column:
            st.html(model_heading(pane.name))
            _show_exchange(visit, pane, exchange, words, last)


def _show_exchange(visit: Visit, pane: Pane, exchange: Exchange, words: Words, last: bool) -> None:
    for number, step in enumerate(exchange.steps, 1):
        st.html(step_card(step, number, words))
    pending = pane.desk.pending if pane.desk is not None and not exchange.is_over else None
    if pane.desk is not None and pending is not None:
        _show_desk(pane.desk, pane.name, pending, words)
    elif not exchange.is_over:
        st.html(writing_card(exchange.writing, words))
    elif exchange.answer is not None:
        st.html(answer_card(exchange.answer, pane.thought_of(exchange), _timing(exchange, words), words))
    elif exchange.awaited:
        st.html(writing_card(exchange.writing, words, words.awaits))
        if last:
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


def _show_desk(desk: ObservationDesk, name: str, call: PendingCall, words: Words) -> None:
    st.html(call_card(call.tool, call.arguments, words))
    with st.form(f"desk-{name}-{call.number}"):
        label = words.type_observation.format(tool=plain_label(call.tool))
        text = st.text_area(label, key=f"observation-{name}-{call.number}")
        if st.form_submit_button(words.send, type="primary"):
            desk.answer(call.number, text)


def _show_mark(visit: Visit, pane: Pane, exchange: Exchange, words: Words) -> None:
    """Ask for the observation at whose mark a reply stopped."""
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
            f"{words.export}: {plain_label(pane.name)}",
            line.encode(errors="backslashreplace"),  # half a surrogate pair, in a call, is JSON's escape again
            f"conversation-{_file_name(pane.name)}.jsonl",
            "application/jsonl",
            key=f"export-{pane.name}",
            icon=":material/download:",
            on_click="ignore",
            width="stretch",
        )
    st.button(words.retry, key="retry", icon=":material/refresh:", on_click=visit.retry)


def _file_name(name: str) -> str:
    return "".join(sign if sign.isalnum() or sign in "-_." else "_" for sign in name)


def _timing(exchange: Exchange, words: Words) -> str:
    return words.timing.format(seconds=seconds_text(exchange.seconds or 0.0), tokens=exchange.new_tokens)
