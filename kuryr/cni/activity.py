# SPDX-License-Identifier: Apache-2.0
"""Requests under way, so that work that can wait does."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Activity:
    """Counts what is being done for a container runtime that waits."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._running = 0
        self._ended = -math.inf

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
                self._ended = time.monotonic()
                if not self._running:
                    self._condition.notify_all()

    def wake(self) -> None:
        """Make all who wait look whether they are cancelled."""
        with self._condition:
            self._condition.notify_all()

    def wait_quiet(self, calm: float, most: float, cancelled: Callable[[], bool]) -> bool:
        """Wait until nothing has been under way for ``calm`` seconds, but no longer than ``most``; whether that is so.

        :param cancelled: looked at after :meth:`wake`.
        """
        end = time.monotonic() + most
        with self._condition:
            while (now := time.monotonic()) < end and not cancelled():
                if self._running:
                    self._condition.wait(end - now)
                elif now >= self._ended + calm:
                    return True
                else:
                    self._condition.wait(min(end, self._ended + calm) - now)
            return False
