"""The whole story on the embedded model: raw agent data -> QLoRA -> adapter -> merged model -> before and after."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from xagent.agent.lagent_llm import load_agent_llm
from xagent.assets import resolve
from xagent.config import load_config, validate_config
from xagent.convert.agent_flan import convert_agent_flan
from xagent.convert.merge import merge
from xagent.convert.pth_to_hf import pth_to_hf
from xagent.engine.runner import train
from xagent.errors import ConfigError
from xagent.evaluation.episodes import evaluate_side_by_side
from xagent.evaluation.report import console_table, write_report
from xagent.inference.prompting import AgentSettings
from xagent.model.checkpoint import find_checkpoints
from xagent.model.loading import choose_autocast, local_device
from xagent.playground.generate import generate_episodes
from xagent.playground.records import write_raw_agent_flan

CONFIG = "nano_qlora_agent"
BASE = "xagent:nano/base"
CONVERSATIONS, CONVERSATIONS_IN_16_BITS = 500, 900
"""How many are trained on. The first end within six minutes on two cores. Where a training multiplies in 16 bits, which is
several times as fast, 1,500 would too; but what more than the second teach, they teach of the tools that training knows."""

MOST_QUESTIONS = 2
"""Each asks one question or two."""

INVENTED_SHARE, DISGUISED_SHARE = 0.3, 0.8
"""How many of them are about invented tools, and how many of the others tell of the playground's tools in other words."""

EPISODES = 100
"""Held-out episodes of each kind: tools that training knows, with questions that no training text asks, and tools that it
never saw."""

MAX_NEW_TOKENS, MAX_TURN = 224, 4
"""Enough for every reference (the longest of 1,200 has 221 tokens), and one mistake; a model that never ends its replies costs no
more than this."""

BATCH_SIZE = 64
"""Episodes of each model that run side by side."""

TRAINING_SEED, EVALUATION_SEED = 20_000, 90_001


def run_demo(work_dir: Path = Path("work_dirs/demo"), conversations: int | None = None, episodes: int = EPISODES) -> None:
    """Run every stage for real, print each, and write ``report.json``, ``report.md`` and the loss curve into ``work_dir``.

    Args:
        work_dir: where everything goes; earlier contents of the same names are replaced.
        conversations: how many conversations are generated to train on; None: one of :data:`CONVERSATIONS` and
            :data:`CONVERSATIONS_IN_16_BITS`, as this machine trains.
        episodes: how many held-out episodes with known tools, and as many with unseen ones.

    Raises:
        XAgentError: the embedded model is missing, the work dir can't be used, or there is nothing to train on.
    """
    base = resolve(BASE)
    if conversations is None:
        in_16_bits = choose_autocast("auto", local_device()) is not None
        conversations = CONVERSATIONS_IN_16_BITS if in_16_bits else CONVERSATIONS
    if conversations < 1:
        left_out = f"{CONVERSATIONS}, or {CONVERSATIONS_IN_16_BITS} where training multiplies in 16 bits"
        raise ConfigError(f"conversations={conversations}: expected 1 or more; left out, it is {left_out}")
    seconds: dict[str, float] = {}
    raw, converted, run = work_dir / "data", work_dir / "data_converted", work_dir / "train"
    adapter, merged = work_dir / "adapter", work_dir / "merged"
    with _stage("generate", f"{conversations:,} raw conversations in Agent-FLAN's form", seconds):
        write_raw_agent_flan(raw, conversations, TRAINING_SEED, INVENTED_SHARE, MOST_QUESTIONS, DISGUISED_SHARE)
    with _stage("convert", "xagent convert agent_flan", seconds):
        convert_agent_flan(raw, converted, overwrite=True)
    with _stage("train", f"xagent train {CONFIG}", seconds):
        _clear(run)
        cfg = load_config(CONFIG, {"data_path": str(converted)})
        cfg.work_dir = str(run)
        validate_config(cfg)
        train(cfg)
    checkpoint = find_checkpoints(run)[0]
    with _stage("pth_to_hf", "xagent convert pth_to_hf", seconds):
        pth_to_hf(str(run / "config.py"), checkpoint, adapter, overwrite=True)
    with _stage("merge", "xagent convert merge", seconds):
        _clear(merged)
        merge(BASE, adapter, merged, onto="nf4")
    tasks = list(chain(generate_episodes(episodes, EVALUATION_SEED), generate_episodes(episodes, EVALUATION_SEED, unseen=True)))
    with _stage("evaluate", f"base and tuned, {len(tasks)} episodes in Lagent's ReAct loop, tools really run", seconds):
        settings = AgentSettings("llama3_chat", "react")
        llms = {
            name: load_agent_llm(path, defaults=settings, dtype="fp32", max_batch_size=BATCH_SIZE)
            for name, path in (("base", base), ("tuned", merged))
        }
        results = evaluate_side_by_side(llms, tasks, max_new_tokens=MAX_NEW_TOKENS, max_turn=MAX_TURN)
    write_report(
        work_dir,
        results["base"],
        results["tuned"],
        seconds,
        title="The nano model before and after agent tuning",
        command="xagent demo",
        notes=[f"{conversations:,} training conversations; the loss curve is train/loss_curve.png"],
    )
    print(console_table(results["base"], results["tuned"]))
    print(f"{sum(seconds.values()):.0f} s in all; report: {work_dir / 'report.md'}")
    print(_MEET.format(merged=merged, base=BASE))


_MEET = """
Meet it (`make demo` installed xagent into .venv/bin):
  xagent chat {merged} --tools playground        in the terminal
  xagent web {merged} --compare {base}           in a browser, beside the base
  xagent serve {merged}                          through OpenAI's API
  xagent eval agent {merged} --compare {base}    as a score"""


@contextmanager
def _stage(name: str, what: str, seconds: dict[str, float]) -> Iterator[None]:
    print(f"== {name}: {what}", flush=True)
    started = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - started
    print(f"   {seconds[name]:.1f} s", flush=True)


def _clear(folder: Path) -> None:
    """Remove what an earlier demo left there."""
    shutil.rmtree(folder, ignore_errors=True)
