"""The command line itself: what it imports, what it says, how it ends."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from free_ports import free_port

from xagent import __version__, cli
from xagent.cli import main
from xagent.commands import launch, train
from xagent.config import config_names, find_config
from xagent.errors import ConfigError, XAgentError


def run(*words: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the true command line in a process of its own."""
    root = Path(cli.__file__).resolve().parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root), **(env or {})}
    command = [sys.executable, "-m", "xagent.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=600)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch):
    """Replace what the command `demo` runs by a function of the test."""

    def _command(function) -> None:
        monkeypatch.setattr("xagent.commands.demo.run", function)

    return _command


# --- start-up -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["list-cfg"], ["train", "--help"]])
def test_light_commands_start_fast_and_without_torch(words: list[str]):
    code = f"import sys; from xagent.cli import main; code = main({words!r}); sys.exit(99 if 'torch' in sys.modules else code)"
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0, done.stderr or "torch was imported"
        # The processor's time: the clock's would depend on what else the machine does.
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 0.5


def test_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in cli.COMMANDS)


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_help_of_every_command_has_examples(name: str, capsys):
    assert main([name, "--help"]) == 0
    assert f"xagent {name}" in capsys.readouterr().out.partition("example")[2]


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"xagent {__version__}\n"


# --- exit codes ---------------------------------------------------------------------------------------------------


def test_no_command_is_a_users_fault(capsys):
    assert main([]) == 2
    assert "usage: xagent" in capsys.readouterr().err


def test_an_unknown_command_shows_the_nearest(capsys):
    assert main(["trian"]) == 2
    assert "unknown command 'trian' (did you mean 'train'?)" in capsys.readouterr().err


def test_an_unknown_option_shows_the_nearest(capsys):
    assert main(["demo", "--workdir", "x"]) == 2
    assert "did you mean '--work-dir'?" in capsys.readouterr().err


def test_a_users_fault_is_one_message_without_traceback(command, capsys):
    def fail(args):
        raise XAgentError("the disk is made of cheese")

    command(fail)
    assert main(["demo"]) == 2
    assert capsys.readouterr().err == "xagent: error: the disk is made of cheese\n"


def test_a_full_disk_is_the_users_fault(command, capsys):
    def fail(args):
        raise OSError(28, "No space left on device", "out/model.bin")

    command(fail)
    assert main(["demo"]) == 2
    assert "No space left on device: 'out/model.bin'" in capsys.readouterr().err


def test_our_fault_shows_the_traceback(command, capsys):
    command(lambda args: 1 / 0)
    assert main(["demo"]) == 1
    err = capsys.readouterr().err
    assert "ZeroDivisionError" in err and "Traceback" in err and "fault of xagent" in err


def test_ctrl_c(command, capsys):
    def stop(args):
        raise KeyboardInterrupt

    command(stop)
    assert main(["demo"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_commands_own_code_comes_through(command):
    command(lambda args: 7)
    assert main(["demo"]) == 7


def test_a_closed_pipe_is_quiet():
    code = (
        "import os, sys; from xagent.cli import main; r, w = os.pipe(); os.close(r); os.dup2(w, 1); sys.exit(main(['list-cfg']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (141, "")


def test_the_true_process_ends_with_the_code(tmp_path: Path):
    done = run("train", "no_such_config", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("xagent: error: no config 'no_such_config'") and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


# --- list-cfg and copy-cfg ----------------------------------------------------------------------------------------


def test_list_cfg_with_both_spellings_and_patterns(capsys):
    assert main(["list_cfg"]) == 0
    assert capsys.readouterr().out.split() == config_names()
    assert main(["list-cfg", "-p", "QWEN"]) == 0
    assert capsys.readouterr().out.split() == [name for name in config_names() if "qwen" in name]
    assert main(["list-cfg", "-p", "llama3/*full*"]) == 0
    assert capsys.readouterr().out.split() == ["llama3/llama3_8b_instruct_full_agentflan_e3"]
    assert main(["list-cfg", "-p", "mistral"]) == 2


def test_copy_cfg_writes_one_flat_file_and_never_over_another(tmp_path: Path, capsys):
    words = ["copy-cfg", "qwen2_5_7b_instruct_qlora_agentflan_e3", str(tmp_path / "new")]
    assert main(words) == 0
    copy = Path(capsys.readouterr().out.strip())
    assert copy == tmp_path / "new" / "qwen2_5_7b_instruct_qlora_agentflan_e3_copy.py"
    assert "read_base" not in copy.read_text() and 'name_or_path = "Qwen/Qwen2.5-7B-Instruct"' in copy.read_text()
    assert find_config(copy) == copy
    assert main(words) == 2
    assert "is there already" in capsys.readouterr().err


# --- train: arguments and launching -------------------------------------------------------------------------------


def test_copy_cfg_where_it_can_t_write(tmp_path: Path, capsys):
    name = "nano_qlora_agent"
    (tmp_path / "file").write_text("mine")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / f"{name}_copy.py").symlink_to(tmp_path / "nowhere")
    for folder, words in [
        (tmp_path / "file", f"can't write {tmp_path}/file/{name}_copy.py: "),
        (tmp_path / ("n" * 300), "File name too long"),
        (tmp_path / "links", "_copy.py is there already; remove it, or copy to another folder"),
    ]:
        assert main(["copy-cfg", name, str(folder)]) == 2
        said = capsys.readouterr().err
        assert said.startswith("xagent: error: ") and words in said and "Traceback" not in said
    assert main(["copy-cfg", "no_such_config", str(tmp_path)]) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "links"]
    assert (tmp_path / "file").read_text() == "mine" and not (tmp_path / "nowhere").exists()


def test_underscored_options_are_the_same(capsys):
    assert main(["train", "gone", "--work_dir=a_b", "--cfg_options", "max_length=1"]) == 2
    assert "no config 'gone'" in capsys.readouterr().err


def test_an_option_with_a_typo_names_the_nearest(capsys):
    words = ["train", "llama3_8b_instruct_qlora_agentflan_e3", "--cfg-options", "max_lenght=1"]
    assert main(words) == 2
    assert "did you mean 'max_length'" in capsys.readouterr().err


def arguments(**given) -> SimpleNamespace:
    names = ("nproc_per_node", "nnodes", "node_rank", "master_addr", "master_port")
    return SimpleNamespace(**{name: given.get(name) for name in names})


def test_processes_come_from_the_environment_and_flags_win():
    env = {"NPROC_PER_NODE": "4", "NNODES": "2", "NODE_RANK": "1", "ADDR": "10.0.0.1", "PORT": "1234"}
    assert launch.wanted_processes(arguments(), env) == launch.Processes(4, 2, 1, "10.0.0.1", 1234)
    flags = arguments(nproc_per_node=8, node_rank=0, master_addr="host", master_port=5)
    assert launch.wanted_processes(flags, env) == launch.Processes(8, 2, 0, "host", 5)
    assert launch.wanted_processes(arguments(), {}) == launch.Processes()


@pytest.mark.parametrize(
    ("given", "env", "expected"),
    [
        ({"nproc_per_node": 0}, {}, "--nproc-per-node 0: expected 1 or more"),
        ({}, {"NNODES": "two"}, "NNODES='two': expected a whole number"),
        ({"node_rank": 2, "nnodes": 2}, {}, "the ranks count from 0"),
    ],
)
def test_wrong_numbers_of_processes(given, env, expected: str):
    with pytest.raises(XAgentError, match=expected):
        launch.wanted_processes(arguments(**given), env)


def test_more_processes_than_gpus(monkeypatch: pytest.MonkeyPatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    launch.check_devices(2)
    with pytest.raises(XAgentError, match=r"4 processes, but this machine shows 2 GPU"):
        launch.check_devices(4)


def test_launcher_none_with_many_processes_is_a_contradiction(capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert main(["train", "llama3_8b_instruct_qlora_agentflan_e3", "--launcher", "none", "--nproc-per-node", "2"]) == 2
    assert "--launcher none starts one process, but 2 are asked for" in capsys.readouterr().err


def test_deepspeed_without_the_package(capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["train", "llama3_8b_instruct_qlora_agentflan_e3", "--deepspeed", "zero2", "--nproc-per-node", "2"]) == 2
    err = capsys.readouterr().err
    assert "not installed" in err and "pip install" in err


def test_flags_reach_the_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config_file = tmp_path / "mine.py"
    config_file.write_text("randomness = dict(seed=None, deterministic=True)\nmax_length = 1\n")
    monkeypatch.setattr("xagent.config.validate.validate_config", lambda config, **kwargs: None)
    args = SimpleNamespace(config=str(config_file), cfg_options=["max_length=5"], work_dir=None, seed=3, deepspeed="zero2")
    config = train.prepare_config(args, "pytorch")
    assert (config.max_length, config.launcher) == (5, "pytorch")
    assert config.work_dir == os.path.join("work_dirs", "mine")
    assert config.randomness == {"seed": 3, "deterministic": True}
    assert config.deepspeed.endswith("deepspeed_zero2.json")
    args.work_dir = "there"
    assert train.prepare_config(args).work_dir == "there"


# --- several processes --------------------------------------------------------------------------------------------

WORKER = """
import os, sys, time
from xagent.commands.exits import report_crash, report_fault
rank = int(os.environ["RANK"])
assert os.environ["WORLD_SIZE"] == "2"
{body}
"""


def start_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> int:
    """Run two processes of a module that stands in for `xagent.cli`."""
    package = tmp_path / "standin_worker.py"
    package.write_text(WORKER.format(body=body))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(launch, "WORKER_MODULE", "standin_worker")
    return launch.start(launch.Processes(per_node=2), ["train", "x"])


def test_two_processes_that_end_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    body = "open(os.path.join(os.path.dirname(__file__), f'rank{rank}'), 'w').write(' '.join(sys.argv[1:]))"
    assert start_workers(tmp_path, monkeypatch, body) == 0
    assert [(tmp_path / f"rank{rank}").read_text() for rank in (0, 1)] == ["train x", "train x"]
    assert launch.FAULT_DIR not in os.environ


def test_a_users_fault_in_both_processes_is_shown_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd):
    assert start_workers(tmp_path, monkeypatch, "report_fault('no such data'); sys.exit(2)") == 2
    err = capfd.readouterr().err
    assert err.count("xagent: error: no such data") == 1
    assert "ChildFailedError" not in err and "exitcode" not in err


def test_our_fault_in_one_process_comes_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd):
    body = "if rank == 0: time.sleep(600)\nelse: 1 / 0"
    assert start_workers(tmp_path, monkeypatch, body) == 1
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_two_machines_meet_at_the_given_address(tmp_path: Path):
    port = free_port()
    (tmp_path / "standin_worker.py").write_text(WORKER.format(body="open(f'rank{rank}', 'w').write(os.environ['GROUP_RANK'])"))
    code = (
        "import sys; from xagent.commands import launch; launch.WORKER_MODULE = 'standin_worker'; "
        f"sys.exit(launch.start(launch.Processes(1, 2, int(sys.argv[1]), '127.0.0.1', {port}), []))"
    )
    root = str(Path(cli.__file__).resolve().parents[1])
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([root, str(tmp_path)])}
    machines = [subprocess.Popen([sys.executable, "-c", code, str(rank)], cwd=tmp_path, env=env) for rank in (1, 0)]
    assert [machine.wait(timeout=300) for machine in machines] == [0, 0]
    assert [(tmp_path / f"rank{rank}").read_text() for rank in (0, 1)] == ["0", "1"]


def test_ctrl_c_stops_all_processes(tmp_path: Path):
    body = "try:\n    open(f'rank{rank}', 'w').close()\n    time.sleep(600)\nexcept KeyboardInterrupt: sys.exit(130)"
    (tmp_path / "standin_worker.py").write_text(WORKER.format(body=body))
    code = (
        "import sys; from xagent.commands import launch; launch.WORKER_MODULE = 'standin_worker'; "
        "sys.exit(launch.start(launch.Processes(per_node=2), []))"
    )
    root = str(Path(cli.__file__).resolve().parents[1])
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([root, str(tmp_path)])}
    starter = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while len(list(tmp_path.glob("rank*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    starter.send_signal(signal.SIGINT)
    _, err = starter.communicate(timeout=300)
    assert starter.returncode == 130
    assert err == ""


@pytest.mark.parametrize(
    ("nodes", "where", "advice"),
    [(1, "localhost", "left out, a free one is found"), (2, "127.0.0.1", "the same on every machine")],
)
def test_a_taken_port_is_named(nodes: int, where: str, advice: str):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(XAgentError) as refused:
            launch.start(launch.Processes(1, nodes, 0, "127.0.0.1", port), [])
    why = "the port is taken on this machine, maybe by another training"
    assert str(refused.value).startswith(f"the processes can't meet at {where}:{port}: {why}; choose another with --master-port")
    assert str(refused.value).endswith(advice)


def test_a_port_that_is_none_is_named():
    with pytest.raises(XAgentError, match="--master-port 70000: expected 1 to 65535"):
        launch.start(launch.Processes(2, 1, 0, "127.0.0.1", 70000), [])


def test_the_callers_signal_handlers_are_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)]
    assert start_workers(tmp_path, monkeypatch, "pass") == 0
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)] == before


def test_only_the_crash_that_came_first_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd):
    body = (
        "def wait_for(other):\n"
        "    while not os.path.exists(os.path.join(os.environ['XAGENT_FAULT_DIR'], f'crash_{other:05}')): time.sleep(0.01)\n"
        "if rank == 0: wait_for(1); time.sleep(0.1)\n"  # files are told apart by their times
        "report_crash(f'crash of {rank}'); wait_for(1 - rank); sys.exit(1)"
    )
    assert start_workers(tmp_path, monkeypatch, body) == 1
    err = capfd.readouterr().err
    assert "process 1:\ncrash of 1" in err and "crash of 0" not in err


def test_a_true_training_on_two_processes_shows_a_users_fault_once(tmp_path: Path):
    config = tmp_path / "broken.py"
    config.write_text("model = dict(type='no.such.Thing')\n")
    done = run("train", str(config), "--nproc-per-node", "2", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("model.type: 'no.such.Thing'") == 1
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["broken.py"]


def test_faults_are_of_the_kind_that_the_command_line_knows():
    assert issubclass(ConfigError, XAgentError)
