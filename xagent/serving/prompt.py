"""From a chat request to what the model reads, and to the reader of its reply."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from xagent.chat.message import Conversation, Message, ToolCall, ToolSpec, excerpt
from xagent.chat.protocol import Protocol
from xagent.chat.reply import Reply
from xagent.chat.stream import PlainReader, ReplyReader, reply_reader
from xagent.errors import DataError
from xagent.inference.engine import Grammar
from xagent.inference.led_reply import Lead
from xagent.inference.prompting import PromptBuilder
from xagent.serving.call_grammar import call_grammars
from xagent.serving.conversation import read_conversation, read_tools
from xagent.serving.errors import ApiError
from xagent.serving.parameters import ChatParameters

_NAME, _TEXT = "\ue000", "\ue001"
"""Characters that stand for a name and an answer where the protocol's wording around them is looked for."""


@dataclass(frozen=True)
class ToolChoice:
    """Whether tools are to be called: ``none``, ``auto`` or ``required``, and the one that must be, if one is named."""

    mode: Literal["none", "auto", "required"]
    name: str | None = None


@dataclass(frozen=True)
class ChatPrompt:
    """What the model reads, and how its reply is read.

    Attributes:
        ids: the prompt's.
        protocol: what the reply is in.
        opening: the beginning of the reply, which the prompt ends with: how a call is forced, and a line begun.
        lead: how a call is forced where the model thinks first; it is part of the reply's text.
        grammar: what a forced call is kept to, behind the opening; that of a lead is in there.
        plain: the reply is text whatever it says.
        continues: the reply goes on with the client's last message.
        max_calls: how many calls are read, None: all.
    """

    ids: tuple[int, ...]
    protocol: Protocol
    opening: str = ""
    lead: Lead | None = None
    grammar: Grammar | None = None
    plain: bool = False
    continues: bool = False
    max_calls: int | None = None

    def reader(self) -> ReplyReader:
        """Give a reader for one reply. The opening is still to be fed to it."""
        if self.plain:
            return PlainReader(self.protocol, verbatim=self.continues)
        return reply_reader(self.protocol, self.max_calls)


def chat_prompt(prompts: PromptBuilder, request: ChatParameters, follows: Callable[[Grammar], bool] | None = None) -> ChatPrompt:
    """Put the prompt together.

    Args:
        follows: says whether the engine can keep a reply to a grammar: forced calls are kept to the first that it can.

    Raises:
        ApiError: 400: messages, tools or the choice can't be; 422: they are well formed, and this model's template or protocol
            can't say them.
    """
    tools = read_tools(request.tools)
    choice = read_choice(request.tool_choice, tools)
    offered = () if choice.mode == "none" else tools
    conversation = read_conversation(request.messages, offered)
    continues = conversation.messages[-1].role == "assistant"
    if continues and choice.mode == "required":
        raise ApiError(
            400, "the last message is the assistant's and is continued; no call can be forced inside it", "tool_choice"
        )
    one = choice.name is not None or not request.parallel_tool_calls
    opening, lead, grammar = "", None, None
    if choice.mode == "required":
        begun, grammar = _forced_call(prompts, tools, choice.name, not one, follows or (lambda _: False))
        if prompts.protocol.after_thought:
            lead, grammar = _lead_to_call(prompts, conversation, begun, grammar), None
        else:
            opening = begun
    elif continues:
        opening = line_end_behind_observation(conversation.messages[-1].content)
    elif not offered and _speaks(conversation):
        opening = answer_opening(prompts, whole=(request.response_format or {}).get("type", "text") != "text")
    ids = _prompt_ids(prompts, conversation, opening, continues)
    plain = not offered and (continues or not opening)
    return ChatPrompt(ids, prompts.protocol, opening, lead, grammar, plain, continues, 1 if one else None)


def read_choice(choice: str | Mapping[str, Any] | None, tools: tuple[ToolSpec, ...]) -> ToolChoice:
    """Read ``tool_choice``; without one tools are called as the model likes.

    Raises:
        ApiError: it is none of OpenAI's, or names, or needs, a tool that is not offered.
    """
    if choice is None:
        return ToolChoice("auto" if tools else "none")
    if choice in ("none", "auto") and isinstance(choice, str):
        return ToolChoice("none" if choice == "none" or not tools else "auto")
    if choice == "required":
        if not tools:
            raise ApiError(400, "tool_choice 'required' needs 'tools'", "tool_choice")
        return ToolChoice("required")
    name = _named(choice) if isinstance(choice, Mapping) else None
    if name is None:
        forms = '\'none\', \'auto\', \'required\' or {"type": "function", "function": {"name": ...}}'
        raise ApiError(400, f"'tool_choice' must be {forms}, got {excerpt(choice, 120)}", "tool_choice")
    if name not in [tool.name for tool in tools]:
        known = ", ".join(tool.name for tool in tools) or "none"
        raise ApiError(400, f"tool_choice names {excerpt(name, 80)}; the tools are: {known}", "tool_choice")
    return ToolChoice("required", name)


def _named(choice: Mapping[str, Any]) -> str | None:
    function = choice.get("function")
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if choice.get("type") == "function" and isinstance(name, str) else None


def _forced_call(
    prompts: PromptBuilder, tools: Sequence[ToolSpec], name: str | None, many: bool, follows: Callable[[Grammar], bool]
) -> tuple[str, Grammar | None]:
    """Give how a call begins, and the narrowest grammar for the rest that the engine follows."""
    chosen = [tool for tool in tools if name in (None, tool.name)]
    begun = call_opening(prompts, tools, name, bracket=False)
    grammar = next((found for found in call_grammars(prompts, chosen, begun, many) if follows(found)), None)
    return (call_opening(prompts, tools, name), None) if grammar is None else (begun, grammar)


def call_opening(prompts: PromptBuilder, tools: Sequence[ToolSpec], name: str | None = None, bracket: bool = True) -> str:
    """Give how a reply begins that calls a tool: up to its name, or to the arguments of tool ``name``, their bracket with them.

    It ends where a token ends in the calls of all these tools: the rest is left to the model, but never a part of the name.
    """
    written = _written_call(prompts.protocol, name or _NAME, {})
    opening = written[: written.index(_NAME)].rstrip('" ') if name is None else written[: written.rindex("{}") + bracket]
    calls = [_written_call(prompts.protocol, tool.name, _some_arguments(tool)) for tool in tools if name in (None, tool.name)]
    cuts = [prompts.up_to_token(opening, call.removeprefix(opening)) for call in calls if call.startswith(opening)]
    shortest = min(cuts, key=len, default=opening)
    return shortest if name is None or name in shortest else opening


def answer_opening(prompts: PromptBuilder, whole: bool = False) -> str:
    """Give how a reply begins that calls nothing; empty where that is plain text.

    It ends where a token ends, or is ``whole`` where a grammar leaves none of it to the model.
    """
    written = prompts.protocol.write_reply(Message("assistant", _TEXT))
    opening = written[: written.index(_TEXT)].rstrip()
    if whole or not opening:
        return opening
    return prompts.up_to_token(opening, written.removeprefix(opening).replace(_TEXT, "A"))


def _written_call(protocol: Protocol, name: str, arguments: Mapping[str, Any]) -> str:
    return protocol.write_reply(Message("assistant", tool_calls=(ToolCall(name, dict(arguments)),)))


def _some_arguments(tool: ToolSpec) -> dict[str, Any]:
    """Give arguments that begin as a call's do."""
    properties = tool.parameters.get("properties")
    return dict.fromkeys(list(properties)[:1], "") if isinstance(properties, Mapping) else {}


def _lead_to_call(prompts: PromptBuilder, conversation: Conversation, opening: str, grammar: Grammar | None) -> Lead:
    """Give what leads from the model's own thought to a call."""

    def prompt_ids(begun: str) -> list[int]:
        return prompts.prompt_ids(_begun(conversation, begun), continue_last=True)

    return Lead(prompts.protocol.after_thought, opening, prompt_ids, grammar)


def line_end_behind_observation(words: str) -> str:
    """Give the line end that is missing where a reply that goes on ends with an observation; else nothing.

    What a model writes behind an observation was trained at the beginning of a line, and the line end is often one token with
    what stands before it: a model that were to write it would see tokens that it never learned from.
    """
    observed = Reply(words).observations
    if not observed or observed[-1].end < len(words) or words.endswith("\n"):
        return ""
    return "\n" if words[observed[-1].start + observed[-1].opening :].strip() else ""


def _speaks(conversation: Conversation) -> bool:
    """Say whether the conversation so far speaks the protocol."""
    return any(message.tool_calls or message.role == "tool" for message in conversation.messages)


def _prompt_ids(prompts: PromptBuilder, conversation: Conversation, opening: str, continues: bool) -> tuple[int, ...]:
    if opening:
        conversation = _begun(conversation, opening)
    try:
        return tuple(prompts.prompt_ids(conversation, continue_last=bool(opening) or continues))
    except DataError as error:
        raise ApiError(422, f"this model can't be asked so: {error}", "messages") from error


def _begun(conversation: Conversation, words: str) -> Conversation:
    """Give the conversation with the words at the beginning of the reply, or at the end of what is there of it."""
    *before, last = conversation.messages
    if last.role == "assistant":
        return replace(conversation, messages=(*before, replace(last, content=last.content + words)))
    return replace(conversation, messages=(*before, last, Message("assistant", words)))
