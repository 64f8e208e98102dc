"""OpenAPI 3 documents: found, read without running anything, references resolved."""

from __future__ import annotations

import http.client
import json
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import yaml

from xagent.errors import ConfigError

_LARGEST_BYTES = 10 << 20
_MOST_NODES = 200_000
_DOWNLOAD_S = 30.0


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which leaves dates the texts that they are in JSON, and mappings the size that they have on paper."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Put in place what ``<<`` merges: lists of merges in merges grow with every level as powers do."""
        super().flatten_mapping(node)
        if len(node.value) > _MOST_NODES:
            raise yaml.constructor.ConstructorError(None, None, f"'<<' merges more than {_MOST_NODES} values", node.start_mark)


_Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class Document:
    """An OpenAPI document.

    Args:
        place: a file, or an https address; JSON or YAML.

    Raises:
        ConfigError: it can't be read, is larger than 10 MB, or is no OpenAPI 3 document.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self.content = _read(place)
        version = str(self.content.get("openapi", ""))
        if not version.startswith("3."):
            found = f"swagger {self.content['swagger']}" if "swagger" in self.content else f"openapi {version or 'missing'}"
            raise ConfigError(f"{place}: expected an OpenAPI 3 document, got {found}; convert it with a Swagger converter")
        if not isinstance(self.content.get("paths"), Mapping):
            raise ConfigError(f"{place}: the document has no 'paths', so there is nothing to call")
        self._nodes = 0
        self._knows_siblings = not version.startswith("3.0")

    def server(self, *levels: Mapping[str, Any]) -> str:
        """Give the address that an operation is called at: the first server of the innermost level that names one.

        Raises:
            ConfigError: there is none, it is no http(s) address, or one of its variables has no default.
        """
        named: Any = next((level["servers"] for level in (*levels, self.content) if level.get("servers")), [{"url": "/"}])
        address = str(named[0].get("url", "/"))
        for name, variable in (named[0].get("variables") or {}).items():
            if "default" in variable:
                address = address.replace("{" + str(name) + "}", str(variable["default"]))
        if "://" not in address and self.place.startswith("https://"):
            address = urljoin(self.place, address)
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                f"{self.place}: the server's address must be http(s)://host..., got {address!r}; name it in 'servers'"
            )
        if open_variable := re.search(r"\{[^{}]*\}", address):
            raise ConfigError(
                f"{self.place}: the server's address {address!r} has the variable {open_variable[0]}, which has no default;"
                " write one in the server's 'variables'"
            )
        return address.rstrip("/")

    def follow(self, value: Any, where: str) -> Mapping[str, Any]:
        """Give the object that references lead to in the end, the references in it left as they are; an object is given back.

        Args:
            where: names the value in errors.

        Raises:
            ConfigError: a reference leads outside the document, nowhere or in a circle; what is found is no object.
        """
        seen: list[str] = []
        while isinstance(value, Mapping) and isinstance(reference := value.get("$ref"), str):
            if reference in seen:
                raise ConfigError(f"{self.place}: {where}: the reference {reference!r} leads back to itself")
            seen.append(reference)
            value = self._target(reference)
        if not isinstance(value, Mapping) or "$ref" in value:
            raise ConfigError(f"{self.place}: {where}: expected an object or a reference to one, got {repr(value)[:200]}")
        return value

    def resolve(self, value: Any) -> Any:
        """Give a part of the document with all references written out; one that leads back into itself becomes any value.

        Raises:
            ConfigError: a reference leads outside the document or nowhere, or the result is too large.
        """
        self._nodes = 0
        try:
            return self._unfold(value, ())
        except RecursionError:
            raise ConfigError(f"{self.place}: it is nested too deeply, or an alias (*) of YAML holds itself") from None

    def _unfold(self, value: Any, outer: tuple[str, ...]) -> Any:
        self._nodes += 1
        if self._nodes > _MOST_NODES:
            raise ConfigError(f"{self.place}: its references unfold to more than {_MOST_NODES} values")
        if isinstance(value, list):
            return [self._unfold(one, outer) for one in value]
        if not isinstance(value, Mapping):
            return value
        reference = value.get("$ref")
        if isinstance(reference, str):
            found = {} if reference in outer else self._unfold(self._target(reference), (*outer, reference))
            return self._with_siblings(found, value, outer)
        return {str(key): self._unfold(one, outer) for key, one in value.items()}

    def _with_siblings(self, found: Any, reference: Mapping[str, Any], outer: tuple[str, ...]) -> Any:
        """Add what stands beside a reference, such as a description: it counts since OpenAPI 3.1, and not before."""
        if not self._knows_siblings or not isinstance(found, dict):
            return found
        return {**found, **{str(key): self._unfold(one, outer) for key, one in reference.items() if key != "$ref"}}

    def _target(self, reference: str) -> Any:
        if not reference.startswith("#/"):
            raise ConfigError(f"{self.place}: reference {reference!r} leads outside the document; bundle it into one file")
        found: Any = self.content
        for step in unquote(reference[2:]).split("/"):
            inside = _by_text(found)
            key = step.replace("~1", "/").replace("~0", "~")
            if key not in inside:
                raise ConfigError(f"{self.place}: reference {reference!r} leads nowhere")
            found = inside[key]
        return found


def _by_text(value: Any) -> Mapping[str, Any]:
    """Give a value's parts as a JSON pointer (RFC 6901) names them; YAML also has numbers for keys."""
    if isinstance(value, list):
        return {str(place): one for place, one in enumerate(value)}
    return {str(key): one for key, one in value.items()} if isinstance(value, Mapping) else {}


def _read(place: str) -> dict[str, Any]:
    raw = _download(place) if "://" in place else _load(place)
    if len(raw) > _LARGEST_BYTES:
        raise ConfigError(f"{place}: larger than {_LARGEST_BYTES} bytes")
    try:
        text = raw.decode("utf-8-sig")
        content = json.loads(text) if text.lstrip().startswith("{") else yaml.load(text, _Loader)
    except RecursionError:
        raise ConfigError(f"{place}: nested too deeply to be an OpenAPI document") from None
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError) as error:  # YAML's tags: `!!int x`, `!!bool x`
        raise ConfigError(f"{place}: neither JSON nor YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{place}: expected an OpenAPI document, got {type(content).__name__}")
    return content


def _load(place: str) -> bytes:
    try:
        with Path(place).expanduser().open("rb") as stream:
            return stream.read(_LARGEST_BYTES + 1)
    except (OSError, ValueError, RuntimeError) as error:  # a NUL in the name; the home of a user that there is not
        raise ConfigError(f"{place}: can't be read: {getattr(error, 'strerror', None) or error}") from error


def _download(place: str) -> bytes:
    if not place.startswith("https://"):
        raise ConfigError(f"{place}: an OpenAPI document comes from a file or over https")
    try:
        with urllib.request.urlopen(place, timeout=_DOWNLOAD_S) as answer:
            if not answer.geturl().startswith("https://"):
                raise ConfigError(f"{place}: leads to {answer.geturl()}, which is not https")
            return bytes(answer.read(_LARGEST_BYTES + 1))
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise ConfigError(f"{place}: can't be fetched: {error}") from error
