"""The page of `xagent log-dataset --show html` in a real browser: it searches, folds, explains tokens, and axe finds nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of two records: one asks about rivers, the other calls a tool."""
    folder = tmp_path_factory.mktemp("page")
    call = {"type": "function", "function": {"name": "add", "arguments": '{"a": 2, "b": 3}'}}
    parameters = {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}, "required": ["a", "b"]}
    tool = {"type": "function", "function": {"name": "add", "description": "Add two numbers.", "parameters": parameters}}
    records = [
        {"messages": [{"role": "user", "content": "Name a <b>river</b>."}, {"role": "assistant", "content": "The Elbe."}]},
        {
            "tools": [tool],
            "messages": [
                {"role": "user", "content": "What is 2 plus 3?"},
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "content": "5"},
                {"role": "assistant", "content": "It is 5."},
            ],
        },
    ]
    data = folder / "data.jsonl"
    data.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    out = folder / "page.html"
    words = [sys.executable, "-m", "xagent.cli", "log-dataset", "nano_qlora_agent", "--show", "html", "--out", str(out)]
    options = [f"data_path={data}", "train_dataset.dataset_map_fn=auto"]
    subprocess.run([*words, "--cfg-options", *options], check=True)
    return out


def test_the_page_works_in_a_browser(page: Path, browse: Callable[..., Any]) -> None:
    browser = browse()
    browser.driver.get(page.as_uri())
    assert len(browser.find("article", 2)) == 2
    assert "<b>river</b>" in browser.texts("article")[0]
    # Only what the model says is learned, and it is seen: the mark is a colour of its own.
    learned = "".join(browser.driver.execute_script("return [...document.querySelectorAll('.t.w')].map(t => t.textContent)"))
    assert "Elbe" in learned and "Final Answer:It is 5." in re.sub(r"\s+", " ", learned)
    assert "river" not in learned and "Response" not in learned
    colours = browser.driver.execute_script(
        "const of = s => getComputedStyle(document.querySelector(s)).backgroundColor;"
        "return [of('.final .t.w'), of('.user .t:not(.w)')]"
    )
    assert colours[0] != colours[1]
    # Search hides the sample without the word.
    browser.find("#search")[0].send_keys("elbe")
    browser.find("article[hidden]")
    assert browser.texts("#status") == ["1 in 1 of 2 samples"]
    browser.find("#search")[0].clear()
    browser.find("#search")[0].send_keys(" ")
    # A token says its id and its weight.
    token = browser.find(".call .t.w")[0]
    browser.driver.execute_script("arguments[0].dispatchEvent(new MouseEvent('click', {bubbles: true}))", token)
    assert re.fullmatch(r"ids? [\d ]+ · weight 1, learned · call.*", browser.texts("#tip")[0])
    # A released button folds its kind.
    browser.driver.execute_script("document.querySelector('.legend button.user').click()")
    assert len(browser.find(".run.user.off", 2)) == len(browser.driver.find_elements("css selector", ".run.user"))
    faults = [entry for entry in browser.driver.get_log("browser") if entry["level"] == "SEVERE"]
    assert faults == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")])
def test_axe_finds_nothing(page: Path, browse: Callable[..., Any], axe: str, width: int, scheme: str) -> None:
    browser = browse(width, scheme=scheme)
    browser.driver.get(page.as_uri())
    browser.find("article", 2)
    assert browser.width()[0] <= width
    # The page's own policy lets no other script in, so axe comes by the driver.
    browser.driver.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
    browser.driver.get(page.as_uri())
    assert browser.faults(axe) == []
