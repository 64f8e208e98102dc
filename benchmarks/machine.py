"""Where and with what a benchmark ran, and how its results are kept."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results")
_MEASURED = ("xagent", "configs")
_PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "mmengine", "datasets", "tokenizers", "liger_kernel", "deepspeed")


def describe_machine() -> dict[str, Any]:
    """Give processor, cores, memory, load, GPU and system, and the commit and the time at which a measurement begins."""
    import torch

    return {
        "begun": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "cores_of_machine": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_before": round(os.getloadavg()[0], 2),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.platform(),
    }


def versions() -> dict[str, str | None]:
    """Give the versions of what is measured."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def commit() -> str | None:
    """Give the last commit that changed what is measured, ``xagent`` and ``configs``; ``+changes`` where they differ from it."""
    try:
        name = _git("log", "-1", "--format=%h", "--abbrev=10", "--", *_MEASURED)
        changed = _git("status", "--porcelain", "--", *_MEASURED)
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{name}+changes" if changed else name


def add_part_option(parser: argparse.ArgumentParser) -> None:
    """Give a benchmark ``--add``, with which it can be run in parts."""
    parser.add_argument("--add", action="store_true", help="add to the figures that are there instead of starting anew")


def earlier_figures(name: str, add: bool, folder: Path | None = None) -> Any:
    """Read what an earlier part measured; None without ``--add``, and where nothing is there."""
    path = (folder or RESULTS) / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))["figures"] if add and path.exists() else None


def save_results(name: str, machine: dict[str, Any], figures: Any, folder: Path | None = None, add: bool = False) -> Path:
    """Write ``results/NAME.json`` (or ``folder/NAME.json``): the command, versions, machine (with commit and date) and figures.

    With ``add`` those of the parts that were measured before are kept under ``earlier_parts``; merging the figures is the
    caller's work (:func:`earlier_figures`).
    """
    folder = folder or RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    # Of a path only the last part is kept: where things lie on one machine tells nobody anything.
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    path = folder / f"{name}.json"
    content: dict[str, Any] = {
        "command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words]),
        "versions": versions(),
        "machine": machine,
    }
    if add and path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        earlier = {key: before[key] for key in content if key in before}
        content["earlier_parts"] = [*before.get("earlier_parts", []), earlier]
    path.write_text(json.dumps({**content, "figures": figures}, indent=1) + "\n", encoding="utf-8")
    return path


def table(headers: list[str], rows: list[list[str]]) -> str:
    """Write a Markdown table."""
    widths = [max(len(row[place]) for row in [headers, *rows]) for place in range(len(headers))]
    lines = [headers, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def _git(*words: str) -> str:
    root = Path(__file__).resolve().parents[1]
    return subprocess.run(["git", *words], check=True, capture_output=True, text=True, cwd=root).stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
