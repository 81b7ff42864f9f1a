# SPDX-License-Identifier: Apache-2.0
"""What Kuryr asks of the two APIs while nothing happens."""

from __future__ import annotations

import time
from collections import Counter

from tests.bench import metrics
from tests.bench.controller import AUDIT, LEASES
from tests.bench.figures import Figure
from tests.bench.pods import namespace, running
from tests.bench.settings import Bench


def measure(bench: Bench) -> list[Figure]:
    """The calls of the controller and both daemons while pods run and nothing changes."""
    number, seconds = bench.amounts.standing, bench.amounts.idle_seconds
    with namespace(bench.client()) as space, running(space, number):
        before = metrics.read()
        bench.say(f"idle for {seconds:.0f} s")
        time.sleep(seconds)
        calls = metrics.read().since(before)
    listings = Counter({AUDIT: min(1, calls.cloud[AUDIT])})
    return [
        Figure(
            name="idle: Neutron calls but one audit",
            value=(calls.cloud - listings).total(),
            unit="calls",
            n=number,
            limit=0,
            remark=f"in {seconds:.0f} s: {metrics.told(calls.cloud)}",
        ),
        Figure(
            name="idle: Kubernetes calls but renewals",
            value=sum(count for name, count in calls.kubernetes.items() if not _renews(name)),
            unit="calls",
            n=number,
            limit=0,
            remark=f"in {seconds:.0f} s: {metrics.told(calls.kubernetes)}",
        ),
    ]


def _renews(operation: str) -> bool:
    return operation.startswith("watch ") or operation == f"patch {LEASES}"
