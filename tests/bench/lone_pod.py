# SPDX-License-Identifier: Apache-2.0
"""A lone pod from creation to Ready, beside a pod that needs no network of its own."""

from __future__ import annotations

import time
from itertools import pairwise

from tests.bench import stopwatch
from tests.bench.figures import Distribution, Figure, median
from tests.bench.pods import NODES, Namespace, namespace, pod
from tests.bench.settings import Bench

LIMIT = 0.6

_RELIST = 1.0
"""Seconds between two looks of the kubelet's at what runs, by which it finds that a container has started."""

_STAGES = (
    stopwatch.CREATED,
    stopwatch.SCHEDULED,
    stopwatch.KURYRPORT,
    stopwatch.FILLED,
    stopwatch.UP,
    stopwatch.READY,
)


def measure(bench: Bench) -> list[Figure]:
    """One pod at a time, of both kinds in turn, on both nodes in turn, at all phases of the kubelet's looks.

    A pod that is created when the last one's end was seen is as far from the next look as all others: all would take
    the same, up to a whole look more than needed.
    """
    number = bench.amounts.lone
    host: list[float] = []
    own: list[float] = []
    stages: dict[str, list[float]] = {stage: [] for stage in _STAGES[1:]}
    with namespace(bench.client()) as space:
        for index in range(number + 1):
            node = NODES[index % len(NODES)]
            names = []
            for kind, host_network in (("host", True), ("own", False)):
                time.sleep(_RELIST * index / number)
                names.append(_one(space, f"{kind}-{index}", node, host_network))
            if index == 0:
                continue  # the first pods of a node wait for what later ones find ready
            host.append(space.watch.between(names[0], stopwatch.CREATED, stopwatch.READY))
            own.append(space.watch.between(names[1], stopwatch.CREATED, stopwatch.READY))
            for before, stage in pairwise(_STAGES):
                stages[stage].append(space.watch.between(names[1], before, stage))
            if index % 5 == 0:
                bench.say(f"{index} of {number} pairs of pods")
    split = " + ".join(f"{Distribution.of(seconds).p50:.2f} {stage}" for stage, seconds in stages.items())
    return [
        median("lone pod, created to Ready", own, "s", remark=split),
        median("lone hostNetwork pod, created to Ready", host, "s"),
        Figure(
            name="lone pod beyond a hostNetwork pod",
            value=Distribution.of(own).p50 - Distribution.of(host).p50,
            unit="s",
            n=number,
            limit=LIMIT,
            remark="of medians",
        ),
    ]


def _one(space: Namespace, name: str, node: str, host_network: bool) -> str:
    space.create(pod(name, node=node, host_network=host_network))
    space.watch.wait([name], stopwatch.READY)
    if not host_network:
        space.watch.wait([name], stopwatch.UP)
    space.delete([name])
    return name
