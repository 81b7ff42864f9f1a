# SPDX-License-Identifier: Apache-2.0
"""Many pods at once on the development cloud, beside the quickest way to make as many ports by hand."""

from __future__ import annotations

from tests.bench import openstack, ports, stopwatch
from tests.bench.figures import Distribution, Figure
from tests.bench.pods import NODES, Namespace, namespace, pod
from tests.bench.settings import Bench

LIMIT = 1.5

_HOPELESS = 1.5
"""A way that took so many times as long as the quickest is not tried with more ports."""


def measure(bench: Bench) -> list[Figure]:
    """For each size: ports by hand in several ways, pods, and the best way by hand once more."""
    figures: list[Figure] = []
    neutron = openstack.neutron()
    ways = [*bench.amounts.in_flight, 0]
    for size in bench.amounts.bursts:
        hand, *others = ports.compare(neutron, size, ways, bench.say)
        ways = [way.in_flight for way in (hand, *others) if way.last <= _HOPELESS * hand.last]
        with namespace(bench.client()) as space:
            seconds, filled = _pods(space, size)
        (again,) = ports.compare(neutron, size, [hand.in_flight], bench.say)
        hand = min(hand, again, key=lambda way: way.last)
        own = Distribution.of(seconds)
        bench.say(f"{size} pods: {own.minimum:.2f} / {own.mean:.2f} / {own.maximum:.2f} s")
        figures += [
            Figure(name=f"burst of {size}: first Ready", value=own.minimum, unit="s", n=size),
            Figure(name=f"burst of {size}: mean Ready", value=own.mean, unit="s", n=size, samples=own),
            Figure(
                name=f"burst of {size}: last Ready",
                value=own.maximum,
                unit="s",
                n=size,
                remark=f"last KuryrPort filled after {max(filled):.2f} s",
            ),
            Figure(
                name=f"{size} ports by hand",
                value=hand.last,
                unit="s",
                n=size,
                remark=f"{hand.way}: first {hand.first:.2f} s, mean {hand.mean:.2f} s",
            ),
            Figure(
                name=f"burst of {size}: last / by hand",
                value=own.maximum / hand.last,
                unit="x",
                n=size,
                limit=LIMIT,
            ),
        ]
    return figures


def _pods(space: Namespace, size: int) -> tuple[list[float], list[float]]:
    """Seconds from the first pod's creation to each pod's being Ready, and to its KuryrPort's being filled."""
    names = space.create(*(pod(f"burst-{index}", node=NODES[index % len(NODES)]) for index in range(size)))
    space.watch.wait(names, stopwatch.READY, timeout=300)
    began = min(space.watch.at(name, stopwatch.CREATED) for name in names)
    ready = [space.watch.at(name, stopwatch.READY) - began for name in names]
    filled = [space.watch.at(name, stopwatch.FILLED) - began for name in names]
    space.delete(names, timeout=300)
    return ready, filled
