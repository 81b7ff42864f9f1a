# SPDX-License-Identifier: Apache-2.0
"""The keyed work queue: however many times a key is added, it waits once, and one worker at a time has it."""

from __future__ import annotations

import heapq
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

FIRST_DELAY = 0.05
LONGEST_DELAY = 60.0


class WorkQueue(Generic[K]):
    """Thread-safe, first come first served.

    A key is *ready* (waiting for a worker), *in work* (between ``get`` and ``done``), *delayed*, or several
    of these: added while it is in work, it is ready again at ``done``. It has no thread of its own: the
    workers that wait in ``get`` wait for the next delayed key as well.

    ``observe_latency(seconds)`` is called with the time from a key's being added (or due) to its being got.
    """

    def __init__(
        self,
        *,
        observe_latency: Callable[[float], None] | None = None,
        first_delay: float = FIRST_DELAY,
        longest_delay: float = LONGEST_DELAY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._observe_latency = observe_latency
        self._first_delay = first_delay
        self._longest_delay = longest_delay
        self._clock = clock
        self._changed = threading.Condition()
        self._ready: OrderedDict[K, float] = OrderedDict()  # key → since when
        self._in_work: set[K] = set()
        self._again: dict[K, float] = {}  # added while in work → since when
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []  # of _due, with entries that no longer hold
        self._order = 0
        self._failures: dict[K, int] = {}
        self._shut_down = False

    def add(self, key: K) -> None:
        """Have the key worked on: as soon as possible, or once more after the work that is going on."""
        with self._changed:
            self._add(key, self._clock())

    def add_after(self, key: K, seconds: float) -> None:
        """Add the key in ``seconds``; of several the earliest counts, and earlier work does not cancel it."""
        with self._changed:
            if self._shut_down:
                return
            if seconds <= 0:
                self._add(key, self._clock())
                return
            due = self._clock() + seconds
            if due >= self._due.get(key, float("inf")):
                return
            self._due[key] = due
            self._order += 1
            heapq.heappush(self._heap, (due, self._order, key))
            if self._heap[0][0] == due:
                self._changed.notify()

    def retry(self, key: K) -> float:
        """Add the key after its back-off, which doubles with each call until ``forget``; the seconds chosen.

        Full jitter: anything from 0 to the back-off. To be called before ``done``.
        """
        with self._changed:
            failures = self._failures.get(key, 0)
            self._failures[key] = failures + 1
        seconds = random.uniform(0, min(self._longest_delay, self._first_delay * 2.0 ** min(failures, 32)))
        self.add_after(key, seconds)
        return seconds

    def forget(self, key: K) -> None:
        """The key's work succeeded: its next back-off starts from the beginning."""
        with self._changed:
            self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        """How many times ``retry`` was called since ``forget``."""
        with self._changed:
            return self._failures.get(key, 0)

    def get(self, timeout: float | None = None) -> K | None:
        """Wait for a key, in work from then to ``done``; None after ``timeout`` seconds or ``shutdown``."""
        until = None if timeout is None else self._clock() + timeout
        with self._changed:
            while not self._shut_down:
                now = self._clock()
                self._promote(now)
                if self._ready:
                    key, since = self._ready.popitem(last=False)
                    self._in_work.add(key)
                    if self._ready or self._heap:
                        # Whoever waited for this key's time is busy now: another must take up the watch.
                        self._changed.notify()
                    break
                waits = [moment - now for moment in (until, self._next_due()) if moment is not None]
                if until is not None and until <= now:
                    return None
                self._changed.wait(max(0.0, min(waits)) if waits else None)
            else:
                return None
        if self._observe_latency is not None:
            self._observe_latency(now - since)
        return key

    def done(self, key: K) -> None:
        """The worker is through with the key, however it ended."""
        with self._changed:
            self._in_work.discard(key)
            since = self._again.pop(key, None)
            if since is not None and not self._shut_down:
                self._ready[key] = since
                self._changed.notify()

    def shutdown(self) -> None:
        """Give out no more keys and take no more; waiting workers return, those at work may finish."""
        with self._changed:
            self._shut_down = True
            self._ready.clear()
            self._again.clear()
            self._due.clear()
            self._heap.clear()
            self._changed.notify_all()

    def __len__(self) -> int:
        """How many keys are ready; those in work and delayed are not counted."""
        with self._changed:
            self._promote(self._clock())
            return len(self._ready)

    @property
    def in_work(self) -> int:
        """How many keys workers have at this moment."""
        with self._changed:
            return len(self._in_work)

    @property
    def delayed(self) -> int:
        """How many keys wait for their time."""
        with self._changed:
            return len(self._due)

    def oldest_age(self) -> float:
        """Seconds for which the first ready key has waited; 0 where none has."""
        with self._changed:
            now = self._clock()
            self._promote(now)
            return now - next(iter(self._ready.values())) if self._ready else 0.0

    def _add(self, key: K, since: float) -> None:
        if self._shut_down or key in self._ready:
            return
        if key in self._in_work:
            self._again.setdefault(key, since)
            return
        self._ready[key] = since
        self._changed.notify()

    def _next_due(self) -> float | None:
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _promote(self, now: float) -> None:
        """Make ready what is due."""
        while (due := self._next_due()) is not None and due <= now:
            key = heapq.heappop(self._heap)[2]
            del self._due[key]
            self._add(key, due)
