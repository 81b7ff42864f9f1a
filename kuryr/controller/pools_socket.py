# SPDX-License-Identifier: Apache-2.0
"""The socket of ``kuryr-pools``: HTTP over a Unix socket that only root can open, while this process holds the shard.

Ours::

    GET  /v1/pools                                      every pool: a list of objects, as PoolSize has it
    POST /v1/populate  {"node": "n", "number": 5}       {"asked": 5}
    POST /v1/free      {"node": "n"} or {} for all      {"removed": 3}

An error is ``{"error": "..."}`` with status 400 or 404. The original's clients are answered in plain text as ever:
``POST /populatePool {"trunks": [...], "num_ports": 5}``, ``POST /freePool {"trunks": [...]}``, ``GET /listPools``,
``GET /showPool {"pool_key": [trunk, project, [groups]]}``. A trunk is named by its node's name or address.
"""

from __future__ import annotations

import http.server
import logging
import os
import shutil
import socketserver
import tempfile
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec

from kuryr.drivers.base import VIFPoolDriver
from kuryr.drivers.types import PoolSize
from kuryr.errors import WaitFor
from kuryr.k8s.store import Store
from kuryr.objects.core import Node
from kuryr.serving import Answer

LOG = logging.getLogger(__name__)

MOST = 1000
"""VIFs that one request may ask for, for each pool."""


class BadRequest(Exception):
    """A request that cannot be understood or done; the text says why."""

    def __init__(self, text: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(text)
        self.status = status


class _Populate(msgspec.Struct):
    node: str
    number: int


class _Free(msgspec.Struct):
    node: str = ""


class _Trunks(msgspec.Struct):
    trunks: list[str] | str = []
    num_ports: int = 1


class _PoolKey(msgspec.Struct):
    pool_key: tuple[str, str, list[str]]


class PoolManager:
    """Answers requests; knows nothing of sockets."""

    def __init__(self, pool: VIFPoolDriver, nodes: Store[Node]) -> None:
        self._pool = pool
        self._nodes = nodes
        self._routes: dict[tuple[str, str], Callable[[bytes], Answer]] = {
            ("GET", "/v1/pools"): lambda body: _json(self._pool.pools()),
            ("POST", "/v1/populate"): self._populate,
            ("POST", "/v1/free"): self._free,
            ("POST", "/populatePool"): self._populate_trunks,
            ("POST", "/freePool"): self._free_trunks,
            ("GET", "/listPools"): lambda body: _text(map(_line, self._pool.pools()), "There are no pools."),
            ("GET", "/showPool"): self._show,
        }

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        """What a request gets."""
        route = self._routes.get((method, path))
        try:
            if route is None:
                raise BadRequest(f"there is no {method} {path}", HTTPStatus.NOT_FOUND)
            return route(body)
        except msgspec.MsgspecError as error:
            return _json({"error": f"{path}: {error}"}, HTTPStatus.BAD_REQUEST)
        except BadRequest as error:
            return _json({"error": str(error)}, error.status)
        except WaitFor as waiting:
            return _json({"error": f"try again: {waiting}"}, HTTPStatus.SERVICE_UNAVAILABLE)

    def _node(self, named: str) -> str:
        for node in self._nodes.values():
            if named == node.metadata.name or named in (a.address for a in node.status.addresses):
                return node.metadata.name
        raise BadRequest(f"there is no node {named!r}", HTTPStatus.NOT_FOUND)

    def _ask(self, node: str, number: int) -> int:
        if not 1 <= number <= MOST:
            raise BadRequest(f"number: expected 1 to {MOST}, not {number}")
        asked = self._pool.populate(self._node(node), number)
        if not asked:
            raise BadRequest(
                f"node {node} has no pool to populate: there is no vif_pool_driver, or no pod had a VIF yet"
            )
        return asked

    def _populate(self, body: bytes) -> Answer:
        wanted = msgspec.json.decode(body, type=_Populate)
        return _json({"asked": self._ask(wanted.node, wanted.number)})

    def _free(self, body: bytes) -> Answer:
        wanted = msgspec.json.decode(body or b"{}", type=_Free)
        node = self._node(wanted.node) if wanted.node else ""
        return _json({"removed": self._pool.free(node)})

    def _populate_trunks(self, body: bytes) -> Answer:
        wanted = msgspec.json.decode(body, type=_Trunks)
        trunks = _names(wanted)
        if not trunks:
            raise BadRequest("trunks: expected at least one")
        for trunk in trunks:
            self._node(trunk)
        return _text(
            f"{trunk}: {self._ask(trunk, wanted.num_ports)} ports are being made." for trunk in trunks
        )

    def _free_trunks(self, body: bytes) -> Answer:
        trunks = _names(msgspec.json.decode(body or b"{}", type=_Trunks))
        if not trunks:
            return _text([f"All pools: {self._pool.free()} ports are being removed."])
        nodes = {trunk: self._node(trunk) for trunk in trunks}
        return _text(
            f"{trunk}: {self._pool.free(node)} ports are being removed." for trunk, node in nodes.items()
        )

    def _show(self, body: bytes) -> Answer:
        trunk, project, groups = msgspec.json.decode(body, type=_PoolKey).pool_key
        node = self._node(trunk)
        found = [
            _line(size)
            for size in self._pool.pools()
            if size.node == node
            and size.shape.project_id == project
            and size.shape.security_groups == tuple(sorted(groups))
        ]
        return _text(found, f"There is no pool of {trunk}, project {project} and these security groups.")


class PoolsSocket:
    """Serves a :class:`PoolManager` on a path."""

    def __init__(self, path: Path, manager: PoolManager) -> None:
        self._path = path
        self._manager = manager
        self._server: socketserver.BaseServer | None = None
        self._inode = 0

    def start(self) -> None:
        """Listen; another process's socket of that path is replaced."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            directory = Path(tempfile.mkdtemp(prefix=".kuryr-", dir=self._path.parent))
        except OSError as error:
            LOG.error("[pool_manager] sock_file: cannot listen on %s: %s", self._path, error)
            return
        try:
            # Nobody else gets into the directory before the socket's own mode is set.
            socket_path = directory / "s"
            self._server = _server(str(socket_path), self._manager)
            os.chmod(socket_path, 0o600)
            self._inode = socket_path.stat().st_ino
            socket_path.replace(self._path)
        except OSError as error:
            LOG.error("[pool_manager] sock_file: cannot listen on %s: %s", self._path, error)
            return
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.5}, name="pools-socket", daemon=True
        ).start()

    def stop(self) -> None:
        """Listen no more."""
        if self._server is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self._server = None
        try:
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()
        except FileNotFoundError:
            return


def _server(path: str, manager: PoolManager) -> socketserver.BaseServer:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"
        timeout = 10

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            answer = manager.answer(self.command, self.path, self.rfile.read(length))
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = _answer  # noqa: N815

        def address_string(self) -> str:
            return "local"

        def log_message(self, format: str, *args: object) -> None:
            LOG.debug(format, *args)

    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True

    return Server(path, Handler)


def _json(value: Any, status: HTTPStatus = HTTPStatus.OK) -> Answer:
    return Answer(status, msgspec.json.encode(value) + b"\n", "application/json")


def _text(lines: Iterable[str], otherwise: str = "") -> Answer:
    found = list(lines) or [otherwise]
    return Answer(HTTPStatus.OK, "".join(f"{line}\n" for line in found).encode())


def _names(wanted: _Trunks) -> list[str]:
    return [wanted.trunks] if isinstance(wanted.trunks, str) else wanted.trunks


def _line(size: PoolSize) -> str:
    shape = size.shape
    return (
        f"{size.node} project {shape.project_id} subnets {','.join(shape.subnet_ids)} "
        f"security groups {','.join(shape.security_groups) or '-'}: {size.ready} ports"
    )
