"""Processes that Slurm's srun started: its variables as torchrun's, which all else reads, and the GPU of each."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Mapping

from xagent.errors import XAgentError

_NO_STEP = 0xFFFFFFF0
"""Steps from here on are Slurm's own: the batch script, the interactive shell."""

_FIRST_PORT, _PORTS = 16384, 16384  # below those that the kernel hands out


def step_tasks(env: Mapping[str, str]) -> int:
    """Give the number of tasks that srun started this process among; 0 where srun did not start it."""
    if int(env.get("SLURM_STEP_ID", _NO_STEP)) >= _NO_STEP or "SLURM_PROCID" not in env:
        return 0
    return int(env.get("SLURM_STEP_NUM_TASKS") or env["SLURM_NTASKS"])


def torchrun_environment(env: Mapping[str, str], addr: str | None = None, port: int | None = None) -> dict[str, str]:
    """Translate a task's variables into those that torchrun sets.

    Args:
        env: the task's environment.
        addr, port: where process 0 listens; else MASTER_ADDR (or XTuner's ADDR) and MASTER_PORT (or PORT); else the step's first
            machine, and a port that follows from the numbers of job and step.

    Returns:
        RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, GROUP_RANK, MASTER_ADDR, MASTER_PORT; OMP_NUM_THREADS and
        MKL_NUM_THREADS, a task's CPUs where the environment doesn't say them.

    Raises:
        XAgentError: srun did not start this process, or torchrun did inside of Slurm.
    """
    tasks = step_tasks(env)
    if not tasks:
        raise XAgentError(
            "--launcher slurm: this process was not started by srun (there is no SLURM_STEP_ID). In a batch script or an "
            "allocation: srun xagent train ... --launcher slurm; without Slurm: --nproc-per-node N"
        )
    if "TORCHELASTIC_RUN_ID" in env:
        raise XAgentError("--launcher slurm: torchrun started this process; leave --launcher out, or start xagent by srun itself")
    node = int(env.get("SLURM_NODEID", 0))
    on_node = tasks_per_node(env.get("SLURM_STEP_TASKS_PER_NODE") or env.get("SLURM_TASKS_PER_NODE") or str(tasks))[node]
    named = addr or env.get("MASTER_ADDR") or env.get("ADDR")
    chosen = port or env.get("MASTER_PORT") or env.get("PORT")
    threads = env.get("SLURM_CPUS_PER_TASK") or str(max(1, int(env.get("SLURM_CPUS_ON_NODE", 1)) // on_node))
    return {
        "RANK": env["SLURM_PROCID"],
        "WORLD_SIZE": str(tasks),
        "LOCAL_RANK": env["SLURM_LOCALID"],
        "LOCAL_WORLD_SIZE": str(on_node),
        "GROUP_RANK": str(node),
        "MASTER_ADDR": named or first_host(env.get("SLURM_STEP_NODELIST") or env.get("SLURM_NODELIST") or "localhost"),
        "MASTER_PORT": str(chosen or _FIRST_PORT + (int(env["SLURM_JOB_ID"]) * 16 + int(env["SLURM_STEP_ID"])) % _PORTS),
        **{name: env.get(name) or threads for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")},
    }


def first_host(nodes: str) -> str:
    """Give the first machine of Slurm's short list: ``gpu[03-05,9],login`` is ``gpu03`` and others.

    Read here instead of by ``scontrol``, which containers don't have.
    """
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])+", nodes)
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", first.group() if first else nodes)


def tasks_per_node(counts: str) -> list[int]:
    """Spell out Slurm's short list of counts: ``4(x2),3`` is 4, 4, 3."""
    spelt: list[int] = []
    for part in counts.split(","):
        count, _, times = part.partition("(x")
        spelt += [int(count)] * int(times.rstrip(")") or 1)
    return spelt


def reachable_address(name: str) -> str:
    """Give a machine's name if it means an address here, else the address under which Slurm knows it.

    Raises:
        XAgentError: it has none.
    """
    try:
        socket.getaddrinfo(name, None)
        return name
    except OSError:
        pass
    try:
        shown = subprocess.run(["scontrol", "show", "node", name, "-o"], capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired):
        shown = ""
    known = re.search(r"\bNodeAddr=(\S+)", shown)
    if known and known[1] != name:
        return known[1]
    raise XAgentError(
        f"the job's first machine, {name!r}, has no address here: export MASTER_ADDR, an address of it that all machines reach, "
        "before srun"
    )


def choose_gpu(local_rank: int, on_node: int, visible: int) -> int:
    """Give the index of a task's GPU among those that it sees: its own, or the only one where Slurm shows each task its own.

    Args:
        local_rank: which task of its machine it is.
        on_node: tasks on this machine.
        visible: GPUs that this task sees, at least one.

    Raises:
        XAgentError: there are fewer GPUs than tasks.
    """
    if visible == 1:
        return 0
    if local_rank >= visible or on_node > visible:
        raise XAgentError(
            f"{on_node} tasks on this machine, but each sees {visible} GPUs: ask Slurm for as many GPUs as tasks "
            "(--ntasks-per-node N --gpus-per-node N), or export an empty CUDA_VISIBLE_DEVICES to train on the CPU"
        )
    return local_rank


def set_environment(values: Mapping[str, str]) -> None:
    """Put :func:`torchrun_environment`'s values where this process's libraries find them.

    Raises:
        XAgentError: process 0's machine has no address here.
    """
    os.environ.update(values)
    os.environ["MASTER_ADDR"] = reachable_address(values["MASTER_ADDR"])
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # torch warns of every try to reach a process that is not there yet
