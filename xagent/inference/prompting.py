"""From a conversation to the token ids that generation starts from: the same text and ids as in training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from xagent import __version__
from xagent.assets import resolve
from xagent.chat.message import Conversation, check_characters
from xagent.chat.protocol import Protocol, get_protocol
from xagent.chat.template import ChatTemplate, Segment, render
from xagent.chat.turns import Turn, flatten
from xagent.data.dataset import choose_template
from xagent.data.encode import encode
from xagent.errors import ConfigError, DataError
from xagent.model.provenance import FILE_NAME, read_provenance

_GOES_ON = "\ue002"
"""Stands behind the words of a reply that is not finished: templates trim, or end, what stands last."""


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

    def prompt_ids(self, conversation: Conversation, continue_last: bool = False) -> list[int]:
        """Give the ids up to where the next reply begins.

        They are a prefix of the ids that training makes of the same conversation with that reply.

        Args:
            conversation: whom the model answers.
            continue_last: the last message is a reply that is not finished: the model goes on inside it. Its words stand as they
                are, in the protocol's own wording. The ids are a prefix of the finished message's where the words end at a
                token's end; a line end is one in most vocabularies, half a word need not be.

        Raises:
            DataError: there is no such message to go on with: it is not the assistant's, or has calls or reasoning apart; or a
                text holds half a surrogate pair.
        """
        if continue_last:
            segments = self._begun(conversation)
        else:
            segments = render(conversation, self.template, self.protocol, add_generation_prompt=True)
        for segment in segments:
            check_characters(segment.text)
        return encode(segments, self.tokenizer).input_ids

    def _begun(self, conversation: Conversation) -> list[Segment]:
        """Render up to the end of the last message's words."""
        last = conversation.messages[-1] if conversation.messages else None
        if last is None or last.role != "assistant" or last.tool_calls or last.reasoning is not None:
            found = "no message" if last is None else f"a message of role {last.role!r}"
            if last is not None and last.role == "assistant":
                found = "one with calls or reasoning apart from its words"
            raise DataError(f"a reply to go on with must be the last message, the assistant's, all in plain words; got {found}")
        before = Conversation(conversation.messages[:-1], conversation.tools)
        if not last.content:
            return render(before, self.template, self.protocol, add_generation_prompt=True)
        words = last.content + _GOES_ON
        turn = Turn("assistant", ((words, 0.0),), markup=tuple(self.protocol.markup(last.content, unfinished=True)))
        return _up_to_mark(self.template.render([*flatten(before, self.protocol), turn]))

    def up_to_token(self, words: str, following: str) -> str:
        """Give the words up to the last end of a token, in the tokens that they have with ``following`` behind them.

        A prompt that ends there begins what was trained; one that ends inside such a token is followed by tokens that never stood
        there. All of the words where they are all one token, or part of one.
        """
        whole = self._ids(words + following)
        for end in range(len(words), 0, -1):
            ids = self._ids(words[:end])
            if whole[: len(ids)] == ids:
                return words[:end]
        return words

    def text(self, ids: list[int]) -> str:
        """Give the text of a reply, special tokens left out but for those that the protocol writes calls with."""
        left_out = self._left_out
        kept = [token for token in ids if token not in left_out]
        return str(self.tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def _ids(self, words: str) -> list[int]:
        return list(self.tokenizer(words, add_special_tokens=False).input_ids)

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


def _up_to_mark(segments: list[Segment]) -> list[Segment]:
    """Cut segments at the mark behind an unfinished reply's words."""
    index = max(place for place, segment in enumerate(segments) if _GOES_ON in segment.text)
    last = segments[index]
    return [*segments[:index], replace(last, text=last.text[: last.text.rindex(_GOES_ON)])]
