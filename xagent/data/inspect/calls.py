"""Counting tool calls in raw records, with nothing of the map functions: a call that they lose shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from xagent.data.inspect.written import written_calls

_LISTS = ("messages", "conversations", "conversation", "dialog", "dialogue", "turns")
_ROLES, _CONTENTS = ("role", "from"), ("content", "value", "text")
_CALL_ROLES = frozenset({"function_call", "tool_call", "tool_calls"})
_CALL_PARTS = frozenset({"tool_call", "tool_use", "function_call"})
_SPEAKING = frozenset({"assistant", "gpt", "bot", "chatbot", "model"})


def calls_in_record(record: Mapping[str, Any]) -> int:
    """Count the calls in a raw record, whose turns may be a list or its JSON text (as a cell of a CSV file holds it).

    Counted are entries of ``tool_calls``, the legacy ``function_call``, call turns (ShareGPT; a list is parallel calls), content
    parts of type ``tool_call`` or ``tool_use``, and, in an assistant's text, what
    :func:`xagent.data.inspect.written.written_calls` finds.
    """
    lists = (found for key in _LISTS if isinstance(found := _read_text(record.get(key)), list))
    return sum(_calls_in_turn(turn) for turn in next(lists, []) if isinstance(turn, Mapping))


def _calls_in_turn(turn: Mapping[str, Any]) -> int:
    role = next((turn[key] for key in _ROLES if key in turn), None)
    content = next((turn[key] for key in _CONTENTS if key in turn), None)
    if role in _CALL_ROLES:
        return _listed(content)
    calls = _listed(turn["tool_calls"]) if turn.get("tool_calls") else 1 if turn.get("function_call") else 0
    if isinstance(content, list):
        calls += sum(_listed(part.get("value", part)) for part in content if _is_call_part(part))
    if not calls and role in _SPEAKING:
        calls = sum(len(written_calls(text)) for text in _texts(content))
    return calls


def _is_call_part(part: Any) -> bool:
    return isinstance(part, Mapping) and part.get("type") in _CALL_PARTS


def _texts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    parts = content if isinstance(content, Sequence) else []
    found = [part.get("text", part.get("value")) for part in parts if isinstance(part, Mapping)]
    return [text for text in found if isinstance(text, str)]


def _listed(value: Any) -> int:
    """Count one call, or a list of them, or the JSON text of either; what can't be read was meant as one."""
    value = _read_text(value)
    return len(value) if isinstance(value, list) else 1


def _read_text(value: Any) -> Any:
    """Read the JSON text of a list or an object; whatever else it is stays as it is."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
