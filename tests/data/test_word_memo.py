"""Texts read by remembered words have the tokens of texts read whole, whatever the tokenizer; who can't be shown to, never is."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from made_tokenizers import LLAMA3_SPLIT, QWEN_SPLIT, WORDS, byte_level
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from xagent.chat.template import Segment
from xagent.data import word_memo
from xagent.data.encode import encode, encode_batch
from xagent.data.word_memo import LONGEST, WordMemo, whole_ids
from xagent.data.word_pattern import word_pattern

ASCII = "".join(map(chr, range(128)))
O200K_SPLIT = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEEPSEEK_SPLITS = (
    r"\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
)
HAN_APART = r"\p{Han}|[\p{L}&&[^\p{Han}]]+|\p{N}|[^\p{L}\p{N}]+"
LOOKS_AHEAD = r"fo+(?=ba)|[a-z]|[^a-z]+"
LEAVES_GAPS = r"(?!zqx|qx!)[\s\S]"
"""Passes over what no pair of characters shows."""


def trained(pre_tokenizer: Any, normalizer: Any = None, special: tuple[str, ...] = ("<|end|>",)) -> Tokenizer:
    """Train a byte-level BPE of some hundred tokens behind a pre-tokenizer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=list(special), initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(WORDS * 3, trainer)
    return tokenizer


def cut_by(*patterns: str, behavior: Any = "isolated", **options: Any) -> pre_tokenizers.Sequence:
    """Cut by regular expressions, one after the other."""
    splits = [pre_tokenizers.Split(Regex(pattern), behavior, **options) for pattern in patterns]
    return pre_tokenizers.Sequence([*splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def with_words_of_its_own() -> Tokenizer:
    """Make one with ordinary added tokens, one of which takes white space along."""
    tokenizer = trained(cut_by(QWEN_SPLIT), normalizers.NFC())
    tokenizer.add_tokens([AddedToken("<tool_call>"), AddedToken(" of the", normalized=False), AddedToken("<pad>", lstrip=True)])
    return tokenizer


class CutInPython:
    """A pre-tokenizer of a user's own."""

    def pre_tokenize(self, text: Any) -> None:
        text.split(lambda number, normalized: [normalized])


def with_pre_tokenizer(pre_tokenizer: Any) -> Tokenizer:
    """Make an untrained tokenizer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    return tokenizer


READ_BY_WORDS: dict[str, Callable[[], Tokenizer]] = {
    "gpt2": lambda: trained(pre_tokenizers.ByteLevel(add_prefix_space=False)),
    "llama3": lambda: trained(cut_by(LLAMA3_SPLIT)),
    "qwen": lambda: trained(cut_by(QWEN_SPLIT), normalizers.NFC()),
    "o200k": lambda: trained(cut_by(O200K_SPLIT)),
    "han_apart": lambda: trained(cut_by(HAN_APART)),
    "digits": lambda: trained(pre_tokenizers.Sequence([cut_by(LLAMA3_SPLIT), pre_tokenizers.Digits(individual_digits=True)])),
    "looks_ahead": lambda: trained(cut_by(LOOKS_AHEAD)),
    "leaves_gaps": lambda: trained(cut_by(LEAVES_GAPS)),
    "own_words": with_words_of_its_own,
}
"""Tokenizers that are read by words."""

READ_WHOLE: dict[str, Callable[[], Tokenizer]] = {
    "prefix_space": lambda: trained(pre_tokenizers.ByteLevel(add_prefix_space=True)),
    "bytes_only": lambda: trained(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)),
    "deepseek": lambda: trained(cut_by(*DEEPSEEK_SPLITS)),
    "lower_case": lambda: trained(cut_by(LLAMA3_SPLIT), normalizers.Lowercase()),
    "replaced": lambda: trained(cut_by(LLAMA3_SPLIT), normalizers.Sequence([normalizers.NFC(), normalizers.Replace("e", "3")])),
    "removed": lambda: trained(cut_by(r"\s+", behavior="removed")),
    "merged": lambda: trained(cut_by(r"\s+", behavior="merged_with_next")),
    "inverted": lambda: trained(cut_by(LLAMA3_SPLIT, invert=True)),
    "fixed_text": lambda: trained(pre_tokenizers.Sequence([pre_tokenizers.Split(" ", "isolated"), pre_tokenizers.ByteLevel()])),
    "gaps": lambda: trained(cut_by(r"\p{L}+|\p{N}+")),
    "looks_behind": lambda: trained(cut_by(r"(?<=a)b|[\s\S]")),
    "line_start": lambda: trained(cut_by(r"^a|[\s\S]")),
    "any_but_newline": lambda: trained(cut_by(r".|\n")),
    "empty": lambda: trained(cut_by(r"a*")),
    "count_of_a_count": lambda: trained(cut_by(r"(?:ab){2}+|[\s\S]")),
    "metaspace": lambda: trained(pre_tokenizers.Metaspace()),
    "nothing": lambda: Tokenizer(models.BPE()),
    "python": lambda: with_pre_tokenizer(pre_tokenizers.PreTokenizer.custom(CutInPython())),
}
"""Tokenizers of which it is not shown."""


@cache
def tokenizer_named(name: str) -> Tokenizer:
    return {**READ_BY_WORDS, **READ_WHOLE}[name]()


@cache
def words_of(name: str) -> re.Pattern[str]:
    pattern = word_pattern(tokenizer_named(name))
    assert pattern is not None
    return pattern


def stands_alone(word: str, pattern: re.Pattern[str]) -> bool:
    """Say whether a word may be remembered."""
    return len(word) <= LONGEST and pattern.findall(word) == [word]


def memo_of(backend: Tokenizer) -> WordMemo:
    memo = WordMemo.of(backend)
    assert memo is not None
    return memo


PLAIN = ["'s", "'LL", " ", "  ", "\n", " \n", "\r\n", "\t", "12", "3456", "The", " of the", "of", "_", "#=-", "\x1c", "x" * 70]
MARKED = ["<|end|>", "<tool_call>", "<pad>", "  <pad>", "foo", "foob", "fooba", "zqx", "zqx!"]
BEYOND_ASCII = ["\x85", "é", "e\u0301", "北京", "“", "ſ", "\u212a"]
TRICKY = ["a zqx! of the", "fooba", "foo", "It's  12 <tool_call> of the\n\n ", "“x”"]
snippets = st.sampled_from([*PLAIN, *MARKED, *BEYOND_ASCII])
texts = st.lists(st.one_of(snippets, st.text(st.sampled_from(ASCII), max_size=6), st.text(max_size=4)), max_size=12).map("".join)


@pytest.mark.parametrize("name", READ_BY_WORDS)
@settings(max_examples=30, deadline=None)
@given(batch=st.lists(texts, max_size=3))
@example(batch=TRICKY)
def test_remembered_words_are_the_texts_tokens(name: str, batch: list[str]) -> None:
    backend = tokenizer_named(name)
    memo = WordMemo(backend, words_of(name))
    assert memo.read(batch) == whole_ids(backend, batch)
    assert memo.read(batch[::-1]) == whole_ids(backend, batch[::-1])  # now from memory


@pytest.mark.parametrize("name", READ_BY_WORDS)
@settings(max_examples=30, deadline=None)
@given(text=texts, places=st.lists(st.integers(1, 60), max_size=4))
@example(text=TRICKY[0], places=[1, 3, 6, 7])
def test_remembered_words_are_the_spans_tokens(name: str, text: str, places: list[int]) -> None:
    backend = tokenizer_named(name)
    ends = [*sorted(place for place in set(places) if place < len(text)), len(text)]
    read = WordMemo(backend, words_of(name)).read_spans(text, ends)
    if read is None:
        added = any(token.content in text for token in backend.get_added_tokens_decoder().values())
        assert added or not text.isascii() or not all(stands_alone(word, words_of(name)) for word in words_of(name).findall(text))
        return
    encoding = backend.encode(text, add_special_tokens=False)
    tokens = list(zip(encoding.ids, encoding.offsets, strict=True))
    assert read == [[token for token, (start, _) in tokens if begin <= start < end] for begin, end in pairwise([0, *ends])]


@pytest.mark.parametrize("trims", [False, True])
def test_offsets_that_leave_out_spaces_are_asked_of_the_tokenizer(trims: bool) -> None:
    backend = trained(cut_by(LLAMA3_SPLIT))
    backend.post_processor = processors.ByteLevel(trim_offsets=trims)
    assert (memo_of(backend).read_spans("of the", [2, 6]) is None) == trims


@pytest.mark.parametrize("name", READ_BY_WORDS)
def test_three_characters_of_any_kind(name: str) -> None:
    backend = tokenizer_named(name)
    kinds = "seLlD'1 \n\r\t\x0b\x1c-_$~\x00"
    batch = [first + second + third for first in kinds for second in kinds for third in kinds]
    assert memo_of(backend).read(batch) == whole_ids(backend, batch)


@pytest.mark.parametrize("name", READ_WHOLE)
def test_who_cannot_be_shown_to_read_by_words_is_not(name: str) -> None:
    assert word_pattern(tokenizer_named(name)) is None


def test_random_merges_are_not_remembered() -> None:
    backend = trained(cut_by(LLAMA3_SPLIT))
    assert word_pattern(backend) is not None
    backend.model.dropout = 0.1
    assert word_pattern(backend) is None


def test_embedded_and_real_tokenizers(repo_root: Path, request: pytest.FixtureRequest) -> None:
    nano = Tokenizer.from_file(str(repo_root / "xagent" / "assets" / "nano" / "base" / "tokenizer.json"))
    texts = [*WORDS, "It's 2024;  don't!\n\n\tdef f(x): return {'a': [1.5e-3]}", "x" * 300, "Ünïcode “quoted” — 北京 🌦️"]
    assert memo_of(nano).read(texts) == whole_ids(nano, texts)
    qwen = request.getfixturevalue("qwen").backend_tokenizer
    assert memo_of(qwen).read(texts) == whole_ids(qwen, texts)


def test_sentencepiece_is_read_whole(metaspace: PreTrainedTokenizerFast, legacy: PreTrainedTokenizerFast) -> None:
    assert word_pattern(metaspace.backend_tokenizer) is None
    assert word_pattern(legacy.backend_tokenizer) is None


def test_words_come_from_memory() -> None:
    backend = byte_level(["<|end|>"]).backend_tokenizer
    memo = memo_of(backend)
    before = memo.read(["What is it?", "What is it to them?"])
    memo._backend = None  # type: ignore[assignment]
    memo._ids._backend = None  # type: ignore[assignment]
    assert memo.read(["What is it?", "What is it to them?"]) == before


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_memo, "REMEMBERED", 3)
    backend = byte_level(["<|end|>"]).backend_tokenizer
    memo = memo_of(backend)
    texts = ["one two three four five one", "six seven", "one"]
    assert memo.read(texts) == whole_ids(backend, texts)
    assert 0 < len(memo._ids) <= 3


def test_long_words_are_not_remembered() -> None:
    backend = byte_level(["<|end|>"]).backend_tokenizer
    memo = memo_of(backend)
    texts = ["x" * LONGEST, "y" * (LONGEST + 1)]
    assert memo.read(texts) == whole_ids(backend, texts)
    assert list(memo._ids) == texts[:1]


def test_a_word_that_needs_what_follows_is_not_remembered() -> None:
    backend = tokenizer_named("looks_ahead")
    memo = memo_of(backend)
    assert memo.read(["fooba", "foo"]) == whole_ids(backend, ["fooba", "foo"])
    assert "foo" not in memo._ids and "f" in memo._ids


def test_a_single_conversation_needs_no_memory(chatml: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch) -> None:
    segments = [Segment("It is  “so”.", "content", 1.0, 0), Segment(" And'll be 12\n", "content", 1.0, 1)]
    batch = encode_batch([segments], chatml)
    monkeypatch.setattr(WordMemo, "read", None)
    assert [encode(segments, chatml)] == batch
