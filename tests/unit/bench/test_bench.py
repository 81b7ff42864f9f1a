# SPDX-License-Identifier: Apache-2.0
"""What is pure of the bench: statistics, verdicts and counting."""

from collections import Counter

import pytest

from tests.bench import metrics, report
from tests.bench.cpu import Snapshot, used
from tests.bench.figures import Distribution, Figure, Measurement, MeasurementError, median
from tests.bench.metrics import Calls
from tests.bench.ports import Made


def test_percentiles_are_samples() -> None:
    found = Distribution.of([float(n) for n in range(100, 0, -1)])
    assert (found.n, found.minimum, found.p50, found.p90, found.p99, found.maximum) == (
        100,
        1,
        50,
        90,
        99,
        100,
    )
    assert found.mean == 50.5


def test_one_sample_is_every_percentile() -> None:
    found = Distribution.of([3.0])
    assert {found.minimum, found.p50, found.p99, found.maximum, found.mean} == {3.0}


def test_no_sample_is_no_figure() -> None:
    with pytest.raises(MeasurementError):
        median("nothing", [], "ms")


@pytest.mark.parametrize(
    ("limit", "met", "verdict"), [(None, None, ""), (2.0, True, "met"), (1.9, False, "MISSED")]
)
def test_a_figure_meets_its_target_up_to_the_limit(
    limit: float | None, met: bool | None, verdict: str
) -> None:
    figure = Figure(name="x", value=2.0, unit="s", n=1, limit=limit)
    assert figure.met is met
    assert report.row(figure)[3] == verdict


def test_what_could_not_be_measured_has_a_row() -> None:
    failed = Measurement(name="idle", seconds=1, figures=[], error="not up")
    assert report.rows([failed]) == [["idle", "-", "", "NOT MEASURED", "", "not up"]]


def test_calls_between_two_readings() -> None:
    before = Calls(Counter({"create port": 3, "list ports": 1}), Counter({"patch leases": 5}))
    after = Calls(
        Counter({"create port": 5, "list ports": 1}), Counter({"patch leases": 9, "create kuryrports": 2})
    )
    calls = after.since(before)
    assert calls.cloud == Counter({"create port": 2})
    assert metrics.writes(calls.kubernetes, without="leases") == 2
    assert metrics.writes(calls.cloud) == 2
    assert metrics.reads(calls.cloud) == 0


def test_keystone_is_not_counted_as_neutron() -> None:
    calls = Counter({"authenticate": 1, "get subnet": 2})
    assert metrics.writes(calls) == 0
    assert metrics.reads(calls) == 2


def test_processors_are_told_by_program() -> None:
    before = Snapshot({(1, 10): ("neutron", 5.0)}, busy=100, stolen=0)
    after = Snapshot({(1, 10): ("neutron", 6.0), (1, 11): ("neutron", 2.0), (9, 12): ("idle", 0.1)}, 105, 0.5)
    assert used(before, after) == {"neutron": 3.0, "ended": 1.9, "stolen": 0.5}


def test_ports_made_in_bulk_are_all_there_at_the_end() -> None:
    made = Made(0, [2.0, 2.0], 1.0)
    assert (made.first, made.mean, made.last, made.way) == (2.0, 2.0, 2.0, "one bulk call")
    assert Made(4, [1.0, 3.0], 1.0).way == "4 calls at a time"


@pytest.mark.skipif(not report.BASELINE.exists(), reason="no baseline was adopted yet")
def test_the_documentation_shows_the_baseline() -> None:
    assert report.documented() == report.markdown(report.read(report.BASELINE))
