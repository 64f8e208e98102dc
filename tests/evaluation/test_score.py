"""The score: items that are finished once, sums, the report, and the suites with models that say known things."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection
from pathlib import Path

import pytest
import torch
from agent_fixtures import Reciter, tiny_model, tiny_tokenizer

from xagent.agent.lagent_llm import LagentLLM
from xagent.chat.message import Conversation, Message, ToolCall
from xagent.cli import main
from xagent.data.encode import IGNORE_INDEX
from xagent.data.formats import openai_map_fn
from xagent.errors import ConfigError, DataError, OutputError
from xagent.evaluation.bfcl_suite import BfclSuite
from xagent.evaluation.episodes import run_episode
from xagent.evaluation.held_out_suite import HeldOutSuite, taught_replies
from xagent.evaluation.items import ItemKey, ItemLog, ItemResult, Metric
from xagent.evaluation.playground_suite import PlaygroundSuite, item_of
from xagent.evaluation.replies import Replying
from xagent.evaluation.score import Contestant, score
from xagent.evaluation.score_report import Score, Side, console, markdown, write_score
from xagent.evaluation.summary import differences, summarise
from xagent.inference.prompting import AgentSettings, PromptBuilder
from xagent.model.generation import Generator
from xagent.model.teacher_forcing import score_tokens
from xagent.playground import TOOLS, Episode, Step, episodes_to_conversation, generate_episodes


class Letters:
    """A suite whose items a model gets right where its text holds their letter."""

    name, success = "letters", "right"
    metrics = {"right": Metric("right letters"), "length": Metric("length", kind="mean", better="lower")}

    def __init__(self, letters: str = "abcd", repeats: int = 1) -> None:
        self.letters, self.repeats = letters, repeats
        self.settings = {"letters": letters, "repeats": repeats}
        self.asked: list[ItemKey] = []

    def keys(self) -> list[ItemKey]:
        return [(letter, repeat) for repeat in range(self.repeats) for letter in self.letters]

    def run(self, llm: str, todo: Collection[ItemKey], finished, title: str) -> None:
        for letter, repeat in todo:
            self.asked.append((letter, repeat))
            finished(result_of(letter, letter in llm, repeat))


def result_of(letter: str, right: bool, repeat: int = 0) -> ItemResult:
    group = "early, vowel" if letter == "a" else "early, other" if letter < "c" else "late"
    counts = {"right": (float(right), 1.0), "length": (2.0 + repeat, 1.0)}
    return ItemResult(letter, repeat, group, counts, None if right else f"no {letter}", (("user", letter), ("model", "```")))


def side(name: str, letters: str) -> Side:
    return Side(name, {"path": letters}, [result_of(letter, letter in letters) for letter in "abcd"], 1.25)


# --- items ----------------------------------------------------------------------------------------------------------


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    path, settings = tmp_path / "new" / "items.jsonl", {"seed": 1, "pair": (1, 2)}
    log = ItemLog(path, settings)
    log.add(result_of("a", True))
    log.add(result_of("b", False, 3))
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"item": "c", "rep')
    again = ItemLog(path, settings)
    assert again.results == {("a", 0): result_of("a", True), ("b", 3): result_of("b", False, 3)}
    assert path.read_bytes() == whole
    again.add(result_of("c", True))
    assert list(ItemLog(path, settings).results) == [("a", 0), ("b", 3), ("c", 0)]


def test_items_of_other_settings_are_not_mixed_in(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    ItemLog(path, {"seed": 1, "limit": None}).add(result_of("a", True))
    with pytest.raises(OutputError, match=r"items.jsonl: holds items that were made otherwise: seed was 1, is 2; choose another"):
        ItemLog(path, {"seed": 2, "limit": None})
    assert ItemLog(path, {"seed": 2}, overwrite=True).results == {}
    path.write_text("a page\n")
    with pytest.raises(OutputError, match="is no file of finished items"):
        ItemLog(path, {})


# --- sums -----------------------------------------------------------------------------------------------------------


def test_sums_of_all_and_of_groups() -> None:
    found = summarise(side("model", "abc").results, Letters())
    assert list(found.groups) == ["all", "early", "late", "early, vowel", "early, other"]
    shares = {name: (group["right"].value, group["right"].items) for name, group in found.groups.items()}
    assert shares == {"all": (0.75, 4), "early": (1, 2), "late": (0.5, 2), "early, vowel": (1, 1), "early, other": (1, 1)}
    right = found.groups["all"]["right"]
    assert (right.low, right.high) == pytest.approx((0.3006, 0.9544), abs=5e-5)
    assert found.groups["all"]["length"] == dataclasses.replace(right, value=2.0, low=2.0, high=2.0)
    assert found.failures == {"no d": 1} and found.tries == 4


def test_repeats_give_pass_hat_k_and_do_not_count_as_items() -> None:
    results = [result_of(letter, letter == "a" or (letter == "b" and repeat), repeat) for repeat in (0, 1) for letter in "ab"]
    found = summarise(results, Letters("ab", 2)).groups["all"]
    assert (found["right"].value, found["right"].items) == (0.75, 2)
    assert (found["pass^1"].value, found["pass^2"].value, found["pass^2"].items) == (0.75, 0.5, 2)
    assert "pass^1" not in summarise(results[:2], Letters("ab")).groups["all"]


def test_differences_are_over_the_same_items() -> None:
    found = differences(side("base", "a").results, side("model", "abcd").results, Letters())
    assert found["all"]["right"].value == 0.75 and found["all"]["right"].low > 0
    assert found["late"]["right"].value == 1 and found["early, vowel"]["right"].value == 0
    assert found["all"]["length"].value == 0


def test_the_report_shows_before_after_and_failures(tmp_path: Path) -> None:
    compared = Score(Letters(), [side("base", "a"), side("model", "abc")])
    report = write_score(tmp_path / "out", compared, "xagent eval agent x")
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == report
    assert report["sides"]["base"]["groups"]["all"]["right"] == {"value": 0.25, "low": 0.0456, "high": 0.6994, "items": 4}
    assert report["differences"]["all"]["right"]["value"] == 0.5
    assert report["sides"]["model"]["failures"] == {"no d": 1}
    text = (tmp_path / "out" / "report.md").read_text()
    assert "| right letters | 25.0 % [4.6, 69.9] | 75.0 % [30.1, 95.4] | +50.0 [+0.0, +100.0] |" in text
    early = text[text.index("## Early\n") : text.index("## By group")]
    assert "| items | 2 | 2 | " in early and "| right letters | 50.0 % [9.5, 90.5] | 100.0 % [34.2, 100.0] |" in early
    assert "## Late" not in text and "## Early, vowel" not in text, "groups of groups only"
    assert "| early | 2 | 50.0 %" in text and "| no b | 1 | 0 |" in text and "| of tries | 4 | 4 |" in text
    assert "### no d (1)" in text and "````text\n[user]\nd\n[model]\n```\n````" in text and "### no b" not in text
    assert "xagent eval agent x" in text and "| path | a | abc |" in text and "| seconds | 1.2 | 1.2 |" in text
    lines = console(compared).splitlines()
    assert len({len(line) for line in lines}) == 1 and lines[2].split() == ["items", "4", "4"]
    alone = markdown(Score(Letters(), [side("model", "abcd")]), "x")
    assert (
        "| right letters | items | model |" in alone
        and "difference" not in alone
        and "## Failures by kind\n\nNone." in alone
        and "Transcripts" not in alone
    )


def test_only_what_is_missing_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads = []
    monkeypatch.setattr(Contestant, "load", lambda self: loads.append(self.path) or self.path)
    model = Contestant("abc", "adapter", AgentSettings())
    whole = score(Letters(), model, "a", out=tmp_path)
    assert loads == ["a", "abc"] and [one.settings["adapter"] for one in whole.sides] == [None, "adapter"]
    lines = (tmp_path / "model.items.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "model.items.jsonl").write_text("".join(lines[:3]) + lines[3][:20])
    suite = Letters()
    resumed = score(suite, model, "a", out=tmp_path)
    assert suite.asked == [("c", 0), ("d", 0)] and loads == ["a", "abc", "abc"]
    assert [one.results for one in resumed.sides] == [one.results for one in whole.sides]
    with pytest.raises(OutputError, match='letters was "abcd", is "ab"'):
        score(Letters("ab"), model, "a", out=tmp_path)


# --- how replies are made -------------------------------------------------------------------------------------------


def test_seeds_differ_between_items_and_repeats_and_nothing_else() -> None:
    replying = Replying(temperature=0.7, repeats=2)
    seeds = {replying.seed_of(key) for key in replying.keys(["a", "b"])}
    assert len(seeds) == 4 and replying.seed_of(("a", 1)) == Replying(temperature=0.1, repeats=9).seed_of(("a", 1))
    assert replying.sampling(("a", 0)) == {"temperature": 0.7, "top_p": 1.0, "seed": replying.seed_of(("a", 0))}
    assert Replying().sampling(("a", 0)) == {}
    with pytest.raises(ConfigError, match="2 repeats of greedy replies are all the same; give --temperature"):
        Replying(repeats=2)
    for wrong in ({"max_new_tokens": 0}, {"temperature": -1.0}, {"top_p": 0.0}):
        with pytest.raises(ConfigError):
            Replying(**wrong)


# --- the playground -------------------------------------------------------------------------------------------------


class Scripted:
    """A language model that says these replies, the last one for ever."""

    def __init__(self, *replies: str) -> None:
        self.replies, self.settings = replies, []

    def chat(self, messages, **settings) -> str:
        self.settings.append(settings)
        turn = sum(message["role"] == "assistant" for message in messages)
        return self.replies[min(turn, len(self.replies) - 1)]


def call(name: str, arguments: str) -> str:
    return f"Thought:x\nAction:{name}\nAction Input:{arguments}"


ADD = '{"first": 2, "second": 3}'


@pytest.mark.parametrize(
    "replies, failure, recovery",
    [
        ([call("add_numbers", ADD), "Final Answer:5"], None, None),
        ([call("add_numbers", '{"first": 2}'), call("add_numbers", ADD), "Final Answer:5"], None, (1, 1)),
        ([call("add_numbers", '{"first": 2}'), "Final Answer:5"], "wrong arguments", (0, 1)),
        ([call("add_numbers", '{"first": 1, "second": 4}'), "Final Answer:5"], "wrong arguments", None),
        ([call("hours_to_seconds", '{"hours": 1}'), "Final Answer:5"], "wrong tool", None),
        (["Final Answer:5"], "no call", None),
        (["Sure!"], "stopped after 2 unreadable replies in a row", None),
        ([call("add_numbers", ADD), "Sure!"], "stopped after 2 unreadable replies in a row", None),
        ([call("add_numbers", ADD), "Final Answer:6"], "wrong final answer", None),
    ],
)
def test_an_episodes_failure_is_the_first_thing_that_went_wrong(replies, failure, recovery) -> None:
    tools = tuple(TOOLS[name].spec() for name in ("add_numbers", "hours_to_seconds"))
    step = Step("I use add_numbers.", "add_numbers", {"first": 2, "second": 3}, "5")
    episode = Episode("x", "single", "en", tools, "Add 2 and 3.", (step,), "I know.", "The sum is 5.", ("5",))
    found = item_of(run_episode(Scripted(*replies), episode), 2)
    assert (found.failure, found.counts.get("recovery")) == (failure, recovery)
    assert found.key == ("x", 2) and found.group == "seen tools, single" and ItemResult.from_json(found.to_json()) == found
    assert found.transcript[0] == ("tools", "add_numbers, hours_to_seconds")
    assert found.transcript[-1] == ("expected", 'add_numbers {"first": 2, "second": 3} -> 5\nThe sum is 5.')
    if failure is not None and failure.startswith("stopped"):
        patient = item_of(run_episode(Scripted(*replies), episode, max_turn=len(replies)))
        assert patient.failure == ("no final answer" if len(replies) > 1 else "no reply in valid format")


def test_the_playground_suite_runs_what_it_is_asked_for() -> None:
    replying = Replying(40, 2, temperature=0.5, repeats=2)
    suite, llm, found = PlaygroundSuite(replying, 3), Scripted("Sure!"), []
    keys = suite.keys()
    assert len(keys) == len(set(keys)) == 12
    suite.run(llm, keys[5:8], found.append, "x")
    assert [result.key for result in found] == keys[5:8]
    assert all(result.counts["turns"] == (2, 1) and result.counts["solved"] == (0, 1) for result in found)
    assert {settings["seed"] for settings in llm.settings} == {replying.seed_of(key) for key in keys[5:8]}
    assert suite.settings["max_unreadable"] == 2
    assert PlaygroundSuite(replying, 3).settings == suite.settings != PlaygroundSuite(replying, 3, seed=1).settings


# --- BFCL and held-out records through a model ----------------------------------------------------------------------


def test_bfcl_goes_through_prompt_reply_and_rules(shared_data: Path) -> None:
    suite = BfclSuite(shared_data / "bfcl", Replying(), limit=2)
    right = {
        "simple_python_0": [ToolCall("calculate_triangle_area", {"base": 10, "height": 5})],
        "simple_python_1": [ToolCall("math.factorial", {"number": 6})],
        "parallel_0": [
            ToolCall("spotify.play", {"artist": "maroon 5", "duration": 15}),
            ToolCall("spotify.play", {"artist": "Taylor Swift", "duration": 20}),
        ],
        "irrelevance_1": [ToolCall("math.sum", {"numbers": [1.0]})],
    }
    conversations = []
    for key, _ in suite.keys():
        item = suite._items[key]
        calls = tuple(right.get(key, ()))
        reply = Message("assistant", "" if calls else "None of the tools can do that.", tool_calls=calls)
        conversations.append(dataclasses.replace(item.conversation(), messages=(*item.question, reply)))
    tokenizer = tiny_tokenizer()
    prompts = PromptBuilder(tokenizer, "llama3_chat", "hermes")
    reciter = Reciter(conversations, tokenizer, prompts.template, "hermes")
    found: list[ItemResult] = []
    suite.run(LagentLLM(reciter, prompts), suite.keys(), found.append, "x")
    assert {result.item: result.failure for result in found} == {
        "simple_python_0": None,
        "simple_python_1": "wrong value",
        "multiple_0": "no call",
        "multiple_1": "no call",
        "parallel_0": None,
        "parallel_1": "no call",
        "irrelevance_0": None,
        "irrelevance_1": "call where none is right",
    }
    assert reciter.batches == [8]
    assert all(result.counts["valid_format"] == (1, 1) for result in found)


class RecitingModel(Reciter):
    """Recites, and has a model whose likelihoods can be asked for."""

    def __init__(self, conversations, tokenizer, template, protocol) -> None:
        super().__init__(conversations, tokenizer, template, protocol)
        self.model = tiny_model()


def record(**arguments: object) -> dict[str, object]:
    episode = next(generate_episodes(1, 5, kinds=["single"], languages=["en"]))
    conversation = episodes_to_conversation([episode])
    (made,) = (one for message in conversation.messages for one in message.tool_calls)
    calls = [{"type": "function", "function": {"name": made.name, "arguments": {**made.arguments, **arguments}}}]
    return {
        "messages": [
            {"role": "user", "content": episode.question},
            {"role": "assistant", "content": "", "tool_calls": calls},
            {"role": "tool", "content": "42"},
            {"role": "assistant", "content": "It is 42."},
        ],
        "tools": [tool.to_openai() for tool in conversation.tools],
    }


def held_out(tmp_path: Path, records: list[object], said: list[dict[str, object]]) -> list[ItemResult]:
    path = tmp_path / "held_out.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")
    tokenizer = tiny_tokenizer()
    prompts = PromptBuilder(tokenizer, "llama3_chat", "hermes")
    llm = LagentLLM(RecitingModel([openai_map_fn(one) for one in said], tokenizer, prompts.template, "hermes"), prompts)
    found: list[ItemResult] = []
    suite = HeldOutSuite(path, Replying(), format="openai")
    suite.run(llm, suite.keys(), found.append, "x")
    return found


CHAT = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]}


def test_held_out_records_are_scored_under_teacher_forcing(tmp_path: Path) -> None:
    found = held_out(tmp_path, [record(), CHAT], [record(), CHAT])
    assert [(result.key, result.group, result.failure) for result in found] == [
        (("1", 0), "records with calls", None),
        (("2", 0), "records without calls", None),
    ]
    assert found[0].counts["exact_call"] == found[0].counts["right_tool"] == (1, 1)
    assert "exact_call" not in found[1].counts
    nll, count = found[1].counts["nll"]
    tokenizer = tiny_tokenizer()
    ids = tokenizer.encode(
        "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nHello.<|eot_id|>"
    )
    labels = [IGNORE_INDEX] * (len(ids) - 7) + ids[-7:]
    with torch.no_grad():
        loss = tiny_model()(input_ids=torch.tensor([ids]), labels=torch.tensor([labels])).loss
    assert count == 7 and nll / count == pytest.approx(float(loss), rel=1e-5)


def test_another_call_than_the_records_is_a_failure_with_a_transcript(tmp_path: Path) -> None:
    name = next(iter(record()["messages"][1]["tool_calls"][0]["function"]["arguments"]))  # type: ignore[index]
    (found,) = held_out(tmp_path, [record()], [record(**{name: 987})])
    assert found.failure == "wrong arguments"
    assert found.counts["exact_call"] == (0, 1) and found.counts["right_tool"] == (1, 1)
    assert "987" in dict(found.transcript)["model"] and "987" not in dict(found.transcript)["expected"]
    with pytest.raises(DataError, match=r"held_out.jsonl:2.*See all that can't be read: xagent check-dataset"):
        held_out(tmp_path, [CHAT, {"messages": [{"role": "wizard", "content": "x"}]}], [CHAT])


def test_replies_end_where_the_world_speaks() -> None:
    tokenizer = tiny_tokenizer()
    prompts = PromptBuilder(tokenizer, "llama3_chat", "react_ms_agent")
    text = 'Action: add\nAction Input: {"a": 1}\nObservation: 2\nFinal Answer: 2'
    reciter = Reciter(
        [Conversation((Message("user", "x"), Message("assistant", text)))], tokenizer, prompts.template, "react_ms_agent"
    )
    first, second = taught_replies(reciter.trained[0], prompts)
    assert first.text == 'Action: add\nAction Input: {"a": 1}\n' and first.calls == (ToolCall("add", {"a": 1}),)
    assert second.text == "Final Answer: 2" and second.calls == ()
    assert tokenizer.decode(list(second.prompt)).endswith("Observation: 2\n")


def test_token_scores_do_not_depend_on_padding() -> None:
    model, rows = tiny_model(), [[1, 2, 3, 4, 5], [7, 8, 9], [6, 5]]
    scored = [[True] * 5, [False, False, True], [False, False]]
    together = score_tokens(model, rows, scored)
    alone = [score_tokens(model, [row], [flags])[0] for row, flags in zip(rows, scored, strict=True)]
    assert [one.count for one in together] == [4, 1, 0] and together[2].nll == 0
    assert [one.nll for one in together] == pytest.approx([one.nll for one in alone], rel=1e-5)


# --- the command ----------------------------------------------------------------------------------------------------


def test_the_command_scores_compares_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    words = ["eval", "agent", "xagent:nano/base", "--compare", "xagent:nano/base", "--limit", "1", "--template", "llama3_chat"]
    words += ["--max-new-tokens", "4", "--max-turn", "1", "--out", str(tmp_path)]
    assert main(words) == 0
    out = capsys.readouterr().out
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["suite"]["name"] == "playground" and report["sides"]["base"]["tries"] == 2
    assert report["sides"]["model"]["settings"]["protocol"] == "react" and report["differences"]["all"]["solved"]["value"] == 0
    assert "episodes solved" in out and "report.md" in out
    monkeypatch.setattr(Contestant, "load", lambda self: pytest.fail("everything was finished"))
    assert main(words) == 0
    assert json.loads((tmp_path / "report.json").read_text())["sides"]["model"]["groups"] == report["sides"]["model"]["groups"]
    assert main([*words, "--seed", "1"]) == 2
    assert "seed was 0, is 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, message",
    [
        (["--suite", "nonsense"], "no such suite or data file"),
        (["--suite", "bfcl", "--bfcl-dir", "nowhere"], "none of BFCL's files are there"),
        (["--repeats", "3"], "give --temperature"),
        (["--limit", "0"], "--limit must be >= 1"),
        (["--max-new-tokens", "0"], "max_new_tokens must be >= 1"),
        (["--protocol", "nonsense"], "unknown protocol"),
    ],
)
def test_wrong_words_are_refused_before_a_model_is_loaded(words: list[str], message: str, capsys, tmp_path: Path) -> None:
    assert main(["eval", "agent", "xagent:nano/base", "--out", str(tmp_path / "out"), *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_sampled_replies_do_not_depend_on_who_shares_the_batch() -> None:
    tokenizer = tiny_tokenizer()
    llm = LagentLLM(Generator(tiny_model(), tokenizer, 4), PromptBuilder(tokenizer, "llama3_chat"))
    suite = PlaygroundSuite(Replying(6, 1, temperature=1.0, repeats=2), 1)
    together: list[ItemResult] = []
    suite.run(llm, suite.keys(), together.append, "x")
    alone: list[ItemResult] = []
    for key in suite.keys():
        suite.run(llm, [key], alone.append, "x")
    assert {result.key: result.transcript for result in together} == {result.key: result.transcript for result in alone}
    assert len({result.transcript for result in alone}) == 4
