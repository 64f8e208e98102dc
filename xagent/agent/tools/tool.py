"""What a tool is to an agent, and what comes back from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from xagent.chat.message import ToolSpec
from xagent.chat.protocol.tools import parameters_of
from xagent.errors import ConfigError, DataError
from xagent.playground import ToolFault

__all__ = ["Fault", "Observation", "Tool", "ToolFault"]

Fault = Literal["unknown tool", "bad arguments", "error", "timeout"]
NOTHING_RAN: tuple[Fault, ...] = ("unknown tool", "bad arguments")
"""What goes wrong before a tool is run."""


@dataclass(frozen=True)
class Observation:
    """What the model is shown after a call.

    Attributes:
        text: the result, or what went wrong in words that help to do better.
        fault: what kind of thing went wrong; None after a result.
        seconds: how long the call took.
    """

    text: str
    fault: Fault | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Tool:
    """Something that an agent can call.

    Attributes:
        spec: name, description and JSON schema of its arguments, as the model sees them.
        run: takes the arguments and gives the result: text as it is, None as ``done``, everything else as JSON. What it raises
            becomes an observation; a :class:`ToolFault` in its own words.
        timeout: seconds after which the call is given up.
        max_characters: a longer result is cut, and says so.
        checks_itself: ``run`` checks its arguments in words of its own; otherwise they are checked against the schema before.
        note: what people should know who attach it, such as how the interpreter is fenced; the model doesn't see it.

    Raises:
        ConfigError: the parameters are no valid JSON schema of an object, or are nested too deeply to be checked; or a limit is
            not above 0.
    """

    spec: ToolSpec
    run: Callable[[dict[str, Any]], Any]
    timeout: float = 30.0
    max_characters: int = 8000
    checks_itself: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        from jsonschema import Draft202012Validator  # where there are tools: it can take a second to import
        from jsonschema.exceptions import SchemaError
        from jsonschema.validators import validator_for

        name, schema = self.spec.name, dict(self.spec.parameters)
        try:
            parameters_of(self.spec)
            validator_for(schema, default=Draft202012Validator).check_schema(schema)
        except DataError as error:
            raise ConfigError(str(error)) from error
        except RecursionError:
            raise ConfigError(f"tool {name!r}: its parameters are nested too deeply; leave out what is in the depths") from None
        except SchemaError as error:
            place = "/".join(map(str, error.path)) or "top"
            raise ConfigError(f"tool {name!r}: its parameters are no JSON schema (at {place}): {error.message[:200]}") from error
        if self.timeout <= 0 or self.max_characters <= 0:
            raise ConfigError(
                f"tool {name!r}: timeout and max_characters must be above 0, got {self.timeout} and {self.max_characters}"
            )

    @property
    def name(self) -> str:
        """The tool's name."""
        return self.spec.name
