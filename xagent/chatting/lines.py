"""Where lines come from: a terminal with editing, history and completion, or a script on standard input."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol, TextIO

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from xagent.chat.message import check_characters
from xagent.chatting.words import COMMANDS, END
from xagent.errors import DataError


class ScriptError(DataError):
    """A line of a script that is no text; what follows it can't be told apart from what was meant to stand with it."""


class Lines(Protocol):
    """Gives lines."""

    def read(self, prompt: str) -> str:
        """Give the next line, without its end.

        Args:
            prompt: shown where somebody types.

        Raises:
            EOFError: there are no more.
            KeyboardInterrupt: Ctrl-C.
            ScriptError: the line is no text.
        """


class PipedLines:
    """Lines of a file, such as a script on standard input."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._count = file, 0
        if isinstance(file, io.TextIOWrapper):
            file.reconfigure(errors="surrogateescape")

    def read(self, prompt: str) -> str:
        """Give the next line; nobody sees the prompt.

        Raises:
            EOFError: there are no more.
            ScriptError: it is no text.
        """
        line = self._file.readline()
        if not line:
            raise EOFError
        self._count += 1
        try:
            check_characters(line)
        except DataError as error:
            coding = getattr(self._file, "encoding", None) or "utf-8"
            raise ScriptError(f"line {self._count} of the script is no text in {coding}; convert the script") from error
        return line.removesuffix("\n").removesuffix("\r")


class TypedLines:
    """Lines that are typed in a terminal.

    Args:
        history: keeps what was typed, for later chats too; None keeps it for this chat.
        colours: of the prompt.
    """

    def __init__(self, history: Path | None = None, colours: bool = True) -> None:
        self._style = "bold ansigreen" if colours else ""
        self._session: PromptSession[str] = PromptSession(
            history=open_history(history), completer=CommandCompleter(), complete_while_typing=False
        )

    def read(self, prompt: str) -> str:
        """Give a line; one that was pasted may hold line ends."""
        return self._session.prompt(FormattedText([(self._style, prompt)]))


class CommandCompleter(Completer):
    """Completes the words that are commands, and the file behind ``save`` and ``load``."""

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Give what may stand at the cursor."""
        text = document.text_before_cursor
        name, space, file = text.partition(" ")
        if not space:
            yield from (Completion(word, -len(text)) for word in COMMANDS if word.startswith(text))
        elif name in ("save", "load"):
            yield from PathCompleter(expanduser=True).get_completions(Document(file), complete_event)


def history_file() -> Path:
    """Give where typed lines are kept: ``xagent/chat_history`` under XDG's folder for states."""
    state = os.environ.get("XDG_STATE_HOME") or ""
    return (Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state") / "xagent" / "chat_history"


def open_history(path: Path | None) -> History:
    """Open the history, which its owner alone may read; where it can't be written it lasts as long as the chat."""
    if path is None:
        return InMemoryHistory()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(path))


class Messages:
    """Puts lines together to messages, in the two ways of ``swift infer``.

    Attributes:
        many_lines: a message ends with a ``#`` at the end of a line, instead of with the line.
    """

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self.many_lines = False

    def read(self, for_system: bool = False) -> str:
        """Give the next message.

        Args:
            for_system: a system text is asked for: on a single line it may write its line ends as ``\\n``.

        Raises:
            EOFError: there are no more; a message of many lines that the end cut short is given before.
            KeyboardInterrupt: Ctrl-C; what was typed of a message is forgotten.
        """
        kind = ("M" if self.many_lines else "") + ("S" if for_system else "")
        prompt = f"<<<[{kind}] " if kind else "<<< "
        if self.many_lines:
            return "\n".join(self._block(prompt)).removesuffix("\n")
        line = self._lines.read(prompt)
        return line.replace("\\n", "\n") if for_system else line

    def _block(self, prompt: str) -> Iterator[str]:
        line = self._lines.read(prompt)
        while not line.rstrip().endswith(END):
            yield line
            try:
                line = self._lines.read("")
            except EOFError:
                return
        yield line.rstrip().removesuffix(END)
