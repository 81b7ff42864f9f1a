# SPDX-License-Identifier: Apache-2.0
"""What the fake cloud was asked, for tests that count calls."""

from __future__ import annotations

import threading
from collections import Counter, deque
from typing import Any

import msgspec

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
HTTP_REFUSED = 400


class Call(msgspec.Struct, frozen=True):
    """One call. ``status`` 0 where the connection was cut; ``began`` in monotonic seconds."""

    operation: str
    method: str
    path: str
    query: dict[str, list[str]]
    body: Any
    status: int
    user: str
    project_id: str
    began: float
    seconds: float


class Journal:
    """The last calls, and counters of all since :meth:`clear`. Thread-safe."""

    def __init__(self, keep: int = 20_000) -> None:
        self._lock = threading.Lock()
        self._calls: deque[Call] = deque(maxlen=keep)
        self._counts: Counter[str] = Counter()
        self._writes = 0

    def add(self, call: Call) -> None:
        """Write a call down."""
        with self._lock:
            self._calls.append(call)
            self._counts[call.operation] += 1
            self._writes += (
                call.method in WRITES and call.operation != "authenticate" and call.status < HTTP_REFUSED
            )

    def calls(self, operation: str | None = None) -> list[Call]:
        """Calls in the order of their answers; of one operation where it is named."""
        with self._lock:
            return [call for call in self._calls if operation in (None, call.operation)]

    @property
    def counts(self) -> dict[str, int]:
        """Number of calls by operation."""
        with self._lock:
            return dict(self._counts)

    @property
    def writes(self) -> int:
        """Number of calls that changed something (tokens aside), those without an answer included."""
        with self._lock:
            return self._writes

    def clear(self) -> None:
        """Forget all calls."""
        with self._lock:
            self._calls.clear()
            self._counts.clear()
            self._writes = 0
