"""From a conversation to the token ids that generation starts from: the same text and ids as in training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from xagent import __version__
from xagent.assets import resolve
from xagent.chat.message import Conversation
from xagent.chat.protocol import Protocol, get_protocol
from xagent.chat.template import ChatTemplate, render
from xagent.convert.provenance import FILE_NAME, read_provenance
from xagent.data.dataset import choose_template
from xagent.data.encode import encode
from xagent.errors import ConfigError


@dataclass(frozen=True)
class AgentSettings:
    """How a model was trained to be talked to: its chat template (name, or fields of one without) and its tool protocol."""

    template: str | Mapping[str, Any] = "tokenizer"
    protocol: str = "react"


def load_agent_settings(path: str | Path, defaults: AgentSettings | None = None) -> AgentSettings:
    """Read ``xagent.json`` in a model's or an adapter's directory.

    What it does not say, or everything where there is none, comes from ``defaults`` (the tokenizer's own template, ``react``).

    Raises:
        CheckpointError: the file is no JSON object, or names template or protocol in no way that is known.
        ConfigError: an ``xagent:`` name, or the protocol that the file names, is unknown.
    """
    chosen = defaults or AgentSettings()
    folder = resolve(str(path)) if str(path).startswith("xagent:") else Path(path)
    found = read_provenance(folder)
    settings = AgentSettings(found.template or chosen.template, found.protocol or chosen.protocol)
    try:
        get_protocol(settings.protocol)
    except ConfigError as error:
        versions = f"written by xagent {found.xagent_version}, this is {__version__}"
        raise ConfigError(f"{folder / FILE_NAME}: {error} ({versions})" if found.protocol else str(error)) from error
    return settings


class PromptBuilder:
    """Turns conversations into prompts, and replies' ids into text.

    Args:
        tokenizer: the model's own.
        template: name of a chat template, the fields of one, or ``'tokenizer'`` for the tokenizer's own.
        protocol: name of the tool protocol.

    Raises:
        ConfigError: template or protocol is unknown, or none of the template's stop words is a token of the tokenizer.
        DataError: the template is the tokenizer's, which has none.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        template: str | ChatTemplate | Mapping[str, Any] = "tokenizer",
        protocol: str | Protocol = "react",
    ) -> None:
        self.tokenizer = tokenizer
        self.template = choose_template(template, tokenizer)
        self.protocol = get_protocol(protocol)
        self.stop_ids = self._stop_ids()
        self._left_out = self._special_ids() - set(tokenizer.convert_tokens_to_ids(list(self.protocol.special_tokens)))

    def prompt_ids(self, conversation: Conversation) -> list[int]:
        """Give the ids up to where the next reply begins.

        They are a prefix of the ids that training makes of the same conversation with that reply.
        """
        return encode(render(conversation, self.template, self.protocol, add_generation_prompt=True), self.tokenizer).input_ids

    def text(self, ids: list[int]) -> str:
        """Give the text of a reply, special tokens left out but for those that the protocol writes calls with."""
        left_out = self._left_out
        kept = [token for token in ids if token not in left_out]
        return str(self.tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def _special_ids(self) -> set[int]:
        added = self.tokenizer.added_tokens_decoder.items()
        return {place for place, token in added if token.special} | set(self.tokenizer.all_special_ids)

    def _stop_ids(self) -> frozenset[int]:
        vocabulary = self.tokenizer.get_vocab()
        ids = {vocabulary[word] for word in self.template.STOP_WORDS if word in vocabulary}
        if self.tokenizer.eos_token_id is not None:
            ids.add(self.tokenizer.eos_token_id)
        if not ids:
            words = ", ".join(self.template.STOP_WORDS) or "none"
            raise ConfigError(
                f"nothing would end a reply: the stop words of template {self.template.name!r} ({words}) are no tokens of this "
                "tokenizer, and it has no EOS token; choose the template that the model was trained with"
            )
        return frozenset(ids)
