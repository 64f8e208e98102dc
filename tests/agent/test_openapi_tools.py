"""Tools from an OpenAPI file, called on a real local server."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from xagent.agent.tools import ToolBox, load_tools, openapi_tools
from xagent.errors import ConfigError

YAML = """
openapi: 3.0.3
info: {title: Pets, version: 2024-01-01}
servers:
  - url: "{address}/v1"
paths:
  /pets/{id}:
    parameters:
      - {name: id, in: path, required: true, schema: {type: string}, description: which pet}
    get:
      operationId: getPet
      summary: Get a pet.
      parameters:
        - {name: fields, in: query, schema: {type: array, items: {type: string}}}
        - {name: since, in: query, schema: {type: string, example: 2024-01-01}}
        - {name: X-Trace, in: header, schema: {type: boolean, nullable: true}}
        - {name: Authorization, in: header, schema: {type: string}}
        - {name: session, in: cookie, schema: {type: string}}
  /pets:
    post:
      description: Add a pet.
      requestBody:
        required: true
        content:
          application/json: {schema: {$ref: "#/components/schemas/Pet"}}
  /list:
    put:
      operationId: put list
      requestBody:
        content:
          application/json: {schema: {type: array, items: {type: integer}}}
  /form:
    post:
      operationId: send
      requestBody:
        required: true
        content:
          application/x-www-form-urlencoded:
            schema: {type: object, required: [text], properties: {text: {type: string}}}
  /gone: {get: {operationId: gone}}
  /away: {get: {operationId: away}}
  /empty: {get: {operationId: empty}}
  /slow: {get: {operationId: slow}}
  /large: {get: {operationId: large}}
components:
  schemas:
    Pet:
      type: object
      required: [name]
      properties:
        name: {type: string}
        age: {type: integer, minimum: 0, exclusiveMinimum: true}
        parent: {$ref: "#/components/schemas/Pet"}
"""


class Pets(BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    asked: list[str] = []
    wait = threading.Event()

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        Pets.asked.append(self.path)
        status, headers, text = 200, {"Content-Type": "application/json"}, ""
        if self.path == "/v1/gone":
            status, text = 404, '{"detail": "no such page"}'
        elif self.path == "/v1/away":
            status, headers = 302, {"Location": "/v1/elsewhere"}
        elif self.path == "/v1/empty":
            status = 204
        elif self.path == "/v1/slow":
            Pets.wait.wait(30)
        elif self.path == "/v1/large":
            text = "a" * (2 << 20)
        else:
            kept = {
                key: self.headers[key] for key in ("X-Trace", "Cookie", "Authorization", "Content-Type") if key in self.headers
            }
            text = json.dumps([self.command, self.path, kept, body], ensure_ascii=False)
        raw = text.encode()
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(raw))}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(raw)

    do_GET = do_POST = do_PUT = answer

    def log_message(self, *words: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pets)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    Pets.wait.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def document(tmp_path: Path, address: str) -> Path:
    path = tmp_path / "pets.yaml"
    path.write_text(YAML.replace("{address}", address), encoding="utf-8")
    return path


def echo(box: ToolBox, name: str, arguments: dict[str, Any]) -> list[Any]:
    observation = box.run(name, arguments)
    assert observation.fault is None, observation.text
    return json.loads(observation.text)


def test_operations_become_tools_that_call_the_server(document: Path) -> None:
    box = load_tools(f"openapi:{document}")
    assert list(box.tools) == ["getPet", "post_pets", "put_list", "send", "gone", "away", "empty", "slow", "large"]
    pet = box.tools["getPet"].spec
    assert pet.description == "Get a pet." and pet.parameters["required"] == ["id"]
    assert list(pet.parameters["properties"]) == ["id", "fields", "since", "X-Trace", "session"]
    assert pet.parameters["properties"]["id"] == {"type": "string", "description": "which pet"}
    assert pet.parameters["properties"]["X-Trace"] == {"type": ["boolean", "null"]}
    arguments = {"id": "a/b ü?", "fields": ["x", "y&z"], "X-Trace": True, "session": "1;2"}
    assert echo(box, "getPet", arguments) == [
        "GET",
        "/v1/pets/a%2Fb%20%C3%BC%3F?fields=x&fields=y%26z",
        {"X-Trace": "true", "Cookie": "session=1%3B2"},
        "",
    ]


def test_bodies_are_json_or_forms(document: Path) -> None:
    box = ToolBox(openapi_tools(str(document), headers={"Authorization": "Bearer x"}))
    schema = box.tools["post_pets"].spec.parameters
    assert schema["required"] == ["name"]
    assert schema["properties"]["age"] == {"type": "integer", "exclusiveMinimum": 0}
    assert schema["properties"]["parent"] == {}, "a reference into itself ends"
    method, path, headers, body = echo(box, "post_pets", {"name": "Ünal", "age": 2})
    assert (method, path, json.loads(body)) == ("POST", "/v1/pets", {"name": "Ünal", "age": 2})
    assert headers == {"Authorization": "Bearer x", "Content-Type": "application/json"}
    assert echo(box, "put_list", {"body": [1, 2]})[3] == "[1, 2]"
    assert echo(box, "put_list", {})[3] == ""
    assert echo(box, "send", {"text": "a b&c"})[3] == "text=a+b%26c"
    assert box.run("post_pets", {"name": "x", "age": 0}).fault == "bad arguments"
    assert box.run("send", {}).text == "missing parameter 'text'"


def test_what_a_server_does_wrong_is_an_observation(document: Path, tmp_path: Path) -> None:
    box = ToolBox(openapi_tools(str(document), timeout=20))
    gone = box.run("gone", {})
    assert (gone.fault, gone.text) == ("error", 'the server answered with status 404 (Not Found): {"detail": "no such page"}')
    assert "status 302" in box.run("away", {}).text and "/v1/elsewhere" not in Pets.asked
    assert box.run("empty", {}).text == "(status 204, no content)"
    assert "(cut: the first 8000 of 1048576 characters)" in box.run("large", {}).text
    hasty = ToolBox(openapi_tools(str(document), timeout=0.3))
    hasty.tools["slow"] = dataclasses.replace(hasty.tools["slow"], timeout=60)  # the box gives up a second later, else
    slow = hasty.run("slow", {})
    while "/v1/slow" not in Pets.asked:  # its server's thread may come later than the fault
        time.sleep(0.01)
    assert (slow.fault, "within 0.3 seconds" in slow.text) == ("error", True)
    nobody = tmp_path / "nobody.json"
    content = {"openapi": "3.1.0", "servers": [{"url": "http://127.0.0.1:9"}], "paths": {"/x": {"get": {}}}}
    nobody.write_text(json.dumps(content), encoding="utf-8")
    lost = ToolBox(openapi_tools(str(nobody))).run("get_x", {})
    assert lost.fault == "error" and lost.text.startswith("the server can't be reached")


@pytest.mark.parametrize("value", ["..", ".", "", " "])
def test_an_argument_can_t_lead_to_another_path(document: Path, value: str) -> None:
    before = len(Pets.asked)
    observation = ToolBox(openapi_tools(str(document))).run("getPet", {"id": value})
    assert observation.fault == "error" and "it is a part of the address" in observation.text
    assert len(Pets.asked) == before


@pytest.mark.parametrize(
    "content, words",
    [
        ({"swagger": "2.0", "paths": {}}, "expected an OpenAPI 3 document, got swagger 2.0"),
        ({"openapi": "3.0.0"}, "no 'paths'"),
        ({"openapi": "3.0.0", "paths": {}}, "no operations"),
        ({"openapi": "3.0.0", "paths": {"/x": {"get": {}}}}, "the server's address must be http"),
        (
            {"openapi": "3.0.0", "servers": [{"url": "file:///etc"}], "paths": {"/x": {"get": {}}}},
            "the server's address must be http",
        ),
        ({"openapi": "3.0.0", "paths": {"/x": {"$ref": "other.yaml#/x"}}}, "leads outside the document"),
        ({"openapi": "3.0.0", "paths": {"/x": {"get": {"parameters": [{"$ref": "#/none"}]}}}}, "leads nowhere"),
        ({"openapi": "3.0.0", "paths": {"/x": {"get": {"parameters": ["id"]}}}}, "not written as OpenAPI 3 asks"),
        (
            {"openapi": "3.0.0", "paths": {"/x": {"post": {"requestBody": {"content": {"image/png": {}}}}}}},
            "its body is image/png; tools can send JSON or a form",
        ),
        ([], "expected an OpenAPI document, got list"),
    ],
)
def test_a_document_that_can_t_be_used_says_why(tmp_path: Path, content: Any, words: str) -> None:
    path = tmp_path / "api.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ConfigError, match=words) as error:
        openapi_tools(str(path))
    assert str(path) in str(error.value)


def test_documents_run_nothing_and_come_from_files_or_https(tmp_path: Path) -> None:
    path = tmp_path / "api.yaml"
    path.write_text("!!python/object/apply:os.system ['touch pwned']", encoding="utf-8")
    with pytest.raises(ConfigError, match="neither JSON nor YAML"):
        openapi_tools(str(path))
    with pytest.raises(ConfigError, match="from a file or over https"):
        openapi_tools("http://127.0.0.1:9/api.json")
    with pytest.raises(ConfigError, match="can't be fetched"):
        openapi_tools("https://127.0.0.1:9/api.json")
    with pytest.raises(ConfigError, match="can't be read"):
        openapi_tools(str(tmp_path / "none.json"))
    bomb = {"a": {"x": 1}} | {chr(98 + i): [{"$ref": f"#/{chr(97 + i)}"}] * 9 for i in range(8)}
    bomb |= {"openapi": "3.0.0", "paths": {"/x": {"get": {"parameters": {"$ref": "#/i"}}}}}
    path.write_text(json.dumps(bomb), encoding="utf-8")
    with pytest.raises(ConfigError, match="unfold to more than 200000 values"):
        openapi_tools(str(path))
