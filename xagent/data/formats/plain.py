"""Records of questions and answers in columns, and plain text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from xagent.chat.message import Conversation, Message, excerpt
from xagent.data.formats.tools import read_tools
from xagent.data.rows import parse_json
from xagent.errors import DataError


def alpaca_map_fn(row: Mapping[str, Any]) -> Conversation:
    """Read ``{instruction, input?, output, system?, history?: [[question, answer], ...], tools?}``.

    Instruction and input are joined by a line end.

    Raises:
        DataError: instruction or output is missing, or one of the others has another type.
    """
    instruction, answer = _text(row, "instruction", "an alpaca"), _text(row, "output", "an alpaca")
    question = "\n".join(part for part in (instruction, _optional(row, "input")) if part)
    messages = (*_head(row), Message("user", question), Message("assistant", answer))
    return Conversation(messages, read_tools(row.get("tools")))


def query_response_map_fn(row: Mapping[str, Any]) -> Conversation:
    """Read ``{query, response, history?: [[question, answer], ...], system?, tools?}``, the layout of ModelScope's data.

    Raises:
        DataError: query or response is missing, or one of the others has another type.
    """
    query, answer = _text(row, "query", "a query_response"), _text(row, "response", "a query_response")
    messages = (*_head(row), Message("user", query), Message("assistant", answer))
    return Conversation(messages, read_tools(row.get("tools")))


def pretrain_map_fn(row: Mapping[str, Any]) -> Conversation:
    """Read ``{"text"}``: a single assistant turn, to be rendered with ``template='text'`` (every token learned, EOS added).

    Raises:
        DataError: there is no text.
    """
    return Conversation((Message("assistant", _text(row, "text", "a pretrain")),))


def _text(row: Mapping[str, Any], key: str, whose: str) -> str:
    if not isinstance(row.get(key), str):
        raise DataError(f"{whose} record needs the text {key!r}, got keys {sorted(map(str, row))}")
    return str(row[key])


def _optional(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    if value is not None and not isinstance(value, str):
        raise DataError(f"{key!r} must be text, got {excerpt(value)}")
    return value or ""


def _head(row: Mapping[str, Any]) -> Iterator[Message]:
    """Give the system text and the earlier exchanges."""
    if system := _optional(row, "system"):
        yield Message("system", system)
    history = row.get("history")
    if isinstance(history, str) and history.strip():
        history = parse_json(history)
    if history and not isinstance(history, (list, tuple)):
        raise DataError(f"'history' must be a list of [question, answer], got {excerpt(history, 80)}")
    for exchange in history or ():
        pair = isinstance(exchange, (list, tuple)) and len(exchange) == 2
        if not pair or not all(isinstance(text, str) for text in exchange):
            raise DataError(f"'history' must be a list of [question, answer], got {excerpt(exchange, 80)}")
        yield Message("user", exchange[0])
        yield Message("assistant", exchange[1])
