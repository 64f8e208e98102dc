"""Which models are loaded, under which names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from xagent.inference.prompting import AgentSettings
from xagent.web import models
from xagent.web.models import LoadedModel, load_models, told_apart
from xagent.web.options import DemoOptions
from xagent.web.settings import Generation, Settings, Setup
from xagent.web.shelf import ToolShelf
from xagent.web.visit import Visit


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[Any, ...]]:
    """What would be loaded, in an empty working directory."""
    made: list[tuple[Any, ...]] = []

    def load(path: str, adapter: str | None, **how: Any) -> Any:
        made.append((path, adapter, {name: value for name, value in how.items() if value}))
        return f"engine {len(made)}"

    monkeypatch.setattr(models, "load_engine", load)
    monkeypatch.chdir(tmp_path)
    return made


def test_without_a_model_the_demos_own_are_shown(loads: list[tuple[Any, ...]]) -> None:
    base = ("xagent:nano/base", None, {"device": "auto", "defaults": AgentSettings("llama3_chat", "react")})
    assert [one.name for one in load_models(DemoOptions())] == ["base"] and loads == [base]
    Path("work_dirs/demo/merged").mkdir(parents=True)
    assert [one.name for one in load_models(DemoOptions())] == ["base", "tuned"]
    assert loads[1:] == [base, ("work_dirs/demo/merged", None, {"device": "auto"})]


def test_a_base_is_spoken_to_as_the_model_is(loads: list[tuple[Any, ...]], tmp_path: Path) -> None:
    merged = tmp_path / "merged"
    merged.mkdir()
    (merged / "xagent.json").write_text('{"template": "qwen_chat", "protocol": "hermes"}')
    found = load_models(DemoOptions(str(merged), "org/base", dtype="bf16"))
    assert found == (LoadedModel("base", "engine 2"), LoadedModel("merged", "engine 1"))
    spoken = AgentSettings("qwen_chat", "hermes")
    assert loads == [
        (str(merged), None, {"device": "auto", "dtype": "bf16"}),
        ("org/base", None, {"device": "auto", "dtype": "bf16", "defaults": spoken}),
    ]


def test_a_base_with_and_without_its_adapter_is_loaded_once(loads: list[tuple[Any, ...]]) -> None:
    found = load_models(DemoOptions("./base", "./base", "./adapter"))
    assert found == (LoadedModel("base", "engine 1"), LoadedModel("adapter", "engine 1", "adapter"))
    assert loads == [("./base", None, {"device": "auto", "adapters": {"adapter": "./adapter"}})]


def test_one_model_alone(loads: list[tuple[Any, ...]]) -> None:
    assert load_models(DemoOptions("./base", adapter="./adapter/")) == (LoadedModel("adapter", "engine 1"),)
    assert loads == [("./base", "./adapter/", {"device": "auto"})]


@pytest.mark.parametrize(
    ("one", "other", "names"),
    [
        ("org/base", "./merged/", ("base", "merged")),
        ("xagent:nano/base", "runs/1", ("base", "1")),
        ("a/merged", "b/merged", ("a/merged", "b/merged")),
        ("a/merged", "a/merged", ("merged 1", "merged 2")),
    ],
)
def test_names_tell_models_apart(one: str, other: str, names: tuple[str, str]) -> None:
    assert told_apart(one, other) == names


def test_the_embedded_base_answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    shown = load_models(DemoOptions(device="cpu"))
    settings = Settings(setup=Setup(tools=("add_numbers",)), generation=Generation(max_turn=1, max_new_tokens=8))
    visit = Visit(shown, ToolShelf(), settings)
    assert visit.ask("What is 2 plus 3?")
    assert visit.panes[0].wait(120)
    [exchange] = visit.panes[0].exchanges
    assert exchange.is_over and exchange.fault is None
    assert exchange.steps or exchange.answer is not None or exchange.ended is not None
    shown[0].engine.close()
