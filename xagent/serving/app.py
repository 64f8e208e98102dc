"""The application: OpenAI's paths, health and metrics."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from fastapi import FastAPI, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from xagent.serving.chat import ChatCompletion
from xagent.serving.completion import Completion
from xagent.serving.completions import TextCompletion
from xagent.serving.conversation import unread_keys
from xagent.serving.errors import ApiError, dump, json_response
from xagent.serving.guard import Guard, read_json
from xagent.serving.health import EngineHealth
from xagent.serving.parameters import ChatParameters, CompletionParameters, read_parameters
from xagent.serving.service import Service

_LOG = logging.getLogger(__name__)
_READING = ["GET", "HEAD"]


def create_app(service: Service) -> FastAPI:
    """Make the application of a server."""
    engine_health = EngineHealth(service.engine)
    app = FastAPI(title="xagent", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _our_fault)
    app.add_middleware(Guard, service=service)
    if service.settings.origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=service.settings.origins, allow_methods=["GET", "POST"], allow_headers=["*"]
        )

    @app.api_route("/health", methods=_READING)
    async def health() -> Response:
        if service.draining:
            return json_response({"status": "draining"}, 503)
        if await engine_health.outage() is not None:
            return json_response({"status": "engine unavailable"}, 503)
        return json_response({"status": "ok"})

    @app.api_route("/metrics", methods=_READING)
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @app.api_route("/v1/models", methods=_READING)
    async def models() -> Response:
        names = (service.settings.model_name, *service.engine.adapters)
        return json_response({"object": "list", "data": [_model(service, name) for name in names]})

    @app.api_route("/v1/models/{name:path}", methods=_READING)
    async def model(name: str) -> Response:
        service.adapter_of(name)
        return json_response(_model(service, name))

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        found, ignored = read_parameters(ChatParameters, await read_json(request, service.settings.max_body))
        ignored += unread_keys(found.messages)
        if any("strict" in tool.get("function", {}) for tool in found.tools if isinstance(tool.get("function"), dict)):
            ignored.append("tools.function.strict")
        return await _answer(request, ChatCompletion(service, found), found.stream, ignored)

    @app.post("/v1/completions")
    async def completions(request: Request) -> Response:
        found, ignored = read_parameters(CompletionParameters, await read_json(request, service.settings.max_body))
        return await _answer(request, TextCompletion(service, found), found.stream, ignored)

    return app


async def _answer(request: Request, completion: Completion, in_pieces: bool, ignored: list[str]) -> Response:
    headers = {"x-xagent-ignored": ", ".join(ignored)} if ignored else {}
    try:
        await completion.begin()
        if in_pieces:
            return EventStream(completion, headers)
        response = json_response(await _unless_gone(request, completion.whole()), headers=headers)
    except BaseException:
        completion.close()
        raise
    completion.close()
    return response


class EventStream(StreamingResponse):
    """A completion as server-sent events. However it ends, by the client's leaving too, the completion is closed."""

    def __init__(self, completion: Completion, headers: dict[str, str]) -> None:
        super().__init__(_events(completion), headers={**headers, "Cache-Control": "no-store"}, media_type="text/event-stream")
        self._completion = completion

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._completion.close()


async def _events(completion: Completion) -> AsyncIterator[str]:
    try:
        async for chunk in completion.chunks():
            yield f"data: {dump(chunk)}\n\n"
    except ApiError as error:
        yield f"data: {dump(error.body())}\n\n"
        return
    except Exception:
        _LOG.exception("a reply could not be told to its end")
        yield f"data: {dump(ApiError(500, 'the server failed; its log says why').body())}\n\n"
        return
    yield "data: [DONE]\n\n"


async def _unless_gone(request: Request, work: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    """Do the work, and give it up when the client has gone.

    Raises:
        ApiError: it has gone; nobody reads this.
    """
    task, gone = asyncio.create_task(work), asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ApiError(499, "the client has closed the connection")
        return task.result()
    finally:
        task.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _model(service: Service, name: str) -> dict[str, Any]:
    described = {"id": name, "object": "model", "created": service.started, "owned_by": "xagent"}
    return described if name == service.settings.model_name else {**described, "parent": service.settings.model_name}


async def _api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error.response()


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = repr(request.url.path[:200])
    what = {404: f"there is no path {path}", 405: f"{path} does not take {request.method}"}
    told = ApiError(error.status_code, what.get(error.status_code, str(error.detail)))
    return json_response(told.body(), told.status, error.headers)  # such as Allow


async def _our_fault(_: Request, error: Exception) -> Response:
    return ApiError(500, "the server failed; its log says why").response()
