"""The page in a real browser: a question is typed, the tool runs, the answer appears; and axe finds nothing to mend."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium: pip install selenium")

pytestmark = pytest.mark.slow

PAGE = Path(__file__).with_name("scripted_page.py")
ROOT = PAGE.parents[2]
AXE = "XAGENT_AXE"
"""The environment variable that names axe.min.js (of the npm package axe-core)."""

PATIENCE = 240.0
"""Seconds: a browser, a server and their imports, on a busy machine."""

Found = TypeVar("Found")


def _until(what: Callable[[], Found | None], why: str) -> Found:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"{why} within {PATIENCE:.0f} seconds")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A server of the scripted page."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = ["--server.address=localhost", f"--server.port={port}", "--server.headless=true", "--server.fileWatcherType=none"]
    words = [sys.executable, "-m", "streamlit", "run", str(PAGE), *settings, "--browser.gatherUsageStats=false"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XAGENT_WEB_TOKEN": ""}
    server = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _until(lambda: server.poll() is not None or _answers(f"http://localhost:{port}/_stcore/health"), "no server")
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


class _Browser:
    """A headless Chromium."""

    def __init__(self, width: int, height: int, scheme: str) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = str(shutil.which("chromium"))
        for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--lang=en-US"):
            options.add_argument(word)
        self.driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
        self.driver.set_page_load_timeout(PATIENCE)
        self.driver.set_script_timeout(PATIENCE)
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)

    def find(self, selector: str, count: int = 1) -> list[Any]:
        """Wait until there are so many elements, and give them."""

        def found() -> list[Any] | None:
            elements = self.driver.find_elements("css selector", selector)
            return elements if len(elements) >= count else None

        return _until(found, f"no {count} x {selector}")

    def ask(self, address: str, question: str) -> None:
        """Open the page, ask, and wait until both models came to an end."""
        self.driver.get(address)
        self.find("textarea[data-testid=stChatInputTextArea]:not([disabled])")[0].send_keys(question + "\n")
        self.settle()

    def settle(self) -> None:
        """Wait until the answers are there and nothing is on its way or fading out."""
        self.find("[data-testid=stDownloadButton]", 2)
        stale = "[data-stale=true]"
        _until(lambda: not self.driver.find_elements("css selector", stale), "the page never came to rest")
        time.sleep(1)  # its transitions

    def texts(self, selector: str) -> list[str]:
        return [element.text for element in self.driver.find_elements("css selector", selector)]

    def width(self) -> tuple[int, int]:
        """Give the page's and the window's width."""
        page, window = self.driver.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
        return page, window


@pytest.fixture
def browse() -> Iterator[Callable[..., _Browser]]:
    """Opens browsers, and closes them."""
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("needs chromium and chromedriver (Debian: apt-get install chromium chromium-driver)")
    opened: list[_Browser] = []

    def browse(width: int = 1280, height: int = 1000, scheme: str = "light") -> _Browser:
        opened.append(_Browser(width, height, scheme))
        return opened[-1]

    yield browse
    for one in opened:
        one.driver.quit()


@pytest.fixture
def axe() -> str:
    """The source of axe-core."""
    place = os.environ.get(AXE)
    if not place:
        pytest.skip(f"needs axe-core: `npm pack axe-core` in some folder, and {AXE}=.../axe.min.js")
    return Path(place).read_text(encoding="utf-8")


def _faults(browser: _Browser, axe: str) -> list[str]:
    browser.driver.execute_script(axe)
    found = browser.driver.execute_async_script("axe.run().then(arguments[0])")
    return [f"{one['impact']} {one['id']}: {node['html'][:200]}" for one in found["violations"] for node in one["nodes"]]


def test_a_question_is_typed_the_tool_runs_and_the_answer_appears(
    address: str, browse: Callable[..., _Browser], tmp_path: Path
) -> None:
    browser = browse()
    browser.ask(address, "What is 2 plus 3?")
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
    browser.settle()
    assert browser.driver.current_url == before
    assert browser.texts(".xagent-answer .xagent-said") == ["The sum is 5."]


def test_on_a_phone_the_models_stand_one_below_the_other(address: str, browse: Callable[..., _Browser]) -> None:
    browser = browse(390, 844)
    browser.ask(address, "What is 2 plus 3?")
    first, second = (element.rect for element in browser.find(".xagent-model", 2))
    assert second["y"] > first["y"] + first["height"] and abs(first["x"] - second["x"]) < 5
    page, window = browser.width()
    assert page <= window == 390


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")])
def test_axe_finds_nothing(address: str, browse: Callable[..., _Browser], axe: str, width: int, scheme: str) -> None:
    browser = browse(width, scheme=scheme)
    browser.driver.get(address)
    browser.find("textarea[data-testid=stChatInputTextArea]:not([disabled])")
    time.sleep(2)
    assert _faults(browser, axe) == []
    browser.ask(address, "What is 2 plus 3?")
    assert _faults(browser, axe) == []
