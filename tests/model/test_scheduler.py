"""The scheduler: each request's tokens are those it would get alone, whatever joins, leaves, or fails beside it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_models import llama_config
from transformers import LlamaForCausalLM, MambaConfig, MambaForCausalLM

from xagent.errors import CheckpointError, ConfigError
from xagent.model.adapters import Adapters
from xagent.model.generation import Generator
from xagent.model.generation_batch import Chosen, Sampling
from xagent.model.scheduler import Scheduler

NEVER = frozenset([-1])
PATIENCE = 120
"""Seconds that a busy machine may take for what takes none."""


def tiny_llama(**changes) -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(llama_config(initializer_range=0.3, **changes)).eval()


def prompts(*lengths: int) -> list[list[int]]:
    stream = torch.Generator().manual_seed(1)
    return [torch.randint(5, 200, (length,), generator=stream).tolist() for length in lengths]


@dataclass
class Heard:
    """Keeps what it hears; ends at a token, or fails at it, if told to; waits at the first where told to."""

    stop_at: int | None = None
    fail_at: int | None = None
    hold: threading.Event | None = None
    tokens: list[Chosen] = field(default_factory=list)
    begun: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    end: tuple[str, int] | None = None
    fault: BaseException | None = None

    def on_token(self, chosen: Chosen) -> bool:
        self.tokens.append(chosen)
        self.begun.set()
        if self.hold is not None:
            assert self.hold.wait(PATIENCE)
        if len(self.tokens) == self.fail_at:
            raise ValueError("no more")
        return len(self.tokens) == self.stop_at

    def on_end(self, reason: str, new_tokens: int) -> None:
        assert not self.ended.is_set()
        self.end = reason, new_tokens
        self.ended.set()

    def on_fault(self, fault: BaseException) -> None:
        assert not self.ended.is_set()
        self.fault = fault
        self.ended.set()

    @property
    def ids(self) -> list[int]:
        assert self.ended.wait(PATIENCE)
        return [chosen.token for chosen in self.tokens]


@pytest.fixture
def running():
    """Make schedulers that are closed when the test ends."""
    made: list[Scheduler] = []

    def make(model, adapters=None, **settings) -> Scheduler:
        made.append(Scheduler(model, adapters, **settings))
        return made[-1]

    yield make
    for scheduler in made:
        scheduler.close()


def alone(model, prompt: list[int], limit: int, stop_ids=NEVER, **sampling) -> list[int]:
    return Generator(model, None, 1).generate([prompt], limit, stop_ids, **sampling)[0].ids


@pytest.mark.parametrize("read_tokens", [7, 256])
@pytest.mark.parametrize("memory_bytes", [0, 2**24])
def test_tokens_are_those_of_each_request_alone(running, read_tokens: int, memory_bytes: int) -> None:
    model, given, limits = tiny_llama(), prompts(5, 40, 1, 17, 90, 3, 60, 12), [30, 4, 12, 1, 20, 25, 7, 18]
    expected = [alone(model, *one) for one in zip(given, limits, strict=True)]
    scheduler = running(model, max_batch_size=3, memory_bytes=memory_bytes, read_tokens=read_tokens)
    for _ in range(2):
        heard = [Heard() for _ in given]
        for prompt, limit, one in zip(given, limits, heard, strict=True):
            scheduler.submit(prompt, one, limit, NEVER)
        assert [one.ids for one in heard] == expected
        assert [one.end for one in heard] == [("length", limit) for limit in limits]
    assert scheduler.load == (0, 0)


def test_requests_join_while_others_run_and_stop_tokens_and_listeners_end_them(running) -> None:
    model, (first, second, third) = tiny_llama(), prompts(20, 50, 8)
    expected = [alone(model, prompt, 60) for prompt in (first, second, third)]
    stop = next(token for token in expected[1] if token not in expected[1][:5] and expected[1].index(token) > 5)
    scheduler = running(model)
    one, other, last = Heard(), Heard(), Heard(stop_at=4)
    scheduler.submit(first, one, 60, NEVER)
    assert one.begun.wait(PATIENCE)
    scheduler.submit(second, other, 60, frozenset([stop]))
    scheduler.submit(third, last, 60, NEVER)
    assert (one.ids, one.end) == (expected[0], ("length", 60))
    cut = expected[1].index(stop)
    assert (other.ids, other.end) == (expected[1][:cut], ("stop", cut + 1))
    assert (last.ids, last.end) == (expected[2][:4], ("stop", 4))


def test_what_is_drawn_depends_on_the_seed_and_on_nothing_else(running) -> None:
    model, given = tiny_llama(), prompts(5, 40, 17)
    scheduler = running(model, max_batch_size=4)
    choices = [Sampling(1.0, 0.9, 3), Sampling(), Sampling(0.7, 1.0, 4)]
    heard = [Heard() for _ in given]
    for prompt, sampling, one in zip(given, choices, heard, strict=True):
        scheduler.submit(prompt, one, 20, NEVER, sampling)
    for prompt, sampling, one in zip(given, choices, heard, strict=True):
        chosen = {"temperature": sampling.temperature, "top_p": sampling.top_p, "seed": sampling.seed}
        assert one.ids == alone(model, prompt, 20, **chosen)


def test_log_probabilities_are_the_models_own(running) -> None:
    model, (prompt,) = tiny_llama(), prompts(9)
    heard = Heard()
    running(model).submit(prompt, heard, 4, NEVER, Sampling(2.0, 1.0, 5), logprobs=3)
    ids = heard.ids
    with torch.no_grad():
        expected = torch.log_softmax(model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1], -1)
    for place, chosen in enumerate(heard.tokens):
        assert chosen.logprob == pytest.approx(float(expected[place, chosen.token]), abs=1e-4)
        values, tops = expected[place].topk(3)
        assert [token for token, _ in chosen.top] == tops.tolist()
        assert [value for _, value in chosen.top] == pytest.approx(values.tolist(), abs=1e-4)


def test_a_cancelled_request_makes_room_at_once(running) -> None:
    model, (first, second) = tiny_llama(), prompts(6, 7)
    scheduler, go_on = running(model, max_batch_size=1), threading.Event()
    long, waiting, short = Heard(hold=go_on), Heard(), Heard()
    ticket = scheduler.submit(first, long, 400, NEVER)
    assert long.begun.wait(PATIENCE)
    never_run = scheduler.submit(second, waiting, 5, NEVER)
    scheduler.submit(second, short, 5, NEVER)
    assert scheduler.load == (1, 2)
    scheduler.cancel(ticket)
    scheduler.cancel(never_run)
    go_on.set()
    assert short.ids == alone(model, second, 5)
    assert long.ended.wait(PATIENCE) and long.end == ("cancelled", 2), "the turn that it was in is its last"
    assert waiting.ids == [] and waiting.end == ("cancelled", 0)
    scheduler.cancel(ticket)
    assert scheduler.load == (0, 0)


def test_a_long_prompt_is_read_between_the_others_steps(running) -> None:
    model, (short, long, late) = tiny_llama(max_position_embeddings=4096), prompts(5, 2000, 6)
    steps: list[int] = []
    model.model.register_forward_pre_hook(lambda _, args, kwargs: steps.append(kwargs["input_ids"].shape[1]), with_kwargs=True)
    scheduler, go_on = running(model, read_tokens=100), threading.Event()
    first, second, third = Heard(hold=go_on), Heard(), Heard()
    scheduler.submit(short, first, 60, NEVER)
    assert first.begun.wait(PATIENCE)
    scheduler.submit(long, second, 3, NEVER)
    scheduler.submit(late, third, 3, NEVER)
    go_on.set()
    assert [len(one.ids) for one in (first, second, third)] == [60, 3, 3]
    assert max(steps) == 100 and steps.count(100) >= 19
    reads = [place for place, width in enumerate(steps) if width == 100]
    assert all(1 in steps[before:after] for before, after in pairwise(reads)), "a step between two pieces"
    assert steps.index(6) < reads[2], "who comes late does not wait for all of the long prompt"


def test_a_prompt_that_is_short_enough_is_read_in_one_piece(running) -> None:
    model, (first, *others) = tiny_llama(), prompts(5, 80, 90, 30)
    steps: list[int] = []
    model.model.register_forward_pre_hook(lambda _, args, kwargs: steps.append(kwargs["input_ids"].shape[1]), with_kwargs=True)
    scheduler, go_on = running(model, read_tokens=100), threading.Event()
    heard = [Heard(hold=go_on), Heard(), Heard(), Heard()]
    scheduler.submit(first, heard[0], 4, NEVER)
    assert heard[0].begun.wait(PATIENCE), "the others come together, while it is held"
    for prompt, one in zip(others, heard[1:], strict=True):
        scheduler.submit(prompt, one, 4, NEVER)
    go_on.set()
    assert [len(one.ids) for one in heard] == [4] * 4
    assert [width for width in steps if width > 1] == [5, 80, 90, 30]
    assert steps[steps.index(80) + 1 :][:2] == [90, 1], "170 tokens of prompts are more than 100: a step"


def test_replies_may_outgrow_the_buffers_while_others_leave(running) -> None:
    model, given, limits = tiny_llama(), prompts(150, 40, 9, 200), [120, 20, 200, 75]
    settings = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    expected = [
        model.generate(torch.tensor([prompt]), max_new_tokens=limit, **settings)[0, len(prompt) :].tolist()
        for prompt, limit in zip(given, limits, strict=True)
    ]
    scheduler, heard = running(model), [Heard() for _ in given]
    for prompt, limit, one in zip(given, limits, heard, strict=True):
        scheduler.submit(prompt, one, limit, NEVER)
    assert [one.ids for one in heard] == expected


def test_a_next_turn_computes_only_what_is_new_within_the_bytes_allowed(running) -> None:
    model, (prompt,) = tiny_llama(), prompts(100)
    read: list[int] = []
    model.model.register_forward_pre_hook(lambda _, args, kwargs: read.append(kwargs["input_ids"].numel()), with_kwargs=True)
    bytes_a_token = 2 * 2 * 2 * 8 * 4  # layers, keys and values, heads, head size, fp32
    scheduler = running(model, memory_bytes=150 * bytes_a_token)

    def ask(ids: list[int]) -> int:
        read.clear()
        heard = Heard()
        scheduler.submit(ids, heard, 11, NEVER)
        ids += heard.ids
        return sum(read)

    assert ask(prompt) == 100 + 10
    assert ask(prompt) == 1 + 10, "the last token of the reply is new"
    assert scheduler.memory.bytes <= 150 * bytes_a_token
    assert ask(prompts(100, 140)[1]) == 140 + 10
    assert ask(prompt) == 122 + 10, "it was forgotten for the one after it"


def test_a_fault_fails_its_requests_and_the_others_go_on(running) -> None:
    model, (bad, good) = tiny_llama(), prompts(30, 6)
    expected = alone(model, good, 5)

    def breaks(_, args, kwargs) -> None:
        if kwargs["input_ids"].shape == (1, 30):
            raise RuntimeError("out of luck")

    model.model.register_forward_pre_hook(breaks, with_kwargs=True)
    scheduler = running(model)
    broken, well, clumsy = Heard(), Heard(), Heard(fail_at=2)
    scheduler.submit(bad, broken, 5, NEVER)
    scheduler.submit(good, well, 5, NEVER)
    scheduler.submit(good, clumsy, 5, NEVER)
    assert well.ids == expected
    assert broken.ended.wait(PATIENCE) and clumsy.ended.wait(PATIENCE)
    assert (repr(broken.fault), repr(clumsy.fault)) == ("RuntimeError('out of luck')", "ValueError('no more')")
    assert scheduler.load == (0, 0)


def test_a_fault_in_a_step_fails_those_who_share_it(running) -> None:
    model, given = tiny_llama(), prompts(6, 9, 12)
    broken = threading.Event()

    def breaks(_, args, kwargs) -> None:
        if kwargs["input_ids"].shape == (2, 1) and not broken.is_set():
            broken.set()
            raise RuntimeError("in a step")

    model.model.register_forward_pre_hook(breaks, with_kwargs=True)
    scheduler, go_on = running(model, max_batch_size=2), threading.Event()
    heard = [Heard(hold=go_on), Heard(), Heard()]
    for prompt, one in zip(given, heard, strict=True):
        scheduler.submit(prompt, one, 5, NEVER)
    go_on.set()
    assert heard[2].ids == alone(tiny_llama(), given[2], 5)
    assert [repr(one.fault) for one in heard] == ["RuntimeError('in a step')"] * 2 + ["None"]


def test_closing_cancels_all_and_gives_the_model_back(running) -> None:
    model, (prompt,) = tiny_llama().train(), prompts(6)
    scheduler, go_on = running(model, max_batch_size=1), threading.Event()
    heard, waiting = Heard(hold=go_on), Heard()
    scheduler.submit(prompt, heard, 400, NEVER)
    assert heard.begun.wait(PATIENCE) and not model.training
    scheduler.submit(prompt, waiting, 400, NEVER)

    def go_on_once_it_closes() -> None:
        while not scheduler.closed:
            time.sleep(0.001)
        go_on.set()

    threading.Thread(target=go_on_once_it_closes, daemon=True).start()
    scheduler.close()
    assert heard.end is not None and heard.end[0] == "cancelled" and waiting.end == ("cancelled", 0)
    assert model.training and scheduler.model is None
    with pytest.raises(RuntimeError, match="closed"):
        scheduler.submit(prompt, Heard(), 4, NEVER)
    scheduler.close()


def test_models_that_cannot_share_run_one_by_one(running) -> None:
    torch.manual_seed(0)
    config = MambaConfig(vocab_size=260, hidden_size=32, num_hidden_layers=2, state_size=8, initializer_range=0.3)
    model = MambaForCausalLM(config).eval()
    given = prompts(5, 30, 9)
    scheduler = running(model, max_batch_size=8, read_tokens=4)
    heard = [Heard() for _ in given]
    for prompt, one in zip(given, heard, strict=True):
        scheduler.submit(prompt, one, 6, NEVER)
    assert [one.ids for one in heard] == [alone(model, prompt, 6) for prompt in given]
    assert scheduler.max_batch_size == 1


def save_adapter(folder: Path, seed: int, **sizes) -> Path:
    model = get_peft_model(tiny_llama(**sizes), LoraConfig(r=4, target_modules="all-linear"))
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    return folder


def test_adapters_are_chosen_by_request_and_never_mixed(running, tmp_path: Path) -> None:
    folders = {name: save_adapter(tmp_path / name, seed) for seed, name in enumerate(("one", "two"), 1)}
    given = prompts(40, 9)

    def tuned(name: str | None) -> list[list[int]]:
        switch = Adapters(tiny_llama())
        switch.load({name: folders[name]} if name else {})
        if name:
            switch.use(name)
        return [alone(switch.model, prompt, 12) for prompt in given]

    expected = {name: tuned(name) for name in (None, "one", "two")}
    assert len({str(tokens) for tokens in expected.values()}) == 3
    adapters = Adapters(tiny_llama())
    adapters.load(folders)
    assert adapters.names == ("one", "two")
    scheduler = running(adapters.model, adapters)
    for _ in range(2):  # the second time with the first one's memory
        heard = {name: [Heard() for _ in given] for name in expected}
        for place, prompt in enumerate(given):
            for name, listeners in heard.items():
                scheduler.submit(prompt, listeners[place], 12, NEVER, adapter=name)
        assert {name: [one.ids for one in listeners] for name, listeners in heard.items()} == expected


def test_an_adapter_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is no adapter of this model"):
        Adapters(tiny_llama()).load({"wide": save_adapter(tmp_path, 1, hidden_size=64)})
    with pytest.raises(ConfigError, match="can't be named 'default'"):
        Adapters(tiny_llama()).load({"default": tmp_path})
    with pytest.raises(ConfigError, match="max_batch_size must be >= 1"):
        Scheduler(tiny_llama(), max_batch_size=0)


def test_requests_that_come_all_the_time_all_end(running) -> None:
    model, given = tiny_llama(), prompts(*range(3, 27))
    scheduler, heard = running(model, max_batch_size=5), []
    for number, prompt in enumerate(given):
        heard.append(Heard())
        ticket = scheduler.submit(prompt, heard[-1], 2 + number % 7, NEVER)
        time.sleep(0.002 * (number % 3))
        if number % 6 == 5:
            scheduler.cancel(ticket)
    for number, (prompt, one) in enumerate(zip(given, heard, strict=True)):
        expected = alone(model, prompt, 2 + number % 7)
        assert one.ids == expected[: len(one.ids)]
        assert len(one.ids) == len(expected) or one.end[0] == "cancelled"
