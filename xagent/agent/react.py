"""Lagent's own ReAct agent, with our reading of what the model writes, in any tool protocol."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from lagent.actions import ActionExecutor
from lagent.actions.base_action import BaseAction
from lagent.agents.react import (
    CALL_PROTOCOL_CN,
    CALL_PROTOCOL_EN,
    FORCE_STOP_PROMPT_CN,
    FORCE_STOP_PROMPT_EN,
    ReAct,
    ReActProtocol,
)
from lagent.schema import ActionReturn, ActionStatusCode, ActionValidCode, AgentReturn

from xagent.agent.lagent_tools import specs_of
from xagent.agent.languages import LAGENT_PROTOCOLS, check_language
from xagent.agent.tools.repeats import RepeatedCalls
from xagent.chat.protocol import ParsedReply, Protocol, get_protocol
from xagent.chat.protocol.objects import dump_arguments
from xagent.chat.protocol.react import ReactProtocol
from xagent.errors import ConfigError

_TEXTS = {"en": (CALL_PROTOCOL_EN, FORCE_STOP_PROMPT_EN), "zh": (CALL_PROTOCOL_CN, FORCE_STOP_PROMPT_CN)}

NO_ANSWER = "Stopped: no answer"
"""How the ``errmsg`` of a loop begins that used its replies up."""

UNREADABLE = "Stopped: unreadable"
"""How the ``errmsg`` of a loop begins that ended after too many replies in a row that could not be read."""

Ending = Literal["answer", "turns", "repeats", "unreadable"]
"""How a loop ended: with an answer, with all replies used up, with the same call failing again and again, with replies in a row
that hold neither a call nor an answer."""

OnStep = Callable[[ActionReturn, str], None]
"""Is told what a call gave (or why there was none to run), and the observation that the model is shown."""


class XAgentProtocol(ReActProtocol):
    """Lagent's prompts byte for byte; replies are read by the ``react`` protocol that training uses.

    Of several calls in one reply the first is run, and the observation says so: Lagent's loop shows one result a turn. A call
    that can't be read, and plain text, become Lagent's no-action, whose observation asks for the format; the loop goes on.
    Belongs to one agent.

    Args:
        language: ``en`` or ``zh``, of the system text.
        system: stands before the tools, as a conversation's own system text does in training.
    """

    on_step: OnStep | None = None

    def __init__(self, language: str = "en", system: str = "") -> None:
        check_language(language)
        call_protocol, force_stop = _TEXTS[language]
        super().__init__(call_protocol=call_protocol, force_stop=force_stop)
        self.reader: Protocol = get_protocol(LAGENT_PROTOCOLS[language])
        self.system = system
        self._calls = 0

    def format(
        self,
        chat_history: list[dict[str, Any]],
        inner_step: list[dict[str, Any]],
        action_executor: ActionExecutor,
        force_stop: bool = False,
    ) -> list[dict[str, Any]]:
        """Give the prompt's messages."""
        messages: list[dict[str, Any]] = super().format(chat_history, inner_step, action_executor, force_stop)
        if self.system:
            messages[0]["content"] = f"{self.system}\n\n{messages[0]['content']}"
        return messages

    def parse(self, message: str, action_executor: ActionExecutor) -> tuple[str, str, str]:
        """Give thought, action and action input."""
        reply: ParsedReply = self.reader.parse(message)
        thought = reply.reasoning or ""
        self._calls = len(reply.calls) if reply.status == "calls" else 0
        if reply.status == "answer":
            return thought, action_executor.finish_action.name, reply.content
        own_names = (action_executor.finish_action.name, action_executor.no_action.name)
        if reply.status == "calls" and reply.calls[0].name not in own_names:
            return thought, reply.calls[0].name, dump_arguments(reply.calls[0].arguments)
        return thought, action_executor.no_action.name, ""

    def format_response(self, action_return: ActionReturn) -> dict[str, str]:
        """Give the observation's message."""
        message: dict[str, str] = super().format_response(action_return)
        if self._calls > 1:
            note = f"(the first of {self._calls} calls was run; make one call in each turn)"
            message["content"] = message["content"].removesuffix(self.response["end"]) + f"\n{note}" + self.response["end"]
        if self.on_step is not None:
            shown = message["content"].removeprefix(self.response["begin"]).removesuffix(self.response["end"])
            self.on_step(action_return, shown)
        return message


class SpokenProtocol(XAgentProtocol):
    """Lagent's loop in another tool protocol than Lagent's own: tools, calls and results in the words that training uses.

    Args:
        protocol: the model's.
        language: ``en`` or ``zh``, of the order to stop.
        system: stands before the tools, as a conversation's own system text does in training.
    """

    def __init__(self, protocol: Protocol, language: str = "en", system: str = "") -> None:
        super().__init__(language, system)
        self.reader = protocol

    def format(
        self,
        chat_history: list[dict[str, Any]],
        inner_step: list[dict[str, Any]],
        action_executor: ActionExecutor,
        force_stop: bool = False,
    ) -> list[dict[str, Any]]:
        """Give the prompt's messages; ReAct's dialects are text throughout, others are shown the tools as data."""
        tools = specs_of(action_executor)
        head: dict[str, Any] = {"role": "system", "content": self.system, "tools": tools}
        if isinstance(self.reader, ReactProtocol):
            head = {"role": "system", "content": self.reader.render_system(tools, self.system)}
        order = [{"role": "system", "content": self.force_stop}] if force_stop else []
        return [head, *chat_history, *inner_step, *order]

    def format_response(self, action_return: ActionReturn) -> dict[str, str]:
        """Give the observation's message, and which tool it is of."""
        return {**super().format_response(action_return), "name": str(action_return.type)}


class XAgentExecutor(ActionExecutor):
    """Lagent's executor, which also finds tools whose names hold dots, and names an unknown tool in its observation.

    Lagent splits a dotted name into toolkit and API and fails where it has more than one dot. Belongs to one agent.
    """

    repeats: RepeatedCalls | None = None
    """Watches the calls of one question; see :class:`WatchedReAct`."""
    max_unreadable: int | None = None
    """After so many replies in a row without a call or an answer the loop ends; None is never."""
    ended: tuple[ActionReturn, str] | None = None
    """The call that ended the loop, and why."""
    _unreadable = 0

    def watch(self, max_repeats: int | None, max_unreadable: int | None) -> None:
        """Begin to watch a question's calls and replies."""
        self.repeats = None if max_repeats is None else RepeatedCalls(max_repeats)
        self.max_unreadable, self._unreadable, self.ended = max_unreadable, 0, None

    def __call__(self, name: str, command: str) -> ActionReturn:
        """Run an action. One after which the loop should not go on becomes the action that ends Lagent's loop."""
        result = self._run(name, command)
        why = self._why_stop(name, command, result)
        if why is None:
            return result
        self.ended = result, why
        return self.finish_action(why)

    def _why_stop(self, name: str, command: str, result: ActionReturn) -> str | None:
        self._unreadable = self._unreadable + 1 if name == self.no_action.name else 0
        if self._unreadable and self._unreadable == self.max_unreadable:
            return f"{UNREADABLE}: {self._unreadable} replies in a row held neither a call nor an answer"
        if self.repeats is None or name in (self.no_action.name, self.finish_action.name):
            return None
        failed = result.state != ActionStatusCode.SUCCESS
        return self.repeats.note(name, command, str(result.errmsg) if failed else None)

    def _run(self, name: str, command: str) -> ActionReturn:
        if self.is_valid(name):
            result = self.actions[name](command)
            result.valid = ActionValidCode.OPEN
            return result
        if name in (self.no_action.name, self.finish_action.name):
            return (self.no_action if name == self.no_action.name else self.finish_action)(command)
        if name.count(".") == 1 and self.is_valid(name.split(".")[0]):
            return super().__call__(name, command)
        names = ", ".join(self.action_names())
        return self.invalid_action(f"there is no tool {name!r}; the tools are: {names}")


class WatchedReAct(ReAct):
    """Lagent's loop, which ends when the model runs in circles, and says why it ended without an answer.

    Where ``chat`` gives an ``AgentReturn`` whose ``errmsg`` is set, ``response`` is no answer of the model's: the same call
    failed in the same way ``max_repeats`` times, ``max_unreadable`` replies in a row could not be read, or ``max_turn`` replies
    held no answer; :func:`ending_of` tells which. Belongs to one thread at a time.

    Args:
        max_repeats: None lets the model repeat itself until ``max_turn``.
        max_unreadable: None lets the model go on without calls and answers until ``max_turn``.
    """

    def __init__(
        self,
        llm: Any,
        executor: XAgentExecutor,
        protocol: ReActProtocol,
        max_turn: int,
        max_repeats: int | None,
        max_unreadable: int | None = None,
    ) -> None:
        super().__init__(llm, executor, protocol, max_turn)
        self._max_repeats, self._max_unreadable = max_repeats, max_unreadable

    def chat(self, message: Any, **kwargs: Any) -> AgentReturn:
        """Let the model work on a question, or go on with messages."""
        executor = self._action_executor
        executor.watch(self._max_repeats, self._max_unreadable)
        outcome: AgentReturn = super().chat(message, **kwargs)
        if executor.ended is not None:
            failed, outcome.errmsg = executor.ended
            failed.thought = outcome.actions[-1].thought
            outcome.actions[-1] = failed
            outcome.inner_steps.append(self._protocol.format_response(failed))
        elif outcome.actions[-1].type != executor.finish_action.name:
            outcome.errmsg = f"{NO_ANSWER} within {self.max_turn} replies"
        return outcome


def ending_of(outcome: AgentReturn) -> Ending:
    """Say how the loop of a :class:`WatchedReAct` ended."""
    if outcome.errmsg is None:
        return "answer"
    if outcome.errmsg.startswith(NO_ANSWER):
        return "turns"
    return "unreadable" if outcome.errmsg.startswith(UNREADABLE) else "repeats"


def build_react_agent(
    llm: Any,
    tools: Sequence[BaseAction],
    language: str = "en",
    max_turn: int = 6,
    protocol: str | Protocol | None = None,
    max_repeats: int | None = 3,
    system: str = "",
    on_step: OnStep | None = None,
    max_unreadable: int | None = None,
) -> WatchedReAct:
    """Give Lagent's ``ReAct`` with these tools, in the tool protocol that the model was trained in.

    Args:
        llm: has ``chat(messages, **kwargs) -> str``, such as :class:`xagent.agent.lagent_llm.LagentLLM`.
        tools: actions, in the order in which they are shown; none are fine. Those of ``--tools`` come from
            :func:`xagent.agent.lagent_tools.tool_actions`.
        language: of the system text, ``en`` or ``zh``.
        max_turn: how many replies the model may write; before the last one it is told to stop.
        protocol: None is that of ``llm.prompts`` where it has some, else Lagent's. ``react`` and ``react_zh`` are Lagent's own
            loop, whose words ``language`` chooses.
        max_repeats: after so many failures of the same call with the same error the loop ends, see :class:`WatchedReAct`.
        system: the conversation's own system text, before the tools.
        on_step: is told of every observation.
        max_unreadable: after so many replies in a row that hold neither a call nor an answer the loop ends; None asks for the
            format again until ``max_turn``.

    Raises:
        ConfigError: the language or the protocol is unknown, or one of the limits is less than 1.
    """
    if max_repeats is not None:
        RepeatedCalls(max_repeats)
    for setting, value in (("max_turn", max_turn), ("max_unreadable", max_unreadable)):
        if value is not None and value < 1:
            raise ConfigError(f"{setting} must be >= 1, got {value}")
    if protocol is None:
        protocol = llm.prompts.protocol if hasattr(llm, "prompts") else LAGENT_PROTOCOLS["en"]
    spoken = get_protocol(protocol)
    if spoken.name in LAGENT_PROTOCOLS.values():
        own = XAgentProtocol(language, system)
    else:
        own = SpokenProtocol(spoken, language, system)
    own.on_step = on_step
    return WatchedReAct(llm, XAgentExecutor(list(tools)), own, max_turn, max_repeats, max_unreadable)
