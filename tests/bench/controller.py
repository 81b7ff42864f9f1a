# SPDX-License-Identifier: Apache-2.0
"""The controller: from a pod seen to its KuryrPort filled, and the calls that a pod costs."""

from __future__ import annotations

from collections import Counter

from devcloud.kubernetes.cluster import NODES
from tests.bench import metrics, openstack, stopwatch
from tests.bench.figures import Distribution, Figure, median
from tests.bench.pods import Namespace, namespace, pod, running
from tests.bench.settings import Bench

LEASES = "leases"
AUDIT = "list ports"


def measure(bench: Bench) -> list[Figure]:
    """One pod at a time beside one bare port creation at a time; then the calls of pods that run."""
    with namespace(bench.client()) as space:
        return [*_allocation(bench, space), *_calls(bench, space)]


def _allocation(bench: Bench, space: Namespace) -> list[Figure]:
    neutron = openstack.neutron()
    bare: list[float] = []
    filled: list[float] = []
    for index in range(bench.amounts.controller):
        bare.append(neutron.make(1, 1).last * 1000)
        name = f"allocation-{index}"
        # A pod without sandbox: nothing but the controller is at work.
        space.create(pod(name, node=NODES[index % len(NODES)].name, sandbox=False))
        space.watch.wait([name], stopwatch.FILLED)
        filled.append(space.watch.between(name, stopwatch.SCHEDULED, stopwatch.FILLED) * 1000)
        space.delete([name])
    own = Distribution.of(filled).p50 - Distribution.of(bare).p50
    return [
        median("pod seen to KuryrPort filled", filled, "ms"),
        median("bare port creation", bare, "ms"),
        Figure(name="controller's own part", value=own, unit="ms", n=len(filled), remark="of medians"),
    ]


def _calls(bench: Bench, space: Namespace) -> list[Figure]:
    number = bench.amounts.controller
    before = metrics.read()
    with running(space, number):
        created = metrics.read().since(before)
        middle = metrics.read()
    deleted = metrics.read().since(middle)
    # The audit's listing is no pod's.
    reads = Counter({name: count for name, count in created.cloud.items() if name != AUDIT})

    def per_pod(name: str, calls: int, limit: float | None, told: Counter[str]) -> Figure:
        return Figure(
            name=name,
            value=calls / number,
            unit="calls",
            n=number,
            limit=limit,
            remark=metrics.told(told),
        )

    return [
        per_pod("pod created: Neutron writes", metrics.writes(created.cloud), 1, created.cloud),
        per_pod("pod created: Neutron reads", metrics.reads(reads), 0, reads),
        per_pod(
            "pod created: Kubernetes writes",
            metrics.writes(created.kubernetes, without=LEASES),
            3,
            created.kubernetes,
        ),
        per_pod("pod deleted: Neutron writes", metrics.writes(deleted.cloud), None, deleted.cloud),
        per_pod(
            "pod deleted: Kubernetes writes",
            metrics.writes(deleted.kubernetes, without=LEASES),
            None,
            deleted.kubernetes,
        ),
    ]
