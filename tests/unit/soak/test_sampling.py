# SPDX-License-Identifier: Apache-2.0
"""The line through the samples of memory."""

import pytest

from tests.bench.figures import MeasurementError
from tests.soak.sampling import Sample, trend


def samples(*megabytes: float) -> list[Sample]:
    """One every six minutes."""
    return [Sample(360.0 * index, value, 0, 0, 0) for index, value in enumerate(megabytes)]


def test_what_grows_steadily() -> None:
    found = trend(samples(100, 101, 102, 103))
    assert found.slope == pytest.approx(10)
    assert found.error == pytest.approx(0, abs=1e-6)


def test_what_goes_up_and_down_is_flat() -> None:
    found = trend(samples(100, 102, 100, 102, 100))
    assert found.slope == pytest.approx(0)
    assert found.error > 1


def test_two_samples_are_no_line() -> None:
    with pytest.raises(MeasurementError, match="2 samples"):
        trend(samples(100, 101))
