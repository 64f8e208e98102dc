"""docs/data.md: each format's example is read by its map function, and recognised as that format."""

from __future__ import annotations

import ast
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from tiny_models import save_base

from xagent.chat.message import Conversation, Message, ToolCall
from xagent.cli import main
from xagent.data.formats import FORMATS, chat_map_fn_factory, recognise
from xagent.registry import build

EXAMPLE = re.compile(r"^### (\w+)\n(?:(?!^#).)*?^```json\n(.*?)^```", re.MULTILINE | re.DOTALL)
CALLS = {"openai": 2, "anthropic": 1, "sharegpt": 1}


@pytest.fixture
def page(repo_root: Path) -> str:
    return (repo_root / "docs" / "data.md").read_text(encoding="utf-8")


def examples(page: str) -> dict[str, Any]:
    return {name: json.loads(text) for name, text in EXAMPLE.findall(page)}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def test_every_format_has_an_example(page: str) -> None:
    assert list(examples(page)) == list(FORMATS)


@pytest.mark.parametrize("name", list(FORMATS))
def test_the_example_is_read_and_recognised(page: str, name: str) -> None:
    row = examples(page)[name]
    talk = FORMATS[name](row).validate()
    assert recognise([row]).format == name
    assert sum(len(message.tool_calls) for message in talk.messages) == CALLS.get(name, 0)
    assert talk.messages[-1].role == "assistant"
    assert len(talk.tools) == (1 if name in CALLS else 0)


def test_the_four_steps(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command and the config of the page, on a small model and the page's own example."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XAGENT_CACHE", str(tmp_path / "cache"))
    save_base(tmp_path / "tiny", max_position_embeddings=4096)
    Path("my_data.jsonl").write_text(f"{json.dumps(examples(page)['sharegpt'])}\n" * 4)
    (config,) = blocks(page, "python")[:1]
    Path("my_config.py").write_text(config.replace("data_path", 'pretrained_model_name_or_path = "tiny"\ndata_path', 1))
    commands = [shlex.split(line) for text in blocks(page.partition("## The whole way")[0], "bash") for line in text.splitlines()]
    assert [words[1] for words in commands] == ["check-dataset", "log-dataset", "check-dataset", "train", "train"]
    for words in commands[:-1]:
        assert main(words[1:]) == 0, words
    assert "4 in = 4 kept" in capsys.readouterr().out
    assert Path("page.html").is_file()


def test_the_whole_way_is_what_the_config_says(page: str, repo_root: Path) -> None:
    said = ast.get_docstring(ast.parse((repo_root / "configs" / "nano" / "nano_qlora_glaive.py").read_text(encoding="utf-8")))
    (block,) = blocks(page.partition("## The whole way")[2], "bash")[:1]
    assert [line for line in block.splitlines() if "check-dataset" not in line] == str(said).split("\n\n")[1].splitlines()


def test_links(page: str, repo_root: Path) -> None:
    titles = {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in re.findall(r"^##+ (.*)$", page, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([\w-]+)\)", page)) <= titles
    named = set(re.findall(r"\]\(([\w-]+\.md)", page))
    assert {"protocols.md", "templates.md", "loss-weights.md", "mixing.md", "inspecting.md"} <= named
    assert all((repo_root / "docs" / name).is_file() for name in named)


def test_the_layout_of_ones_own(page: str) -> None:
    (described,) = re.findall(r"^dataset_map_fn = (dict\(.*?^\))", page, re.MULTILINE | re.DOTALL)
    names = dict(re.findall(r'(\w+)="(\w+)"', described)) | {"assistant_tag": ("agent", "bot")}
    map_fn = build(dict(type=chat_map_fn_factory, **names))
    said = [("caller", "u"), ("request", '{"name": "f"}'), ("result", "x"), ("agent", "a"), ("bot", "b")]
    talk = map_fn({"dialogue": [{"speaker": who, "text": text} for who, text in said]})
    assert talk.messages == (
        Message("user", "u"),
        Message("assistant", tool_calls=(ToolCall("f"),)),
        Message("tool", "x"),
        Message("assistant", "a"),
        Message("assistant", "b"),
    )


def test_the_map_function_of_ones_own(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"^```python\n(from xagent.*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "my_formats.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    from my_formats import my_map_fn

    talk = my_map_fn({"question": "q", "keywords": "k", "found": "x", "answer": "a"})
    assert isinstance(talk, Conversation)
    assert [message.role for message in talk.validate().messages] == ["user", "assistant", "tool", "assistant"]
    assert len(code.strip().splitlines()) <= 10
