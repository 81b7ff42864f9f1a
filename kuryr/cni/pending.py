# SPDX-License-Identifier: Apache-2.0
"""ADDs under way, so that one which nobody wants any more plugs nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Addition:
    """An ADD under way for ``container``, a sandbox of ``pod``."""

    def __init__(self, container: str, pod: str, connected: Callable[[], bool]) -> None:
        self.container = container
        self.pod = pod
        self.reason = ""
        self._connected = connected

    def cancel(self, reason: str) -> None:
        """Let it end; the first reason counts."""
        self.reason = self.reason or reason

    def cancelled(self) -> bool:
        """Whether to end: it was cancelled, or the executable that asked was killed."""
        if not self.reason and not self._connected():
            self.reason = "the container runtime gave up"
        return bool(self.reason)


class Additions:
    """All ADDs under way. ``wake`` makes those that wait look whether they are cancelled."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._running: set[Addition] = set()

    @contextmanager
    def running(self, container: str, pod: str, connected: Callable[[], bool]) -> Iterator[Addition]:
        """Register an ADD for the block. A newer sandbox of the same pod ends the older one's."""
        addition = Addition(container, pod, connected)
        with self._lock:
            older = [other for other in self._running if other.pod == pod and other.container != container]
            for other in older:
                other.cancel(f"sandbox {container} of the same pod came")
            self._running.add(addition)
        if older:
            self._wake()
        try:
            yield addition
        finally:
            with self._lock:
                self._running.discard(addition)

    def cancel(self, reason: str, *, container: str | None = None) -> None:
        """End the ADDs of a container, or all."""
        with self._lock:
            found = [entry for entry in self._running if container in (None, entry.container)]
            for addition in found:
                addition.cancel(reason)
        if found:
            self._wake()
