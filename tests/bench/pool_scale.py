# SPDX-License-Identifier: Apache-2.0
"""A thousand pods on a slow cloud whose pools are warm: each is to get a port that is there already.

On a real API server and the fake cloud. There are no kubelets: measured is until every KuryrPort is filled.
"""

from __future__ import annotations

from collections.abc import Sequence

from kuryr.cloud import identity
from kuryr.k8s.client import Client
from kuryr.objects.kuryrport import KuryrPort
from kuryr.objects.resources import KURYRPORTS, NAMESPACES, NODES
from tests.bench import metrics, stopwatch
from tests.bench.figures import Figure, MeasurementError, median, tail
from tests.bench.pods import Namespace, pod
from tests.bench.ports import PlainNeutron
from tests.bench.settings import Bench
from tests.bench.stopwatch import Stopwatch
from tests.bench.testbed import Controller, make_testbed
from tests.functional.kubernetes import wait_until

RATE = 5
"""Ports that the cloud makes a second."""

LATENCY = 0.3
PODS_A_NODE = 50
"""No more than a node is shown ready (:data:`kuryr.handlers.vif_pool.MOST_SHOWN`)."""

_SPACE = "bench"
_CREATE = "create port"


def measure(bench: Bench) -> list[Figure]:
    """Fill the pools, then create the pods."""
    number = bench.amounts.scale
    nodes = [f"node-{index:03d}" for index in range(-(-number // PODS_A_NODE))]
    sizes = {"ports_pool_min": PODS_A_NODE, "ports_pool_update_frequency": 5}
    with make_testbed(f"--latency={LATENCY}", f"--rate={RATE}") as bed:
        client = bed.api.client()
        for node in nodes:
            client.create(NODES, "", {"metadata": {"name": node}})
        options = {"kubernetes": {"vif_pool_driver": "neutron"}, "vif_pool": sizes}
        with bed.controller(options) as controller:
            controller.wait_ready()
            ports = len(nodes) * PODS_A_NODE
            bench.say(f"{ports} ports at {RATE} a second")
            wait_until(lambda: _ready(client) >= ports, f"{ports} ports are ready", 120 + 2 * ports / RATE)
            figures = _burst(client, controller, nodes, number)
        neutron = PlainNeutron(bed.account(nodes))
        client.close()
        made = [port for port in neutron.list(identity.POD) if ":pod:" in port["description"]]
    return [
        Figure(
            name=f"{number} pods, warm pools: ports made for a pod",
            value=len(made),
            unit="ports",
            n=number,
            limit=0,
            remark="as Neutron has them at the end",
        ),
        *figures,
    ]


def _burst(client: Client, controller: Controller, nodes: Sequence[str], number: int) -> list[Figure]:
    client.create(NAMESPACES, "", {"metadata": {"name": _SPACE}})
    before = controller.calls()
    with Stopwatch(client, _SPACE) as watch:
        manifests = [pod(f"pod-{index}") for index in range(number)]
        for index, manifest in enumerate(manifests):
            manifest["spec"]["nodeName"] = nodes[index % len(nodes)]
        names = Namespace(client, _SPACE, watch).create(*manifests)
        watch.wait(names, stopwatch.FILLED, timeout=60 + 2 * number / RATE)
        seconds = [watch.between(name, stopwatch.CREATED, stopwatch.FILLED) for name in names]
        began = min(watch.at(name, stopwatch.CREATED) for name in names)
        created = max(watch.at(name, stopwatch.CREATED) for name in names) - began
        last = max(watch.at(name, stopwatch.FILLED) for name in names) - began
    calls = controller.calls().since(before)
    waited = [port for port in client.list(KURYRPORTS, namespace=_SPACE).items if not _of_pool(port)]
    if len(seconds) != number:
        raise MeasurementError(f"{len(seconds)} of {number} pods were seen")
    return [
        Figure(
            name=f"{number} pods, warm pools: waited for Neutron",
            value=len(waited),
            unit="pods",
            n=number,
            limit=0,
            remark=f"{RATE} ports a second; {calls.cloud[_CREATE]} creations to fill the pools again went on beside",
        ),
        Figure(
            name=f"{number} pods, warm pools: last KuryrPort filled",
            value=last,
            unit="s",
            n=number,
            remark=f"pods created within {created:.1f} s; without pools {number / RATE:.0f} s at best; "
            f"{metrics.written(calls.kubernetes, without=('leases',)).total() / number:.1f} Kubernetes writes a pod",
        ),
        median(f"{number} pods, warm pools: created to filled", seconds, "s"),
        tail(f"{number} pods, warm pools: created to filled", seconds, "s"),
    ]


def _of_pool(port: KuryrPort) -> bool:
    return all(entry.pool for entry in port.status.vifs.values())


def _ready(client: Client) -> int:
    """Ports that nodes are shown as ready."""
    return sum(
        len(port.status.vifs)
        for port in client.list(KURYRPORTS, namespace="kube-system").items
        if port.spec.owner_kind == "Pool"
    )
