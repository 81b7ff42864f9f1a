# SPDX-License-Identifier: Apache-2.0
"""Bursts with pools as they fill by themselves; then ADD and bursts with a warm pool: as many ports as are going to be
wanted are ready, and wired, on every node.

The development cloud's controller is started with ``vif_pool_driver = neutron`` for the time of the measurement, and
as it was afterwards; the pool's ports are deleted before.
"""

from __future__ import annotations

import configparser
import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from devcloud import kuryr, paths
from devcloud.kubernetes.cluster import NODES as CLUSTER_NODES
from devcloud.neutron import Neutron
from devcloud.openstack import facts
from kuryr.cmd import pools
from kuryr.cni import stages
from tests.bench import burst, cni, metrics, openstack, ports, stopwatch
from tests.bench.figures import Distribution, Figure, MeasurementError, median, tail
from tests.bench.pods import NODES, Namespace, namespace, pod
from tests.bench.settings import Bench

LIMIT_ADD = 80.0
LIMIT_BURST = 1.2

_SOCKET = str(paths.RUN / "kuryr-pools.sock")
_WARM_TIMEOUT = 300.0
_ONE_AT_A_TIME = 10
"""Ports of each node while one pod at a time is made."""
_CALM = 25.0
"""Seconds: more than the default of [vif_pool] ports_pool_update_frequency."""
_FEW = 4
"""Ports that all pools together may lose in that time."""

_OPTIONS = {
    # Ports that an earlier run left rest as long as an audit's grace before they are used, or deleted.
    "kubernetes": {"vif_pool_driver": "neutron", "enable_manager": "true", "audit_grace": "10"},
    "pool_manager": {"sock_file": _SOCKET},
}


def measure(bench: Bench) -> list[Figure]:
    """Bursts; ADDs one at a time; bursts and ones of hostNetwork pods, alternating."""
    with _pooled(bench) as space:
        figures = _by_themselves(bench, space)
    # Begun anew: what the largest burst left in the pools would be on the nodes' bridges in each of these.
    with _pooled(bench) as space:
        return [*figures, *_adds(bench, space), *_warm_bursts(bench, space)]


@contextmanager
def _pooled(bench: Bench) -> Iterator[Namespace]:
    """A namespace beside a controller with pools, which knows from a first pod what ports are wanted."""
    with _pools(), namespace(bench.client()) as space:
        space.create(pod("first", node=NODES[0]))
        space.watch.wait(["first"], stopwatch.READY)
        space.delete(["first"])
        yield space


def _by_themselves(bench: Bench, space: Namespace) -> list[Figure]:
    """Nobody tells the pools what is coming: they have their least, then what the burst before them wanted."""
    neutron = openstack.neutron()
    figures = []
    for size in bench.amounts.bursts:
        _settle(space)
        hand, *_ = ports.compare(neutron, size, bench.amounts.in_flight, bench.say)
        before = metrics.pool_events()
        pods = space.burst(f"pooled-{size}", size)
        hits = metrics.pool_events()["hits"] - before["hits"]
        bench.say(f"{size} pods: {pods.last:.2f} s, {hits} with ports of pools")
        figures += [
            Figure(
                name=f"burst of {size}, pools: last Ready",
                value=pods.last,
                unit="s",
                n=size,
                remark=f"{hits} of {size} with ports of pools, {pods.cpu / size:.2f} CPU s a pod",
            ),
            Figure(
                name=f"burst of {size}, pools: last / by hand",
                value=pods.last / hand.last,
                unit="x",
                n=size,
                limit=burst.LIMIT,
                remark=f"{size} ports by hand: {hand.last:.1f} s, {hand.way}",
            ),
        ]
    return figures


def _adds(bench: Bench, space: Namespace) -> list[Figure]:
    number = bench.amounts.cni
    # A port rests after each pod; as many as this are never all at rest.
    _warm(min(number, _ONE_AT_A_TIME), bench.say)
    calls = []
    for index in range(number + len(NODES)):
        node = CLUSTER_NODES[index % len(NODES)]
        add, _ = cni.pair(space, cni.Executable(node), node, f"warm-{index}")
        if index >= len(NODES):
            calls.append(add)
    split = {
        "the executable": [call.executable for call in calls],
        "the KuryrPort": [call.stages.get(stages.KURYRPORT, 0.0) for call in calls],
        "netlink": [call.stages.get(stages.NETLINK, 0.0) for call in calls],
        "OVS": [call.stages.get(stages.OVS, 0.0) for call in calls],
        "up": [call.stages.get(stages.UP, 0.0) for call in calls],
    }
    remark = " + ".join(f"{Distribution.of(values).p50:.1f} {name}" for name, values in split.items())
    samples = [call.milliseconds for call in calls]
    return [
        median("CNI ADD, warm pool", samples, "ms", limit=LIMIT_ADD, remark=remark),
        tail("CNI ADD, warm pool", samples, "ms"),
    ]


def _warm_bursts(bench: Bench, space: Namespace) -> list[Figure]:
    size = min(50, max(bench.amounts.bursts))
    own: list[float] = []
    host: list[float] = []
    hits = -metrics.pool_events()["hits"]
    for round_ in range(bench.amounts.pairs):
        _warm(size // len(NODES), bench.say)
        _settle(space)
        host.append(space.burst(f"host-{round_}", size, host_network=True).last)
        _settle(space)
        own.append(space.burst(f"own-{round_}", size).last)
        bench.say(f"{size} pods: {own[-1]:.2f} s, hostNetwork {host[-1]:.2f} s")
    hits += metrics.pool_events()["hits"]
    each = Distribution.of([mine / theirs for mine, theirs in zip(own, host, strict=True)])
    return [
        median(
            f"burst of {size}, warm pool: last Ready",
            own,
            "s",
            remark=f"{hits} of {size * len(own)} with ports of pools",
        ),
        median(f"burst of {size} hostNetwork pods: last Ready", host, "s"),
        Figure(
            name=f"burst of {size}, warm pool / hostNetwork",
            value=Distribution.of(own).p50 / Distribution.of(host).p50,
            unit="x",
            n=len(own),
            limit=LIMIT_BURST,
            remark=f"of medians; pair by pair {each.minimum:.2f} to {each.maximum:.2f}",
        ),
    ]


def _warm(number: int, say: Callable[[str], None]) -> None:
    """Wait until every node has so many ports that are ready and wired.

    :raises MeasurementError: where it does not get them.
    """
    for pool in _list():
        coming = pool["ready"] + pool["making"]
        if coming < number:
            pools.ask(_SOCKET, "POST", "/v1/populate", {"node": pool["node"], "number": number - coming})

    def wired() -> bool:
        found = {pool["node"]: pool["wired"] for pool in _list()}
        return all(found.get(node, 0) >= number for node in NODES)

    _until(wired, f"{number} wired ports on each node")
    say(f"{number} ports are wired on each node")


def _settle(space: Namespace) -> None:
    """Wait until no sandboxes are left, then until ports of the pools are neither made, nor rest, nor are deleted in
    numbers, for as long as _CALM.

    What one burst left to be made and removed would slow the next one down. A pool that is forgotten little by little
    loses one now and then; that disturbs nobody.
    """
    space.wait_swept()
    before, since = _total(), time.monotonic()

    def calm() -> bool:
        nonlocal before, since
        busy = any(pool["making"] or pool["resting"] for pool in _all())
        if busy or before - (now := _total()) > _FEW or now > before:
            before, since = _total(), time.monotonic()
        return time.monotonic() - since > _CALM

    _until(calm, "pools at rest")


def _total() -> int:
    return sum(pool["ready"] + pool["in_use"] for pool in _all())


def _list() -> list[dict[str, Any]]:
    """The pools of the subnets that pods have without asking for others: one for each node."""
    subnets = set(facts.read()["subnets"]["pods"].values())
    return [pool for pool in _all() if set(pool["shape"]["subnet_ids"]) == subnets]


def _all() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pools.ask(_SOCKET, "GET", "/v1/pools")
    return found


@contextmanager
def _pools() -> Iterator[None]:
    """Start the controller with pools; empty them and start it as before at the end."""
    file = kuryr.controller_configuration_file()
    before = file.read_text()
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(before)
    for group, options in _OPTIONS.items():
        if group not in parser:
            parser.add_section(group)
        parser[group].update(options)
    text = io.StringIO()
    parser.write(text)
    file.write_text(text.getvalue())
    try:
        kuryr.start_controller()
        _until(_answers, "a controller with pools")
        try:
            yield
        finally:
            pools.ask(_SOCKET, "POST", "/v1/free", {"node": ""})
            # The controller without pools deletes none that are left.
            neutron = Neutron()
            _until(lambda: _left(neutron) <= sum(pool["in_use"] for pool in _all()), "empty pools")
    finally:
        file.write_text(before)
        kuryr.start_controller()


def _left(neutron: Neutron) -> int:
    return len(neutron.ports(name="kuryr-pool-port", fields="id"))


def _answers() -> bool:
    try:
        _list()
    except (OSError, pools.Refused):
        return False
    return True


def _until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + _WARM_TIMEOUT
    while not condition():
        if time.monotonic() > end:
            raise MeasurementError(f"there were not {what} within {_WARM_TIMEOUT:.0f} s: {_list()}")
        time.sleep(0.5)
