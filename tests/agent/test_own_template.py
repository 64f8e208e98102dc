"""A config's own template goes with the model: saved with the checkpoint, and found where the model is talked to."""

from __future__ import annotations

from pathlib import Path

from agent_fixtures import tiny_tokenizer

from xagent.chat.message import Conversation, Message
from xagent.chat.template import PROMPT_TEMPLATE, ChatTemplate
from xagent.convert.companions import write_model_card
from xagent.engine.hooks.checkpoint import _template_of
from xagent.inference.prompting import PromptBuilder, load_agent_settings
from xagent.model.provenance import Provenance

MINE = ChatTemplate("mine", USER="Q: {input}\n", ASSISTANT="A: ", SEP="\n", STOP_WORDS=("<|eot_id|>",))


def test_a_checkpoint_names_known_templates_and_holds_own_ones() -> None:
    assert _template_of({}) == _template_of({"template": "tokenizer"}) == "tokenizer"
    assert _template_of({"template_map_fn": {"template": PROMPT_TEMPLATE.qwen_chat}}) == "qwen_chat"
    assert _template_of({"template": MINE})["USER"] == "Q: {input}\n"


def test_an_own_template_is_picked_up_without_being_named_again(tmp_path: Path) -> None:
    made = Provenance.from_mapping({"template": _template_of({"template": MINE}), "protocol": "hermes"})
    made.write(tmp_path)
    settings = load_agent_settings(tmp_path)
    found = PromptBuilder(tiny_tokenizer(), settings.template, settings.protocol)
    assert found.template == MINE
    talk = Conversation((Message("user", "hi {x}"),))
    assert found.text(found.prompt_ids(talk)) == "Q: hi {x}\nA: "
    write_model_card(tmp_path, "Title", "Text.", made, {}, "peft")
    assert "| chat template | mine |" in (tmp_path / "README.md").read_text()
