"""The engine in this process: the text of what the scheduler generates, and models loaded as they were trained."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_models import byte_tokenizer, llama_config
from transformers import LlamaForCausalLM

from xagent.chat.message import Conversation, Message
from xagent.errors import CheckpointError, ConfigError, EngineError
from xagent.inference.engine import GenerationRequest
from xagent.inference.loading import load_engine
from xagent.inference.local import LocalEngine
from xagent.inference.prompting import AgentSettings, PromptBuilder
from xagent.model.fingerprint import fingerprint_model
from xagent.model.generation import Generator, load_model
from xagent.model.scheduler import Scheduler

HELLO = Conversation((Message("user", "Hello"),))


def tiny_model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(llama_config(initializer_range=0.3)).eval()


@pytest.fixture
def engine():
    prompts = PromptBuilder(byte_tokenizer(), "llama3_chat")
    made = LocalEngine(Scheduler(tiny_model()), prompts)
    yield made
    made.close()


def request(engine, **settings) -> GenerationRequest:
    return GenerationRequest(tuple(engine.prompts.prompt_ids(HELLO)), **{"max_new_tokens": 40, **settings})


def greedy(engine, count: int) -> list[int]:
    generator = Generator(tiny_model(), None)
    return generator.generate([engine.prompts.prompt_ids(HELLO)], count, engine.prompts.stop_ids)[0].ids


def test_pieces_make_the_text_that_the_tokens_make(engine) -> None:
    stream = engine.submit(request(engine))
    pieces = [delta.text for delta in stream]
    reply = stream.reply()
    assert len(pieces) > 5 and all(pieces)
    assert "".join(pieces) == reply.text == engine.prompts.text(greedy(engine, 40))
    assert (reply.finish_reason, reply.stopped_by, reply.new_tokens) == ("length", None, 40)
    assert reply.prompt_tokens == len(engine.prompts.prompt_ids(HELLO)) and reply.logprobs == ()
    assert list(stream) == [], "a stream gives its pieces once"
    assert engine.submit(request(engine)).reply() == reply, "iterating is not needed"


def test_a_stop_word_ends_the_reply_at_the_token_that_completes_it(engine) -> None:
    ids = greedy(engine, 40)
    text = engine.prompts.text(ids)
    pairs = [text[index : index + 2] for index in range(len(text))]
    place = next(index for index, pair in enumerate(pairs) if index > 3 and pair.isascii() and pairs.index(pair) == index)
    stop = text[place : place + 2]
    stream = engine.submit(request(engine, stop=("never in there", stop)))
    assert "".join(delta.text for delta in stream) == text[:place]
    reply = stream.reply()
    assert (reply.text, reply.finish_reason, reply.stopped_by) == (text[:place], "stop", stop)
    assert reply.new_tokens == next(count for count in range(41) if stop in engine.prompts.text(ids[:count]))


def test_the_models_own_end_is_no_text(engine) -> None:
    ids = greedy(engine, 40)
    end = ids[next(index for index in range(5, 40) if ids[index] not in ids[:index])]
    engine.prompts.stop_ids = frozenset([end])
    reply = engine.submit(request(engine)).reply()
    assert (reply.finish_reason, reply.stopped_by, reply.new_tokens) == ("stop", None, ids.index(end) + 1)
    assert reply.text == engine.prompts.text(ids[: ids.index(end)])


def test_log_probabilities_come_with_their_pieces(engine) -> None:
    stream = engine.submit(request(engine, logprobs=2))
    deltas = list(stream)
    reply = stream.reply()
    assert tuple(logprob for delta in deltas for logprob in delta.logprobs) == reply.logprobs
    assert [logprob.token_id for logprob in reply.logprobs] == greedy(engine, 40)
    assert all(len(one.top) == 2 and one.top[0].token_id == one.token_id and one.logprob <= 0 for one in reply.logprobs)
    stop = next(letter for letter in reply.text[4:] if letter.isascii() and letter not in reply.text[:4])
    cut = engine.submit(request(engine, logprobs=0, stop=(stop,))).reply()
    assert [one.token_id for one in cut.logprobs] == greedy(engine, 40)[: len(cut.logprobs)]
    assert engine.prompts.text([one.token_id for one in cut.logprobs]) == cut.text
    assert all(one.top == () for one in cut.logprobs)


def test_a_reply_is_cancelled_from_another_thread(engine) -> None:
    passes, begun, go_on = [], threading.Event(), threading.Event()

    def wait_in_the_midst(*_) -> None:
        passes.append(1)
        if len(passes) == 20:
            begun.set()
            assert go_on.wait(120)

    def cancel() -> None:
        assert begun.wait(120)
        stream.cancel()
        go_on.set()

    engine.scheduler.model.register_forward_pre_hook(wait_in_the_midst)
    stream = engine.submit(request(engine, max_new_tokens=400))
    threading.Thread(target=cancel).start()
    shown = "".join(delta.text for delta in stream)
    reply = stream.reply()
    assert (reply.finish_reason, reply.text) == ("cancelled", shown)
    assert reply.new_tokens == 20, "the pass that it was in is its last"
    assert engine.prompts.text(greedy(engine, 400)).startswith(shown.rstrip("\ufffd"))
    stream.cancel()


def test_what_cannot_be_done_is_refused_before_it_begins(engine) -> None:
    with pytest.raises(ConfigError, match=r"unknown adapter 'x'; known: none was loaded"):
        engine.submit(request(engine, adapter="x"))
    with pytest.raises(ConfigError, match="a prompt of 512 tokens fills the model's context of 512"):
        engine.submit(GenerationRequest((5,) * 512))
    assert engine.submit(GenerationRequest((5,) * 510)).reply().new_tokens == 2
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.submit(request(engine))
    engine.close()


def test_a_fault_of_the_model_reaches_who_asked(engine) -> None:
    def breaks(_, args, kwargs) -> None:
        if kwargs["input_ids"].shape == (1, 3):
            raise RuntimeError("a bad card")

    engine.scheduler.model.model.register_forward_pre_hook(breaks, with_kwargs=True)
    stream = engine.submit(GenerationRequest((5, 6, 7)))
    with pytest.raises(EngineError, match="the model failed at this request: RuntimeError: a bad card"):
        list(stream)
    with pytest.raises(EngineError, match="a bad card"):
        stream.reply()
    assert engine.submit(request(engine)).reply().new_tokens == 40


# Loading


def save_model(folder: Path, **settings: str) -> Path:
    tiny_model().save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    if settings:
        (folder / "xagent.json").write_text(json.dumps(settings))
    return folder


def save_adapter(folder: Path, base: Path, seed: int = 1, **settings: str) -> Path:
    model = get_peft_model(tiny_model(), LoraConfig(r=4, target_modules="all-linear"))
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    model.peft_config["default"].base_model_name_or_path = str(base)
    model.save_pretrained(folder)
    (folder / "xagent.json").write_text(json.dumps({"base_fingerprint": fingerprint_model(base), **settings}))
    return folder


@pytest.fixture
def loaded():
    """Load engines that are closed when the test ends."""
    made: list[LocalEngine] = []

    def load(*given, **settings) -> LocalEngine:
        made.append(load_engine(*given, device="cpu", **settings))
        return made[-1]

    yield load
    for engine in made:
        engine.close()


def test_a_model_is_spoken_to_as_it_was_trained_and_adapters_are_chosen_by_name(loaded, tmp_path: Path) -> None:
    base = save_model(tmp_path / "base")
    spoken = {"template": "llama3_chat", "protocol": "hermes"}
    one, two = (save_adapter(tmp_path / name, base, seed, **spoken) for seed, name in enumerate(("one", "two"), 1))
    engine = loaded(base, adapters={"first": one, "second": two})
    assert (engine.prompts.template.name, engine.prompts.protocol.name) == ("llama3_chat", "hermes")
    assert (engine.adapters, engine.context) == (("first", "second"), 512)
    texts = [engine.submit(request(engine, adapter=name)).reply().text for name in (None, "first", "second")]
    alone = [loaded(base, **spoken), loaded(base, one), loaded(two)]
    assert texts == [other.submit(request(other)).reply().text for other in alone]
    assert len(set(texts)) == 3
    mixed = loaded(base, one, {"second": two})
    assert [mixed.submit(request(mixed, adapter=name)).reply().text for name in (None, "second")] == texts[1:]


def test_what_is_spoken_can_be_chosen(loaded, tmp_path: Path) -> None:
    base = save_model(tmp_path / "base", template="llama3_chat", protocol="react_zh")
    engine = loaded(base, template="qwen_chat")
    assert (engine.prompts.template.name, engine.prompts.protocol.name) == ("qwen_chat", "react_zh")
    plain = loaded(save_model(tmp_path / "plain"), defaults=AgentSettings("default", "qwen"))
    assert (plain.prompts.template.name, plain.prompts.protocol.name) == ("default", "hermes")


def test_adapters_that_do_not_belong_together_are_refused(loaded, tmp_path: Path) -> None:
    base = save_model(tmp_path / "base", template="llama3_chat")
    one = save_adapter(tmp_path / "one", base, template="llama3_chat", protocol="hermes")
    two = save_adapter(tmp_path / "two", base, template="llama3_chat", protocol="internlm2")
    with pytest.raises(CheckpointError, match=r"trained in different words.*protocol 'hermes'.*two in .*protocol 'internlm2'"):
        loaded(base, adapters={"one": one, "two": two})
    assert loaded(base, adapters={"one": one, "two": two}, template="llama3_chat", protocol="react").adapters == ("one", "two")
    grown = byte_tokenizer(["<new>"])
    grown.save_pretrained(one)
    with pytest.raises(CheckpointError, match=r"'one' .* was trained with 262 tokens, others than the model's 261"):
        loaded(base, adapters={"one": one})
    (two / "xagent.json").write_text(json.dumps({"base_fingerprint": "sha256:0123456789abcdef", "base_model": "Llama"}))
    for given in ({"adapter": two}, {"adapters": {"two": two}}):
        with pytest.raises(CheckpointError, match="was trained on another base than .*: on Llama, fingerprint 0123456789ab"):
            loaded(base, **given)


def test_a_model_is_quantised_while_it_is_loaded(loaded, tmp_path: Path) -> None:
    base = save_model(tmp_path / "base", template="llama3_chat")
    model, _ = load_model(base, device="cpu", load_in_4bit=True)
    kinds = {type(module).__name__ for name, module in model.named_modules() if name.endswith("_proj")}
    assert kinds == {"Linear4bit"} and type(model.lm_head).__name__ == "Linear"
    engine = loaded(base, load_in_4bit=True)
    assert engine.submit(request(engine, max_new_tokens=4)).reply().new_tokens == 4
