"""Real tokenizers: small byte-level and SentencePiece-like ones, made here; Qwen's and InternLM2's vocabularies where present."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from made_tokenizers import LLAMA3_JINJA, QWEN_JINJA, QWEN_SPLIT, byte_level, spaced
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
from transformers import PreTrainedTokenizerFast


@pytest.fixture(scope="session")
def llama3() -> PreTrainedTokenizerFast:
    """Llama-3's special tokens, pre-tokenizer and chat template."""
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    tokenizer = byte_level(special, bos=special[0], eos_token="<|eot_id|>")
    tokenizer.chat_template = LLAMA3_JINJA
    return tokenizer


@pytest.fixture(scope="session")
def chatml() -> PreTrainedTokenizerFast:
    """Qwen's special tokens and chat template."""
    tokenizer = byte_level(["<|endoftext|>", "<|im_start|>", "<|im_end|>"], split=QWEN_SPLIT, eos_token="<|im_end|>")
    tokenizer.chat_template = QWEN_JINJA
    return tokenizer


@pytest.fixture(scope="session")
def metaspace() -> PreTrainedTokenizerFast:
    """As Llama-2's non-legacy tokenizer: a space before the text, none behind special tokens."""
    return spaced(legacy=False)


@pytest.fixture(scope="session")
def legacy() -> PreTrainedTokenizerFast:
    """As Llama-2's legacy tokenizer: a space before the text and behind each special token."""
    return spaced(legacy=True)


@pytest.fixture(scope="session")
def qwen() -> PreTrainedTokenizerFast:
    """Qwen's real vocabulary."""
    from transformers.convert_slow_tokenizer import TikTokenConverter

    path = _vocabulary("qwen.tiktoken")
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    converted = TikTokenConverter(str(path), pattern=QWEN_SPLIT, extra_special_tokens=special).converted()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=converted, eos_token="<|im_end|>", additional_special_tokens=special)
    tokenizer.add_tokens([AddedToken("<tool_call>", special=False), AddedToken("</tool_call>", special=False)])
    tokenizer.chat_template = QWEN_JINJA
    return tokenizer


@pytest.fixture(scope="session")
def internlm2() -> PreTrainedTokenizerFast:
    """InternLM2's real SentencePiece vocabulary; its chat tokens take the places of the unused ones, as in its model card."""
    from transformers.utils import sentencepiece_model_pb2_new as protobuf

    model = protobuf.ModelProto()
    model.ParseFromString(_vocabulary("internlm2.model").read_bytes())
    names = {92543: "<|im_start|>", 92542: "<|im_end|>", 92541: "<|action_start|>", 92540: "<|action_end|>"}
    names |= {92539: "<|interpreter|>", 92538: "<|plugin|>"}
    vocabulary = {names.get(place, piece.piece): place for place, piece in enumerate(model.pieces)}
    bpe = models.BPE(vocabulary, _merges(model.pieces, vocabulary), unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(bpe)
    steps = [normalizers.Prepend("\u2581")] if model.normalizer_spec.add_dummy_prefix else []
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "\u2581")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = ["<unk>", "<s>", "</s>", *names.values()]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    made.chat_template = "{{ bos_token }}" + QWEN_JINJA
    return made


def _merges(pieces: Iterable[Any], vocabulary: dict[str, int]) -> list[tuple[str, str]]:
    """Recover the merges of a SentencePiece BPE: a piece comes from two shorter ones, the best (highest) score first."""
    ranked = []
    for place, piece in enumerate(pieces):
        text = piece.piece
        if piece.type == 1 and len(text) > 1:
            cuts = [
                (text[:cut], text[cut:]) for cut in range(1, len(text)) if text[:cut] in vocabulary and text[cut:] in vocabulary
            ]
            ranked += [(-piece.score, place, vocabulary[left], vocabulary[right], left, right) for left, right in cuts]
    return [(left, right) for *_, left, right in sorted(ranked)]


def _vocabulary(name: str) -> Path:
    path = Path(__file__).resolve().parents[3] / "shared" / "data" / "tokenizers" / name
    if not path.is_file():
        pytest.skip(f"needs the real vocabulary {path}, which is not there")
    return path


TOKENIZERS = ("llama3", "chatml", "metaspace", "legacy", "qwen", "internlm2")


@pytest.fixture(params=TOKENIZERS)
def any_tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    """Each tokenizer in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of prepared data of this test's own."""
    import datasets

    monkeypatch.setenv("XAGENT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hf"))
    return tmp_path / "cache" / "datasets"


@pytest.fixture
def write_jsonl(tmp_path: Path) -> Callable[..., Path]:
    """Write records, or raw lines, one a line."""

    def write(*records: Any, name: str = "data.jsonl") -> Path:
        path = tmp_path / name
        lines = [record if isinstance(record, str) else json.dumps(record, ensure_ascii=False) for record in records]
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        return path

    return write
