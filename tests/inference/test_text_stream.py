"""Text that may be shown: no broken character and nothing of a stop word, whatever the pieces are."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models

from xagent.inference.text_stream import StopWords, TextStream

LETTERS = st.text(alphabet="abＯ北🙂\n ", max_size=24)
WORDS = st.lists(st.text(alphabet="abＯ北🙂\n ", min_size=1, max_size=4), max_size=4)


def before_first(text: str, words: list[str]) -> tuple[str, str | None]:
    """Read letter by letter until a stop word stands at the end: the definition, written the slow way."""
    for end in range(1, len(text) + 1):
        found = [word for word in words if text[:end].endswith(word)]
        if found:
            longest = max(found, key=len)
            return text[: end - len(longest)], longest
    return text, None


def cut(text: str, places: list[int]) -> list[str]:
    edges = [0, *sorted(min(place, len(text)) for place in places), len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


@given(text=LETTERS, words=WORDS, places=st.lists(st.integers(0, 24), max_size=8))
def test_the_text_before_the_first_stop_word_is_shown_whatever_the_pieces(text, words, places) -> None:
    stop_words = StopWords(words)
    shown = "".join([*map(stop_words.feed, cut(text, places)), stop_words.end()])
    assert (shown, stop_words.stopped_by) == before_first(text, words)


@given(text=LETTERS, words=WORDS)
def test_nothing_shown_is_ever_taken_back_and_nothing_is_held_without_need(text: str, words: list[str]) -> None:
    stop_words, shown = StopWords(words), ""
    for index, letter in enumerate(text, 1):
        shown += stop_words.feed(letter)
        if stop_words.stopped_by is None:
            held = text[len(shown) : index]
            assert not held or any(word.startswith(held) and word != held for word in words)


def byte_decode(pieces: list[bytes]):
    """Give a decoder of tokens that are any stretch of bytes."""
    return lambda ids: b"".join(pieces[token] for token in ids).decode("utf-8", errors="replace")


@given(text=LETTERS, words=WORDS, places=st.lists(st.integers(0, 80), max_size=20))
def test_tokens_may_cut_characters_anywhere(text: str, words: list[str], places: list[int]) -> None:
    data = text.encode()
    edges = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    pieces = [data[start:end] for start, end in pairwise(edges)]
    stream, shown = TextStream(byte_decode(pieces), words), []
    for token in range(len(pieces)):
        shown.append(stream.feed(token))
        assert "\ufffd" not in shown[-1]
    shown.append(stream.end())
    assert ("".join(shown), stream.stopped_by) == before_first(text, words)


@given(pieces=st.lists(st.binary(max_size=4), max_size=12))
def test_bytes_that_are_no_text_are_shown_as_they_are_decoded_at_once(pieces: list[bytes]) -> None:
    decode = byte_decode(pieces)
    stream = TextStream(decode)
    shown = "".join([*map(stream.feed, range(len(pieces))), stream.end()])
    assert shown == decode(list(range(len(pieces))))
    assert stream.length == len(shown)


@given(words=st.lists(st.sampled_from(["▁a", "▁", "b", "▁▁", "<0xE4>", "<0xBD>", "<0xA0>", "。"]), max_size=12))
def test_sentencepiece_spaces_come_out_as_in_the_whole_text(words: list[str]) -> None:
    vocabulary = ["▁a", "▁", "b", "▁▁", "<0xE4>", "<0xBD>", "<0xA0>", "。"]
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(vocabulary)}, unk_token="b"))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    ids = [vocabulary.index(word) for word in words if not word.startswith("<0x")]
    ids = [place for token in ids for place in ([4, 5, 6] if token == 7 else [token])]
    stream = TextStream(tokenizer.decode)
    assert "".join([*map(stream.feed, ids), stream.end()]) == tokenizer.decode(ids)


@pytest.mark.parametrize("pieces", [["Obs", "erv", "ation", ": 5"], ["Observation: 5"], list("Observation: 5")])
def test_a_stop_word_over_several_pieces_is_never_shown(pieces: list[str]) -> None:
    stop_words = StopWords(["Observation:", "Observed"])
    assert "".join(map(stop_words.feed, ["Thought\n", *pieces])) == "Thought\n"
    assert stop_words.stopped_by == "Observation:"
    assert stop_words.feed("more") == "" == stop_words.end()
