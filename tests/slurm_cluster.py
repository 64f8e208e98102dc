"""A Slurm cluster of two nodes on this machine, for tests: its own munged, slurmctld and two slurmd, all in one folder."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from free_ports import free_ports

PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "sinfo", "scancel")
NODES = ("node1", "node2")

CONFIGURATION = """
ClusterName=xagent
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool_%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd_%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd_%n.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=0
KillWait=5
UnkillableStepTimeout=60
NodeName={nodes[0]} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[0]} CPUs=2 State=UNKNOWN
NodeName={nodes[1]} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 State=UNKNOWN
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class NoCluster(Exception):
    """The daemons don't start here; the message says why."""


def program(name: str) -> str | None:
    """Find a program, daemons included, which are often outside a user's PATH."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))


class SlurmCluster:
    """Two nodes, ``node1`` and ``node2``, of two CPUs each.

    Args:
        folder: where keys, state and logs go; its path must be short (a socket lies in it).

    Raises:
        NoCluster: a program is missing, or a daemon does not come up.
    """

    def __init__(self, folder: Path) -> None:
        missing = [name for name in PROGRAMS if not program(name)]
        if missing:
            raise NoCluster(f"{', '.join(missing)} not installed (Debian: apt-get install slurm-wlm munge)")
        self.folder = folder
        self.daemons: list[subprocess.Popen[bytes]] = []
        control, *ports = free_ports(1 + len(NODES))
        for name in ("state", *(f"spool_{node}" for node in NODES)):
            (folder / name).mkdir(mode=0o755)
        (folder / "munge.key").write_bytes(os.urandom(128))
        (folder / "munge.key").chmod(0o600)
        (folder / "cgroup.conf").write_text("")
        (folder / "slurm.conf").write_text(
            CONFIGURATION.format(
                folder=folder,
                host=socket.gethostname().partition(".")[0],
                user=getpass.getuser(),
                control_port=control,
                nodes=NODES,
                ports=ports,
            )
        )
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        files = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munge.pid", "log-file": "munge.log"}
        words = [f"--{option}={self.folder / name}" for option, name in {**files, "seed-file": "munge.seed"}.items()]
        self._daemon("munged", "--foreground", "--force", "--num-threads=2", *words)
        self._wait("munged", lambda: (self.folder / "munge.socket").exists())
        self._daemon("slurmctld", "-D", "-c")
        for node in NODES:
            self._daemon("slurmd", "-D", "-N", node)
        self._wait("the nodes", lambda: self._states() == ["idle"] * len(NODES))

    def _daemon(self, name: str, *words: str) -> None:
        with open(self.folder / "daemons.log", "ab") as log:
            self.daemons.append(
                subprocess.Popen(
                    [str(program(name)), *words], stdout=log, stderr=log, env=self.environment(), start_new_session=True
                )
            )

    def _states(self) -> list[str]:
        shown = subprocess.run(
            [str(program("sinfo")), "-h", "-N", "-o", "%T"], capture_output=True, text=True, env=self.environment(), timeout=30
        )
        return shown.stdout.split()

    def _wait(self, what: str, reached, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not reached():
            ended = [daemon.args[0] for daemon in self.daemons if daemon.poll() is not None]  # type: ignore[index]
            if ended or time.monotonic() > deadline:
                logs = [path.read_text(errors="replace")[-1500:] for path in sorted(self.folder.glob("*.log"))]
                raise NoCluster(f"{what} not up; ended: {ended}; logs:\n" + "\n".join(logs))
            time.sleep(0.2)

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """What a command's environment must hold to find this cluster; nothing of a job that this process may be in."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
        return {**inherited, "SLURM_CONF": str(self.folder / "slurm.conf"), **(extra or {})}

    def run(
        self, words: Sequence[str], *, extra: Mapping[str, str] | None = None, cwd: Path | None = None, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run ``srun``, ``sbatch`` or another of Slurm's commands."""
        command = [str(program(words[0])), *words[1:]]
        return subprocess.run(
            command, capture_output=True, text=True, env=self.environment(extra), cwd=cwd or self.folder, timeout=timeout
        )

    def stop(self) -> None:
        """Cancel all jobs and end the daemons, with what they started."""
        if len(self.daemons) > 1:
            self.run(["scancel", "--signal=KILL", "--user", getpass.getuser()], timeout=30)
        for daemon in reversed(self.daemons):
            daemon.terminate()
            try:
                daemon.wait(timeout=15)
            except subprocess.TimeoutExpired:
                os.killpg(daemon.pid, signal.SIGKILL)
                daemon.wait()
