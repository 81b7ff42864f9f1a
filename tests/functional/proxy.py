# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy that cuts, hangs and refuses connections when told to."""

import contextlib
import socket
import threading
from typing import Self


class Proxy:
    """Listens on ``port`` of 127.0.0.1 and forwards to ``target`` of the same."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._refusing = False
        self._flowing = threading.Event()
        self._flowing.set()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._spawn(self._accept)
        return self

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            self._refusing = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._flowing.set()
        self.drop()
        for thread in self._threads:
            thread.join(5)

    def drop(self) -> None:
        """Cut all connections that are open."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for end in (end for pair in pairs for end in pair):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def refuse(self, refusing: bool = True) -> None:
        """Cut new connections as soon as they are made, or stop doing so."""
        with self._lock:
            self._refusing = refusing

    def hang(self) -> None:
        """Keep all connections, those to come too, but forward nothing."""
        self._flowing.clear()

    def flow(self) -> None:
        """Forward again what came and what comes."""
        self._flowing.set()

    def _spawn(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            with self._lock:
                refusing = self._refusing
            try:
                far = None if refusing else socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                far = None
            if far is None:
                near.close()
                continue
            with self._lock:
                self._pairs.append((near, far))
            left = [2]
            self._spawn(self._pump, near, far, left)
            self._spawn(self._pump, far, near, left)

    def _pump(self, source: socket.socket, sink: socket.socket, left: list[int]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._flowing.wait()
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        with self._lock:
            left[0] -= 1
            last = left[0] == 0
        if last:
            source.close()
            sink.close()
