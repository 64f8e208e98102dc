"""What the web demo's tests run under."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
config = pytest.importorskip("streamlit.config", reason="needs Streamlit: pip install 'xagent[demo]'")


@pytest.fixture
def on_this_computer() -> Iterator[None]:
    """A server that only this computer can reach, as `xagent web` and tools/.streamlit/config.toml make it."""
    before = config.get_option("server.address")
    config.set_option("server.address", "localhost")
    yield
    config.set_option("server.address", before)


@pytest.fixture(autouse=True)
def own_main_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streamlit makes each page it runs the main module, which processes that a later test starts would run."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
