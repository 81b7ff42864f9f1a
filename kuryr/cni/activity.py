# SPDX-License-Identifier: Apache-2.0
"""Requests under way, so that work that can wait does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Activity:
    """Counts what is being done for a container runtime that waits."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._running = 0

    @contextmanager
    def working(self) -> Iterator[None]:
        """Count the block."""
        with self._condition:
            self._running += 1
        try:
            yield
        finally:
            with self._condition:
                self._running -= 1
                if not self._running:
                    self._condition.notify_all()

    def wait_idle(self, seconds: float) -> bool:
        """Wait until nothing is under way, or so long; whether nothing is."""
        with self._condition:
            return self._condition.wait_for(lambda: not self._running, seconds)
