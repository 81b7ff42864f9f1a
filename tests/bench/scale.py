# SPDX-License-Identifier: Apache-2.0
"""A thousand pods on a real API server and the fake cloud, beside a plain client of the same cloud.

There are no kubelets: measured is until every KuryrPort is filled.
"""

from __future__ import annotations

from kuryr.k8s.client import Client
from kuryr.objects.resources import NAMESPACES
from tests.bench import stopwatch
from tests.bench.figures import Figure
from tests.bench.pods import NODES, Namespace, pod
from tests.bench.ports import PlainNeutron
from tests.bench.settings import Bench
from tests.bench.stopwatch import Stopwatch
from tests.bench.testbed import make_testbed

LIMIT = 1.2
LATENCY = 0.3
IN_FLIGHT = 12
"""A port takes LATENCY seconds, and so many are made at once: 40 ports a second."""

_CALLERS = 16
_SPACE = "bench"


def measure(bench: Bench) -> list[Figure]:
    """By hand, by the controller, by hand."""
    number = bench.amounts.scale
    with make_testbed(f"--latency={LATENCY}", f"--in-flight={IN_FLIGHT}") as bed:
        neutron = PlainNeutron(bed.account(NODES))
        hand = neutron.make(number, _CALLERS, keep=True).last
        client = bed.api.client()
        with bed.controller() as controller:
            controller.wait_ready()
            last = _fill(client, number)
        client.close()
        hand = min(hand, neutron.make(number, _CALLERS, keep=True).last)
    rate = f"{LATENCY} s a port, {IN_FLIGHT} at once"
    return [
        Figure(
            name=f"{number} KuryrPorts filled, fake cloud",
            value=last,
            unit="s",
            n=number,
            remark=f"{number / last:.1f} a second",
        ),
        Figure(name=f"{number} ports by hand, fake cloud", value=hand, unit="s", n=number, remark=rate),
        Figure(name=f"{number} pods / by hand", value=last / hand, unit="x", n=number, limit=LIMIT),
    ]


def _fill(client: Client, number: int) -> float:
    """Seconds from the first pod's creation to the last KuryrPort's being filled."""
    client.create(NAMESPACES, "", {"metadata": {"name": _SPACE}})
    with Stopwatch(client, _SPACE) as watch:
        space = Namespace(client, _SPACE, watch)
        manifests = [pod(f"pod-{index}") for index in range(number)]
        for index, manifest in enumerate(manifests):
            manifest["spec"]["nodeName"] = NODES[index % len(NODES)]
        names = space.create(*manifests)
        watch.wait(names, stopwatch.FILLED, timeout=300)
        began = min(watch.at(name, stopwatch.CREATED) for name in names)
        return max(watch.at(name, stopwatch.FILLED) for name in names) - began
