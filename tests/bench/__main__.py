# SPDX-License-Identifier: Apache-2.0
"""``python -m tests.bench [NAME …] [--quick] [--json FILE]``: measure, print a table, store the numbers.

``--adopt FILE`` measures nothing: it makes stored numbers the baseline, in docs/benchmarks.md too.
Exit code 0 whatever the figures are; 1 when one could not be taken.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from functools import cache
from pathlib import Path

from tests.bench import (
    burst,
    cni,
    conditions,
    controller,
    cpu,
    idle,
    lone_pod,
    memory,
    pods,
    pool,
    pool_scale,
    report,
    scale,
    take_over,
)
from tests.bench.figures import Figure, Measurement, MeasurementError
from tests.bench.report import RESULTS, Report
from tests.bench.settings import FULL, QUICK, Bench, Measure

MEASUREMENTS: dict[str, Measure] = {
    "cni": cni.measure,
    "controller": controller.measure,
    "lone-pod": lone_pod.measure,
    "burst": burst.measure,
    "pool": pool.measure,
    "memory": memory.measure,
    "idle": idle.measure,
    "scale": scale.measure,
    "pool-scale": pool_scale.measure,
    "take-over": take_over.measure,
}
"""In the order in which they are made."""


def main() -> int:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Kuryr's figures.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MEASUREMENTS)}; all if none")
    parser.add_argument("--quick", action="store_true", help="few samples, no pauses: only that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to store the numbers")
    parser.add_argument("--adopt", type=Path, metavar="FILE", help="make stored numbers the baseline")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in MEASUREMENTS]:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(MEASUREMENTS)}")
    if arguments.adopt:
        report.adopt(report.read(arguments.adopt))
        return 0
    logging.basicConfig(level=logging.WARNING)
    found = conditions.read(quick=arguments.quick)
    bench = Bench(QUICK if arguments.quick else FULL, cache(pods.client))
    names = arguments.names or list(MEASUREMENTS)
    file = arguments.json or RESULTS / f"{found.date.replace(':', '')}.json"
    measurements: list[Measurement] = []
    for name in names:
        measurements.append(take(name, MEASUREMENTS[name], bench))
        # A run that is cut off leaves what it has.
        report.write(Report(found, measurements), file)
    print(report.text(measurements))
    print(f"\nOf {found.date}, commit {found.commit[:12]}, load {found.load:.1f}; more in {file}")
    return 1 if any(measurement.error for measurement in measurements) else 0


def take(name: str, measure: Measure, bench: Bench) -> Measurement:
    """Make one measurement; one that cannot be made does not keep the others from being made."""
    bench.say(f"{name} …")
    before, began = cpu.snapshot(), time.monotonic()
    figures: list[Figure] = []
    error = ""
    try:
        figures = measure(bench)
    except MeasurementError as cause:
        error = str(cause)
    except Exception as cause:
        logging.getLogger(__name__).exception("%s could not be measured", name)
        error = f"{type(cause).__name__}: {cause}"
    seconds = time.monotonic() - began
    bench.say(f"{name}: {seconds:.0f} s")
    return Measurement(
        name=name,
        seconds=round(seconds, 1),
        figures=figures,
        cpu=cpu.used(before, cpu.snapshot()),
        error=error,
    )


if __name__ == "__main__":
    sys.exit(main())
