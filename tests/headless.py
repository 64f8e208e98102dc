"""A headless Chromium for tests of pages: what it shows, how wide it is, and what axe finds in it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from typing import Any, TypeVar

from selenium import webdriver

PATIENCE = 240.0
"""Seconds: a browser, a server and their imports, on a busy machine."""

Found = TypeVar("Found")


def until(what: Callable[[], Found | None], why: str) -> Found:
    """Ask until there is something, and give it."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"{why} within {PATIENCE:.0f} seconds")


class Browser:
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

        return until(found, f"no {count} x {selector}")

    def texts(self, selector: str) -> list[str]:
        return [element.text for element in self.driver.find_elements("css selector", selector)]

    def width(self) -> tuple[int, int]:
        """Give the page's and the window's width."""
        page, window = self.driver.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
        return page, window

    def faults(self, axe: str) -> list[str]:
        """Give what axe-core, whose source this is, finds to mend."""
        self.driver.execute_script(axe)
        found = self.driver.execute_async_script("axe.run().then(arguments[0])")
        return [f"{one['impact']} {one['id']}: {node['html'][:200]}" for one in found["violations"] for node in one["nodes"]]
