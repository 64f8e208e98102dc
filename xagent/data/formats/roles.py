"""The names that data sets give to the four roles, and to turns that hold nothing but calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from xagent.chat.message import Role, excerpt
from xagent.errors import DataError

CALL: Literal["call"] = "call"
"""The kind of a turn that holds nothing but calls (ShareGPT's ``function_call``, SWIFT's ``tool_call``)."""
Kind = Role | Literal["call"]

ROLE_ALIASES: dict[str, Kind] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "function_call": CALL,
    "tool_call": CALL,
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "observations": "tool",
    "function_response": "tool",
    "tool_response": "tool",
    "tool_result": "tool",
    "ipython": "tool",
    "environment": "tool",
    "api": "tool",
}
"""Names in lower case; a name is looked up without regard to case (API-Bank writes ``User``, ``AI`` and ``API``)."""


def read_role(name: object, index: int, own: Mapping[str, Kind] | None = None) -> Kind:
    """Give the role for a data set's name of it.

    Args:
        name: what the turn says.
        index: the message's index, for the fault.
        own: names of this data set, taken exactly and before the common ones.

    Raises:
        DataError: the name is unknown; the message's index is named.
    """
    if isinstance(name, str):
        kind = (own or {}).get(name) or ROLE_ALIASES.get(name) or ROLE_ALIASES.get(name.lower())
        if kind is not None:
            return kind
    known = ", ".join([*(own or ()), *sorted(ROLE_ALIASES)])
    raise DataError(f"message {index} has the unknown role {excerpt(name, 80)}; expected one of {known}")
