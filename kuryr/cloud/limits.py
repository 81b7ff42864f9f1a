# SPDX-License-Identifier: Apache-2.0
"""How many calls may be in flight, learnt; and whose turn it is."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


class Limiter:
    """Runs blocking calls in few threads, a learnt number of each operation at a time, fair between shares."""

    def __init__(self, *, max_in_flight: int = 64, start: int = 8) -> None:
        self._max = max_in_flight
        self._start = start

    def submit(self, operation: str, share: str, fn: Callable[[], T]) -> Future[T]:
        """Queue ``fn``; the future may be cancelled while it is queued.

        :param operation: calls of one operation share a limit.
        :param share: shares take turns; the one with the fewest calls in flight goes first.
        """
        raise NotImplementedError

    def close(self, timeout: float = 0) -> int:
        """Take no more calls, cancel what is queued, wait for what is in flight; returns how many are abandoned."""
        raise NotImplementedError
