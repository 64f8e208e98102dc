"""What the chat shows: replies as they come, steps, notes and faults."""

from __future__ import annotations

import os
import unicodedata
from typing import TextIO

from xagent.agent.session import Answered, Ended, Event, Step, StepDone, TextPiece

_COLOURS = {"step": "36", "fault": "33", "error": "31", "note": "2"}


def shows_colours(out: TextIO) -> bool:
    """Tell whether a file is a terminal that wants colours: not with ``NO_COLOR`` (https://no-color.org) or ``TERM=dumb``."""
    return out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def harmless(text: str) -> str:
    """Escape what would command a terminal instead of being shown: a model's words are not to be trusted."""
    return "".join(
        repr(sign)[1:-1] if unicodedata.category(sign) in ("Cc", "Cs") and sign not in "\n\t" else sign for sign in text
    )


class Screen:
    """Shows a chat.

    Args:
        out: for replies and steps.
        err: for faults and notes.
        streams: show replies as they are written; otherwise each when it is whole.
    """

    def __init__(self, out: TextIO, err: TextIO, streams: bool = True) -> None:
        self._out, self._err, self._streams = out, err, streams
        self._colours = {out: shows_colours(out), err: shows_colours(err)}
        self._held: list[str] = []
        self._at_line_start = True

    def show(self, event: Event) -> None:
        """Show what happened."""
        if isinstance(event, TextPiece):
            self._text(event.text)
            return
        self.flush()
        if isinstance(event, StepDone):
            self._step(event.step)
        elif isinstance(event, Answered) and event.finish_reason == "length":
            self.note(f"(the answer was cut at {event.new_tokens} tokens)")
        elif isinstance(event, Ended) and event.kind != "observation":
            self.note(f"({event.reason})")

    def flush(self) -> None:
        """Show what is held back, and end the line."""
        held, self._held = "".join(self._held), []
        self._write(held)
        if not self._at_line_start:
            self._write("\n")

    def say(self, text: str) -> None:
        """Show lines that a command asked for."""
        self._write(harmless(text) + "\n")

    def note(self, text: str) -> None:
        """Show what people may want to know."""
        self._print(text, "note")

    def fault(self, text: str) -> None:
        """Show what went wrong; the chat goes on."""
        self.flush()
        self._print(f"fault: {text}", "error")

    def _text(self, text: str) -> None:
        if self._streams:
            self._write(harmless(text))
        else:
            self._held.append(harmless(text))

    def _step(self, step: Step) -> None:
        took = None if step.seconds is None else f"{step.seconds:.2f} s"
        head = ", ".join(filter(None, (step.tool or "no call", step.fault, took)))
        self._write(self._coloured(f"[{head}] {harmless(step.observation)}", "fault" if step.fault else "step", self._out) + "\n")

    def _print(self, text: str, kind: str) -> None:
        self._out.flush()
        print(self._coloured(harmless(text), kind, self._err), file=self._err, flush=True)

    def _coloured(self, text: str, kind: str, file: TextIO) -> str:
        return f"\x1b[{_COLOURS[kind]}m{text}\x1b[0m" if self._colours[file] else text

    def _write(self, text: str) -> None:
        if text:
            self._out.write(text)
            self._out.flush()
            self._at_line_start = text.endswith("\n")
