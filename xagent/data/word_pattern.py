"""Where a tokenizer cuts plain text into words before it asks its vocabulary, as a pattern of Python's.

GPT-2's descendants (Llama 3, Qwen, DeepSeek, ...) cut a text by a regular expression and tokenise each word by itself. Theirs is
Oniguruma's, over all of Unicode. In plain text, which is ASCII here, it means the same as a pattern of Python's in which each
class of characters is written out; which characters a class holds is asked of the tokenizer's own engine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from tokenizers.pre_tokenizers import PreTokenizer

_ASCII = "".join(map(chr, range(128)))
_PAIRS = "".join(first + second for first in _ASCII for second in _ASCII)
_NEVER = r"[^\x00-\x7f]"
"""What no character of plain text matches."""

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""How ``ByteLevel`` cuts by itself (from GPT-2's encoder.py)."""

_UNCHANGED_BY = frozenset({"NFC", "NFD", "NFKC", "NFKD"})
"""Unicode's normal forms leave ASCII as it is."""

_WORD_BY_WORD = frozenset({"Split", "Digits", "Punctuation", "ByteLevel"})
"""Pre-tokenizers that look at nothing outside the word that they are given."""

_SIGN = re.compile(
    r"""(?P<opening>\[)
    | (?P<members>\\[pP]\{\^?\w+\}|\\[sSdDwW])
    | (?P<literal>\\[rnt]|\\[^\w\s<>'`]|[ !"\#%&',\-/0-9:;<=>@A-Z_`a-z~\r\n\t])
    | (?P<group>\(\?(?:i?:|[=!])|\((?!\?)|\)|\|)
    | (?P<count>(?:[?*+][?+]?|\{\d+(?:,\d*)?\})(?![?*+{]))""",
    re.VERBOSE,
)


def word_pattern(backend: Tokenizer) -> re.Pattern[str] | None:
    """Give the pattern whose matches, one behind the other, are the words of an ASCII text that holds no added token.

    The tokenizer reads a word alike wherever it stands, provided that it is one word by itself too: a pattern that looks ahead,
    as ``\\s+(?!\\S)`` does, may cut it otherwise where nothing follows.

    Returns:
        The pattern; None where it can't be shown that the tokenizer reads word by word: it changes the text first, cuts it in
        another way, merges at random, or has a pattern with more in it than alternatives, classes, counts and looking ahead.
    """
    from tokenizers import models

    steps = list(_steps(_state(backend.pre_tokenizer), "pretokenizers"))
    changes = {step["type"] for step in _steps(_state(backend.normalizer), "normalizers")}
    of_words = isinstance(backend.model, models.BPE) and not backend.model.dropout and changes <= _UNCHANGED_BY
    if not of_words or not steps or not all(map(_is_word_by_word, steps)):
        return None
    first = backend.pre_tokenizer[0] if len(steps) > 1 else backend.pre_tokenizer
    try:
        words = "".join(_translated(_regex_of(steps[0])))
        pattern = re.compile(words, re.ASCII)
    except (ValueError, re.error):
        return None
    if pattern.match("") or not _cut_alike(pattern, first):
        return None
    # What the tokenizer's pattern passes over is a word too; where pairs of characters leave no gap, hardly any text does.
    return re.compile(rf"{words}|(?:(?!{words})[\s\S])+", re.ASCII)


def keeps_offsets(backend: Tokenizer) -> bool:
    """Say whether a token's offsets are those of its characters, wherever it stands: some tokenizers leave out white space."""
    steps = _steps(_state(backend.post_processor), "processors")
    return all(step["type"] in ("TemplateProcessing", "ByteLevel") and not step.get("trim_offsets") for step in steps)


def _state(component: Any) -> Mapping[str, Any] | None:
    """Give a component of a tokenizer as tokenizer.json describes it; one that is written in Python has no description."""
    if component is None:
        return None
    try:
        state: Mapping[str, Any] = json.loads(component.__getstate__())
    except Exception:  # the library's own, which has no name
        return {"type": "custom"}
    return state


def _steps(state: Mapping[str, Any] | None, key: str) -> Iterator[Mapping[str, Any]]:
    """Give the single components of one that may be a sequence of them."""
    if state is not None:
        for inner in state[key] if state["type"] == "Sequence" else ():
            yield from _steps(inner, key)
        if state["type"] != "Sequence":
            yield state


def _is_word_by_word(step: Mapping[str, Any]) -> bool:
    return step["type"] in _WORD_BY_WORD and not step.get("add_prefix_space")


def _regex_of(step: Mapping[str, Any]) -> str:
    """Give the regular expression whose matches a first step makes words of.

    Raises:
        ValueError: it cuts in another way.
    """
    if step["type"] == "ByteLevel" and step["use_regex"]:
        return _GPT2
    if step["type"] == "Split" and step["behavior"] == "Isolated" and not step["invert"] and "Regex" in step["pattern"]:
        return str(step["pattern"]["Regex"])
    raise ValueError(f"{step['type']} makes no words of a regular expression's matches")


def _translated(source: str) -> Iterator[str]:
    """Write a regular expression of Oniguruma's as Python's, for ASCII text.

    Raises:
        ValueError: it holds what is not known to mean the same in both.
    """
    position = 0
    while position < len(source):
        sign = _SIGN.match(source, position)
        if sign is None:
            raise ValueError(f"what stands at {position} of {source!r} is not known")
        position = sign.end()
        if sign["opening"]:
            position = _end_of_class(source, sign.start())
            yield _members(source[sign.start() : position])
        elif sign["members"]:
            yield _members(sign[0])
        else:
            yield "(?:" if sign[0] == "(" else sign[0]


def _end_of_class(source: str, start: int) -> int:
    """Give the place behind a class of characters; classes may stand in it."""
    depth = 0
    for bracket in re.finditer(r"\\.|[\[\]]", source[start:], re.DOTALL):
        depth += {"[": 1, "]": -1}.get(bracket[0], 0)
        if not depth:
            return start + bracket.end()
    raise ValueError(f"a class has no end: {source[start:]!r}")


def _members(described: str) -> str:
    """Write out which ASCII characters are in a class."""
    from tokenizers import Regex, pre_tokenizers

    try:
        others = pre_tokenizers.Split(Regex(described), "removed").pre_tokenize_str(_ASCII)
    except Exception as error:  # the library's own, which has no name
        raise ValueError(f"{described!r} is no class of characters: {error}") from error
    outside = {place for _, (start, stop) in others for place in range(start, stop)}
    inside = "".join(re.escape(character) for place, character in enumerate(_ASCII) if place not in outside)
    return f"[{inside}]" if inside else _NEVER


def _cut_alike(pattern: re.Pattern[str], splitter: PreTokenizer) -> bool:
    """Say whether all pairs of ASCII characters are cut alike: nothing is taken on trust that can be tried."""
    return [word.span() for word in pattern.finditer(_PAIRS)] == [span for _, span in splitter.pre_tokenize_str(_PAIRS)]
