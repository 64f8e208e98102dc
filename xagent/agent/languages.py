"""The languages of an agent's system text, and the tool protocol that each of them speaks in Lagent's loop."""

from __future__ import annotations

from xagent.chat.protocol import Protocol, get_protocol
from xagent.errors import ConfigError

LAGENT_PROTOCOLS = {"en": "react", "zh": "react_zh"}


def protocol_in(language: str, protocol: str | Protocol) -> Protocol:
    """Give the protocol that a loop in this language speaks: of Lagent's own two the language chooses one.

    Raises:
        ConfigError: language or protocol is unknown.
    """
    check_language(language)
    spoken = get_protocol(protocol)
    return get_protocol(LAGENT_PROTOCOLS[language]) if spoken.name in LAGENT_PROTOCOLS.values() else spoken


def system_language(protocol: str) -> str:
    """Give the language of Lagent's system text under a protocol: ``zh`` for ``react_zh``, else ``en``."""
    return "zh" if protocol == LAGENT_PROTOCOLS["zh"] else "en"


def check_language(language: str) -> None:
    """Refuse a language that there is no system text in.

    Raises:
        ConfigError: it is unknown.
    """
    if language not in LAGENT_PROTOCOLS:
        raise ConfigError(f"language must be one of {', '.join(LAGENT_PROTOCOLS)}, got {language!r}")
