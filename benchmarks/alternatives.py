"""How each alternative is installed, and how the common work is told to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TORCH = "torch==2.13.0"
_VERSIONS = ("torch", "transformers", "peft", "accelerate", "trl", "llamafactory", "ms-swift", "ms_swift", "mmengine", "xagent")


@dataclass(frozen=True)
class Job:
    """One training: everybody's settings.

    Attributes:
        model, data, out: the base, the conversations, an empty folder.
        dtype: ``fp32`` or ``bf16`` (autocast over fp32 weights).
        packed: whole samples in rows of ``max_length``; else padded (or joined) samples.
        steps: optimizer steps.
    """

    model: Path
    data: Path
    out: Path
    dtype: str
    packed: bool
    steps: int
    max_length: int = 1024
    batch_size: int = 2
    accumulation: int = 4
    lr: float = 2e-4


@dataclass(frozen=True)
class Tool:
    """A training tool in an environment of its own.

    Attributes:
        name: as on the command line.
        packages: what pip installs beside torch, as each project's first instruction says: without extras.
        unwanted: packages that the registry has for CUDA only, so that they fail to load beside a CPU build of torch; text needs
            none of them, and an empty torchaudio stands in for the real one.
        start_up: the words whose time to an end is measured, after the environment's bin folder.
    """

    name: str
    packages: tuple[str, ...]
    start_up: tuple[str, ...]
    unwanted: tuple[str, ...] = ()

    def python(self, cache: Path) -> Path:
        """Give the interpreter of its environment."""
        return cache / "venvs" / self.name / "bin" / "python"

    def install(self, cache: Path) -> None:
        """Make its environment, unless it is there."""
        python = self.python(cache)
        stamp = python.parent.parent / ".installed"
        if stamp.exists() and stamp.read_text() == " ".join(self.packages):
            return
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(python.parent.parent)], check=True)
        pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", TORCH]
        subprocess.run(pip, check=True)
        subprocess.run([*pip, *self.packages], check=True)
        if self.unwanted:
            subprocess.run([str(python), "-m", "pip", "uninstall", "-q", "-y", *self.unwanted], check=True)
            code = "import sysconfig; print(sysconfig.get_path('purelib'))"
            found = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True)
            Path(found.stdout.strip(), "torchaudio.py").touch()  # LLaMA-Factory imports it whatever it trains
        stamp.write_text(" ".join(self.packages))

    def versions(self, cache: Path) -> dict[str, str]:
        """Give the versions in its environment."""
        code = (
            "import importlib.metadata as m, json, sys\n"
            "print(json.dumps({d.metadata['Name'].lower(): d.version for d in m.distributions()}))"
        )
        done = subprocess.run([str(self.python(cache)), "-c", code], capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        return {name: found[name] for name in _VERSIONS if name in found}

    def train_words(self, job: Job, cache: Path, figures: Path) -> list[str]:
        """Give the command that trains."""
        if self.name == "xagent":
            config = write_xagent_config(job, figures)
            return [str(self.python(cache)), "-m", "xagent.cli", "train", str(config), "--work-dir", str(job.out / "work")]
        given = {"trl": trl_arguments, "llamafactory": llamafactory_arguments, "ms-swift": swift_arguments}[self.name](job)
        return [str(self.python(cache)), str(HERE / "step_clock.py"), str(figures), self.name, json.dumps(given)]

    def merge_words(self, base: Path, adapter: Path, out: Path, cache: Path) -> list[str] | None:
        """Give the command that merges an adapter, None where it has none."""
        python = str(self.python(cache))
        if self.name == "xagent":
            return [python, "-m", "xagent.cli", "convert", "merge", str(base), str(adapter), str(out)]
        if self.name == "trl":  # TRL has no command for it: PEFT's own way
            code = (
                "import sys, torch; from peft import PeftModel; from transformers import AutoModelForCausalLM, AutoTokenizer\n"
                "base, adapter, out = sys.argv[1:]\n"
                "model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter).merge_and_unload()\n"
                "model.save_pretrained(out); AutoTokenizer.from_pretrained(base).save_pretrained(out)"
            )
            return [python, "-c", code, str(base), str(adapter), str(out)]
        if self.name == "llamafactory":
            given = dict(model_name_or_path=str(base), adapter_name_or_path=str(adapter), template="chatml", export_dir=str(out))
            file = out.with_suffix(".yaml")  # JSON is YAML; its reader of .json files fails
            file.write_text(json.dumps({**given, "export_device": "cpu", "finetuning_type": "lora"}))
            return [str(Path(python).with_name("llamafactory-cli")), "export", str(file)]
        swift = [str(Path(python).with_name("swift")), "export", "--model", str(base), "--model_type", "llama"]
        return [*swift, "--template", "chatml", "--adapters", str(adapter), "--merge_lora", "true", "--output_dir", str(out)]

    def environment(self) -> dict[str, str]:
        """Give the environment of its processes: no network, no trackers; xagent's config names a hook that stands here."""
        quiet = {
            "HF_HUB_OFFLINE": "1",
            "WANDB_DISABLED": "true",
            "CUDA_VISIBLE_DEVICES": "",
            "USE_HF": "1",
            "DISABLE_VERSION_CHECK": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }
        return {**os.environ, **quiet, "PYTHONPATH": str(HERE) if self.name == "xagent" else ""}


TOOLS = {
    tool.name: tool
    for tool in (
        Tool(
            "xagent",
            ("--constraint", str(ROOT / "constraints.txt"), "--editable", str(ROOT)),
            ("python", "-m", "xagent.cli", "train", "--help"),
        ),
        Tool("trl", ("trl==1.16.0", "peft", "transformers==5.23.0"), ("trl", "sft", "--help")),
        Tool("llamafactory", ("llamafactory==0.9.5",), ("llamafactory-cli", "help"), ("torchvision", "torchaudio")),
        Tool("ms-swift", ("ms-swift==4.6.0",), ("swift", "sft", "--help")),
    )
}
LEFT_OUT = {
    "xtuner": "XTuner 0.1.23 has no release for Python 3.11, does not start with transformers 5, and exits 0 on every failure; "
    "on Python 3.10 with transformers 4.48 it runs, see docs/from-xtuner.md"
}


def _half(job: Job) -> bool:
    return job.dtype == "bf16"


def trl_arguments(job: Job) -> dict[str, Any]:
    """Write the job as ``SFTConfig`` takes it."""
    return dict(
        model=str(job.model),
        data=str(job.data),
        lora=dict(r=8, lora_alpha=16, lora_dropout=0.0, target_modules="all-linear"),
        output_dir=str(job.out),
        max_length=job.max_length,
        packing=job.packed,
        assistant_only_loss=True,
        per_device_train_batch_size=job.batch_size,
        gradient_accumulation_steps=job.accumulation,
        gradient_checkpointing=False,
        learning_rate=job.lr,
        lr_scheduler_type="constant",
        max_steps=job.steps,
        logging_steps=1,
        bf16=_half(job),
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        dataset_num_proc=2,
        dataloader_pin_memory=False,
        seed=42,
        disable_tqdm=True,
    )


def llamafactory_arguments(job: Job) -> dict[str, Any]:
    """Write the job as ``llamafactory-cli train`` takes it, with the data registered beside it."""
    described = {
        "work": {
            "file_name": str(job.data),
            "formatting": "sharegpt",
            "columns": {"messages": "messages"},
            "tags": {
                "role_tag": "role",
                "content_tag": "content",
                "user_tag": "user",
                "assistant_tag": "assistant",
                "system_tag": "system",
            },
        }
    }
    folder = job.out / "datasets"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text(json.dumps(described))
    packing = dict(packing=True, neat_packing=True) if job.packed else {}
    return dict(
        stage="sft",
        do_train=True,
        model_name_or_path=str(job.model),
        dataset="work",
        dataset_dir=str(folder),
        template="chatml",
        finetuning_type="lora",
        lora_rank=8,
        lora_alpha=16,
        lora_dropout=0.0,
        lora_target="all",
        output_dir=str(job.out / "checkpoints"),
        cutoff_len=job.max_length,
        per_device_train_batch_size=job.batch_size,
        gradient_accumulation_steps=job.accumulation,
        disable_gradient_checkpointing=True,
        learning_rate=job.lr,
        lr_scheduler_type="constant",
        max_steps=job.steps,
        logging_steps=1,
        bf16=_half(job),
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        preprocessing_num_workers=2,
        overwrite_cache=True,
        seed=42,
        disable_tqdm=True,
        **packing,
    )


def swift_arguments(job: Job) -> dict[str, Any]:
    """Write the job as ``swift sft`` takes it; it packs only with flash attention, which a CPU has not."""
    return dict(
        model=str(job.model),
        model_type="llama",
        template="chatml",
        dataset=str(job.data),
        tuner_type="lora",
        lora_rank=8,
        lora_alpha=16,
        lora_dropout=0.0,
        target_modules="all-linear",
        torch_dtype="float32",
        bf16=str(_half(job)).lower(),
        fp16="false",
        output_dir=str(job.out),
        max_length=job.max_length,
        truncation_strategy="right",
        packing=str(job.packed).lower(),
        per_device_train_batch_size=job.batch_size,
        gradient_accumulation_steps=job.accumulation,
        gradient_checkpointing="false",
        learning_rate=job.lr,
        lr_scheduler_type="constant",
        warmup_ratio=0,
        max_steps=job.steps,
        logging_steps=1,
        use_cpu="true",
        report_to="none",
        save_strategy="no",
        eval_strategy="no",
        split_dataset_ratio=0,
        dataset_num_proc=2,
        dataloader_num_workers=0,
        load_from_cache_file="false",
        seed=42,
    )


_XAGENT = """
from mmengine.config import read_base
from step_clock_hook import StepClock

from xagent.data.formats import openai_map_fn

with read_base():
    from ._base_.agent_sft import *

pretrained_model_name_or_path = {model!r}
data_path = {data!r}
prompt_template = PROMPT_TEMPLATE.qwen_chat
max_length = {max_length}
pack_to_max_length = {packed}
batch_size = {batch_size}
accumulative_counts = {accumulation}
lr = {lr}
quantization_config = None
lora["r"] = 8
lora["lora_alpha"] = 16
lora["lora_dropout"] = 0.0
model["llm"]["dtype"] = "float32"
model["autocast_dtype"] = {dtype!r}
model["use_activation_checkpointing"] = False
train_dataset["dataset_map_fn"] = openai_map_fn
param_scheduler = []
train_cfg = dict(type=TrainLoop, max_iters={iterations})
default_hooks["checkpoint"]["interval"] = None
default_hooks["checkpoint"]["save_optimizer"] = False
custom_hooks = [dict(type=StepClock, out={figures!r})]
"""


def write_xagent_config(job: Job, figures: Path) -> Path:
    """Write the job as a config."""
    job.out.mkdir(parents=True, exist_ok=True)
    link = job.out / "_base_"
    if not link.exists():
        link.symlink_to(ROOT / "configs" / "_base_")
    path = job.out / "compare_job.py"
    text = _XAGENT.format(
        model=str(job.model),
        data=str(job.data),
        max_length=job.max_length,
        packed=job.packed,
        batch_size=job.batch_size,
        accumulation=job.accumulation,
        lr=job.lr,
        dtype=job.dtype,
        iterations=job.steps * job.accumulation,
        figures=str(figures),
    )
    path.write_text(text, encoding="utf-8")
    return path
