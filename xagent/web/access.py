"""Who may see the page."""

from __future__ import annotations

import hmac
import ipaddress
from typing import Literal

TOKEN_VARIABLE = "XAGENT_WEB_TOKEN"
"""The environment variable that holds the token: command lines can be read by other users of a machine."""

Refusal = Literal["open", "token", "host"]


def refusal(address: str | None, token: str, given: str | None, host: str | None) -> Refusal | None:
    """Tell why a visitor is refused, None where all is well.

    ``token``: the page has one, and the visitor did not give it. ``open``: it has none, and other computers can reach it.
    ``host``: it has none, is for this computer alone, and the browser was led here under another name, as a hostile page would
    do it (DNS rebinding).

    Args:
        address: where the server listens; None is every address.
        token: the page's; empty where it has none.
        given: the visitor's.
        host: the request's ``Host`` header; None where it is not known.
    """
    if token:
        return None if is_allowed(token, given) else "token"
    if not is_loopback(address):
        return "open"
    return None if host is None or is_loopback(_name_of(host)) else "host"


def is_loopback(address: str | None) -> bool:
    """Tell whether only this computer can reach a server that listens at ``address``; None is every address."""
    if not address:
        return False
    if address == "localhost" or address.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return False


def is_allowed(token: str, given: str | None) -> bool:
    """Tell whether a visitor gave the token, in a time that does not depend on how much of it was right."""
    return hmac.compare_digest(token.encode(), (given or "").encode())


def _name_of(host: str) -> str:
    """Give a ``Host`` header without its port."""
    return host.partition("]")[0] if host.startswith("[") else host.partition(":")[0]
