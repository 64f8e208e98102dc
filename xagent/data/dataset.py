"""A config's data set: raw records in, packed token examples out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from xagent import __version__
from xagent.chat.protocol import get_protocol
from xagent.chat.supervision import Supervision, read_supervision, supervision_faults
from xagent.chat.template import ChatTemplate, get_template
from xagent.chat.weights import WeightRule
from xagent.config.checks import checked_by
from xagent.data.cache import (
    cached,
    code_identity,
    describe_template,
    describe_tokenizer,
    digest,
    function_identity,
    template_identity,
    tokenizer_identity,
)
from xagent.data.encode import encode
from xagent.data.map_fn import choose_map_fn, recognise_table
from xagent.data.mix import DataSource, MixSettings, read_sources
from xagent.data.mixture import Encoded, mix
from xagent.data.pack import pack_best_fit
from xagent.data.prepare import AnyTemplate, RowEncoder, prepare, refuse_bad_records
from xagent.data.source import load_dataset_from, unwrapped
from xagent.data.template_check import warn_of_difference
from xagent.data.token_dataset import Rows, TokenDataset
from xagent.data.tokenizer_template import TokenizerTemplate
from xagent.errors import ConfigError
from xagent.registry import build

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)
_NEEDED = "process_hf_dataset needs tokenizer and max_length"


@dataclass(frozen=True)
class TemplateMap:
    """XTuner's spelling for choosing a template: ``template_map_fn=dict(type=template_map_fn_factory, template=...)``."""

    template: str | ChatTemplate


def template_faults(arguments: Mapping[str, Any]) -> Iterator[str]:
    """Yield that there is no template of that name, when a config is loaded."""
    name = arguments.get("template")
    if isinstance(name, str) and name != "tokenizer":
        yield from _unknown("template", name, get_template)


@checked_by(template_faults)
def template_map_fn_factory(template: str | ChatTemplate) -> TemplateMap:
    """Choose the chat template, by name or as ``PROMPT_TEMPLATE.name``."""
    return TemplateMap(template)


def learning_faults(arguments: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the options that say what is learned, when a config is loaded; rules are not built yet."""
    yield from template_faults(arguments)
    if isinstance(arguments.get("protocol"), str):
        yield from _unknown("protocol", arguments["protocol"], get_protocol)
    given = arguments.get("loss_weights")
    rules = [WeightRule() if _is_described(rule) else rule for rule in given] if isinstance(given, (list, tuple)) else given
    yield from supervision_faults({**arguments, "loss_weights": None if _is_described(rules) else rules})
    entries = arguments.get("datasets")
    for index, entry in enumerate(entries if isinstance(entries, (list, tuple)) else ()):
        if isinstance(entry, Mapping) and entry.get("loss_weights") is not None:
            yield from (f"datasets.{index}.{fault}" for fault in learning_faults({"loss_weights": entry["loss_weights"]}))


def _unknown(key: str, name: str, find: Callable[[str], object]) -> Iterator[str]:
    try:
        find(name)
    except ConfigError as error:
        yield f"{key}: {error}"


def _is_described(rule: Any) -> bool:
    return isinstance(rule, Mapping) and "type" in rule


@dataclass(frozen=True)
class Learning:
    """What a model learns of the records, in the words of :func:`process_hf_dataset`."""

    loss_weights: Any = None
    train_on_roles: Sequence[str] | None = None
    train_on_turns: str = "all"
    train_on_calls_only: bool = False
    train_on_observation_keyword: bool = False

    def supervision(self) -> Supervision:
        """Give what is learned, with the rules built that a config describes by ``dict(type=...)``.

        Raises:
            ConfigError: listing every fault of the options.
        """
        given = self.loss_weights
        rules = [build(rule) for rule in given] if isinstance(given, (list, tuple)) else build(given)
        return read_supervision({**vars(self), "loss_weights": rules})


@dataclass(frozen=True)
class Reading:
    """How records become token examples, in the words of :func:`process_hf_dataset`."""

    dataset_map_fn: Any = None
    template_map_fn: Any = None
    template: str | ChatTemplate | None = None
    protocol: str = "react"
    too_long: str = "drop_turns"
    max_dataset_length: int | None = None
    split: str = "train"
    learning: Learning = Learning()

    @classmethod
    def described(cls, options: Mapping[str, Any]) -> Reading:
        """Read it from a config's ``dict(type=process_hf_dataset, ...)``; options about other things are left to others."""
        own, learned = ({key: options[key] for key in _names(kind) if key in options} for kind in (cls, Learning))
        return cls(**{**own, "learning": Learning(**learned)})

    def of(self, source: DataSource) -> Reading:
        """Give how a data set of a mix is read: what it says itself goes before what all share."""
        own = {key: getattr(source, key) for key in ("dataset_map_fn", "max_dataset_length", "split")}
        said = {key: value for key, value in own.items() if value is not None}
        learning = self.learning if source.loss_weights is None else replace(self.learning, loss_weights=source.loss_weights)
        return replace(self, **said, learning=learning)


def _names(kind: type[Reading] | type[Learning]) -> list[str]:
    return [field.name for field in fields(kind)]


@checked_by(learning_faults)
def process_hf_dataset(
    dataset: Any = None,
    tokenizer: Any = None,
    max_length: int | None = None,
    dataset_map_fn: Any = None,
    template_map_fn: Any = None,
    template: str | ChatTemplate | None = None,
    protocol: str = "react",
    pack_to_max_length: bool = True,
    shuffle_before_pack: bool = True,
    too_long: str = "drop_turns",
    on_bad_record: str = "error",
    num_proc: int | None = None,
    seed: int = 42,
    max_dataset_length: int | None = None,
    split: str = "train",
    datasets: Sequence[DataSource | Mapping[str, Any]] | None = None,
    interleave_probs: Sequence[float] | None = None,
    stopping_strategy: str = "first_exhausted",
    val_size: float | None = None,
    max_val_samples: int | None = None,
    part: str = "train",
    loss_weights: Any = None,
    train_on_roles: Sequence[str] | None = None,
    train_on_turns: Literal["all", "last", "after_last_user"] = "all",
    train_on_calls_only: bool = False,
    train_on_observation_keyword: bool = False,
) -> TokenDataset:
    """Read, render, tokenise, mix and pack data sets; each is cached by what went into it, and encoded once however it is mixed.

    In a distributed run every rank calls this: one of them prepares under a file lock, the others wait for the lock
    (no collective that could time out) and read the cache.

    Args:
        dataset: a Hugging Face data set, ``dict(type=load_dataset, ...)`` that gives one, or a path for ``load_dataset_from``.
            Several are mixed with ``datasets`` instead.
        tokenizer: a fast tokenizer, or ``dict(type=AutoTokenizer.from_pretrained, ...)``; needed.
        max_length: tokens that a sample, and a packed row, may have; needed.
        dataset_map_fn: row -> Conversation; ``dict(type=...)`` that gives such a function; a format's name; or ``'auto'``, which
            recognises the format from the rows. Default: ``openai_map_fn``.
        template_map_fn, template: the chat template, in XTuner's spelling or by name; ``'tokenizer'`` is the tokenizer's own.
            Default: ``'tokenizer'``.
        protocol: how tools are shown and called where a record has structured tools and calls.
        pack_to_max_length: put whole samples together into rows by best fit.
        shuffle_before_pack: shuffle under ``seed`` first.
        too_long: a sample beyond max_length loses whole trailing turns (``'drop_turns'``) or goes (``'drop_sample'``).
        on_bad_record: a record that can't be read stops the run (``'error'``) or is dropped and counted (``'drop'``).
        num_proc: processes for tokenising; default: one below 2,000 records, else the cores at hand, at most 8.
        max_dataset_length: take the first so many records only.
        split: which split where the data set has several.
        datasets: data sets to mix, each ``dict(dataset=..., dataset_map_fn=..., ...)`` as :class:`xagent.data.mix.DataSource`
            describes, with ``weight``, ``ratio`` or ``num_samples``. ``dataset_map_fn`` above is for those that name none.
        interleave_probs: draw each sample's data set with these probabilities (sum 1); default: one data set after the other.
        stopping_strategy: with ``interleave_probs``, stop when the first data set is used up (``'first_exhausted'``), or begin
            the others again until each was (``'all_exhausted'``).
        val_size: share (below 1) or number of the kept samples to set aside for validation, before anything is sampled or
            repeated; equal samples are never on both sides.
        max_val_samples: set aside at most so many (SWIFT's ``val_dataset_sample``); what a share would take beyond them stays in
            training.
        part: ``'train'``, or ``'validation'`` for what was set aside, each sample once.
        loss_weights: rules for the weights of an assistant's words (SWIFT's ``loss_scale``): ``'react'``, ``'alpha_umi'``,
            ``'agentflan'``, ``'hermes'``, ``'qwen'``, a rule of one's own, or a list of rules, whose weights multiply; see
            :func:`xagent.chat.weights.read_rules` and docs/loss-weights.md. Default: each learned token weighs 1.
        train_on_roles, train_on_turns, train_on_calls_only, train_on_observation_keyword: what is learned at all, as
            :class:`xagent.chat.supervision.Supervision` says. Default: all that the model says.

    Raises:
        DataError: records that can't be read (the first ones by file:line), nothing to read, or nothing left to learn.
        ConfigError: an option has an unknown or impossible value.
    """
    if tokenizer is None or max_length is None:
        raise ConfigError(_NEEDED)
    _check_options(max_length, too_long, on_bad_record)
    mixing = MixSettings(interleave_probs, stopping_strategy, val_size, max_val_samples, part, seed)
    mixing.check(len(datasets) if isinstance(datasets, Sequence) else 1)
    learning = Learning(loss_weights, train_on_roles, train_on_turns, train_on_calls_only, train_on_observation_keyword)
    reading = Reading(dataset_map_fn, template_map_fn, template, protocol, too_long, max_dataset_length, split, learning)
    opened = open_sources(dataset, tokenizer, max_length, datasets, reading)
    encoded = [_encode(one, num_proc) for one in opened]
    refuse_bad_records((one.report for one in encoded), on_bad_record)
    data = mix(encoded, mixing, detailed=datasets is not None or val_size is not None)
    for warning in data.report.warnings():
        logger.warning("%s", warning)
    packing = {"pack_to_max_length": pack_to_max_length, "shuffle_before_pack": shuffle_before_pack}
    data.settings = _settings(opened[0].encoder, packing, mixing, encoded)
    return _pack(data, max_length, pack_to_max_length, seed if shuffle_before_pack else None)


@dataclass(frozen=True)
class OpenSource:
    """A data set that is read: its entry in ``datasets``, its records, and what turns them into token examples."""

    source: DataSource
    table: Dataset
    encoder: RowEncoder


def open_sources(
    dataset: Any, tokenizer: Any, max_length: int | None, datasets: Sequence[Any] | None, reading: Reading
) -> list[OpenSource]:
    """Open each data set of a mix, or the only one; nothing is encoded yet.

    Arguments and errors are those of :func:`process_hf_dataset`.
    """
    if (dataset is None) == (datasets is None):
        got = "neither" if dataset is None else "both"
        raise ConfigError(f"give dataset, or datasets=[dict(dataset=...), ...] to mix several; got {got}")
    if tokenizer is None or max_length is None:
        raise ConfigError(_NEEDED)
    only = DataSource(dataset, name="data", split=reading.split)
    sources = [only] if datasets is None else read_sources(datasets)
    tokenizer = build(tokenizer)
    return [OpenSource(one, *open_records(one.dataset, tokenizer, max_length, reading.of(one))) for one in sources]


def _encode(opened: OpenSource, num_proc: int | None) -> Encoded:
    """Encode a data set, or find it in the cache."""
    table, encoder = opened.table, opened.encoder
    who = (
        tokenizer_identity(encoder.tokenizer),
        function_identity(encoder.map_fn),
        template_identity(encoder.template),
        get_protocol(encoder.protocol).render_system(()),
    )
    settings = encoder.protocol, encoder.max_length, encoder.too_long, _identity(encoder.supervision)
    key = digest(table._fingerprint, who, settings, __version__, code_identity())
    return Encoded(opened.source, key, *cached(key, partial(prepare, table, encoder, num_proc)))


def _identity(supervision: Supervision) -> str:
    """Give a text that changes when something else is learned, or by other weights."""
    rules = [rule if isinstance(rule, WeightRule) else function_identity(rule) for rule in supervision.loss_weights]
    return repr((rules, replace(supervision, loss_weights=())))


def open_records(dataset: Any, tokenizer: Any, max_length: int, reading: Reading) -> tuple[Dataset, RowEncoder]:
    """Give the table of records and what turns its rows into token examples; nothing is encoded yet.

    Whoever looks at data (``check-dataset``, ``log-dataset``) reads it through these two, as training does. Arguments and
    errors are those of :func:`process_hf_dataset`.
    """
    tokenizer = build(tokenizer)
    template = template_of(reading.template_map_fn, reading.template, tokenizer)
    map_fn = choose_map_fn(reading.dataset_map_fn)
    get_protocol(reading.protocol)
    supervision = reading.learning.supervision()
    encode([], tokenizer)  # a slow tokenizer is refused before anything is read
    warn_of_difference(template, tokenizer)
    table = _read_table(dataset, reading.split)
    if reading.max_dataset_length is not None:
        table = table.select(range(min(reading.max_dataset_length, len(table))))
    if map_fn is None:
        map_fn = recognise_table(table)
    return table, RowEncoder(tokenizer, map_fn, template, reading.protocol, max_length, reading.too_long, supervision)


def _check_options(max_length: int, too_long: str, on_bad_record: str) -> None:
    if isinstance(max_length, bool) or not isinstance(max_length, int) or max_length < 2:
        raise ConfigError(f"max_length must be a whole number of tokens, at least 2, got {max_length!r}")
    choices = {"too_long": (too_long, ("drop_turns", "drop_sample")), "on_bad_record": (on_bad_record, ("error", "drop"))}
    for key, (value, known) in choices.items():
        if value not in known:
            raise ConfigError(f"{key} must be one of {', '.join(known)}, got {value!r}")


def template_of(template_map_fn: Any, template: str | ChatTemplate | None, tokenizer: PreTrainedTokenizerBase) -> AnyTemplate:
    """Give the template that a data set's ``template_map_fn`` or ``template`` chooses; default: the tokenizer's own.

    Raises:
        ConfigError: ``template_map_fn`` chooses no template, or there is no template of that name.
        DataError: the tokenizer's own is meant, and it has none.
    """
    if template_map_fn is not None:
        built = build(template_map_fn)
        if not isinstance(built, TemplateMap):
            raise ConfigError(f"template_map_fn must be dict(type=template_map_fn_factory, template=...), got {built!r:.100}")
        template = built.template
    return choose_template(template or "tokenizer", tokenizer)


def choose_template(template: str | ChatTemplate | Mapping[str, Any], tokenizer: PreTrainedTokenizerBase) -> AnyTemplate:
    """Give a named template, one's own (also as its fields), or the tokenizer's own for ``'tokenizer'``.

    Raises:
        ConfigError: there is no template of that name, or the fields are not those of a template.
        DataError: ``'tokenizer'``, and the tokenizer has none.
    """
    return TokenizerTemplate(tokenizer) if template == "tokenizer" else get_template(template)


def _read_table(described: Any, split: str) -> Dataset:
    """Build or read the data set, and choose its split."""
    from datasets import Dataset, DatasetDict

    is_path = isinstance(described, (str, Path))
    found = unwrapped(lambda: load_dataset_from(described) if is_path else build(described))
    if isinstance(found, DatasetDict):
        if split not in found:
            raise ConfigError(f"the data set has no split {split!r}; it has {', '.join(found)}")
        found = found[split]
    if not isinstance(found, Dataset):
        kind = "a dict without 'type'" if isinstance(found, Mapping) else f"a {type(found).__name__}"
        raise ConfigError(f"dataset must be a path or give a datasets.Dataset (not a streaming one), got {kind}")
    return found


def _settings(encoder: RowEncoder, packing: Mapping[str, Any], mixing: MixSettings, encoded: Sequence[Encoded]) -> dict[str, Any]:
    """Give what the rows depend on, as JSON can hold it: shards are known by it."""
    return {
        "tokenizer": describe_tokenizer(encoder.tokenizer),
        "template": describe_template(encoder.template),
        "protocol": encoder.protocol,
        "max_length": encoder.max_length,
        **packing,
        **asdict(mixing),
        "sources": [{**one.source.settings(), "key": one.key} for one in encoded],
    }


def _pack(data: TokenDataset, max_length: int, pack: bool, seed: int | None) -> TokenDataset:
    if pack:
        data.rows = Rows(pack_best_fit(data.sample_lengths, max_length, seed))
    data.report.rows = len(data)
    data.report.fill_rate = data.report.tokens / (len(data) * max_length) if pack else None
    return data
