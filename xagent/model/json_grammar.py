"""Which tokens may come next so that a reply is JSON of a schema, or a call with such JSON, by llguidance (extra ``[json]``).

llguidance: https://github.com/guidance-ai/llguidance, a grammar engine in Rust that OpenAI and vLLM use too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from xagent.errors import ConfigError

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

# As `json.dumps` writes, and as calls are trained. White space that may be of any length, a small model writes for ever.
_WRITTEN: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": ", "lenient": False}


def as_written(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Give a schema with what llguidance is told of white space: that of ``json.dumps``, in which calls are trained."""
    return {**schema, "x-guidance": _WRITTEN}


class JsonGrammars:
    """Makes constraints for the tokens of a model; from any thread.

    Args:
        tokenizer: the model's own. end_ids: tokens that may end a reply where its JSON is whole.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, end_ids: Collection[int]) -> None:
        self._tokenizer, self._end_ids = tokenizer, sorted(end_ids)
        self._lock = threading.Lock()
        self._tokens: LLTokenizer | None = None

    def of_schema(self, schema: str) -> JsonConstraint:
        """Give what keeps one reply to a JSON schema, given as JSON text.

        Raises:
            ConfigError: llguidance is not installed, can't read the tokenizer, or can't follow the schema.
        """
        matcher_type = _llguidance()
        return JsonConstraint(self._matcher(lambda: matcher_type.grammar_from_json_schema(schema, overrides=_WRITTEN)))

    def of_lark(self, lark: str) -> JsonConstraint:
        """Give what keeps one reply to a grammar, in llguidance's Lark.

        Raises:
            ConfigError: llguidance is not installed, can't read the tokenizer, or can't follow the grammar or a JSON schema in
                it.
        """
        matcher_type = _llguidance()
        return JsonConstraint(self._matcher(lambda: matcher_type.grammar_from_lark(lark)))

    def follow(self, lark: str) -> bool:
        """Say whether a grammar can be followed: llguidance is installed, and understands it."""
        try:
            self.of_lark(lark)
        except ConfigError:
            return False
        return True

    def _matcher(self, grammar: Callable[[], str]) -> LLMatcher:
        try:
            matcher = _llguidance()(self._read_tokens(), grammar(), log_level=0)
        except ValueError as error:
            raise ConfigError(f"the JSON schema can't be followed: {_one_line(error)}") from error
        if matcher.is_error():
            raise ConfigError(f"the JSON schema can't be followed: {_one_line(matcher.get_error())}")
        return matcher

    def _read_tokens(self) -> LLTokenizer:
        """Read the vocabulary at the first use: of a large one that takes about a second."""
        from llguidance import LLTokenizer
        from llguidance.hf import from_tokenizer

        with self._lock:
            if self._tokens is None:
                tokenizer: Any = self._tokenizer
                try:
                    self._tokens = from_tokenizer(tokenizer, eos_token=self._end_ids, slices=LLTokenizer.json_slices())
                except Exception as error:  # whatever its Rust half says
                    raise ConfigError(f"llguidance can't read this model's tokenizer: {error}") from error
            return self._tokens


class JsonConstraint:
    """Keeps one reply to its schema. See :class:`xagent.model.generation_batch.Constraint`."""

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher

    def allowed(self, size: int) -> torch.Tensor:
        """Give which of ``size`` tokens may come next; where the grammar has failed all may."""
        if self._matcher.is_error():
            return torch.ones(size, dtype=torch.bool)
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        known_V = torch.from_numpy(np.unpackbits(bits, bitorder="little")).bool()[:size]
        return torch.nn.functional.pad(known_V, (0, size - len(known_V)))

    def take(self, token: int) -> None:
        """Hear which token came."""
        self._matcher.consume_token(token)

    def check(self) -> None:
        """Check that the grammar is still followed.

        Raises:
            ConfigError: it has grown too complex, so that nothing can be said of the reply.
        """
        if self._matcher.is_error():
            raise ConfigError(f"the JSON schema can't be followed any more: {_one_line(self._matcher.get_error())}")


def _llguidance() -> type[LLMatcher]:
    try:
        from llguidance import LLMatcher
    except ImportError as error:
        raise ConfigError(
            "a reply can be kept to a JSON schema with llguidance, which is not installed: pip install 'xagent[json]'"
        ) from error
    return LLMatcher


def _one_line(message: object) -> str:
    return " ".join(str(message).split())[:500]
