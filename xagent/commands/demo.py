"""`xagent demo`: the whole story on the embedded tiny model."""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLES = """examples:
  xagent demo
  xagent demo --conversations 900       # longer, and a better agent
  xagent demo --work-dir /tmp/demo"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.description = (
        "Convert raw agent data, train the embedded model by QLoRA, turn the checkpoint into an adapter, merge it, and "
        "let the base and the merged model solve held-out tasks with real tools. Minutes on two CPU cores; no network."
    )
    parser.epilog = EXAMPLES
    parser.add_argument(
        "--work-dir",
        type=Path,
        default=Path("work_dirs/demo"),
        metavar="DIR",
        help="where everything goes (default: %(default)s)",
    )
    parser.add_argument(
        "--conversations",
        type=int,
        metavar="N",
        help="how many to train on (default: 900 where this machine's cores multiply in bf16, else 500: six minutes on two)",
    )


def run(args: argparse.Namespace) -> None:
    """Run the demo and print its report.

    Raises:
        XAgentError: the work dir can't be used, or there is nothing to train on.
    """
    from xagent.evaluation.demo import run_demo

    run_demo(work_dir=args.work_dir, conversations=args.conversations)
