"""`--launcher slurm`: Slurm's variables as torchrun's, and trainings in a real Slurm cluster of two nodes on this machine."""

# ruff: noqa: F811 (fixtures are arguments)
from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file
from slurm_cluster import NoCluster, SlurmCluster
from tiny_models import SGD, losses_in
from training_fixtures import ROOT, caches, cfg_options, configs, data, tiny, train_cli  # noqa: F401

from xagent import cli
from xagent.commands import slurm
from xagent.errors import XAgentError
from xagent.model.checkpoint import read_trained_state

PYTHON_PATH = f"{ROOT}{os.pathsep}{ROOT / 'tests'}"

# What srun of Slurm 22.05 gave the last task of `sbatch --nodes 3 --ntasks-per-node 2`, as far as it matters.
TASK = {
    "SLURM_JOB_ID": "70001",
    "SLURM_STEP_ID": "2",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "2",
    "SLURM_NTASKS": "6",
    "SLURM_STEP_NUM_TASKS": "6",
    "SLURM_STEP_TASKS_PER_NODE": "2(x3)",
    "SLURM_STEP_NODELIST": "gpu[07-08,11]",
    "SLURM_NODELIST": "gpu[07-08,11-12]",
    "SLURM_CPUS_ON_NODE": "9",
}


@pytest.fixture(autouse=True)
def no_step_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget a job in which the tests themselves may run."""
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)


# --- the environment ----------------------------------------------------------------------------------------------


def test_slurms_variables_become_torchruns() -> None:
    assert slurm.torchrun_environment(TASK) == {
        "RANK": "5",
        "WORLD_SIZE": "6",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "2",
        "GROUP_RANK": "2",
        "MASTER_ADDR": "gpu07",
        "MASTER_PORT": str(16384 + (70001 * 16 + 2) % 16384),
        "OMP_NUM_THREADS": "4",
        "MKL_NUM_THREADS": "4",
    }


def test_ranks_left_over_in_the_environment_do_not_count_and_addresses_do() -> None:
    values = slurm.torchrun_environment(
        {**TASK, "RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "1234"}
    )
    assert [values[name] for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")] == ["5", "6", "10.0.0.1", "1234"]
    values = slurm.torchrun_environment({**TASK, "ADDR": "10.0.0.2", "PORT": "1235"})
    assert (values["MASTER_ADDR"], values["MASTER_PORT"]) == ("10.0.0.2", "1235")
    values = slurm.torchrun_environment({**TASK, "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "1234"}, "host", 5)
    assert (values["MASTER_ADDR"], values["MASTER_PORT"]) == ("host", "5")


def test_two_steps_of_a_job_and_two_jobs_listen_elsewhere() -> None:
    steps = [TASK, {**TASK, "SLURM_STEP_ID": "3"}, {**TASK, "SLURM_JOB_ID": "70002"}]
    assert len({slurm.torchrun_environment(step)["MASTER_PORT"] for step in steps}) == 3


def test_threads_are_the_tasks_cpus() -> None:
    assert slurm.torchrun_environment({**TASK, "SLURM_CPUS_PER_TASK": "3"})["OMP_NUM_THREADS"] == "3"
    assert slurm.torchrun_environment({**TASK, "OMP_NUM_THREADS": "1"})["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("vm", "vm"),
        ("a1,a2", "a1"),
        ("gpu[03-05,9],login", "gpu03"),
        ("gpu[7,9]", "gpu7"),
        ("rack[2-3]node[010-012]-ib", "rack2node010-ib"),
    ],
)
def test_the_first_host_of_a_short_list(nodes: str, first: str) -> None:
    assert slurm.first_host(nodes) == first


def test_counts_of_a_short_list() -> None:
    assert slurm.tasks_per_node("4(x2),3") == [4, 4, 3]
    assert slurm.tasks_per_node("2") == [2]


def test_a_name_that_only_slurm_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = tmp_path / "scontrol"
    stand_in.write_text(
        '#!/bin/sh\n[ "$*" = "show node nowhere.invalid -o" ] && echo "NodeName=n NodeAddr=10.1.2.3 NodeHostName=n"\n'
    )
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert slurm.reachable_address("localhost") == "localhost"
    assert slurm.reachable_address("nowhere.invalid") == "10.1.2.3"
    with pytest.raises(XAgentError, match="'else.invalid', has no address here: export MASTER_ADDR"):
        slurm.reachable_address("else.invalid")


def test_each_task_has_a_gpu() -> None:
    assert slurm.choose_gpu(local_rank=3, on_node=4, visible=4) == 3
    assert slurm.choose_gpu(local_rank=3, on_node=4, visible=1) == 0, "with --gpus-per-task each sees its own as the first"
    with pytest.raises(XAgentError, match="4 tasks on this machine, but each sees 2 GPUs"):
        slurm.choose_gpu(local_rank=0, on_node=4, visible=2)


# --- mistakes -----------------------------------------------------------------------------------------------------

BATCH_SCRIPT = {name: value for name, value in TASK.items() if "STEP" not in name} | {"SLURM_PROCID": "0", "SLURM_LOCALID": "0"}


@pytest.mark.parametrize(
    ("env", "words", "expected"),
    [
        ({}, ["--launcher", "slurm"], "not started by srun"),
        (BATCH_SCRIPT, ["--launcher", "slurm"], "not started by srun"),
        ({**TASK, "TORCHELASTIC_RUN_ID": "x"}, ["--launcher", "slurm"], "torchrun started this process; leave --launcher out"),
        (TASK, ["--launcher=slurm", "--nnodes", "3"], "--nnodes with --launcher slurm: srun says how many processes there are"),
        (TASK, [], "srun started this command 6 times, and each would train on its own: add --launcher slurm"),
        (TASK, ["--launcher", "slurm", "--word-dir", "x"], "unrecognized arguments: --word-dir"),
    ],
)
def test_mistakes_are_told_by_the_first_task_alone(
    env: dict[str, str], words: list[str], expected: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["train", "llama3_8b_instruct_qlora_agentflan_e3", *words]
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    if "SLURM_PROCID" in env:
        monkeypatch.setenv("SLURM_PROCID", "0")
    assert cli.main(command) == 2
    err = capsys.readouterr().err
    assert expected in err and "Traceback" not in err
    if "SLURM_STEP_ID" in env:
        monkeypatch.setenv("SLURM_PROCID", "5")
        assert cli.main(command) == 2
        assert capsys.readouterr().err == ""


# --- a real cluster -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster() -> Iterator[SlurmCluster]:
    """Two nodes of two CPUs on this machine. Its folder lies in /tmp: the path of a socket must be short."""
    with tempfile.TemporaryDirectory(prefix="xagent_slurm_") as folder:
        try:
            started = SlurmCluster(Path(folder))
        except NoCluster as error:
            pytest.skip(f"needs a local Slurm: {error}")
        yield started
        started.stop()


@pytest.fixture(scope="module")
def config(configs: Callable[..., Path], caches: None) -> Path:
    """Windows of eight samples. SGD without clipping: a weight's change is the sum of its gradients."""
    return configs("slurm", optimizer=SGD, clip="None")


@pytest.fixture(scope="module")
def one_process(config: Path, train_cli: Callable[..., int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config's training on one process, without Slurm."""
    folder = tmp_path_factory.mktemp("one") / "process"
    assert train_cli(config, folder) == 0
    return folder


def srun(cluster: SlurmCluster, *words: str, nodes: int = 2, **extra: str) -> subprocess.CompletedProcess[str]:
    """Two tasks of ``xagent``."""
    command = ["srun", "--nodes", str(nodes), "--ntasks", "2", sys.executable, "-m", "xagent.cli", *words]
    return cluster.run(command, extra={"PYTHONPATH": PYTHON_PATH, "OMP_NUM_THREADS": "1", **extra}, timeout=900)


def assert_same_training(one: Path, other: Path) -> None:
    """Assert equal losses, and equal weights after equal sums of gradients."""
    assert losses_in(other) == pytest.approx(losses_in(one), abs=1e-5) and len(losses_in(one)) == 6
    first, second = (read_trained_state(max(folder.glob("iter_*.pth")))[0] for folder in (one, other))
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert (second[name] - value).abs().max() < 1e-5, name


@pytest.mark.slow
def test_two_nodes_under_zero2_train_resume_and_convert(
    cluster: SlurmCluster, config: Path, one_process: Path, tmp_path: Path
) -> None:
    options = ["--launcher", "slurm", "--deepspeed", "zero2", "--work-dir", str(tmp_path / "two")]
    numbers = cfg_options({"accumulative_counts": 4, "save_steps": 10})
    trained = srun(cluster, "train", str(config), *options, *numbers)
    assert trained.returncode == 0, trained.stderr
    assert_same_training(one_process, tmp_path / "two")

    (tmp_path / "two" / "iter_20.pth").rename(tmp_path / "iter_20.pth")
    losses = losses_in(tmp_path / "two")
    resumed = srun(cluster, "train", str(config), *options, "--resume", *numbers)
    assert resumed.returncode == 0, resumed.stderr
    assert "epoch 2, iteration 10" in resumed.stdout
    assert losses_in(tmp_path / "two") == losses
    first, second = (read_trained_state(folder / "iter_20.pth")[0] for folder in (tmp_path, tmp_path / "two"))
    assert all(first[name].equal(value) for name, value in second.items())

    checkpoint, adapter = tmp_path / "two" / "iter_20.pth", tmp_path / "adapter"
    assert cli.main(["convert", "pth_to_hf", str(tmp_path / "two" / "config.py"), str(checkpoint), str(adapter)]) == 0
    weights = load_file(adapter / "adapter_model.safetensors")
    assert len(weights) == len(second) == 28
    for name, value in second.items():
        assert weights[name.removeprefix("llm.").replace(".default.", ".")].float().equal(value.float()), name


SCRIPT = """#!/bin/bash
#SBATCH --job-name=agent
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=1
#SBATCH --output={log}

srun --kill-on-bad-exit=1 {python} -m xagent.cli train {config} --launcher slurm --work-dir {work_dir} --resume auto \\
    --cfg-options accumulative_counts=4
"""


@pytest.mark.slow
def test_a_batch_script_as_the_documents_have_it(cluster: SlurmCluster, config: Path, one_process: Path, tmp_path: Path) -> None:
    log = tmp_path / "agent.log"
    script = SCRIPT.format(log=log, python=sys.executable, config=config, work_dir=tmp_path / "two")
    (tmp_path / "train.sbatch").write_text(script)
    done = cluster.run(
        ["sbatch", "--wait", str(tmp_path / "train.sbatch")],
        extra={"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
        timeout=900,
    )
    assert done.returncode == 0, log.read_text()
    assert_same_training(one_process, tmp_path / "two")
    assert log.read_text().count("2 process(es) on CPU, 1 threads") == 1


@pytest.mark.slow
@pytest.mark.parametrize("nodes", [1, 2])
def test_a_users_fault_of_all_tasks_is_told_once(cluster: SlurmCluster, config: Path, nodes: int, tmp_path: Path) -> None:
    words = ["train", str(config), "--launcher", "slurm", "--work-dir", str(tmp_path / "out")]
    done = srun(cluster, *words, "--cfg-options", "data_path=/nowhere/x.jsonl", nodes=nodes)
    assert done.returncode == 2
    assert done.stderr.count("xagent: error: ") == 1 and "no such file or folder: '/nowhere/x.jsonl'" in done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "code", "shown"), [
    ("user", 2, "xagent: error: the disk of one is full"),
    ("crash", 1, "ZeroDivisionError: one of us"),
])  # fmt: skip
@pytest.mark.parametrize("rank", [0, 1])
def test_one_tasks_failure_ends_the_other_without_a_word(
    cluster: SlurmCluster, configs: Callable[..., Path], fault: str, code: int, shown: str, rank: int, tmp_path: Path
) -> None:
    part = f"\nfrom interruptions import FailOnRank\ncustom_hooks.append(dict(type=FailOnRank, rank={rank}, fault={fault!r}))\n"
    failing = configs(f"failing_{rank}_{code}", parts=[part])
    done = srun(cluster, "train", str(failing), "--launcher", "slurm", "--work-dir", str(tmp_path))
    assert done.returncode == code
    assert done.stderr.count(shown) == 1
    assert done.stderr.count("Traceback") == (code == 1)
    assert "peer" not in done.stderr and "lost another process" not in done.stderr


@pytest.mark.slow
def test_a_killed_task_ends_the_other(cluster: SlurmCluster, configs: Callable[..., Path], tmp_path: Path) -> None:
    part = "\nfrom interruptions import FailOnRank\ncustom_hooks.append(dict(type=FailOnRank, rank=1, fault='kill'))\n"
    done = srun(cluster, "train", str(configs("killed_rank", parts=[part])), "--launcher", "slurm", "--work-dir", str(tmp_path))
    assert done.returncode != 0
    assert "process 0 lost another process of the training" in done.stderr and "task 1: Killed" in done.stderr
    assert "Traceback" not in done.stderr and "fault of xagent" not in done.stderr


@pytest.mark.slow
def test_a_dry_run_speaks_once(cluster: SlurmCluster, config: Path, tmp_path: Path) -> None:
    done = srun(cluster, "train", str(config), "--launcher", "slurm", "--dry-run", "--work-dir", str(tmp_path / "none"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Dry run of") == 1 and "(1 x 8 x 2 process(es))" in done.stdout
