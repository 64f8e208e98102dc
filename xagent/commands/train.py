"""`xagent train`: train as a config says, in this process or in many."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from xagent.commands import slurm
from xagent.commands.exits import USER_FAULT, answer_failure, end_process_of_several, join_meeting
from xagent.commands.launch import check_devices, start, wanted_processes
from xagent.commands.options import add_cfg_options
from xagent.errors import XAgentError

if TYPE_CHECKING:
    from mmengine.config import Config

    from xagent.commands.meeting import Meeting

EXAMPLES = """examples:
  xagent train llama3_8b_instruct_qlora_agentflan_e3
  xagent train my_config.py --work-dir work_dirs/agent --deepspeed zero2 --nproc-per-node 8
  xagent train my_config.py --cfg-options max_length=2048 optim_wrapper.optimizer.lr=1e-4
  xagent train my_config.py --resume
  xagent train my_config.py --dry-run
  srun --nodes 2 --ntasks-per-node 8 --gpus-per-node 8 --kill-on-bad-exit=1 xagent train my_config.py --launcher slurm

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
    if args.launcher == "slurm":
        return _train_in_step(args)
    if "LOCAL_RANK" in os.environ:
        _meet_other_machines()
        _check_names(args)
        return _train(args, args.launcher or "pytorch")
    processes = wanted_processes(args, os.environ)
    tasks = slurm.step_tasks(os.environ)
    if tasks > 1 and processes.nodes == 1 and args.launcher is None:
        if os.environ["SLURM_PROCID"] != "0":
            return USER_FAULT  # task 0 tells it
        raise XAgentError(
            f"srun started this command {tasks} times, and each would train on its own: add --launcher slurm to train together "
            "(or --launcher none, each with a --work-dir of its own, if that is meant)"
        )
    _check_names(args)
    if processes.total == 1:
        return _train(args, "none")
    if args.launcher == "none":
        raise XAgentError(f"--launcher none starts one process, but {processes.total} are asked for; leave --launcher out")
    check_devices(processes.per_node)
    return start(processes, args.argv)


def _train_in_step(args: argparse.Namespace) -> int | None:
    """Train in one of the tasks that srun started."""
    env = os.environ
    speaks = env.get("SLURM_PROCID", "0") == "0"  # of what all tasks find alike
    try:
        values = _values_of_task(args)
        speaks = env["SLURM_LOCALID"] == "0"  # of what the tasks of a machine find alike
        meeting = _join_step(values)
    except XAgentError:
        if not speaks:
            return USER_FAULT
        raise
    _check_names(args)
    _take_gpu(meeting)
    return _train(args, "pytorch")


def _values_of_task(args: argparse.Namespace) -> dict[str, str]:
    given = [name for name in ("nproc_per_node", "nnodes", "node_rank") if getattr(args, name) is not None]
    if given:
        flag = "--" + given[0].replace("_", "-")
        raise XAgentError(f"{flag} with --launcher slurm: srun says how many processes there are (--nodes, --ntasks-per-node)")
    return slurm.torchrun_environment(os.environ, args.master_addr, args.master_port)


def _join_step(values: dict[str, str]) -> Meeting | None:
    """Set the environment that torchrun would set, and meet the step's other tasks; None where there are none."""
    slurm.set_environment(values)
    if values["WORLD_SIZE"] == "1":
        return None
    is_first = values["RANK"] == "0"
    meeting = _meet(keeps_store=is_first, opens_store=is_first, keepers=1)
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "True"  # the process group meets in the store that process 0 has opened
    return meeting


def _take_gpu(meeting: Meeting | None) -> None:
    """Choose a task's GPU: Slurm shows each task all of its machine's, or only its own."""
    import torch

    if not torch.cuda.is_available():
        return
    env, visible = os.environ, torch.cuda.device_count()
    env["LOCAL_RANK"] = str(slurm.choose_gpu(int(env["LOCAL_RANK"]), int(env["LOCAL_WORLD_SIZE"]), visible))
    if meeting is not None and visible == 1:
        uuid = torch.cuda.get_device_properties(0).uuid
        if not meeting.claim(f"gpu/{env['GROUP_RANK']}/{uuid}"):
            raise XAgentError("two tasks were given the same GPU: ask Slurm for one each, with --gpus-per-task 1")


def _meet_other_machines() -> None:
    """Join the processes of the other machines, where torchrun started this one (by xagent or by hand)."""
    env = os.environ
    machines, on_machine = int(env.get("GROUP_WORLD_SIZE", 1)), int(env.get("LOCAL_WORLD_SIZE", 1))
    if machines > 1 and env.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        _meet(keeps_store=env.get("GROUP_RANK") == "0", opens_store=False, keepers=on_machine)


def _meet(*, keeps_store: bool, opens_store: bool, keepers: int) -> Meeting:
    from xagent.commands.meeting import Meeting, open_store

    env = os.environ
    rank, world = int(env["RANK"]), int(env["WORLD_SIZE"])
    store = open_store(env["MASTER_ADDR"], int(env["MASTER_PORT"]), keep=opens_store, rank=rank, world=world)
    meeting = Meeting(
        store,
        world=world,
        guests=world - keepers,
        keeps_store=keeps_store,
        machine=int(env.get("GROUP_RANK", 0)),
        when_told=answer_failure,
    )
    join_meeting(meeting)
    return meeting


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

    if "LOCAL_WORLD_SIZE" in os.environ and args.launcher != "slurm":
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
    if isinstance(deepspeed, str) and deepspeed:
        require_deepspeed()
        config.deepspeed = str(find_deepspeed(deepspeed))
    validate_config(config, world_size=_world_size(launcher))
    return config


def _world_size(launcher: str) -> int:
    return int(os.environ.get("WORLD_SIZE") or 1) if launcher == "pytorch" else 1
