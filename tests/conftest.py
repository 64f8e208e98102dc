"""What every test runs under: no network, few threads, and reasons for what is skipped."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"  # workers that share the cores would wait for each other's threads
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("MPLBACKEND", "Agg")
# What DeepSpeed compiles is this checkout's own: another's killed build in the user's cache must not stop the tests.
os.environ.setdefault("TORCH_EXTENSIONS_DIR", str(ROOT / ".pytest_cache" / "torch_extensions"))

import pytest
from hypothesis import settings

# The gate tries the same cases every time; `make slow` draws new ones.
settings.register_profile("gate", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("XAGENT_HYPOTHESIS", "gate"))

SHARED_DATA = ROOT.parent / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `gpu` on a machine without one, and say so."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA GPU, and torch sees none"))


@pytest.fixture
def repo_root() -> Path:
    """The top folder of the checkout."""
    return ROOT


@pytest.fixture
def shared_data() -> Path:
    """The folder of real data beside the checkout; the test is skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the real data at {SHARED_DATA}, which is not there")
    return SHARED_DATA


@pytest.fixture
def browse() -> Iterator[Callable[..., Any]]:
    """Opens headless browsers, ``browse(width, height, scheme)``, and closes them."""
    pytest.importorskip("selenium.webdriver", reason="needs selenium: pip install selenium")
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("needs chromium and chromedriver (Debian: apt-get install chromium chromium-driver)")
    from headless import Browser

    opened: list[Browser] = []

    def browse(width: int = 1280, height: int = 1000, scheme: str = "light") -> Browser:
        opened.append(Browser(width, height, scheme))
        return opened[-1]

    yield browse
    for one in opened:
        one.driver.quit()


@pytest.fixture
def axe() -> str:
    """The source of axe-core; ``XAGENT_AXE`` names its axe.min.js."""
    place = os.environ.get("XAGENT_AXE")
    if not place:
        pytest.skip("needs axe-core: `npm pack axe-core` in some folder, and XAGENT_AXE=.../axe.min.js")
    return Path(place).read_text(encoding="utf-8")
