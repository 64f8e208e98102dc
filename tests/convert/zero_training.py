"""Train a tiny LoRA model for a step under ZeRO and write a checkpoint; run by torchrun: BASE OUT STAGE..."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["DS_ACCELERATOR"] = "cpu"
sys.path.insert(0, str(Path(__file__).parents[2]))

import deepspeed
import torch
from tiny import VOCABULARY, logits_of, train_adapter

from xagent.engine.extension_builds import release_left_builds
from xagent.model.checkpoint import seal_directory, temporary_directory, to_plain


class Finetune(torch.nn.Module):
    """As `SupervisedFinetune`, the model is its attribute `llm`."""

    def __init__(self, llm: torch.nn.Module) -> None:
        super().__init__()
        self.llm = llm

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.llm(input_ids=ids, labels=ids).loss


def main(stage: int, base: Path, out: Path) -> None:
    """Train, save, and let rank 0 note the trained model's logits."""
    rank, world_size = torch.distributed.get_rank(), torch.distributed.get_world_size()
    peft = train_adapter(base)
    model = Finetune(peft)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    config = {
        "train_micro_batch_size_per_gpu": 1,
        "zero_optimization": {"stage": stage},
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=config)
    ids = torch.arange(16)[None] * (rank + 3) % VOCABULARY
    engine.backward(engine(ids))
    engine.step()
    meta = {
        "iter": 1,
        "kind_of_training": "lora",
        "adapter_config": to_plain(peft.peft_config["default"].to_dict()),
        "base_model": str(base),
        "world_size": world_size,
    }
    out.mkdir(exist_ok=True)
    final = out / "iter_1.pth"
    temporary = temporary_directory(final)
    engine.save_checkpoint(
        str(temporary.parent), tag=temporary.name, client_state={"meta": meta}, save_latest=False, exclude_frozen_parameters=True
    )
    torch.distributed.barrier()
    with deepspeed.zero.GatheredParameters(list(model.parameters()), enabled=stage == 3):
        logits = logits_of(peft) if stage < 3 else None
        trained = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    if rank == 0:
        torch.save({"logits": logits, "trained": trained}, out / "expected.pt")
        seal_directory(temporary, final, iteration=1, world_size=world_size)
    torch.distributed.barrier()


if __name__ == "__main__":
    release_left_builds()
    deepspeed.init_distributed("gloo")
    for number in sys.argv[3:]:
        main(int(number), Path(sys.argv[1]), Path(sys.argv[2]) / f"zero{number}")
    torch.distributed.destroy_process_group()
    sys.stdout.flush()
    os._exit(0)  # gloo's threads abort the process about once in eight times while C++ statics are torn down
