"""The tools that visitors may pick from: the playground's, and what ``--tools`` attaches."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping

from xagent.agent.tools import Tool, ToolBox, load_tools, parse_tools
from xagent.agent.tools.selection import playground_tools
from xagent.playground import THEMES, TOOLS, Language
from xagent.web.settings import Setup

FIRST_TOOLS = ("add_numbers", "celsius_to_fahrenheit", "weekday_of_date", "country_capital")
"""Picked for a visitor where ``--tools`` names none: few, because a small model reads them all before each reply."""


class ToolShelf:
    """Tools by name, shared by all visitors. Close it to end servers that tools speak to.

    Args:
        texts: the values of ``--tools``: what they name is picked at first, and what of it is not the playground's is attached
            for good. A visitor reaches no other tools than these and the playground's.

    Raises:
        ConfigError: an entry is unknown, or a tool can't be loaded.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        given = list(texts)
        self._loaded = load_tools(given)
        values = [choice.value for choice in parse_tools(given) if choice.kind == "playground"]
        from_playground = {one.name for value in values for one in playground_tools(value)}
        self.attached: dict[str, Tool] = {one.name: one for one in self._loaded if one.name not in from_playground}
        self.first: tuple[str, ...] = tuple(self._loaded.tools) or FIRST_TOOLS
        """What a visitor begins with."""

    @property
    def themes(self) -> Mapping[str, tuple[str, ...]]:
        """The playground's tools by theme; where an attached tool has the same name, it is meant."""
        return {theme: tuple(one.name for one in tools if one.name not in self.attached) for theme, tools in THEMES.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """All tools: the attached ones first."""
        return (*self.attached, *(name for names in self.themes.values() for name in names))

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know about the attached tools."""
        return tuple(f"{one.name}: {one.note}" for one in self.attached.values() if one.note)

    def box(self, names: Iterable[str], language: Language) -> ToolBox:
        """Give the tools of these names, in this order, the playground's described in ``language``."""
        return ToolBox(self._find(name, language) for name in names)

    def offered(self, setup: Setup) -> tuple[str, ...]:
        """Give the names of the tools that a setup offers, each once; what is not on the shelf is left out."""
        wanted = (*setup.tools, *(name for theme in setup.themes for name in self.themes.get(theme, ())))
        return tuple(name for name in dict.fromkeys(wanted) if name in self.attached or name in TOOLS)

    def examples(self, names: Iterable[str], language: Language, seed: int, count: int = 3) -> tuple[str, ...]:
        """Give questions that some of these tools answer; the same seed gives the same ones."""
        chance = random.Random(seed)
        known = [TOOLS[name] for name in names if name in TOOLS and name not in self.attached]
        drawn = chance.sample(known, min(count, len(known)))
        return tuple(chance.choice(one.questions[language]).format(**one.sample(chance, language)) for one in drawn)

    def close(self) -> None:
        """End what the attached tools hold."""
        self._loaded.close()

    def _find(self, name: str, language: Language) -> Tool:
        return self.attached[name] if name in self.attached else playground_tools(name, language)[0]
