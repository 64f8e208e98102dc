"""Configs: found, flattened, overridden, validated, written."""

from __future__ import annotations

import json
from inspect import signature
from pathlib import Path
from textwrap import dedent

import pytest

from xagent.config import (
    config_names,
    configs_dir,
    find_config,
    find_deepspeed,
    load_config,
    parse_options,
    validate_config,
    write_config,
)
from xagent.config.deepspeed import deepspeed_names
from xagent.config.plain import SIGNATURES
from xagent.errors import ConfigError, OutputError

STANDINS = """
from __future__ import annotations
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

class Model:
    def __init__(
        self,
        llm: dict,
        lora: dict | None = None,
        dtype: Literal["auto", "bf16"] = "auto",
        scale: float = 1.0,
    ): ...

class Lora:
    def __init__(self, r: int = 8, lora_alpha: float = 16, target_modules: str | list[str] | None = None): ...

class LLM:
    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, **kwargs): ...

class CausalModel(LLM): ...
class Tokenizer(LLM): ...

class Loop:
    def __init__(self, runner, dataloader, max_epochs: int | None = None, max_iters: int | None = None): ...

class Sampler:
    def __init__(self, dataset, shuffle: bool = True): ...

class Hook:
    def __init__(self, tokenizer, every_n_iters: int = 1, inputs: Sequence[str] = ()): ...

def read(path: str | Path): ...

def process(dataset, tokenizer, max_length: int | None, pack_to_max_length: bool = True): ...

def collate(instances): ...
"""

BASE = '''
"""The base."""
from mmengine.config import read_base
from torch.optim import AdamW

from standins import CausalModel, Hook, Lora, Loop, Model, Sampler, Tokenizer, collate, process, read

# PART 1  Settings
name = "owner/model"
data_path = "owner/data"
max_length = 2048  # tokens
lr = 2e-4
accumulative_counts = 16
warmup = 0.03
epochs = 3

# PART 2  Model & Tokenizer
tokenizer = dict(type=Tokenizer.from_pretrained, pretrained_model_name_or_path=name)
lora = dict(type=Lora, r=64)
model = dict(type=Model, llm=dict(type=CausalModel.from_pretrained, pretrained_model_name_or_path=name), lora=lora)

# PART 3  Dataset & Dataloader
train_dataset = dict(type=process, dataset=dict(type=read, path=data_path), tokenizer=tokenizer, max_length=max_length)
train_dataloader = dict(batch_size=1, dataset=train_dataset, sampler=dict(type=Sampler), collate_fn=dict(type=collate))

# PART 4  Scheduler & Optimizer
optim_wrapper = dict(
    optimizer=dict(type=AdamW, lr=lr), clip_grad=dict(max_norm=1), accumulative_counts=accumulative_counts
)
train_cfg = dict(type=Loop, max_epochs=epochs)
warmup_end = warmup * epochs

# PART 5  Runtime
custom_hooks = [dict(type=Hook, every_n_iters=10)]
randomness = dict(seed=None)
'''

LEAF = """
from mmengine.config import read_base

with read_base():
    from .base import *
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write a leaf over the base above, beside stand-ins for the classes; give its path."""
    (tmp_path / "standins.py").write_text(STANDINS)
    (tmp_path / "base.py").write_text(BASE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "standins", raising=False)

    def _write(leaf: str = "", name: str = "leaf.py", start: str = LEAF) -> Path:
        path = tmp_path / name
        path.write_text(start + dedent(leaf))
        return path

    return _write


def faults_of(path: Path, options: dict | None = None, **kwargs) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        validate_config(load_config(path, options), **kwargs)
    return caught.value.faults


# --- find ---------------------------------------------------------------------------------------------------------


def test_names_are_found_with_and_without_folder_and_suffix():
    full = "llama3/llama3_8b_instruct_qlora_agentflan_e3"
    assert full in config_names()
    expected = configs_dir() / f"{full}.py"
    for name in (full, f"{full}.py", full.split("/")[1], full.split("/")[1] + ".py"):
        assert find_config(name) == expected


def test_bundled_names_are_unique_without_their_folder():
    stems = [name.rpartition("/")[2] for name in config_names()]
    assert len(stems) == len(set(stems))


def test_unknown_name_shows_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'llama3_8b_instruct_qlora_agentflan_e3'"):
        find_config("llama3_8b_qlora_agentflan_e3")


def test_only_python_files_are_configs(tmp_path: Path):
    (tmp_path / "a.yaml").write_text("a: !!python/object/apply:os.getcwd []")
    with pytest.raises(ConfigError, match="not a Python file"):
        find_config(tmp_path / "a.yaml")
    with pytest.raises(ConfigError, match="is a folder"):
        find_config(tmp_path)


# --- options ------------------------------------------------------------------------------------------------------


def test_option_values_are_literals_where_they_can_be():
    pairs = ["a=1", "b=1e-4", "c=true", "d=None", "e=[1, 2]", "f={'x': 1}", "g=hello=you", "h.i=0.9,0.95", "j=./data/x"]
    assert parse_options(pairs) == {
        "a": 1,
        "b": 1e-4,
        "c": True,
        "d": None,
        "e": [1, 2],
        "f": {"x": 1},
        "g": "hello=you",
        "h.i": (0.9, 0.95),
        "j": "./data/x",
    }


@pytest.mark.parametrize("pair", ["novalue", "=1", "a..b=1"])
def test_malformed_options_are_refused(pair: str):
    with pytest.raises(ConfigError, match="expected KEY=VALUE"):
        parse_options([pair])


# --- inheritance --------------------------------------------------------------------------------------------------


def test_a_leafs_setting_takes_effect_wherever_the_base_uses_it(write):
    config = load_config(write("max_length = 4096\nname = 'a/b'\nepochs = 1\n"))
    assert config.train_dataset.max_length == config.train_dataloader.dataset.max_length == 4096
    assert config.model.llm.pretrained_model_name_or_path == config.tokenizer.pretrained_model_name_or_path == "a/b"
    assert (config.train_cfg.max_epochs, config.warmup_end) == (1, 0.03)


def test_an_options_setting_takes_effect_everywhere_and_beats_the_leaf(write):
    config = load_config(write("max_length = 4096\n"), {"max_length": 512, "lr": 1e-3})
    assert config.train_dataloader.dataset.max_length == 512
    assert config.optim_wrapper.optimizer.lr == 1e-3
    assert "max_length = 512  # tokens" in config.text


def test_a_setting_computed_from_later_ones_comes_after_them(write):
    leaf = write("from torch.optim import SGD\nhalf = epochs / 2\nwarmup = half * 0.1\nlr = lr * 2\n")
    config = load_config(leaf)
    assert config.optim_wrapper.optimizer.lr == 4e-4
    assert config.warmup_end == pytest.approx(0.45)


def test_a_setting_that_could_not_take_effect_is_refused(write):
    with pytest.raises(ConfigError, match=r"leaf.py:7.*'max_length' is set after other statements.*base.py:\d+.*leaf.py:6"):
        load_config(write("model['lora'] = None\nmax_length = 1\n"))
    with pytest.raises(ConfigError, match="'name' is computed from settings that the base sets later"):
        load_config(write("name = tokenizer['type']\n"))


def test_the_leafs_other_statements_run_last(write):
    config = load_config(write("lr = 1e-5\nmodel['lora'] = None\ncustom_hooks.append(dict(type=Hook, every_n_iters=2))\n"))
    assert config.model.lora is None
    assert [hook.every_n_iters for hook in config.custom_hooks] == [10, 2]


def test_multi_line_and_parenthesised_settings_are_kept_whole(write):
    config = load_config(write('name = (\n    "one/"  # first\n    "two"\n)\nepochs = 5; lr = 1.0\n'))
    assert (config.tokenizer.pretrained_model_name_or_path, config.train_cfg.max_epochs, config.lr) == ("one/two", 5, 1.0)


def test_a_leaf_of_a_leaf(write):
    write("max_length = 100\nlora = None\n", name="middle.py")
    config = load_config(write("lr = 7.0\n", start=LEAF.replace(".base", ".middle")))
    assert (config.train_dataset.max_length, config.model.lora, config.optim_wrapper.optimizer.lr) == (100, None, 7.0)


def test_a_second_base_is_laid_over_the_first_and_the_leaf_over_both(write):
    write(
        "from standins import Hook\nmax_length = 100\nlr = 1.0\nrows = 5\nlora = None\n"
        "model['scale'] = 3.0\ncustom_hooks = [dict(type=Hook, every_n_iters=rows)]\n",
        name="over.py",
        start="",
    )
    start = LEAF + "    from .over import *\n"
    config = load_config(write("lr = 7.0\nrows = 9\ntrain_dataset['pack_to_max_length'] = False\n", start=start))
    assert (config.train_dataset.max_length, config.model.lora, config.model.scale) == (100, None, 3.0)
    assert (config.optim_wrapper.optimizer.lr, config.custom_hooks[0].every_n_iters) == (7.0, 9)
    assert config.train_dataloader.dataset.pack_to_max_length is False
    assert config.tokenizer.pretrained_model_name_or_path == "owner/model"


def test_a_fault_in_the_second_base_names_it(write, tmp_path: Path):
    write("lr = 1.0\nmodel['lorra']['r'] = 1\n", name="over.py", start="")
    with pytest.raises(ConfigError, match=r"over.py:2: KeyError: 'lorra'"):
        load_config(write(start=LEAF + "    from .over import *\n"))


def test_types_are_real_classes_and_the_name_is_the_users_file(write):
    from torch.optim import AdamW

    path = write()
    config = load_config(path)
    assert config.optim_wrapper.optimizer.type is AdamW
    assert config.filename == str(path)


@pytest.mark.parametrize(
    ("leaf", "expected"),
    [
        ("lr = = 1\n", r"leaf.py:6.*SyntaxError"),
        ("lr = max_lenght * 2\n", r"leaf.py:6.*'max_lenght' is not defined.*did you mean 'max_length'"),
        ("model['lorra']['r'] = 1\n", r"leaf.py:6.*KeyError: 'lorra'\n    model\['lorra'\]\['r'\] = 1"),
        ("lora = Lora(r=8)\n", r"leaf.py:6.*dict\(type=NAME"),
        ("with open('x'):\n    pass\n", r"leaf.py:6.*only `with read_base\(\):`"),
    ],
)
def test_faults_in_the_source_name_file_and_line(write, leaf: str, expected: str):
    with pytest.raises(ConfigError, match=f"(?s){expected}"):
        load_config(write(leaf))


def test_a_fault_in_the_base_names_the_base(write, tmp_path: Path):
    (tmp_path / "base.py").write_text("a = 1\nb = c\n")
    with pytest.raises(ConfigError, match=r"base.py:2: NameError: 'c'"):
        load_config(write("a = 2\n"))


def test_a_missing_base_and_a_circle_are_named(write, tmp_path: Path):
    with pytest.raises(ConfigError, match="base config .*gone.py is not there"):
        load_config(write(start=LEAF.replace(".base", ".gone")))
    (tmp_path / "base.py").write_text(LEAF.replace(".base", ".leaf"))
    with pytest.raises(ConfigError, match="inherits from itself"):
        load_config(write())


# --- dotted options -----------------------------------------------------------------------------------------------


def test_dotted_options_reach_dicts_lists_and_arguments_not_written_yet(write):
    options = {"optim_wrapper.optimizer.lr": 1.0, "custom_hooks.0.every_n_iters": 3, "model.scale": 2.0}
    config = load_config(write(), options)
    assert config.optim_wrapper.optimizer.lr == 1.0
    assert config.custom_hooks[0].every_n_iters == 3
    assert config.model.scale == 2.0


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("optim_wrapper.optimiser.lr", r"no key 'optimiser' in optim_wrapper \(did you mean 'optimizer'"),
        ("custom_hooks.1.every_n_iters", "custom_hooks is a list of 1, 1 is no index"),
        ("lr.x", "lr is 0.0002, it has no key 'x'"),
        ("model.skale", r"no key 'skale' in model \(did you mean 'scale'"),
        ("max_lenght", r"no 'max_lenght' \(did you mean 'max_length'"),
    ],
)
def test_options_for_keys_that_are_not_there_are_refused(write, key: str, expected: str):
    with pytest.raises(ConfigError, match=expected):
        load_config(write(), {key: 1})


def test_all_wrong_options_are_named_at_once(write):
    path = write()
    with pytest.raises(ConfigError) as caught:
        load_config(path, {"max_lenght": 1, "lr": 1.0, "model.skale": 2, "epoch": 3, "model.scale": 4})
    assert [fault.partition(":")[0] for fault in caught.value.faults] == [
        "--cfg-options max_lenght",
        "--cfg-options epoch",
        "--cfg-options model.skale",
    ]
    assert caught.value.source == str(path)


# --- validation ---------------------------------------------------------------------------------------------------


def test_a_right_config_has_no_faults(write):
    validate_config(load_config(write()))


def test_all_faults_are_reported_at_once(write):
    leaf = """
    model['llm']['pretrained_model_name_or_pth'] = model['llm'].pop('pretrained_model_name_or_path')
    model['dtype'] = 'bf61'
    model['lora']['rank'] = 8
    model['lora']['r'] = True
    optim_wrapper['accumulative_counts'] = 0
    train_dataloader['num_worker'] = 2
    train_dataset.pop('tokenizer')
    custom_hook = []
    train_config = train_cfg
    del train_cfg
    """
    faults = faults_of(write(leaf))
    expected = [
        "missing key 'train_cfg' (is 'train_config' meant to be it?)",
        "model.llm.pretrained_model_name_or_pth: CausalModel.from_pretrained has no argument 'pretrained_model_name_or_pth' "
        "(did you mean 'pretrained_model_name_or_path'?)",
        "model.llm: missing 'pretrained_model_name_or_path', which CausalModel.from_pretrained needs",
        "model.dtype: expected 'auto' or 'bf16', got str 'bf61' (did you mean 'bf16'?)",
        "model.lora.rank: Lora has no argument 'rank'",
        "model.lora.r: expected int, got bool True",
        "optim_wrapper.accumulative_counts = 0: expected at least 1",
        "train_dataloader.num_worker: a dataloader has no 'num_worker' (did you mean 'num_workers'?)",
        "train_dataloader.dataset: missing 'tokenizer', which process needs",
        "unknown key 'custom_hook', which nothing uses (did you mean 'custom_hooks'?)",
    ]
    assert sorted(faults) == sorted(expected)


def test_a_misspelled_setting_of_a_leaf_is_caught(write):
    faults = faults_of(write("max_lenght = 4096\nlr2 = 1\n"))
    assert faults == ["unknown key 'max_lenght', which nothing uses (did you mean 'max_length'?)"]


def test_a_fault_that_several_parts_share_is_reported_once(write):
    faults = faults_of(write("tokenizer['subfoldr'] = 'x'\ncustom_hooks[0]['tokenizer'] = tokenizer\n"))
    assert faults == ["tokenizer.subfoldr: Tokenizer.from_pretrained has no argument 'subfoldr' (did you mean 'subfolder'?)"]


def test_a_misspelled_from_pretrained_word_is_caught(write):
    faults = faults_of(write("model['llm']['quantisation_config'] = None\n"))
    assert faults == [
        "model.llm.quantisation_config: CausalModel.from_pretrained has no argument 'quantisation_config' "
        "(did you mean 'quantization_config'?)"
    ]


def test_an_import_that_fails_names_its_line(write):
    faults = faults_of(write("from standins import Modell\nmodel['type'] = Modell\n"))
    assert len(faults) == 1
    assert "model.type" in faults[0] and "Modell" in faults[0] and "leaf.py:6" in faults[0]


@pytest.mark.parametrize(
    ("leaf", "expected"),
    [
        (
            "max_length = None\ntrain_dataset['pack_to_max_length'] = True\n",
            "train_dataloader.dataset: pack_to_max_length needs a max_length",
        ),
        ("train_cfg = dict(type=Loop, max_epochs=1, max_iters=1)\n", "give max_epochs or max_iters, got both"),
        ("train_cfg = dict(type=Loop)\n", "give max_epochs or max_iters, got neither"),
        ("data_path = 5\n", "train_dataloader.dataset.dataset.path: expected str or Path, got int 5"),
        ("lr = -1.0\n", "optim_wrapper.optimizer.lr = -1.0: expected more than 0"),
        ("accumulative_counts = 1.5\n", "optim_wrapper.accumulative_counts: expected a whole number, got 1.5"),
        ("lr = 'high'\n", "optim_wrapper.optimizer.lr: expected float or Tensor, got str 'high'"),
        ("lora = None\nmodel['llm']['load_in_4bit'] = True\n", "a quantised base can't be trained in full"),
        ("model['llm'].update(load_in_4bit=True, load_in_8bit=True)\n", "both on; choose one"),
        ("param_scheduler = [dict(type='LinearLR', begin=3, end=1)]\n", "begin = 3 is after end = 1"),
        ("param_scheduler = [dict(type='LinearLR', end='soon')]\n", "param_scheduler.0.end: expected a number, got 'soon'"),
        ("custom_hooks[0]['inputs'] = 5\n", "custom_hooks.0.inputs: expected Sequence, got int 5"),
        (
            "model['llm']['quantization_config'] = dict(load_in_4bit=True, bnb_4bit_quant_type='nf5')\n",
            "model.llm.quantization_config.bnb_4bit_quant_type: expected one of nf4, fp4, got 'nf5'",
        ),
        (
            "model['llm']['dtype'] = 'bfloat61'\n",
            "model.llm.dtype: expected one of auto, bfloat16, float16, float32, float64, got 'bfloat61' (did you mean 'bf",
        ),
        ("val_dataloader = dict(train_dataloader)\n", "val_dataloader: nothing validates with it; add val_cfg"),
        ("val_cfg = dict(type=Loop)\n", "val_cfg: there is no val_dataloader"),
        ("model['type'] = 'no.such.Thing'\n", "model.type: 'no.such.Thing' names no class"),
        ("del model['type']\n", "model: missing 'type'"),
        ("custom_hooks.append(dict(every_n_iters=1))\n", "custom_hooks.1: missing 'type'"),
        ("custom_hooks = 5\n", "custom_hooks: expected list or None, got int 5"),
        ("train_cfg = None\n", "train_cfg: expected dict, got NoneType None"),
        ("del optim_wrapper['optimizer']\n", "optim_wrapper: missing 'optimizer'"),
        (
            "optim_wrapper['accumulative_count'] = 4\n",
            "optim_wrapper.accumulative_count: optim_wrapper has no argument 'accumulative_count'",
        ),
        ("optim_wrapper['clip_grad'] = 1\n", "optim_wrapper.clip_grad: expected dict or None, got int 1"),
        ("optim_wrapper['clip_grad'] = dict(max_nrm=1)\n", "clip_grad has no argument 'max_nrm' (did you mean 'max_norm'?)"),
        (
            "optim_wrapper['clip_grad'] = dict(type='norm', max_nrm=1)\n",
            "clip_grad has no argument 'max_nrm' (did you mean 'max_norm'?)",
        ),
        ("randomness = dict(sead=1)\n", "randomness.sead: randomness has no argument 'sead' (did you mean 'seed'?)"),
        ("randomness = dict(seed='x')\n", "randomness.seed: expected int or None, got str 'x'"),
        ("randomness = 5\n", "randomness: expected dict or None, got int 5"),
        ("env_cfg = dict(cudnn_benchmarks=True)\n", "(did you mean 'cudnn_benchmark'?)"),
        ("log_processor = dict(by_epochs=False)\n", "(did you mean 'by_epoch'?)"),
        ("log_level = 'INFOS'\n", "got str 'INFOS' (did you mean 'INFO'?)"),
        ("resume = 3\n", "resume: expected bool or str or None, got int 3"),
        ("load_from = 3\n", "load_from: expected str or None, got int 3"),
    ],
)
def test_impossible_values_and_combinations(write, leaf: str, expected: str):
    assert any(expected in fault for fault in faults_of(write(leaf)))


@pytest.mark.parametrize(
    ("leaf", "expected"),
    [
        ("visualizer = 5\n", "visualizer: expected dict or None, got int 5"),
        ("visualizer = dict(vis_backends=[])\n", "visualizer: missing 'type', the class that it describes"),
        ("default_hooks = []\n", "default_hooks: expected dict or None, got list []"),
        ("default_hooks = dict(logger=5)\n", "default_hooks.logger: expected dict or None, got int 5"),
        ("custom_hooks.append('x')\n", "custom_hooks.1: expected dict, got str 'x'"),
        ("log_processor = 'x'\n", "log_processor: expected dict or None, got str 'x'"),
        ("log_processor = dict(window_size='x')\n", "log_processor.window_size: expected int, got str 'x'"),
        ("param_scheduler = 5\n", "param_scheduler: expected dict or list or None, got int 5"),
        ("param_scheduler = [dict(type='mmengine.optim.LinearLR'), 5]\n", "param_scheduler.1: expected dict, got int 5"),
        ("param_scheduler = dict(begin=0)\n", "param_scheduler: missing 'type', the class that it describes"),
        ("env_cfg = 5\n", "env_cfg: expected dict or None, got int 5"),
        (
            "env_cfg = dict(mp_cfg=dict(mp_start_method='spwn'))\n",
            "env_cfg.mp_cfg.mp_start_method: expected 'fork' or 'spawn' or 'forkserver', got str 'spwn' (did you mean 'spawn'?)",
        ),
        ("work_dir = 5\n", "work_dir: expected str or Path or None, got int 5"),
        ("experiment_name = 5\n", "experiment_name: expected str or None, got int 5"),
        ("launcher = 'none of these'\n", "launcher: expected 'none' or 'pytorch' or 'slurm' or None, got str 'none of these'"),
        ("deepspeed = dict(stage=2)\n", "deepspeed: expected str or None, got dict {'stage': 2}"),
        ("train_dataloader = 5\n", "train_dataloader: expected dict, got int 5"),
        ("train_dataloader['pin_memory'] = 'yes'\n", "train_dataloader.pin_memory: expected bool, got str 'yes'"),
        ("train_dataloader['sampler'] = dict(shuffle=True)\n", "train_dataloader.sampler: missing 'type', the class that it d"),
        (
            "optim_wrapper['optimizer']['betas'] = [0.9, 'x']\n",
            "optim_wrapper.optimizer.betas.1: expected float or Tensor, got str 'x'",
        ),
        (
            "optim_wrapper['optimizer']['betas'] = (0.9,)\n",
            "optim_wrapper.optimizer.betas: expected tuple of 2, got tuple (0.9,)",
        ),
        ("custom_hooks[0]['inputs'] = ['x', 5]\n", "custom_hooks.0.inputs.1: expected str, got int 5"),
        (
            "tokenizer['padding_side'] = 'rigth'\n",
            "tokenizer.padding_side: expected 'left' or 'right', got str 'rigth' (did you m",
        ),
        ("strategy = dict(type='DDPStrategy')\n", "strategy: xagent does not read it: it follows from --deepspeed"),
        (
            "auto_scale_lr = dict(enable=True, base_batch_size=16)\n",
            "auto_scale_lr: xagent does not read it: set the learning rat",
        ),
    ],
)
def test_values_of_a_wrong_type(write, leaf: str, expected: str):
    (fault,) = faults_of(write(leaf))
    assert fault.startswith(expected)


PEFTS = "from peft import LoraConfig\nfrom transformers import BitsAndBytesConfig\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("task_type='FOO'", "model.lora.task_type: expected 'SEQ_CLS' or 'SEQ_2_SEQ_LM' or 'CAUSAL_LM' or"),
        ("task_type='CAUSAL_ML'", "got str 'CAUSAL_ML' (did you mean 'CAUSAL_LM'?)"),
        ("bias='lora'", "model.lora.bias: expected 'none' or 'all' or 'lora_only', got str 'lora' (did you mean 'lora_only'?)"),
        ("init_lora_weights='pisa'", "got str 'pisa' (did you mean 'pissa'"),
        ("layers_to_transform=[1, '2']", "model.lora.layers_to_transform.1: expected int, got str '2'"),
        ("eva_config=3", "model.lora.eva_config: expected dict(type=EvaConfig) or None, got int 3"),
        (
            "layers_pattern='layers'",
            "model.lora: LoraConfig refuses this: When `layers_pattern` is specified, `layers_to_transform`",
        ),
    ],
)
def test_what_peft_refuses_is_a_fault_of_the_config(write, arguments: str, expected: str):
    (fault,) = faults_of(write(f"{PEFTS}lora = dict(type=LoraConfig, {arguments})\n"))
    assert expected in fault


def test_what_transformers_refuses_is_a_fault_of_the_config(write):
    write("")
    settings = "model['llm']['quantization_config'] = dict(type=BitsAndBytesConfig, load_in_4bit='yes')\n"
    assert faults_of(write(PEFTS + settings)) == [
        "model.llm.quantization_config: BitsAndBytesConfig refuses this: load_in_4bit must be a boolean"
    ]


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("autocast_dtype", "bf61", "'auto' or 'bf16' or 'fp16' or 'fp32', got str 'bf61' (did you mean 'bf16'?)"),
        (
            "use_activation_checkpointing",
            "ful",
            "bool or 'auto' or 'none' or 'selective' or 'full', got str 'ful' (did you mean 'full'?)",
        ),
        ("attention_kernel", "varlan", "'auto' or 'sdpa' or 'varlen', got str 'varlan' (did you mean 'varlen'?)"),
        ("use_liger_kernel", "yes", "bool or 'auto', got str 'yes'"),
        ("loss_chunk_size", "all", "int or 'auto' or None, got str 'all'"),
        ("loss_normalization", "token", "'weights' or 'tokens', got str 'token' (did you mean 'tokens'?)"),
    ],
)
def test_the_models_choices(write, key: str, value: str, expected: str):
    leaf = f"from xagent.model import SupervisedFinetune\nmodel['type'] = SupervisedFinetune\nmodel[{key!r}] = {value!r}\n"
    assert faults_of(write(leaf)) == [f"model.{key}: expected {expected}"]


def test_a_tokenizer_may_be_a_path(write):
    validate_config(load_config(write("tokenizer = 'some/tokenizer'\n")))


def test_values_that_fit_are_let_through(write):
    leaf = """
    lora = dict(type=LoraConfig, task_type='CAUSAL_LM', init_lora_weights='pissa_niter_16', target_modules=['q_proj'], r=4)
    visualizer = dict(type=Visualizer, vis_backends=[dict(type=TensorboardVisBackend)])
    model['llm']['quantization_config'] = dict(type=BitsAndBytesConfig, load_in_4bit=True, bnb_4bit_compute_dtype='bfloat16')
    optim_wrapper['optimizer'].update(betas=[0.9, 1], weight_decay=0, fused=None)
    param_scheduler = dict(type=LinearLR, start_factor=1e-5, begin=0, end=0.5, by_epoch=True, convert_to_iter_based=True)
    custom_hooks = [dict(type=Hook, inputs=('a', 'b'), priority='LOW')]
    auto_scale_lr = dict(enable=False)
    val_evaluator = None
    log_level = 20
    work_dir = None
    optim_wrapper['clip_grad'] = dict(type='norm', max_norm=1)
    tokenizer['trust_remote_code'] = None
    """
    imports = "from mmengine.optim import LinearLR\nfrom mmengine.visualization import TensorboardVisBackend, Visualizer\n"
    validate_config(load_config(write(PEFTS + imports + dedent(leaf))))


def test_a_dataclass_that_is_given_more_when_it_is_built_is_left_for_the_run(write):
    """The sampler gets the data set, the hook's priority is mmengine's, and what `parts` describes is built before."""
    path = write(
        """
        from moreins import EveryHook, EverySampler, Settings
        custom_hooks = [dict(type=EveryHook, every=2, priority='LOW')]
        train_dataloader['sampler'] = dict(type=EverySampler, step=2)
        model['lora'] = dict(type=Settings, parts=[dict(type=Settings)])
        """
    )
    (path.parent / "moreins.py").write_text(MOREINS)
    validate_config(load_config(path))
    path.write_text(path.read_text().replace("parts=[dict(type=Settings)]", "parts=[1]"))
    assert faults_of(path) == ["model.lora: Settings refuses this: a part is no Settings"]


MOREINS = """
from dataclasses import dataclass
from typing import Any

@dataclass
class EveryHook:
    every: int = 1

@dataclass
class EverySampler:
    dataset: Any
    step: int = 1

@dataclass
class Settings:
    parts: Any = ()

    def __post_init__(self):
        if not all(isinstance(part, Settings) for part in self.parts):
            raise ValueError("a part is no Settings")
"""


def test_log_levels_are_those_of_logging(write):
    for level in ("WARN", "FATAL", "NOTSET", "DEBUG", 0, None):
        validate_config(load_config(write(f"log_level = {level!r}\n")))


def test_the_plain_dicts_are_read_as_mmengine_reads_them():
    from mmengine._strategy.base import BaseStrategy
    from mmengine.runner import LogProcessor
    from mmengine.utils.dl_utils import set_multi_processing

    theirs = {
        "env_cfg.mp_cfg": set(signature(set_multi_processing).parameters) - {"distributed"},
        "randomness": set(signature(BaseStrategy._set_randomness).parameters) - {"self"},
        "env_cfg": set(signature(BaseStrategy._setup_env).parameters) - {"self", "launcher", "randomness"},
        "log_processor": set(signature(LogProcessor).parameters),
    }
    assert {key: set(signature(SIGNATURES[key]).parameters) for key in theirs} == theirs


# --- paths --------------------------------------------------------------------------------------------------------


def test_missing_model_weights_and_tokenizer_are_named(write, tmp_path: Path):
    folder = tmp_path / "model"
    path = write(f"name = {str(folder)!r}\n")
    assert [fault for fault in faults_of(path) if "no model directory" in fault]
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    faults = faults_of(path)
    assert len(faults) == 2
    assert any(fault.startswith("model.llm.") and "has no weights" in fault for fault in faults)
    assert any(fault.startswith("tokenizer.") and "has no tokenizer" in fault for fault in faults)
    (folder / "model.safetensors").touch()
    (folder / "tokenizer.json").touch()
    validate_config(load_config(path))


def test_paths_can_be_checked_in_one_part_only(write, tmp_path: Path):
    faults = faults_of(write(f"name = {str(tmp_path / 'gone')!r}\n"), check_paths=["train_dataloader"])
    assert faults == [
        "train_dataloader.dataset.tokenizer.pretrained_model_name_or_path: no model directory " + repr(str(tmp_path / "gone"))
    ]


def test_missing_data_is_named_and_hub_ids_are_let_through(write, tmp_path: Path):
    validate_config(load_config(write("data_path = 'internlm/Agent-FLAN'\n")))
    faults = faults_of(write("data_path = './data/gone.jsonl'\n"))
    assert faults == [
        f"train_dataloader.dataset.dataset.path: no such file or folder: './data/gone.jsonl' (seen from {Path.cwd()})"
    ]
    validate_config(load_config(write("data_path = './data/gone.jsonl'\n")), check_paths=False)


def test_a_missing_checkpoint_to_start_from_is_named(write, tmp_path: Path):
    gone = tmp_path / "iter_5.pth"
    path = write(f"load_from = {str(gone)!r}\n")
    assert faults_of(path) == [f"load_from: no such checkpoint: {str(gone)!r} (seen from {Path.cwd()})"]
    validate_config(load_config(path), check_paths=["train_dataloader"])
    gone.touch()
    validate_config(load_config(path))


def test_missing_assets_are_named(write):
    assert any("xagent:gone" in fault for fault in faults_of(write("name = 'xagent:gone'\n")))


# --- deepspeed ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["zero2", "deepspeed_zero2", "zero2.json", "deepspeed-zero2"])
def test_deepspeed_names(name: str):
    assert find_deepspeed(name) == configs_dir() / "deepspeed" / "deepspeed_zero2.json"


def test_unknown_deepspeed_name_shows_the_names():
    with pytest.raises(ConfigError, match="zero1, zero2, zero2_offload, zero3, zero3_offload.*did you mean 'zero2_offload'"):
        find_deepspeed("zero2_ofload")


@pytest.mark.parametrize("name", ["zero1", "zero2", "zero2_offload", "zero3", "zero3_offload"])
def test_bundled_deepspeed_configs_leave_the_numbers_to_the_config(write, name: str):
    assert name in deepspeed_names()
    validate_config(load_config(write(f"deepspeed = {str(find_deepspeed(name))!r}\n")))
    settings = json.loads(find_deepspeed(name).read_text())
    assert settings["zero_allow_untested_optimizer"] is True
    assert not {"gradient_accumulation_steps", "gradient_clipping", "train_batch_size", "optimizer"} & set(settings)


def test_deepspeed_contradictions_name_both_values(write, tmp_path: Path):
    json_file = tmp_path / "ds.json"
    settings = {
        "train_micro_batch_size_per_gpu": 4,
        "gradient_accumulation_steps": 8,
        "gradient_clipping": 0.5,
        "train_batch_size": 64,
        "fp16": {"enabled": True},
        "bf16": {"enabled": True},
        "optimizer": {"type": "AdamW"},
    }
    json_file.write_text(json.dumps(settings))
    faults = "\n".join(faults_of(write(f"deepspeed = {str(json_file)!r}\n"), world_size=2))
    assert "train_micro_batch_size_per_gpu = 4, the config says train_dataloader.batch_size = 1" in faults
    assert "gradient_accumulation_steps = 8, the config says optim_wrapper.accumulative_counts = 16" in faults
    assert "gradient_clipping = 0.5, the config says optim_wrapper.clip_grad.max_norm = 1" in faults
    assert "train_batch_size = 64, the config says" in faults and "= 32" in faults
    assert "both fp16 and bf16" in faults
    assert "its own optimizer" in faults


def test_deepspeed_auto_and_equal_values_are_fine(write, tmp_path: Path):
    json_file = tmp_path / "ds.json"
    json_file.write_text(json.dumps({"gradient_accumulation_steps": "auto", "gradient_clipping": 1.0, "train_batch_size": 16}))
    validate_config(load_config(write(f"deepspeed = {str(json_file)!r}\n")), world_size=1)
    json_file.write_text("{")
    assert "can't read" in faults_of(write(f"deepspeed = {str(json_file)!r}\n"))[0]


# --- writing ------------------------------------------------------------------------------------------------------


def test_a_written_config_loads_to_the_same_config(write, tmp_path: Path):
    config = load_config(write("max_length = 4096\nmodel['lora'] = None\n"), {"lr": 0.5, "custom_hooks.0.every_n_iters": 3})
    config.work_dir = "out"
    config.randomness = {"seed": 7}
    target = write_config(config, tmp_path / "out" / "effective.py")
    again = load_config(target)
    assert again.to_dict() == config.to_dict()
    assert again.randomness.seed == 7
    assert "# PART 3  Dataset & Dataloader" in target.read_text()
    second = write_config(again, tmp_path / "out" / "second.py").read_text()
    assert second.splitlines()[3:] == target.read_text().splitlines()[3:]
    assert second.count("Effective config") == 1


def test_writing_where_it_can_not_be_written(write, tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="can't write"):
        write_config(load_config(write()), tmp_path / "file" / "config.py")


# --- the bundled ones ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", config_names())
def test_every_bundled_config_stands_on_bases_without_bases(name: str):
    block = find_config(name).read_text().partition("with read_base():\n")[2].partition("\n\n")[0].splitlines()
    named = [line.removeprefix("    from .._base_.").removesuffix(" import *") for line in block]
    bases = [configs_dir() / "_base_" / f"{base}.py" for base in named]
    assert bases and all(base.is_file() for base in bases)
    assert not any("\nfrom mmengine.config import read_base" in base.read_text() for base in bases)


@pytest.mark.parametrize("name", config_names())
def test_every_bundled_config_loads_and_validates(name: str, tmp_path: Path):
    config = load_config(name)
    validate_config(config, check_paths=False)
    again = load_config(write_config(config, tmp_path / "effective.py"))
    assert again.to_dict() == config.to_dict()


def test_the_llama3_recipe_number_for_number():
    config = load_config("llama3_8b_instruct_qlora_agentflan_e3")
    llm, optimizer = config.model.llm, config.optim_wrapper.optimizer
    assert llm.pretrained_model_name_or_path == "meta-llama/Meta-Llama-3-8B-Instruct"
    assert (llm.quantization_config.load_in_4bit, llm.quantization_config.bnb_4bit_quant_type) == (True, "nf4")
    assert llm.quantization_config.bnb_4bit_use_double_quant is True
    lora = config.model.lora
    assert (lora.r, lora.lora_alpha, lora.lora_dropout, lora.bias) == (64, 16, 0.1, "none")
    dataset = config.train_dataloader.dataset
    assert (dataset.max_length, dataset.pack_to_max_length, dataset.shuffle_before_pack) == (4096, True, True)
    assert (config.train_dataloader.batch_size, config.optim_wrapper.accumulative_counts) == (1, 16)
    assert (optimizer.lr, optimizer.betas, optimizer.weight_decay) == (2e-4, (0.9, 0.999), 0)
    assert (config.optim_wrapper.clip_grad.max_norm, config.train_cfg.max_epochs) == (1, 3)
    warm_up, cosine = config.param_scheduler
    assert (warm_up.start_factor, warm_up.end, cosine.begin, cosine.end, cosine.eta_min) == (1e-5, 0.09, 0.09, 3, 0.0)
    checkpoint = config.default_hooks["checkpoint"]
    assert (checkpoint["interval"], checkpoint["max_keep_ckpts"], config.custom_hooks[1]["every_n_iters"]) == (500, 2, 500)


def test_the_sisters_differ_only_where_they_say():
    lora = load_config("llama3_8b_instruct_lora_agentflan_e3")
    assert lora.model.llm.quantization_config is None and lora.model.lora.r == 64
    full = load_config("llama3_8b_instruct_full_agentflan_e3")
    assert full.model.lora is None and full.model.llm.quantization_config is None
    qwen = load_config("qwen2_5_7b_instruct_qlora_agentflan_e3")
    assert qwen.train_dataloader.dataset.template_map_fn.template.name == "qwen_chat"
    internlm = load_config("internlm2_5_7b_chat_qlora_agentflan_e3")
    assert internlm.train_dataloader.dataset.tokenizer.trust_remote_code is True
