"""OpenAPI documents as people write them and as nobody should: references, servers, and what a hostile file can't do."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xagent.agent.tools import openapi_tools
from xagent.agent.tools.openapi_document import Document
from xagent.errors import ConfigError

TEXT = """
openapi: 3.1.0
servers:
  - {url: "https://{region}.test/{version}/", variables: {version: {default: v2}, region: {default: eu}}}
paths:
  /pets/{id}:
    get:
      parameters: [{name: id, in: path, schema: {$ref: "#/components/schemas/Id", description: which}}]
      responses: {200: {description: fine}}
  /other: {$ref: "#/paths/~1pets~1{id}"}
  /again: {$ref: "#/paths/~1other"}
  /circle: {$ref: "#/paths/~1round"}
  /round: {$ref: "#/paths/~1circle"}
components:
  a~/b: tilde
  schemas: {Id: {type: integer, description: a number}}
"""
START = {"openapi": "3.0.3", "servers": [{"url": "https://api.test"}]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "api.yaml"


def opened(path: Path, text: str = TEXT) -> Document:
    path.write_text(text, encoding="utf-8")
    return Document(str(path))


def fault_of(path: Path, content: Any) -> str:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        openapi_tools(str(path))
    return str(error.value)


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("#/paths/~1pets~1{id}/get/parameters/0/name", "id"),
        ("#/paths/~1pets~1%7Bid%7D/get/responses/200/description", "fine"),
        ("#/components/a~0~1b", "tilde"),
        ("#/components/schemas/Id", {"type": "integer", "description": "a number"}),
    ],
)
def test_a_reference_is_a_json_pointer(path: Path, pointer: str, value: Any) -> None:
    assert opened(path).resolve([{"$ref": pointer}]) == [value]


@pytest.mark.parametrize(
    "pointer", ["#/components/none", "#/paths/~1pets~1{id}/get/parameters/1", "#/openapi/0", "#/components/"]
)
def test_a_reference_that_leads_nowhere(path: Path, pointer: str) -> None:
    with pytest.raises(ConfigError) as error:
        opened(path).resolve({"$ref": pointer})
    assert str(error.value) == f"{path}: reference {pointer!r} leads nowhere"


def test_a_reference_out_of_the_document(path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        opened(path).resolve({"a": {"$ref": "pets.yaml#/a"}})
    assert str(error.value) == f"{path}: reference 'pets.yaml#/a' leads outside the document; bundle it into one file"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text().filter(lambda key: key != "$ref"), inner, max_size=3),
    max_leaves=12,
)


def places(value: Any, pointer: str = "#") -> list[tuple[str, Any]]:
    """Give each value of a document with the pointer to it."""
    inner = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
    steps = [(quote(str(key).replace("~", "~0").replace("/", "~1"), safe="~"), one) for key, one in inner]
    return [(pointer, value)] + [found for step, one in steps for found in places(one, f"{pointer}/{step}")]


@settings(max_examples=40, deadline=None)
@given(JSON)
def test_every_place_of_every_document_has_its_pointer(value: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        document = opened(Path(folder) / "api.json", json.dumps({**START, "paths": {}, "x": value}))
    for pointer, found in places(value, "#/x"):
        assert document.resolve({"$ref": pointer}) == found


def test_a_path_that_is_a_reference_is_followed_to_its_end(path: Path) -> None:
    document = opened(path)
    for name in ("/pets/{id}", "/other", "/again"):
        assert document.follow(document.content["paths"][name], name) is document.content["paths"]["/pets/{id}"]
    with pytest.raises(ConfigError) as error:
        openapi_tools(str(path))
    assert str(error.value) == f"{path}: /circle: the reference '#/paths/~1round' leads back to itself"


@pytest.mark.parametrize(
    ("item", "shown"),
    [(5, "5"), ("getaway", "'getaway'"), (["get"], "['get']"), ({"$ref": 5}, "{'$ref': 5}"), ({"$ref": "#/openapi"}, "'3.0.3'")],
)
def test_a_path_that_is_no_object(path: Path, item: Any, shown: str) -> None:
    found = fault_of(path, {**START, "paths": {"/x": item}})
    assert found == f"{path}: /x: expected an object or a reference to one, got {shown}"


def test_a_path_without_operations_is_none(path: Path) -> None:
    path.write_text(json.dumps({**START, "paths": {"/none": None, "/x": {"get": {}, "trace": {}}}}), encoding="utf-8")
    assert [tool.name for tool in openapi_tools(str(path))] == ["get_x"]


@pytest.mark.parametrize(
    ("identity", "name"),
    [("list pets!", "list_pets"), (7, "7"), ("???", "get_pets_id_x"), ("", "get_pets_id_x"), (None, "get_pets_id_x")],
)
def test_a_tool_has_a_name_that_every_protocol_can_write(path: Path, identity: Any, name: str) -> None:
    path.write_text(json.dumps({**START, "paths": {"/pets/{id}/x/": {"get": {"operationId": identity}}}}), encoding="utf-8")
    assert [tool.name for tool in openapi_tools(str(path))] == [name]


def test_what_stands_beside_a_reference_counts_since_openapi_3_1(path: Path) -> None:
    value = {"$ref": "#/components/schemas/Id", "description": "which"}
    assert opened(path).resolve(value) == {"type": "integer", "description": "which"}
    assert opened(path).resolve({"$ref": "#/components/a~0~1b", "description": "which"}) == "tilde"
    older = opened(path, TEXT.replace("openapi: 3.1.0", "openapi: 3.0.3"))
    assert older.resolve(value) == {"type": "integer", "description": "a number"}


def test_a_schema_that_holds_itself_ends(path: Path) -> None:
    schemas = {"Node": {"properties": {"next": {"$ref": "#/schemas/Node"}, "name": {"type": "string"}}}}
    document = opened(path, json.dumps({**START, "paths": {}, "schemas": schemas}))
    assert document.resolve({"$ref": "#/schemas/Node"}) == {"properties": {"next": {}, "name": {"type": "string"}}}


def test_the_server_is_that_of_the_innermost_level_with_its_variables(path: Path) -> None:
    document = opened(path)
    assert document.server() == document.server({}, {"servers": []}) == "https://eu.test/v2"
    assert (
        document.server({"servers": [{"url": "http://in.test/"}]}, {"servers": [{"url": "http://out.test"}]}) == "http://in.test"
    )
    document.place = "https://docs.test/v1/api.json"
    assert document.server({"servers": [{"url": "../v3"}]}) == "https://docs.test/v3"
    assert document.server({"servers": [{}]}) == "https://docs.test"


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ({"url": "/v1"}, "the server's address must be http(s)://host..., got '/v1'; name it in 'servers'"),
        ({"url": "ftp://a.test"}, "the server's address must be http(s)://host..., got 'ftp://a.test'; name it in 'servers'"),
        ({"url": "http://"}, "the server's address must be http(s)://host..., got 'http://'; name it in 'servers'"),
        (
            {"url": "https://a.test/{v}", "variables": {"v": {}}},
            "the server's address 'https://a.test/{v}' has the variable {v}, which has no default; write one in the server's"
            " 'variables'",
        ),
    ],
)
def test_a_server_that_can_t_be_called(path: Path, server: Any, words: str) -> None:
    assert fault_of(path, {**START, "servers": [server], "paths": {"/x": {"get": {}}}}) == f"{path}: {words}"


HEAD = "openapi: 3.0.0\nservers: [{url: 'http://a.test'}]\n"
NESTED = '{"openapi": "3.0.0", "paths": {"/x": {"get": {"parameters": ' + '{"a":' * 700 + "1" + "}" * 703 + "}"
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (HEAD + "paths: {/x: {get: {parameters: &a [*a]}}}", "it is nested too deeply, or an alias (*) of YAML holds itself"),
        (NESTED, "it is nested too deeply, or an alias (*) of YAML holds itself"),
        ('{"a": ' + "[" * 100_000, "nested too deeply to be an OpenAPI document"),
        (HEAD + MERGES + "paths: {}", "'<<' merges more than 200000 values"),
        (HEAD + "paths: !!int x", "neither JSON nor YAML: invalid literal for int()"),
        (HEAD + "paths: !!bool x", "neither JSON nor YAML: 'x'"),
        (HEAD + "paths: !!timestamp x", "neither JSON nor YAML"),
        ('{"openapi": ' + "1" * 5000 + "}", "neither JSON nor YAML: Exceeds the limit (4300 digits)"),
        ("--- {}\n--- {}", "neither JSON nor YAML: expected a single document in the stream"),
        ("", "expected an OpenAPI document, got NoneType"),
        (" " * (10 << 20) + "{", "larger than 10485760 bytes"),
        (
            {**START, "paths": {"/x": {"get": {"parameters": [{"in": "query"}]}}}},
            "is not written as OpenAPI 3 asks: KeyError: 'name'",
        ),
        ({**START, "paths": {"/x": {"get": None}}}, "GET /x is not written as OpenAPI 3 asks: AttributeError"),
        ({**START, "openapi": 3, "paths": {}}, "expected an OpenAPI 3 document, got openapi 3; convert it"),
        ({"paths": {}}, "expected an OpenAPI 3 document, got openapi missing; convert it"),
    ],
)
def test_what_a_hostile_document_does_is_a_fault_of_it(path: Path, content: Any, words: str) -> None:
    found = fault_of(path, content)
    assert found.startswith(f"{path}: ") and words in found


def test_a_byte_order_mark_is_no_part_of_the_document(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({**START, "paths": {}}).encode())
    assert Document(str(path)).content["openapi"] == "3.0.3"
    path.write_bytes("ü".encode("latin-1"))
    with pytest.raises(ConfigError, match="neither JSON nor YAML: 'utf-8' codec can't decode byte 0xfc in position 0"):
        Document(str(path))


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("~nobody-of-this-name/api.yaml", "can't be read: Could not determine home directory"),
        ("/", "can't be read: Is a directory"),
        ("a\0b", "can't be read: embedded null byte"),
        ("https://127.0.0.1:port/api.json", "can't be fetched: nonnumeric port: 'port'"),
        ("https://127.0.0.1:9/a b", "can't be fetched: URL can't contain control characters"),
        ("ftp://127.0.0.1/api.json", "an OpenAPI document comes from a file or over https"),
    ],
)
def test_a_place_that_can_t_be_read(place: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        Document(place)
    assert str(error.value).startswith(f"{place}: {words}")


WORDS = (
    "get post parameters name in schema $ref requestBody content application/json application/x-www-form-urlencoded properties "
    "required servers url variables default type description operationId summary nullable enum minimum exclusiveMinimum items"
).split()
LEAVES = st.sampled_from(
    [
        None,
        True,
        0,
        1.5,
        "",
        "x",
        "#/paths/~1x",
        "#/paths",
        "#/openapi",
        "path",
        "query",
        "header",
        "object",
        "string",
        "{x}",
        "/x",
    ]
)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=20,
)
PARAMETER = st.fixed_dictionaries({"name": LEAVES, "in": st.sampled_from(["path", "query"]), "schema": ANYTHING})
OPERATION = st.fixed_dictionaries(
    {},
    optional={
        "parameters": st.lists(PARAMETER | ANYTHING, max_size=3) | ANYTHING,
        "requestBody": st.fixed_dictionaries({"content": st.fixed_dictionaries({"application/json": ANYTHING})}) | ANYTHING,
        "operationId": ANYTHING,
        "servers": ANYTHING,
    },
)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["/x", "/x/{x}", ""]), st.dictionaries(st.sampled_from(["get", "post"]), OPERATION) | ANYTHING
    )
)
def test_any_document_gives_tools_or_says_why_not(paths: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = str(Path(folder) / "api.json")
        Path(place).write_text(json.dumps({**START, "paths": paths}), encoding="utf-8")
        try:
            tools = openapi_tools(place)
        except ConfigError as error:
            assert str(error)
        else:
            assert all(tool.name for tool in tools)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60) | st.text("{}[]:,-&*<!?|>'\"#%@ \nab1", max_size=40).map(str.encode))
def test_any_bytes_are_a_document_or_a_fault(raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "api.yaml"
        place.write_bytes(raw)
        with pytest.raises(ConfigError):
            Document(str(place))
