"""`xagent chat`: talk to a model in the terminal, with tools or without."""

from __future__ import annotations

import argparse
import io
import sys
from typing import TYPE_CHECKING

from xagent.agent.tools.selection import add_tools_argument
from xagent.commands.options import add_placement, add_sampling, add_speech

if TYPE_CHECKING:
    from xagent.agent.session import AgentSession
    from xagent.agent.tools import ToolBox
    from xagent.inference.engine import Engine
    from xagent.playground import Language

EXAMPLES = """examples:
  xagent chat work_dirs/demo/merged --tools playground
  xagent chat ./base --adapter ./adapter --tools python,my_tools.py:search
  xagent chat ./merged --stop-words Observation:      (type the observations yourself)
  printf 'Hello\\nexit\\n' | xagent chat xagent:nano/base

In the chat `help` lists the commands; Ctrl-C stops a reply, Ctrl-D leaves."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.description = "Talk to a model, spoken to as it was trained. What it calls is run, if --tools gives it tools."
    parser.epilog = EXAMPLES
    parser.add_argument(
        "model", metavar="MODEL", help="a folder, an xagent: name or a hub id; an adapter's folder loads its base"
    )
    parser.add_argument("--adapter", metavar="DIR", help="a PEFT adapter to put on MODEL")
    add_tools_argument(parser)
    parser.add_argument("--system", metavar="TEXT", help="the system text; with tools it stands before theirs")
    parser.add_argument(
        "--stop-words",
        nargs="+",
        action="extend",
        default=[],
        metavar="WORD",
        help="texts that end a reply; after Observation: you type the observation, and the model goes on in the same turn",
    )
    add_speech(parser)
    parser.add_argument("--language", choices=("en", "zh"), help="of the text that shows the tools (default: the protocol's)")
    parser.add_argument("--load", metavar="FILE", help="go on with the last conversation of a file")
    parser.add_argument(
        "--stream",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="show replies as they are written (default), or each when it is whole",
    )
    _add_replying(parser)


def _add_replying(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how the model replies")
    add_sampling(group)
    group.add_argument("--seed", type=int, default=0, metavar="N", help="of what is drawn (default: %(default)s)")
    group.add_argument("--max-new-tokens", type=int, default=512, metavar="N", help="a reply is cut there (default: %(default)s)")
    group.add_argument("--max-turn", type=int, default=6, metavar="N", help="replies to one question (default: %(default)s)")
    add_placement(group)
    group.add_argument("--load-in-4bit", action="store_true", help="load the weights in NF4")


def run(args: argparse.Namespace) -> None:
    """Chat until `exit` or the end of what is read.

    Raises:
        XAgentError: the model or the tools can't be used.
    """
    from xagent.agent.tools import ToolBox
    from xagent.agent.tools.selection import load_tools, parse_tools
    from xagent.inference.loading import load_engine

    parse_tools(args.tools)  # before the model, which takes longer
    engine = load_engine(
        args.model,
        args.adapter,
        template=args.template,
        protocol=args.protocol,
        dtype=args.dtype,
        device=args.device,
        load_in_4bit=args.load_in_4bit,
    )
    try:
        with load_tools(args.tools, _language(args, engine)) if args.tools else ToolBox() as box:
            chat_with(engine, box, args)
    finally:
        engine.close()


def chat_with(engine: Engine, box: ToolBox, args: argparse.Namespace) -> None:
    """Chat with a model that is loaded.

    Raises:
        XAgentError: an option or the file to go on with can't be used.
    """
    from xagent.agent.session import AgentSession
    from xagent.chat.reply import meant_stop_word
    from xagent.chatting.chat import Chat
    from xagent.chatting.lines import PipedLines, TypedLines, history_file
    from xagent.chatting.records import load_record
    from xagent.chatting.screen import Screen, shows_colours

    session = AgentSession(
        engine,
        box,
        language=_language(args, engine),
        system=args.system,
        max_turn=args.max_turn,
        max_new_tokens=args.max_new_tokens,
        temperature=args.temperature,
        top_p=args.top_p,
        seed=args.seed,
        stop=tuple(map(meant_stop_word, args.stop_words)),
    )
    if args.load:
        session.load(load_record(args.load))
    somebody_types = sys.stdin.isatty() and sys.stdout.isatty()
    for stream in (sys.stdout, sys.stderr):  # where the terminal lacks a character its escape is shown
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    screen = Screen(sys.stdout, sys.stderr, args.stream)
    lines = TypedLines(history_file(), shows_colours(sys.stdout)) if somebody_types else PipedLines(sys.stdin)
    if somebody_types:
        screen.note(_greeting(args.model, session))
    Chat(session, lines, screen, somebody_types).run()


def _greeting(model: str, session: AgentSession) -> str:
    tools = ", ".join(tool.name for tool in session.box.specs[:6]) + (", ..." if len(session.box) > 6 else "")
    said = [f"{model}, {f'protocol {session.protocol.name}, tools {tools}' if tools else 'no tools'}", *session.box.notes]
    return "\n".join([*said, "help lists the commands"])


def _language(args: argparse.Namespace, engine: Engine) -> Language:
    from xagent.agent.languages import system_language

    chosen = args.language or system_language(engine.prompts.protocol.name)
    return "zh" if chosen == "zh" else "en"
