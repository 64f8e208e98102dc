"""The chat: messages go to the session, commands are done, and a fault ends neither."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from xagent.agent.session import AgentSession, Event
from xagent.chatting.lines import Lines, Messages, ScriptError
from xagent.chatting.records import load_record, save_record
from xagent.chatting.screen import Screen
from xagent.chatting.words import Command, help_text, read_command
from xagent.errors import XAgentError


class Chat:
    """Reads messages and shows what comes of them, until ``exit`` or the end of what is read.

    Args:
        session: works on questions; its system text is the one that ``default-system`` goes back to.
        interactive: somebody types: Ctrl-C at the prompt does not leave, and commands say what they did.
    """

    def __init__(self, session: AgentSession, lines: Lines, screen: Screen, interactive: bool = False) -> None:
        self.session, self.screen, self.interactive = session, screen, interactive
        self._messages = Messages(lines)
        self._default_system = session.system
        self._commands: dict[str, Callable[[str], None]] = {
            "clear": self._clear,
            "reset-system": self._reset_system,
            "default-system": lambda _: self._set_system(self._default_system),
            "multi-line": lambda _: self._set_lines(True),
            "single-line": lambda _: self._set_lines(False),
            "retry": lambda _: self._work(self.session.retry),
            "tools": self._tools,
            "save": self._save,
            "load": self._load,
            "help": lambda _: self.screen.say(help_text()),
        }

    def run(self) -> None:
        """Chat.

        Raises:
            KeyboardInterrupt: Ctrl-C while nobody types and nothing is being worked on.
            ScriptError: a script goes on with something that is no text.
        """
        while True:
            try:
                message = self._messages.read()
                command = read_command(message)
                if command is not None and command.name in ("exit", "quit"):
                    return
                self._do(command, message)
            except EOFError:
                return
            except KeyboardInterrupt:
                if not self.interactive:
                    raise
                self.screen.note("(exit or Ctrl-D leaves)")

    def _do(self, command: Command | None, message: str) -> None:
        try:
            if command is not None:
                self._commands[command.name](command.value)
            elif message.strip():
                asking = self.session.observe if self.session.awaits_observation else self.session.ask
                self._work(lambda: asking(message))
        except ScriptError:  # of a system text
            raise
        except XAgentError as error:
            self.screen.fault(str(error))

    def _work(self, begin: Callable[[], Iterator[Event]]) -> None:
        with _ctrl_c(self.session.stop):
            for event in begin():
                self.screen.show(event)

    def _clear(self, _: str) -> None:
        self.session.clear()
        self._note("the conversation is forgotten")

    def _reset_system(self, _: str) -> None:
        self._set_system(self._messages.read(for_system=True))

    def _set_system(self, text: str) -> None:
        self.session.set_system(text.strip())
        self._note("the system text is set" if text.strip() else "there is no system text", "the conversation begins anew")

    def _set_lines(self, many: bool) -> None:
        self._messages.many_lines = many
        self._note("a message ends with #" if many else "a message is a line")

    def _tools(self, _: str) -> None:
        box = self.session.box
        lines = [f"  {tool.name}: {tool.description}" for tool in box.specs] + [f"  note: {note}" for note in box.notes]
        self.screen.say("\n".join(lines) or "no tools; `xagent chat MODEL --tools ...` gives some")

    def _save(self, name: str) -> None:
        path = save_record(_unquoted(name), self.session.to_record())
        self._note(f"the conversation is the last line of {path}")

    def _load(self, name: str) -> None:
        self.session.load(load_record(_unquoted(name)))
        self._note(f"{len(self.session.history)} messages; the conversation goes on")

    def _note(self, *texts: str) -> None:
        if self.interactive:
            self.screen.note(f"({'; '.join(texts)})")


def _unquoted(name: str) -> str:
    return name[1:-1] if len(name) > 1 and name[0] == name[-1] and name[0] in "'\"" else name


@contextmanager
def _ctrl_c(stop: Callable[[], None]) -> Iterator[None]:
    """Let Ctrl-C stop a reply; a second one, where that takes too long, interrupts the program as ever."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def first(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        stop()

    before = signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
