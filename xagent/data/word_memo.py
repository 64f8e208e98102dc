"""Each word is tokenised once: what a tokenizer made of it is remembered.

A text says a few thousand words again and again, and looking one up costs a fraction of cutting it up and merging it anew.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

from xagent.data.word_pattern import word_pattern

if TYPE_CHECKING:
    from tokenizers import Tokenizer

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
        self._ids = _Words(backend, word)

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

    def _look_up(self, text: str) -> list[int] | None:
        if not text.isascii() or (self._added and self._added.search(text)):
            return None
        try:
            return list(chain.from_iterable(map(self._ids.__getitem__, self._word.findall(text))))
        except _NotRememberedError:
            return None


class _NotRememberedError(LookupError):
    """A word is too long, or would be cut otherwise if it stood alone."""


class _Words(dict[str, tuple[int, ...]]):
    """Words and their ids; a word that is new is tokenised."""

    def __init__(self, backend: Tokenizer, word: re.Pattern[str]) -> None:
        super().__init__()
        self._backend, self._word = backend, word

    def __missing__(self, word: str) -> tuple[int, ...]:
        alone = self._word.match(word)
        if len(word) > LONGEST or alone is None or alone.end() < len(word):
            raise _NotRememberedError(word)
        if len(self) >= REMEMBERED:
            self.clear()
        ids = self[word] = tuple(self._backend.encode(word, add_special_tokens=False).ids)
        return ids
