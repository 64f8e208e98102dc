"""`xagent train`: train as a config says, in this process or in many."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from xagent.commands.exits import end_process_of_several
from xagent.commands.launch import check_devices, start, wanted_processes
from xagent.commands.options import add_cfg_options
from xagent.errors import XAgentError

if TYPE_CHECKING:
    from mmengine.config import Config

EXAMPLES = """examples:
  xagent train llama3_8b_instruct_qlora_agentflan_e3
  xagent train my_config.py --work-dir work_dirs/agent --deepspeed zero2 --nproc-per-node 8
  xagent train my_config.py --cfg-options max_length=2048 optim_wrapper.optimizer.lr=1e-4
  xagent train my_config.py --resume
  xagent train my_config.py --dry-run

environment variables, where the flag is not given: NPROC_PER_NODE, NNODES, NODE_RANK, ADDR, PORT"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.description = "Train a model as a config says. With more than one process, xagent starts them itself."
    parser.epilog = EXAMPLES
    parser.add_argument("config", metavar="CONFIG", help="a path, or a bundled config's name (see: xagent list-cfg)")
    parser.add_argument("--work-dir", metavar="DIR", help="where everything goes (default: the config's, else work_dirs/CONFIG)")
    parser.add_argument(
        "--deepspeed", metavar="NAME|PATH", help="zero1, zero2, zero2_offload, zero3, zero3_offload, or a DeepSpeed JSON"
    )
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="PATH",
        help="go on from a checkpoint; `auto` or no PATH: the newest valid one",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="seed of everything random (default: the config's)")
    add_cfg_options(parser)
    parser.add_argument("--dry-run", action="store_true", help="build all but the weights; print steps, tokens, memory, outputs")
    _add_process_arguments(parser)


def _add_process_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("processes")
    group.add_argument(
        "--launcher",
        choices=("none", "pytorch", "slurm"),
        help="who starts the processes (default: pytorch with more than one or inside torchrun, else none)",
    )
    group.add_argument("--nproc-per-node", type=int, metavar="N", help="processes on this machine (default: 1)")
    group.add_argument("--nnodes", type=int, metavar="N", help="machines (default: 1)")
    group.add_argument("--node-rank", type=int, metavar="N", help="which of the machines this is (default: 0)")
    group.add_argument("--master-addr", metavar="ADDR", help="the first machine's address (default: 127.0.0.1)")
    group.add_argument("--master-port", type=int, metavar="PORT", help="the first machine's port (default: a free one; 29500)")


def run(args: argparse.Namespace) -> int | None:
    """Train, or start the processes that do.

    Raises:
        XAgentError: the config, the data, a checkpoint or the machine can't be used as asked.
    """
    _check_names(args)
    if "LOCAL_RANK" in os.environ or args.launcher == "slurm":
        return _train(args, args.launcher or "pytorch")
    processes = wanted_processes(args, os.environ)
    if processes.total == 1:
        return _train(args, "none")
    if args.launcher == "none":
        raise XAgentError(f"--launcher none starts one process, but {processes.total} are asked for; leave --launcher out")
    check_devices(processes.per_node)
    return start(processes, args.argv)


def _check_names(args: argparse.Namespace) -> None:
    """Find the config and the DeepSpeed JSON before any process is started and any large library imported."""
    from xagent.config import find_config, find_deepspeed
    from xagent.config.deepspeed import require_deepspeed

    find_config(args.config)
    if args.deepspeed:
        require_deepspeed()
        find_deepspeed(args.deepspeed)


def _train(args: argparse.Namespace, launcher: str) -> int | None:
    config = prepare_config(args, launcher)
    from xagent.engine.runner import train

    if "LOCAL_WORLD_SIZE" in os.environ and launcher == "pytorch":
        check_devices(int(os.environ["LOCAL_WORLD_SIZE"]))
    train(config, resume=args.resume or _resume_of(config), launcher=launcher, dry_run=args.dry_run)
    end_process_of_several()
    return None


def _resume_of(config: Config) -> str | None:
    """Read the config's own `resume`: True is `auto`, a path is a path."""
    own = config.get("resume")
    return "auto" if own is True else own or None


def prepare_config(args: argparse.Namespace, launcher: str = "none") -> Config:
    """Load the config, put the command line's words in, and validate the result.

    Raises:
        ConfigError: the config is not found or has faults.
        XAgentError: DeepSpeed is asked for, but not installed.
    """
    from xagent.config import find_deepspeed, load_config, parse_options, validate_config
    from xagent.config.deepspeed import require_deepspeed

    config = load_config(args.config, parse_options(args.cfg_options))
    stem = os.path.splitext(os.path.basename(config.filename))[0]
    config.work_dir = args.work_dir or config.get("work_dir") or os.path.join("work_dirs", stem)
    config.launcher = launcher
    randomness = config.get("randomness") or {}
    if args.seed is not None and isinstance(randomness, dict):
        config.randomness = {**randomness, "seed": args.seed}
    deepspeed = args.deepspeed or config.get("deepspeed")
    if deepspeed:
        require_deepspeed()
        config.deepspeed = str(find_deepspeed(deepspeed))
    validate_config(config, world_size=_world_size(launcher))
    return config


def _world_size(launcher: str) -> int:
    variable = {"none": "", "pytorch": "WORLD_SIZE", "slurm": "SLURM_NTASKS"}[launcher]
    return int(os.environ.get(variable) or 1)
