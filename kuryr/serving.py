# SPDX-License-Identifier: Apache-2.0
"""Health and metrics over HTTP, for both programs."""

from __future__ import annotations

import errno
import http.server
import logging
import socket
import socketserver
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

LOG = logging.getLogger(__name__)

RETRY_BIND = 2.0
"""Seconds between two tries to listen on a port that another worker (or an old process) still has."""


class Answer(msgspec.Struct, frozen=True):
    """What a path answers."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


Route = Callable[[], Answer]


def health(check: Callable[[], list[str]]) -> Route:
    """``ok``, or 500 with a line for each problem that ``check`` tells."""

    def answer() -> Answer:
        problems = check()
        if not problems:
            return Answer(HTTPStatus.OK, b"ok\n")
        return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, "".join(f"{line}\n" for line in problems).encode())

    return answer


def metrics(registry: CollectorRegistry) -> Route:
    """Prometheus' text format."""
    return lambda: Answer(HTTPStatus.OK, generate_latest(registry), CONTENT_TYPE_LATEST)


class HTTPService:
    """A few GET paths on one port. Listens as soon as the port is free."""

    def __init__(self, name: str, address: str, port: int, routes: Mapping[str, Route]) -> None:
        self._name = name
        self._address = address
        self._port = port
        self._routes = routes
        self._stopping = threading.Event()
        self._server: http.server.ThreadingHTTPServer | None = None

    def start(self) -> None:
        """Listen and serve in a thread of its own."""
        threading.Thread(target=self._run, name=self._name, daemon=True).start()

    def stop(self) -> None:
        """Listen no more."""
        self._stopping.set()
        if self._server is not None:
            self._server.shutdown()

    def _run(self) -> None:
        told = False
        while not self._stopping.is_set():
            try:
                self._server = _server(self._address, self._port, self._routes)
                break
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    LOG.error(
                        "%s: cannot listen on %s port %d: %s", self._name, self._address, self._port, error
                    )
                    return
                if not told:
                    LOG.warning("%s: port %d is in use; waiting for it.", self._name, self._port)
                    told = True
                self._stopping.wait(RETRY_BIND)
        if self._server is not None:
            with self._server:
                self._server.serve_forever(poll_interval=0.5)


def _server(address: str, port: int, routes: Mapping[str, Route]) -> http.server.ThreadingHTTPServer:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"
        timeout = 10

        def do_GET(self) -> None:
            route = routes.get(self.path.partition("?")[0])
            answer = route() if route is not None else Answer(HTTPStatus.NOT_FOUND, b"not found\n")
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:
            LOG.debug(format, *args)

    class Server(http.server.ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        daemon_threads = True

        def server_bind(self) -> None:
            if self.address_family == socket.AF_INET6:
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            # Not HTTPServer's, which looks the host's name up.
            socketserver.TCPServer.server_bind(self)
            self.server_name, self.server_port = address, port

    return Server((address, port), Handler)
