# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy that cuts, hangs and refuses connections when told to."""

import contextlib
import socket
import threading
from typing import Self


class _Pair:
    """A connection to the proxy and the one that it made."""

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self.near, self.far = near, far
        self.flowing = threading.Event()
        self.pumps = 2

    def cut(self) -> None:
        self.flowing.set()
        for end in (self.near, self.far):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Proxy:
    """Listens on ``port`` of 127.0.0.1 and forwards to ``target`` of the same."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0
        self._lock = threading.Lock()
        self._pairs: list[_Pair] = []
        self._refusing = False
        self._hanging = False
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
        self.flow()
        self.drop()
        for thread in self._threads:
            thread.join(5)

    def drop(self) -> None:
        """Cut all connections that are open."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            pair.cut()

    def refuse(self, refusing: bool = True) -> None:
        """Cut new connections as soon as they are made, or stop doing so."""
        with self._lock:
            self._refusing = refusing

    def hang(self, *, new: bool = False) -> None:
        """Keep the connections that are open (``new``: those to come too), but forward nothing."""
        with self._lock:
            self._hanging = new
            for pair in self._pairs:
                pair.flowing.clear()

    def flow(self) -> None:
        """Forward again what came and what comes."""
        with self._lock:
            self._hanging = False
            for pair in self._pairs:
                pair.flowing.set()

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
            pair = _Pair(near, far)
            with self._lock:
                self._pairs.append(pair)
                if not self._hanging:
                    pair.flowing.set()
            self._spawn(self._pump, pair, near, far)
            self._spawn(self._pump, pair, far, near)

    def _pump(self, pair: "_Pair", source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                pair.flowing.wait()
                sink.sendall(data)
        pair.cut()
        with self._lock:
            pair.pumps -= 1
            if pair.pumps == 0:
                pair.near.close()
                pair.far.close()
                if pair in self._pairs:
                    self._pairs.remove(pair)
