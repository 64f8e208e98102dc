"""Tools of a real MCP server, started as a process and spoken to by the official package."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

pytest.importorskip("mcp.server.mcpserver", reason="needs the extra 'mcp'")

from xagent.agent.tools import load_tools
from xagent.agent.tools.mcp_server import McpServer
from xagent.errors import ConfigError

SERVER = '''
import os, time
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

server = MCPServer("test")

@server.tool()
def add(first: int, second: int) -> int:
    """Add two numbers."""
    return first + second

@server.tool()
def fail(why: str) -> str:
    """Fail."""
    raise ToolError("no: " + why)

@server.tool()
def hang() -> str:
    """Hang."""
    time.sleep(600)

@server.tool()
def leave() -> str:
    """End the server."""
    os._exit(3)

@server.tool()
def secret() -> str:
    """Tell a variable."""
    return os.environ.get("XAGENT_TEST_SECRET", "nothing")

server.run()
'''


@pytest.fixture
def command(tmp_path: Path) -> str:
    path = tmp_path / "a server.py"
    path.write_text(SERVER, encoding="utf-8")
    return shlex.join([sys.executable, str(path)])


@pytest.fixture
def children() -> Callable[[], list[psutil.Process]]:
    """Give the processes that were started since the test began; what an earlier test left is no server's."""
    before = psutil.Process().children(recursive=True)
    return lambda: [child for child in psutil.Process().children(recursive=True) if child not in before]


def test_a_server_s_tools_are_called_and_it_is_ended(
    command: str, children: Callable[[], list[psutil.Process]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XAGENT_TEST_SECRET", "hush")
    monkeypatch.setitem(McpServer.__init__.__kwdefaults__, "timeout", 120.0)  # to import its package takes a while
    with load_tools([shlex.quote(f"mcp:{command}"), "playground:add_numbers"]) as box:
        started = children()
        assert any("a server.py" in " ".join(child.cmdline()) for child in started)
        assert list(box.tools) == ["add", "fail", "hang", "leave", "secret", "add_numbers"]
        assert box.tools["add"].spec.description == "Add two numbers."
        assert box.tools["add"].spec.parameters["required"] == ["first", "second"]
        assert box.tools["add"].note.startswith("runs in ")
        assert box.run("add", {"first": 2, "second": 3}).text == "5"
        assert box.run("add", {"first": "x", "second": 3}).text == "parameter 'first' must be a whole number, got 'x'"
        failed = box.run("fail", {"why": "because"})
        assert failed.fault == "error" and "no: because" in failed.text
        assert box.run("secret", {}).text == "nothing"
        gone = box.run("leave", {})
        assert gone.fault == "error" and gone.text.startswith("leave failed")
        assert box.run("add", {"first": 2, "second": 3}).fault == "error"
    assert not psutil.wait_procs(started, timeout=60)[1]


def test_a_call_that_hangs_is_given_up_and_the_server_killed(command: str, children: Callable[[], list[psutil.Process]]) -> None:
    with McpServer(shlex.split(command), timeout=120) as server:
        server.timeout = 1.0
        tools = {tool.name: tool for tool in server.tools()}
        with pytest.raises(Exception, match="hang failed"):
            tools["hang"].run({})
        started = children()
        assert started
    assert not psutil.wait_procs(started, timeout=60)[1]


def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(ConfigError, match="did not start: .*it said: oh no"):
        McpServer([sys.executable, "-c", "import sys; sys.exit('oh no')"], timeout=60)
    with pytest.raises(ConfigError, match="did not start: FileNotFoundError"):
        McpServer(["/no/such/program"])
    with pytest.raises(ConfigError, match="no answer within 2 seconds"):
        McpServer([sys.executable, "-c", "import time; time.sleep(600)"], timeout=2)
    with pytest.raises(ConfigError, match="needs a command"):
        McpServer([])
