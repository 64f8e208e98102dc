"""What a visitor sees of a step, a reply on its way and an answer: HTML in which a model's text is only ever text."""

from __future__ import annotations

import json
import re
from html import escape

from xagent.agent.events import Step
from xagent.chat.message import whole_characters
from xagent.web.words import Words

LONG = 600
"""An observation of more characters is folded; its beginning stays in sight."""


def step_card(step: Step, number: int, words: Words) -> str:
    """Give the card of a finished step: thought, tool, arguments, observation, and how long the tool took, if one ran.

    Args:
        number: counted from 1.
        words: of the page's language.
    """
    title = words.step.format(number=number)
    rows = [
        _row(words.thought, _text(step.thought)) if step.thought else "",
        _row(words.tool, _code(step.tool)) if step.tool else "",
        _row(words.arguments, _code(_json(step.arguments))) if step.tool else "",
        _row(words.observation, _observation(step.observation, words)),
    ]
    fault = f'<span class="xagent-fault">{_text(words.faults.get(step.fault, step.fault))}</span>' if step.fault else ""
    time = "" if step.seconds is None else f'<span class="xagent-time">{_text(seconds_text(step.seconds))}</span>'
    head = f'<p class="xagent-head"><b>{_text(title)}</b>{fault}{time}</p>'
    kind = " xagent-failed" if step.fault else ""
    return f'<div class="xagent-card{kind}" role="group" aria-label="{_text(title)}">{head}<dl>{"".join(rows)}</dl></div>'


def writing_card(text: str, words: Words, title: str = "") -> str:
    """Give a reply that is on its way, as the model writes it; ``title`` says so where something else than writing goes on."""
    head = f'<p class="xagent-head" role="status"><b>{_text(title or words.writing)}</b></p>'
    return f'<div class="xagent-card xagent-writing">{head}{_code(text) if text else ""}</div>'


def answer_card(answer: str, thought: str, timing: str, words: Words) -> str:
    """Give the answer, the thought that led to it, and how long it took."""
    led = f'<p class="xagent-thought"><b>{_text(words.thought)}</b> {_text(thought)}</p>' if thought else ""
    shown = _text(answer) if answer else f"<i>{_text(words.no_text)}</i>"
    return f'<div class="xagent-answer">{led}<p class="xagent-said">{shown}</p><p class="xagent-timing">{_text(timing)}</p></div>'


def call_card(tool: str, arguments: object, words: Words) -> str:
    """Give a call that waits for its observation."""
    rows = _row(words.tool, _code(tool)) + _row(words.arguments, _code(_json(arguments)))
    return f'<div class="xagent-card xagent-writing" role="group" aria-label="{_text(words.tool)}"><dl>{rows}</dl></div>'


def question_card(question: str) -> str:
    """Give what was asked."""
    return f'<p class="xagent-said">{_text(question)}</p>'


def plain_card(text: str) -> str:
    """Give a text as it is."""
    return f'<div class="xagent-card">{_code(text)}</div>'


def lead(text: str) -> str:
    """Give a line that explains."""
    return f'<p class="xagent-lead">{_text(text)}</p>'


def model_heading(name: str) -> str:
    """Give the headline of a model's column."""
    return f'<h2 class="xagent-model">{_text(name)}</h2>'


def notice(text: str) -> str:
    """Give a message about what did not work."""
    return f'<p class="xagent-card xagent-failed" role="status">{_text(text)}</p>'


def unfinished_card(text: str, words: Words) -> str:
    """Give what a model had written when its loop was ended."""
    return (
        f'<div class="xagent-card xagent-failed"><p class="xagent-head"><b>{_text(words.unfinished)}</b></p>{_code(text)}</div>'
    )


def seconds_text(seconds: float) -> str:
    """Write a duration: milliseconds below a second."""
    if seconds < 0.001:
        return "< 1 ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def plain_label(text: str) -> str:
    """Give a text as the label of a widget, where Streamlit would read Markdown."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(text.split()))


def _row(term: str, shown: str) -> str:
    return f"<dt>{_text(term)}</dt><dd>{shown}</dd>"


def _observation(text: str, words: Words) -> str:
    if len(text) <= LONG:
        return _code(text)
    begin = text[:LONG].rstrip()
    title = words.whole_text.format(count=len(text))
    return f"<details><summary>{_text(title)}</summary>{_code(text)}</details>{_code(begin + ' …')}"


def _json(arguments: object) -> str:
    return json.dumps(arguments, ensure_ascii=False, indent=2, default=str)


def _code(text: str) -> str:
    return f'<pre class="xagent-pre">{_text(text)}</pre>'


def _text(text: object) -> str:
    return escape(whole_characters(str(text)), quote=True)
