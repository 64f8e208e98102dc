"""From a conversation to text: the only place where prompts are put together, for training and for generation alike.

A rendered conversation is a list of :class:`Segment`: pieces of text in order, each with its weight in the loss and
whether it is the template's own (may hold special tokens) or somebody's words (never may).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any, Literal
from typing import Protocol as PyProtocol

from xagent.chat.message import Conversation
from xagent.chat.named_templates import NAMED_TEMPLATES
from xagent.chat.protocol import Protocol
from xagent.chat.supervision import EVERYTHING_SAID, Supervision
from xagent.chat.turns import Turn, flatten, without_speakers
from xagent.errors import ConfigError

Kind = Literal["template", "content", "eos"]


@dataclass(frozen=True)
class Segment:
    """A span of rendered text.

    Attributes:
        text: the characters; empty for ``eos``, which stands for the tokenizer's end-of-sequence token.
        kind: ``template`` text may hold special tokens, ``content`` is data and never does.
        weight: its weight in the loss; 0 is not learned.
        turn: index of the turn that it belongs to.
        starts_reply: an assistant's words begin here: what stands before is the prompt that generation meets.
    """

    text: str
    kind: Kind
    weight: float = 0.0
    turn: int = -1
    starts_reply: bool = False


@dataclass(frozen=True)
class ChatTemplate:
    """A chat template, with XTuner's fields (INSTRUCTION split into its user and assistant parts).

    The fields are text around the words of a turn, never formats: braces in the words, and other ones in the fields, stay as
    they are.

    Attributes:
        name: what messages and ``xagent.json`` call it.
        SYSTEM: with ``{system}``. USER: with ``{input}``. ASSISTANT: the header before a reply.
        SUFFIX: after a reply. SUFFIX_AS_EOS: the suffix ends the turn and is learned; otherwise the tokenizer's EOS follows it,
            and both are.
        SEP: behind a reply that another turn follows. STOP_WORDS: what ends generation, besides the tokenizer's EOS.
        NAMED: with ``{name}`` and ``{input}``, the turn of a speaker that the tool protocol names, such as ``ipython``; where
            it is empty such a turn is framed as its role's.

    Raises:
        ConfigError: a frame has no place for its words or several, or a suffix that is to end replies is empty.
    """

    name: str
    USER: str
    ASSISTANT: str = ""
    SYSTEM: str = "{system}\n"
    SUFFIX: str = ""
    SUFFIX_AS_EOS: bool = False
    SEP: str = ""
    STOP_WORDS: tuple[str, ...] = ()
    NAMED: str = ""

    def __post_init__(self) -> None:
        named = [("NAMED", "{name}"), ("NAMED", "{input}")] if self.NAMED else []
        for field, place in (("SYSTEM", "{system}"), ("USER", "{input}"), *named):
            frame = getattr(self, field)
            if not isinstance(frame, str) or frame.count(place) != 1:
                raise ConfigError(f"chat template {self.name!r}: {field} must hold {place} exactly once, got {frame!r}")
        if self.SUFFIX_AS_EOS and not self.SUFFIX:
            raise ConfigError(f"chat template {self.name!r}: SUFFIX_AS_EOS needs a SUFFIX, or nothing would end a reply")
        words = (self.STOP_WORDS,) if isinstance(self.STOP_WORDS, str) else tuple(self.STOP_WORDS)
        object.__setattr__(self, "STOP_WORDS", words)

    @property
    def INSTRUCTION(self) -> str:
        """XTuner's spelling: the user turn and the header of the reply in one."""
        return self.USER + self.ASSISTANT

    def render(self, turns: Sequence[Turn], add_generation_prompt: bool = False) -> list[Segment]:
        """Give the segments of these turns; with ``add_generation_prompt`` they end where a reply begins."""
        segments: list[Segment] = []
        turns = turns if self.NAMED else without_speakers(turns)
        for index, turn in enumerate(turns):
            if turn.role == "assistant":
                segments += self._reply(turn, index, last=index == len(turns) - 1 and not add_generation_prompt)
            else:
                segments += self._framed(turn, index)
        if add_generation_prompt:
            segments += _template(self.ASSISTANT, len(turns))
            segments.append(Segment("", "content", 0.0, len(turns), starts_reply=True))
        return segments

    def _framed(self, turn: Turn, index: int) -> Iterator[Segment]:
        frame, marker = (self.SYSTEM, "{system}") if turn.role == "system" else (self.USER, "{input}")
        if turn.speaker:
            frame, marker = self.NAMED.replace("{name}", turn.speaker), "{input}"
        before, _, after = frame.partition(marker)
        yield from _template(before, index)
        yield from (Segment(text, _kind(is_markup), weight, index) for text, weight, is_markup in turn.parts())
        learned = after.rstrip() if turn.suffix_weight else ""
        yield from _template(learned, index, turn.suffix_weight)
        yield from _template(after[len(learned) :], index)

    def _reply(self, turn: Turn, index: int, last: bool) -> Iterator[Segment]:
        yield from _template(self.ASSISTANT, index)
        for number, (text, weight, is_markup) in enumerate(list(turn.parts()) or [("", 0.0, False)]):
            yield Segment(text, _kind(is_markup), weight, index, starts_reply=number == 0)
        yield from _template(self.SUFFIX, index, turn.suffix_weight)
        if not self.SUFFIX_AS_EOS:
            yield Segment("", "eos", turn.suffix_weight, index)
        if not last:
            yield from _template(self.SEP, index)


def _kind(is_markup: bool) -> Kind:
    return "template" if is_markup else "content"


@lru_cache(maxsize=4096)  # the same few texts frame each turn of millions of conversations
def _template(text: str, turn: int, weight: float = 0.0) -> tuple[Segment, ...]:
    return (Segment(text, "template", weight, turn),) if text else ()


class _Templates(dict[str, ChatTemplate]):
    """A dict whose entries are attributes too, as XTuner's ``PROMPT_TEMPLATE.llama3_chat``."""

    def __getattr__(self, name: str) -> ChatTemplate:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"no chat template {name!r}; known: {', '.join(self)}") from None


PROMPT_TEMPLATE = _Templates((name, ChatTemplate(name, **fields)) for name, fields in NAMED_TEMPLATES.items())


def get_template(name: str | ChatTemplate | Mapping[str, Any]) -> ChatTemplate:
    """Give the named template, or the one with these fields (``'tokenizer'`` is none: ``xagent.data.tokenizer_template``).

    Raises:
        ConfigError: there is none of that name (the nearest are in the message), or the fields are not those of a template.
    """
    if isinstance(name, ChatTemplate):
        return name
    if isinstance(name, Mapping):
        return _from_fields(name)
    if name in PROMPT_TEMPLATE:
        return PROMPT_TEMPLATE[name]
    near = difflib.get_close_matches(str(name), PROMPT_TEMPLATE, n=2)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise ConfigError(f"unknown chat template {name!r}{hint} Known: {', '.join(PROMPT_TEMPLATE)}, tokenizer")


def _from_fields(described: Mapping[str, Any]) -> ChatTemplate:
    values = {key: value for key, value in described.items() if key != "type"}  # a config's dict(type=ChatTemplate, ...)
    known = [field.name for field in fields(ChatTemplate)]
    unknown = sorted(set(values) - set(known))
    if "INSTRUCTION" in unknown:
        raise ConfigError("a chat template takes XTuner's INSTRUCTION in two parts: USER (with {input}) and ASSISTANT")
    if unknown or not {"name", "USER"} <= set(values):
        said = f"has no {', '.join(unknown)}" if unknown else "needs name and USER"
        raise ConfigError(f"a chat template {said}; its fields are {', '.join(known)}")
    return ChatTemplate(**values)


def template_reference(template: str | ChatTemplate | Mapping[str, Any]) -> str | dict[str, Any]:
    """Give what finds a template again, as JSON can hold it: its name, or all fields of one's own.

    ``get_template`` takes both; ``'tokenizer'`` stays as it is.
    """
    if isinstance(template, str):
        return template
    found = get_template(template)
    if PROMPT_TEMPLATE.get(found.name) == found:
        return found.name
    return {**asdict(found), "STOP_WORDS": list(found.STOP_WORDS)}


class Renders(PyProtocol):
    """Anything that frames turns: a ChatTemplate, or the tokenizer's own template."""

    def render(self, turns: Sequence[Turn], add_generation_prompt: bool = False) -> list[Segment]:
        """Give the segments of these turns."""


def render(
    conversation: Conversation,
    template: str | Renders,
    protocol: str | Protocol = "react",
    add_generation_prompt: bool = False,
    supervision: Supervision = EVERYTHING_SAID,
) -> list[Segment]:
    """Render a conversation: the protocol's words in the template's frame, with the weights that ``supervision`` gives them."""
    frame = get_template(template) if isinstance(template, str) else template
    return frame.render(flatten(conversation, protocol, supervision), add_generation_prompt)


def to_text(segments: Iterable[Segment], eos: str = "") -> str:
    """Give the plain text of segments, ``eos`` standing for the end-of-sequence token."""
    return "".join(eos if segment.kind == "eos" else segment.text for segment in segments)
