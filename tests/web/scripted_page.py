"""The page with scripted models, for the browser's test: the base fails the call, the tuned model makes it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripted_engine import ScriptedEngine

from xagent.web.app import show
from xagent.web.models import LoadedModel
from xagent.web.options import DemoOptions

CALL = 'Thought: I need the tool add_numbers.\nAction: add_numbers\nAction Input: {"first": 2, "second": 3}'
ANSWER = "Thought: I now know the answer.\nFinal Answer: The sum is 5."
MOST = 20
"""Questions that the script lasts for."""


def _load(options: DemoOptions) -> tuple[LoadedModel, ...]:
    base = ScriptedEngine(*["I can't add."] * 6 * MOST, piece=4)
    tuned = ScriptedEngine(*[CALL, ANSWER] * MOST, piece=4)
    return LoadedModel("base", base), LoadedModel("tuned", tuned)


show(DemoOptions("scripted"), _load)
