"""Tools as Lagent actions: described as in training, their inputs read and never evaluated."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lagent.actions import ActionExecutor
from lagent.actions.base_action import BaseAction
from lagent.actions.parser import BaseParser, ParseError
from lagent.schema import ActionReturn, ActionStatusCode

from xagent.agent.tools.box import ToolBox
from xagent.chat.message import ToolSpec, whole_characters
from xagent.chat.protocol.base import read_object
from xagent.chat.protocol.react import describe_tool, read_description
from xagent.errors import ConfigError
from xagent.playground import TOOLS, ToolFault, call_tool


class ObjectParser(BaseParser):
    """Reads a JSON object, or a Python literal of one, as a call's arguments; results stay the text that they are.

    Lagent's own parser drops what GBK has no character for; this one keeps all of Unicode.
    """

    def parse_inputs(self, inputs: Any, name: str = "run") -> dict[str, Any]:
        """Give the arguments.

        Raises:
            ParseError: the input is no object, or text follows it.
        """
        if isinstance(inputs, dict):
            return {"arguments": inputs}
        found = read_object(str(inputs))
        if found is None or str(inputs)[found[1] :].strip():
            raise ParseError(f"the input must be one JSON object, got: {inputs}")
        return {"arguments": found[0]}

    def parse_outputs(self, outputs: Any) -> list[dict[str, Any]]:
        """Give the result as Lagent's list of one text; half characters, which a model can write in JSON, become U+FFFD."""
        return [{"type": "text", "content": whole_characters(str(outputs))}]


class PlaygroundAction(BaseAction):
    """Run a tool of the playground; ``spec`` is the tool as data shows it."""

    def __init__(self, tool: ToolSpec) -> None:
        self.spec = tool
        super().__init__(describe_tool(tool), ObjectParser)

    def run(self, arguments: dict[str, Any]) -> ActionReturn:
        """Call the tool; a fault becomes the observation, in its own words."""
        try:
            result = call_tool(self.name, arguments)
        except ToolFault as fault:
            return ActionReturn(arguments, type=self.name, errmsg=whole_characters(str(fault)), state=ActionStatusCode.ARGS_ERROR)
        return ActionReturn(arguments, type=self.name, result=self._parser.parse_outputs(result))


class ToolAction(BaseAction):
    """Call a tool of a :class:`xagent.agent.tools.ToolBox`; whatever goes wrong becomes the observation."""

    def __init__(self, box: ToolBox, tool: ToolSpec) -> None:
        self.spec, self._box = tool, box
        super().__init__(describe_tool(tool), ObjectParser)

    def run(self, arguments: dict[str, Any]) -> ActionReturn:
        """Call the tool."""
        observation = self._box.run(self.name, arguments)
        if observation.fault is None:
            return ActionReturn(arguments, type=self.name, result=self._parser.parse_outputs(observation.text))
        bad = observation.fault == "bad arguments"
        state = ActionStatusCode.ARGS_ERROR if bad else ActionStatusCode.API_ERROR
        return ActionReturn(arguments, type=self.name, errmsg=observation.text, state=state)


def tool_actions(box: ToolBox) -> list[BaseAction]:
    """Give the tools of a box as actions, in their order, for :func:`xagent.agent.react.build_react_agent`."""
    return [ToolAction(box, spec) for spec in box.specs]


def specs_of(executor: ActionExecutor) -> list[ToolSpec]:
    """Give an executor's actions as tools: as data shows them where they say so, else what Lagent's description tells."""
    known = {name: action.spec for name, action in executor.actions.items() if hasattr(action, "spec")}
    return [known.get(listed["name"]) or read_description(listed) for listed in executor.get_actions_info()]


def playground_actions(tools: Iterable[ToolSpec]) -> list[BaseAction]:
    """Give these tools as actions, in their order.

    Raises:
        ConfigError: the playground has no tool of that name.
    """
    chosen = list(tools)
    missing = [tool.name for tool in chosen if tool.name not in TOOLS]
    if missing:
        raise ConfigError(f"no playground tools: {', '.join(missing)}; they can be shown, but not run")
    return [PlaygroundAction(tool) for tool in chosen]
