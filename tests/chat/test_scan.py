"""A walk through a reply: no character of the text beside calls is lost or doubled, and calls keep their order."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xagent.chat.message import ToolCall
from xagent.chat.protocol.base import ParsedReply
from xagent.chat.protocol.scan import Scan, object_to_call

CALL = re.compile(r"<(\d+)>")
TEXTS = st.text(" \nab", max_size=5)


@st.composite
def walks(draw: st.DrawFn) -> tuple[list[str], str, int]:
    """Give the texts around calls ``<0>``, ``<1>``..., the reply that they make, and how many calls are taken."""
    texts = draw(st.lists(TEXTS, min_size=1, max_size=5))
    reply = texts[0] + "".join(f"<{number}>{text}" for number, text in enumerate(texts[1:]))
    return texts, reply, draw(st.integers(0, len(texts) - 1))


def walked(reply: str, taken: int) -> Scan:
    """Take the first calls of a reply."""
    scan = Scan(reply)
    for _ in range(taken):
        found = scan.search(CALL)
        assert found
        scan.take([ToolCall(found[1])], found.start(), found.end())
    return scan


def lines(texts: list[str]) -> str:
    return "\n".join(text.strip() for text in texts if text.strip())


def calls(taken: int) -> tuple[ToolCall, ...]:
    return tuple(ToolCall(str(number)) for number in range(taken))


@given(walks(), st.sampled_from([None, "why"]))
def test_calls_are_taken_out_and_all_other_text_is_kept(walk: tuple[list[str], str, int], thought: str | None) -> None:
    texts, reply, taken = walk
    last = texts[taken] + "".join(f"<{number}>{text}" for number, text in enumerate(texts[taken + 1 :], taken))
    content = lines([*texts[:taken], last])
    status = "calls" if taken else "answer"
    assert walked(reply, taken).reply(thought) == ParsedReply(status, content, thought, calls(taken), None, "")


@given(walks(), st.integers(0, 5))
def test_what_is_stopped_at_or_can_t_be_read_is_the_rest(walk: tuple[list[str], str, int], further: int) -> None:
    texts, reply, taken = walk
    scan = walked(reply, taken)
    start = min(scan.position + further, len(reply))
    content = lines([*texts[:taken], reply[scan.position : start]])
    assert walked(reply, taken).incomplete("why", "cut", start) == ParsedReply(
        "incomplete", content, "why", calls(taken), "cut", reply[start:]
    )
    scan.stop(start)
    assert scan.reply(None) == ParsedReply("calls" if taken else "answer", content, None, calls(taken), None, reply[start:])
    assert scan.search(CALL) is None


def test_what_is_skipped_stays_text() -> None:
    scan = Scan("a <1> b <2> c <3> d")
    scan.skip(6)
    found = scan.search(CALL)
    assert found and found[1] == "2"
    scan.take([ToolCall("2"), ToolCall("two")], found.start(), found.end())
    scan.cut(13, 18)
    assert scan.content() == "a <1> b\nc\nd"
    assert scan.reply(None).calls == (ToolCall("2"), ToolCall("two"))


@pytest.mark.parametrize(
    ("found", "call"),
    [
        ({"name": "f", "arguments": {"x": 1}, "parameters": {"y": 2}}, ToolCall("f", {"x": 1})),
        ({"name": "f", "parameters": {"y": 2}}, ToolCall("f", {"y": 2})),
        ({"name": "f", "parameters": '{"y": [2]}'}, ToolCall("f", {"y": [2]})),
        ({"name": "f", "arguments": None, "parameters": {"y": 2}}, ToolCall("f")),
        ({"name": "f", "input": {"y": 2}}, ToolCall("f")),
        ({"name": "f", "arguments": ""}, ToolCall("f")),
        ({"name": "f", "arguments": [1]}, "the arguments of a call must be an object, got list: [1]"),
        ({"arguments": {}}, "a call without a name: {'arguments': {}}"),
        ({"name": 5}, "a call without a name: {'name': 5}"),
        ({"name": None, "x": "y" * 500}, "a call without a name: {'name': None, 'x': '" + "y" * 179),
    ],
)
def test_an_object_is_a_call_or_says_why_not(found: dict[str, Any], call: ToolCall | str) -> None:
    assert object_to_call(found, "arguments", "parameters") == call
