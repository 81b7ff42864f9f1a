# SPDX-License-Identifier: Apache-2.0
"""``python -m tests.soak [--pods N] [--nodes N] [--minutes M] [--rate R] [--pool NAME] [--json FILE]``: see CONTRIBUTING.md.

Exit code 0 whatever the figures are; 1 when something could not be measured.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path

import msgspec

from devcloud import paths
from devcloud.shell import CommandError
from tests.bench import conditions, cpu, report
from tests.bench.conditions import Conditions
from tests.bench.figures import Measurement, MeasurementError
from tests.functional.kubernetes import MissingProgramError
from tests.soak import soak
from tests.soak.sampling import Sample
from tests.soak.soak import Outcome, Parameters


class Stored(msgspec.Struct, frozen=True):
    """What the JSON file holds."""

    conditions: Conditions
    parameters: Parameters
    measurement: Measurement
    samples: list[Sample]


def main() -> int:
    """Run the soak that the command line describes."""
    standard = Parameters()
    parser = argparse.ArgumentParser(prog="tools/soak.sh", description=__doc__.split("\n\n")[1])
    parser.add_argument("--pods", type=int, default=standard.pods)
    parser.add_argument("--nodes", type=int, default=standard.nodes)
    parser.add_argument("--minutes", type=float, default=standard.minutes, help="of replacing pods")
    parser.add_argument("--rate", type=float, default=standard.rate, help="pods replaced a second")
    parser.add_argument("--pool", default=standard.pool, help="vif_pool_driver")
    parser.add_argument(
        "--restarts", type=int, default=standard.restarts, help="of the controller, at the end"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to store the numbers")
    arguments = vars(parser.parse_args())
    if arguments["restarts"] < 1:
        parser.error("--restarts: 1 at least")
    file = arguments.pop("json")
    parameters = Parameters(**arguments)
    logging.basicConfig(level=logging.WARNING)
    found = conditions.read(quick=False)
    versions = found.versions | {"kwok": paths.KWOK_VERSION}
    found = msgspec.structs.replace(found, versions=versions, options={"vif_pool_driver": parameters.pool})
    before, began = cpu.snapshot(), time.monotonic()
    outcome, error = Outcome([], []), ""
    try:
        outcome = soak.run(parameters, lambda text: print(f"  {text}", file=sys.stderr, flush=True))
    except (MeasurementError, MissingProgramError, CommandError, TimeoutError) as cause:
        error = str(cause)
    measurement = Measurement(
        name="soak",
        seconds=round(time.monotonic() - began, 1),
        figures=outcome.figures,
        cpu=cpu.used(before, cpu.snapshot()),
        error=error,
    )
    file = file or report.RESULTS / f"soak-{found.date.replace(':', '')}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    stored = Stored(found, parameters, measurement, outcome.samples)
    file.write_bytes(msgspec.json.format(msgspec.json.encode(stored), indent=1) + b"\n")
    print(report.text([measurement]))
    print(f"\nOf {found.date}, commit {found.commit[:12]}, load {found.load:.1f}; the curve is in {file}")
    return 1 if error else 0


if __name__ == "__main__":
    sys.exit(main())
