"""Generation: the tokens of one prompt at a time, whatever the batch; models loaded, or refused with a reason."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

from xagent.errors import CheckpointError, ConfigError
from xagent.model import attention
from xagent.model.generation import Completion, Generator, load_model
from xagent.model.generation_batch import Row, Sampling, choose

VOCABULARY = 260
STOP = 7


def tiny_llama(**options) -> LlamaForCausalLM:
    torch.manual_seed(0)
    sizes = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
    return LlamaForCausalLM(LlamaConfig(**{**sizes, "vocab_size": VOCABULARY, "initializer_range": 0.3, **options})).eval()


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    letters = {letter: index for index, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=letters, merges=[]))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


def prompts(*lengths: int) -> list[list[int]]:
    rng = random.Random(1)
    return [[rng.randrange(8, VOCABULARY) for _ in range(length)] for length in lengths]


def alone(model, prompt: list[int], limit: int, stop: int | None = None) -> list[int]:
    """What transformers' own greedy generation gives."""
    ids = torch.tensor([prompt])
    settings = dict(max_new_tokens=limit, do_sample=False, pad_token_id=0, eos_token_id=stop)
    new = model.generate(ids, attention_mask=torch.ones_like(ids), **settings)[0, len(prompt) :].tolist()
    return new[:-1] if new and new[-1] == stop else new


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_batched_tokens_are_those_of_each_prompt_alone(batch_size: int) -> None:
    model, given = tiny_llama(), prompts(5, 40, 1, 17, 40, 90, 3)
    expected = [alone(model, prompt, 30) for prompt in given]
    found = Generator(model, tiny_tokenizer(), batch_size).generate(given, 30, [])
    assert [one.ids for one in found] == expected
    assert not any(one.finished for one in found)


def test_rows_end_at_different_times_and_the_stop_token_is_left_out() -> None:
    model, given = tiny_llama(), prompts(5, 40, 1, 17, 40, 90, 3, 60)
    whole = [alone(model, prompt, 30) for prompt in given]
    stop = whole[1][6]
    expected = [alone(model, prompt, 30, stop) for prompt in given]
    found = Generator(model, tiny_tokenizer(), 8).generate(given, 30, [stop])
    assert [one.ids for one in found] == expected
    assert [one.finished for one in found] == [stop in ids for ids in whole]
    assert len({len(one.ids) for one in found}) > 2


def test_sliding_windows_hide_what_they_should() -> None:
    torch.manual_seed(0)
    sizes = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
    model = MistralForCausalLM(MistralConfig(**sizes, vocab_size=VOCABULARY, sliding_window=8, initializer_range=0.3)).eval()
    given = prompts(5, 40, 1, 17)
    found = Generator(model, tiny_tokenizer(), 4).generate(given, 20, [])
    assert [one.ids for one in found] == [alone(model, prompt, 20) for prompt in given]


def test_a_next_turn_computes_only_what_is_new() -> None:
    model, given = tiny_llama(), prompts(50, 60, 45)
    generator = Generator(model, tiny_tokenizer(), 4, remember=4)
    read: list[int] = []
    model.model.register_forward_pre_hook(lambda _, args, kwargs: read.append(kwargs["input_ids"].numel()), with_kwargs=True)
    for turn in range(3):
        read.clear()
        found = generator.generate(given, 12, [])
        expected_reads = {0: sum(map(len, given))}.get(turn, 3 * (1 + 10))  # the reply's last token and ten more
        assert sum(read) == expected_reads + 3 * 11
        assert [one.ids for one in found] == [alone(model, prompt, 12) for prompt in given]
        given = [prompt + one.ids + [9] * 10 for prompt, one in zip(given, found, strict=True)]


def test_memory_serves_a_prompt_that_only_begins_alike() -> None:
    model, (prompt,) = tiny_llama(), prompts(50)
    generator = Generator(model, tiny_tokenizer(), 4, remember=1)
    for other in (prompt, prompt, prompt[:30] + [11, 12], prompt[:5], [200, *prompt]):
        assert generator.generate([other], 6, [])[0].ids == alone(model, other, 6)


def test_a_full_context_gives_nothing_and_a_nearly_full_one_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    generator = Generator(tiny_llama(max_position_embeddings=32), tiny_tokenizer())
    full, nearly = generator.generate(prompts(32, 29), 10, [])
    assert full == Completion([], False)
    assert len(nearly.ids) == 3 and not nearly.finished
    assert "32" in caplog.text


def test_sampling_depends_on_the_seed_and_not_on_the_batch() -> None:
    model, given = tiny_llama(), prompts(5, 40, 17, 9)

    def sample(batch_size: int, **settings) -> list[list[int]]:
        found = Generator(model, tiny_tokenizer(), batch_size).generate(given, 20, [], **settings)
        return [one.ids for one in found]

    assert sample(1, temperature=1.0, seed=3) == sample(4, temperature=1.0, seed=3)
    assert sample(4, temperature=1.0, seed=3) != sample(4, temperature=1.0, seed=4)
    assert sample(4, temperature=1.0, top_p=1e-6) == sample(4)
    same = Generator(model, tiny_tokenizer()).generate([given[0]] * 2, 20, [], temperature=1.0)
    assert same[0] != same[1]


@pytest.mark.parametrize(
    "temperature, top_p, shares",
    [(1.0, 1.0, [0.5, 0.0, 0.3, 0.2]), (0.5, 1.0, [0.6579, 0.0, 0.2368, 0.1053]), (1.0, 0.6, [0.625, 0.0, 0.375, 0.0])],
)
def test_tokens_are_drawn_as_often_as_they_are_likely(temperature: float, top_p: float, shares: list[float]) -> None:
    logits = torch.tensor([[0.5, 0.0, 0.3, 0.2]]).log()
    chosen = [Sampling(temperature, top_p, seed) for seed in range(2000)]
    rows = [Row([1], 1, frozenset(), sampling, sampling.stream(index)) for sampling in chosen for index in (0, 1)]
    drawn = [one.token for one in choose(logits.expand(len(rows), -1), rows)]
    assert [drawn.count(token) / len(drawn) for token in range(4)] == pytest.approx(shares, abs=0.03)
    assert 1 not in drawn and (top_p == 1 or 3 not in drawn)
    assert len(set(drawn)) == sum(share > 0 for share in shares)


def test_the_likeliest_mass_is_found_wherever_it_ends_and_whatever_the_others_ask_for() -> None:
    torch.manual_seed(0)
    logits = (torch.randn(3, 700) * torch.tensor([[0.1], [2.0], [6.0]])).bfloat16()  # its end: at some hundreds, tens, a few
    asked = [(index, Sampling(0.9, top_p, seed)) for index in range(3) for top_p in (0.3, 0.9, 0.999) for seed in range(40)]

    def row(sampling: Sampling) -> Row:
        return Row([1], 1, frozenset(), sampling, sampling.stream())

    together = choose(logits[[index for index, _ in asked]], [row(sampling) for _, sampling in asked])
    for (index, sampling), chosen in zip(asked, together, strict=True):
        assert choose(logits[[index]], [row(sampling)]) == [chosen]
        likeliest = (logits[index].float() / 0.9).softmax(-1)
        before = float(likeliest[likeliest > likeliest[chosen.token]].sum())
        assert before < sampling.top_p + 1e-6
    alike = choose(torch.zeros(200, 8), [row(Sampling(1.0, 0.5, seed)) for seed in range(200)])
    assert {one.token for one in alike} == set(range(8)), "equally likely tokens belong to it together"


def test_of_equally_likely_tokens_the_first_is_taken() -> None:
    logits = torch.tensor([[0.0, 3.0, 3.0, 1.0], [2.0, 1.0, 2.0, 2.0]], dtype=torch.bfloat16)
    assert [one.token for one in choose(logits, [Row([1], 1, frozenset())] * 2)] == [1, 0]


def test_greedy_rows_beside_drawn_ones_take_the_likeliest() -> None:
    coldest = Sampling(1e-40, 1.0, 1)
    rows = [Row([1], 1, frozenset()), Row([1], 1, frozenset(), coldest, coldest.stream()), Row([1], 1, frozenset())]
    logits = torch.tensor([[0.0, 1.0, 0.5], [2.0, 1.0, 0.0], [0.0, 1.0, 3.0]])
    assert [one.token for one in choose(logits, rows)] == [1, 0, 2]


def test_the_model_goes_back_to_training_with_gradients() -> None:
    model = tiny_llama().train()
    Generator(model, tiny_tokenizer()).generate(prompts(4), 3, [])
    assert model.training
    model(input_ids=torch.tensor(prompts(6))).logits.sum().backward()
    assert model.model.embed_tokens.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "given, settings, message",
    [
        ([[]], {}, "no tokens"),
        ([[1]], {"temperature": -1}, "temperature"),
        ([[1]], {"top_p": 0}, "top_p"),
        ([[1]], {"max_new_tokens": 0}, "max_new_tokens"),
    ],
)
def test_impossible_settings_are_refused(given, settings, message) -> None:
    with pytest.raises(ConfigError, match=message):
        Generator(tiny_llama(), tiny_tokenizer()).generate(given, **{"max_new_tokens": 1, "stop_ids": [], **settings})
    with pytest.raises(ConfigError, match="max_batch_size"):
        Generator(tiny_llama(), tiny_tokenizer(), 0)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    tiny_llama().save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def save_adapter(folder: Path, base: str, **sizes) -> None:
    model = get_peft_model(tiny_llama(**sizes), LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
    model.peft_config["default"].base_model_name_or_path = base
    model.save_pretrained(folder)


def test_a_model_is_loaded_to_generate_with(saved: Path) -> None:
    model, tokenizer = load_model(saved, device="cpu")
    assert not model.training and model.dtype == torch.float32 and model.config._attn_implementation == attention.NAME
    given = tokenizer("hello").input_ids
    assert Generator(model, tokenizer).generate([given], 5, [])[0].ids == alone(tiny_llama(), given, 5)
    assert load_model(str(saved), dtype="bf16", device="cpu")[0].dtype == torch.bfloat16


def test_an_adapter_is_put_on_its_base(saved: Path, tmp_path: Path) -> None:
    save_adapter(tmp_path / "adapter", str(saved))
    with_base, _ = load_model(saved, tmp_path / "adapter", device="cpu")
    by_itself, _ = load_model(tmp_path / "adapter", device="cpu")
    given = prompts(9, 4)
    found = [Generator(model, tiny_tokenizer()).generate(given, 8, []) for model in (with_base, by_itself)]
    assert found[0] == found[1] != Generator(tiny_llama(), tiny_tokenizer()).generate(given, 8, [])


def test_what_cannot_be_loaded_is_named_with_what_to_do(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no such model directory"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"is a file"):
        load_model(saved / "config.json")
    with pytest.raises(ConfigError, match="no embedded asset"):
        load_model("xagent:nothing")
    with pytest.raises(ConfigError, match="dtype"):
        load_model(saved, dtype="fp64")
    save_adapter(tmp_path / "wider", str(saved), hidden_size=32)
    with pytest.raises(CheckpointError, match="is no adapter of this model"):
        load_model(saved, tmp_path / "wider")
    (saved / "tokenizer.json").unlink()
    (saved / "tokenizer_config.json").unlink()
    with pytest.raises(CheckpointError, match="has no tokenizer"):
        load_model(saved)
    (saved / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"no weights \(\*.safetensors\)"):
        load_model(saved)
    (saved / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"no config.json"):
        load_model(saved)
