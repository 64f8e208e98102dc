"""Errors in OpenAI's shape: ``{"error": {"message", "type", "param", "code"}}`` and the status that its clients expect."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response


class ApiError(Exception):
    """Something that the client is told.

    Args:
        status: the HTTP status.
        message: what is wrong, and what to do.
        param: which parameter of the request it is about, such as ``messages[2].content``.
        code: a word that programs can compare.
        retry_after: after so many seconds the client may try again.
    """

    def __init__(
        self, status: int, message: str, param: str | None = None, code: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code, self.retry_after = status, message, param, code, retry_after

    def body(self) -> dict[str, Any]:
        """Give what the response holds."""
        return {"error": {"message": self.message, "type": error_type(self.status), "param": self.param, "code": self.code}}

    def response(self) -> Response:
        """Give the response."""
        headers = {"Retry-After": str(self.retry_after)} if self.retry_after is not None else {}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if self.status == 408:
            headers["Connection"] = "close"  # what may still come is no next request
        return json_response(self.body(), self.status, headers)


_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


def error_type(status: int) -> str:
    """Give OpenAI's name of a kind of errors."""
    return _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")


def json_response(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Give a response of JSON; half surrogate pairs, which a model can write as escapes, stay escaped."""
    return Response(dump(content), status, dict(headers or {}), "application/json")


def dump(content: Any) -> str:
    """Write JSON in ASCII on one line."""
    return json.dumps(content, separators=(",", ":"))
