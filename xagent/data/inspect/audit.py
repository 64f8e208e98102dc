"""The account of raw records: what becomes of each, and of each call in it, in one pass and constant memory."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from xagent.chat.message import Conversation, Message, excerpt, printable
from xagent.chat.protocol import get_protocol
from xagent.data.encode import Example, encode_batch
from xagent.data.inspect.calls import calls_in_record
from xagent.data.inspect.kinds import spoken_turns
from xagent.data.inspect.schema import call_faults
from xagent.data.inspect.seen import Seen, content_fingerprint, questions_in, text_fingerprint
from xagent.data.inspect.sources import UNLIMITED, RecordSource
from xagent.data.inspect.unread import Unread, read_beside, watched_map_fn
from xagent.data.inspect.written import written_calls
from xagent.data.prepare import ReadRow, RowEncoder, fit, place_of, record_in
from xagent.data.report import BAD, CUT, KEPT, NOTHING_LEARNED, PLACEHOLDER
from xagent.errors import DataError

EXAMPLES_KEPT = 3
LOST_IN_DROPPED = "calls in dropped records"
LOST_IN_CUT = "calls in turns that were cut"
LOST_BY_MAP = "calls that the map function lost"
LOST_IN_TEXT = "calls that can't be read back from the rendered text"
LOST_AS_WRITTEN = "calls written in a text that no protocol can read"
LOST_TO_PROTOCOL = "calls written in another protocol ({wording}) than the chosen one ({protocol})"
MORE_UNREAD = "others"
_UNREAD_NAMED = 100
_ROWS_AT_ONCE = 256


@dataclass
class Tally:
    """Counts by reason, with the first places of each.

    Attributes:
        counts: how often. examples: the first few, as ``file:line: what``.
    """

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, example: str, count: int = 1) -> None:
        """Count a reason ``count`` times, with one example."""
        self.counts[reason] += count
        shown = self.examples.setdefault(reason, [])
        if len(shown) < EXAMPLES_KEPT:
            shown.append(example)

    @property
    def total(self) -> int:
        """All counts together."""
        return sum(self.counts.values())


@dataclass
class Audit:
    """What became of the records of a data set. ``records == kept + dropped.total`` and ``calls == rendered + lost.total``.

    Attributes:
        formats, protocols: what the records were read as, with why; and what words calls.
        records: how many came in. kept: those that are trained on, ``repaired`` among them.
        unreadable: records that can't be read, all of them dropped. repaired, dropped: by reason.
        calls: in the raw records. rendered: those in the text that is trained on. lost: by reason.
        faults: calls against the tools' schemas, by reason. faulty_calls: calls with a fault; checked_calls: all that were
            compared; unlisted_calls: calls of records that list no tools.
        roles: messages by role. turns: records by number of messages. with_tools: records that list tools.
        lengths: records by tokens (characters where there is no tokenizer), before any cut. max_length: what a sample may have.
        tokens, trained: of what is kept; None without a tokenizer.
        duplicates: records that repeat an earlier one. leaks: those with questions of the held-out file.
        held_out_unread: records of the held-out file that can't be read, so that their questions were not looked for.
        unread: columns, and keys of turns, that the map function doesn't ask for, by the records in which they have a value.
        placeholders: kept records that teach the model a place for its name or author, such as ``{{NAME}}``, as it stands.
    """

    formats: dict[str, str] = field(default_factory=dict)
    protocols: list[str] = field(default_factory=list)
    records: int = 0
    kept: int = 0
    unreadable: int = 0
    repaired: Tally = field(default_factory=Tally)
    dropped: Tally = field(default_factory=Tally)
    calls: int = 0
    rendered: int = 0
    lost: Tally = field(default_factory=Tally)
    faults: Tally = field(default_factory=Tally)
    checked_calls: int = 0
    faulty_calls: int = 0
    unlisted_calls: int = 0
    roles: Counter[str] = field(default_factory=Counter)
    turns: Counter[int] = field(default_factory=Counter)
    with_tools: int = 0
    lengths: Counter[int] = field(default_factory=Counter)
    max_length: int | None = None
    tokens: int | None = None
    trained: int | None = None
    duplicates: Tally = field(default_factory=Tally)
    leaks: Tally = field(default_factory=Tally)
    held_out_unread: Tally = field(default_factory=Tally)
    unread: Tally = field(default_factory=Tally)
    placeholders: Tally = field(default_factory=Tally)

    def reconciles(self) -> bool:
        """Tell whether records and calls add up."""
        return self.records == self.kept + self.dropped.total and self.calls == self.rendered + self.lost.total

    @property
    def losses(self) -> str:
        """Say how many records and calls were dropped, repaired or not looked for; empty where none was."""
        found = {
            "record(s) dropped": self.dropped.total,
            "record(s) repaired": self.repaired.total,
            "call(s) dropped": self.lost.total,
            "held-out record(s) not read": self.held_out_unread.total,
        }
        return ", ".join(f"{count:,} {what}" for what, count in found.items() if count)

    def to_json(self) -> dict[str, Any]:
        """Give the account for machines; see docs/inspecting.md."""
        tallies = (self.repaired, self.dropped, self.lost)
        reasons = {reason: count for tally in tallies for reason, count in tally.counts.items()}
        reasons |= {f"schema: {reason}": count for reason, count in self.faults.counts.items()}
        reasons |= {
            reason: count
            for tally in (self.duplicates, self.leaks, self.held_out_unread, self.placeholders)
            for reason, count in tally.counts.items()
        }
        account: dict[str, Any] = {
            "format": ", ".join(self.formats),
            "protocol": ", ".join(self.protocols),
            "records": {
                "in": self.records,
                "kept": self.kept,
                "repaired": self.repaired.total,
                "dropped": self.dropped.total,
            },
            "calls": {"in": self.calls, "rendered": self.rendered, "dropped": self.lost.total},
            "reasons": reasons,
            "unread": dict(self.unread.counts),
        }
        if self.tokens is not None:
            account["tokens"] = {"all": self.tokens, "trained": self.trained}
        return account


@dataclass(frozen=True)
class HeldOut:
    """The questions of held-out data.

    Attributes:
        questions: their fingerprints. unread: records that can't be read, by reason.
    """

    questions: Seen
    unread: Tally


def audit(sources: Sequence[RecordSource], held_out: HeldOut | None = None) -> Audit:
    """Read, render and, where there is a tokenizer, tokenise all records, and account for them.

    Args:
        sources: the records.
        held_out: the questions that must not occur.
    """
    account, seen = Audit(), Seen()
    if held_out is not None:
        account.held_out_unread = held_out.unread
    for source in sources:
        account.formats.setdefault(source.format, source.why)
        if source.encoder.protocol not in account.protocols:
            account.protocols.append(source.encoder.protocol)
        for record in _examined(source):
            _count(account, record)
            if record.row.conversation is not None:
                _count_conversation(account, record, seen, held_out.questions if held_out else None)
    seen.close()
    return account


@dataclass(frozen=True)
class Examined:
    """A record and what becomes of it.

    Attributes:
        row: as it was read. encoder: what read it. raw_calls: calls in the raw record. unread: what the map function left unread
            of it. length: before any cut, in tokens or characters. example: what is kept, None where nothing is tokenised.
            outcome, note: as the data set's report has them.
    """

    row: ReadRow
    encoder: RowEncoder
    raw_calls: int
    unread: list[Unread]
    length: int
    example: Example | None
    outcome: str
    note: str

    @property
    def place(self) -> str:
        """File and line."""
        return str(self.row.source)

    @property
    def turns_cut(self) -> int:
        """Trailing turns that are not trained on."""
        if self.outcome != CUT or self.example is None:
            return 0
        turns = max(segment.turn for segment in self.row.segments if segment.kind == "content") + 1
        return max(turns - len(self.example.turn_ends), 0)


def _examined(source: RecordSource) -> Iterator[Examined]:
    map_fn, watch = watched_map_fn(source.encoder.map_fn)
    encoder = replace(source.encoder, map_fn=map_fn)
    for start in range(0, len(source.table), _ROWS_AT_ONCE):
        batch = source.table[start : start + _ROWS_AT_ONCE]
        size = len(next(iter(batch.values())))
        rows = [{key: values[place] for key, values in batch.items()} for place in range(size)]
        read: list[tuple[ReadRow, int, list[Unread]]] = []
        for place, raw in enumerate(rows):
            watch.unread, beside = [], read_beside(raw)
            found = encoder.read(raw, start + place)
            read.append((found, _raw_calls(raw), [one for one in watch.unread if one.name not in beside]))
        if encoder.tokenizer is None:
            yield from (_unmeasured(row, encoder, count, unread) for row, count, unread in read)
            continue
        examples = encode_batch([row.segments for row, _, _ in read], encoder.tokenizer)
        for (row, count, unread), example in zip(read, examples, strict=True):
            kept, outcome, note = (
                (example, BAD, row.fault or "") if row.fault else fit(example, encoder.max_length, encoder.too_long)
            )
            yield Examined(row, encoder, count, unread, len(example), kept, outcome, note)


def _unmeasured(row: ReadRow, encoder: RowEncoder, calls: int, unread: list[Unread]) -> Examined:
    length = sum(len(segment.text) for segment in row.segments)
    learned = any(segment.weight for segment in row.segments)
    outcome, note = (KEPT, "") if learned else (NOTHING_LEARNED, "no message of it is trained")
    if row.fault:
        outcome, note = BAD, row.fault
    return Examined(row, encoder, calls, unread, length, None, outcome, note)


def _raw_calls(row: dict[str, Any]) -> int:
    try:
        return calls_in_record(record_in(row))
    except DataError:
        return 0


def _count(account: Audit, record: Examined) -> None:
    """Count a record, its outcome and its calls."""
    account.records += 1
    if record.outcome == BAD:
        account.unreadable += 1
        account.dropped.add(reason_of(record.note, record.place), record.note)
    elif record.outcome == KEPT:
        account.kept += 1
    elif record.outcome == CUT:
        account.kept += 1
        account.repaired.add("trailing turns cut", f"{record.place}: {record.note}")
    else:
        account.dropped.add(record.outcome.removeprefix("dropped: "), f"{record.place}: {record.note}")
    if record.outcome not in (KEPT, CUT):
        mapped = record.row.conversation.messages if record.row.conversation is not None else ()
        calls = max(record.raw_calls, sum(map(_calls_of, mapped)))
        account.calls += calls
        if calls:
            account.lost.add(LOST_IN_DROPPED, record.place, calls)
    elif record.row.conversation is not None:
        _count_calls(account, record, record.row.conversation)
        if record.row.placeholder:
            account.placeholders.add(PLACEHOLDER, f"{record.place}: {record.row.placeholder}")
    if record.example is not None:
        kept = record.outcome in (KEPT, CUT)
        account.tokens = (account.tokens or 0) + (len(record.example) if kept else 0)
        account.trained = (account.trained or 0) + (record.example.trained_tokens if kept else 0)
        if record.encoder.max_length < UNLIMITED:
            account.max_length = max(account.max_length or 0, record.encoder.max_length)
    if not record.row.fault:
        account.lengths[record.length] += 1


def _count_calls(account: Audit, record: Examined, conversation: Conversation) -> None:
    """Follow each call of a kept record from the raw row to the text that is trained on."""
    turns = spoken_turns(conversation, record.encoder.protocol)
    kept = len(turns) - record.turns_cut
    said = [(place, turn.message, turn.text) for place, turn in enumerate(turns) if turn.message is not None]
    mapped = 0
    for place, message, text in said:
        count = _calls_of(message)
        mapped += count
        if count and place >= kept:
            account.lost.add(LOST_IN_CUT, record.place, count)
        elif message.tool_calls:
            _count_rendered(account, record, count, _readable(message, text, record.encoder.protocol))
        elif count:
            _count_written(account, record, message, text)
    account.calls += max(record.raw_calls, mapped)
    if record.raw_calls > mapped:
        account.lost.add(LOST_BY_MAP, record.place, record.raw_calls - mapped)


def _count_rendered(account: Audit, record: Examined, meant: int, rendered: int) -> None:
    account.rendered += rendered
    if rendered < meant:
        account.lost.add(LOST_IN_TEXT, record.place, meant - rendered)


def _count_written(account: Audit, record: Examined, message: Message, text: str) -> None:
    """Count the calls that stand in a message's words: the protocol's parser has to read them there, and in the rendered text."""
    protocol = record.encoder.protocol
    meant = 0
    for call in written_calls(message.content):
        if call.is_read_by(protocol):
            meant += 1
            continue
        reason = LOST_TO_PROTOCOL.format(wording=call.wording, protocol=protocol) if call.is_readable else LOST_AS_WRITTEN
        account.lost.add(reason, f"{record.place}: {excerpt(call.text.strip(), 60)}")
    readable = sum(call.is_read_by(protocol) for call in written_calls(text)) if meant and text != message.content else meant
    _count_rendered(account, record, meant, min(meant, readable))


def _calls_of(message: Message) -> int:
    """Count an assistant's calls: where it has none, those that stand in its words."""
    return len(message.tool_calls) or (len(written_calls(message.content)) if message.role == "assistant" else 0)


def _readable(message: Message, text: str, protocol: str) -> int:
    """Count the calls that the protocol's parser finds in a rendered reply as they were meant."""
    found = [(call.name, dict(call.arguments)) for call in get_protocol(protocol).parse(text).calls]
    count = 0
    for call in ((call.name, dict(call.arguments)) for call in message.tool_calls):
        if call in found:
            found.remove(call)
            count += 1
    return count


def _count_conversation(account: Audit, record: Examined, seen: Seen, held_out: Seen | None) -> None:
    conversation = record.row.conversation
    assert conversation is not None
    account.roles.update(message.role for message in conversation.messages)
    account.turns[len(conversation.messages)] += 1
    account.with_tools += bool(conversation.tools)
    _check_calls(account, record, conversation)
    for unread in record.unread:
        known = unread.name in account.unread.counts or len(account.unread.counts) < _UNREAD_NAMED
        account.unread.add(unread.name if known else MORE_UNREAD, f"{record.place}: {unread}")
    before = seen.first(content_fingerprint(conversation), record.place)
    if before is not None:
        account.duplicates.add("duplicate records", f"{record.place}: the same as {before}")
    if held_out is not None:
        _check_leaks(account, record, conversation, held_out)


def _check_calls(account: Audit, record: Examined, conversation: Conversation) -> None:
    calls = [call for message in conversation.messages for call in message.tool_calls]
    if not conversation.tools:
        account.unlisted_calls += len(calls)
        return
    for call in calls:
        faults = list(call_faults(call, conversation.tools))
        account.checked_calls += 1
        account.faulty_calls += bool(faults)
        for reason, what in faults:
            account.faults.add(reason, f"{record.place}: {what}")


def _check_leaks(account: Audit, record: Examined, conversation: Conversation, held_out: Seen) -> None:
    questions = [message.content for message in conversation.messages if message.role == "user" and message.content.strip()]
    found = [(question, place) for question in questions if (place := held_out.find(text_fingerprint(question))) is not None]
    if found:
        reason = "held-out: all user turns" if len(found) == len(questions) else "held-out: some user turns"
        question, place = found[0]
        account.leaks.add(reason, f"{record.place}: {' '.join(question.split())[:60]!r} is in {place}")


def held_out_questions(table: Iterable[Mapping[str, Any]]) -> HeldOut:
    """Remember the questions of held-out records; see :func:`xagent.data.inspect.seen.questions_in`.

    Args:
        table: rows, as :func:`xagent.data.load_dataset_from` gives them; those that can't be read are counted.

    Raises:
        DataError: there is no question in any of them.
    """
    held_out, count = HeldOut(Seen(), Tally()), 0
    for index, row in enumerate(table):
        place = str(place_of(row, index))
        try:
            record = record_in(row)
        except DataError as error:
            held_out.unread.add(f"held-out: {reason_of(str(error), place)}", f"{place}: {printable(str(error))}")
            continue
        for question in questions_in(record):
            held_out.questions.first(text_fingerprint(question), place)
            count += 1
    if not count:
        unread = f"; {held_out.unread.total:,} of its records can't be read" if held_out.unread.total else ""
        raise DataError(f"the held-out file has no user turn, instruction, query or question in any record{unread}")
    return held_out


_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`")


def reason_of(fault: str, place: str) -> str:
    """Give a fault's kind: its message without place, quoted data, numbers and details, so that like faults count together."""
    text = fault.replace(place, "").lstrip(": ")
    text = re.sub(r"^message \d+(?: \(role [^)]*\))?", "message", text)
    text = re.sub(r"^(message: )?call of .*?: ", "call: ", text)
    text = re.split(r"; |, got |, which |\. |: (?=[^a-z])| \(", text, maxsplit=1)[0]
    shorter = re.sub(r"\d+", "N", _QUOTED.sub("…", text)).strip(" :.")
    return shorter[:100] or "can't be read"
