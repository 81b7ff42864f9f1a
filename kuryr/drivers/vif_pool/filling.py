# SPDX-License-Identifier: Apache-2.0
"""The thread behind the pools: recovers them at start, makes and removes ports, takes audits in."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterable
from concurrent.futures import CancelledError, wait
from typing import Protocol

import msgspec

from kuryr.cloud.ports import Port
from kuryr.drivers.inventory import Snapshot
from kuryr.drivers.pod_vif.translate import UnusablePort
from kuryr.drivers.vif_pool.making import SHARE, Making, PortMaker
from kuryr.drivers.vif_pool.pool import Member, PoolKey
from kuryr.drivers.vif_pool.stockroom import Stockroom, shape_of
from kuryr.errors import CloudNotFound, Retry, WaitFor
from kuryr.objects.kuryrport import KuryrPort, used_vif_ids
from kuryr.objects.resources import KURYRPORTS, PODS
from kuryr.objects.vif import stored_id

LOG = logging.getLogger(__name__)

KIND = "pool"
"""In the identity of ports: ``kuryr:<cluster>:pool:<node>``."""

RETRY = 2.0
"""Seconds between two tries to recover."""


class Maker(PortMaker, Protocol):
    """How ports of pools are made, and known again."""

    def owns(self, port: Port) -> bool:
        """Whether a port that is marked as a pool's is one of this pool's."""

    def node_of(self, port: Port, named: str) -> str:
        """The node that a port is for, which its identity has as ``named``."""


class Filler:
    """Keeps one stockroom filled, from :meth:`start` until the stockroom's ``stopping`` is set."""

    def __init__(self, room: Stockroom, maker: Maker) -> None:
        self._room = room
        self._maker = maker
        self._context = room.context
        self._making = Making(room, maker)
        # Ports that the last audit found in no pool: some were only being made.
        self._unknown: set[str] = set()

    def start(self) -> None:
        """Begin, in a thread of its own."""
        threading.Thread(target=self._run, name="vif-pool", daemon=True).start()

    def _run(self) -> None:
        room = self._room
        while not room.stopping.is_set() and not self._recover():
            pass
        while not room.stopping.is_set():
            try:
                self._step()
            except Exception:
                LOG.exception("Filling the pools failed in a way that is a bug.")
                room.stopping.wait(RETRY)
            with room.changed:
                room.wait(max(0.0, self._next() - time.monotonic()))

    def _next(self) -> float:
        now = time.monotonic()
        moments = [self._room.due, self._room.pool.next_rested(), self._room.planner.next_end(now)]
        return min(moment for moment in moments if moment is not None)

    # Recovery and audits

    def _recover(self) -> bool:
        """Whether the pools are known now; where something failed, after a pause."""
        room, context = self._room, self._context
        try:
            snapshot = context.inventory.listed()
            # Later than the listing, and from the API: a store may not show yet what the last holder wrote.
            read = context.read_kuryrports or context.stores[KURYRPORTS].values
            kuryrports = list(read())
            self._take_in(snapshot, kuryrports)
        except WaitFor as waiting:
            wait(waiting.calls, timeout=RETRY)
            return False
        except (Retry, CancelledError) as error:
            LOG.warning("The pools cannot be recovered yet: %s", error)
            room.stopping.wait(RETRY)
            return False
        except Exception:
            LOG.exception("Recovering the pools failed in a way that is a bug.")
            room.stopping.wait(RETRY)
            return False
        room.recovered.set_result(None)
        return True

    def _take_in(self, snapshot: Snapshot, kuryrports: Iterable[KuryrPort]) -> None:
        used: set[str] = set()
        shown: set[str] = set()
        written: dict[str, list[str]] = {}
        for kuryrport in kuryrports:
            used.update(used_vif_ids(kuryrport))
            for name, entry in kuryrport.status.vifs.items():
                if kuryrport.spec.owner_kind == "Pool":
                    shown.add(name)
                elif entry.pool and entry.security_groups is not None:
                    written[stored_id(entry.vif)] = entry.security_groups
        room, now = self._room, time.monotonic()
        members, existing = [], []
        for port, who in snapshot.ports.values():
            if who.kind != KIND or not self._maker.owns(port):
                continue
            existing.append(port.id)
            if port.id not in used:
                member = self._member(port, who.uid, now)
                if member is not None:
                    members.append(member)
            elif sorted(port.security_groups) != sorted(written.get(port.id, port.security_groups)):
                room.groups[port.id] = port.security_groups
        with room.lock:
            room.existing.update(dict.fromkeys(existing, now))
            for member in members:
                # What its node was shown had rested. The last holder may have begun to delete any other.
                rest = 0.0 if member.vif.vif_name in shown else max(room.rest, self._grace)
                room.add(msgspec.structs.replace(member, rests_until=now + rest))
        LOG.info("The pools have %d ports.", len(members))

    def _member(self, port: Port, node: str, now: float) -> Member | None:
        """The member that a port is; blocks where its subnets are not known. One that cannot be used is deleted."""
        try:
            reads = [self._context.subnets.get(ip.subnet_id, share=SHARE) for ip in port.fixed_ips]
            subnets = [read.result() for read in reads]
            subnets.sort(key=lambda subnet: subnet.ip_version)
            if not subnets:
                raise UnusablePort(f"port {port.id} has no address")
            vif = self._maker.vif_of(port, subnets)
        except (UnusablePort, CloudNotFound) as error:
            LOG.warning("Port %s of the pool of %s cannot be used: %s", port.id, node, error)
            with self._room.lock:
                self._room.remove(port.id, port.project_id, now)
            return None
        ids = tuple(subnet.id for subnet in subnets)
        key = PoolKey(self._maker.node_of(port, node), shape_of(port.project_id, ids, port.security_groups))
        return Member(vif=vif, key=key, subnet_ids=ids, since=now, rests_until=now)

    @property
    def _grace(self) -> float:
        """Seconds after which a call that was begun has happened or failed."""
        return float(self._context.conf.kubernetes.audit_grace)

    def audit(self, snapshot: Snapshot) -> None:
        """Take in what a listing shows: what is gone or was changed is dropped, what was lost is found."""
        room = self._room
        unknown: dict[str, tuple[Port, str]] = {}
        with room.lock:
            room.pool.forget_leaving(snapshot.taken_at - self._grace)
            room.existing = {
                port_id: since
                for port_id, since in room.existing.items()
                if port_id in snapshot.ports or since >= snapshot.taken_at
            }
            for member in [m for m in room.pool.ready() if m.since < snapshot.taken_at]:
                listed = snapshot.ports.get(member.id)
                if listed is None:
                    LOG.warning("Port %s of the pool of %s is gone.", member.id, member.key.node)
                    room.pool.drop(member.id)
                    room.tell(member.key.node)
                elif not self._matches(listed[0], member):
                    LOG.warning("Port %s of the pool of %s was changed; removing it.", *_names(member))
                    room.remove_ready([member], time.monotonic())
            for port, who in snapshot.ports.values():
                mine = who.kind == KIND and self._maker.owns(port)
                if mine and not self._known(port.id) and room.has(self._maker.node_of(port, who.uid)):
                    unknown[port.id] = (port, who.uid)
            room.wake()
        before, self._unknown = self._unknown, set(unknown)
        for port, node in (unknown[port_id] for port_id in before & self._unknown):
            now = time.monotonic()
            found = self._member(port, node, now)
            with room.lock:
                if found is not None and not self._known(port.id):
                    LOG.info("Port %s is of no pool; the pool of %s takes it.", port.id, found.key.node)
                    room.add(msgspec.structs.replace(found, rests_until=now + room.rest))
                    room.wake()

    def _matches(self, port: Port, member: Member) -> bool:
        return (
            sorted(port.security_groups) == list(member.key.shape.security_groups)
            and self._maker.node_of(port, member.key.node) == member.key.node
            and sorted(ip.subnet_id for ip in port.fixed_ips) == list(member.key.shape.subnet_ids)
        )

    def _known(self, port_id: str) -> bool:
        pool = self._room.pool
        return pool.knows(port_id) or pool.leaving(port_id) or self._room.used(port_id)

    # Filling and shrinking

    def _step(self) -> None:
        room = self._room
        self._making.receive()
        now = time.monotonic()
        in_use = room.count_in_use() if now >= room.due else None
        with room.lock:
            for node in room.pool.rested(now):
                room.tell(node)
            if in_use is not None:
                room.due = now + self._context.conf.vif_pool.ports_pool_update_frequency
                room.shapes_in_use = {key.shape for key in in_use}
                self._look_at_all(now)
        self._making.begin()

    def _look_at_all(self, now: float) -> None:
        room = self._room
        limits = room.limits
        wanted = room.keys(now)
        # Pods that no node has yet are going to want VIFs somewhere.
        waiting = sum(
            not (pod.spec.node_name or pod.spec.host_network or pod.deleting or pod.completed)
            for pod in self._context.stores[PODS].values()
        )
        expected = math.ceil(waiting / max(1, len(wanted)))
        room.planner.cancel(wanted.__contains__)
        for key in wanted:
            room.order(key, now, expected)
        if room.planner.pause(None, now) is not None:
            return
        for key in room.pool.all_keys():
            members, surplus = room.pool.ready_of(key), limits.batch
            if key in wanted:
                surplus = room.planner.surplus(len(members), room.target(key, now, expected), limits, now)
            elif not room.has(key.node):
                surplus = len(members)
            # The longest idle first, but those that are wired last.
            members.sort(key=lambda member: (room.wired(member), member.since))
            room.remove_ready(members[: min(surplus, limits.batch) if room.has(key.node) else surplus], now)


def _names(member: Member) -> tuple[str, str]:
    return member.id, member.key.node
