"""Arguments that several commands share."""

from __future__ import annotations

import argparse


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Add `--cfg-options KEY=VALUE ...`, which may be given more than once."""
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="change the config: a setting (max_length=2048, in effect wherever the config uses it) or a dotted key "
        "(optim_wrapper.optimizer.lr=1e-4, custom_hooks.0.every_n_iters=50)",
    )


def add_verbs(parser: argparse.ArgumentParser) -> argparse._SubParsersAction:
    """Give what :func:`add_verb` adds a command's sub-commands to; one of them must be named."""
    return parser.add_subparsers(dest="verb", required=True, metavar="WHAT", parser_class=argparse.ArgumentParser)


def add_verb(
    verbs: argparse._SubParsersAction, name: str, help_: str, examples: str, description: str = ""
) -> argparse.ArgumentParser:
    """Add a sub-command of a command; with an underscore in its name a hyphen is understood too.

    Args:
        verbs: what :func:`add_verbs` gave.
        description: what its own help begins with; default: the short help as a sentence.
    """
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        aliases=[name.replace("_", "-")] if "_" in name else [],
        help=help_,
        description=description or f"{help_[0].upper()}{help_[1:]}.",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    return parser


def add_sampling(group: argparse._ArgumentGroup) -> None:
    """Add `--temperature` and `--top-p`."""
    group.add_argument("--temperature", type=float, default=0.0, metavar="T", help="0 is greedy (default: %(default)s)")
    group.add_argument("--top-p", type=float, default=1.0, metavar="P", help="what is drawn from (default: %(default)s)")


def add_speech(group: argparse._ActionsContainer) -> None:
    """Add `--template` and `--protocol`, the words in which a model is spoken to."""
    group.add_argument("--template", metavar="NAME", help="the chat template (default: xagent.json's, else the tokenizer's)")
    group.add_argument("--protocol", metavar="NAME", help="the tool protocol (default: xagent.json's, else react)")


def add_placement(group: argparse._ArgumentGroup) -> None:
    """Add `--dtype` and `--device`, of the weights that are loaded."""
    group.add_argument(
        "--dtype",
        choices=("bf16", "fp16", "fp32"),
        help="of the weights (default: the checkpoint's; on a CPU without bf16 instructions fp32 reads prompts several times "
        "as fast)",
    )
    group.add_argument("--device", default="auto", metavar="NAME", help="where to compute (default: %(default)s)")
