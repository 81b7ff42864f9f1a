# SPDX-License-Identifier: Apache-2.0
"""Many pods at once on the development cloud, beside the quickest way to make as many ports by hand.

Also beside as many ports that are plugged by hand, and as many hostNetwork pods: Neutron, OVN and containers share the
processors, so the time of both is what a burst costs without anything of Kuryr's.
"""

from __future__ import annotations

from tests.bench import openstack, plugged, ports
from tests.bench.figures import Distribution, Figure
from tests.bench.pods import namespace
from tests.bench.settings import Bench

LIMIT = 1.5

_HOPELESS = 1.5
"""A way that took so many times as long as the quickest is not tried with more ports."""


def measure(bench: Bench) -> list[Figure]:
    """For each size: ports by hand in several ways, pods with and without ports, and the best way by hand once more."""
    figures: list[Figure] = []
    neutron = openstack.neutron()
    ways = [*bench.amounts.in_flight, 0]
    for size in bench.amounts.bursts:
        hand, *others = ports.compare(neutron, size, ways, bench.say)
        ways = [way.in_flight for way in (hand, *others) if way.last <= _HOPELESS * hand.last]
        with namespace(bench.client()) as space:
            host = space.burst("host", size, host_network=True)
            pods = space.burst("burst", size)
        (again,) = ports.compare(neutron, size, [hand.in_flight], bench.say)
        plug = plugged.plug(neutron, size, hand.in_flight or max(bench.amounts.in_flight))
        hand = min(hand, again, key=lambda way: way.last)
        own = Distribution.of(pods.ready)
        bench.say(f"{size} pods: {own.minimum:.2f} / {own.mean:.2f} / {own.maximum:.2f} s")
        figures += [
            Figure(name=f"burst of {size}: first Ready", value=own.minimum, unit="s", n=size),
            Figure(name=f"burst of {size}: mean Ready", value=own.mean, unit="s", n=size, samples=own),
            Figure(
                name=f"burst of {size}: last Ready",
                value=own.maximum,
                unit="s",
                n=size,
                remark=f"last KuryrPort filled after {max(pods.filled):.2f} s, {pods.cpu / size:.2f} CPU s a pod",
            ),
            Figure(
                name=f"{size} ports by hand",
                value=hand.last,
                unit="s",
                n=size,
                remark=f"{hand.way}: first {hand.first:.2f} s, mean {hand.mean:.2f} s, {hand.cpu / size:.2f} CPU s a port",
            ),
            Figure(
                name=f"{size} ports by hand, plugged: last ACTIVE",
                value=plug.last,
                unit="s",
                n=size,
                remark=f"{plug.cpu / size:.2f} CPU s a port",
            ),
            Figure(
                name=f"{size} hostNetwork pods: last Ready",
                value=host.last,
                unit="s",
                n=size,
                remark=f"{host.cpu / size:.2f} CPU s a pod",
            ),
            Figure(
                name=f"burst of {size}: last / by hand",
                value=own.maximum / hand.last,
                unit="x",
                n=size,
                limit=LIMIT,
            ),
            Figure(
                name=f"burst of {size}: last / plugged by hand + hostNetwork",
                value=own.maximum / (plug.last + host.last),
                unit="x",
                n=size,
            ),
        ]
    return figures
