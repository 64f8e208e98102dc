"""The page in a real browser: a question is typed, the tool runs, the answer appears; and axe finds nothing to mend."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from free_ports import free_port

pytest.importorskip("selenium.webdriver", reason="needs selenium: pip install selenium")

from headless import Browser, until

pytestmark = pytest.mark.slow

PAGE = Path(__file__).with_name("scripted_page.py")
ROOT = PAGE.parents[2]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A server of the scripted page."""
    port = free_port()
    settings = ["--server.address=localhost", f"--server.port={port}", "--server.headless=true", "--server.fileWatcherType=none"]
    words = [sys.executable, "-m", "streamlit", "run", str(PAGE), *settings, "--browser.gatherUsageStats=false"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XAGENT_WEB_TOKEN": ""}
    server = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: server.poll() is not None or _answers(f"http://localhost:{port}/_stcore/health"), "no server")
        assert server.poll() is None, "the server ended"
        yield f"http://localhost:{port}/"
    finally:
        server.terminate()
        server.wait(30)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _ask(browser: Browser, address: str, question: str) -> None:
    """Open the page, ask, and wait until both models came to an end."""
    browser.driver.get(address)
    browser.find("textarea[data-testid=stChatInputTextArea]:not([disabled])")[0].send_keys(question + "\n")
    _settle(browser)


def _settle(browser: Browser) -> None:
    """Wait until the answers are there and nothing is on its way or fading out."""
    browser.find("[data-testid=stDownloadButton]", 2)
    until(lambda: not browser.driver.find_elements("css selector", "[data-stale=true]"), "the page never came to rest")
    time.sleep(1)  # its transitions


def test_a_question_is_typed_the_tool_runs_and_the_answer_appears(
    address: str, browse: Callable[..., Browser], tmp_path: Path
) -> None:
    browser = browse()
    _ask(browser, address, "What is 2 plus 3?")
    assert browser.texts(".xagent-model") == ["base", "tuned"]
    assert browser.texts(".xagent-answer .xagent-said") == ["The sum is 5."]
    [card] = [text for text in browser.texts(".xagent-card") if "add_numbers" in text and "Observation" in text]
    lines = [line for line in card.splitlines() if line not in ("{", "}")]
    assert lines[0] == "Step 1" and lines[2:4] == ["Thought", "I need the tool add_numbers."]
    assert lines[-2:] == ["Observation", "5"]
    picture = tmp_path / "page.png"
    assert browser.driver.save_screenshot(str(picture)) and picture.stat().st_size > 10_000
    left, right = (element.rect for element in browser.find(".xagent-model", 2))
    assert right["x"] > left["x"] + left["width"] - 1 and abs(left["y"] - right["y"]) < 5
    before = browser.driver.current_url
    assert "session=" in before
    browser.driver.refresh()
    _settle(browser)
    assert browser.driver.current_url == before
    assert browser.texts(".xagent-answer .xagent-said") == ["The sum is 5."]


def test_on_a_phone_the_models_stand_one_below_the_other(address: str, browse: Callable[..., Browser]) -> None:
    browser = browse(390, 844)
    _ask(browser, address, "What is 2 plus 3?")
    first, second = (element.rect for element in browser.find(".xagent-model", 2))
    assert second["y"] > first["y"] + first["height"] and abs(first["x"] - second["x"]) < 5
    page, window = browser.width()
    assert page <= window == 390


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")])
def test_axe_finds_nothing(address: str, browse: Callable[..., Browser], axe: str, width: int, scheme: str) -> None:
    browser = browse(width, scheme=scheme)
    browser.driver.get(address)
    browser.find("textarea[data-testid=stChatInputTextArea]:not([disabled])")
    time.sleep(2)
    assert browser.faults(axe) == []
    _ask(browser, address, "What is 2 plus 3?")
    assert browser.faults(axe) == []
