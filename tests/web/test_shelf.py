"""Which tools visitors can pick."""

from __future__ import annotations

from pathlib import Path

import pytest

from xagent.errors import ConfigError
from xagent.playground import THEMES, TOOLS
from xagent.web.settings import Setup
from xagent.web.shelf import FIRST_TOOLS, ToolShelf


@pytest.fixture
def own_tools(tmp_path: Path) -> str:
    """A file with a tool of its own, and one that is named as the playground's is."""
    file = tmp_path / "own_tools.py"
    file.write_text(
        'def shout(text: str) -> str:\n    """Say it loud."""\n    return text.upper() + "!"\n\n\n'
        'def add_numbers(first: int) -> int:\n    """Add one."""\n    return first + 1\n'
    )
    return str(file)


def test_the_playground_is_there_and_the_interpreter_is_not() -> None:
    shelf = ToolShelf()
    assert shelf.names == tuple(tool.name for tools in THEMES.values() for tool in tools)
    assert "python" not in shelf.names and shelf.first == FIRST_TOOLS and not shelf.attached
    assert set(FIRST_TOOLS) <= set(TOOLS)
    assert shelf.offered(Setup(tools=("python", "count_letters"))) == ("count_letters",)


def test_what_is_started_with_is_picked_at_first(own_tools: str) -> None:
    shelf = ToolShelf([f"{own_tools}:shout", "playground:dates"])
    dates = tuple(tool.name for tool in THEMES["dates"])
    assert shelf.first == ("shout", *dates) and tuple(shelf.attached) == ("shout",)
    assert shelf.names[0] == "shout" and len(shelf.names) == len(TOOLS) + 1
    box = shelf.box(("count_letters", "shout"), "en")
    assert box.run("shout", {"text": "hi"}).text == "HI!"
    assert list(box.tools) == ["count_letters", "shout"]


def test_an_attached_tool_takes_the_name(own_tools: str) -> None:
    shelf = ToolShelf([f"{own_tools}:add_numbers"])
    assert shelf.names.count("add_numbers") == 1 and "add_numbers" not in shelf.themes["arithmetic"]
    assert shelf.box(("add_numbers",), "en").run("add_numbers", {"first": 4}).text == "5"
    assert shelf.examples(("add_numbers",), "en", 0) == ()


def test_a_setup_offers_each_tool_once() -> None:
    shelf = ToolShelf()
    dates = tuple(tool.name for tool in THEMES["dates"])
    assert shelf.offered(Setup(themes=("dates", "no theme"), tools=(dates[1], "count_letters"))) == (
        dates[1],
        "count_letters",
        dates[0],
        *dates[2:],
    )


def test_descriptions_are_in_the_prompts_language() -> None:
    [spec] = ToolShelf().box(("count_letters",), "zh").specs
    assert spec == TOOLS["count_letters"].spec("zh")


def test_examples_are_about_the_picked_tools() -> None:
    shelf = ToolShelf()
    found = shelf.examples(("country_capital",), "zh", seed=1)
    assert len(found) == 1 and found == shelf.examples(("country_capital",), "zh", seed=1)
    assert len({shelf.examples(("country_capital",), "en", seed)[0] for seed in range(20)}) > 1


def test_an_unknown_tool_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown; the forms are"):
        ToolShelf(["pythn"])
