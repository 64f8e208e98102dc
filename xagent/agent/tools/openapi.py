"""The operations of an OpenAPI document as tools. They call the server that the document names, and no other."""

from __future__ import annotations

import http.client
import json
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from xagent.agent.tools.openapi_document import Document
from xagent.agent.tools.tool import Tool, ToolFault
from xagent.chat.message import ToolSpec
from xagent.errors import ConfigError

_METHODS = ("get", "put", "post", "delete", "patch", "head", "options")
_JSON, _FORM = "application/json", "application/x-www-form-urlencoded"
_IGNORED_HEADERS = ("accept", "content-type", "authorization")  # OpenAPI's own rule
_LARGEST_ANSWER = 1 << 20
_READ = ("parameters", "servers", "operationId", "summary", "description", "requestBody")
_SAFE_IN_PATHS = "/{}%:@!$&'()*+,;=-._~"


@dataclass(frozen=True)
class Operation:
    """One operation of the document, ready to be called.

    Attributes:
        places: for each parameter, its OpenAPI object (``in``, ``style``, ``explode``).
        body: how the request's body is made: ``flat`` of the arguments that are no parameters, ``whole`` of the argument
            ``body``, or None.
        content_type: of the body.
    """

    name: str
    method: str
    server: str
    path: str
    description: str
    schema: Mapping[str, Any]
    places: Mapping[str, Mapping[str, Any]]
    body: str | None = None
    content_type: str = _JSON
    headers: Mapping[str, str] = field(default_factory=dict)


def openapi_tools(place: str, *, headers: Mapping[str, str] | None = None, timeout: float = 30.0) -> list[Tool]:
    """Make a tool of each operation of an OpenAPI 3 document.

    A tool is named by its ``operationId``, else by method and path. Path, query, header and cookie parameters are its parameters,
    and so are the properties of a JSON or form body; a body of another shape is the parameter ``body``. Redirects are not
    followed.

    Args:
        place: a file, or an https address; JSON or YAML.
        headers: sent with every call, such as ``{"Authorization": "Bearer ..."}``. The model never sees them.
        timeout: seconds for a call.

    Raises:
        ConfigError: the document can't be read or is none, names no server, has no operations, or one of them that can't be
            called (its body is neither JSON nor a form).
    """
    document = Document(place)
    operations = []
    for path, named in document.content["paths"].items():
        item = document.follow({} if named is None else named, str(path))
        for method in _METHODS:
            if method not in item:
                continue
            try:
                operations.append(_operation(document, str(path), method, item, headers or {}))
            except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
                what = f"{place}: {method.upper()} {path} is not written as OpenAPI 3 asks"
                raise ConfigError(f"{what}: {type(error).__name__}: {error}") from error
    if not operations:
        raise ConfigError(f"{place}: the document has no operations")
    return [_tool(operation, timeout) for operation in operations]


def _tool(operation: Operation, timeout: float) -> Tool:
    def run(arguments: dict[str, Any]) -> str:
        return _send(_request(operation, arguments), timeout)

    spec = ToolSpec(operation.name, operation.description, operation.schema)
    return Tool(spec, run, timeout + 1, note=f"calls {operation.method.upper()} {operation.server}{operation.path}")


def _operation(document: Document, path: str, method: str, item: Mapping[str, Any], headers: Mapping[str, str]) -> Operation:
    shared = document.resolve({key: item[key] for key in ("parameters", "servers") if key in item})
    found = document.resolve({key: value for key, value in item[method].items() if key in _READ})
    where = f"{document.place}: {method.upper()} {path}"
    listed = {(one["name"], one["in"]): one for one in [*shared.get("parameters", []), *found.get("parameters", [])]}
    places = {
        str(one["name"]): one
        for one in listed.values()
        if not (one["in"] == "header" and str(one["name"]).lower() in _IGNORED_HEADERS)
    }
    properties = {name: _described(one) for name, one in places.items()}
    required = [name for name, one in places.items() if one.get("required") or one["in"] == "path"]
    body, content_type = _add_body(found.get("requestBody"), properties, required, where)
    return Operation(
        name=_name(found.get("operationId") or "") or _name(f"{method}_{path.strip('/')}"),
        method=method,
        server=document.server(found, shared),
        path=quote(path, safe=_SAFE_IN_PATHS),
        description=" ".join(str(found.get("summary") or found.get("description") or f"{method.upper()} {path}").split()),
        schema={"type": "object", "properties": properties, "required": required},
        places=places,
        body=body,
        content_type=content_type,
        headers=headers,
    )


def _name(text: Any) -> str:
    """Give a tool's name in letters, digits and ``_.-``."""
    return re.sub(r"[^\w.-]+", "_", str(text)).strip("_")


def _described(parameter: Mapping[str, Any]) -> dict[str, Any]:
    content: Mapping[str, Any] = next(iter((parameter.get("content") or {}).values()), {})
    schema = dict(parameter.get("schema") or content.get("schema") or {"type": "string"})
    if parameter.get("description"):
        schema["description"] = " ".join(str(parameter["description"]).split())
    found: dict[str, Any] = _as_json_schema(schema)
    return found


def _as_json_schema(schema: Any) -> Any:
    """Give OpenAPI 3.0's schema in JSON Schema's words: ``nullable``, and limits that were flags."""
    if isinstance(schema, list):
        return [_as_json_schema(one) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    found = {key: _as_json_schema(value) for key, value in schema.items() if key not in ("example", "xml", "discriminator")}
    if found.pop("nullable", False) is True and isinstance(found.get("type"), str):
        found["type"] = [found["type"], "null"]
        if isinstance(found.get("enum"), list) and None not in found["enum"]:
            found["enum"] = [*found["enum"], None]
    for limit, flag in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(found.get(flag), bool) and found.pop(flag) and limit in found:
            found[flag] = found.pop(limit)
    return found


def _add_body(body: Any, properties: dict[str, Any], required: list[str], where: str) -> tuple[str | None, str]:
    """Add what the body takes to the parameters; give how it is made, and its type."""
    if not body:
        return None, _JSON
    content = body.get("content") or {}
    kinds = [kind for kind in content if kind.split(";")[0].strip() in (_JSON, _FORM) or kind.split(";")[0].endswith("+json")]
    if not kinds:
        shown = ", ".join(content) or "nothing"
        raise ConfigError(f"{where}: its body is {shown}; tools can send JSON or a form. Take the operation out of the document")
    schema = _as_json_schema(content[kinds[0]].get("schema") or {})
    inner = schema.get("properties")
    flat = isinstance(inner, dict) and bool(inner) and not (set(inner) & set(properties)) and "additionalProperties" not in schema
    if flat or kinds[0].startswith(_FORM):
        for name, one in (inner or {}).items():
            properties[name] = one
        required += [name for name in schema.get("required") or [] if body.get("required", False)]
        return "flat", kinds[0]
    properties["body"] = {**schema, "description": body.get("description") or schema.get("description") or "the request's body"}
    required += ["body"] if body.get("required") else []
    return "whole", kinds[0]


def _request(operation: Operation, arguments: dict[str, Any]) -> urllib.request.Request:
    path, query, headers, cookies = operation.path, [], {"Accept": _JSON, **operation.headers}, []
    left = dict(arguments)
    for name, parameter in operation.places.items():
        if name not in left:
            continue
        value, place = left.pop(name), parameter["in"]
        if place == "path":
            path = path.replace("{" + name + "}", _segment(name, value))
        elif place == "query":
            query += _query(name, value, parameter)
        elif place == "header":
            headers[name] = _joined(value)
        else:
            cookies.append(f"{name}={quote(_joined(value), safe='')}")
    if cookies:
        headers["Cookie"] = "; ".join(cookies)
    data = None
    if operation.body and left:
        headers["Content-Type"] = operation.content_type
        data = _body(left if operation.body == "flat" else left["body"], operation.content_type)
    if re.search(r"\{[^{}]*\}", path):
        raise ToolFault(f"the address {path} has a place that none of the parameters fills")
    address = f"{operation.server}{path}" + (f"?{urlencode(query)}" if query else "")
    return urllib.request.Request(address, data, headers, method=operation.method.upper())


def _segment(name: str, value: Any) -> str:
    text = _joined(value)
    if text.strip() in ("", ".", ".."):
        raise ToolFault(f"parameter '{name}' can't be {text!r}: it is a part of the address")
    return quote(text, safe="")


def _query(name: str, value: Any, parameter: Mapping[str, Any]) -> list[tuple[str, str]]:
    explode = parameter.get("explode", True)
    if isinstance(value, Mapping):
        deep = parameter.get("style") == "deepObject"
        return [(f"{name}[{key}]" if deep else str(key), _joined(one)) for key, one in value.items()]
    if isinstance(value, list) and explode:
        return [(name, _joined(one)) for one in value]
    return [(name, _joined(value))]


def _joined(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(_joined, value))
    if isinstance(value, bool):
        return "true" if value else "false"
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, Mapping) else str(value)
    if "\r" in text or "\n" in text:
        text = text.replace("\r", " ").replace("\n", " ")
    return text


def _body(value: Any, content_type: str) -> bytes:
    if content_type.startswith(_FORM):
        pairs = [(name, _joined(one)) for name, many in value.items() for one in (many if isinstance(many, list) else [many])]
        return urlencode(pairs).encode("ascii")
    return json.dumps(value, ensure_ascii=False).encode("utf-8")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Leaves redirects unfollowed: they could lead to another server."""

    def redirect_request(self, *details: Any, **more: Any) -> None:
        """Refuse."""


def _send(request: urllib.request.Request, timeout: float) -> str:
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(request, timeout=timeout) as answer:
            return _text(answer.read(_LARGEST_ANSWER), answer.headers) or f"(status {answer.status}, no content)"
    except urllib.error.HTTPError as error:
        with error:
            words = _text(error.read(_LARGEST_ANSWER), error.headers)[:600]
        raise ToolFault(
            f"the server answered with status {error.code} ({error.reason}){': ' + words if words else ''}"
        ) from error
    except TimeoutError as error:
        raise ToolFault(f"the server gave no answer within {timeout:g} seconds") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ToolFault(f"the server can't be reached: {getattr(error, 'reason', error)}") from error


def _text(raw: bytes, headers: Any) -> str:
    kind = headers.get_content_type() if headers.get("Content-Type") else "text/plain"
    if not (kind.startswith("text/") or "json" in kind or "xml" in kind):
        return f"({kind}, {len(raw)} bytes)" if raw else ""
    return raw.decode(headers.get_content_charset() or "utf-8", errors="replace")
