"""The words that are commands of the chat; ModelScope SWIFT's users know them.

``exit``, ``quit``, ``clear``, ``reset-system``, ``default-system``, ``multi-line``, ``single-line``: those of ``swift infer``
in its "Agent fine-tuning best practice".
"""

from __future__ import annotations

from dataclasses import dataclass

COMMANDS = {
    "exit": "leave; so do quit and Ctrl-D",
    "quit": "leave",
    "clear": "forget the conversation; the system text stays",
    "reset-system": "type a new system text; it clears the conversation, too",
    "default-system": "go back to the system text that the chat began with; it clears the conversation, too",
    "multi-line": "a message has many lines from now on, and ends with #",
    "single-line": "a message is a line again",
    "retry": "ask the last question again",
    "tools": "list the tools that the model may call",
    "save": "save FILE.jsonl: add the conversation to a file, as a training record",
    "load": "load FILE: go on with the last conversation of a file",
    "help": "show this list",
}
_WITH_FILE = ("save", "load")
END = "#"
"""What ends a message of many lines."""


@dataclass(frozen=True)
class Command:
    """A command that was typed: its name, and what follows it."""

    name: str
    value: str = ""


def read_command(message: str) -> Command | None:
    """Give the command that a message is, or None: a message that only begins like one is a message.

    A ``#`` behind it is fine: in the many-line mode everything ends so.
    """
    words = message.strip().removesuffix(END).split(maxsplit=1)
    if not words or "\n" in message.strip():
        return None
    name, value = words[0], words[1].strip() if len(words) > 1 else ""
    if name in _WITH_FILE:
        return Command(name, value) if not value or _is_file(value) else None
    return Command(name) if name in COMMANDS and not value else None


def _is_file(value: str) -> bool:
    """Tell the name of a file from words: "save money" is a message."""
    return value[0] in "'\"" or (len(value.split()) == 1 and any(sign in value for sign in "./\\"))


def help_text() -> str:
    """Give the list of commands."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {does}" for name, does in COMMANDS.items()]
    return "\n".join([*lines, "  Ctrl-C stops a reply, and not the program."])
