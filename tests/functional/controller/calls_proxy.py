# SPDX-License-Identifier: Apache-2.0
"""An HTTP proxy that tells of each call before it is forwarded and before it is answered."""

import http.client
import http.server
import re
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol, Self
from urllib.parse import urlsplit

ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
HOP_BY_HOP = {"connection", "content-length", "host", "keep-alive", "transfer-encoding"}


class Call(NamedTuple):
    """What was asked; ``path`` with its query."""

    method: str
    path: str

    @property
    def operation(self) -> str:
        """What is asked, whatever the ids: ``DELETE /network/v2.0/ports/<id>``."""
        return f"{self.method} {ID.sub('<id>', self.path.partition('?')[0])}"

    @property
    def watch(self) -> bool:
        return "watch=true" in self.path


class Observer(Protocol):
    """Whom a proxy tells. Where one says False the call is not forwarded, or not answered: its connection is cut."""

    def before(self, call: Call) -> bool: ...

    def after(self, call: Call) -> bool: ...


class CallsProxy:
    """A context manager that listens on ``url`` (plain HTTP) and forwards to ``upstream`` (http or https).

    :param token: bearer token of the forwarded calls, where they need one.
    """

    def __init__(
        self, upstream: str, observer: Observer, *, ca_file: Path | None = None, token: str = ""
    ) -> None:
        target = urlsplit(upstream)
        context = ssl.create_default_context(cafile=str(ca_file)) if target.scheme == "https" else None

        def connect() -> http.client.HTTPConnection:
            host, port = str(target.hostname), int(target.port or 0)
            if context is not None:
                return http.client.HTTPSConnection(host, port, context=context)
            return http.client.HTTPConnection(host, port)

        self._server = _Server(("127.0.0.1", 0), _handler(connect, observer, token))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """One end went away."""


def _handler(
    connect: Callable[[], http.client.HTTPConnection], observer: Observer, token: str
) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            call = Call(self.command, self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if not observer.before(call):
                self.close_connection = True
                return
            headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP_BY_HOP}
            if token:
                headers["Authorization"] = f"Bearer {token}"
            upstream = connect()
            try:
                upstream.request(self.command, self.path, body=body or None, headers=headers)
                response = upstream.getresponse()
                if call.watch and response.status == 200:
                    self.stream(response)
                    return
                answer = response.read()
                if not observer.after(call):
                    self.close_connection = True
                    return
                self.head(response)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
            finally:
                upstream.close()

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_any  # noqa: N815

        def head(self, response: http.client.HTTPResponse) -> None:
            self.send_response(response.status)
            for name, value in response.getheaders():
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value)

        def stream(self, response: http.client.HTTPResponse) -> None:
            self.head(response)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            while data := response.read1(65536):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.write(b"0\r\n\r\n")

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
