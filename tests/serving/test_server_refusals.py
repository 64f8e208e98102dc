"""What the server refuses, how, and how it ends: statuses, OpenAI's shape of errors, limits, disconnects, draining."""

from __future__ import annotations

import json
import signal
import socket
import threading
from contextlib import suppress
from typing import Any

import httpx
import openai
import pytest
from scripted import ScriptedEngine, raw_request, serving, until

from xagent.errors import ConfigError
from xagent.serving import guard, server
from xagent.serving.server import open_socket
from xagent.serving.service import ServerSettings, Service

ASK = [{"role": "user", "content": "Hello"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
CALLS = [{"id": identity, "type": "function", "function": {"name": "f", "arguments": "{}"}} for identity in ("a", "b")]
CHAT = "/v1/chat/completions"


def result(identity: str | None = None) -> dict[str, Any]:
    return {"role": "tool", "content": "1", **({"tool_call_id": identity} if identity else {})}


@pytest.fixture(scope="module")
def address():
    with serving(ScriptedEngine(lambda _: "Hi", context=2000), max_body=20_000) as (_, found):
        yield found


def post(address: str, body: Any, path: str = CHAT, **more: Any) -> httpx.Response:
    content = body if isinstance(body, (bytes, str)) else json.dumps(body)
    return httpx.post(address + path, content=content, timeout=60, **more)


def get(url: str, **more: Any) -> httpx.Response:
    return httpx.get(url, timeout=60, **more)


def error_of(response: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


@pytest.mark.parametrize(
    ("change", "param", "message"),
    [
        ({"messages": None}, "messages", "the parameter 'messages' is required and missing"),
        ({"messages": []}, "messages", "at least 1 item"),
        ({"messages": "hi"}, "messages", "valid list"),
        ({"messages": ["hi"]}, "messages[0]", "valid dictionary"),
        ({"messages": [{"role": "robot", "content": ""}]}, "messages[0].role", "got 'robot'"),
        (
            {"messages": [{"role": "user", "content": 3}]},
            "messages",
            "message 0 (role 'user'): content must be text, a list of parts or null, got int",
        ),
        (
            {"messages": [{"role": "user", "content": None}]},
            "messages",
            "message 0 (role 'user'): content is None, and nothing else is said",
        ),
        ({"messages": [result()]}, "messages", "needs an assistant message before it"),
        (
            {"messages": [*ASK, {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}]},
            "messages",
            "JSON",
        ),
        ({"temperature": "1"}, "temperature", "valid number, got '1'"),
        ({"temperature": 3}, "temperature", "less than or equal to 2"),
        ({"top_p": 0}, "top_p", "greater than 0"),
        ({"n": 0}, "n", "greater than or equal to 1"),
        ({"n": True}, "n", "valid integer"),
        ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
        ({"stop": ["a", ""]}, "stop", "none of them empty"),
        ({"stop": 3}, "stop", "valid string"),
        ({"seed": 1.5}, "seed", "valid integer"),
        ({"stream_options": {"x": 1}}, "stream_options.x", "not permitted"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "is of streams"),
        ({"top_logprobs": 2}, "top_logprobs", "needs 'logprobs'"),
        ({"tools": [{"type": "retrieval"}]}, "tools[0]", "only tools of type 'function'"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0]", "non-empty 'name'"),
        ({"tools": [TOOL, TOOL]}, "tools[1]", "names must differ"),
        (
            {"tools": [TOOL, {"type": "function", "function": {"name": "a b\n"}}]},
            "tools[1]",
            "tools[1]: tool 'a b\\n': the name must",
        ),
        ({"tool_choice": "required"}, "tool_choice", "needs 'tools'"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}}, "tool_choice", "the tools are: f"),
        ({"tools": [TOOL], "tool_choice": "always"}, "tool_choice", "got 'always'"),
        ({"frequency_penalty": 0.5}, "frequency_penalty", "which would change the reply"),
        ({"functions": [{"name": "f"}]}, "functions", "use 'tools'"),
        ({"temprature": 0.5}, "temprature", "did you mean 'temperature'"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format.json_schema", "needs a schema"),
        ({"response_format": {"type": "yaml"}}, "response_format.type", "got 'yaml'"),
        ({"response_format": {}}, "response_format.type", "got None"),
        ({"response_format": {"type": "json_object"}, "tools": [TOOL]}, "response_format", "no tool can be called"),
        (
            {"response_format": {"type": "json_object"}, "messages": [*ASK, {"role": "assistant", "content": "{"}]},
            "response_format",
            "of whole replies",
        ),
    ],
)
def test_a_wrong_request_is_400_and_names_the_parameter(address: str, change: Any, param: str, message: str) -> None:
    response = post(address, {"model": "scripted", "messages": ASK, **change})
    error = error_of(response)
    assert (response.status_code, error["type"], error["param"]) == (400, "invalid_request_error", param), error
    assert message in error["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff", b'{"model": NaN}', b"[" * 5000])
def test_a_body_that_is_no_object_is_400(address: str, body: bytes) -> None:
    response = post(address, body)
    assert response.status_code == 400 and error_of(response)["type"] == "invalid_request_error"


@pytest.mark.parametrize("kind", ["image_url", "input_audio", "file"])
def test_images_and_such_are_refused(address: str, kind: str) -> None:
    part = {"type": kind, kind: {"url": "http://127.0.0.1:1/never-asked.png"}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, part]}]
    response = post(address, {"model": "scripted", "messages": messages})
    error = error_of(response)
    assert (response.status_code, error["param"], error["code"]) == (400, "messages[0].content[1]", "unsupported_content")


def test_parts_of_text_are_read(address: str) -> None:
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    assert post(address, {"model": "scripted", "messages": [{"role": "developer", "content": parts}, *ASK]}).status_code == 200


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([result("a")], "the calls 'b' of message 1 are not answered"),
        ([], "the calls 'a', 'b' of message 1 are not answered|calls 2 tools, and 0 results follow"),
        ([result("a"), result("c")], "message 3 answers the call 'c' which is none of that message's; message 1 has 'a', 'b'"),
        ([result("a"), result("a")], "message 3 answers the call 'a' a second time"),
        ([result()], "message 1 calls 2 tools, and 1 results follow"),
        ([result("a"), result("b"), {"role": "user", "content": "x"}, result("a")], "the message before it has no calls"),
    ],
)
def test_results_must_answer_the_calls(address: str, results: list[Any], message: str) -> None:
    messages = [*ASK, {"role": "assistant", "tool_calls": CALLS}, *results]
    response = post(address, {"model": "scripted", "messages": messages, "tools": [TOOL]})
    assert response.status_code == 400
    assert any(words in error_of(response)["message"] for words in message.split("|"))


def test_what_the_protocol_cannot_say_is_422(address: str) -> None:
    assistant = {"role": "assistant", "content": "Do so:\nAction: x\nAction Input: y", "tool_calls": CALLS}
    response = post(address, {"model": "scripted", "messages": [*ASK, assistant, result("a"), result("b")], "tools": [TOOL]})
    assert response.status_code == 422
    assert "this model can't be asked so" in error_of(response)["message"]


def test_half_a_character_is_refused_and_not_our_fault(address: str) -> None:
    half = "so \ud83d"
    for stream in (False, True):
        response = post(address, {"model": "scripted", "messages": [{"role": "user", "content": half}], "stream": stream})
        assert response.status_code == 422 and "half a surrogate pair ('\\ud83d')" in error_of(response)["message"]
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": json.dumps({"x": half})}}
    messages = [*ASK, {"role": "assistant", "tool_calls": [call]}, result("a")]
    assert post(address, {"model": "scripted", "messages": messages, "tools": [TOOL]}).status_code == 422
    response = post(address, {"model": "scripted", "prompt": half}, "/v1/completions")
    assert (response.status_code, error_of(response)["param"]) == (400, "prompt")


def test_more_replies_than_are_ever_made_at_once_are_refused_for_good(address: str) -> None:
    response = post(address, {"model": "scripted", "prompt": ["a"] * 9, "n": 15}, "/v1/completions")
    assert (response.status_code, error_of(response)["param"]) == (400, "n") and "retry-after" not in response.headers
    assert "asks for 135 replies; this server makes at most 128 at once" in error_of(response)["message"]


def test_a_context_too_long_and_a_body_too_large(address: str) -> None:
    response = post(address, {"model": "scripted", "messages": [{"role": "user", "content": "x" * 3000}]})
    error = error_of(response)
    assert (response.status_code, error["code"]) == (400, "context_length_exceeded")
    assert "context holds 2000" in error["message"]
    response = post(address, {"model": "scripted", "prompt": "x" * 3000}, "/v1/completions")
    assert (response.status_code, error_of(response)["param"]) == (400, "prompt")
    with openai.OpenAI(base_url=f"{address}/v1", api_key="x", max_retries=0) as api:
        with pytest.raises(openai.APIStatusError, match="larger than 20000 bytes") as caught:
            api.chat.completions.create(model="scripted", messages=[{"role": "user", "content": "x" * 10_000_000}])
    assert caught.value.status_code == 413


def test_other_paths_and_methods(address: str) -> None:
    response = get(f"{address}/v2/none")
    assert response.status_code == 404 and "no path '/v2/none'" in error_of(response)["message"]
    response = get(address + CHAT)
    assert response.status_code == 405 and "does not take GET" in error_of(response)["message"]
    assert response.headers["allow"] == "POST"
    for path in ("/health", "/metrics", "/v1/models", "/v1/models/scripted"):
        there, head = get(address + path), httpx.head(address + path, timeout=60)
        assert (head.status_code, head.content, head.headers["content-type"]) == (200, b"", there.headers["content-type"])
        assert httpx.post(address + path, timeout=60).headers["allow"] in ("GET, HEAD", "HEAD, GET")
    assert len(get(f"{address}/{'a' * 5000}").content) < 500
    assert get(f"{address}/docs").status_code == get(f"{address}/openapi.json").status_code == 404


def test_what_is_no_http_is_400_in_the_same_shape(address: str) -> None:
    head = f"GET /health HTTP/1.1\r\nHost: localhost\r\nX: {'a' * 200_000}\r\n\r\n"
    for sent in (head, "nothing that one knows\r\n\r\n", f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n"):
        with raw_request(address, sent) as connection:
            answer = b""
            with suppress(ConnectionResetError):  # it does not read on
                while more := connection.recv(1000):
                    answer += more
        top, _, body = answer.decode().partition("\r\n\r\n")
        assert top.startswith("HTTP/1.1 400 ") and "connection: close" in top
        assert json.loads(body)["error"]["type"] == "invalid_request_error"


def test_one_connection_takes_requests_behind_refused_ones(address: str) -> None:
    ports = set()
    with httpx.Client(base_url=address, timeout=60) as client:
        for body, headers, status in (
            (b"{", {}, 400),
            (b"x" * 100_000, {}, 413),
            (b"{}", {"Origin": "http://evil"}, 403),
            (json.dumps({"model": "scripted", "messages": ASK}).encode(), {}, 200),
        ):
            response = client.post(CHAT, content=body, headers=headers)
            assert response.status_code == status
            ports.add(response.extensions["network_stream"].get_extra_info("client_addr")[1])
    assert len(ports) == 1


def test_a_client_that_leaves_in_its_request_is_no_fault_of_the_server(caplog: pytest.LogCaptureFixture) -> None:
    with serving(ScriptedEngine(lambda _: "Hi")) as (_, address):
        raw_request(address, f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{{").close()
        until(lambda: 'status="499"' in get(f"{address}/metrics").text)
    assert "Traceback" not in caplog.text


def test_a_request_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.3)
    with serving(ScriptedEngine(lambda _: "Hi")) as (_, address):
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{{"
        with raw_request(address, head) as connection:
            answer = b""
            while more := connection.recv(1000):
                answer += more
        monkeypatch.setattr(guard, "BODY_SECONDS", 60.0)  # a whole one may take a moment, too
        assert post(address, {"model": "scripted", "messages": ASK}).status_code == 200
    top, _, body = answer.decode().partition("\r\n\r\n")
    assert top.startswith("HTTP/1.1 408 ") and "connection: close" in top.lower()
    assert json.loads(body)["error"]["code"] == "request_timeout"


def test_what_messages_say_beside_is_ignored_and_named(address: str) -> None:
    spoken = {"role": "user", "content": "Hello", "name": "Ann", "é\ud83d\n": 1, "refusal": None, "annotations": []}
    answer = {"role": "assistant", "content": "Hi", "reasoning_content": "So.", "provider": {"x": 1}}
    response = post(address, {"model": "scripted", "messages": [spoken, answer, *ASK]})
    assert response.status_code == 200
    named = "messages.\\xc3\\xa9\\\\ud83d\\n, messages.name, messages.provider"
    assert response.headers["x-xagent-ignored"] == named
    many = {"role": "user", "content": "", **{f"k{number:02}": 1 for number in range(25)}}
    told = post(address, {"model": "scripted", "messages": [many]}).headers["x-xagent-ignored"]
    assert told.startswith("messages.k00, ") and told.endswith("messages.k19, 5 more")
    results = [*ASK, {"role": "assistant", "tool_calls": CALLS}, {**result("a"), "name": "f"}, result("b")]
    assert "x-xagent-ignored" not in post(address, {"model": "scripted", "messages": results, "tools": [TOOL]}).headers


def test_what_changes_nothing_is_ignored_and_named(address: str) -> None:
    strict = {"type": "function", "function": {**TOOL["function"], "strict": True}}
    body = {"model": "scripted", "messages": ASK, "user": "me", "presence_penalty": 0, "logit_bias": None, "tools": [strict]}
    response = post(address, body)
    assert response.status_code == 200
    assert response.headers["x-xagent-ignored"] == "user, tools.function.strict"


# Who may call


def test_hosts_and_origins(address: str) -> None:
    port = address.rpartition(":")[2]
    for host, status in (
        (f"localhost:{port}", 200),
        (f"127.0.0.1:{port}", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
    ):
        assert get(f"{address}/health", headers={"Host": host}).status_code == status
    own, other = {"Origin": address}, {"Origin": "http://evil.example"}
    body = {"model": "scripted", "messages": ASK}
    assert post(address, body, headers=own).status_code == 200
    for headers in (other, {"Origin": "null"}, {"Origin": "http://localhost:3000"}):
        response = post(address, body, headers=headers)
        assert response.status_code == 403 and error_of(response)["code"] == "origin_not_allowed"


def test_an_allowed_page_and_an_allowed_name() -> None:
    page = "https://chat.example"
    with serving(ScriptedEngine(lambda _: "Hi"), origins=(page,), hosts=frozenset({"agent.example"})) as (_, address):
        headers = {"Origin": page, "Host": "agent.example"}
        response = post(address, {"model": "scripted", "messages": ASK}, headers=headers)
        assert response.status_code == 200 and response.headers["access-control-allow-origin"] == page
        asked = {**headers, "Access-Control-Request-Method": "POST"}
        assert httpx.options(address + CHAT, headers=asked, timeout=60).status_code == 200
        assert get(f"{address}/health").status_code == 403


def test_a_key() -> None:
    with serving(ScriptedEngine(lambda _: "Hi"), api_key="s3cret") as (_, address):
        for key in ("wrong", "s3cret "[:-2], "é"):
            response = get(f"{address}/v1/models", headers={"Authorization": f"Bearer {key}".encode()})
            assert response.status_code == 401 and error_of(response)["type"] == "authentication_error"
        assert get(f"{address}/v1/models").status_code == 401 == get(f"{address}/metrics").status_code
        assert get(f"{address}/health").json() == {"status": "ok"}
        with openai.OpenAI(base_url=f"{address}/v1", api_key="s3cret", max_retries=0) as api:
            assert api.models.list().data[0].id == "scripted"
        with (
            openai.OpenAI(base_url=f"{address}/v1", api_key="no", max_retries=0) as api,
            pytest.raises(openai.AuthenticationError),
        ):
            api.models.list()


# Too much, too early, too late


def test_a_full_server_says_429_and_when_to_come_again() -> None:
    go_on = threading.Event()
    with serving(ScriptedEngine(lambda _: "Hello", wait=go_on), max_replies=2) as (service, address):
        with openai.OpenAI(base_url=f"{address}/v1", api_key="x", max_retries=0) as api:
            stream = api.chat.completions.create(model="scripted", messages=ASK, n=2, stream=True)  # type: ignore[arg-type]
            until(lambda: service.running == 2)
            response = post(address, {"model": "scripted", "messages": ASK})
            assert (response.status_code, response.headers["retry-after"]) == (429, "1")
            assert error_of(response)["type"] == "rate_limit_error"
            go_on.set()
            assert sum(len(chunk.choices[0].delta.content or "") for chunk in stream) == 10
            until(lambda: service.running == 0)
            assert post(address, {"model": "scripted", "messages": ASK}).status_code == 200


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_its_place(stream: bool) -> None:
    never = threading.Event()
    engine = ScriptedEngine(lambda _: "Hello", wait=never)
    with serving(engine) as (service, address):
        body = json.dumps({"model": "scripted", "messages": ASK, "stream": stream})
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        connection = raw_request(address, head + body)
        until(lambda: service.running == 1 and bool(engine.streams))
        if stream:
            assert b"200 OK" in connection.recv(100)
        connection.close()
        until(lambda: service.running == 0)
        assert engine.streams[0].cancelled.is_set()
        assert "xagent_cancelled_total 1.0" in get(f"{address}/metrics").text


def test_the_end_waits_for_replies() -> None:
    go_on = threading.Event()
    with serving(ScriptedEngine(lambda _: "Hello", wait=go_on)) as (service, address):
        with openai.OpenAI(base_url=f"{address}/v1", api_key="x", max_retries=0) as api:
            stream = api.chat.completions.create(model="scripted", messages=ASK, stream=True)  # type: ignore[arg-type]
            pieces = [next(stream).choices[0].delta.content]
            service.server.handle_exit(15, None)
            until(lambda: not is_open(address))
            go_on.set()
            pieces += [chunk.choices[0].delta.content for chunk in stream]
    assert "".join(map(str, pieces)) == "Hello"


def test_replies_that_do_not_end_in_time_end_with_an_error() -> None:
    never = threading.Event()
    with serving(ScriptedEngine(lambda _: "Hello", wait=never), drain_seconds=0.5) as (service, address):
        responses: list[httpx.Response] = []
        asked = threading.Thread(target=lambda: responses.append(post(address, {"model": "scripted", "messages": ASK})))
        asked.start()
        with openai.OpenAI(base_url=f"{address}/v1", api_key="x", max_retries=0) as api:
            stream = api.chat.completions.create(model="scripted", messages=ASK, stream=True)  # type: ignore[arg-type]
            until(lambda: service.running == 2)
            service.server.handle_exit(15, None)
            with pytest.raises(openai.APIError, match="the server ended before the reply did"):
                list(stream)
        asked.join(60)
        assert (responses[0].status_code, error_of(responses[0])["code"]) == (503, "draining")
        until(lambda: service.running == 0 and not service.waiting)


@pytest.mark.parametrize("kept", [True, False], ids=["on a connection kept alive", "on a new connection"])
def test_a_request_that_was_sent_and_not_read_when_the_end_began_is_answered(kept: bool) -> None:
    """The end begins between the loop's look for new requests and its turn: uvicorn's own would close the connection."""
    body = json.dumps({"model": "scripted", "messages": ASK, "stream": True})
    request = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    with serving(ScriptedEngine(lambda _: "Hello")) as (service, address):
        connection = raw_request(address, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n") if kept else None
        if connection:
            health = b""
            while b'{"status":"ok"}' not in health:  # the body comes behind the head
                health += connection.recv(1000) or b"(its end)"
                assert b"(its end)" not in health, health
        sent: list[socket.socket] = []
        end = service.server.shutdown

        async def shutdown(sockets: Any) -> None:
            if connection:
                connection.sendall(request.encode())
            sent.append(connection or raw_request(address, request))
            await end(sockets)

        service.server.shutdown = shutdown
        service.server.handle_exit(15, None)
        until(lambda: bool(sent))
        sent[0].settimeout(60)
        answer = b""
        while more := sent[0].recv(1000):
            answer += more
        head, _, told = answer.decode().partition("\r\n\r\n")
        assert head.startswith("HTTP/1.1 503") and "connection: close" in head and json.loads(told)["error"]["code"] == "draining"


def is_open(address: str) -> bool:
    try:
        get(f"{address}/health")
    except httpx.TransportError:
        return False
    return True


def test_a_signal_before_the_server_runs_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    made = server.make_server(Service(ScriptedEngine(lambda _: "Hi"), ServerSettings("scripted")))
    monkeypatch.setattr(server, "make_server", lambda _: made)
    really_run, lost = made.run, list[bool]()
    late = threading.Timer(60, lambda: (lost.append(True), setattr(made, "should_exit", True)))

    def run(sockets: list[socket.socket]) -> None:
        signal.raise_signal(signal.SIGTERM)  # before uvicorn's handlers
        late.start()
        really_run(sockets)
        late.cancel()

    monkeypatch.setattr(made, "run", run)
    with open_socket("127.0.0.1", 0) as listening:
        before = signal.getsignal(signal.SIGTERM)
        server.serve(made._service, listening)
        assert not lost and signal.getsignal(signal.SIGTERM) is before


def test_while_it_ends_nothing_new_is_begun(address: str) -> None:
    with serving(ScriptedEngine(lambda _: "Hi")) as (service, address):
        service.draining = True
        response = post(address, {"model": "scripted", "messages": ASK})
        assert (response.status_code, error_of(response)["code"]) == (503, "draining") and "retry-after" in response.headers
        assert get(f"{address}/health").status_code == 503


def test_an_engine_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    engine = ScriptedEngine(lambda _: "ab\0c")
    with serving(engine) as (service, address):
        response = post(address, {"model": "scripted", "messages": ASK})
        assert (response.status_code, error_of(response)["message"]) == (500, "the model fell over")
        assert "its foot was no number" in caplog.text, "the log has the traceback"
        with openai.OpenAI(base_url=f"{address}/v1", api_key="x", max_retries=0) as api:
            stream = api.chat.completions.create(model="scripted", messages=ASK, stream=True)  # type: ignore[arg-type]
            with pytest.raises(openai.APIError, match="the model fell over"):
                list(stream)
        engine.close()
        response = post(address, {"model": "scripted", "messages": ASK})
        assert response.status_code == 503 and "the engine was closed" in error_of(response)["message"]
        until(lambda: service.running == 0)


def test_a_port_in_use() -> None:
    with open_socket("127.0.0.1", 0) as taken:
        with pytest.raises(ConfigError, match=r"port \d+ of 127.0.0.1 is in use; choose another with --port"):
            open_socket("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(ConfigError, match="--host no.such.host.invalid"):
        open_socket("no.such.host.invalid", 0)


def test_metrics() -> None:
    engine = ScriptedEngine(lambda _: "Hello")
    with serving(engine) as (_, address):
        post(address, {"model": "scripted", "messages": ASK})
        post(address, {})
        post(address, {"model": "scripted", "prompt": [[1, 2], [1, 2], [3]], "n": 2}, "/v1/completions")
        text = get(f"{address}/metrics").text
    assert 'xagent_requests_total{path="/v1/chat/completions",status="200"} 1.0' in text
    assert 'xagent_requests_total{path="/v1/chat/completions",status="400"} 1.0' in text
    assert "xagent_new_tokens_total 35.0" in text and "xagent_replies_running 0.0" in text
    assert "xagent_first_piece_seconds_count 2.0" in text
    read = len(engine.requests[0].prompt_ids)
    assert f"xagent_prompt_tokens_total {read + 5}.0" in text, "each prompt once, however many replies it has"
