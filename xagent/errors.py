"""The errors that xagent shows to people.

Every error that a user can cause is an :class:`XAgentError`: the command line prints its message without a
traceback and exits with 2. Anything else is our own fault: traceback, exit code 1.

A message says what is wrong, where (``file:line`` or config key), what was found, what was expected, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence


class XAgentError(Exception):
    """A fault in what the user gave: input, configuration, environment. Exit code 2, no traceback."""


class ConfigError(XAgentError):
    """One or several faults in a config, shown together.

    Args:
        faults: one message for each fault; a single string counts as one.
        source: the config file's path or name, shown in the headline.
    """

    def __init__(self, faults: str | Sequence[str], source: str | None = None) -> None:
        self.faults = [faults] if isinstance(faults, str) else list(faults)
        self.source = source
        where = f"{source}: " if source else ""
        if len(self.faults) == 1:
            text = where + self.faults[0]
        else:
            lines = "\n".join(f"  {number}. {fault}" for number, fault in enumerate(self.faults, 1))
            text = f"{where}{len(self.faults)} faults in the config:\n{lines}"
        super().__init__(text)


class DataError(XAgentError):
    """A fault in a record, a data file or a data set."""


class CheckpointError(XAgentError):
    """A checkpoint, adapter or model directory that can't be used as asked."""


class OutputError(XAgentError):
    """An output that exists already, can't be written, or would not fit on the disk."""


class EngineError(XAgentError):
    """An engine that can't go on with a request, or that was closed or can't be reached."""


class EngineUnavailable(EngineError):
    """An engine that can't be asked just now, whatever the request; later it may be."""
