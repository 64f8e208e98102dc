"""What the comparison of a merged model says, and where it is made."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny import train_adapter

from xagent.convert import merge_check
from xagent.convert.adapter import open_adapter
from xagent.convert.base_model import open_base
from xagent.convert.merge_check import Verification, verify_merge
from xagent.convert.merge_plan import MergePlan, plan_merge
from xagent.convert.probe import Distance

NEAR, FAR = Distance(0.0125, 0.001, 1.0), Distance(2.5, 0.25, 0.5)


def test_the_lines_that_are_printed() -> None:
    assert Verification(skipped="too large").lines() == ["not compared with base + adapter: too large"]
    first = (
        "logits against base + adapter: max 0.0125, rms 0.10% of their spread, same top token 100.0%; the adapter itself "
        "moves them by: max 2.5, rms 25.00% of their spread, same top token 50.0%"
    )
    assert Verification(NEAR, FAR).lines() == [first]
    assert Verification(NEAR, FAR, FAR).lines() == [
        first,
        "logits against the model as trained (NF4 base + adapter): max 2.5, rms 25.00% of their spread, same top token 50.0%",
    ]


@pytest.fixture
def plan(base: Path, tmp_path: Path) -> MergePlan:
    train_adapter(base).save_pretrained(tmp_path / "adapter")
    return plan_merge(open_base(base), open_adapter(tmp_path / "adapter"), torch.float32, torch.float32, onto_nf4=False)


def test_memory_is_that_of_one_model_in_the_wider_dtype_its_adapter_and_room(plan: MergePlan) -> None:
    weights = sum(shape.bytes for shape in plan.shapes.values())
    adapter = sum(shape.bytes for shape in plan.adapter.tensors.shapes.values())
    expected = int(1.1 * weights) + 2 * adapter + (1 << 30)
    assert merge_check._memory_needed(plan, torch.bfloat16) == merge_check._memory_needed(plan, torch.float32) == expected


@pytest.mark.parametrize(("small", "asked"), [(("cuda",), ["cuda", "cpu"]), (("cuda", "cpu"), ["cuda", "cpu"])])
def test_a_device_that_is_too_small_leaves_the_comparison_to_the_cpu(
    plan: MergePlan, base: Path, monkeypatch: pytest.MonkeyPatch, small: tuple[str, ...], asked: list[str]
) -> None:
    tried: list[str] = []

    def shortage(needed: int, device: torch.device) -> str | None:
        tried.append(device.type)
        return f"{device.type} is full" if device.type in small else None

    monkeypatch.setattr(merge_check, "memory_shortage", shortage)
    if "cpu" in small:
        found = verify_merge(base, plan, torch.float32, torch.device("cuda"), "base")
        assert found == Verification(skipped="comparing the models needs too much memory: cpu is full")
    else:
        with pytest.raises(merge_check.CheckpointError, match="the merged model was discarded: its logits differ from base"):
            verify_merge(base, plan, torch.float32, torch.device("cuda"), "base")  # the base is no merged model
    assert tried == asked


def test_the_coarser_dtype_decides_what_rounding_explains() -> None:
    assert merge_check._coarser(torch.float32, torch.bfloat16) is torch.bfloat16
    assert merge_check._coarser(torch.float16, torch.float32) is torch.float16
