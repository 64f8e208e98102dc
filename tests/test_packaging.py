"""What an installation needs: declared dependencies, and a Makefile that says what is missing."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]

# Imported only where someone chose to install them, and each is asked for by name where it is missing.
OPTIONAL = {"liger_kernel", "modelscope", "zstandard"}


def normal(name: str) -> str:
    """The one spelling of a distribution's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> set[str]:
    """The distributions that setup.py names, its extras' too."""
    keywords = {
        node.arg: ast.literal_eval(node.value)
        for node in ast.walk(ast.parse((ROOT / "setup.py").read_text(encoding="utf-8")))
        if isinstance(node, ast.keyword) and node.arg in ("install_requires", "extras_require")
    }
    texts = [*keywords["install_requires"], *chain.from_iterable(keywords["extras_require"].values())]
    return {normal(re.split(r"[<>=!~\[; ]", text)[0]) for text in texts}


def imported() -> set[str]:
    """The top-level names of all other packages that xagent imports."""
    names: set[str] = set()
    for path in (ROOT / "xagent").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"xagent"}


def test_what_is_imported_is_declared() -> None:
    homes = packages_distributions()
    known = declared()
    assert {"torch", "lagent", "cachetools", "pyjwt", "beautifulsoup4", "deepspeed", "streamlit"} <= known
    missing = {name for name in imported() - OPTIONAL if not {normal(home) for home in homes.get(name, [name])} & known}
    assert missing == set()


def test_declared_versions_are_pinned_in_the_constraints() -> None:
    pinned = {normal(line.partition("==")[0]) for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    assert declared() - pinned == set()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("demo", "xagent needs Python 3.10 or newer, and none is on the PATH"),
        ("lint", "xagent needs Python 3.10 or newer, and none is on the PATH"),
        ("test", "a C++ compiler is missing"),
    ],
)
def test_make_says_what_is_missing(tmp_path: Path, target: str, message: str) -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("needs make")
    for name in ("Makefile", "setup.py", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "bin").mkdir()
    done = subprocess.run(
        [make, "-C", str(tmp_path), target], capture_output=True, text=True, env={"PATH": str(tmp_path / "bin")}
    )
    assert done.returncode == 2 and message in done.stdout and "Install one, for example: apt-get install" in done.stdout
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize("name", ["ci", "slow"])
def test_the_workflows_install_the_tested_torch_and_run_what_is_there(name: str) -> None:
    """The CPU build satisfies the constraint; all else comes from PyPI, for torch's own index may lack the pinned versions."""
    (job,) = yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text(encoding="utf-8"))["jobs"].values()
    requirement, _, index = job["env"]["TORCH_SPEC"].partition(" ")
    build = Version(requirement.removeprefix("torch=="))
    (pinned,) = re.findall(r"^torch(==\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert build.local == "cpu" and SpecifierSet(pinned).contains(build) and index.startswith("--extra-index-url ")
    command = job["steps"][-1]["run"]
    assert command == ("make slow" if name == "slow" else ".ci/run")
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111 and "\nslow:" in (ROOT / "Makefile").read_text()


def test_pyproject_holds_tools_only() -> None:
    tables = re.findall(r"^\[+([\w-]+)", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert tables and set(tables) == {"tool"}
