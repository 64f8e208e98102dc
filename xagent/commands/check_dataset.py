"""`xagent check-dataset`: account for every record and call of a config's data, or of a data file."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from xagent.commands.exits import OK, USER_FAULT
from xagent.commands.options import add_cfg_options
from xagent.errors import ConfigError

if TYPE_CHECKING:
    from xagent.data.inspect.check import Checked

EXAMPLES = """examples:
  xagent check-dataset my_config.py
  xagent check-dataset my_config.py --cfg-options data_path=./data/other.jsonl --held-out bench.jsonl
  xagent check-dataset data.jsonl --protocol hermes --tokenizer ./base --max-length 4096
  xagent check-dataset data/ --strict --json > account.json"""

# Options of data files; a config says these itself.
_FILE_OPTIONS = ("format", "protocol", "tokenizer", "template", "max_length")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.description = (
        "Read a whole data set, tokenise it where there is a tokenizer, and say what is kept, repaired and dropped, why and "
        "where; which calls break their tool's schema; lengths, duplicates, and questions of a held-out file."
    )
    parser.epilog = EXAMPLES
    parser.add_argument(
        "data", metavar="CONFIG|FILE", help="a config (a path or a bundled name), a data file, or a folder of these"
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="exit with 2 when a record or call was dropped or repaired, or a held-out record not read",
    )
    parser.add_argument("--json", action="store_true", help="print the account for machines, and nothing else")
    parser.add_argument("--held-out", metavar="FILE", help="data whose questions must not occur, such as a benchmark's")
    add_cfg_options(parser)
    file = parser.add_argument_group("for a data file")
    file.add_argument("--format", metavar="NAME", help="the records' format (default: auto, recognised from the rows)")
    file.add_argument("--protocol", metavar="NAME", help="how tools are shown and called (default: react)")
    file.add_argument("--tokenizer", metavar="PATH", help="count tokens with this one (default: count characters)")
    file.add_argument("--template", metavar="NAME", help="the chat template (default: the tokenizer's own, else 'default')")
    file.add_argument("--max-length", type=int, metavar="N", help="tokens that a sample may have (default: any number)")


def run(args: argparse.Namespace) -> int:
    """Print the account; give the exit code.

    Raises:
        XAgentError: the config or the data can't be used.
    """
    checked = _check_file(args) if is_data(args.data) else _check_config(args)
    print(json.dumps(checked.accounts[0].to_json(), ensure_ascii=False) if args.json else checked.text)
    losses = [account.losses for account in checked.accounts if account.losses]
    if not args.strict or not losses:
        return OK
    print(f"xagent: error: {'; '.join(losses)} (--strict)", file=sys.stderr)
    return USER_FAULT


def is_data(name: str) -> bool:
    """Tell a data file or folder from a config: a config is a `.py` file or a bundled name."""
    path = Path(name).expanduser()
    if path.suffix == ".py":
        return False
    return path.exists() or bool(path.suffix) or "/" in name


def _check_file(args: argparse.Namespace) -> Checked:
    from xagent.data.inspect.check import check_file

    if args.cfg_options:
        raise ConfigError(f"--cfg-options change a config, and {args.data} is data")
    if args.max_length is not None and args.max_length < 2:
        raise ConfigError(f"--max-length must be at least 2 tokens, got {args.max_length}")
    if args.max_length is not None and args.tokenizer is None:
        raise ConfigError("--max-length counts tokens: say with which --tokenizer")
    options = {name: getattr(args, name) for name in _FILE_OPTIONS if getattr(args, name) is not None}
    return check_file(args.data, args.held_out, **options)


def _check_config(args: argparse.Namespace) -> Checked:
    from xagent.config import load_config, parse_options, validate_config
    from xagent.data.inspect.check import check_dataset

    given = [f"--{name.replace('_', '-')}" for name in _FILE_OPTIONS if getattr(args, name) is not None]
    if given:
        raise ConfigError(f"{', '.join(given)}: a config says this itself; change it with --cfg-options")
    config = load_config(args.data, parse_options(args.cfg_options))
    validate_config(config, check_paths=["train_dataloader"])  # the model's weights are not needed
    return check_dataset(config, args.held_out, together=args.json)
