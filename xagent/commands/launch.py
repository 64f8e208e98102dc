"""Start a training's processes by torchrun's own API, and bring their exit code and message back."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from xagent.commands.exits import (
    FAULT_DIR,
    INTERRUPTED,
    OUR_FAULT,
    USER_FAULT,
    first_crash,
    left_faults,
    lost_partner,
    report_crash,
    report_fault,
)
from xagent.errors import XAgentError

WORKER_MODULE = "xagent.cli"
_RENDEZVOUS_SECONDS = 900
_DEFAULT_PORT = 29500
_ANSWERED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


@dataclass(frozen=True)
class Processes:
    """How many processes, and where.

    Attributes:
        per_node: processes on this machine.
        nodes: machines.
        node_rank: which of them this is.
        addr, port: where the first machine listens. With one machine a port is found when none is given.
    """

    per_node: int = 1
    nodes: int = 1
    node_rank: int = 0
    addr: str = "127.0.0.1"
    port: int | None = None

    @property
    def total(self) -> int:
        return self.per_node * self.nodes


def wanted_processes(args: argparse.Namespace, env: Mapping[str, str]) -> Processes:
    """Read the processes from the flags, or else from NPROC_PER_NODE, NNODES, NODE_RANK, ADDR and PORT.

    Raises:
        XAgentError: a number is not one, or out of range.
    """
    processes = Processes(
        per_node=_number("--nproc-per-node", args.nproc_per_node, "NPROC_PER_NODE", env, 1, least=1),
        nodes=_number("--nnodes", args.nnodes, "NNODES", env, 1, least=1),
        node_rank=_number("--node-rank", args.node_rank, "NODE_RANK", env, 0, least=0),
        addr=args.master_addr or env.get("ADDR") or Processes.addr,
        port=_number("--master-port", args.master_port, "PORT", env, 0, least=0) or None,
    )
    if processes.node_rank >= processes.nodes:
        raise XAgentError(f"--node-rank {processes.node_rank} with --nnodes {processes.nodes}: the ranks count from 0")
    return processes


def _number(flag: str, given: int | None, variable: str, env: Mapping[str, str], default: int, least: int) -> int:
    name, text = (flag, given) if given is not None else (variable, env.get(variable) or default)
    try:
        number = int(text)
    except ValueError:
        raise XAgentError(f"{name}={text!r}: expected a whole number") from None
    if number < least:
        raise XAgentError(f"{name} {number}: expected {least} or more")
    return number


def check_devices(per_node: int) -> None:
    """Check that a machine with GPUs has one for each process.

    Raises:
        XAgentError: there are more processes than GPUs.
    """
    import torch

    if torch.cuda.is_available() and per_node > torch.cuda.device_count():
        raise XAgentError(
            f"{per_node} processes, but this machine shows {torch.cuda.device_count()} GPU(s); give --nproc-per-node "
            f"{torch.cuda.device_count()} or less, or look at CUDA_VISIBLE_DEVICES (empty: train on the CPU)"
        )


def start(processes: Processes, argv: Sequence[str]) -> int:
    """Run `xagent ARGV` in each process and return the exit code of what went wrong first, or 0.

    A fault of the user's is shown once, whichever processes met it.

    Args:
        processes: how many, and where.
        argv: the command line after `xagent`.

    Raises:
        XAgentError: the machines don't reach each other, or the port is taken.
    """
    from torch.distributed import DistNetworkError
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    _check_port(processes)
    with (
        tempfile.TemporaryDirectory(prefix="xagent_launch_") as folder,
        _environment(folder, processes.per_node),
        _quiet(),
        _signals(),
    ):
        config = LaunchConfig(
            min_nodes=processes.nodes,
            max_nodes=processes.nodes,
            nproc_per_node=processes.per_node,
            run_id=f"xagent-{processes.port or os.getpid()}",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=str(Path(folder, "logs"))),
            **_rendezvous(processes),
        )
        try:
            elastic_launch(config, sys.executable)("-m", WORKER_MODULE, *argv)
        except ChildFailedError as error:
            return _failed(error, Path(folder))
        except SignalException as error:
            return INTERRUPTED if error.sigval == signal.SIGINT else 128 + int(error.sigval)
        except (DistNetworkError, RendezvousError) as error:
            raise XAgentError(f"the processes can't meet at {config.rdzv_endpoint}: {error}") from error
    return 0


def _check_port(processes: Processes) -> None:
    """Check that this machine can listen where the others are to find it.

    torch would take whoever listens there for the other machines' meeting point, and try for a minute to meet them.
    """
    if processes.node_rank > 0 or (processes.nodes == 1 and processes.port is None):
        return
    port = processes.port or _DEFAULT_PORT
    addr = "localhost" if processes.nodes == 1 else processes.addr
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OverflowError:
            raise XAgentError(f"--master-port {port}: expected 1 to 65535") from None
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            why = "the port is taken on this machine, maybe by another training" if taken else error.strerror
            others = "; left out, a free one is found" if processes.nodes == 1 else ", the same on every machine"
            raise XAgentError(
                f"the processes can't meet at {addr}:{port}: {why}; choose another with --master-port or PORT{others}"
            ) from error


def _rendezvous(processes: Processes) -> dict[str, object]:
    if processes.nodes == 1:
        endpoint = f"localhost:{processes.port or 0}"
        return {"rdzv_backend": "c10d", "rdzv_endpoint": endpoint, "local_addr": "127.0.0.1"}
    return {
        "rdzv_backend": "static",
        "rdzv_endpoint": f"{processes.addr}:{processes.port or _DEFAULT_PORT}",
        "rdzv_configs": {"rank": processes.node_rank, "timeout": _RENDEZVOUS_SECONDS},
    }


def _failed(error: object, folder: Path) -> int:
    """Show what the processes left behind, users' faults first, and return the exit code."""
    codes = [failure.exitcode for failure in error.failures.values()]  # type: ignore[attr-defined]
    messages = left_faults(folder)
    for message in messages:
        report_fault(message)
    if messages:
        return USER_FAULT
    crash = first_crash(folder)
    if crash is not None:
        report_crash(crash)
        return OUR_FAULT
    returned = [code for code in codes if code > 0]
    signals = sorted((-code for code in codes if code < 0), key=lambda number: number == signal.SIGTERM)
    # When one process has failed, torch's agent ends the others by SIGTERM: that is no cause.
    if signals and (signals[0] != signal.SIGTERM or not returned):
        print(f"xagent: a training process was ended by {signal.Signals(signals[0]).name}{_hint(signals[0])}", file=sys.stderr)
        return 128 + signals[0]
    lost = lost_partner(folder)
    if lost is not None:
        print(lost, file=sys.stderr)
    return next(iter(returned), OUR_FAULT)


def _hint(number: int) -> str:
    return " (the machine may be out of memory)" if number == signal.SIGKILL else ""


@contextmanager
def _environment(folder: str, per_node: int) -> Iterator[None]:
    """Set what the processes inherit: where to leave messages, this xagent on the path, cores shared out."""
    before = dict(os.environ)
    home = str(Path(__file__).resolve().parents[2])
    os.environ[FAULT_DIR] = folder
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [home, before.get("PYTHONPATH")]))
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, str(max(1, (os.cpu_count() or 1) // per_node)))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _signals() -> Iterator[None]:
    """Give back the caller's handlers of the signals that torchrun's agent answers; outside the main thread it sets none."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _ANSWERED}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torchrun's own reports of a failed process off the screen; ours says what matters."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
