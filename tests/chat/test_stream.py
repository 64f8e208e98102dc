"""Reading a reply while it is written: in every protocol, however it is cut into pieces, the whole is what the parser reads."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from test_protocols import MARKERS, NAMES, calls, messages, plain, words

from xagent.chat.message import Message, ToolCall
from xagent.chat.protocol import ParsedReply, get_protocol
from xagent.chat.protocol.objects import dump_arguments
from xagent.chat.protocol.thinking import UNFINISHED
from xagent.chat.stream import Arguments, CallBegins, Event, PlainReader, ReplyReader, Words, reply_reader
from xagent.errors import DataError

Told = tuple[str, str, list[tuple[str, str]]]
MORE = (
    '{"name":"f","arguments":{"a": 1, ', '"b":"x\\u00e9\\n\\/"', "}}", "'k': True,", "1.50", "Action: f\nAction Input: {", "}\n",
    '{"name": "g", "arguments": {"x": "y"}}', "<tool_call>\n", "\n</tool_call>", "Action:g\nAction Input:", '{"a": [1, {"b": "c',
    '"}]}', "1e999", "\\ud83d\\ude00", "<|action_start|><|plugin|>\n", "#", ";", "[{", ",}",
    '{"name": "g", "parameters": {"x": 1}}',
)  # fmt: skip
soup = st.lists(plain | st.sampled_from(MARKERS + MORE), max_size=14).map("".join)


def fold(events: Sequence[Event]) -> Told:
    """Put the pieces together as a client does."""
    said = {"reasoning": "", "content": ""}
    made: list[tuple[str, str]] = []
    for event in events:
        if isinstance(event, Words):
            said[event.channel] += event.text
        elif isinstance(event, CallBegins):
            made.append((event.name, ""))
        else:
            made[-1] = (made[-1][0], made[-1][1] + event.text)
    return said["reasoning"], said["content"], made


def read(reader: ReplyReader, pieces: Sequence[str]) -> list[Event]:
    events = [event for piece in pieces for event in reader.feed(piece)]
    return [*events, *reader.finish()]


def assert_reads_as_parsed(protocol: str, text: str) -> None:
    """Character by character and at once the same is told, and it is what the parser reads."""
    spoken = get_protocol(protocol)
    one_by_one, at_once = reply_reader(spoken), reply_reader(spoken)
    told = fold(read(one_by_one, list(text)))
    assert told == fold(read(at_once, [text]))
    parsed = spoken.parse(text)
    if one_by_one.status == "incomplete" and parsed.error is None:
        assert "twice in different ways" in str(one_by_one.error)
        return
    assert (one_by_one.status, one_by_one.error) == (parsed.status, parsed.error)
    whole = [
        (call.name, json.loads(arguments)) for call, (_, arguments) in zip(one_by_one.calls, told[2], strict=True) if call.whole
    ]
    assert whole == [(call.name, json.loads(dump_arguments(call.arguments))) for call in parsed.calls]
    assert told[0] == expected_reasoning(parsed, text)
    unreadable = parsed.rest.strip() if parsed.error and parsed.error != UNFINISHED and len(whole) == len(told[2]) else ""
    assert told[1] == "\n".join(filter(None, (parsed.content, unreadable)))
    for name, arguments in told[2][len(whole) :]:
        assert name is not None and not is_json(arguments)


def expected_reasoning(parsed: ParsedReply, text: str) -> str:
    return text.strip().removeprefix("<think>").strip() if parsed.error == UNFINISHED else parsed.reasoning or ""


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("protocol", NAMES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(message=messages, tail=st.sampled_from(["", "\nObservation: 3", "<tool_response>", "\nmore\n", "{"]))
def test_what_the_protocol_writes_is_read_piece_by_piece(protocol: str, message: Message, tail: str) -> None:
    try:
        text = get_protocol(protocol).render_reply(message)
    except DataError:
        return
    assert_reads_as_parsed(protocol, text + tail)


@pytest.mark.parametrize("protocol", NAMES)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=soup)
@example(text='<tool_call>\n{"name": "f", "arguments": {"a": 1}, "name": "g"}\n</tool_call>')
@example(text='Action: f\nAction Input: {"a": "x" "y"}')
@example(text='<|python_tag|>{"name": "f", "arguments": {"a": 1}}')
@example(text='<|python_tag|> {"name":"f","arguments":{"a": 1}}; <|python_tag|> {"name":"g","arguments":{"a": 1, ')
def test_any_text_is_read_piece_by_piece(protocol: str, text: str) -> None:
    assert_reads_as_parsed(protocol, text)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", NAMES)
@settings(max_examples=20_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=soup)
def test_very_many_texts_are_read_piece_by_piece(protocol: str, text: str) -> None:
    assert_reads_as_parsed(protocol, text)


@pytest.mark.parametrize("protocol", NAMES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(made=calls.filter(bool), share=st.floats(0, 1))
def test_a_cut_call_never_becomes_json(protocol: str, made: tuple[ToolCall, ...], share: float) -> None:
    text = get_protocol(protocol).render_reply(Message("assistant", tool_calls=made))
    assert_reads_as_parsed(protocol, text[: int(share * len(text))])


@pytest.mark.parametrize("protocol", [name for name in NAMES if not name.startswith("react")])
@settings(max_examples=100, deadline=None)
@given(text=words | st.sampled_from(["<think>a</think>b", " <think>", "<thi", "<think>x</th"]))
def test_plain_replies_are_told_as_they_are(protocol: str, text: str) -> None:
    told = fold(read(PlainReader(get_protocol(protocol)), list(text)))
    assert told == fold(read(PlainReader(get_protocol(protocol)), [text]))
    if not text.lstrip().startswith("<think>"):
        assert told == ("", text, [])
    assert fold(read(PlainReader(get_protocol("react")), list(text))) == ("", text, [])
    assert fold(read(PlainReader(get_protocol(protocol), verbatim=True), list(text))) == ("", text, [])


# When things are told


def told_so_far(protocol: str, text: str) -> Told:
    return fold(reply_reader(get_protocol(protocol)).feed(text))


@pytest.mark.parametrize("protocol", NAMES)
def test_arguments_are_told_while_they_are_written(protocol: str) -> None:
    call = ToolCall("weather.now", {"city": "北京", "days": [1, 2.5, None], "note": 'a "b"\n'})
    text = get_protocol(protocol).render_reply(Message("assistant", tool_calls=(call,)))
    cut = text.index("京") + 1
    assert told_so_far(protocol, text[:cut]) == ("", "", [("weather.now", '{"city": "北京')])
    cut = text.index("b\\") + 1
    assert told_so_far(protocol, text[:cut])[2] == [("weather.now", '{"city": "北京", "days": [1, 2.5, null], "note": "a \\"b')]


def test_words_are_told_at_once_and_what_may_be_a_mark_is_held() -> None:
    assert told_so_far("hermes", "Let me look <tool") == ("", "Let me look", [])
    assert told_so_far("hermes", "Let me look <tools>") == ("", "Let me look <tools>", [])
    assert told_so_far("hermes", "<think>\nhm </thi") == ("hm", "", [])
    assert told_so_far("llama3_json", 'Well\n{ "') == ("", "Well", [])
    assert told_so_far("llama3_json", "Well\n{ a") == ("", "Well\n{ a", [])
    assert told_so_far("llama3_json", "[1] says") == ("", "[1] says", [])
    assert told_so_far("internlm2", "I see<|action_st") == ("", "I see", [])
    assert told_so_far("function_call", "One\nAction") == ("", "One", [])
    assert told_so_far("function_call", "One\nActions") == ("", "One\nActions", [])
    assert told_so_far("react", "Thought: I look\nAction") == ("I look", "", [])
    assert told_so_far("react", "Thought: I know\nFinal Answer: It is 3 or") == ("I know", "It is 3 or", [])
    assert told_so_far("react", "It is 3") == ("", "", [])  # without a field it may still be a thought


def test_python_literals_are_told_when_they_are_whole() -> None:
    text = "Action: f\nAction Input: {'a': True, 'b': (1, 2)}"
    assert told_so_far("react_ms_agent", text[:-1]) == ("", "", [("f", "{")])
    assert told_so_far("react_ms_agent", text) == ("", "", [("f", '{"a": true, "b": [1, 2]}')])


@pytest.mark.parametrize(
    ("protocol", "text", "length"),
    [
        ("react", "Action: f\nAction Input: {}\nObservation: it rains", 27),
        ("react", 'Thought: a\nAction: f\nAction Input: {"a": 1}\nFinal Answer: no', 44),
        ("function_call", "Action: f\nAction Input: {}\nResponse: 3", 27),
        ("hermes", '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>\n<tool_response>\n3', 55),
    ],
)
def test_a_reply_is_over_where_the_model_makes_up_an_observation(protocol: str, text: str, length: int) -> None:
    reader = reply_reader(get_protocol(protocol))
    fed = 0
    while not reader.is_over:
        reader.feed(text[fed])
        fed += 1
    assert length <= fed < len(text)
    reader.finish()
    assert reader.status == "calls" and [call.name for call in reader.calls] == ["f"]


@pytest.mark.parametrize("protocol", NAMES)
def test_only_so_many_calls_are_read(protocol: str) -> None:
    spoken = get_protocol(protocol)
    text = spoken.render_reply(Message("assistant", tool_calls=(ToolCall("f", {"a": {}}), ToolCall("g"))))
    for pieces in (list(text), [text]):
        reader = reply_reader(spoken, max_calls=1)
        assert fold(read(reader, pieces)) == ("", "", [("f", '{"a": {}}')])
        assert reader.is_over


def test_a_call_that_cannot_be_read_is_not_lost() -> None:
    reader = reply_reader(get_protocol("hermes"))
    told = fold(read(reader, ["Hm.\n<tool_call>\nf(x)\n</tool_call>"]))
    assert told == ("", "Hm.\n<tool_call>\nf(x)\n</tool_call>", [])
    assert (reader.status, reader.error) == ("incomplete", "a <tool_call> holds no complete call")
    reader = reply_reader(get_protocol("hermes"))
    assert fold(read(reader, ['<tool_call>\n{"name": "f", "arguments": {"a": "lo'])) == ("", "", [("f", '{"a": "lo')])
    assert not reader.calls[0].whole


def test_pieces_are_events() -> None:
    reader = reply_reader(get_protocol("hermes"))
    assert reader.feed('Hi <tool_call>{"name": "f", "arguments": {') == [Words("content", "Hi"), CallBegins("f"), Arguments("{")]
