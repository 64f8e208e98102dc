"""`xagent eval`: a model's score, and whether it is better than the one it came from."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from xagent.commands.options import add_placement, add_sampling, add_speech, add_verb, add_verbs
from xagent.errors import ConfigError

if TYPE_CHECKING:
    from xagent.evaluation.replies import Replying
    from xagent.evaluation.suite import Suite

EXAMPLES = """examples:
  xagent eval agent work_dirs/demo/merged --compare xagent:nano/base
  xagent eval agent ./base --adapter ./adapter --compare ./base --suite bfcl --bfcl-dir data/bfcl
  xagent eval agent ./merged --suite held_out.jsonl --limit 500"""

_AGENT_EXAMPLES = """examples:
  xagent eval agent work_dirs/demo/merged --compare xagent:nano/base
  xagent eval agent ./base --adapter ./adapter --compare ./base --suite bfcl --bfcl-dir data/bfcl
  xagent eval agent ./merged --repeats 4 --temperature 0.7
  xagent eval agent ./merged --suite held_out.jsonl --limit 500

Killed? Run the same command again: finished items are kept in OUT/*.items.jsonl and not done again."""

PLAYGROUND, BFCL = "playground", "bfcl"
_MAX_NEW_TOKENS = {PLAYGROUND: 256}
_OTHER_MAX_NEW_TOKENS = 512
_LIMIT_HELP = "only N items: episodes each of seen and unseen tools (default: 120), questions of each category, or records"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands and their arguments."""
    parser.description = "Score a model."
    parser.epilog = EXAMPLES
    verbs = add_verbs(parser)
    agent = add_verb(
        verbs,
        "agent",
        "score how a model uses tools",
        _AGENT_EXAMPLES,
        "Score how a model uses tools: in the playground with tools that are really run, by BFCL's rules, or on held-out records "
        "of any data format. Reports with 95 % intervals, before and after.",
    )
    agent.add_argument("model", metavar="MODEL", help="a folder, an xagent: name or a hub id; an adapter's folder loads its base")
    agent.add_argument("--adapter", metavar="DIR", help="a PEFT adapter to put on MODEL")
    agent.add_argument("--compare", metavar="BASE", help="a model to compare with, in the same template and protocol")
    agent.add_argument(
        "--suite",
        default=PLAYGROUND,
        metavar="NAME|FILE",
        help="playground, bfcl, or a held-out data file (default: playground)",
    )
    agent.add_argument("--out", type=Path, metavar="DIR", help="where to write (default: work_dirs/eval/SUITE_MODEL)")
    agent.add_argument("--overwrite", action="store_true", help="do all items anew")
    agent.add_argument("--limit", type=int, metavar="N", help=_LIMIT_HELP)
    agent.add_argument(
        "--bfcl-dir", type=Path, default=Path("data/bfcl"), metavar="DIR", help="BFCL's files (default: data/bfcl)"
    )
    agent.add_argument("--format", default="auto", metavar="NAME", help="the held-out records' format (default: recognised)")
    _add_replying(agent)
    agent.set_defaults(work=_agent)


def _add_replying(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how the model replies")
    group.add_argument("--repeats", type=int, default=1, metavar="K", help="tries at each item; gives pass^1 to pass^K")
    add_sampling(group)
    group.add_argument("--seed", type=int, default=0, metavar="N", help="of what is drawn (default: %(default)s)")
    group.add_argument("--max-new-tokens", type=int, metavar="N", help="a reply is cut there (default: 512; playground: 256)")
    group.add_argument("--max-turn", type=int, default=6, metavar="N", help="replies of one episode (default: %(default)s)")
    group.add_argument("--batch-size", type=int, default=16, metavar="N", help="prompts that run together (default: %(default)s)")
    add_speech(group)
    add_placement(group)


def run(args: argparse.Namespace) -> int | None:
    """Run the chosen work.

    Raises:
        XAgentError: a model, the data or the output can't be used.
    """
    result: int | None = args.work(args)
    return result


def _agent(args: argparse.Namespace) -> None:
    from xagent.evaluation.score import Contestant, score, spoken_as
    from xagent.evaluation.score_report import console, write_score

    for name in ("limit", "batch_size"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ConfigError(f"--{name.replace('_', '-')} must be >= 1, got {value}")
    spoken = spoken_as(args.model, args.adapter, args.template, args.protocol)
    model = Contestant(args.model, args.adapter, spoken, args.dtype, args.device, args.batch_size)
    out = args.out or Path("work_dirs", "eval", _folder_name(args))
    found = score(_suite(args), model, args.compare, out=out, overwrite=args.overwrite)
    write_score(out, found, shlex.join(["xagent", *args.argv]))
    print(console(found))
    print(f"report: {out / 'report.md'}")


def _folder_name(args: argparse.Namespace) -> str:
    names = [Path(args.suite).stem, *(Path(path.replace(":", "/")).name for path in (args.model, args.adapter) if path)]
    return "_".join(names)


def _suite(args: argparse.Namespace) -> Suite:
    from xagent.evaluation.bfcl_suite import BfclSuite
    from xagent.evaluation.held_out_suite import HeldOutSuite
    from xagent.evaluation.playground_suite import EPISODES, PlaygroundSuite

    if args.suite == PLAYGROUND:
        return PlaygroundSuite(_replying(args), args.limit or EPISODES)
    if args.suite == BFCL:
        return BfclSuite(args.bfcl_dir, _replying(args), args.limit)
    if not Path(args.suite).exists():
        raise ConfigError(f"--suite {args.suite}: no such suite or data file; give playground, bfcl, or a data file's path")
    return HeldOutSuite(Path(args.suite), _replying(args), args.limit, args.format)


def _replying(args: argparse.Namespace) -> Replying:
    from xagent.evaluation.replies import Replying

    most = _MAX_NEW_TOKENS.get(args.suite, _OTHER_MAX_NEW_TOKENS)
    most = most if args.max_new_tokens is None else args.max_new_tokens
    return Replying(most, args.max_turn, args.temperature, args.top_p, args.seed, args.repeats)
