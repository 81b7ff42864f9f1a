# SPDX-License-Identifier: Apache-2.0
"""What the two sides of a pool share while this process holds the shard: requests, and the thread that fills."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future

import msgspec

from kuryr.drivers.types import Allocation, Choice, DriverContext, Shape
from kuryr.drivers.vif_pool.planning import Limits, Planner
from kuryr.drivers.vif_pool.pool import Member, Pool, PoolKey
from kuryr.errors import CloudError, QuotaExceeded
from kuryr.k8s.conditions import find_condition
from kuryr.objects.kuryrport import UP, VIF_IDS, KuryrPort
from kuryr.objects.meta import Key
from kuryr.objects.resources import KURYRPORTS, NODES
from kuryr.objects.vif import VIF

PREFIX = "kuryr-pool."
"""Of the names of the KuryrPorts that show the pools of nodes."""

Remove = Callable[[str, str], Future[None]]
"""Starts to delete a port: id and project."""


class Stockroom:
    """The pools with everything around them. Methods need :attr:`lock` unless they say otherwise.

    :ivar groups: of VIFs in use where they are not those of their KuryrPort; None while they are being changed.
    :ivar existing: ids of all ports of pools that are known to exist, in use or not, each with the time when that was
        learnt.
    :ivar orders: subnets in the order in which requests have them, by their sorted ids.
    :ivar shapes_in_use: of the VIFs that pods had when all pools were last looked at.
    :ivar due: when to look at all pools, in monotonic seconds.
    """

    def __init__(
        self,
        context: DriverContext,
        remove: Remove,
        counters: Counter[str],
        serves: Callable[[str], bool],
    ) -> None:
        self.context = context
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.stopping = threading.Event()
        self.recovered: Future[None] = Future()
        self.pool = Pool()
        self.planner = Planner()
        self.counters = counters
        self.groups: dict[str, tuple[str, ...] | None] = {}
        self.existing: dict[str, float] = {}
        self.orders: dict[tuple[str, ...], tuple[str, ...]] = {}
        self.shapes_in_use: set[Shape] = set()
        self.due = 0.0
        self._remove = remove
        self._serves = serves
        self._changes: dict[str, Future[None]] = {}
        self._woken = False
        # Requests that the VIF driver has, by owner and interface.
        self._cold: dict[str, dict[str, Choice]] = {}

    # Requests that pools could not serve

    @property
    def cold(self) -> int:
        """How many there are."""
        return sum(map(len, self._cold.values()))

    def note_cold(self, uid: str, ifname: str, choice: Choice) -> None:
        """The VIF driver was asked for this."""
        self._cold.setdefault(uid, {})[ifname] = choice

    def cold_choice(self, uid: str, ifname: str) -> Choice | None:
        """What the VIF driver was asked for."""
        return self._cold.get(uid, {}).get(ifname)

    def forget_cold(self, uid: str, ifname: str | None = None) -> None:
        """It is through with one interface of that owner, or all."""
        if uid not in self._cold:
            return
        if ifname is not None:
            self._cold[uid].pop(ifname, None)
        if ifname is None or not self._cold[uid]:
            del self._cold[uid]
        # Calls that were left to it may be used for filling.
        self.wake()

    # Telling each other

    def wake(self) -> None:
        """There is something to do for the thread."""
        self._woken = True
        self.changed.notify_all()

    def wait(self, timeout: float) -> None:
        """Wait until there is."""
        if not self._woken and not self.stopping.is_set():
            self.changed.wait(timeout)
        self._woken = False

    def change(self, node: str) -> Future[None]:
        """Completes at the next change of what is ready on the node."""
        return self._changes.setdefault(node, Future())

    def tell(self, node: str) -> None:
        """What is ready on the node changed."""
        future = self._changes.pop(node, None)
        if future is not None:
            future.set_result(None)

    # What is known elsewhere; without the lock as well

    @property
    def limits(self) -> Limits:
        """As configured now."""
        conf = self.context.conf.vif_pool
        return Limits(conf.ports_pool_min, conf.ports_pool_max, conf.ports_pool_batch)

    @property
    def rest(self) -> float:
        """Seconds between a release and the next use."""
        return float(self.context.conf.vif_pool.address_rest)

    def has(self, node: str) -> bool:
        """Whether there is such a node, with pools."""
        return Key("", node) in self.context.stores[NODES] and self._serves(node)

    def nodes(self) -> list[str]:
        """Names of the nodes with pools."""
        nodes = [node.metadata.name for node in self.context.stores[NODES].values() if not node.deleting]
        return [node for node in nodes if self._serves(node)]

    def used(self, vif_id: str) -> bool:
        """Whether a KuryrPort says that it is in use."""
        return bool(self.context.stores[KURYRPORTS].by_index(VIF_IDS, vif_id))

    def usable(self, member: Member) -> bool:
        """Whether nobody has it."""
        return not self.used(member.id)

    def wired(self, member: Member) -> bool:
        """Whether the node says that it has plugged it in."""
        key = Key(self.context.conf.kubernetes.lease_namespace, PREFIX + member.key.node)
        shown: KuryrPort | None = self.context.stores[KURYRPORTS].get(key)
        entry = shown.status.vifs.get(member.vif.vif_name) if shown is not None else None
        condition = find_condition(entry.conditions, UP) if entry is not None else None
        return condition is not None and condition.status == "True"

    def count_in_use(self) -> Counter[PoolKey]:
        """How many VIFs pods have, by what they would be ready VIFs of."""
        found: Counter[PoolKey] = Counter()
        for kuryrport in self.context.stores[KURYRPORTS].values():
            if kuryrport.spec.owner_kind != "Pod":
                continue
            for entry in kuryrport.status.vifs.values():
                if entry.project_id and entry.subnet_ids and entry.security_groups is not None:
                    shape = shape_of(entry.project_id, entry.subnet_ids, entry.security_groups)
                    found[PoolKey(kuryrport.spec.pod_node_name, shape)] += 1
        return found

    # Deciding

    def shapes(self, now: float) -> set[Shape]:
        """Shapes in use: pods have them, or wanted them lately, or will with the default drivers."""
        shapes = self.planner.shapes(now) | self.shapes_in_use
        conf = self.context.conf
        chosen, defaults = conf.kubernetes, conf.neutron_defaults
        if defaults.pod_subnet and (
            chosen.pod_project_driver
            == chosen.pod_subnets_driver
            == chosen.pod_security_groups_driver
            == "default"
        ):
            self.orders.setdefault(tuple(sorted(defaults.pod_subnet)), tuple(defaults.pod_subnet))
            shapes.add(shape_of(defaults.project, defaults.pod_subnet, defaults.pod_security_groups))
        return shapes

    def keys(self, now: float) -> set[PoolKey]:
        """All pools that there should be."""
        shapes = self.shapes(now)
        return {PoolKey(node, shape) for node in self.nodes() for shape in shapes}

    def ready(self, key: PoolKey, now: float) -> list[Member]:
        """What of the key can be handed out."""
        return [
            member for member in self.pool.ready_of(key) if member.rests_until <= now and self.usable(member)
        ]

    def target(self, key: PoolKey, now: float, expected: int = 0) -> int:
        """How many there should be at least."""
        return self.planner.target(key, self.limits, now, expected)

    def order(self, key: PoolKey, now: float, expected: int = 0) -> None:
        """Order what the pool lacks."""
        if self.has(key.node):
            target = self.target(key, now, expected)
            self.planner.order(key, self.pool.size(key), target, self.limits)

    def add(self, member: Member) -> None:
        """A port is there for the first time."""
        self.existing.setdefault(member.id, member.since)
        self.pool.add(member)
        self.tell(member.key.node)

    def forget(self, port_id: str, now: float) -> None:
        """A port is about to be deleted."""
        self.pool.remove(port_id, now)
        self.groups.pop(port_id, None)
        self.existing.pop(port_id, None)

    def remove(self, port_id: str, project_id: str, now: float) -> None:
        """Delete a port in the background; where that fails, an audit finds it."""
        self.forget(port_id, now)
        self.counters["removed"] += 1
        self._remove(port_id, project_id)

    def remove_ready(self, members: Iterable[Member], now: float) -> int:
        """Delete these in the background; how many."""
        nodes = []
        for member in members:
            self.remove(member.id, member.key.shape.project_id, now)
            nodes.append(member.key.node)
        for node in set(nodes):
            self.tell(node)
        return len(nodes)

    def relieve(self, shape: Shape, error: CloudError, now: float) -> None:
        """A pod gets nothing because pools have taken what there was: give some of it up."""
        self.planner.fail(shape, error, now)
        members = [
            member
            for member in self.pool.ready()
            if (
                member.key.shape.project_id == shape.project_id
                if isinstance(error, QuotaExceeded)
                else set(member.key.shape.subnet_ids) & set(shape.subnet_ids)
            )
        ]
        members.sort(key=lambda member: member.since)
        self.remove_ready(members[: self.limits.batch], now)


def shape_of(project_id: str, subnet_ids: Iterable[str], groups: Iterable[str]) -> Shape:
    """The shape of a VIF."""
    return Shape(project_id, tuple(sorted(subnet_ids)), tuple(sorted(groups)))


def allocation_of(
    member: Member, subnet_ids: tuple[str, ...], reason: str, reported_by: str, *, up: bool = False
) -> Allocation:
    """A VIF of the pool, with its subnets in this order."""
    return Allocation(
        vif=_in_order(member, subnet_ids),
        project_id=member.key.shape.project_id,
        security_groups=member.key.shape.security_groups,
        subnet_ids=subnet_ids,
        reason=reason,
        reported_by=reported_by,
        pool=PREFIX + member.key.node,
        up=up,
    )


def _in_order(member: Member, subnet_ids: tuple[str, ...]) -> VIF:
    if subnet_ids == member.subnet_ids:
        return member.vif
    by_id = dict(zip(member.subnet_ids, member.vif.network.subnets, strict=True))
    subnets = tuple(by_id[subnet_id] for subnet_id in subnet_ids)
    network = msgspec.structs.replace(member.vif.network, subnets=subnets)
    return msgspec.structs.replace(member.vif, network=network)
