# SPDX-License-Identifier: Apache-2.0
"""A small HTTP/1.1 server: a thread for each connection, which lives as long as the client keeps it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from urllib.parse import parse_qs, unquote

import msgspec

MAX_HEADERS = 100


class Request(msgspec.Struct, frozen=True):
    """A request; names of ``headers`` are in lower case, ``query`` keeps repeated parameters."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes


class Response(msgspec.Struct):
    """An answer. With ``cut`` the connection is closed instead of answering."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = {}
    cut: bool = False


Handler = Callable[[Request], Response]

_PHRASES = {status.value: status.phrase for status in HTTPStatus}


class Server:
    """Serves ``handler`` on 127.0.0.1 (or ``host``) until :meth:`close`."""

    def __init__(
        self,
        handler: Handler,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._handler = handler
        self._tls = tls
        self._listener = socket.create_server((host, port), backlog=512)
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._closed = False
        self._thread = threading.Thread(target=self._accept, name="fake-cloud", daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, port = self._listener.getsockname()[:2]
        return str(host), int(port)

    def start(self) -> None:
        """Serve from now on."""
        self._thread.start()

    def close(self) -> None:
        """Stop serving and cut all connections."""
        with self._lock:
            self._closed = True
            connections = list(self._connections)
        with contextlib.suppress(OSError):
            # Wakes accept(), which close() alone does not.
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        if self._thread.is_alive():
            self._thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if self._closed:
                    connection.close()
                    return
                self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        connection = accepted
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection, connection.makefile("rb") as stream:
                while (request := _read(stream.readline, stream.read)) is not None:
                    response = self._handler(request)
                    if response.cut:
                        return
                    keep = request.headers.get("connection", "").lower() != "close"
                    connection.sendall(_render(response, request.method, keep))
                    if not keep:
                        return
        except OSError:
            # The client went away, or close() cut the connection.
            return
        finally:
            accepted.close()
            with self._lock:
                self._connections.discard(accepted)


def _read(readline: Callable[[], bytes], read: Callable[[int], bytes]) -> Request | None:
    """The next request of a connection; None at its end or where it is not HTTP."""
    parts = readline().split()
    if len(parts) != 3:
        return None
    headers: dict[str, str] = {}
    for _ in range(MAX_HEADERS):
        line = readline().strip()
        if not line:
            break
        name, _, value = line.partition(b":")
        headers[name.decode("latin-1").lower()] = value.strip().decode("latin-1")
    body = read(int(headers.get("content-length") or 0))
    path, _, query = parts[1].decode("latin-1").partition("?")
    return Request(
        method=parts[0].decode("latin-1"),
        path=unquote(path),
        query=parse_qs(query, keep_blank_values=True) if query else {},
        headers=headers,
        body=body,
    )


def _render(response: Response, method: str, keep: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {response.status} {_PHRASES.get(response.status, 'Unknown')}",
        f"Content-Length: {len(response.body)}",
        f"Connection: {'keep-alive' if keep else 'close'}",
    ]
    if response.body:
        lines.append("Content-Type: application/json")
    lines += [f"{name}: {value}" for name, value in response.headers.items()]
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    return head if method == "HEAD" else head + response.body
