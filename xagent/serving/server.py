"""Running the application: the socket, signals, and an end that lets replies end."""

from __future__ import annotations

import asyncio
import errno
import math
import signal
import socket
from types import FrameType

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from xagent.errors import ConfigError
from xagent.serving.app import create_app
from xagent.serving.errors import ApiError, dump
from xagent.serving.service import Service

_LOOKS, _LOOK_SECONDS = 10, 0.02
"""So often the event loop still looks for connections and requests that came before the end."""
_GRACE_SECONDS = 5
"""What is neither a reply nor an error by then, such as a request that does not come to its end, is broken off."""


class HttpProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """uvicorn's protocol; also what is no HTTP is answered in OpenAI's shape."""

    def send_400_response(self, msg: str) -> None:
        """Refuse what can't be read, and close; inside of an answer only close."""
        if self.cycle is None or self.cycle.response_complete:
            body = dump(ApiError(400, "this is no HTTP request, or its head is larger than 64 KiB").body())
            head = f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
            self.transport.write(f"HTTP/1.1 400 Bad Request\r\n{head}{body}".encode("ascii"))
        self.transport.close()


class DrainingServer(uvicorn.Server):
    """uvicorn's server; from the signal on the service begins nothing new, and what had come before is answered."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the end."""
        self._service.draining = True
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what has come, and end when the replies have; those that take too long end with an error.

        uvicorn closes a connection on which nothing has begun, also one whose request is sent and not read yet.
        """
        self._service.draining = True
        for _ in range(_LOOKS):  # each is at least one turn of the loop: to accept a connection and read its request takes some
            await asyncio.sleep(_LOOK_SECONDS)
        end = asyncio.get_running_loop().call_later(self._service.settings.drain_seconds, self._service.give_up)
        await super().shutdown(sockets)
        end.cancel()


def open_socket(host: str, port: int) -> socket.socket:
    """Take the port, before a model is loaded for nothing.

    Raises:
        ConfigError: it is in use, or host or port can't be listened on.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        found = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(f"--host {host}: {error.strerror or error}") from error
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(2048)
    except OSError as error:
        found.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"port {port} of {host} is in use; choose another with --port (0 takes any that is free)"
            ) from error
        raise ConfigError(f"can't listen on {host}, port {port}: {error.strerror or error}") from error
    return found


def make_server(service: Service) -> DrainingServer:
    """Give uvicorn's server for the service, not yet running."""
    config = uvicorn.Config(
        create_app(service),
        http=HttpProtocol,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=math.ceil(service.settings.drain_seconds) + _GRACE_SECONDS,
        lifespan="off",
    )
    return DrainingServer(config, service)


def serve(service: Service, listening: socket.socket) -> None:
    """Answer requests until SIGTERM or SIGINT; what is in the making is ended first.

    Raises:
        KeyboardInterrupt: it was SIGINT.
    """
    server = make_server(service)
    # Also before and behind uvicorn's own handlers: it raises the signal again when all has ended, and SIGTERM is no fault then.
    before = signal.signal(signal.SIGTERM, server.handle_exit)
    try:
        server.run(sockets=[listening])
    finally:
        signal.signal(signal.SIGTERM, before)
