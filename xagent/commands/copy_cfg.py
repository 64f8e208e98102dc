"""`xagent copy-cfg`: a bundled config as one flat file of one's own."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from xagent.errors import OutputError

EXAMPLES = """examples:
  xagent copy-cfg llama3_8b_instruct_qlora_agentflan_e3 .
  xagent train ./llama3_8b_instruct_qlora_agentflan_e3_copy.py"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.description = "Copy a config into a folder as NAME_copy.py: one file with everything in it, ready to be edited."
    parser.epilog = EXAMPLES
    parser.add_argument("config", metavar="NAME", help="a bundled config's name, or a path")
    parser.add_argument("folder", metavar="DIR", type=Path, help="where to; made if it is not there")


def run(args: argparse.Namespace) -> None:
    """Write the copy and print its path.

    Raises:
        ConfigError: there is no such config, or it can't be read.
        OutputError: the copy is there already, or can't be written.
    """
    from xagent.config.find import find_config

    source = find_config(args.config)
    target = args.folder / f"{source.stem}_copy.py"
    if os.path.lexists(target):
        raise OutputError(f"{target} is there already; remove it, or copy to another folder")
    from xagent.config.flatten import flatten, join
    from xagent.config.write import write_atomically

    write_atomically(target, join(flatten(source)))
    print(target)
