"""Samples as one self-contained web page: no network, no assets beside it, and text from data is only ever text."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import groupby
from pathlib import Path

from xagent.assets import resolve
from xagent.data.inspect.kinds import KINDS, Kind
from xagent.data.inspect.sample import Piece, Sample, Totals, totals_of
from xagent.data.inspect.visible import code_point, looks
from xagent.data.report import CUT, KEPT

KIND_TITLES: dict[Kind, str] = {
    "template": "the chat template's own text and special tokens",
    "system": "the system text, tools included",
    "user": "what the user says",
    "thought": "the model's reasoning",
    "call": "tool calls that the model writes",
    "observation": "what tools answer",
    "final": "the model's words to the user",
}


def html_page(samples: Sequence[Sample], title: str, subtitle: str = "") -> str:
    """Give the page of these samples.

    Args:
        samples: one card each.
        title: what is shown, for the headline.
        subtitle: a line under it.
    """
    folder = resolve("xagent:dataset_page")
    style, script = ((folder / name).read_text(encoding="utf-8") for name in ("style.css", "script.js"))
    script_hash = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{script_hash}'; base-uri 'none'; form-action 'none'"
    )
    cards = "\n".join(map(_card, samples))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{_text(title)}: what is trained</title>
<style>{style}{_kind_colours()}</style>
</head>
<body>
<a class="skip" href="#samples">To the samples</a>
<header>
<h1>{_text(title)}</h1>
<p class="lead">{_text(subtitle)}</p>
{_summary(totals_of(samples), len(samples))}
</header>
{_BAR.format(legend=_legend())}
<main id="samples" tabindex="-1">
{cards}
</main>
<footer>
<p>Marked and underlined tokens are learned, the others only read. A dotted line: weight below 1; a thick one: above 1.</p>
<p class="keys"><kbd>/</kbd> search, <kbd>j</kbd> <kbd>k</kbd> next and last sample, <kbd>←</kbd> <kbd>→</kbd> tokens of a sample,
<kbd>Esc</kbd> close.</p>
</footer>
<div id="tip" role="tooltip" hidden></div>
<div id="spoken" class="unseen" aria-live="polite"></div>
<script>{script}</script>
</body>
</html>
"""


_BAR = """<div class="bar" role="search">
<input id="search" type="search" placeholder="Search" aria-label="Search in text and sources" autocomplete="off">
<output id="status" for="search" aria-live="polite"></output>
<button id="theme" type="button">Theme: auto</button>
<div class="legend" role="group" aria-label="Kinds of tokens: a released button folds them">{legend}</div>
</div>"""


def save_page(page: str, out: Path) -> None:
    """Write a page, whole or not at all; folders are made.

    Raises:
        OSError: it can't be written.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        unfinished.write_text(page, encoding="utf-8", errors="backslashreplace")
        unfinished.replace(out)
    finally:
        unfinished.unlink(missing_ok=True)


def _text(text: str) -> str:
    """Escape text; what can't be seen, or would turn the writing around, is named."""
    return "".join(escape(run) if look != "hidden" else code_point(run) for look, run in looks(text))


def _kind_colours() -> str:
    return "".join(f".{kind} {{ --kind: var(--{kind}); }}\n" for kind in KINDS)


def _legend() -> str:
    return "".join(
        f'<button type="button" class="{kind}" value="{kind}" aria-pressed="true" title="{escape(KIND_TITLES[kind])}">'
        f"{kind}</button>"
        for kind in KINDS
    )


def _summary(totals: Totals, samples: int) -> str:
    figures = [("samples", f"{samples:,}", _outcomes(totals)), ("tokens", f"{totals.tokens:,}", "")]
    figures.append(("learned", share(totals.trained_tokens, totals.tokens), f"{totals.trained_tokens:,} tokens"))
    figures.append(("tool calls", f"{totals.calls:,}", ""))
    tiles = "".join(
        f"<div><dt>{name}</dt><dd>{value}{f'<small>{_text(more)}</small>' if more else ''}</dd></div>"
        for name, value, more in figures
    )
    rows = "".join(
        f'<tr><th scope="row">{kind}</th><td>{count:,}</td><td>{share(count, totals.tokens)}</td>'
        f"<td>{totals.trained[kind]:,}</td><td>{share(totals.trained[kind], count)}</td></tr>"
        for kind, count in totals.kinds.items()
        if count
    )
    weights = ", ".join(f"{count:,} at weight {weight:g}" for weight, count in sorted(totals.weights.items()))
    return f"""<dl class="figures">{tiles}</dl>
{_mix(totals)}
<div class="wide" role="region" aria-label="Tokens by kind" tabindex="0"><table>
<caption>Tokens by kind. Learned: {weights or "none"}.</caption>
<thead><tr><th scope="col">kind</th><th scope="col">tokens</th><th scope="col">of all</th><th scope="col">learned</th>
<th scope="col">of its kind</th></tr></thead>
<tbody>{rows}</tbody>
</table></div>"""


def _outcomes(totals: Totals) -> str:
    return ", ".join(f"{count:,} {outcome}" for outcome, count in totals.outcomes.items())


def share(part: int, whole: int) -> str:
    """Give a part as a percentage, ``-`` of nothing."""
    return f"{part / whole:.1%}" if whole else "-"


def _mix(totals: Totals) -> str:
    there = [(kind, count) for kind, count in totals.kinds.items() if count]
    said = ", ".join(f"{kind} {share(count, totals.tokens)}" for kind, count in there) or "no tokens"
    parts = "".join(f'<span class="{kind}" style="flex-grow:{count}"></span>' for kind, count in there)
    return f'<div class="mix" role="img" aria-label="{said}">{parts}</div>'


def _card(sample: Sample) -> str:
    totals = sample.totals
    name = f"sample-{sample.index}"
    state = {KEPT: "kept", CUT: "cut"}.get(sample.outcome, "dropped")
    counts = f"{totals.tokens:,} tokens, {totals.trained_tokens:,} learned ({share(totals.trained_tokens, totals.tokens)})"
    note = f'<p class="note">{_text(sample.note)}</p>' if sample.note else ""
    body = "".join(_runs(sample.pieces))
    tokens = (
        f'<p class="tokens" tabindex="0" role="group" aria-label="Tokens of sample {sample.index}; arrow keys go through them" '
        f'lang="" translate="no">{body}</p>'
    )
    return f"""<article id="{name}" aria-labelledby="{name}-title">
<header><h2 id="{name}-title"><a href="#{name}">Sample {sample.index}</a></h2>
<span class="source">{_text(str(sample.source))}</span>
<span class="outcome {state}">{_text(sample.outcome)}</span>
<span class="count">{counts if sample.pieces else "not trained on"}</span></header>
{_mix(totals) if sample.pieces else ""}
{note}{tokens if sample.pieces else ""}
</article>"""


def _runs(pieces: Iterable[Piece]) -> Iterator[str]:
    for kind, group in groupby(pieces, key=lambda piece: piece.kind):
        run = list(group)
        label = f"<b>{kind}</b>" if kind != "template" else ""
        count = sum(len(piece.ids) for piece in run)
        tokens = "".join(map(_token, run))
        yield f'<span class="run {kind}" data-kind="{kind}" data-n="{count}">{label}{tokens}</span>'


def _token(piece: Piece) -> str:
    classes = ["t", *(["w"] if piece.weight else []), *(["x"] if piece.special else [])]
    if 0 < piece.weight != 1:
        classes.append("lo" if piece.weight < 1 else "hi")
    ids = " ".join(map(str, piece.ids))
    return f'<span class="{" ".join(classes)}" data-i="{ids}" data-w="{piece.weight:g}">{"".join(_visible(piece.text))}</span>'


def _visible(text: str) -> Iterator[str]:
    if not text:
        yield '<i class="h" data-c="∅"></i>'
    for look, run in looks(text):
        if look == "plain":
            yield escape(run)
        elif look == "space":
            yield f'<i class="s" data-c="{"·" * len(run)}">{run}</i>'
        elif look == "newline":
            yield f'<i class="n"></i>{run}'
        elif look == "tab":
            yield f'<i class="g" data-c="{"→" * len(run)}">{run}</i>'
        else:
            yield f'<i class="h" data-c="{code_point(run)}"></i>'
