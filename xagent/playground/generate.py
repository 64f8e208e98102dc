"""Seeded episodes: tasks for the playground's tools, with reference calls whose observations come from running them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from xagent.errors import ConfigError
from xagent.playground import phrases
from xagent.playground.chains import chains
from xagent.playground.episode import KINDS, Choice, Episode, Kind, Step
from xagent.playground.held_out import holds_held_out_text, is_examined
from xagent.playground.nested import RESULTS, Asking, draw_pair, nested_question
from xagent.playground.reading import called, known_values, plan
from xagent.playground.registry import TOOLS, call_tool, held_out_tools, training_tools
from xagent.playground.small_talk import NAMES, small_talk
from xagent.playground.tool import LANGUAGES, Language, PlaygroundTool, ToolFault

# Of 20 episodes in each language, how many are of a kind.
SHARES: Mapping[Kind, int] = {"single": 9, "chained": 3, "recovered": 2, "no_call": 2, "no_tool_fits": 2, "ask_back": 2}
_TRIES = 200

NESTED_SHARE = 0.6
"""How many tasks of two calls for training are put together from two tools (``nested.py``); the others, and all for
examinations, are those of ``chains.py``."""

SLIP_SHARE = 0.12
"""In how many tasks of two calls for training a name in the first is misspelled, if it has one that the tool can guess; the call
is mended before the second."""

WRONG_ORDER_SHARE = 0.35
"""In how many tasks of two calls for training the second call comes first, with the words that stand for its value in the
question, where the tool refuses that; the plan is then made anew. The mistake itself is not learned."""

Purpose = Literal["training", "examination"]
"""No question is asked for both, whatever the seeds: ``held_out.is_examined`` tells which of them it is for."""


def generate_episodes(
    count: int,
    seed: int,
    *,
    unseen: bool = False,
    purpose: Purpose = "examination",
    languages: Sequence[Language] = LANGUAGES,
    kinds: Sequence[Kind] | None = None,
    tools_per_episode: tuple[int, int] = (2, 4),
) -> Iterator[Episode]:
    """Generate episodes lazily; the same arguments give the same episodes, and a smaller count gives a prefix.

    Kinds and languages come in shuffled blocks that hold them in the shares of :data:`SHARES`.

    Args:
        unseen: the tools that a task needs are held out; otherwise held-out tools appear nowhere.
        purpose: what the questions are for; those about unseen tools are for examination only.
        kinds: the kinds to draw from; None is all of them.
        tools_per_episode: the least and the largest number of tools offered; a task that needs more gets more.

    Raises:
        ConfigError: the count is negative, a language or kind is unknown or none is given, the range is not 1 <= low <= high, or
            unseen tools are wanted for training.
    """
    chosen = KINDS if kinds is None else tuple(kinds)
    _check(count, unseen, purpose, languages, chosen, tools_per_episode)
    return _generate(count, seed, unseen, purpose, tuple(languages), chosen, tools_per_episode)


def _check(
    count: int, unseen: bool, purpose: str, languages: Sequence[str], kinds: Sequence[str], tools_per_episode: tuple[int, int]
) -> None:
    faults = []
    if count < 0:
        faults.append(f"count must be >= 0, got {count}")
    if purpose not in get_args(Purpose):
        faults.append(f"purpose must be one of {', '.join(get_args(Purpose))}, got {purpose!r}")
    elif unseen and purpose == "training":
        faults.append("held-out tools are never trained on: with unseen=True, purpose must be 'examination', got 'training'")
    if not languages or not set(languages) <= set(LANGUAGES):
        faults.append(f"languages must be some of {', '.join(LANGUAGES)}, got {list(languages)}")
    if not kinds or not set(kinds) <= set(KINDS):
        faults.append(f"kinds must be some of {', '.join(KINDS)}, got {list(kinds)}")
    low, high = tools_per_episode
    if not 1 <= low <= high:
        faults.append(f"tools_per_episode must be a range from 1 up, got {tools_per_episode}")
    if faults:
        raise ConfigError(faults)


def _generate(
    count: int,
    seed: int,
    unseen: bool,
    purpose: Purpose,
    languages: tuple[Language, ...],
    kinds: tuple[Kind, ...],
    offered: tuple[int, int],
) -> Iterator[Episode]:
    deck: list[tuple[Kind, Language]] = []
    side = "unseen" if unseen else "seen"
    for index in range(count):
        if not deck:
            deck = [(kind, language) for kind in kinds for language in languages for _ in range(SHARES[kind])]
            random.Random(f"deck {side} {seed} {index}").shuffle(deck)
        kind, language = deck.pop()
        maker = _Maker(random.Random(f"{side} {seed} {index}"), language, unseen, purpose, offered)
        yield maker.episode(f"{side}-{kind}-{language}-{index:05d}", kind)


@dataclass(frozen=True)
class _Task:
    """An episode without its id and its offered tools."""

    question: str
    steps: tuple[Step, ...]
    final_thought: str
    answer: str
    answer_contains: tuple[str, ...]
    needed: tuple[PlaygroundTool, ...] = ()
    forbidden: tuple[PlaygroundTool, ...] = ()
    choice: Choice | None = None


_Slip = tuple[dict[str, Any], str]  # wrong arguments, and what the tool says of them


class _Maker:
    """Makes one episode from one random stream."""

    def __init__(self, rng: random.Random, language: Language, unseen: bool, purpose: Purpose, offered: tuple[int, int]) -> None:
        self.rng, self.language, self.unseen, self.purpose, self.offered = rng, language, unseen, purpose, offered
        self.tools = held_out_tools() if unseen else training_tools()

    def episode(self, identifier: str, kind: Kind) -> Episode:
        makers: Mapping[Kind, Callable[[], _Task]] = {
            "single": self._single,
            "chained": self._chained,
            "recovered": self._recovered,
            "no_call": self._no_call,
            "no_tool_fits": self._no_tool_fits,
            "ask_back": self._ask_back,
        }
        while True:
            task = makers[kind]()
            if self.unseen or is_examined(task.question) == (self.purpose == "examination"):
                break
        specs = tuple(tool.spec(self.language) for tool in self._offer(task))
        return Episode(
            identifier,
            kind,
            self.language,
            specs,
            task.question,
            task.steps,
            task.final_thought,
            task.answer,
            task.answer_contains,
            self.unseen,
            tuple(tool.name for tool in task.forbidden),
            task.choice,
        )

    def _offer(self, task: _Task) -> list[PlaygroundTool]:
        """Draw the offered tools: the needed ones (or one of the task's side) among distractors."""
        taken = list(task.needed) or [self.rng.choice([tool for tool in self.tools if tool not in task.forbidden])]
        pool = list(TOOLS.values()) if self.unseen else list(self.tools)
        rest = [tool for tool in pool if tool not in taken and tool not in task.forbidden]
        count = max(0, self.rng.randint(*self.offered) - len(taken))
        taken += self.rng.sample(rest, min(count, len(rest)))
        self.rng.shuffle(taken)
        return taken

    def _say(self, templates: phrases.Phrases, **fields: str) -> str:
        return self.rng.choice(templates[self.language]).format(**fields)

    def _using(self, templates: phrases.Phrases, tool: PlaygroundTool, arguments: Mapping[str, Any], later: str = "") -> str:
        """Give the thought that names a tool and what is known of its parameters, and the plan of what comes after it."""
        spec = tool.spec(self.language)
        values = known_values(spec, arguments, self.language)
        return self._say(templates, tool=called(spec), values=values, later=later)

    def _question(self, tool: PlaygroundTool, arguments: Mapping[str, Any]) -> str:
        return self.rng.choice(tool.questions[self.language]).format(**arguments)

    def _answer(self, tool: PlaygroundTool, arguments: Mapping[str, Any], result: str) -> str:
        return self.rng.choice(tool.answers[self.language]).format(**arguments, result=result)

    def _step(self, tool: PlaygroundTool, arguments: Mapping[str, Any], thought: str, choice: Choice | None) -> Step:
        return Step(thought, tool.name, dict(arguments), call_tool(tool.name, arguments), choice=choice)

    def _solved(self, question: str, steps: tuple[Step, ...], needed: tuple[PlaygroundTool, ...]) -> _Task:
        result = steps[-1].observation
        answer = self._answer(needed[-1], steps[-1].arguments, result)
        return _Task(question, steps, self._say(phrases.KNOWN), answer, (result,), needed)

    def _single(self) -> _Task:
        tool = self.rng.choice(self.tools)
        arguments = tool.sample(self.rng, self.language)
        question = self._question(tool, arguments)
        step = self._step(tool, arguments, self._using(phrases.USE, tool, arguments), Choice(tool.name))
        return self._solved(question, (step,), (tool,))

    def _chained(self) -> _Task:
        if self.purpose == "training" and self.rng.random() < NESTED_SHARE:
            return self._nested()
        chain = self.rng.choice(chains(self.unseen))

        def asked(arguments: Mapping[str, Any], following: Mapping[str, Any]) -> str:
            return self.rng.choice(chain.questions[self.language]).format(**{**following, **arguments})

        for _ in range(_TRIES):
            task = self._two_calls(TOOLS[chain.first], TOOLS[chain.second], chain.parameter, asked)
            if task is not None and not task.steps[-1].observation.startswith("-"):
                return task
        raise AssertionError(f"no arguments fit the chain {chain.first} -> {chain.second}")

    def _nested(self) -> _Task:
        while True:
            first, second, parameter = draw_pair(self.rng)
            phrase = self.rng.choice(RESULTS[first].phrases[self.language])
            template = self.rng.choice(TOOLS[second].questions[self.language])
            asked = nested_question(self.rng, template, parameter, phrase, self.language)
            task = self._two_calls(TOOLS[first], TOOLS[second], parameter, asked)
            if task is not None and not holds_held_out_text(task.question):
                return task

    def _two_calls(self, first: PlaygroundTool, second: PlaygroundTool, parameter: str, asked: Asking) -> _Task | None:
        """Make a task whose first result is a parameter of the second call; None where the values drawn do not fit.

        Args:
            asked: gives the question from the two calls' arguments.
        """
        arguments = first.sample(self.rng, self.language)
        others = second.sample(self.rng, self.language)
        try:
            following = {**others, parameter: argument_from(call_tool(first.name, arguments), _type_of(second, parameter))}
            call_tool(second.name, following)
        except (ToolFault, ValueError):
            return None
        mistake = self._wrong_order(first, second, parameter, arguments, following)
        slip = self._slip(first, arguments) if self._sometimes(SLIP_SHARE) and mistake is None else None
        said = arguments if slip is None else slip[0]
        question = asked(said, following)
        later = plan(second.spec(self.language), following, parameter, self.language)
        thought = self._using(phrases.USE_FIRST if mistake is None else phrases.OTHER_FIRST, first, said, later)
        choice = Choice(first.name, later=second.name) if mistake is None else None
        start = (
            (self._step(first, said, thought, choice),)
            if slip is None
            else self._retried(first, arguments, slip, thought, choice)
        )
        end = self._step(second, following, self._using(phrases.USE_NEXT, second, following), None)
        return self._solved(question, (*([] if mistake is None else [mistake]), *start, end), (first, second))

    def _wrong_order(
        self,
        first: PlaygroundTool,
        second: PlaygroundTool,
        parameter: str,
        arguments: Mapping[str, Any],
        following: Mapping[str, Any],
    ) -> Step | None:
        """Call the second tool with the first one's value; None where that is no fault, for examinations, and mostly."""
        if not self._sometimes(WRONG_ORDER_SHARE):
            return None
        name = first.key or next(iter(arguments))
        wrong = {**following, parameter: arguments[name]}
        fault = _fault_of(second, wrong)
        if fault is None:
            return None
        if self.rng.random() < 0.5:
            thought, choice = self._using(phrases.USE, second, wrong), Choice(second.name)
        else:
            later = plan(first.spec(self.language), arguments, name, self.language)
            thought, choice = self._using(phrases.USE_FIRST, second, wrong, later), Choice(second.name, later=first.name)
        return Step(thought, second.name, wrong, fault, failed=True, choice=choice, mistaken=True)

    def _sometimes(self, share: float) -> bool:
        return self.purpose == "training" and self.rng.random() < share

    def _recovered(self) -> _Task:
        tool = self.rng.choice([tool for tool in self.tools if tool.key])
        for _ in range(_TRIES):
            arguments = tool.sample(self.rng, self.language)
            slip = self._slip(tool, arguments)
            if slip is not None:
                break
        else:
            raise AssertionError(f"no misspelling of a key of {tool.name} can be recovered")
        question = self._question(tool, slip[0])
        steps = self._retried(tool, arguments, slip, self._using(phrases.USE, tool, slip[0]), Choice(tool.name))
        return self._solved(question, steps, (tool,))

    def _slip(self, tool: PlaygroundTool, arguments: Mapping[str, Any]) -> _Slip | None:
        """Misspell the tool's key; None if it has none, or if the tool would not name the right one."""
        if tool.key is None:
            return None
        right = arguments[tool.key]
        wrong = {**arguments, tool.key: misspell(self.rng, right, self.language)}
        fault = _fault_of(tool, wrong)
        if fault is None or right in wrong[tool.key] or not _suggests(fault, right):
            return None
        return wrong, fault

    def _retried(
        self, tool: PlaygroundTool, arguments: Mapping[str, Any], slip: _Slip, thought: str, choice: Choice | None
    ) -> tuple[Step, Step]:
        """Give the call that fails and the one that mends it."""
        assert tool.key is not None
        wrong, fault = slip
        failed = Step(thought, tool.name, wrong, fault, failed=True, choice=choice)
        return failed, self._step(tool, arguments, self._say(phrases.TRY_AGAIN, value=arguments[tool.key]), None)

    def _no_call(self) -> _Task:
        question, answer = self.rng.choice(small_talk(self.language, self.unseen))
        name = self.rng.choice(NAMES[self.language])
        return _Task(question.format(name=name), (), self._say(phrases.NO_CALL), answer.format(name=name), ())

    def _no_tool_fits(self) -> _Task:
        tool = self.rng.choice(self.tools)
        question = self._question(tool, tool.sample(self.rng, self.language))
        answer = self._say(phrases.NO_TOOL_ANSWERS)
        marker = phrases.NO_TOOL_MARKER[self.language]
        return _Task(question, (), self._say(phrases.NO_TOOL), answer, (marker,), forbidden=(tool,), choice=Choice())

    def _ask_back(self) -> _Task:
        tool = self.rng.choice([tool for tool in self.tools if tool.incomplete.get(self.language)])
        missing, template = self.rng.choice(tool.incomplete[self.language])
        given = tool.sample(self.rng, self.language)
        question = template.format(**given)
        del given[missing]
        wanted = tool.parameters[missing]["description"][self.language]
        answer = self._say(phrases.ASK, value=wanted)
        return _Task(question, (), self._using(phrases.USE, tool, given), answer, (wanted,), (tool,), choice=Choice(tool.name))


def argument_from(result: str, kind: str) -> Any:
    """Turn a tool's result into an argument of the given JSON type.

    Raises:
        ValueError: the result is no number, and the type wants one.
    """
    if kind == "string":
        return result
    value = float(result)
    return int(value) if value == int(value) else value


def _type_of(tool: PlaygroundTool, parameter: str) -> str:
    return str(tool.parameters[parameter]["type"])


def misspell(rng: random.Random, key: str, language: Language) -> str:
    """Make one slip: a letter is dropped, doubled or swapped with its neighbor; in Chinese one character is another."""
    if language == "zh":
        index = rng.randrange(len(key))
        return key[:index] + rng.choice(phrases.CHINESE_SLIPS) + key[index + 1 :]
    places = [index for index in range(1, len(key) - 1) if key[index].isalpha() and key[index + 1].isalpha()]
    if not places:
        return key
    index = rng.choice(places)
    here, after = key[index], key[index + 1]
    slip = rng.choice((after, here + here + after, after + here))
    return key[:index] + slip + key[index + 2 :]


def _fault_of(tool: PlaygroundTool, arguments: Mapping[str, Any]) -> str | None:
    try:
        call_tool(tool.name, arguments)
    except ToolFault as fault:
        return str(fault)
    return None


def _suggests(fault: str, key: str) -> bool:
    return fault.endswith((f"Did you mean '{key}'?", f"您是不是要找“{key}”？"))
