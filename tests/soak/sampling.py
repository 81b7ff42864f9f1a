# SPDX-License-Identifier: Apache-2.0
"""A curve of memory over time, and where it leads."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import msgspec

from tests.bench.figures import MeasurementError


class Sample(msgspec.Struct, frozen=True):
    """Seconds since the beginning; MB of memory; pods, how many of these have no port yet; KuryrPorts of pods that go."""

    seconds: float
    megabytes: float
    pods: int
    waiting: int
    leaving: int


class Trend(msgspec.Struct, frozen=True):
    """Megabytes an hour by least squares, with the standard error of that."""

    slope: float
    error: float


def trend(samples: Sequence[Sample]) -> Trend:
    """The line through the samples.

    :raises MeasurementError: for fewer than three.
    """
    if len(samples) < 3:
        raise MeasurementError(f"{len(samples)} samples of memory make no line")
    hours = [sample.seconds / 3600 for sample in samples]
    values = [sample.megabytes for sample in samples]
    at, mean = sum(hours) / len(hours), sum(values) / len(values)
    spread = sum((hour - at) ** 2 for hour in hours)
    slope = sum((hour - at) * (value - mean) for hour, value in zip(hours, values, strict=True)) / spread
    rest = sum((value - mean - slope * (hour - at)) ** 2 for hour, value in zip(hours, values, strict=True))
    return Trend(slope, math.sqrt(rest / (len(samples) - 2) / spread))


class Sampler:
    """Samples while it is entered, every so many seconds."""

    def __init__(self, read: Callable[[float], Sample], every: float) -> None:
        """Sample nothing yet.

        :param read: takes a sample, given the seconds since the beginning.
        """
        self.samples: list[Sample] = []
        self._read = read
        self._every = every
        self._stopping = threading.Event()
        self._failure: Exception | None = None
        self._began = 0.0
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join(60)
        if self._failure is not None and error is None:
            raise MeasurementError(f"a sample could not be taken: {self._failure}") from self._failure

    def now(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    def _run(self) -> None:
        try:
            while True:
                self.samples.append(self._read(self.now()))
                if self._stopping.wait(self._every):
                    return
        except Exception as error:
            self._failure = error
