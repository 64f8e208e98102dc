"""A led reply is what its two halves are, asked for one after the other."""

from __future__ import annotations

import threading

import pytest
import torch
from tiny_models import byte_tokenizer, llama_config
from transformers import LlamaForCausalLM

from xagent.chat.message import Conversation, Message
from xagent.errors import EngineError
from xagent.inference.engine import Delta, GenerationRequest, Reply
from xagent.inference.led_reply import Lead, LedReplyStream
from xagent.inference.local import LocalEngine
from xagent.inference.prompting import PromptBuilder
from xagent.model.scheduler import Scheduler

HELLO = Message("user", "Hello")


@pytest.fixture
def engine():
    torch.manual_seed(0)
    model = LlamaForCausalLM(llama_config(initializer_range=0.3)).eval()
    made = LocalEngine(Scheduler(model), PromptBuilder(byte_tokenizer(), "llama3_chat"))
    yield made
    made.close()


def prompt(engine, begun: str = "") -> tuple[int, ...]:
    messages = (HELLO, Message("assistant", begun)) if begun else (HELLO,)
    return tuple(engine.prompts.prompt_ids(Conversation(messages), continue_last=bool(begun)))


def ask(engine, begun: str = "", **settings) -> Reply:
    return engine.submit(GenerationRequest(prompt(engine, begun), **{"max_new_tokens": 40, **settings})).reply()


def led(engine, word: str, text: str = "Action:", **settings) -> LedReplyStream:
    request = GenerationRequest(prompt(engine), **{"max_new_tokens": 40, **settings})
    return LedReplyStream(engine, request, Lead((word,), text, lambda begun: prompt(engine, begun)))


def a_word(engine, **settings) -> str:
    """Two characters that the model writes behind its first five."""
    text = ask(engine, **settings).text
    pairs = [text[index : index + 2] for index in range(len(text))]
    return next(pair for index, pair in enumerate(pairs) if index > 4 and pair.isascii() and pairs.index(pair) == index)


@pytest.mark.parametrize("drawn", [{}, {"temperature": 1.0, "seed": 3}])
def test_the_model_goes_on_behind_the_given_text(engine, drawn) -> None:
    word = a_word(engine, **drawn)
    first = ask(engine, stop=(word,), logprobs=1, **drawn)
    begun = f"{first.text}\nAction:"
    second = ask(engine, begun, max_new_tokens=40 - first.new_tokens, logprobs=1, **drawn)
    stream = led(engine, word, logprobs=1, **drawn)
    pieces = list(stream)
    reply = stream.reply()
    assert reply.text == "".join(piece.text for piece in pieces) == begun + second.text
    assert Delta("\nAction:") in pieces
    assert (reply.prompt_tokens, reply.new_tokens) == (len(prompt(engine)), first.new_tokens + second.new_tokens)
    assert [one.token_id for one in reply.logprobs] == [one.token_id for one in first.logprobs + second.logprobs]
    assert (reply.finish_reason, reply.stopped_by) == (second.finish_reason, second.stopped_by)
    assert led(engine, word, **drawn).reply().text == reply.text, "iterating is not needed"


def test_the_rest_may_meet_a_stop_word_and_words_of_the_lead(engine) -> None:
    word = a_word(engine)
    begun = f"{ask(engine, stop=(word,)).text}\n{word}"
    rest = ask(engine, begun).text
    stop = next(rest[index : index + 2] for index in range(3, 30) if rest[index : index + 2] not in ask(engine).text)
    reply = led(engine, word, text=word, stop=(stop,)).reply()
    assert (reply.text, reply.stopped_by) == (begun + rest[: rest.index(stop)], stop)


def test_a_beginning_that_is_cut_stays_as_it_is(engine) -> None:
    word = a_word(engine)
    assert led(engine, word, max_new_tokens=4).reply() == ask(engine, max_new_tokens=4)
    ends_at = ask(engine, stop=(word,)).new_tokens
    reply = led(engine, word, max_new_tokens=ends_at).reply()
    assert (reply.text, reply.finish_reason, reply.stopped_by) == (ask(engine, stop=(word,)).text, "length", None)
    engine.context = len(prompt(engine)) + ends_at + 1
    reply = led(engine, word, text="longer than the context holds").reply()
    assert (reply.finish_reason, reply.new_tokens) == ("length", ends_at)


def test_the_requests_own_stop_word_comes_before_the_leads(engine) -> None:
    word = a_word(engine)
    assert led(engine, word, stop=(word,)).reply() == ask(engine, stop=(word,))


@pytest.mark.parametrize("place", [0, 1, 7])
def test_cancelled_at_any_place(engine, place: int) -> None:
    word, passes, go_on = a_word(engine), [], threading.Event()

    def wait_in_the_midst(*_) -> None:
        passes.append(1)
        if len(passes) == 100:  # far from the end
            assert go_on.wait(120)

    engine.scheduler.model.register_forward_pre_hook(wait_in_the_midst)
    stream = led(engine, word, max_new_tokens=400)
    pieces = iter(stream)
    shown = "".join(next(pieces).text for _ in range(place))
    stream.cancel()
    go_on.set()
    reply = stream.reply() if place == 0 else (list(pieces), stream.reply())[1]
    assert reply.finish_reason == "cancelled" and reply.text.startswith(shown) and reply.new_tokens < 400


def test_a_cancelled_beginning_that_has_ended_is_not_led(engine) -> None:
    word = a_word(engine)
    stream = led(engine, word)
    stream._part.reply()
    stream.cancel()
    reply = stream.reply()
    assert (reply.text, reply.finish_reason) == (ask(engine, stop=(word,)).text, "cancelled")


def test_an_engine_that_was_closed_in_between(engine) -> None:
    word = a_word(engine)
    stream = led(engine, word)
    stream._part.reply()
    engine.close()
    with pytest.raises(EngineError, match="the engine was closed"):
        stream.reply()
