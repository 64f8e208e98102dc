"""`xagent convert`: raw data to a data set, a checkpoint to a Hugging Face adapter, an adapter into its base."""

from __future__ import annotations

import argparse
from pathlib import Path

from xagent.commands.options import add_verb, add_verbs

EXAMPLES = """examples:
  xagent convert agent_flan data/agent_flan
  xagent convert pth_to_hf my_config.py work_dirs/my_config/iter_500.pth adapter
  xagent convert merge meta-llama/Meta-Llama-3-8B-Instruct adapter merged"""

_FLAN_EXAMPLES = """example:
  xagent convert agent_flan data/agent_flan        # writes data/agent_flan_converted"""
_HF_EXAMPLES = """examples:
  xagent convert pth_to_hf my_config.py work_dirs/my_config/iter_500.pth adapter
  xagent convert pth_to_hf llama3_8b_instruct_full_agentflan_e3 work_dirs/full/iter_500.pth model"""
_MERGE_EXAMPLES = """examples:
  xagent convert merge meta-llama/Meta-Llama-3-8B-Instruct adapter merged
  xagent convert merge ./base ./adapter ./merged --max-shard-size 1GB --onto nf4"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands and their arguments."""
    parser.description = "Convert data, checkpoints and adapters."
    parser.epilog = EXAMPLES
    verbs = add_verbs(parser)
    _add_agent_flan(verbs)
    _add_pth_to_hf(verbs)
    _add_merge(verbs)


def run(args: argparse.Namespace) -> int | None:
    """Run the chosen conversion.

    Raises:
        XAgentError: an input can't be used, or the output is there already.
    """
    result: int | None = args.convert(args)
    return result


def _add_agent_flan(verbs: argparse._SubParsersAction) -> None:
    parser = add_verb(verbs, "agent_flan", "turn a folder of Agent-FLAN's jsonl files into an Arrow data set", _FLAN_EXAMPLES)
    parser.add_argument("source", metavar="DIR", type=Path, help="the folder with the jsonl files")
    parser.add_argument("out", metavar="OUT", type=Path, nargs="?", help="where to write (default: DIR_converted)")
    _add_overwrite(parser)
    parser.set_defaults(convert=_agent_flan)


def _add_pth_to_hf(verbs: argparse._SubParsersAction) -> None:
    parser = add_verb(
        verbs, "pth_to_hf", "turn a checkpoint into a Hugging Face adapter, or model if all was trained", _HF_EXAMPLES
    )
    parser.add_argument("config", metavar="CONFIG", help="the config that it was trained with: a path or a bundled name")
    parser.add_argument("checkpoint", metavar="CHECKPOINT", type=Path, help="iter_N.pth, a file or a DeepSpeed folder")
    parser.add_argument("out", metavar="OUT", type=Path, help="the folder to write")
    parser.add_argument("--max-shard-size", default="2GB", metavar="SIZE", help="largest file (default: %(default)s)")
    _add_overwrite(parser)
    parser.set_defaults(convert=_pth_to_hf)


def _add_merge(verbs: argparse._SubParsersAction) -> None:
    parser = add_verb(verbs, "merge", "merge an adapter into its base model, shard by shard", _MERGE_EXAMPLES)
    parser.add_argument("base", metavar="BASE", help="the base model: a folder or a hub id")
    parser.add_argument("adapter", metavar="ADAPTER", type=Path, help="the adapter's folder")
    parser.add_argument("out", metavar="OUT", type=Path, help="the folder to write")
    parser.add_argument("--max-shard-size", default="2GB", metavar="SIZE", help="largest file (default: %(default)s)")
    parser.add_argument(
        "--device", choices=("cpu", "cuda", "auto"), default="auto", help="where to compute (default: %(default)s)"
    )
    parser.add_argument(
        "--onto",
        choices=("base", "nf4"),
        default="base",
        help="what to add the adapter to: the base's own weights, or those weights after NF4, which QLoRA learned on "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--dtype",
        choices=("bfloat16", "float16", "float32"),
        default="bfloat16",
        help="of the merged weights (default: %(default)s)",
    )
    parser.add_argument(
        "--no-verify", dest="verify", action="store_false", help="don't compare the merged model's logits with base + adapter"
    )
    parser.set_defaults(convert=_merge)


def _add_overwrite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier conversion wrote there")


def _agent_flan(args: argparse.Namespace) -> None:
    from xagent.convert.agent_flan import convert_agent_flan, describe_report

    print(describe_report(convert_agent_flan(args.source, args.out, overwrite=args.overwrite)))


def _pth_to_hf(args: argparse.Namespace) -> None:
    from xagent.convert.pth_to_hf import pth_to_hf

    pth_to_hf(args.config, args.checkpoint, args.out, overwrite=args.overwrite, max_shard_size=args.max_shard_size)
    print(f"written: {args.out}")


def _merge(args: argparse.Namespace) -> None:
    from xagent.convert.merge import merge

    report = merge(
        args.base,
        args.adapter,
        args.out,
        max_shard_size=args.max_shard_size,
        device=args.device,
        onto=args.onto,
        dtype=args.dtype,
        verify=args.verify,
    )
    print(f"{report}\nwritten: {args.out}")
