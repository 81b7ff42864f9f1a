# SPDX-License-Identifier: Apache-2.0
"""How many objects one call should make, learnt: some backends make ten as fast as one, others one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Final

ROUND: Final = 4
"""Calls of one size that are looked at together."""

GAIN: Final = 0.25
"""Share of the time per object that twice as many objects a call must save to be kept: half of what they could."""

HOLD_MIN: Final = 2
HOLD_MAX: Final = 64
"""Rounds between two tries of a larger size, doubled by each try that brought nothing."""


class BatchSize:
    """The objects of one call: pure arithmetic on what it is told.

    It begins with one and doubles as long as that saves time for each object. A call that fails makes it one again,
    since such a call makes all or none.
    """

    def __init__(self) -> None:
        self._size = 1
        self._trying = False
        self._hold = 0
        self._hold_next = HOLD_MIN
        self._samples: list[float] = []
        self._costs: list[float] = []

    @property
    def size(self) -> int:
        """Objects that the next call should make, where as many are wanted."""
        return self._size

    def completed(self, objects: int, seconds: float, in_flight: int, *, maximum: int) -> None:
        """A call came back.

        :param objects: that it made; other numbers than :attr:`size` tell nothing.
        :param seconds: that it took.
        :param in_flight: calls in flight when it began, itself included: they had the backend's time together.
        :param maximum: objects that a call may have.
        """
        if objects != self._size:
            return
        self._samples.append(seconds / (objects * in_flight))
        if len(self._samples) >= ROUND:
            samples, self._samples = self._samples, []
            self._end_round(samples, maximum)

    def failed(self, objects: int) -> None:
        """A call failed, and with it all of its objects."""
        if objects > 1:
            self._size = 1
            self._samples.clear()
            self._costs.clear()
            self._trying = False
            self._wait()

    def _end_round(self, samples: Sequence[float], maximum: int) -> None:
        cost = median(samples)
        if self._costs and cost > self._costs[-1] * (1 - GAIN if self._trying else 1):
            self._costs.pop()
            self._size //= 2
            if self._trying:
                self._wait()
            self._trying = False
            return
        if self._trying:
            self._trying = False
            self._hold_next = HOLD_MIN
        if self._hold > 0:
            self._hold -= 1
        elif self._size * 2 <= maximum:
            self._costs.append(cost)
            self._size *= 2
            self._trying = True

    def _wait(self) -> None:
        self._hold, self._hold_next = self._hold_next, min(HOLD_MAX, 2 * self._hold_next)
