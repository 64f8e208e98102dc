"""Records that training did not see: how likely the model finds what they teach, and whether it makes their calls."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from tqdm import tqdm

from xagent.chat.message import ToolCall
from xagent.data.encode import Example, encode
from xagent.data.inspect.sources import open_file
from xagent.errors import DataError
from xagent.evaluation.grading import same_value
from xagent.evaluation.items import ItemKey, ItemResult, Metric
from xagent.evaluation.replies import Reply, Replying, chunks, reply_to_all
from xagent.evaluation.suite import text_digest
from xagent.inference.prompting import PromptBuilder
from xagent.model.teacher_forcing import TokenScores, score_tokens

WITH_CALLS, WITHOUT_CALLS = "records with calls", "records without calls"
TOO_LONG, NOTHING = "not scored: longer than the model's context", "not scored: nothing is learned of it"


@dataclass(frozen=True)
class HeldOutReply:
    """One reply that a record teaches.

    Attributes:
        prompt: the ids before it: exactly what was trained, and what generation starts from.
        text: its words.
        calls: the calls in it.
    """

    prompt: tuple[int, ...]
    text: str
    calls: tuple[ToolCall, ...]


class HeldOutSuite:
    """Records in any format that ``xagent check-dataset`` reads, encoded as training encodes them.

    Every reply of a record is scored with the record's true history before it (teacher forcing). *nll* and *likeliest* come from
    one forward pass over what is learned. Where the record calls tools, the model writes the reply itself, and *exact call* says
    that all its calls are the record's: names and arguments, in order, numbers by value, texts regardless of case and outer
    white space. Groups tell records with calls from those without.

    Args:
        path: the data. replying: how replies are made.
        limit: only the first so many records.
        format: of the records; ``'auto'`` recognises it.

    Raises:
        DataError: the data can't be read.
        ConfigError: the format can't be recognised.
    """

    name = "held_out"
    success = "exact_call"
    metrics: Mapping[str, Metric] = {
        "exact_call": Metric("exact calls"),
        "right_tool": Metric("right tools"),
        "likeliest": Metric("learned tokens that are the likeliest"),
        "nll": Metric("nll, nats a token", kind="mean", better="lower"),
    }

    def __init__(self, path: Path, replying: Replying, limit: int | None = None, format: str = "auto") -> None:
        self.replying = replying
        opened = open_file(path, format)
        self._encoder = opened.encoder
        count = len(opened.table) if limit is None else min(limit, len(opened.table))
        self._table = opened.table.select(range(count))
        self.settings: Mapping[str, Any] = {
            **asdict(replying),
            "limit": limit,
            "format": opened.format,
            "items": text_digest(dict(row) for row in self._table),
        }

    def keys(self) -> list[ItemKey]:
        """Give every record, named by its place from 1."""
        return self.replying.keys([str(index + 1) for index in range(len(self._table))])

    def run(self, llm: Any, todo: Collection[ItemKey], finished: Callable[[ItemResult], None], title: str) -> None:
        """Score these; ``finished`` is given each result."""
        with tqdm(total=len(todo), desc=title, disable=None, unit="record") as bar:
            for some in chunks(llm, list(todo)):
                examples = [self._example(int(item) - 1, llm.prompts) for item, _ in some]
                for result in self._score(llm, list(some), examples):
                    finished(result)
                    bar.update()

    def _example(self, index: int, prompts: PromptBuilder) -> Example:
        """Encode a record as the model was trained.

        Raises:
            DataError: it can't be read.
        """
        encoder = replace(self._encoder, tokenizer=prompts.tokenizer, template=prompts.template, protocol=prompts.protocol.name)
        read = encoder.read(self._table[index], index)
        if read.fault is not None:
            raise DataError(f"{read.fault}. See all that can't be read: xagent check-dataset FILE")
        return encode(read.segments, prompts.tokenizer)

    def _score(self, llm: Any, keys: Sequence[ItemKey], examples: Sequence[Example]) -> list[ItemResult]:
        faults = [_fault(example, getattr(llm.generator, "context", None)) for example in examples]
        fit = [place for place, fault in enumerate(faults) if fault is None]
        learned = [[weight > 0 for weight in examples[place].loss_weights] for place in fit]
        scores = score_tokens(llm.generator.model, [examples[place].input_ids for place in fit], learned)
        replies = [taught_replies(examples[place], llm.prompts) for place in fit]
        asked = [(place, reply) for place, found in zip(fit, replies, strict=True) for reply in found if reply.calls]
        prompts = [reply.prompt for _, reply in asked]
        written = reply_to_all(llm, prompts, [keys[place] for place, _ in asked], self.replying)
        made: dict[int, list[tuple[HeldOutReply, Reply]]] = {}
        for (place, reply), answer in zip(asked, written, strict=True):
            made.setdefault(place, []).append((reply, answer))
        by_place = dict(zip(fit, scores, strict=True))
        results = []
        for place, key in enumerate(keys):
            fault = faults[place]
            if fault is not None:
                results.append(ItemResult(*key, WITHOUT_CALLS, {}, fault, (("record", key[0]),)))
            else:
                results.append(_result(key, by_place[place], made.get(place, []), llm.prompts))
        return results


def _fault(example: Example, context: int | None) -> str | None:
    if context is not None and len(example) > context:
        return TOO_LONG
    return None if example.trained_tokens else NOTHING


def taught_replies(example: Example, prompts: PromptBuilder) -> list[HeldOutReply]:
    """Give the replies that an example teaches: each unbroken run of learned tokens."""
    found = []
    for learned, group in groupby(range(len(example)), key=lambda place: example.loss_weights[place] > 0):
        if learned:
            places = list(group)
            text = prompts.text(example.input_ids[places[0] : places[-1] + 1])
            parsed = prompts.protocol.parse(text)
            calls = parsed.calls if parsed.status == "calls" else ()
            found.append(HeldOutReply(tuple(example.input_ids[: places[0]]), text, calls))
    return found


def _result(key: ItemKey, scores: TokenScores, made: Sequence[tuple[HeldOutReply, Reply]], prompts: PromptBuilder) -> ItemResult:
    kinds = [_kind(wanted, answer, prompts) for wanted, answer in made]
    counts = {
        "nll": (scores.nll, float(scores.count)),
        "likeliest": (float(scores.right), float(scores.count)),
    }
    if made:
        counts["exact_call"] = (float(kinds.count(None)), float(len(kinds)))
        counts["right_tool"] = (float(sum(kind in (None, "wrong arguments") for kind in kinds)), float(len(kinds)))
    failure = next((kind for kind in kinds if kind is not None), None)
    said: list[tuple[str, str]] = [("record", key[0])]
    for (wanted, answer), kind in zip(made, kinds, strict=True):
        if kind is not None:
            calls = [{"name": call.name, "arguments": dict(call.arguments)} for call in wanted.calls]
            prompt = prompts.tokenizer.decode(list(wanted.prompt[-400:]))
            said += [("end of the prompt", prompt), ("model", answer.text)]
            said.append(("expected", f"{json.dumps(calls, ensure_ascii=False)}\n{kind}"))
    return ItemResult(*key, WITH_CALLS if made else WITHOUT_CALLS, counts, failure, tuple(said))


def _kind(wanted: HeldOutReply, answer: Reply, prompts: PromptBuilder) -> str | None:
    """Say what is wrong with a reply's calls, None where they are the record's."""
    parsed = prompts.protocol.parse(answer.text)
    if parsed.status != "calls":
        return "incomplete call" if parsed.status == "incomplete" else "no call"
    if [call.name for call in parsed.calls] != [call.name for call in wanted.calls]:
        return "wrong tool"
    same = (same_value(one.arguments, other.arguments) for one, other in zip(parsed.calls, wanted.calls, strict=True))
    return None if all(same) else "wrong arguments"
