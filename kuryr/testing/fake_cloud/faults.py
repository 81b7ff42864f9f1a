# SPDX-License-Identifier: Apache-2.0
"""Latency, capacity and faults, by operation."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Literal

import msgspec

Latency = float | Callable[[], float]
"""Seconds, or what draws them from a distribution."""

Kind = Literal["status", "timeout", "drop_before", "drop_after"]

ALL = "*"


class Fault(msgspec.Struct):
    """What happens to the next ``times`` calls of an operation (-1: until it is taken back)."""

    kind: Kind
    times: int = 1
    status: int = 500
    body: Any = None
    headers: dict[str, str] = {}


class _Capacity(msgspec.Struct):
    slots: threading.Semaphore | None = None
    interval: float = 0.0
    next_free: float = 0.0


class Knobs:
    """How the fake cloud behaves. An operation is named ``create port``; ``*`` stands for all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latency: dict[str, Latency] = {}
        self._capacity: dict[str, _Capacity] = {}
        self._faults: dict[str, list[Fault]] = {}
        self._running = threading.Event()
        self._running.set()
        self._closing = threading.Event()

    def latency(self, operation: str, seconds: Latency) -> None:
        """Let each call of ``operation`` take so long; it takes effect at the end of that time."""
        with self._lock:
            self._latency[operation] = seconds

    def capacity(
        self, operation: str, *, per_second: float | None = None, in_flight: int | None = None
    ) -> None:
        """Bound what ``operation`` gets done: objects a second (calls wait in line), calls worked on at once."""
        with self._lock:
            self._capacity[operation] = _Capacity(
                slots=threading.Semaphore(in_flight) if in_flight else None,
                interval=1 / per_second if per_second else 0.0,
            )

    def fail(
        self,
        operation: str,
        times: int = 1,
        *,
        status: int | None = None,
        kind: Kind | None = None,
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Let the next ``times`` calls of ``operation`` fail (-1: all, until :meth:`heal`).

        :param status: answer with this status and ``body``, without doing anything.
        :param kind: else ``timeout`` (no answer, nothing done), ``drop_before`` (connection cut, nothing done) or
            ``drop_after`` (carried out, then the connection cut).
        """
        fault = Fault(
            kind=kind or "status", times=times, status=status or 500, body=body, headers=headers or {}
        )
        with self._lock:
            self._faults.setdefault(operation, []).append(fault)

    def heal(self, operation: str | None = None) -> None:
        """Take back the faults of one operation, or all."""
        with self._lock:
            if operation is None:
                self._faults.clear()
            else:
                self._faults.pop(operation, None)

    def pause(self) -> None:
        """Answer no call until :meth:`resume`."""
        self._running.clear()

    def resume(self) -> None:
        """Go on after :meth:`pause`."""
        self._running.set()

    def close(self) -> None:
        """Let everything that waits go."""
        self._closing.set()
        self._running.set()

    def next_fault(self, operation: str) -> Fault | None:
        """The fault for a call of ``operation`` now, counted down."""
        with self._lock:
            for name in (operation, ALL):
                faults = self._faults.get(name)
                if not faults:
                    continue
                fault = faults[0]
                if fault.times > 0:
                    fault.times -= 1
                    if fault.times == 0:
                        faults.pop(0)
                return fault
        return None

    def hang(self) -> None:
        """Wait until the fake cloud closes, as a call does that is never answered."""
        self._closing.wait()

    def work(self, operation: str, objects: int) -> None:
        """Take the time that a call on so many objects takes."""
        self._running.wait()
        with self._lock:
            latency = self._latency.get(operation, self._latency.get(ALL, 0.0))
            capacity = self._capacity.get(operation) or self._capacity.get(ALL)
        if capacity is not None and capacity.slots is not None:
            with capacity.slots:
                self._wait(latency, capacity, objects)
        else:
            self._wait(latency, capacity, objects)

    def _wait(self, latency: Latency, capacity: _Capacity | None, objects: int) -> None:
        now = time.monotonic()
        until = now + (latency() if callable(latency) else latency)
        if capacity is not None and capacity.interval:
            with self._lock:
                capacity.next_free = max(now, capacity.next_free) + capacity.interval * objects
                until = max(until, capacity.next_free)
        if until > now:
            self._closing.wait(until - now)
