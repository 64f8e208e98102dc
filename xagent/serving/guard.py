"""What every request passes first: may it come from there, has it the key, is the server ending."""

from __future__ import annotations

import asyncio
import hmac
import json
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from xagent.serving.errors import ApiError
from xagent.serving.service import Service

_OPEN_PATHS = frozenset({"/health"})
_COUNTED_PATHS = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/models", "/health", "/metrics"})
BODY_SECONDS = 60.0
"""So long may a request's body take to come; a client that never ends it would hold its connection for ever."""
_READ_ON = 64 << 20
"""So many bytes of a body that is too large are still read, so that the client sees the answer and not a broken connection."""


class Guard:
    """Stands before the application, and counts what comes through.

    Args:
        app: the application.
        service: the server.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app, self.service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                path = scope["path"] if scope["path"] in _COUNTED_PATHS else "other"
                self.service.metrics.requests.labels(path, str(message["status"])).inc()
                if self.service.draining:  # the connection's next request would find nobody
                    message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        try:
            self._check(scope["method"], scope["path"], Headers(scope=scope))
        except ApiError as error:
            await error.response()(scope, receive, counted)
            return
        await self.app(scope, receive, counted)

    def _check(self, method: str, path: str, headers: Headers) -> None:
        settings = self.service.settings
        host = headers.get("host", "")
        if settings.hosts is not None and _hostname(f"//{host}") not in settings.hosts:
            message = f"this server is not called {host[:200]!r}; if it should be, start it with --allowed-host"
            raise ApiError(403, message, code="host_not_allowed")
        origin = headers.get("origin")
        if origin is not None and origin not in settings.origins and origin not in (f"http://{host}", f"https://{host}"):
            message = f"pages of {origin[:200]!r} may not call this server; if they should, start it with --allowed-origin"
            raise ApiError(403, message, code="origin_not_allowed")
        if path in _OPEN_PATHS:
            return
        if settings.api_key is not None and not _is_key(headers.get("authorization", ""), settings.api_key):
            raise ApiError(401, "a key is needed: Authorization: Bearer KEY, with the server's --api-key", code="invalid_api_key")
        if self.service.draining and method == "POST":
            raise ApiError(503, "the server is ending", code="draining", retry_after=10)


async def read_json(request: Request, most: int) -> Any:
    """Read a request's body.

    Raises:
        ApiError: it is larger than ``most`` bytes, or no JSON, or it has not come within :data:`BODY_SECONDS`.
    """
    try:
        body, size = await asyncio.wait_for(_body(request, most), BODY_SECONDS)
    except asyncio.TimeoutError:
        message = f"the request had not come whole after {BODY_SECONDS:g} seconds"
        raise ApiError(408, message, code="request_timeout") from None
    except ClientDisconnect:
        raise ApiError(499, "the client closed the connection before its request had come") from None
    if size > most:
        raise ApiError(413, f"the request is larger than {most} bytes; shorten the conversation", code="request_too_large")
    try:
        return json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise ApiError(400, f"the body is no JSON: {reason}", code="invalid_json") from None


async def _body(request: Request, most: int) -> tuple[bytearray, int]:
    """Give the first ``most`` bytes of a body, and how many have come."""
    body, size = bytearray(), 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= most:
            body += chunk
        elif size > _READ_ON:
            break
    return body, size


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _is_key(header: str, key: str) -> bool:
    scheme, _, given = header.partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), key.encode())
