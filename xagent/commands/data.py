"""`xagent data`: training data made ready before a run."""

from __future__ import annotations

import argparse
from pathlib import Path

from xagent.commands.options import add_cfg_options, add_verb, add_verbs

EXAMPLES = """examples:
  xagent data prepare my_config.py /shared/prepared/my_data
  xagent data prepare my_config.py prepared --num-proc 16 --cfg-options max_length=2048"""

_PREPARE_EXAMPLES = """examples:
  xagent data prepare my_config.py /shared/prepared/my_data
  xagent data prepare my_config.py prepared/validation --dataloader val_dataloader

Killed? Run the same command again: what was finished is checked and kept. A config then trains on the folder with
  train_dataset = dict(type=load_prepared_dataset, path="OUT", tokenizer=tokenizer, max_length=max_length, ...)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands and their arguments."""
    parser.description = "Make training data ready before a run."
    parser.epilog = EXAMPLES
    verbs = add_verbs(parser)
    prepare = add_verb(
        verbs,
        "prepare",
        "encode and pack a config's data into shards that many nodes can share",
        _PREPARE_EXAMPLES,
        "Encode and pack a config's data into Arrow shards with a manifest, which many nodes can share.",
    )
    prepare.add_argument("config", metavar="CONFIG", help="a path, or a bundled config's name")
    prepare.add_argument("out", metavar="OUT", type=Path, help="the folder to write")
    prepare.add_argument(
        "--dataloader",
        choices=("train_dataloader", "val_dataloader"),
        default="train_dataloader",
        help="whose data (default: %(default)s)",
    )
    prepare.add_argument("--num-proc", type=int, metavar="N", help="processes for tokenising (default: the config's)")
    prepare.add_argument("--max-shard-size", default="500MB", metavar="SIZE", help="largest file (default: %(default)s)")
    add_cfg_options(prepare)
    prepare.set_defaults(work=_prepare)


def run(args: argparse.Namespace) -> int | None:
    """Run the chosen work.

    Raises:
        XAgentError: the config or the data can't be used, or the output holds something else.
    """
    result: int | None = args.work(args)
    return result


def _prepare(args: argparse.Namespace) -> None:
    from xagent.config import load_config, parse_options, validate_config
    from xagent.convert.shards import parse_size
    from xagent.data.shards import prepare_shards

    max_shard_size = parse_size(args.max_shard_size)

    config = load_config(args.config, parse_options(args.cfg_options))
    validate_config(config, check_paths=[args.dataloader])  # the model's weights are not needed
    print(prepare_shards(config, args.dataloader, args.out, args.num_proc, max_shard_size))
    print(f"written: {args.out}")
