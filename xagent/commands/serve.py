"""`xagent serve`: a model behind OpenAI's API."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from xagent.commands.options import add_placement, add_sampling, add_speech
from xagent.errors import ConfigError

if TYPE_CHECKING:
    from xagent.inference.engine import Engine
    from xagent.serving.service import ServerSettings

EXAMPLES = """examples:
  xagent serve work_dirs/demo/merged
  xagent serve ./base --adapter agent=work_dirs/adapter --adapter other=work_dirs/other
  xagent serve ./merged --stop-words Observation:
  XAGENT_API_KEY=... xagent serve ./merged --host 0.0.0.0 --port 8000

Then, with the openai package: OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="EMPTY"). See docs/serving.md."""

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
KEY_VARIABLE = "XAGENT_API_KEY"
VLLM_KEY = "VLLM_API_KEY"
_VLLM_LOADS = ("adapter", "dtype", "load_in_4bit")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.description = "Serve a model with OpenAI's API: chat with tools, completions, models, health, metrics."
    parser.epilog = EXAMPLES
    parser.add_argument(
        "model", metavar="MODEL", help="a folder, an xagent: name or a hub id; an adapter's folder loads its base"
    )
    parser.add_argument(
        "--adapter",
        action="append",
        default=[],
        metavar="[NAME=]DIR",
        help="an adapter on MODEL, asked for by NAME (default: its folder's name); may be repeated",
    )
    parser.add_argument("--served-model-name", metavar="NAME", help="what clients call MODEL (default: its last path part)")
    where = parser.add_argument_group("who may call")
    where.add_argument("--host", default="127.0.0.1", help="where to listen (default: %(default)s); beyond it a key is required")
    where.add_argument("--port", type=int, default=8000, metavar="N", help="0 takes any that is free (default: %(default)s)")
    where.add_argument("--api-key", metavar="KEY", help=f"what clients must send; better in the environment: {KEY_VARIABLE}")
    where.add_argument(
        "--allowed-host", action="append", default=[], metavar="NAME", help="a name that clients may call the server by"
    )
    where.add_argument("--allowed-origin", action="append", default=[], metavar="URL", help="web pages that may call the server")
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--max-replies", type=int, default=128, metavar="N", help="in the making at once, then 429 (default: %(default)s)"
    )
    limits.add_argument(
        "--max-body-mb", type=float, default=4, metavar="N", help="a request's size, then 413 (default: %(default)s)"
    )
    limits.add_argument(
        "--drain-seconds", type=float, default=30, metavar="S", help="for replies to end in (default: %(default)s)"
    )
    _add_replying(parser)


def _add_replying(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how the model replies, where a request does not say")
    add_sampling(group)
    group.add_argument("--max-tokens", type=int, default=2048, metavar="N", help="a reply is cut there (default: %(default)s)")
    group.add_argument(
        "--stop-words",
        nargs="+",
        action="extend",
        default=[],
        metavar="WORD",
        help="end every reply and stay in it, as with SWIFT (Observation:)",
    )
    loading = parser.add_argument_group("how the model is loaded")
    loading.add_argument(
        "--engine", choices=("transformers", "vllm"), default="transformers", help="what runs it (default: %(default)s)"
    )
    loading.add_argument("--base-url", metavar="URL", help=f"the running vLLM server; its key: {VLLM_KEY}")
    add_speech(loading)
    add_placement(loading)
    loading.add_argument("--load-in-4bit", action="store_true", help="NF4 weights (bitsandbytes)")
    loading.add_argument(
        "--max-batch-size", type=int, default=16, metavar="N", help="replies that share a step (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int | None:
    """Serve until told to end.

    Raises:
        XAgentError: the settings contradict each other, the port is in use, or the model can't be loaded.
    """
    _require_extra()
    from xagent.serving.server import open_socket, serve
    from xagent.serving.service import Service

    settings, adapters = _settings(args), named_adapters(args.adapter)
    if settings.model_name in adapters:
        raise ConfigError(f"--adapter {settings.model_name}=...: the model itself is called so; choose another name")
    listening = open_socket(args.host, args.port)
    try:
        engine = _engine(args, adapters)
        try:
            _announce(engine, settings, args.host, listening.getsockname()[1])
            serve(Service(engine, settings), listening)
        finally:
            engine.close()
    finally:
        listening.close()
    return None


def _require_extra() -> None:
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"xagent serve needs {error.name}, which is not installed: pip install 'xagent[serve]'") from error


def _settings(args: argparse.Namespace) -> ServerSettings:
    from xagent.chat.reply import meant_stop_word
    from xagent.serving.service import ServerSettings

    key = args.api_key or os.environ.get(KEY_VARIABLE) or None
    beyond = args.host not in _LOOPBACK
    faults = []
    if beyond and key is None:
        faults.append(f"--host {args.host} lets others than this machine call: a key is required, --api-key or {KEY_VARIABLE}")
    for name, least in (
        ("max_replies", 1),
        ("max_tokens", 1),
        ("max_body_mb", 0.001),
        ("drain_seconds", 0),
        ("max_batch_size", 1),
    ):
        if not getattr(args, name) >= least:
            faults.append(f"--{name.replace('_', '-')} must be >= {least}, got {getattr(args, name)}")
    if args.drain_seconds == float("inf"):
        faults.append("--drain-seconds must be finite: the server could never end")
    if not 0 <= args.temperature <= 2:
        faults.append(f"--temperature must be from 0 to 2, got {args.temperature}")
    if not 0 < args.top_p <= 1:
        faults.append(f"--top-p must be in (0, 1], got {args.top_p}")
    if not 0 <= args.port <= 65535:
        faults.append(f"--port must be from 0 to 65535, got {args.port}")
    if (args.engine == "vllm") != (args.base_url is not None):
        faults.append("--engine vllm and --base-url http://HOST:PORT, a running vLLM server, belong together")
    if args.engine == "vllm" and (given := [name for name in _VLLM_LOADS if getattr(args, name)]):
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        faults.append(f"{options}: what --engine vllm loads is said to `vllm serve`; its adapters are served by their names")
    if not all(args.stop_words):
        faults.append("--stop-words: a word is empty")
    if faults:
        raise ConfigError(faults)
    hosts = (
        None
        if beyond and not args.allowed_host
        else frozenset((*_LOOPBACK, args.host.lower(), *map(str.lower, args.allowed_host)))
    )
    return ServerSettings(
        model_name=args.served_model_name or Path(args.model.replace(":", "/")).name,
        api_key=key,
        hosts=hosts,
        origins=tuple(args.allowed_origin),
        max_replies=args.max_replies,
        max_body=int(args.max_body_mb * 2**20),
        temperature=args.temperature,
        top_p=args.top_p,
        max_tokens=args.max_tokens,
        stop_words=tuple(map(meant_stop_word, args.stop_words)),
        drain_seconds=args.drain_seconds,
    )


def named_adapters(words: list[str]) -> dict[str, str]:
    """Read ``NAME=DIR`` or ``DIR``, which is called by its folder's name.

    Raises:
        ConfigError: a name or a folder is missing, or two have the same name.
    """
    found: dict[str, str] = {}
    for word in words:
        name, equals, folder = word.partition("=")
        if not equals:
            name, folder = Path(word).name, word
        if not name or not folder:
            raise ConfigError(f"--adapter {word}: expected NAME=DIR, or DIR")
        if name in found:
            raise ConfigError(f"--adapter {word}: another adapter is called {name!r}; give it a name: NAME={folder}")
        found[name] = folder
    return found


def _engine(args: argparse.Namespace, adapters: dict[str, str]) -> Engine:
    from xagent.inference.loading import connect_vllm, load_engine

    if args.engine == "vllm":
        return connect_vllm(
            args.base_url, args.model, api_key=os.environ.get(VLLM_KEY), template=args.template, protocol=args.protocol
        )
    return load_engine(
        args.model,
        adapters=adapters,
        template=args.template,
        protocol=args.protocol,
        dtype=args.dtype,
        device=args.device,
        load_in_4bit=args.load_in_4bit,
        max_batch_size=args.max_batch_size,
    )


def _announce(engine: Engine, settings: ServerSettings, host: str, port: int) -> None:
    shown = f"[{host}]" if ":" in host else host
    spoken = f"template {engine.prompts.template.name}, protocol {engine.prompts.protocol.name}"
    print(f"{', '.join((settings.model_name, *engine.adapters))}: {spoken}", flush=True)
    print(f"serving at http://{shown}:{port}/v1; Ctrl-C ends", flush=True)
