# SPDX-License-Identifier: Apache-2.0
"""Locks by name."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class KeyedLocks:
    """One lock for each key in use."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, tuple[threading.Lock, int]] = {}

    @contextmanager
    def held(self, key: str) -> Iterator[None]:
        """Run the block as the only one for ``key``."""
        with self._guard:
            lock, users = self._locks.get(key, (threading.Lock(), 0))
            self._locks[key] = (lock, users + 1)
        try:
            with lock:
                yield
        finally:
            self._leave(key)

    @contextmanager
    def held_if_free(self, keys: Iterable[str]) -> Iterator[frozenset[str]]:
        """Run the block as the only one for those of ``keys`` that are free now, which it is told."""
        taken: dict[str, threading.Lock] = {}
        try:
            with self._guard:
                for key in keys:
                    if key not in self._locks:
                        taken[key] = threading.Lock()
                        taken[key].acquire()
                        self._locks[key] = (taken[key], 1)
            yield frozenset(taken)
        finally:
            for key, lock in taken.items():
                lock.release()
                self._leave(key)

    def _leave(self, key: str) -> None:
        with self._guard:
            lock, users = self._locks[key]
            if users == 1:
                del self._locks[key]
            else:
                self._locks[key] = (lock, users - 1)
