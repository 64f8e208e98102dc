"""Where and with what a benchmark ran, and how its results are kept."""

from __future__ import annotations

import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results")
_PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "mmengine", "datasets", "tokenizers", "liger_kernel", "deepspeed")


def describe_machine() -> dict[str, Any]:
    """Give processor, cores, memory, load, GPU and system."""
    import torch

    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
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


def save_results(name: str, machine: dict[str, Any], figures: Any, folder: Path | None = None) -> Path:
    """Write ``results/NAME.json`` (or ``folder/NAME.json``): the command, versions, machine and figures."""
    folder = folder or RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    # Of a path only the last part is kept: where things lie on one machine tells nobody anything.
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words])
    path = folder / f"{name}.json"
    content = {"command": command, "versions": versions(), "machine": machine, "figures": figures}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def table(headers: list[str], rows: list[list[str]]) -> str:
    """Write a Markdown table."""
    widths = [max(len(row[place]) for row in [headers, *rows]) for place in range(len(headers))]
    lines = [headers, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
