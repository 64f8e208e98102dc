"""The page, from top to bottom; Streamlit runs it again at each click."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from xagent.assets import resolve
from xagent.errors import XAgentError
from xagent.playground import Language
from xagent.web.access import TOKEN_VARIABLE, refusal
from xagent.web.cards import lead
from xagent.web.conversation import show_conversation
from xagent.web.models import DEMO_FOLDER, LoadedModel, load_models
from xagent.web.options import DemoOptions, read_options
from xagent.web.settings import Settings, Setup
from xagent.web.shelf import ToolShelf
from xagent.web.sidebar import show_sidebar
from xagent.web.visit import Visit
from xagent.web.visits import Visits
from xagent.web.words import WORDS, Words, language_of

SESSION, TOKEN = "session", "token"
"""Query parameters of the page's address."""

LONGEST_QUESTION = 20_000
"""Characters."""

Loading = Callable[[DemoOptions], tuple[LoadedModel, ...]]


@dataclass(frozen=True)
class Shared:
    """What all visitors share."""

    models: tuple[LoadedModel, ...]
    shelf: ToolShelf
    visits: Visits[Visit]


def show(options: DemoOptions | None = None, load: Loading = load_models) -> None:
    """Show the page.

    Args:
        options: what is shown; None reads the words after the script's name.
        load: gives the models; it is called once for all visitors.
    """
    words = WORDS[language_of(st.context.locale)]
    st.set_page_config(page_title=words.title, page_icon=":material/build:", layout="wide")
    _refuse_strangers(words)
    try:
        chosen = options or read_options(sys.argv[1:])
        with st.spinner(words.loading):
            shared = _shared(chosen, load)
    except XAgentError as error:
        st.error(str(error))
        st.stop()
    except SystemExit:
        st.error("The words after the script's name can't be read; the terminal says why.")
        st.stop()
    _show_visit(shared, chosen)


def _refuse_strangers(words: Words) -> None:
    given, host = st.query_params.get(TOKEN), st.context.headers.get("Host")
    why = refusal(st.get_option("server.address"), os.environ.get(TOKEN_VARIABLE, ""), given, host)
    if why is not None:
        st.error(words.refusals[why])
        st.stop()


@st.cache_resource(show_spinner=False)
def _shared(options: DemoOptions, _load: Loading) -> Shared:
    """Load once, whoever comes first."""
    return Shared(_load(options), ToolShelf(options.tools), Visits())


def _show_visit(shared: Shared, options: DemoOptions) -> None:
    visit, forgotten = _find_visit(shared, options)
    words = WORDS[visit.settings.language]
    style = (resolve("xagent:web") / "style.css").read_text(encoding="utf-8")
    st.html(f"<style>{style}</style>")
    running = visit.running  # asked once, so that the page is of one piece when the answer comes meanwhile
    show_sidebar(visit, words, running)
    st.title(words.title)
    st.html(lead(words.lead))
    if forgotten:
        st.info(words.forgotten)
    if options.model is None and len(shared.models) == 1:
        st.warning(words.base_only.format(folder=DEMO_FOLDER))
    show_conversation(visit, words, running)
    question = st.chat_input(words.ask, key="question", max_chars=LONGEST_QUESTION, disabled=running)
    if question and question.strip():
        visit.ask(question.strip())
        st.rerun()


def _find_visit(shared: Shared, options: DemoOptions) -> tuple[Visit, bool]:
    """Give the visit that the address names, or a new one; and whether the address named one that is not kept any more."""
    named = st.query_params.get(SESSION)
    found = shared.visits.find(named)
    if found is not None:
        return found, False
    language: Language = "zh" if (options.language or language_of(st.context.locale)) == "zh" else "en"
    setup = Setup(tools=shared.shelf.first, system=options.system, language=language)
    visit = Visit(shared.models, shared.shelf, Settings(language, setup))
    st.query_params[SESSION] = shared.visits.open(visit)
    return visit, named is not None
