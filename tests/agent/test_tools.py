"""Functions as tools, arguments checked, faults as observations, loops that end, and ``--tools``."""

from __future__ import annotations

import argparse
import dataclasses
import enum
import http.server
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lagent.actions import ActionExecutor

from xagent.agent.lagent_tools import tool_actions
from xagent.agent.react import build_react_agent, ending_of
from xagent.agent.tools import (
    RepeatedCalls,
    Tool,
    ToolBox,
    ToolChoice,
    ToolFault,
    add_tools_argument,
    load_tools,
    parse_tools,
    tool,
)
from xagent.agent.tools.arguments import checked_arguments
from xagent.agent.tools.arxiv_search import arxiv_tool
from xagent.agent.tools.docstring import read_docstring
from xagent.chat.message import ToolSpec
from xagent.chat.protocol.react import describe_tool, read_description
from xagent.errors import ConfigError
from xagent.playground import TOOLS


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Place:
    """Where.

    Attributes:
        city: its name
    """

    city: str
    zip_code: int = 0


class Span(TypedDict):
    start: int
    end: int


class Scripted:
    """A language model that says these replies and remembers what it was shown."""

    def __init__(self, *replies: str) -> None:
        self.replies, self.shown = list(replies), []

    def chat(self, messages, **settings) -> str:
        self.shown.append([dict(message) for message in messages])
        return self.replies[len(self.shown) - 1]


@tool(timeout=5)
def search(
    query: str,
    place: Place,
    limit: int = 3,
    kind: Literal["web", "news"] = "web",
    colour: Colour | None = None,
    scores: list[float] | None = None,
    span: Span | None = None,
    flags: dict[str, bool] | None = None,
    pair: Annotated[tuple[int, str] | None, "a number and a word"] = None,
    tags: set[str] | None = None,
) -> str:
    """Search somewhere.

    Only a few results
    are given.

    Args:
        query (str): what to
            look for: anything
        place: where
        limit (int, optional): at most so many

    Returns:
        what was found
    """
    return repr((query, place, limit, kind, colour, scores, span, flags, pair, tags))


@tool
def divide(first: float, second: float) -> float:
    """Divide."""
    return first / second


def test_the_schema_is_read_from_hints_and_docstring() -> None:
    assert (search.name, search.spec.description) == ("search", "Search somewhere.\nOnly a few results are given.")
    place = {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "its name"}, "zip_code": {"type": "integer"}},
        "required": ["city"],
        "additionalProperties": False,
    }
    numbers = {"start": {"type": "integer"}, "end": {"type": "integer"}}
    assert search.spec.parameters == {
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "what to look for: anything"},
            "place": {**place, "description": "where"},
            "limit": {"type": "integer", "description": "at most so many", "default": 3},
            "kind": {"type": "string", "enum": ["web", "news"], "default": "web"},
            "colour": {"type": "string", "enum": ["red", "blue"]},
            "scores": {"type": "array", "items": {"type": "number"}},
            "span": {"type": "object", "properties": numbers, "required": ["start", "end"], "additionalProperties": False},
            "flags": {"type": "object", "additionalProperties": {"type": "boolean"}},
            "pair": {
                "type": "array",
                "prefixItems": [{"type": "integer"}, {"type": "string"}],
                "minItems": 2,
                "maxItems": 2,
                "description": "a number and a word",
            },
            "tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
        },
        "required": ["query", "place"],
    }
    assert read_description(describe_tool(search.spec)).parameters["properties"]["limit"]["default"] == 3


def test_values_become_what_the_hints_ask_for() -> None:
    arguments = {
        "query": "x",
        "place": {"city": "Bern", "zip_code": 3000.0},
        "limit": 2.0,
        "colour": "blue",
        "scores": [1, 2.5],
        "span": {"start": 1, "end": 2},
        "flags": {"a": True},
        "pair": [1, "b"],
        "tags": ["t"],
        "kind": None,
    }
    expected = ("x", Place("Bern", 3000), 2, "web", Colour.BLUE, [1.0, 2.5], {"start": 1, "end": 2}, {"a": True}, (1, "b"), {"t"})
    assert ToolBox([search]).run("search", arguments).text == repr(expected)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ("text", "the arguments of 'search' must be an object, got 'text'"),
        ([], "the arguments of 'search' must be an object, got a list"),
        ({}, "missing parameter 'query'; missing parameter 'place'"),
        ({"qery": "x", "place": {"city": "B"}}, "unknown parameter 'qery'. Did you mean 'query'?; missing parameter 'query'"),
        ({"query": 5, "place": {"city": "B"}}, "parameter 'query' must be a string, got 5"),
        ({"query": None, "place": {"city": "B"}}, "parameter 'query' must be a string, got null"),
        ({"query": "x", "place": {"city": "B"}, "limit": 2.5}, "parameter 'limit' must be a whole number, got 2.5"),
        ({"query": "x", "place": {"city": "B"}, "limit": True}, "parameter 'limit' must be a whole number, got true"),
        ({"query": "x", "place": {"city": "B"}, "kind": "tv"}, "parameter 'kind' must be one of \"web\", \"news\", got 'tv'"),
        ({"query": "x", "place": {}}, "parameter 'place' lacks 'city'"),
        ({"query": "x", "place": {"city": "B"}, "scores": [1, "a"]}, "parameter 'scores[1]' must be a number, got 'a'"),
    ],
)
def test_bad_arguments_are_told_before_the_tool_runs(arguments: Any, words: str) -> None:
    observation = ToolBox([search]).run("search", arguments)
    assert (observation.text, observation.fault) == (words, "bad arguments")


def test_schemas_of_others_are_checked_too_and_nothing_is_fetched() -> None:
    inner = {"$defs": {"n": {"type": "integer"}}, "type": "object", "properties": {"a": {"$ref": "#/$defs/n"}}}
    spec = ToolSpec("x", "", inner)
    assert checked_arguments(spec, {"a": None}) == {}
    with pytest.raises(ToolFault, match="'a' must be a whole number, got 'b'"):
        checked_arguments(spec, {"a": "b"})
    away = ToolSpec("x", "", {"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:1/schema.json"}}})
    with pytest.raises(ToolFault, match="can't be checked"):
        checked_arguments(away, {"a": 1})
    open_ended = ToolSpec("x", "", {"type": "object", "properties": {}, "additionalProperties": True})
    assert checked_arguments(open_ended, {"anything": 1}) == {"anything": 1}
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    assert ToolBox([Tool(away, str)]).run("x", {"a": deep}).fault == "bad arguments"


@settings(deadline=None, max_examples=50)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_whatever_a_model_writes_gets_an_observation(arguments: Any) -> None:
    observation = ToolBox([search]).run("search", arguments)
    assert observation.fault == "bad arguments" and observation.text


def test_functions_that_can_be_no_tools_are_refused() -> None:
    def no_hint(a):
        """Do."""

    def no_words(a: int) -> None: ...

    def many(*a: int) -> None:
        """Do."""

    def bytes_in(a: bytes) -> None:
        """Do."""

    def wrong_words(a: int) -> None:
        """Do.

        Args:
            b: no such thing
        """

    async def later(a: int) -> None:
        """Do."""

    def number_keys(a: dict[int, str]) -> None:
        """Do."""

    faults = {
        no_hint: r"no_hint\(a\): a tool's parameters need type hints",
        no_words: "no_words: a tool needs a description",
        many: r"many\(a\): a model gives arguments by name",
        bytes_in: r"bytes_in\(a\): the type hint bytes has no JSON form; use str, int",
        wrong_words: "describes b, which are no parameters",
        later: "async",
        number_keys: "keys of objects are text",
    }
    for function, words in faults.items():
        with pytest.raises(ConfigError, match=words):
            tool(function)
    with pytest.raises(ConfigError, match="no JSON schema"):
        Tool(ToolSpec("x", "", {"type": "objekt"}), str)
    with pytest.raises(ConfigError, match="timeout"):
        tool(divide.run, timeout=0, description="x")
    with pytest.raises(ConfigError, match="two tools are named 'divide'"):
        ToolBox([divide, divide])


def test_a_docstring_says_no_more_than_it_does() -> None:
    assert read_docstring(None).description == ""
    assert read_docstring("One.\n\nArgs:\n    a, b: both\n    *rest (list[tuple[int, int]]): more").parameters == {
        "a": "both",
        "b": "both",
        "rest": "more",
    }
    assert read_docstring("See: this\n\nRaises:\n    x: y").parameters == {}


def test_whatever_goes_wrong_is_an_observation() -> None:
    class Unspeakable(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    @tool
    def fail(how: str) -> Any:
        """Fail."""
        if how == "exit":
            raise SystemExit(3)
        if how == "fault":
            raise ToolFault("do it otherwise")
        if how == "unspeakable":
            raise Unspeakable
        return {"exit": print, 1: object()} if how == "odd" else None

    box = ToolBox([fail, divide])
    found = {how: box.run("fail", {"how": how}) for how in ("exit", "fault", "unspeakable", "nothing")}
    assert {how: (one.text, one.fault) for how, one in found.items()} == {
        "exit": ("SystemExit: 3", "error"),
        "fault": ("do it otherwise", "error"),
        "unspeakable": ("Unspeakable", "error"),
        "nothing": ("done", None),
    }
    assert "<built-in function print>" in box.run("fail", {"how": "odd"}).text
    assert box.run("divide", {"first": 1, "second": 0}).text == "ZeroDivisionError: float division by zero"
    assert box.run("divide", {"first": 1, "second": 4}).text == "0.25"
    unknown = box.run("devide", {})
    assert unknown.text == "there is no tool 'devide'; the tools are: fail, divide. Did you mean 'divide'?"
    assert unknown.fault == "unknown tool"
    assert box.run(None, {}).fault == "unknown tool"  # type: ignore[arg-type]


def test_a_tool_that_hangs_is_given_up_and_a_gigabyte_is_cut() -> None:
    wait = threading.Event()

    @tool(timeout=0.05)
    def hang() -> None:
        """Hang."""
        wait.wait(600)

    @tool(max_characters=10)
    def shout() -> str:
        """Shout."""
        return "a" * (1 << 20)

    box = ToolBox([hang, shout])
    assert box.run("hang", {}).text == "hang gave no result within 0.05 seconds"
    assert box.run("hang", {}).fault == "timeout"
    assert "still busy" in box.run("hang", {}).text
    assert [thread.is_alive() for thread in box._given_up["hang"]] == [True, True], "nobody waited for its end"
    wait.set()
    for thread in box._given_up["hang"]:
        thread.join(60)
    box.tools["hang"] = dataclasses.replace(box.tools["hang"], timeout=60)  # 0.05 s may be short for doing nothing, too
    assert box.run("hang", {}).text == "done"
    assert box.run("shout", {}).text == "aaaaaaaaaa\n(cut: the first 10 of 1048576 characters)"


def test_the_same_failure_again_and_again_ends_the_loop() -> None:
    call = 'Thought:try\nAction:divide\nAction Input:{"first": 1, "second": 0}'
    llm = Scripted(call, call, call, "Final Answer:never")
    outcome = build_react_agent(llm, tool_actions(ToolBox([divide])), max_turn=9).chat("?")
    why = "Stopped: the same call of divide failed 3 times in the same way: ZeroDivisionError: float division by zero"
    assert len(llm.shown) == 3 and outcome.response == outcome.errmsg == why
    assert [action.type for action in outcome.actions] == ["divide"] * 3 and outcome.actions[-1].thought == "try"
    assert outcome.inner_steps[-1]["content"] == "Response:ZeroDivisionError: float division by zero\n"
    unknown = Scripted(*["Action:nix\nAction Input:{}"] * 3)
    assert "call of nix failed 3 times" in build_react_agent(unknown, [], max_turn=9).chat("?").errmsg


def test_what_is_no_circle_goes_on_and_each_question_counts_anew() -> None:
    bad, good = (f'Action:divide\nAction Input:{{"first": 1, "second": {number}}}' for number in (0, 4))
    llm = Scripted(bad, bad, good, good, good, "Final Answer:one", bad, bad, "Final Answer:two", "no", "no")
    agent = build_react_agent(llm, tool_actions(ToolBox([divide])), max_turn=6)
    first = agent.chat("?")
    assert (first.response, first.errmsg) == ("one", None)
    assert (agent.chat("?").response, len(llm.shown)) == ("two", 9)
    last = build_react_agent(Scripted("no", "no"), [], max_turn=2).chat("?")
    assert last.errmsg == "Stopped: no answer within 2 replies"
    with pytest.raises(ConfigError, match="repeated calls"):
        build_react_agent(llm, [], max_repeats=0)
    four = Scripted(bad, bad, bad, "Final Answer:yes")
    assert build_react_agent(four, tool_actions(ToolBox([divide])), max_repeats=None).chat("?").response == "yes"


def test_unreadable_replies_in_a_row_end_the_loop_where_that_is_asked_for() -> None:
    good, cut = (f'Action:divide\nAction Input:{{"first": 1, "second": 4{end}' for end in ("}", ""))
    actions = tool_actions(ToolBox([divide]))
    llm = Scripted("no", good, cut, "no", "Final Answer:never", cut, "no", "Final Answer:no")
    agent = build_react_agent(llm, actions, max_turn=9, max_unreadable=2)
    outcome = agent.chat("?")
    why = "Stopped: unreadable: 2 replies in a row held neither a call nor an answer"
    assert len(llm.shown) == 4 and outcome.response == outcome.errmsg == why and ending_of(outcome) == "unreadable"
    assert outcome.inner_steps[-1]["content"] == "Response:Please follow the format\n"
    assert ending_of(agent.chat("?")) == "answer" and len(llm.shown) == 5
    assert ending_of(agent.chat("?")) == "unreadable" and len(llm.shown) == 7
    patient = build_react_agent(Scripted("no", "no", "no", "Final Answer:now"), actions)
    assert patient.chat("?").response == "now"
    assert ending_of(build_react_agent(Scripted("no", "no"), actions, max_turn=2).chat("?")) == "turns"
    assert ending_of(build_react_agent(Scripted(*["Action:nix\nAction Input:{}"] * 3), actions).chat("?")) == "repeats"
    with pytest.raises(ConfigError, match="max_unreadable must be >= 1, got 0"):
        build_react_agent(llm, [], max_unreadable=0)


def test_repeated_calls_are_told_by_their_arguments() -> None:
    seen = RepeatedCalls(2)
    assert seen.note("a", {"x": 1, "y": 2}, "no") is None
    assert seen.note("a", {"x": 1}, "no") is None
    assert seen.note("a", {"x": 1, "y": 2}, "other") is None
    assert seen.note("a", {"y": 2, "x": 1}, None) is None
    assert seen.note("a", {"y": 2, "x": 1}, "no") == "Stopped: the same call of a failed 2 times in the same way: no"


def test_tools_are_shown_to_lagent_as_they_are() -> None:
    actions = tool_actions(ToolBox([divide]))
    assert ActionExecutor(actions).get_actions_info() == [describe_tool(divide.spec)]
    assert actions[0]('{"first": "a", "second": 1}').errmsg == "parameter 'first' must be a number, got 'a'"
    assert actions[0]("first=1").state == -1001


def test_the_option_is_read() -> None:
    parser = argparse.ArgumentParser()
    add_tools_argument(parser)
    args = parser.parse_args(["--tools", "playground,python, arxiv", "--tools", "mcp:'run it --with a,b',a.b:c.d,x/y.py:f"])
    assert parse_tools(args.tools) == [
        ToolChoice("playground"),
        ToolChoice("python"),
        ToolChoice("arxiv"),
        ToolChoice("mcp", "run it --with a,b"),
        ToolChoice("function", "a.b:c.d"),
        ToolChoice("function", "x/y.py:f"),
    ]
    assert parse_tools("openapi:https://a.org/x.json,playground:dates") == [
        ToolChoice("openapi", "https://a.org/x.json"),
        ToolChoice("playground", "dates"),
    ]
    assert parser.parse_args([]).tools == [] and parse_tools([]) == [] and len(load_tools([])) == 0


@pytest.mark.parametrize(
    "text, words",
    [
        ("pyhton", "--tools pyhton: unknown; the forms are: playground"),
        ("mcp:", "write mcp:COMMAND"),
        ("openapi", "write openapi:FILE"),
        ("python:3", "python takes nothing after it"),
        ("python,python", "python is there twice"),
        ("mcp:'a", "quotes come in pairs"),
        ("playground:nix", "no such tool; the themes are arithmetic"),
        ("no_such_module:f", "can't be imported: ModuleNotFoundError"),
        ("json:no_such_function", "json has no 'no_such_function'"),
        ("no/such.py:f", "can't be imported: FileNotFoundError"),
        ("playground:add_numbers,playground:arithmetic", "two tools are named 'add_numbers'"),
    ],
)
def test_a_wrong_option_says_what_is_wrong(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace("(", r"\(")):
        load_tools(text)


def test_functions_are_loaded_from_files_and_modules(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from xagent.agent.tools import tool\n\n"
        "@tool\ndef twice(number: int) -> int:\n    '''Double.'''\n    return 2 * number\n\n"
        "def plain(text: str) -> str:\n    '''Give back.'''\n    return text\n",
        encoding="utf-8",
    )
    with load_tools(f"{tmp_path}/mine.py:twice,{tmp_path}/mine.py:plain") as box:
        assert box.run("twice", {"number": 4}).text == "8" and box.run("plain", {"text": "x"}).text == "x"
        assert isinstance(box.tools["twice"].spec.parameters, Mapping)


def test_the_playground_keeps_the_words_that_it_was_trained_with() -> None:
    box = load_tools("playground", language="zh")
    assert set(box.tools) == set(TOOLS)
    assert box.tools["add_numbers"].spec == TOOLS["add_numbers"].spec("zh")
    assert box.run("add_numbers", {"first": 2, "second": 3}).text == "5"
    assert box.run("add_numbers", {"first": "two", "second": 3}).text == "parameter 'first' must be a number, got 'two'"
    assert box.run("add_numbers", []).fault == "bad arguments"


def test_arxiv_without_a_network_is_a_clear_observation(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("arxiv")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    one = arxiv_tool()
    assert (one.name, one.spec.parameters["required"]) == ("ArxivSearch", ["query"])
    observation = ToolBox([one]).run("ArxivSearch", {"query": "attention"})
    assert observation.text == "arXiv can't be reached (is there a network?); answer without it, and say so"
    assert observation.fault == "error"


FEED = """<?xml version="1.0" encoding="UTF-8"?>
<feed xmlns="http://www.w3.org/2005/Atom" xmlns:opensearch="http://a9.com/-/spec/opensearch/1.1/">
  <opensearch:totalResults>1</opensearch:totalResults><opensearch:startIndex>0</opensearch:startIndex>
  <opensearch:itemsPerPage>1</opensearch:itemsPerPage>
  <entry>
    <id>http://arxiv.org/abs/1706.03762v7</id><updated>2023-08-02T00:41:18Z</updated><published>2017-06-12T17:57:34Z</published>
    <title>Attention Is All You Need</title><summary>The dominant models.</summary>
    <author><name>Ashish Vaswani</name></author><author><name>Noam Shazeer</name></author>
    <category term="cs.CL" scheme="http://arxiv.org/schemas/atom"/>
    <arxiv:primary_category xmlns:arxiv="http://arxiv.org/schemas/atom" term="cs.CL"/>
  </entry>
</feed>"""


class Archive(http.server.BaseHTTPRequestHandler):
    """Gives one article, or for the query ``busy`` a 503."""

    def do_GET(self) -> None:
        self.send_response(503 if "busy" in self.path else 200)
        self.end_headers()
        self.wfile.write(FEED.encode())

    def log_message(self, *words: Any) -> None:
        """Say nothing."""


def test_arxiv_s_articles_are_told_in_lagents_form() -> None:
    pytest.importorskip("arxiv")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Archive) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        box = ToolBox([arxiv_tool(endpoint=f"http://127.0.0.1:{server.server_port}/query?{{}}")])
        found, busy = (box.run("ArxivSearch", {"query": query}) for query in ("attention", "busy"))
        server.shutdown()
    assert found.text == (
        "Published: 2023-08-02\nTitle: Attention Is All You Need\nAuthors: Ashish Vaswani, Noam Shazeer\n"
        "Summary: The dominant models."
    )
    assert busy.text == "arXiv answered with status 503; try again later, or answer without it"
