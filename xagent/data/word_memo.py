"""Each word is tokenised once: what a tokenizer made of it is remembered.

A text says a few thousand words again and again, and looking one up costs a fraction of cutting it up and merging it anew.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import accumulate, chain, pairwise
from typing import TYPE_CHECKING

from xagent.data.word_pattern import keeps_offsets, word_pattern

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

REMEMBERED = 1 << 16
"""So many words are remembered, which takes some 20 MB; then all are forgotten, and the next ones learnt."""

LONGEST = 64
"""Characters of a word that is remembered; longer ones (rules of signs, encoded files) hardly come again."""


def whole_ids(backend: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Give the ids of each text as the tokenizer makes them of the whole, with no special token before or behind."""
    return [encoding.ids for encoding in backend.encode_batch_fast(texts, add_special_tokens=False)] if texts else []


class WordMemo:
    """Tokenises texts as a tokenizer does, by words that it remembers.

    What is not plain is left to the tokenizer: text beyond ASCII, or that holds an added token.

    Args:
        backend: the tokenizer; it must not be changed any more, nor truncate or pad while the memo reads.
        word: its words, as :func:`xagent.data.word_pattern.word_pattern` gives them.
    """

    def __init__(self, backend: Tokenizer, word: re.Pattern[str]) -> None:
        self._backend, self._word = backend, word
        added = [re.escape(token.content) for token in backend.get_added_tokens_decoder().values()]
        self._added = re.compile("|".join(added)) if added else None
        self._ids = _Words(backend, word, lambda encoding: tuple(encoding.ids))
        self._starts = _Words(backend, word, lambda encoding: tuple(start for start, _ in encoding.offsets))
        self._tells_places = keeps_offsets(backend)

    @classmethod
    def of(cls, backend: Tokenizer) -> WordMemo | None:
        """Give the memo of a tokenizer; None where it can't be shown that it reads word by word."""
        word = word_pattern(backend)
        return cls(backend, word) if word else None

    def read(self, texts: Sequence[str]) -> list[list[int]]:
        """Give the ids of each text: what :func:`whole_ids` gives."""
        found = [self._look_up(text) for text in texts]
        others = iter(whole_ids(self._backend, [text for text, ids in zip(texts, found, strict=True) if ids is None]))
        return [next(others) if ids is None else ids for ids in found]

    def read_spans(self, text: str, ends: Sequence[int]) -> list[list[int]] | None:
        """Give the ids of each span of a text; a token belongs to the span in which its first character lies.

        Args:
            text: the whole text, which is tokenised as one.
            ends: where each span ends, in characters; the last one at the text's end.

        Returns:
            A list for each span; None where the tokenizer itself must be asked.
        """
        if not self._tells_places or not self._is_plain(text):
            return None
        words = self._word.findall(text)
        try:
            tokens = [self._ids[word] for word in words]
            word_ends, token_ends = list(accumulate(map(len, words))), list(accumulate(map(len, tokens)))
            places = [0]
            for end in ends[:-1]:
                number = bisect_left(word_ends, end)
                within = bisect_left(self._starts[words[number]], end - word_ends[number] + len(words[number]))
                places.append(token_ends[number] - len(tokens[number]) + within)
        except _NotRememberedError:
            return None
        ids = list(chain.from_iterable(tokens))
        return [ids[start:stop] for start, stop in pairwise([*places, len(ids)])]

    def _look_up(self, text: str) -> list[int] | None:
        if not self._is_plain(text):
            return None
        try:
            return list(chain.from_iterable(map(self._ids.__getitem__, self._word.findall(text))))
        except _NotRememberedError:
            return None

    def _is_plain(self, text: str) -> bool:
        return text.isascii() and not (self._added and self._added.search(text))


class _NotRememberedError(LookupError):
    """A word is too long, or would be cut otherwise if it stood alone."""


class _Words(dict[str, tuple[int, ...]]):
    """Words, and what is kept of their encoding; a word that is new is tokenised."""

    def __init__(self, backend: Tokenizer, word: re.Pattern[str], kept: Callable[[Encoding], tuple[int, ...]]) -> None:
        super().__init__()
        self._backend, self._word, self._kept = backend, word, kept

    def __missing__(self, word: str) -> tuple[int, ...]:
        alone = self._word.match(word)
        if len(word) > LONGEST or alone is None or alone.end() < len(word):
            raise _NotRememberedError(word)
        if len(self) >= REMEMBERED:
            self.clear()
        kept = self[word] = self._kept(self._backend.encode(word, add_special_tokens=False))
        return kept
