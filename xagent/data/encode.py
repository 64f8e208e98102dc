"""From rendered segments to token examples.

Text is tokenised in *runs*. A run ends at the template's special tokens and where a reply begins, so that (1) the prompt that
generation meets is an exact prefix of what was trained, and (2) no data can turn into a special token, or into an ordinary one
that frames turns (``frame_tokens.py``). Within a run the text is tokenised once and weights go from characters to tokens through
the tokenizer's offsets.

Millions of conversations pass through here, so what needs no work gets none: a run of one weight and turn is tokenised without
offsets, of many conversations word by word from memory (``word_memo.py``), and what only the template writes is cut and tokenised
once for each tokenizer.

Shape suffix: T tokens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING

from xagent.chat.template import Segment
from xagent.data.frame_tokens import frame_tokens, guarded
from xagent.data.word_memo import WordMemo, whole_ids
from xagent.errors import DataError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

IGNORE_INDEX = -100
"""The label of a position that is not learned (PyTorch's and Hugging Face's convention)."""

Offsets = Sequence[tuple[int, int]]
_Part = tuple[Sequence[int], float, int]
"""Ids that share a weight and a turn: (ids, weight, turn); never empty."""

_REMEMBERED = 1024
"""So many texts of templates are remembered for each tokenizer; a template has a dozen."""


@dataclass
class Example:
    """Token ids of one sample, with the weight of each in the loss.

    ``labels[i]`` is ``input_ids[i]`` where the token is learned and -100 elsewhere; the shift by one is the loss's.
    ``turn_ends`` are the indices behind the last token of each turn.
    """

    input_ids: list[int] = field(default_factory=list)
    loss_weights: list[float] = field(default_factory=list)
    turn_ends: list[int] = field(default_factory=list)

    @property
    def labels(self) -> list[int]:
        """The learned ids, -100 elsewhere."""
        return [token if weight else IGNORE_INDEX for token, weight in zip(self.input_ids, self.loss_weights, strict=True)]

    @property
    def trained_tokens(self) -> int:
        """How many tokens are learned; the first token of a sample can't be predicted and never counts."""
        weights = self.loss_weights
        return len(weights) - weights.count(0.0) - bool(weights and weights[0])

    def __len__(self) -> int:
        return len(self.input_ids)

    def cut(self, length: int) -> Example:
        """Give the first ``length`` tokens."""
        ends = [end for end in self.turn_ends if end <= length]
        return Example(self.input_ids[:length], self.loss_weights[:length], ends)


@dataclass(frozen=True)
class _Habits:
    """What must be known about a tokenizer.

    Attributes:
        special: finds the tokens in a text that only a template may write; None where there are none.
        marks_start: a text's beginning is tokenised unlike the same words further on (SentencePiece puts a space before it).
        marks_after_special: the same behind a special token.
        guarded: the tokenizer to read data with that spells some of them.
        cut: cuts a template's text at these tokens.
        template_ids: gives the ids of a run that only a template wrote: (what is behind it, text) -> ids.
        words: remembers the words of many texts; None of a tokenizer that does not read word by word.
    """

    special: re.Pattern[str] | None
    marks_start: bool
    marks_after_special: bool
    guarded: Tokenizer
    cut: Callable[[str], _Cut]
    template_ids: Callable[[str, str], list[int]]
    words: Callable[[], WordMemo | None]


@dataclass(frozen=True)
class _Cut:
    """A template's text, cut at special tokens.

    Attributes:
        tokens: of each token the text before it, its id, and whether it takes the white space behind it along.
        rest: the text behind the last one.
    """

    tokens: tuple[tuple[str, int, bool], ...]
    rest: str


@lru_cache(maxsize=8)
def _habits(tokenizer: PreTrainedTokenizerBase) -> _Habits:
    if not tokenizer.is_fast:
        kind = type(tokenizer).__name__
        raise DataError(f"{kind} is a slow tokenizer; xagent needs a fast one, which knows the place of each token")
    added = frame_tokens(tokenizer)
    tokens = {str(token) for token in added} | set(tokenizer.all_special_tokens)
    ordered = sorted((token for token in tokens if token), key=len, reverse=True)
    special = re.compile("|".join(re.escape(token) for token in ordered)) if ordered else None
    ids = {token: int(tokenizer.convert_tokens_to_ids(token)) for token in ordered}
    swallowing = frozenset(str(token) for token in added if token.rstrip)
    alone = _plain_ids(tokenizer, "a")
    return _Habits(
        special=special,
        marks_start=_plain_ids(tokenizer, "\na")[-len(alone) :] != alone,
        guarded=guarded(tokenizer, added),
        marks_after_special=bool(ordered) and _plain_ids(tokenizer, f"{ordered[0]}a")[1:] == alone,
        cut=lru_cache(_REMEMBERED)(partial(_cut, special, ids, swallowing)),
        template_ids=lru_cache(_REMEMBERED)(partial(_template_ids, tokenizer)),
        words=cache(partial(WordMemo.of, tokenizer.backend_tokenizer)),
    )


def _cut(special: re.Pattern[str] | None, ids: Mapping[str, int], swallowing: frozenset[str], text: str) -> _Cut:
    tokens, position = [], 0
    for match in special.finditer(text) if special else ():
        tokens.append((text[position : match.start()], ids[match[0]], match[0] in swallowing))
        position = match.end()
    return _Cut(tuple(tokens), text[position:])


def _template_ids(tokenizer: PreTrainedTokenizerBase, behind: str, text: str) -> list[int]:
    run = _Run(behind, text, [(len(text), 0.0, 0)], [])
    _tokenise([run], tokenizer, None)
    return [token for ids, _, _ in run.parts for token in ids]


def _plain_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False).input_ids)


@lru_cache(maxsize=8)
def bos_ids(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Give what the tokenizer itself puts before a text: its BOS, or nothing."""
    ids = list(tokenizer("").input_ids)
    while ids and ids[-1] == tokenizer.eos_token_id and ids[-1] != tokenizer.bos_token_id:
        ids.pop()
    return tuple(ids)


@dataclass(slots=True)
class _Run:
    """Text that is tokenised in one go.

    Attributes:
        behind: what stands before it: nothing, a special token, or text.
        spans: (end of the span in characters, weight, turn); neighbours differ in weight or turn.
        parts: filled in by :func:`_tokenise`.
    """

    behind: str
    text: str
    spans: list[tuple[int, float, int]]
    parts: list[_Part]


class _Cutter:
    """Cuts a conversation's segments into runs of text and single special tokens.

    Attributes:
        pieces: the parts of each run, in order; those of a run that is still to be tokenised are empty.
        runs: these runs.
    """

    def __init__(self, habits: _Habits, eos: int | None, runs: list[_Run]) -> None:
        self.habits, self.eos = habits, eos
        self.runs = runs
        self.pieces: list[list[_Part]] = []
        self._begin("nothing")
        self.swallow = False
        """The last special token takes along the white space that follows."""

    def cut(self, segments: Iterable[Segment]) -> list[list[_Part]]:
        """Give the pieces of a conversation."""
        for segment in segments:
            if segment.starts_reply and self.text:
                self._end("text")
            if segment.kind == "eos":
                assert self.eos is not None
                self._special(self.eos, segment)
            elif segment.kind == "content":
                if segment.text:
                    self._add(segment.text, segment)
                    self.is_template = self.swallow = False
            else:
                self._template(segment)
        self._end("nothing")
        return self.pieces

    def _template(self, segment: Segment) -> None:
        cut = self.habits.cut(segment.text)
        for before, token, swallows in cut.tokens:
            if before:
                self._template_text(before, segment)
            self._special(token, segment)
            self.swallow = swallows
        self._template_text(cut.rest, segment)

    def _template_text(self, text: str, segment: Segment) -> None:
        if self.swallow:
            text = text.lstrip()
        if text:
            self._add(text, segment)
            self.swallow = False

    def _special(self, token: int, segment: Segment) -> None:
        self._end("special")
        self.pieces.append([([token], segment.weight, segment.turn)])

    def _add(self, text: str, segment: Segment) -> None:
        self.text += text
        weight, turn = segment.weight, segment.turn
        if self.spans and self.spans[-1][1] == weight and self.spans[-1][2] == turn:
            self.spans.pop()
        self.spans.append((len(self.text), weight, turn))

    def _begin(self, behind: str) -> None:
        self.behind, self.text, self.is_template = behind, "", True
        self.spans: list[tuple[int, float, int]] = []

    def _end(self, following_behind: str) -> None:
        """End the run; the next one stands behind what is named."""
        if not self.text:
            self.behind = following_behind
            return
        if self.is_template and len(self.spans) == 1:
            _, weight, turn = self.spans[0]
            ids = self.habits.template_ids(self.behind, self.text)
            self.pieces.append([(ids, weight, turn)] if ids else [])
        else:
            run = _Run(self.behind, self.text, self.spans, [])
            self.runs.append(run)
            self.pieces.append(run.parts)
        self._begin(following_behind)


def encode(segments: Sequence[Segment], tokenizer: PreTrainedTokenizerBase) -> Example:
    """Tokenise one rendered conversation.

    The tokenizer's BOS comes first, once, unless the segments begin with it.

    Raises:
        DataError: the end-of-sequence token is needed and the tokenizer has none, or the tokenizer is a slow one.
    """
    return _encode([segments], tokenizer, None)[0]


def encode_batch(batch: Sequence[Sequence[Segment]], tokenizer: PreTrainedTokenizerBase) -> list[Example]:
    """Tokenise many rendered conversations at once: each as :func:`encode` does, with what is remembered of those before.

    Raises:
        DataError: as :func:`encode`.
    """
    return _encode(batch, tokenizer, _habits(tokenizer).words())


def _encode(batch: Sequence[Sequence[Segment]], tokenizer: PreTrainedTokenizerBase, words: WordMemo | None) -> list[Example]:
    if tokenizer.eos_token_id is None and any(segment.kind == "eos" for segments in batch for segment in segments):
        raise DataError("this chat template ends replies with the tokenizer's EOS token, and the tokenizer has none")
    habits, runs = _habits(tokenizer), list[_Run]()
    conversations = [_Cutter(habits, tokenizer.eos_token_id, runs).cut(segments) for segments in batch]
    _tokenise(runs, tokenizer, words)
    return [_assemble(pieces, bos_ids(tokenizer)) for pieces in conversations]


def _assemble(pieces: list[list[_Part]], bos: tuple[int, ...]) -> Example:
    first = next((ids[0] for parts in pieces for ids, _, _ in parts), None)
    input_ids = list(bos) if bos and first != bos[0] else []
    loss_weights = [0.0] * len(input_ids)
    turn_ends: list[int] = []
    turn = -1
    for parts in pieces:
        for ids, weight, its_turn in parts:
            if its_turn != turn and turn >= 0:
                turn_ends.append(len(input_ids))
            turn = its_turn
            input_ids += ids
            loss_weights += [weight] * len(ids)
    if first is not None:
        turn_ends.append(len(input_ids))
    return Example(input_ids, loss_weights, turn_ends)


_ANCHORS = ("\n", "a", "。")
"""What is put before a run that must not be tokenised like a text's beginning; the first that does not merge with it serves."""


def _tokenise(runs: list[_Run], tokenizer: PreTrainedTokenizerBase, words: WordMemo | None) -> None:
    """Fill in each run's parts; runs whose data spells a special token are read with special tokens off."""
    habits = _habits(tokenizer)
    spells = [bool(habits.special and habits.special.search(run.text)) for run in runs]
    for split in (False, True):
        chosen = [run for run, its in zip(runs, spells, strict=True) if its is split]
        anchored = [run for run in chosen if _needs_anchor(run, habits)]
        free = [run for run in chosen if not _needs_anchor(run, habits)] if anchored else chosen
        for anchor in _ANCHORS:
            anchored = _read(anchored, tokenizer, split, anchor)
        free += anchored
        _read_whole([run for run in free if len(run.spans) == 1], tokenizer, split, None if split else words)
        several = [run for run in free if len(run.spans) > 1]
        _read(several if split or words is None else _read_spans(several, tokenizer, words), tokenizer, split)


def _needs_anchor(run: _Run, habits: _Habits) -> bool:
    if not habits.marks_start or run.behind == "nothing":
        return False
    return run.behind == "text" or not habits.marks_after_special


def _read_whole(runs: list[_Run], tokenizer: PreTrainedTokenizerBase, split: bool, words: WordMemo | None) -> None:
    """Tokenise runs of one span: nobody needs to know where in the text a token stands, which is most of the work."""
    texts = [run.text for run in runs]
    with _backend(tokenizer, split) as backend:
        read = words.read(texts) if words is not None else whole_ids(backend, texts)
    for run, ids in zip(runs, read, strict=True):
        if ids:
            run.parts.append((ids, *run.spans[0][1:]))


def _read_spans(runs: list[_Run], tokenizer: PreTrainedTokenizerBase, words: WordMemo) -> list[_Run]:
    """Tokenise runs of several spans from memory; give those of which that can't be done."""
    left = []
    with _backend(tokenizer, split=False):
        for run in runs:
            read = words.read_spans(run.text, [end for end, _, _ in run.spans])
            if read is None:
                left.append(run)
            else:
                run.parts += [(ids, weight, turn) for ids, (_, weight, turn) in zip(read, run.spans, strict=True) if ids]
    return left


def _read(runs: list[_Run], tokenizer: PreTrainedTokenizerBase, split: bool, anchor: str = "") -> list[_Run]:
    """Tokenise runs behind an anchor; give those whose beginning merged with it."""
    if not runs:
        return []
    with _backend(tokenizer, split) as backend:
        encodings = backend.encode_batch([anchor + run.text for run in runs], add_special_tokens=False)
    merged = []
    for run, encoding in zip(runs, encodings, strict=True):
        ids, offsets = encoding.ids, encoding.offsets
        first = next((place for place, (_, end) in enumerate(offsets) if end > len(anchor)), len(ids)) if anchor else 0
        if first < len(ids) and offsets[first][0] < len(anchor):
            merged.append(run)
        else:
            run.parts += _weigh(run.spans, ids[first:], offsets[first:], len(anchor))
    return merged


@contextmanager
def _backend(tokenizer: PreTrainedTokenizerBase, split: bool) -> Iterator[Tokenizer]:
    """Give what tokenises: the tokenizer's own __call__ spends most of its time on lists that nobody reads here."""
    backend = _habits(tokenizer).guarded if split else tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = split
    try:
        yield backend
    finally:
        backend.encode_special_tokens = tokenizer.split_special_tokens


def _weigh(spans: list[tuple[int, float, int]], ids: list[int], offsets: Offsets, shift: int) -> Iterator[_Part]:
    """Cut ids by spans: a token belongs to the span in which its first character lies."""
    place = 0
    for number, (end, weight, turn) in enumerate(spans):
        last = number == len(spans) - 1
        following = len(ids) if last else place
        while following < len(ids) and offsets[following][0] - shift < end:
            following += 1
        if following > place:
            yield ids[place:following], weight, turn
        place = following
