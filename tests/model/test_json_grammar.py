"""Replies that are kept to a JSON schema, from a model of random weights: whatever it would say, it is an instance."""

from __future__ import annotations

import json
import sys
from typing import Any

import jsonschema
import pytest
import torch
from test_scheduler import PATIENCE, Heard, prompts, tiny_llama
from tiny_models import byte_tokenizer

from xagent.errors import ConfigError
from xagent.model.generation_batch import Row, Sampling, choose
from xagent.model.json_grammar import JsonGrammars
from xagent.model.scheduler import Scheduler

pytest.importorskip("llguidance")

TOKENIZER = byte_tokenizer()
END = frozenset([4])
TRIP = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 6},
        "days": {"type": "integer", "minimum": 0, "maximum": 30},
        "by": {"enum": ["train", "bus", "飞机"]},
        "stops": {"type": "array", "items": {"type": "boolean"}, "maxItems": 2},
    },
    "required": ["city", "days", "by", "stops"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def grammars() -> JsonGrammars:
    return JsonGrammars(TOKENIZER, END)


def told(grammars: JsonGrammars, schema: Any, written: str = "") -> str:
    """Give the characters that may follow, the end as a full stop."""
    constraint = grammars.of_schema(json.dumps(schema))
    for token in TOKENIZER(written, add_special_tokens=False).input_ids:
        constraint.take(token)
    constraint.check()
    places = constraint.allowed(300).nonzero().flatten().tolist()
    return "".join("." if place in END else TOKENIZER.decode([place]) for place in places)


def test_what_may_come_next(grammars: JsonGrammars) -> None:
    assert told(grammars, TRIP) == "{"
    assert told(grammars, {"enum": [1, "a", None]}) == '"1n'
    assert told(grammars, {"enum": [1, 15]}, "1") == ".5"
    assert told(grammars, {"enum": [1, 15]}, "15") == "."
    assert told(grammars, {"type": "integer", "minimum": 0, "maximum": 29}, "2") == ".0123456789"
    assert told(grammars, {"type": "array", "items": {"enum": [7]}, "maxItems": 2}, "[7") == ",]"
    assert told(grammars, {"type": "array", "items": {"enum": [7]}, "maxItems": 2}, "[7,") == " ", "written as json.dumps does"


@pytest.mark.parametrize("sampling", [Sampling(), *(Sampling(1.5, seed=seed) for seed in range(6)), Sampling(1.0, 0.5)])
def test_whatever_a_model_would_say_it_is_an_instance(grammars: JsonGrammars, sampling: Sampling) -> None:
    scheduler = Scheduler(tiny_llama())
    heard = Heard()
    scheduler.submit(prompts(9)[0], heard, 200, END, sampling, constraint=grammars.of_schema(json.dumps(TRIP)))
    text = TOKENIZER.decode(heard.ids)
    scheduler.close()
    assert heard.end == ("stop", len(heard.ids) + 1)
    value = json.loads(text)
    jsonschema.validate(value, TRIP)
    assert text == json.dumps(value, ensure_ascii=False)


def test_others_in_the_batch_choose_as_they_like(grammars: JsonGrammars) -> None:
    logits_BV = torch.randn(3, 261, generator=torch.Generator().manual_seed(0))
    rows = [Row([1], 9, END, logprobs=1) for _ in range(3)]
    free = [chosen.token for chosen in choose(logits_BV, rows)]
    rows[1].constraint = grammars.of_schema('{"enum": [12, 13]}')
    kept = logits_BV.clone()
    chosen = choose(logits_BV, rows)
    assert [one.token for one in chosen] == [free[0], TOKENIZER.convert_tokens_to_ids("1"), free[2]]
    assert torch.equal(logits_BV, kept)
    logprobs_V = torch.log_softmax(logits_BV[1], -1)
    assert chosen[1].logprob == pytest.approx(float(logprobs_V[chosen[1].token]))
    assert chosen[1].top[0][0] == free[1], "told is what the model itself thinks"
    rows[1].take(chosen[1])
    second = choose(logits_BV, rows)[1].token
    assert TOKENIZER.decode([second]) in "23"


def test_a_constraint_that_fails_ends_its_own_request_alone(grammars: JsonGrammars) -> None:
    constraint = grammars.of_schema('{"enum": [1]}')
    constraint.take(TOKENIZER.convert_tokens_to_ids("x"))
    assert constraint.allowed(261).all(), "no row of -inf, whatever happened"
    scheduler = Scheduler(tiny_llama())
    broken, other = Heard(), Heard()
    scheduler.submit(prompts(5)[0], broken, 20, END, constraint=constraint)
    scheduler.submit(prompts(7)[0], other, 20, frozenset([-1]))
    assert len(other.ids) == 20 and broken.ended.wait(PATIENCE)
    scheduler.close()
    assert isinstance(broken.fault, ConfigError) and "can't be followed any more" in str(broken.fault)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "objec"}, "Invalid type: objec"),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"type": "array", "uniqueItems": True, "x-guidance": {"lenient": True}}, "uniqueItems"),
        ({"$ref": "https://example.org/schema.json"}, "does not fetch"),
        ({"type": "string", "pattern": "("}, "unclosed group"),
        ([], "object schema"),
    ],
)
def test_schemas_that_cant_be_followed_are_refused(grammars: JsonGrammars, schema: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=f"the JSON schema can't be followed: .*{message}"):
        grammars.of_schema(json.dumps(schema))


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(ConfigError, match=r"llguidance, which is not installed: pip install 'xagent\[json\]'"):
        JsonGrammars(TOKENIZER, END).of_schema("{}")
