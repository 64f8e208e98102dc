"""Rows that a model continues together: how each chooses its tokens, reading its prompt, joining and leaving between steps.

Each prompt is read alone (no padding, no mask), then rows are continued together. Shape suffixes: B rows of the batch, T tokens,
V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import torch

from xagent.errors import ConfigError
from xagent.model.generation_cache import Rows, can_batch, new_cache, row_of


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen: the likeliest at temperature 0, else drawn from the ``top_p`` most likely mass.

    Tokens as likely as the least likely one of that mass are drawn too.
    Each row has its own random stream, made from ``seed`` and its index: what is drawn does not depend on the batch.

    Raises:
        ConfigError: the temperature is negative, or ``top_p`` is not in (0, 1].
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.temperature >= 0:
            raise ConfigError(f"temperature must be a number >= 0, got {self.temperature!r}")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p must be in (0, 1], got {self.top_p!r}")

    def stream(self, index: int = 0) -> torch.Generator | None:
        """Give the random stream of one row; None where nothing is drawn."""
        if self.temperature == 0:
            return None
        return torch.Generator().manual_seed((self.seed * 1_000_003 + index) % 2**63)


@dataclass(frozen=True)
class Chosen:
    """A token that was chosen.

    Attributes:
        token: its id.
        logprob: the natural logarithm of its probability at temperature 1, where asked for.
        top: id and log-probability of the likeliest tokens, likeliest first, where asked for.
    """

    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


class Constraint(Protocol):
    """Says which tokens may come next in one row. Called in the thread that runs the model."""

    def allowed(self, size: int) -> torch.Tensor:
        """Give a mask of the vocabulary's ``size`` tokens, on the CPU."""

    def take(self, token: int) -> None:
        """Hear which token came, a stop token too."""

    def check(self) -> None:
        """Check that the row can be gone on with.

        Raises:
            XAgentError: it can't.
        """


@dataclass(eq=False)
class Row:
    """One prompt on its way.

    Attributes:
        limit: how many tokens it may get.
        stop_ids: tokens that end it.
        stream: its own random stream, see :meth:`Sampling.stream`.
        logprobs: how many likeliest tokens are told for each; None tells no log-probabilities.
        constraint: which tokens may be chosen, None: any.
        new: the tokens that it got, without the stop token.
        finished: it ended with a stop token.
        last: what was chosen last, the stop token too.
    """

    prompt: list[int]
    limit: int
    stop_ids: frozenset[int]
    sampling: Sampling = Sampling()
    stream: torch.Generator | None = None
    logprobs: int | None = None
    constraint: Constraint | None = None
    new: list[int] = field(default_factory=list)
    finished: bool = False
    last: Chosen | None = None

    @property
    def going(self) -> bool:
        """Whether it gets more tokens."""
        return not self.finished and len(self.new) < self.limit

    @property
    def ids_computed(self) -> list[int]:
        """The tokens whose keys and values are known: all but the last one, which no pass has read."""
        return self.prompt + (self.new if self.finished else self.new[:-1])

    @property
    def length(self) -> int:
        """How many tokens' keys and values are known."""
        return len(self.prompt) + max(len(self.new) - (not self.finished), 0)

    def take(self, chosen: Chosen) -> None:
        """Add a token, or end."""
        self.last = chosen
        if self.constraint is not None:
            self.constraint.take(chosen.token)
        if chosen.token in self.stop_ids:
            self.finished = True
        else:
            self.new.append(chosen.token)


RowT = TypeVar("RowT", bound=Row)

_LOOKED_AT = 64
"""In so many likeliest tokens the end of the ``top_p`` mass is looked for first."""


class Reading(Generic[RowT]):
    """A prompt that is read, all at once or in pieces. The row gets its first token when the prompt's end was read."""

    def __init__(self, model: Any, row: RowT) -> None:
        self.model, self.row = model, row
        self.position = self.known = 0
        self.cache = new_cache(model)

    def start_from(self, length: int, states: Rows) -> None:
        """Take over the keys and values of the prompt's first ``length`` tokens; with 0 there are none."""
        if length:
            self.position = self.known = length
            self.cache = new_cache(self.model, states)

    @property
    def done(self) -> bool:
        """Whether the prompt's end was read."""
        return self.position == len(self.row.prompt)

    def read(self, most: int | None = None) -> int:
        """Read on, at most so many tokens, and give how many were read."""
        begin, end = self.position, len(self.row.prompt)
        end = end if most is None else min(end, begin + most)
        device = self.model.device
        logits_BTV = self.model(
            input_ids=torch.tensor([self.row.prompt[begin:end]], device=device),
            position_ids=torch.arange(begin, end, device=device)[None],
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits
        self.position = end
        if self.done:
            self.row.take(choose(logits_BTV[:, -1], [self.row])[0])
        return end - begin


class Batch(Generic[RowT]):
    """Rows that are continued together, and their keys and values, padded on the left.

    A model whose layers keep more than keys and values continues one row at a time.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.rows: list[RowT] = []
        self._cache: Any = None

    def join(self, reading: Reading[RowT], expected: int = 1) -> None:
        """Take in a row whose prompt was read and that is going; its cache belongs to the batch from now on.

        Args:
            reading: what read the prompt. expected: how many rows there will soon be: buffers that must grow take them in too.
        """
        self.rows.append(reading.row)
        if self._cache is None:
            self._cache = reading.cache
        else:
            for layer, read in zip(self._cache.layers, reading.cache.layers, strict=True):
                layer.put(read.keys, read.values, expected)

    def step(self) -> None:
        """Give each row its next token."""
        device, lengths = self.model.device, [row.length for row in self.rows]
        longest = max(lengths)
        length_B = torch.tensor(lengths, device=device)
        mask_BT = None
        if min(lengths) < longest:
            mask_BT = (torch.arange(longest + 1, device=device) >= longest - length_B[:, None]).long()
        logits_BTV = self.model(
            input_ids=torch.tensor([[row.new[-1]] for row in self.rows], device=device),
            attention_mask=mask_BT,
            position_ids=length_B[:, None],
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits
        for row, chosen in zip(self.rows, choose(logits_BTV[:, -1], self.rows), strict=True):
            row.take(chosen)

    def row_of(self, row: RowT) -> Rows:
        """Copy the keys and values of a row."""
        return row_of(self._cache, self.rows.index(row), row.length)

    def drop(self, row: RowT) -> None:
        """Take a row out, whether it ended or not."""
        index = self.rows.index(row)
        self.rows[index] = self.rows[-1]
        self.rows.pop()
        if not self.rows:
            self._cache = None
            return
        longest = max(other.length for other in self.rows)
        for layer in self._cache.layers:
            layer.drop(index)
            layer.trim(longest)


def choose(logits_BV: torch.Tensor, rows: Sequence[Row]) -> list[Chosen]:
    """Choose each row's next token in its own way, of those that its constraint allows.

    What log-probabilities are told of are the model's own, whatever is allowed.
    """
    allowed_BV = _only_allowed(logits_BV, rows)
    tokens = allowed_BV.max(-1).indices.tolist()  # argmax takes five times as long in bf16 on a CPU
    drawing = [index for index, row in enumerate(rows) if row.stream is not None]
    if drawing:
        drawn = _draw(allowed_BV if len(drawing) == len(rows) else allowed_BV[drawing], [rows[index] for index in drawing])
        for index, token in zip(drawing, drawn, strict=True):
            tokens[index] = token
    return [
        Chosen(token) if row.logprobs is None else _with_logprobs(token, logits_V, row.logprobs)
        for token, logits_V, row in zip(tokens, logits_BV, rows, strict=True)
    ]


def _only_allowed(logits_BV: torch.Tensor, rows: Sequence[Row]) -> torch.Tensor:
    if all(row.constraint is None for row in rows):
        return logits_BV
    logits_BV = logits_BV.clone()
    for logits_V, row in zip(logits_BV, rows, strict=True):
        if row.constraint is not None:
            logits_V.masked_fill_(~row.constraint.allowed(len(logits_V)).to(logits_V.device), -torch.inf)
    return logits_BV


def _draw(logits_BV: torch.Tensor, rows: Sequence[Row]) -> list[int]:
    """Draw each row's token with one number of its own stream: where that falls in the running sum of its probabilities."""
    logits_BV = logits_BV.float().cpu()
    temperature_B1 = torch.tensor([[max(row.sampling.temperature, 1e-30)] for row in rows])  # less would be 0 in float32
    probabilities_BV = torch.softmax((logits_BV - logits_BV.amax(-1, keepdim=True)) / temperature_B1, -1)
    cut = [index for index, row in enumerate(rows) if row.sampling.top_p < 1]
    if cut:
        least_B1 = torch.zeros(len(rows), 1)
        least_B1[cut] = _least_likely(probabilities_BV[cut], torch.tensor([[rows[index].sampling.top_p] for index in cut]))
        probabilities_BV.masked_fill_(probabilities_BV < least_B1, 0)
    sums_BV = probabilities_BV.cumsum(-1, dtype=torch.float64)
    place_B1 = torch.stack([torch.rand(1, generator=row.stream, dtype=torch.float64) for row in rows])
    # To the right of all sums that it has reached: a token of probability 0 adds nothing to the sum and is never found.
    tokens_B1 = torch.searchsorted(sums_BV, place_B1 * sums_BV[:, -1:], right=True)
    return [min(token, sums_BV.shape[-1] - 1) for token in tokens_B1[:, 0].tolist()]


def _least_likely(probabilities_BV: torch.Tensor, top_p_B1: torch.Tensor) -> torch.Tensor:
    """Give the probability of the last token of each row's ``top_p`` most likely mass; equally likely ones belong to it too.

    That mass is mostly in a few tokens: as many are looked at as it takes, for sorting a vocabulary takes ten times as long.
    """
    size, count = probabilities_BV.shape[-1], _LOOKED_AT
    while True:
        count = min(count, size)
        likeliest_BK = probabilities_BV.topk(count).values
        sums_BK = likeliest_BK.cumsum(-1)
        if count == size or bool((sums_BK[:, -1:] >= top_p_B1).all()):
            last_B1 = (sums_BK - likeliest_BK < top_p_B1).sum(-1, keepdim=True).clamp(min=1) - 1
            return likeliest_BK.gather(-1, last_B1)
        count *= 8


def _with_logprobs(token: int, logits_V: torch.Tensor, count: int) -> Chosen:
    logprobs_V = torch.log_softmax(logits_V.float(), -1)
    values, ids = logprobs_V.topk(min(count, logprobs_V.numel()))
    return Chosen(token, float(logprobs_V[token]), tuple(zip(ids.tolist(), values.tolist(), strict=True)))


@contextmanager
def generating(model: Any) -> Iterator[None]:
    """Have a model in eval mode without gradients, and back in its own mode afterwards."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def batch_size_of(model: Any, wanted: int) -> int:
    """Give how many rows run together: so many as wanted, or one where the model's layers can't be shared.

    Raises:
        ConfigError: fewer than one is wanted.
    """
    if wanted < 1:
        raise ConfigError(f"max_batch_size must be >= 1, got {wanted}")
    return wanted if can_batch(model) else 1


def context_of(model: Any) -> int | None:
    """Give how many tokens a model reads at most, None where it does not say."""
    length: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return length
