# SPDX-License-Identifier: Apache-2.0
"""Pools of ready ports, whatever makes them: asked for VIFs, told of releases, filled in the background.

Requests only move VIFs between hands, under one lock. What a crash leaves is read again at start: the pool is the
cluster's ports marked as a pool's that no KuryrPort names.
"""

from __future__ import annotations

import abc
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from typing import ClassVar

import msgspec

from kuryr.cloud.calls import CallBook
from kuryr.cloud.networks import SubnetInfo
from kuryr.cloud.ports import Port
from kuryr.drivers.base import (
    Allocation,
    Choice,
    DriverContext,
    Owner,
    PodVIFDriver,
    Release,
    VIFPoolDriver,
    VIFRequest,
)
from kuryr.drivers.inventory import Snapshot
from kuryr.drivers.types import PoolSize, Shape, Stock
from kuryr.drivers.vif_pool.filling import Filler
from kuryr.drivers.vif_pool.making import SHARE, Wanted
from kuryr.drivers.vif_pool.pool import Holder, Member, PoolKey
from kuryr.drivers.vif_pool.stockroom import PREFIX, Stockroom, allocation_of, shape_of
from kuryr.errors import CloudNotFound, QuotaExceeded, Retry, SubnetFull, WaitFor
from kuryr.objects.kuryrport import BY_NODE
from kuryr.objects.resources import KURYRPORTS
from kuryr.objects.vif import VIF

UNSETTLED_REST = 60.0
"""Seconds for which a VIF rests that was handed out, but whose KuryrPort was never seen."""

COUNTERS = ("hits", "misses", "made", "failed", "removed")


class PortPool(VIFPoolDriver):
    """What all pools of ports share. A subclass says how a port is made and what VIF it is."""

    keeps_vifs: ClassVar[bool] = True

    reported_by: ClassVar[str] = BY_NODE
    """Who tells that a VIF is up: the node, or the controller (by the VIF driver's ``is_up``)."""

    def __init__(self, context: DriverContext, vif_driver: PodVIFDriver) -> None:
        super().__init__(context, vif_driver)
        self._counters: Counter[str] = Counter()
        self._renew()

    def _renew(self) -> None:
        self._room = Stockroom(self.context, self.remove_port, self._counters, lambda node: self.serves(node))
        self._filler = Filler(self._room, self)
        self._calls = CallBook()
        # Requests that demand was noted for, by owner and interface.
        self._asked: dict[str, set[str]] = {}

    @abc.abstractmethod
    def owns(self, port: Port) -> bool:
        """Whether a port that is marked as a pool's is one of this pool's."""

    @abc.abstractmethod
    def make(self, key: PoolKey, subnets: Sequence[SubnetInfo]) -> Future[Port]:
        """Start to make a port of the pool, for the key's node, with one address of each subnet."""

    def make_together(self, wanted: Wanted) -> Future[list[Port]] | None:
        """Start to make ports of one project, all or none, by one call; None where each needs a call of its own."""
        return None

    @abc.abstractmethod
    def vif_of(self, port: Port, subnets: Sequence[SubnetInfo]) -> VIF:
        """The VIF of a port. May ask the cloud, and block.

        :raises UnusablePort: where it cannot be used.
        """

    def node_of(self, port: Port, named: str) -> str:
        """The node that a port of the pool is for, which its identity has as ``named``: the one that it is bound to."""
        return port.host_id or named

    def remove_port(self, port_id: str, project_id: str) -> Future[None]:
        """Start to delete a port of the pool, with what was made with it; one that is gone is a success."""
        return self.context.ports.delete(port_id, SHARE, project_id=project_id or None)

    def start(self) -> None:
        """Recover what there is, then keep pools filled. What an earlier turn knew may be gone, or another's, by now."""
        self._renew()
        self._filler.start()

    def stop(self) -> None:
        """Make no more."""
        with self._room.changed:
            self._room.stopping.set()
            self._room.wake()

    # Requests

    def request_vif(self, request: VIFRequest, choice: Choice) -> Allocation:
        """A ready VIF where there is one, else as the VIF driver makes it."""
        if request.owner.kind != "Pod" or choice.mac_address or any(ip.address for ip in choice.fixed_ips):
            return self.vif_driver.request_vif(request, choice)
        self._recovered()
        owner, room = request.owner, self._room
        with room.lock:
            cold = room.cold_choice(owner.uid, request.ifname) == choice
        # One that an earlier holder of the shard made for this very pod goes before.
        if not cold and not self.context.inventory.knows(owner.uid, request.ifname):
            member = self._take(request, choice)
            if member is not None:
                reason = f"{choice.reason}, from the pool of {owner.node}"
                up = room.wired(member)
                return allocation_of(member, choice.subnet_ids, reason, self.reported_by, up=up)
        return self._request_cold(request, choice)

    def _take(self, request: VIFRequest, choice: Choice) -> Member | None:
        owner, room, now = request.owner, self._room, time.monotonic()
        holder = Holder(owner.uid, request.ifname)
        key = PoolKey(owner.node, shape_of(request.project_id, choice.subnet_ids, request.security_groups))
        with room.lock:
            held = room.pool.held(holder)
            if held is not None and not _differ_in_groups_only(held.key, key):
                self._give_back(holder, now)
            room.orders[key.shape.subnet_ids] = choice.subnet_ids
            asked = self._asked.setdefault(owner.uid, set())
            first = request.ifname not in asked
            asked.add(request.ifname)
            member = room.pool.take(holder, key, now, room.usable, room.wired) or room.pool.take_similar(
                holder, key, now, room.usable
            )
            if first:
                room.planner.note(key, now)
                room.counters["misses" if member is None else "hits"] += 1
            room.order(key, now)
            room.wake()
        if member is None or member.key == key:
            return member
        return self._with_groups(request, holder, member, key)

    def _with_groups(
        self, request: VIFRequest, holder: Holder, member: Member, key: PoolKey
    ) -> Member | None:
        """What the holder has, with the key's groups: one change costs less than a new port."""
        room = self._room
        try:
            self._change_groups(member.id, request)
        except CloudNotFound:
            with room.lock:
                room.forget(member.id, time.monotonic())
            return None
        with room.lock:
            room.groups.pop(member.id, None)
            return room.pool.rekey(holder, key)

    def _change_groups(self, port_id: str, request: VIFRequest) -> None:
        with self._room.lock:
            self._room.groups[port_id] = None
        call = (port_id, tuple(sorted(request.security_groups)))
        self._calls.run(
            call,
            lambda: self.context.ports.update(
                port_id,
                project_id=request.project_id or None,
                share=request.owner.share,
                security_groups=request.security_groups,
            ),
        )
        self._calls.forget(call)

    def _request_cold(self, request: VIFRequest, choice: Choice) -> Allocation:
        owner, room = request.owner, self._room
        with room.lock:
            room.note_cold(owner.uid, request.ifname, choice)
        try:
            return self.vif_driver.request_vif(request, choice)
        except Retry as error:
            with room.lock:
                # The next try may find something in the pool.
                room.forget_cold(owner.uid, request.ifname)
                if isinstance(error, SubnetFull | QuotaExceeded):
                    shape = shape_of(request.project_id, choice.subnet_ids, request.security_groups)
                    room.relieve(shape, error, time.monotonic())
            raise

    def settled(self, request: VIFRequest) -> None:
        """The request's VIF is written down."""
        owner, room = request.owner, self._room
        with room.lock:
            if room.pool.settle(Holder(owner.uid, request.ifname)) is not None:
                room.tell(owner.node)
            room.forget_cold(owner.uid, request.ifname)
            asked = self._asked.get(owner.uid, set())
            asked.discard(request.ifname)
            if not asked:
                self._asked.pop(owner.uid, None)
        self.vif_driver.settled(request)

    def abandon(self, owner: Owner) -> None:
        """What was handed out and not written down goes back, after a longer rest."""
        room = self._room
        with room.lock:
            for holder in room.pool.holders_of(owner.uid):
                self._give_back(holder, time.monotonic())
            room.forget_cold(owner.uid)
            self._asked.pop(owner.uid, None)
        self.vif_driver.abandon(owner)

    def _give_back(self, holder: Holder, now: float) -> None:
        room = self._room
        member = room.pool.held(holder)
        if member is None:
            return
        if member.id in room.groups:
            # They were being changed: nobody knows which it has.
            room.remove(member.id, member.key.shape.project_id, now)
        else:
            room.pool.give_back(holder, now, now + max(UNSETTLED_REST, room.rest))
        room.tell(member.key.node)
        room.wake()

    def release_vif(self, release: Release) -> None:
        """A VIF of the pool goes back to it, without a call; another is released as the VIF driver does."""
        if not release.pool:
            self.vif_driver.release_vif(release)
            return
        self._recovered()
        if not self._put_back(release):
            self.vif_driver.release_vif(release)

    def _put_back(self, release: Release) -> bool:
        room, now, node, vif_id = self._room, time.monotonic(), release.owner.node, release.vif.id
        with room.lock:
            if room.pool.is_ready(vif_id):
                return True
            groups = room.groups.pop(vif_id, release.security_groups)
            # It may have been removed already, in the name of the same KuryrPort.
            if vif_id in room.existing and groups is not None and release.subnet_ids:
                key = PoolKey(node, shape_of(release.project_id, release.subnet_ids, groups))
                most = room.limits.maximum
                if room.has(node) and not (most and room.pool.size(key) >= most):
                    member = Member(
                        vif=msgspec.structs.replace(release.vif, active=False),
                        key=key,
                        subnet_ids=release.subnet_ids,
                        since=now,
                        rests_until=now + room.rest,
                    )
                    room.pool.put_back(Holder(release.owner.uid, release.ifname), member)
                    room.wake()
                    return True
            room.forget(vif_id, now)
            return False

    def update_security_groups(self, allocation: Allocation, groups: Sequence[str], share: str) -> None:
        """As the VIF driver does."""
        room, vif_id = self._room, allocation.vif.id
        if not allocation.pool:
            self.vif_driver.update_security_groups(allocation, groups, share)
            return
        with room.lock:
            room.groups[vif_id] = None
        self.vif_driver.update_security_groups(allocation, groups, share)
        with room.lock:
            room.groups[vif_id] = tuple(groups)

    def is_up(self, allocation: Allocation) -> bool:
        """As the VIF driver does."""
        return self.vif_driver.is_up(allocation)

    def _recovered(self) -> None:
        self.context.inventory.ready()
        recovered = self._room.recovered
        if not recovered.done():
            raise WaitFor([recovered], "waiting for the pools to be recovered")

    # What others look at

    def stock(self, node: str) -> Stock:
        """What can be handed out on the node now."""
        room, now = self._room, time.monotonic()
        if not room.recovered.done():
            raise WaitFor([room.recovered], "waiting for the pools to be recovered")
        with room.lock:
            keys = {PoolKey(node, shape) for shape in room.shapes(now)}
            ready = [member for key in room.pool.keys_of(node) for member in room.ready(key, now)]
            lacking = [key for key in keys if room.pool.size(key) < room.target(key, now)]
            ready.sort(key=lambda member: member.since)
            return Stock(
                ready=tuple(
                    allocation_of(member, member.subnet_ids, PREFIX + node, self.reported_by)
                    for member in ready
                ),
                handed_out=room.pool.held_on(node),
                trouble=room.planner.trouble(lacking),
            )

    def change(self, node: str) -> Future[None]:
        """Completes at the next change of the node's stock."""
        with self._room.lock:
            return self._room.change(node)

    def eased(self, node: str) -> float:
        """Until the burst is over."""
        with self._room.lock:
            return self._room.planner.eased(time.monotonic())

    def node_changed(self, node: str) -> None:
        """Look at all pools: one is to be made or removed."""
        with self._room.lock:
            self._room.due = 0.0
            self._room.wake()

    def audit(self, snapshot: Snapshot) -> None:
        """Drop what is gone or was changed, take what nobody knows."""
        if self._room.recovered.done():
            self._filler.audit(snapshot)

    def lost(self, vif_id: str) -> None:
        """It is not taken back."""
        with self._room.lock:
            self._room.forget(vif_id, time.monotonic())

    def known_ports(self) -> Collection[str] | None:
        """Those that are ready, or handed out and not seen in a KuryrPort yet; None before they are recovered."""
        if not self._room.recovered.done():
            return None
        with self._room.lock:
            return self._room.pool.ids()

    def counters(self) -> Mapping[str, int]:
        """Since the process began."""
        return {name: self._counters[name] for name in COUNTERS}

    def pools(self) -> Sequence[PoolSize]:
        """Every pool, by node."""
        room, now = self._room, time.monotonic()
        if KURYRPORTS not in self.context.stores or not room.recovered.done():
            return []
        in_use = room.count_in_use()
        with room.lock:
            return [
                self._size(key, in_use[key], now) for key in sorted({*room.pool.all_keys(), *room.keys(now)})
            ]

    def _size(self, key: PoolKey, in_use: int, now: float) -> PoolSize:
        room = self._room
        ready, target, size = room.ready(key, now), room.target(key, now), room.pool.size(key)
        trouble = room.planner.trouble([key]) if size < target else None
        return PoolSize(
            node=key.node,
            shape=key.shape,
            ready=len(ready),
            wired=sum(map(room.wired, ready)),
            resting=size - len(ready),
            in_use=in_use,
            making=room.planner.making(key),
            target=target,
            trouble=str(trouble or ""),
        )

    def populate(self, node: str, number: int, shape: Shape | None = None) -> int:
        """Expect ``number`` requests beside those that what is there will serve."""
        self._recovered()
        room, now = self._room, time.monotonic()
        with room.lock:
            shapes = [shape] if shape is not None else sorted(room.shapes(now))
            for key in (PoolKey(node, shape) for shape in shapes):
                coming = room.pool.size(key) + room.planner.making(key)
                room.planner.expect(key, coming + number, now)
                room.order(key, now)
            room.wake()
        return number * len(shapes)

    def free(self, node: str = "") -> int:
        """Remove what is ready."""
        return self._empty(lambda key: node in ("", key.node))

    def drain(self, subnet_ids: Collection[str]) -> int:
        """Remove what is ready on these subnets."""
        return self._empty(lambda key: not set(subnet_ids).isdisjoint(key.shape.subnet_ids))

    def _empty(self, concerned: Callable[[PoolKey], bool]) -> int:
        room, now, removed = self._room, time.monotonic(), 0
        with room.lock:
            for key in filter(concerned, {*room.pool.all_keys(), *room.keys(now)}):
                room.planner.empty(key)
                removed += room.remove_ready(room.pool.ready_of(key), now)
        return removed


def _differ_in_groups_only(one: PoolKey, other: PoolKey) -> bool:
    return (one.node, one.shape.project_id, one.shape.subnet_ids) == (
        other.node,
        other.shape.project_id,
        other.shape.subnet_ids,
    )
