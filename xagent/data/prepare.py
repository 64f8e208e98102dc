"""From a table of records to a table of token examples, with every record accounted for."""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xagent.chat.message import ROLES, Conversation, Source, check_characters, printable
from xagent.chat.supervision import EVERYTHING_SAID, Supervision
from xagent.chat.template import ChatTemplate, Segment, render
from xagent.data.encode import Example, encode_batch
from xagent.data.formats.auto import MapFn
from xagent.data.parts import COUNTED, EXAMPLES_SHOWN, PartAccount, encode_in_parts
from xagent.data.report import BAD, CUT, KEPT, NOTHING_LEARNED, TOO_LONG, DatasetReport
from xagent.data.rows import FILE, LINE, record_in
from xagent.data.self_cognition import placeholder_in
from xagent.data.tokenizer_template import TokenizerTemplate
from xagent.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

AnyTemplate = ChatTemplate | TokenizerTemplate
_COLUMNS = ("input_ids", "loss_weights", "outcome", "note", "tokens", "trained", "messages", "placeholder")


@dataclass(frozen=True)
class RowEncoder:
    """Turns batches of records into token examples; a callable that other processes can be given."""

    tokenizer: PreTrainedTokenizerBase
    map_fn: MapFn
    template: AnyTemplate
    protocol: str
    max_length: int
    too_long: str
    supervision: Supervision = EVERYTHING_SAID

    def __call__(self, batch: Mapping[str, list[Any]], indices: list[int]) -> dict[str, list[Any]]:
        """Encode a batch of rows; every row gives one output row, an empty one where it is dropped."""
        rows = [{key: values[place] for key, values in batch.items()} for place in range(len(indices))]
        read = [self.read(row, index) for row, index in zip(rows, indices, strict=True)]
        outputs: dict[str, list[Any]] = {key: [] for key in _COLUMNS}
        examples = encode_batch([record.segments for record in read], self.tokenizer)
        for record, example in zip(read, examples, strict=True):
            if record.fault is not None:
                _emit(outputs, Example(), BAD, record.fault, record)
            else:
                kept, outcome, note = fit(example, self.max_length, self.too_long)
                _emit(outputs, kept, outcome, f"{record.source}: {note}" if note else "", record)
        return outputs

    def read(self, row: Mapping[str, Any], index: int) -> ReadRow:
        """Read and render one row of the table; never raises on what a record holds."""
        source = place_of(row, index)
        try:
            record = record_in(row)
            if (identity := _id_of(record)) is not None:
                source = replace(source, id=identity)
            conversation = self._conversation(record).with_source(source).validate()
            segments = render(conversation, self.template, self.protocol, supervision=self.supervision)
            text = "".join([segment.text for segment in segments])
            check_characters(text)
        except DataError as error:
            fault = str(error) if str(source) in str(error) else f"{source}: {error}"
            return ReadRow(source, [], [0] * len(COUNTED), printable(fault))
        placeholder = _placeholder(segments) if "{{" in text else None
        return ReadRow(source, segments, _counts(conversation), conversation=conversation, placeholder=placeholder)

    def _conversation(self, record: Mapping[str, Any]) -> Conversation:
        name = getattr(self.map_fn, "__name__", type(self.map_fn).__name__)
        try:
            conversation = self.map_fn(record)
        except DataError:
            raise
        except Exception as error:
            raise DataError(f"{name} can't read it: {type(error).__name__}: {error}") from error
        if not isinstance(conversation, Conversation):
            raise DataError(f"{name} must give a Conversation, got {type(conversation).__name__}")
        return conversation


@dataclass(frozen=True)
class ReadRow:
    """A row as it is before it is tokenised.

    Attributes:
        source: where it came from.
        segments: the rendered text; empty where the row can't be read.
        counts: its messages and calls, as ``COUNTED`` names them.
        fault: why it can't be read, with its place.
        conversation: what was rendered; None where the row can't be read.
        placeholder: a place for the model's name or author that is learned as it stands, such as ``{{NAME}}``.
    """

    source: Source
    segments: list[Segment]
    counts: list[int]
    fault: str | None = None
    conversation: Conversation | None = None
    placeholder: str | None = None


def place_of(row: Mapping[str, Any], index: int) -> Source:
    """Say where a row came from; what `xagent convert agent_flan` writes names it, as our own tables do."""
    for file, line in ((FILE, LINE), ("source", "line")):
        if isinstance(row.get(file), str) and isinstance(row.get(line), int):
            return Source(row[file], row[line])
    return Source(line=index + 1)


def _id_of(record: Mapping[str, Any]) -> str | None:
    found = record.get("id")
    return str(found) if isinstance(found, (str, int)) and found != "" else None


def _counts(conversation: Conversation) -> list[int]:
    roles = [message.role for message in conversation.messages]
    calls = sum([len(message.tool_calls) for message in conversation.messages])
    return [*map(roles.count, ROLES), calls]


def _placeholder(segments: Sequence[Segment]) -> str | None:
    found = (placeholder_in(segment.text) for segment in segments if segment.weight)
    return next(filter(None, found), None)


def _emit(outputs: dict[str, list[Any]], example: Example, outcome: str, note: str, record: ReadRow) -> None:
    # NumPy reads an array of C numbers at once, a list number by number.
    ids, weights = np.asarray(array("i", example.input_ids)), np.asarray(array("f", example.loss_weights))
    held = f"{record.source}: {record.placeholder}" if record.placeholder and outcome in (KEPT, CUT) else ""
    values = (ids, weights, outcome, note, len(example), example.trained_tokens, record.counts, held)
    for key, value in zip(_COLUMNS, values, strict=True):
        outputs[key].append(value)


def fit(example: Example, max_length: int, too_long: str) -> tuple[Example, str, str]:
    """Cut whole trailing turns, or drop, what is longer than max_length; drop what teaches nothing.

    Returns:
        The example, what became of it, and why where it is not kept as it was.
    """
    outcome, note = KEPT, ""
    if len(example) > max_length:
        note = f"{len(example)} tokens, max_length is {max_length}"
        ends = [end for end in example.turn_ends if end <= max_length]
        shorter = example.cut(ends[-1]) if ends and too_long == "drop_turns" else Example()
        if not shorter.trained_tokens:
            return Example(), TOO_LONG, note
        example, outcome = shorter, CUT
    if not example.trained_tokens:
        return Example(), NOTHING_LEARNED, "no message of it is trained"
    return example, outcome, note


def prepare(table: Dataset, encoder: RowEncoder, num_proc: int | None, folder: Path) -> None:
    """Encode a table and write examples and report into ``folder``, in constant memory; go on from what is there already.

    Bad records are left out and counted; whether they may be is :func:`refuse_bad_records`' question, asked of the report.

    Raises:
        XAgentError: a process was killed from outside; what is finished stays.
    """
    if num_proc is None:
        num_proc = 1 if len(table) < 2000 else min(len(os.sched_getaffinity(0)), 8)
    account(encode_in_parts(table, encoder, num_proc, folder)).save(folder / "report.json")


def account(parts: Sequence[PartAccount]) -> DatasetReport:
    """Add up what became of the records."""
    report = DatasetReport()
    messages: Counter[str] = Counter(dict.fromkeys(COUNTED, 0))
    outcomes: Counter[str] = Counter()
    for part in parts:
        report.records += part.stop - part.start
        report.tokens += part.tokens
        report.trained_tokens += part.trained_tokens
        report.placeholders += part.placeholders
        outcomes.update(part.outcomes)
        messages.update(part.messages)
        for outcome, notes in part.examples.items():
            shown = report.examples.setdefault(outcome, [])
            shown += notes[: EXAMPLES_SHOWN - len(shown)]
    report.outcomes, report.messages = dict(sorted(outcomes.items())), dict(messages)
    assert report.reconciles(), f"{report.records} records came in, {report.outcomes} went out"
    return report


def refuse_bad_records(reports: Iterable[DatasetReport], on_bad_record: str) -> None:
    """Refuse data that training can't start from, all data sets' faults at once.

    Raises:
        DataError: bad records with ``on_bad_record='error'``, or nothing is left to learn from a data set.
    """
    faults = []
    for report in reports:
        if report.outcomes.get(BAD) and on_bad_record == "error":
            faults.append(_bad_records(report))
        elif not report.kept:
            faults.append(_nothing_left(report))
    if faults:
        raise DataError("\n".join(faults))


def _bad_records(report: DatasetReport) -> str:
    shown = report.examples[BAD]
    lines = "\n".join(f"  {note}" for note in shown)
    more = report.outcomes[BAD] - len(shown)
    return (
        f"{report.outcomes[BAD]} of {report.records} records can't be read:\n{lines}\n"
        + (f"  and {more} more\n" if more > 0 else "")
        + "Mend them, or drop and count them with on_bad_record='drop'."
    )


def _nothing_left(report: DatasetReport) -> str:
    lines = [f"nothing is left to learn from {report.records} record(s):"]
    for outcome, count in report.outcomes.items():
        lines.append(f"  {count} {outcome}, for example {report.examples[outcome][0]}")
    if TOO_LONG in report.outcomes:
        lines.append("Raise max_length.")
    if NOTHING_LEARNED in report.outcomes:
        lines.append("Learned are an assistant's messages whose loss is not false.")
    return "\n".join(lines)
