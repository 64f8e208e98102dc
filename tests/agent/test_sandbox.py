"""Code that misbehaves in the interpreter: each way has a defined end, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from xagent.agent.sandbox.process import Isolation, Limits, run_python
from xagent.agent.tools import ToolBox, load_tools, python_tool
from xagent.agent.tools import interpreter as interpreter_module

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs limits for processes")
PATIENT = Limits(wall_seconds=60)
FENCES = pytest.mark.parametrize("guard_only", [False, True], ids=["kernel", "guard"])


def until_the_clock_ends(code: str, output: str) -> None:
    """Run code that prints this and goes on; a machine that is too busy to start Python in the first time gets more."""
    for seconds in (5, 20, 80):
        run = run_python(code, Limits(wall_seconds=seconds))
        assert run.end == "wall time"
        if run.output:
            break
    assert run.output == output


def test_code_is_run_and_its_last_line_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # in the common one other tests run code meanwhile
    code = "import math\nprint('hello 你好')\nopen('note.txt', 'w').write('x')\nmath.sqrt(16)"
    run = run_python(code, PATIENT)
    assert (run.output, run.end, run.exit_code) == ("hello 你好\n4.0\n", "finished", 0)
    assert isinstance(run.isolation, Isolation) and list(tmp_path.iterdir()) == []
    if run.isolation.processes == "seccomp":
        assert run_python("import asyncio\nasyncio.run(asyncio.sleep(0, 'slept'))", PATIENT).output == "'slept'\n"


def test_faults_are_told_without_our_own_frames() -> None:
    run = run_python("def f():\n    return 1 / 0\nf()", PATIENT)
    assert (run.end, run.exit_code) == ("failed", 1)
    assert run.output.splitlines()[-1] == "ZeroDivisionError: division by zero" and "child.py" not in run.output
    assert 'File "<code>", line 3' in run.output
    assert "SyntaxError" in run_python("def f(:", PATIENT).output
    assert run_python("import sys\nprint(1)\nsys.exit(3)", PATIENT).exit_code == 3


@FENCES
def test_the_code_can_reach_nothing(tmp_path: Path, guard_only: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAGENT_TEST_SECRET", "hush")
    target = tmp_path / "outside.txt"
    tries = {
        "write": f"open({str(target)!r}, 'w')",
        "low write": f"os.open({str(target)!r}, os.O_WRONLY | os.O_CREAT)",
        "remove": f"os.remove({str(Path(__file__))!r})",
        "rights": f"os.chmod({str(tmp_path)!r}, 0)",
        "socket": "socket.create_connection(('127.0.0.1', 9), 1)",
        "unix socket": "socket.socket(socket.AF_UNIX)",
        "datagrams": "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)",
        "fork": "os.fork()",
        "program": "subprocess.run(['true'])",
        "shell": "os.execv('/bin/sh', ['sh'])",
        "kill": "os.kill(os.getppid(), 9)",
    }
    code = "import os, json, socket, subprocess\nfound = {}\n"
    for name, attempt in tries.items():
        code += f"try:\n    {attempt}\n    found[{name!r}] = 'done'\nexcept OSError as error:\n"
        code += f"    found[{name!r}] = 'refused' if isinstance(error, PermissionError) else repr(error)\n"
    code += "print(json.dumps([found, sorted(os.environ), os.getcwd()]))"
    run = run_python(code, PATIENT, guard_only=guard_only)
    found, environment, folder = json.loads(run.output)
    weak = run.isolation is not None and run.isolation.processes == "guard"
    assert weak or not guard_only
    assert found == dict.fromkeys(tries, "refused")
    assert not target.exists() and tmp_path.stat().st_mode & 0o700
    assert "XAGENT_TEST_SECRET" not in environment and set(environment) >= {"HOME", "TMPDIR"}
    assert Path(folder).name.startswith("xagent-python-") and not Path(folder).exists()


def test_where_the_kernel_helps_secrets_can_t_be_read(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("hush", encoding="utf-8")
    code = f"import os\nfor path in ({str(secret)!r}, f'/proc/{{os.getppid()}}/environ'):\n"
    code += "    try:\n        print(open(path).read())\n    except OSError as error:\n        print(type(error).__name__)\n"
    run = run_python(code, PATIENT)
    if run.isolation is None or run.isolation.files != "landlock":
        pytest.skip("this kernel has no Landlock: the guard leaves reading free")
    assert run.output == "PermissionError\nPermissionError\n"


def test_limits_end_what_breaks_them() -> None:
    start = time.monotonic()
    until_the_clock_ends("print('begun', flush=True)\nimport time\ntime.sleep(1000)", "begun\n")
    busy = run_python("while True: pass", Limits(wall_seconds=90, cpu_seconds=1))
    assert (busy.end, busy.exit_code < 0) == ("killed", True)
    loud = run_python("while True: print('a' * 10000)", Limits(wall_seconds=60, output_bytes=5000))
    assert (loud.end, len(loud.output)) == ("output", 5000)
    assert "MemoryError" in run_python("x = bytearray(3 << 30)", PATIENT).output
    assert "OSError: [Errno 27]" in run_python("open('a', 'wb').write(bytes(2 << 20))", Limits(60, file_bytes=1 << 20)).output
    many = "for i in range(100):\n    open(str(i), 'wb').write(bytes(1 << 20))\nimport time\ntime.sleep(1000)"
    assert run_python(many, Limits(60, folder_bytes=8 << 20)).end == "folder"
    assert time.monotonic() - start < 900


def test_nothing_goes_on_after_the_end() -> None:
    """Threads that don't end and signals that are ignored: the group is killed."""
    code = "import signal, threading, time\nfor kind in (1, 2, 13, 15):\n    signal.signal(kind, signal.SIG_IGN)\n"
    code += "threading.Thread(target=time.sleep, args=(1000,)).start()\nprint('end', flush=True)"
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    until_the_clock_ends(code, "end\n")
    assert {process.pid for process in psutil.Process().children(recursive=True)} <= before


def test_the_tool_turns_ends_into_observations_and_is_off_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter_module, "_GRACE_S", 60.0)  # a box that gives up says something else
    assert "python" not in load_tools("playground:dates").tools
    one = python_tool(Limits(wall_seconds=60, output_bytes=1000))
    box = ToolBox([one])
    assert one.note.startswith("network: ") and box.notes == (f"python: {one.note}",)
    assert (box.run("python", {"code": "6 * 7"}).text, box.run("python", {"code": "x = 1"}).text) == (
        "42",
        "(nothing was printed)",
    )
    failed = box.run("python", {"code": "1 / 0"})
    assert failed.fault == "error" and failed.text.endswith("ZeroDivisionError: division by zero")
    hasty = ToolBox([python_tool(Limits(wall_seconds=1))])
    assert hasty.run("python", {"code": "import time; time.sleep(99)"}).text == "stopped after 1 seconds"
    assert box.run("python", {"code": "print('a' * 5000)"}).text.endswith("stopped: more than 1000 bytes were printed")
    assert box.run("python", {"source": "1"}).fault == "bad arguments"
    assert interpreter_module.isolation() == run_python("pass", PATIENT).isolation


def test_the_isolation_says_when_it_is_weak() -> None:
    assert "stops careless code only" in str(Isolation())
    assert str(Isolation("namespace", "landlock", "seccomp")) == "network: namespace; files: landlock; processes: seccomp"
