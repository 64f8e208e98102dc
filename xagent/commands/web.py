"""`xagent web`: the demo in a browser."""

from __future__ import annotations

import argparse
import os
import secrets
import socket
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from xagent.errors import ConfigError, XAgentError

if TYPE_CHECKING:
    from xagent.web.options import DemoOptions

EXAMPLES = """examples:
  xagent web                                          the demo's models, after `xagent demo`
  xagent web ./merged --compare ./base
  xagent web ./base --adapter ./adapter --tools playground:dates,my_tools.py:search
  XAGENT_WEB_TOKEN=... xagent web ./merged --address 0.0.0.0 --port 8080"""

ADDRESS, PORT = "localhost", 8501
PAGE = Path(__file__).resolve().parents[1] / "web" / "page.py"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    from xagent.web.options import add_demo_arguments

    parser.description = (
        "Ask one or two models in a browser, and see their thoughts, tool calls and answers side by side. Only this computer can "
        "open the page, unless --address says otherwise. Needs: pip install 'xagent[demo]'."
    )
    parser.epilog = EXAMPLES
    add_demo_arguments(parser)
    group = parser.add_argument_group("the server")
    group.add_argument("--address", default=ADDRESS, metavar="HOST", help="where to listen (default: %(default)s)")
    group.add_argument("--port", type=int, default=PORT, metavar="N", help="(default: %(default)s)")
    group.add_argument(
        "--token",
        metavar="TEXT",
        help="visitors must open the page with ?token=TEXT (default: the environment's XAGENT_WEB_TOKEN, which other users "
        "of the machine can't read; wanted where --address is not this computer's own)",
    )
    group.add_argument("--browser", action="store_true", help="open the page in a browser")


def run(args: argparse.Namespace) -> None:
    """Serve the page until Ctrl-C.

    Raises:
        XAgentError: Streamlit is missing, the port is taken, or the page would be open to others without a token.
    """
    from xagent.web.access import TOKEN_VARIABLE, is_loopback
    from xagent.web.options import options_of

    if find_spec("streamlit") is None:
        raise XAgentError("the web demo needs Streamlit: pip install 'xagent[demo]'")
    token = args.token or os.environ.get(TOKEN_VARIABLE, "")
    if not is_loopback(args.address) and not token:
        raise ConfigError(
            f"--address {args.address} lets other computers in, and there is no token: set {TOKEN_VARIABLE} or give --token. "
            f"A fresh one: {TOKEN_VARIABLE}={secrets.token_urlsafe(24)}"
        )
    _check_port(args.address, args.port)
    os.environ[TOKEN_VARIABLE] = token
    if token:
        print(f"xagent: the page opens with its token only: http://{args.address}:{args.port}/?token=...", file=sys.stderr)
    _serve(options_of(args), args.address, args.port, args.browser)


def _serve(options: DemoOptions, address: str, port: int, browser: bool) -> None:
    from streamlit.web import cli

    from xagent.web.options import words_of

    # A full garbage collection after each look at the page would stop the models in between, for longer than a token takes.
    settings = {
        "runner.postScriptGC": "false",
        "server.address": address,
        "server.port": port,
        "server.headless": str(not browser).lower(),
        "server.showEmailPrompt": "false",
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
    }
    words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    cli.main(["run", str(PAGE), *words, "--", *words_of(options)], standalone_mode=False)


def _check_port(address: str, port: int) -> None:
    if not 1 <= port <= 65535:
        raise ConfigError(f"--port must be from 1 to 65535, got {port}")
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise ConfigError(f"--address {address}: {error.strerror}; give an address of this computer") from error
    with socket.socket(family, kind, protocol) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(place)
        except OSError as error:
            raise ConfigError(
                f"can't listen at {address}, port {port}: {error.strerror}; choose another --port or --address"
            ) from error
