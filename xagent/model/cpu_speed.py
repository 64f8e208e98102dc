"""Whether this processor multiplies faster in bf16 than in fp32: measured once and remembered.

Remembered, because a dtype that hung on a moment's load would make two runs of one config unequal, and so would one that each
rank of a machine finds for itself.
"""

from __future__ import annotations

import json
import statistics
import time
from functools import lru_cache
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from xagent.cache import cache_folder

ROWS, INPUTS, OUTPUTS = 512, 1024, 1024
"""A product as a small layer's: about 1 GFLOP, some milliseconds."""
ROUNDS = 7
LOCK_SECONDS = 30.0


def measured_ratio(rounds: int = ROUNDS) -> float:
    """Give how many times as fast a product is in bf16 as in fp32: the median of rounds that run both by turns."""
    inputs = {dtype: torch.ones(ROWS, INPUTS, dtype=dtype, device="cpu") for dtype in (torch.float32, torch.bfloat16)}
    weights = {dtype: torch.ones(INPUTS, OUTPUTS, dtype=dtype, device="cpu") for dtype in inputs}
    ratios = []
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        for number in range(rounds + 1):
            seconds = []
            for dtype in inputs:
                begin = time.perf_counter()
                torch.mm(inputs[dtype], weights[dtype])
                seconds.append(time.perf_counter() - begin)
            if number:  # the first round loads kernels
                ratios.append(seconds[0] / seconds[1])
    return statistics.median(ratios)


@lru_cache(maxsize=1)
def bf16_is_faster() -> bool:
    """Tell whether products in bf16 are faster here; False, unmeasured, where the processor has no instructions for them.

    The ratio is kept in ``bf16.json`` in xagent's cache folder, for each processor and version of torch; delete the file to have
    it measured again. Where nothing can be kept, bf16 counts as faster, because processes that measured by themselves could
    disagree.
    """
    has = torch.cpu.get_capabilities()
    if not (has.get("avx512_bf16") or has.get("amx_bf16")):
        return False
    key = f"{has.get('cpu_name', 'unknown processor')}, torch {torch.__version__}"
    try:
        path = cache_folder() / "bf16.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock", timeout=LOCK_SECONDS):
            known = _read(path)
            if key not in known:
                known[key] = round(measured_ratio(), 2)
                partial = path.with_suffix(".partial")
                partial.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
                partial.replace(path)
            return known[key] > 1
    except (OSError, RuntimeError, Timeout):  # no home, no space, no permission: nothing that a training should fail on
        return True


def _read(path: Path) -> dict[str, float]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    if not isinstance(known, dict):
        return {}
    return {key: value for key, value in known.items() if isinstance(value, (int, float))}
