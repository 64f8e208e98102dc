"""``response_format``: the JSON schema that a reply is kept to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from xagent.chat.message import excerpt
from xagent.serving.errors import ApiError
from xagent.serving.parameters import ChatParameters

_PARAM = "response_format"


def read_format(parameters: ChatParameters) -> str | None:
    """Give the schema that the whole reply must be an instance of, as JSON text; None where it is plain text.

    Raises:
        ApiError: the format is none of OpenAI's, or it can't hold: tools may be called, or the reply was begun by the client.
    """
    given = {"type": "text"} if parameters.response_format is None else parameters.response_format
    kind = given.get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        schema: Mapping[str, Any] = {"type": "object"}
    elif kind == "json_schema":
        schema = _schema(given.get("json_schema"))
    else:
        raise ApiError(
            400, f"'response_format.type' must be text, json_object or json_schema, got {excerpt(kind, 80)}", f"{_PARAM}.type"
        )
    if parameters.tools and parameters.tool_choice != "none":
        message = "with a response_format no tool can be called; send tool_choice 'none', or no response_format"
        raise ApiError(400, message, _PARAM, "unsupported")
    if parameters.messages[-1].get("role") == "assistant":
        raise ApiError(400, "the last message is the assistant's and is continued; a response_format is of whole replies", _PARAM)
    try:
        return json.dumps(schema)
    except RecursionError:
        raise ApiError(400, "the schema is nested too deeply", f"{_PARAM}.json_schema") from None


def _schema(described: Any) -> Mapping[str, Any]:
    schema = described.get("schema") if isinstance(described, Mapping) else None
    if not isinstance(schema, Mapping):
        message = "a response_format of type json_schema needs a schema: {'json_schema': {'name': ..., 'schema': {...}}}"
        raise ApiError(400, message, f"{_PARAM}.json_schema")
    return schema
