# SPDX-License-Identifier: Apache-2.0
"""What a measurement gives."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec


class MeasurementError(Exception):
    """A figure could not be taken; the message says what was missing."""


class Distribution(msgspec.Struct, frozen=True, kw_only=True):
    """Samples in short, in the figure's unit. Percentiles are samples themselves (nearest rank)."""

    n: int
    mean: float
    minimum: float
    p50: float
    p90: float
    p99: float
    maximum: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Distribution:
        """
        :raises MeasurementError: for no samples.
        """
        if not samples:
            raise MeasurementError("there are no samples")
        ordered = sorted(samples)

        def percentile(part: float) -> float:
            return ordered[max(0, math.ceil(part * len(ordered)) - 1)]

        return cls(
            n=len(ordered),
            mean=sum(ordered) / len(ordered),
            minimum=ordered[0],
            p50=percentile(0.5),
            p90=percentile(0.9),
            p99=percentile(0.99),
            maximum=ordered[-1],
        )


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table.

    :ivar name: what is measured, with the statistic where it is one: ``CNI ADD p50``.
    :ivar limit: the largest value that meets the target; None where there is no target.
    :ivar samples: what ``value`` was taken from, where it is a statistic.
    :ivar remark: what one needs to know to read it.
    """

    name: str
    value: float
    unit: str
    n: int
    limit: float | None = None
    samples: Distribution | None = None
    remark: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        return None if self.limit is None else self.value <= self.limit


def median(
    name: str,
    samples: Sequence[float],
    unit: str,
    *,
    limit: float | None = None,
    remark: str = "",
) -> Figure:
    """The figure of the samples' median."""
    found = Distribution.of(samples)
    return Figure(
        name=f"{name} p50", value=found.p50, unit=unit, n=found.n, limit=limit, samples=found, remark=remark
    )


def tail(name: str, samples: Sequence[float], unit: str) -> Figure:
    """The figure of the samples' 99th percentile."""
    found = Distribution.of(samples)
    return Figure(name=f"{name} p99", value=found.p99, unit=unit, n=found.n, samples=found)


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """What one module measured.

    :ivar cpu: seconds of CPU by program, while it was measured.
    :ivar error: why it could not be measured; empty where it could.
    """

    name: str
    seconds: float
    figures: list[Figure]
    cpu: dict[str, float] = {}
    error: str = ""
