# SPDX-License-Identifier: Apache-2.0
"""An HTTP proxy that asks about each call before it is forwarded and before it is answered."""

import http.client
import http.server
import re
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import urlsplit

ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
HOP_BY_HOP = {"connection", "content-length", "host", "keep-alive", "transfer-encoding"}


IDLE = 30.0
"""Seconds after which a kept connection is made anew: the server may be about to close it."""


class Call(NamedTuple):
    """What was asked; ``path`` with its query."""

    method: str
    path: str
    body: bytes = b""

    @property
    def operation(self) -> str:
        """What is asked, whatever the ids: ``DELETE /network/v2.0/ports/<id>``."""
        return f"{self.method} {ID.sub('<id>', self.path.partition('?')[0])}"

    @property
    def watch(self) -> bool:
        return "watch=true" in self.path


class Answer(NamedTuple):
    """What the proxy answers in the place of the server."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}


class Observer:
    """Whom a proxy asks. True: as if there were no proxy; False: the connection is cut; else what is answered."""

    def before(self, call: Call) -> bool | Answer:
        """The call is about to be forwarded; it is not, unless True."""
        return True

    def after(self, call: Call, status: int) -> bool | Answer:
        """It was carried out, with that status, and is about to be answered. Not asked about watches that opened."""
        return True

    def passing(self, call: Call) -> bool:
        """Something is about to be told to a watch."""
        return True


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
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            self.upstream = connect()
            self.used = 0.0

        def finish(self) -> None:
            self.upstream.close()
            super().finish()

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            call = Call(self.command, self.path, body)
            verdict = observer.before(call)
            if verdict is not True:
                self.decline(verdict)
                return
            response = self.forward(body)
            if call.watch and response.status == http.HTTPStatus.OK:
                self.stream(call, response)
                return
            answer = response.read()
            verdict = observer.after(call, response.status)
            if verdict is not True:
                self.decline(verdict)
                return
            self.head(response)
            self.whole(answer)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_any  # noqa: N815

        def forward(self, body: bytes) -> http.client.HTTPResponse:
            headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP_BY_HOP}
            if token:
                headers["Authorization"] = f"Bearer {token}"
            now = time.monotonic()
            if now - self.used > IDLE:
                self.upstream.close()
            self.used = now
            self.upstream.request(self.command, self.path, body=body or None, headers=headers)
            return self.upstream.getresponse()

        def decline(self, verdict: bool | Answer) -> None:
            if not isinstance(verdict, Answer):
                self.close_connection = True
                return
            self.send_response(verdict.status)
            for name, value in {"Content-Type": "application/json", **verdict.headers}.items():
                self.send_header(name, value)
            self.whole(verdict.body)

        def head(self, response: http.client.HTTPResponse) -> None:
            self.send_response(response.status)
            for name, value in response.getheaders():
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value)

        def whole(self, body: bytes) -> None:
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def stream(self, call: Call, response: http.client.HTTPResponse) -> None:
            self.head(response)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            while data := response.read1(65536):
                if not observer.passing(call):
                    self.close_connection = True
                    return
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.write(b"0\r\n\r\n")

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
