# SPDX-License-Identifier: Apache-2.0
"""Whether the daemon lives and can serve, over HTTP."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOG = logging.getLogger(__name__)

Probe = Callable[[], str]
"""What is wrong, for people; "" for nothing."""


class Failures:
    """Failures in a row that are the daemon's own; a success forgets them. After ``limit`` it counts as broken."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._count = 0
        self._last = ""

    def failed(self, message: str) -> None:
        """One more."""
        with self._lock:
            self._count += 1
            self._last = message

    def succeeded(self) -> None:
        """Begin anew."""
        with self._lock:
            self._count = 0

    def probe(self) -> str:
        """What is wrong."""
        with self._lock:
            if self._count < self._limit:
                return ""
            return f"{self._count} requests in a row failed, the last: {self._last}"


class HealthServer:
    """/livez and /readyz, and the original's /alive and /ready, in the background."""

    def __init__(self, address: str, port: int, alive: Probe, ready: Probe) -> None:
        probes = {"/livez": alive, "/alive": alive, "/readyz": ready, "/ready": ready}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                probe = probes.get(self.path.partition("?")[0])
                problem = probe() if probe is not None else f"expected one of {', '.join(probes)}"
                status = 404 if probe is None else 500 if problem else 200
                body = (problem or "ok").encode() + b"\n"
                self.send_response(status)
                self.send_header("Content-Type", "text/plain; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                LOG.debug(format, *args)

        class Server(ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in address else socket.AF_INET

            def server_bind(self) -> None:
                if self.address_family == socket.AF_INET6:
                    self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                super().server_bind()

        self._server = Server((address, port), Handler)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        port: int = self._server.server_address[1]
        return port

    def start(self) -> None:
        """Answer."""
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
