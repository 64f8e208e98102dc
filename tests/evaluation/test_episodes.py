"""Episodes are really run, and each kind of mistake lowers the metric that is meant for it."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest
import torch
from agent_fixtures import Reciter, tiny_model, tiny_tokenizer

from xagent.agent.lagent_llm import LagentLLM
from xagent.chat.message import ToolSpec
from xagent.chat.protocol import get_protocol
from xagent.errors import ConfigError
from xagent.evaluation.episodes import EpisodeResult, evaluate_episodes, evaluate_side_by_side, run_episode
from xagent.evaluation.grading import CallMade, answers, grade, reference_calls
from xagent.evaluation.report import summarise
from xagent.inference.prompting import PromptBuilder
from xagent.model.generation import Generator
from xagent.playground import KINDS, TOOLS, Episode, Step, call_tool, episodes_to_conversation, generate_episodes

PERFECT = {"valid_format": 1.0, "right_tool": 1.0, "right_arguments": 1.0, "solved": 1.0, "false_calls": 0.0}
ADD = '{"first": 2, "second": 3}'


class Scripted:
    """A language model that says these replies, the last one for ever."""

    def __init__(self, *replies: str) -> None:
        self.replies = replies

    def chat(self, messages, **settings) -> str:
        turn = sum(message["role"] == "assistant" for message in messages)
        return self.replies[min(turn, len(self.replies) - 1)]


def addition() -> Episode:
    tools = tuple(TOOLS[name].spec() for name in ("add_numbers", "hours_to_seconds"))
    step = Step("I use add_numbers.", "add_numbers", {"first": 2, "second": 3}, "5")
    return Episode("seen-single-en-0", "single", "en", tools, "Add 2 and 3.", (step,), "I know.", "The sum is 5.", ("5",))


def recovery() -> Episode:
    episode = next(generate_episodes(1, 5, kinds=["recovered"], languages=["en"]))
    assert episode.steps[0].failed
    return episode


def chain() -> Episode:
    return next(generate_episodes(1, 5, kinds=["chained"], languages=["en"]))


def call(name: str, arguments: str) -> str:
    return f"Thought:x\nAction:{name}\nAction Input:{arguments}"


def calls_of(episode: Episode) -> list[str]:
    turns = [message for message in episodes_to_conversation([episode]).messages if message.role == "assistant"]
    return [get_protocol("react").render_reply(turn) for turn in turns]


def metrics(episode: Episode, *replies: str) -> dict[str, float]:
    found = summarise([run_episode(Scripted(*replies), episode)])["unseen" if episode.unseen else "seen"]
    assert found.pop("episodes") == 1
    return found


@pytest.mark.parametrize("unseen", [False, True])
@pytest.mark.parametrize("protocol", ["react", "react_zh", "hermes", "internlm2"])
def test_reference_replies_are_perfect(unseen: bool, protocol: str) -> None:
    episodes = list(generate_episodes(60, 3, unseen=unseen, languages=("zh" if protocol == "react_zh" else "en",)))
    assert {episode.kind for episode in episodes} == set(KINDS)
    tokenizer = tiny_tokenizer()
    prompts = PromptBuilder(tokenizer, "llama3_chat", protocol)
    conversations = [episodes_to_conversation([episode]) for episode in episodes]
    reciter = Reciter(conversations, tokenizer, prompts.template, protocol)
    results = evaluate_episodes(LagentLLM(reciter, prompts), episodes)
    assert [result.episode for result in results] == episodes
    assert summarise(results)["unseen" if unseen else "seen"] == {"episodes": 60, **PERFECT}
    assert [result.answer for result in results] == [episode.answer for episode in episodes]
    assert [list(result.calls) for result in results] == [reference_calls(episode) for episode in episodes]
    assert max(reciter.batches) == 16 and len(reciter.batches) < 20


def test_reference_answers_hold_what_answers_must() -> None:
    for unseen in (False, True):
        for episode in generate_episodes(2000, 11, unseen=unseen):
            made, replies = reference_calls(episode), ["Final Answer:x"]
            grades = grade(episode, replies, made, episode.answer)
            assert grades.solved and grades.right_arguments and not grades.false_call, episode


@pytest.mark.parametrize(
    "replies, lowered",
    [
        ([call("add_numbers", ADD), "Final Answer:5"], {}),
        ([call("add_numbers", "{'second': 3.0, 'first': 2}"), "Final Answer: it is 5!"], {}),
        ([call("add_numbers", '{"first": 2}'), call("add_numbers", ADD), "Final Answer:5"], {}),
        (["Sure!", call("add_numbers", ADD), "Final Answer:5"], {"valid_format": 0.6667}),
        ([call("add_numbers", ADD[:-3]), call("add_numbers", ADD), "Final Answer:5"], {"valid_format": 0.6667}),
        ([call("add_numbers", ADD), "Final Answer:15"], {"solved": 0}),
        ([call("add_numbers", ADD), "Final Answer:5.5"], {"solved": 0}),
        ([call("add_numbers", ADD), "It is 5."], {"solved": 0, "valid_format": 0.3333}),
        (["Sure!", call("add_numbers", ADD), "It is 5.", "Final Answer:5"], {"valid_format": 0.5}),
        ([call("add_numbers", '{"first": 1, "second": 4}'), "Final Answer:5"], {"right_arguments": 0, "solved": 0}),
        ([call("add_numbers", '{"first": 3, "second": 2}'), "Final Answer:5"], {"right_arguments": 0, "solved": 0}),
        ([call("add_numbers", '{"first": "2", "second": 3}'), "Final Answer:5"], {"right_arguments": 0, "solved": 0}),
        (["Final Answer:5"], {"right_tool": 0, "right_arguments": 0, "solved": 0}),
        ([call("add_numbers", ADD)] * 2 + ["Final Answer:5"], {"right_tool": 0, "right_arguments": 0}),
        (
            [call("hours_to_seconds", '{"hours": 1}'), call("add_numbers", ADD), "Final Answer:5"],
            {"right_tool": 0, "right_arguments": 0, "false_calls": 1},
        ),
        (
            [call("nonsense", ADD), "Final Answer:5"],
            {"right_tool": 0, "right_arguments": 0, "solved": 0, "false_calls": 1},
        ),
        (
            [call("FinishAction", ADD), call("add_numbers", ADD), "Final Answer:5"],
            {"right_tool": 0, "right_arguments": 0, "false_calls": 1},
        ),
    ],
)
def test_each_mistake_lowers_its_metric(replies: list[str], lowered: dict[str, float]) -> None:
    assert metrics(addition(), *replies) == {**PERFECT, **lowered}


def test_a_recovery_is_judged_by_where_it_gets() -> None:
    episode = recovery()
    failed, again, answer = calls_of(episode)
    assert metrics(episode, failed, again, answer) == PERFECT
    assert metrics(episode, again, answer) == PERFECT
    assert metrics(episode, failed, answer) == {**PERFECT, "right_arguments": 0, "solved": 0}


def test_a_chain_needs_both_calls() -> None:
    episode = chain()
    first, second, answer = calls_of(episode)
    assert metrics(episode, first, second, answer) == PERFECT
    assert metrics(episode, first, answer) == {**PERFECT, "right_tool": 0, "right_arguments": 0, "solved": 0}
    assert metrics(episode, second, answer) == {**PERFECT, "right_tool": 0, "right_arguments": 0}


@pytest.mark.parametrize("kind", ["no_call", "no_tool_fits", "ask_back"])
def test_a_call_where_none_is_right_is_false(kind) -> None:
    episode = next(generate_episodes(1, 5, kinds=[kind]))
    (answer,) = calls_of(episode)
    assert metrics(episode, answer) == PERFECT
    wrong = metrics(episode, call(episode.tools[0].name, "{}"), answer)
    assert wrong == {"valid_format": 1, "right_tool": 0, "right_arguments": 0, "solved": 0, "false_calls": 1}
    unanswered = metrics(episode, answer.split("\n")[0])
    assert unanswered == {**PERFECT, "valid_format": 0, "solved": 0}


def test_an_observation_that_is_not_the_tools_does_not_count() -> None:
    episode = addition()
    made = [CallMade("add_numbers", {"first": 2, "second": 3}, "Response: 6")]
    assert not grade(episode, ["Final Answer:5"], made, "5").solved


@pytest.mark.parametrize(
    "answer, wanted, right",
    [
        ("The room is GRANITE hall.", ["granite hall"], True),
        ("答案是243。", ["243"], True),
        ("It costs 1,234", ["234"], False),
        ("-5 degrees", ["5"], False),
        ("5, no more", ["5"], True),
        ("5.", ["5"], True),
        ("v5", ["5"], True),
        ("W", ["w", "x"], False),
        ("anything", [], True),
    ],
)
def test_a_number_counts_only_as_a_whole(answer: str, wanted: list[str], right: bool) -> None:
    assert answers(answer, wanted) is right


def test_results_do_not_depend_on_threads_or_batches() -> None:
    tokenizer = tiny_tokenizer()
    episodes = list(generate_episodes(5, 9))

    def run(batch_size: int, remember: int) -> list[EpisodeResult]:
        generator = Generator(tiny_model(), tokenizer, batch_size, remember)
        llm = LagentLLM(generator, PromptBuilder(tokenizer, "llama3_chat"))
        return list(evaluate_episodes(llm, episodes, max_new_tokens=6, max_turn=2))

    alone = run(1, 0)
    assert run(4, 0) == alone == run(4, 8)
    assert summarise(alone)["seen"]["solved"] == 0
    assert all(len(result.replies) == 2 and result.answer is None for result in alone)


def test_an_error_in_one_loop_ends_all_and_is_shown() -> None:
    asked = threading.Event()

    class Breaks(Scripted):
        def chat(self, messages, **settings) -> str:
            if asked.is_set():
                raise RuntimeError("out of memory")
            asked.set()
            return super().chat(messages)

    with pytest.raises(RuntimeError, match="out of memory"):
        evaluate_episodes(Breaks("Final Answer:x"), list(generate_episodes(30, 1)), workers=4)


def test_models_side_by_side_get_the_results_of_one_after_the_other() -> None:
    tokenizer, episodes = tiny_tokenizer(), list(generate_episodes(5, 9))
    threads = torch.get_num_threads()

    def llm(batch_size: int) -> LagentLLM:
        return LagentLLM(Generator(tiny_model(), tokenizer, batch_size, 8), PromptBuilder(tokenizer, "llama3_chat"))

    together = evaluate_side_by_side({"one": llm(4), "other": llm(1)}, episodes, max_new_tokens=6, max_turn=2)
    alone = evaluate_episodes(llm(4), episodes, max_new_tokens=6, max_turn=2)
    assert list(together) == ["one", "other"]
    assert list(together["one"]) == list(together["other"]) == list(alone)
    assert torch.get_num_threads() == threads


def test_a_model_that_fails_ends_those_beside_it() -> None:
    failing = threading.Event()

    class Breaks(Scripted):
        def chat(self, messages, **settings) -> str:
            failing.set()
            raise RuntimeError("out of memory")

    class Waits(Scripted):
        asked = 0

        def chat(self, messages, **settings) -> str:
            assert failing.wait(120)
            self.asked += 1
            time.sleep(0.1)  # a hundred times: who fails has so long to be heard
            return super().chat(messages)

    beside, threads = Waits("Final Answer:x"), torch.get_num_threads()
    with pytest.raises(RuntimeError, match="out of memory"):
        evaluate_side_by_side({"beside": beside, "breaks": Breaks("x")}, list(generate_episodes(300, 1)))
    assert beside.asked < 100
    assert torch.get_num_threads() == threads


@pytest.fixture
def ctrl_c_raises() -> Iterator[None]:
    """Have Ctrl-C raise KeyboardInterrupt, as in a program that has just begun, whatever ran in this process before."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_raises")
def test_ctrl_c_ends_all_models_side_by_side() -> None:
    class Patient(Scripted):
        asked = 0

        def chat(self, messages, **settings) -> str:
            self.asked += 1
            if self.asked == 5:
                os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)  # a hundred times: so long may Ctrl-C take
            return super().chat(messages)

    interrupted, threads = Patient("Final Answer:x"), torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        evaluate_side_by_side({"one": interrupted, "other": Scripted("Final Answer:x")}, list(generate_episodes(500, 1)))
    assert interrupted.asked < 100
    assert torch.get_num_threads() == threads
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith(("models", "episodes"))]


@pytest.mark.usefixtures("ctrl_c_raises")
def test_ctrl_c_is_heard_while_the_models_begin() -> None:
    class Presses(Scripted):
        asked = 0

        def chat(self, messages, **settings) -> str:
            self.asked += 1
            if self.asked == 1:
                os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
            return super().chat(messages)

    class Late(Scripted):
        @property
        def generator(self) -> None:  # asked for when the first model works already
            time.sleep(60)

    presses = Presses("Final Answer:x")
    with pytest.raises(KeyboardInterrupt):
        evaluate_side_by_side({"one": presses, "other": Late("Final Answer:x")}, list(generate_episodes(200, 1)))
    assert presses.asked < 100


def test_nothing_and_what_cannot_be_run() -> None:
    assert len(evaluate_episodes(Scripted("x"), [])) == 0
    invented = dataclasses.replace(addition(), tools=(ToolSpec("invented"),))
    with pytest.raises(ConfigError, match="no playground tools: invented"):
        evaluate_episodes(Scripted("x"), [invented])
    assert call_tool("add_numbers", {"first": 2, "second": 3}) == "5"
