# SPDX-License-Identifier: Apache-2.0
"""The unix socket on which kuryr-daemon takes CNI requests; ``kuryr.cni.client`` describes the wire."""

from __future__ import annotations

import logging
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kuryr.cni.client import WIRE_VERSION
from kuryr.errors import ConfigurationError

LOG = logging.getLogger(__name__)

MAX_BLOCK = 4 << 20
READ_TIMEOUT = 10.0
_CREDENTIALS = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class Reply:
    """What the executable ends with."""

    code: int
    stdout: bytes = b""
    stderr: bytes = b""


Handler = Callable[[Mapping[str, str], bytes, Callable[[], bool]], Reply]
"""Takes the CNI_* variables, stdin, and a function that tells whether the executable still waits for the answer."""


class Server:
    """Takes requests on a unix socket that only root may use, each in a thread of its own.

    A thread a request rather than a pool: a DEL never waits behind ADDs that wait for their ports. The kubelet
    bounds how many sandboxes are made at a time.
    """

    def __init__(self, path: str, handle: Handler) -> None:
        self._path = Path(path)
        self._handle = handle
        self._socket: socket.socket | None = None
        self._requests: set[threading.Thread] = set()
        self._lock = threading.Lock()

    def start(self) -> None:
        """Listen.

        :raises ConfigurationError: when another daemon answers on the socket or it cannot be made.
        """
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._remove_stale()
        except OSError as error:
            raise ConfigurationError(f"[cni_daemon] socket_path {self._path}: {error}") from error
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # Made under a name of its own and renamed: nobody ever finds it with other rights, or not listening.
            temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
            temporary.unlink(missing_ok=True)
            listener.bind(str(temporary))
            temporary.chmod(0o600)
            listener.listen(128)
            temporary.rename(self._path)
        except OSError as error:
            listener.close()
            raise ConfigurationError(f"[cni_daemon] socket_path {self._path}: {error}") from error
        self._socket = listener
        threading.Thread(target=self._accept, args=(listener,), name="cni-accept", daemon=True).start()

    def _remove_stale(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(self._path))
            except (FileNotFoundError, ConnectionRefusedError):
                self._path.unlink(missing_ok=True)
                return
        raise ConfigurationError(f"[cni_daemon] socket_path {self._path}: another kuryr-daemon answers there")

    def close(self) -> None:
        """Take no more requests."""
        if self._socket is not None:
            listener, self._socket = self._socket, None
            self._path.unlink(missing_ok=True)
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def drain(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds for the requests under way; whether all are through."""
        with self._lock:
            requests = list(self._requests)
        deadline = time.monotonic() + timeout
        for thread in requests:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in requests)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), name="cni-request", daemon=True)
            with self._lock:
                self._requests.add(thread)
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                if peer_uid(connection) != 0:
                    LOG.warning(
                        "Refused a CNI request of user id %d: only root may ask", peer_uid(connection)
                    )
                    return
                connection.settimeout(READ_TIMEOUT)
                environment, netconf = read_request(connection)
                reply = self._handle(environment, netconf, lambda: connected(connection))
                connection.sendall(
                    bytes((WIRE_VERSION, reply.code)) + _block(reply.stdout) + _block(reply.stderr)
                )
        except (OSError, ValueError) as error:
            LOG.warning("A CNI request went away before its answer: %s", error)
        finally:
            with self._lock:
                self._requests.discard(threading.current_thread())


def peer_uid(connection: socket.socket) -> int:
    """User id of the process at the other end, as the kernel vouches for it."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    uid: int = _CREDENTIALS.unpack(raw)[1]
    return uid


def connected(connection: socket.socket) -> bool:
    """Whether the other end still has the connection open (it sends nothing after its request)."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return not poll.poll(0)


def read_request(connection: socket.socket) -> tuple[dict[str, str], bytes]:
    """Variables and stdin of a request.

    :raises ValueError: where the bytes are not a request of this version.
    """
    version = _receive(connection, 1)[0]
    if version != WIRE_VERSION:
        raise ValueError(f"request of version {version}, expected {WIRE_VERSION}")
    variables = _receive_block(connection)
    netconf = _receive_block(connection)
    pairs = (
        entry.decode(errors="surrogateescape").partition("=") for entry in variables.split(b"\0") if entry
    )
    return {name: value for name, _, value in pairs}, netconf


def _receive_block(connection: socket.socket) -> bytes:
    size = int.from_bytes(_receive(connection, 4), "big")
    if size > MAX_BLOCK:
        raise ValueError(f"block of {size} bytes, expected at most {MAX_BLOCK}")
    return _receive(connection, size)


def _receive(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = connection.recv(size - len(data))
        if not chunk:
            raise ValueError("the request ends early")
        data += chunk
    return bytes(data)


def _block(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data
