"""What can be chosen: language, tools and prompt, generation."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from xagent.chat.protocol import PROTOCOLS
from xagent.errors import XAgentError
from xagent.playground import LANGUAGES, Language
from xagent.web.cards import lead, plain_card
from xagent.web.settings import Mode, Setup
from xagent.web.visit import Visit
from xagent.web.words import Words

LANGUAGE_NAMES: dict[Language, str] = {"en": "English", "zh": "中文"}
MODES: tuple[Mode, ...] = ("run", "typed")


def show_sidebar(visit: Visit, words: Words, running: bool) -> None:
    """Show the choices and act on them; while a model works (``running``) only the language can be chosen."""
    with st.sidebar:
        _choose_language(visit, words)
        st.button(
            words.clear, key="clear", icon=":material/add_comment:", disabled=running, on_click=visit.clear, width="stretch"
        )
        with st.expander(words.generation):
            _choose_generation(visit, words, running)
        with st.expander(words.setup, expanded=not visit.questions):
            _choose_setup(visit, words, running)
        with st.expander(words.reads):
            for text in dict.fromkeys(pane.system_text() for pane in visit.panes):
                st.html(plain_card(text or words.no_text))


def _choose_language(visit: Visit, words: Words) -> None:
    index = LANGUAGES.index(visit.settings.language)
    st.selectbox(
        words.language,
        LANGUAGES,
        index,
        LANGUAGE_NAMES.__getitem__,
        key="language",
        on_change=lambda: visit.speak(st.session_state["language"]),
    )


def _choose_generation(visit: Visit, words: Words, running: bool) -> None:
    now = visit.settings.generation

    def number(name: str, least: int, most: int, step: int = 1) -> None:
        label, value = getattr(words, name), getattr(now, name)
        st.number_input(label, least, most, value, step, key=name, on_change=_tune, args=(visit, name), disabled=running)

    def share(name: str, least: float, most: float) -> None:
        label, value = getattr(words, name), getattr(now, name)
        st.slider(label, least, most, value, 0.05, key=name, on_change=_tune, args=(visit, name), disabled=running)

    number("max_turn", 1, 20)
    number("max_new_tokens", 1, 8192, 32)
    share("temperature", 0.0, 2.0)
    share("top_p", 0.05, 1.0)
    number("seed", 0, 2**31 - 1)


def _tune(visit: Visit, name: str) -> None:
    """Take over the one value that the visitor changed: what other tabs of the same conversation chose stays."""
    visit.tune(replace(visit.settings.generation, **{name: st.session_state[name]}))


def _choose_setup(visit: Visit, words: Words, running: bool) -> None:
    now, shelf = visit.settings.setup, visit.shelf
    protocols = [None, *PROTOCOLS]
    with st.form("setup", border=False):
        themes = st.multiselect(words.themes, list(shelf.themes), list(now.themes), key="themes")
        tools = st.multiselect(words.tools, shelf.names, list(now.tools), key="tools")
        mode = st.radio(words.who_runs, MODES, MODES.index(now.mode), _mode_names(words).__getitem__, key="mode")
        system = st.text_area(words.system, now.system, key="system", help=words.system_help)
        protocol = st.selectbox(
            words.protocol, protocols, protocols.index(now.protocol), lambda name: name or words.own_protocol, key="protocol"
        )
        language = st.selectbox(
            words.prompt_language, LANGUAGES, LANGUAGES.index(now.language), LANGUAGE_NAMES.__getitem__, key="prompt_language"
        )
        st.html(lead(words.setup_note))
        if st.form_submit_button(words.apply, disabled=running, width="stretch"):
            _apply(visit, Setup(tuple(themes), tuple(tools), mode, system.strip(), protocol, language))
    for note in shelf.notes:
        st.html(lead(note))


def _mode_names(words: Words) -> dict[Mode, str]:
    return {"run": words.runs_here, "typed": words.runs_typed}


def _apply(visit: Visit, setup: Setup) -> None:
    try:
        done = visit.apply(setup)
    except XAgentError as error:
        st.error(str(error))
        return
    if done:
        st.rerun()
