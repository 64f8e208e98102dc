"""InternLM2's own format: calls between special tokens, tools and results in turns of ``system`` and ``environment`` with a name.

Format: https://github.com/InternLM/InternLM/blob/main/chat/chat_format.md, and ``lagent.agents.internlm2_agent``, which calls the
code interpreter ``IPythonInterpreter`` with one parameter ``command``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from xagent.chat.message import Message, ToolCall, ToolSpec
from xagent.chat.protocol.base import ParsedReply, Span
from xagent.chat.protocol.objects import read_object
from xagent.chat.protocol.scan import Scan, object_to_call
from xagent.chat.protocol.thinking import TAGS, ThinkingProtocol, is_unfinished_thought, split_thought, write_thought

INTERPRETER = "IPythonInterpreter"
"""The tool whose calls are code."""

_START, _END, _PLUGIN, _INTERPRETER = "<|action_start|>", "<|action_end|>", "<|plugin|>", "<|interpreter|>"
_ACTION = re.compile(r"(<\|action_start\|>)\s*(<\|plugin\|>|<\|interpreter\|>)?\s*")
_ACTION_END = re.compile(r"\s*(<\|action_end\|>)")
_ANY_END = re.compile(r"(<\|action_end\|>)")
_CODE = "```python\n{code}\n```"
_FENCED = re.compile(r"```[a-z]*\n(.*?)\n?```", re.DOTALL)


class InternLM2Protocol(ThinkingProtocol):
    """``<|action_start|><|plugin|>`` with one JSON object, or ``<|interpreter|>`` with code, up to ``<|action_end|>``."""

    name: ClassVar[str] = "internlm2"
    telltale: ClassVar[re.Pattern[str]] = re.compile(rf"<\|action_start\|>|{TAGS}")
    special_tokens: ClassVar[tuple[str, ...]] = (_START, _END, _PLUGIN, _INTERPRETER)
    result_separator: ClassVar[str] = "\n"

    def render_system(self, tools: Sequence[ToolSpec], system: str = "") -> str:
        """Give all system turns as one text, for templates that know no named speakers."""
        return "\n\n".join(text for _, text in self.system_turns(tools, system))

    def system_turns(self, tools: Sequence[ToolSpec], system: str = "") -> list[tuple[str | None, str]]:
        """Give the conversation's own text, how to use the interpreter, and the tools as a JSON list."""
        turns: list[tuple[str | None, str]] = [(None, system)] if system else []
        turns += [(f"system name={_INTERPRETER}", tool.description) for tool in tools if _runs_code(tool)]
        plugins = [tool.to_openai()["function"] for tool in tools if not _runs_code(tool)]
        if plugins:
            turns.append((f"system name={_PLUGIN}", json.dumps(plugins, ensure_ascii=False, indent=4)))
        return turns

    def write_reply(self, message: Message) -> str:
        """Write thought and text, then the calls."""
        thought = "".join(f"{line}\n" for line in write_thought(message.reasoning))
        return thought + message.content + "\n".join(map(_write_call, message.tool_calls))

    def render_result(self, content: str, name: str | None = None) -> str:
        """Give the result as it is."""
        return content

    def result_speaker(self, name: str | None = None) -> str | None:
        """Results come from the ``environment``, which names what they are of."""
        return f"environment name={_INTERPRETER if name == INTERPRETER else _PLUGIN}"

    def parse_said(self, thought: str | None, said: str) -> ParsedReply:
        """Read the calls and the text around them."""
        scan = Scan(said)
        for action in _actions(said):
            if isinstance(action.call, str):
                return scan.incomplete(thought, action.call, action.start)
            scan.take([action.call], action.start, action.end)
        return scan.reply(thought)

    def markup(self, text: str, unfinished: bool = False) -> Iterable[Span]:
        """Find the special tokens around complete calls, and those that begin an unfinished one."""
        if _START not in text or is_unfinished_thought(text):
            return ()
        said = split_thought(text)[1]
        shift = len(text) - len(said)
        chosen = (action for action in _actions(said) if unfinished or not isinstance(action.call, str))
        return [(start + shift, end + shift) for action in chosen for start, end in action.tokens]


@dataclass(frozen=True)
class _Action:
    """A call (or why it can't be read), where it stands, and where its special tokens are."""

    start: int
    end: int
    call: ToolCall | str
    tokens: tuple[Span, ...] = ()


def _actions(text: str) -> Iterator[_Action]:
    """Give the actions of a reply up to the first that can't be read."""
    found = _ACTION.search(text)
    while found:
        action = _code_action(text, found) if found[2] == _INTERPRETER else _plugin_action(text, found)
        yield action
        found = None if isinstance(action.call, str) else _ACTION.search(text, action.end)


def _plugin_action(text: str, begun: re.Match[str]) -> _Action:
    if begun[2] is None:
        return _Action(begun.start(), len(text), f"behind {_START} stands neither {_PLUGIN} nor {_INTERPRETER}")
    read = read_object(text, begun.end())
    if read is None:
        return _Action(begun.start(), len(text), f"a {_PLUGIN} action holds no complete object", begun.regs[1:])
    return _action(begun, read[1], _ACTION_END.match(text, read[1]), object_to_call(read[0], "parameters", "arguments"))


def _code_action(text: str, begun: re.Match[str]) -> _Action:
    closed = _ANY_END.search(text, begun.end())
    if closed is None:
        return _Action(begun.start(), len(text), f"an {_INTERPRETER} action has no {_END}", begun.regs[1:])
    body = text[begun.end() : closed.start()].strip()
    fenced = _FENCED.fullmatch(body)
    return _action(begun, closed.start(), closed, ToolCall(INTERPRETER, {"command": fenced[1] if fenced else body}))


def _action(begun: re.Match[str], end: int, closed: re.Match[str] | None, call: ToolCall | str) -> _Action:
    tokens = (*begun.regs[1:], *((closed.span(1),) if closed else ()))
    return _Action(begun.start(), closed.end() if closed else end, call, tokens)


def _write_call(call: ToolCall) -> str:
    code = call.arguments.get("command")
    if call.name == INTERPRETER and len(call.arguments) == 1 and isinstance(code, str) and _END not in code:
        return f"{_START}{_INTERPRETER}\n{_CODE.replace('{code}', code)}{_END}"
    body = json.dumps({"name": call.name, "parameters": dict(call.arguments)}, ensure_ascii=False)
    return f"{_START}{_PLUGIN}\n{body}{_END}"


def _runs_code(tool: ToolSpec) -> bool:
    return tool.name == INTERPRETER and set(tool.parameters.get("properties") or {}) <= {"command"}
