# SPDX-License-Identifier: Apache-2.0
"""How much room there is: the project's quota and the free addresses of the pods' subnets, known before they run out.

Addresses are counted from the audit's listing. The quota is read, by one call, at start, and after an audit's listing that
shows a good part of what was free gone (or come back), or once an hour if ports were made; between two readings the
listing tells what of it this cluster has used. An idle cluster asks nothing.
"""

from __future__ import annotations

import ipaddress
import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import wait
from typing import Final

import msgspec
from oslo_config import cfg

from kuryr.cloud.capabilities import Quota, quotas
from kuryr.cloud.networks import SubnetInfo, Subnets
from kuryr.cloud.session import Cloud
from kuryr.controller.metrics import Metrics
from kuryr.drivers.inventory import PortInventory, Snapshot
from kuryr.drivers.loading import Drivers
from kuryr.errors import CloudBadRequest, CloudError, CloudNotFound, WaitFor

LOG = logging.getLogger(__name__)

RESOURCES: Final[Mapping[str, str]] = {
    "port": "ports",
    "subnet": "subnets",
    "network": "networks",
    "security_group": "security_groups",
    "security_group_rule": "security_group_rules",
}
"""Neutron's names of quotas, and the metric's."""

MADE: Final = frozenset({"create port", "create ports"})

GOOD_PART = 0.1
"""Of what was free when the quota was read."""

LONGEST = 3600.0
"""Seconds between two readings while ports are made: others may use the project too."""

QUOTA_LOW, ADDRESSES_LOW, ENOUGH = "QuotaLow", "AddressesLow", "CapacityRestored"
"""Reasons of the Events."""

Tell = Callable[[str, str, bool], None]
"""Tells the operator: reason (CamelCase), sentence, whether it is a warning."""


class Room(msgspec.Struct, frozen=True):
    """What is left of something. ``free`` and ``total`` in ports or addresses; ``name`` says of what."""

    name: str
    reason: str
    free: int
    total: int

    def low(self, percent: int, *, before: bool = False) -> bool:
        """Whether less than ``percent`` of it is free; where it was low ``before``, less than twice that."""
        return self.free * 100 < self.total * percent * (2 if before else 1)


def addresses(subnet: SubnetInfo) -> int:
    """How many addresses Neutron may give out in a subnet."""
    return sum(
        int(ipaddress.ip_address(pool.end)) - int(ipaddress.ip_address(pool.start)) + 1
        for pool in subnet.allocation_pools
    )


def taken(snapshot: Snapshot) -> Counter[str]:
    """Addresses that this cluster's ports have, by subnet."""
    return Counter(ip.subnet_id for port, _ in snapshot.ports.values() for ip in port.fixed_ips)


def crossings(
    rooms: Iterable[Room], low: Mapping[str, Room], percent: int
) -> tuple[dict[str, Room], list[tuple[Room, bool]]]:
    """Those that are low now, by name, and what to tell: each that became low (True) or ceased to be (False).

    :param low: those that were low before.
    """
    now, told = dict[str, Room](), list[tuple[Room, bool]]()
    for room in rooms:
        before = room.name in low
        if room.low(percent, before=before):
            now[room.name] = room
        if before != (room.name in now):
            told.append((room, not before))
    return now, told


class Reading(msgspec.Struct, frozen=True):
    """The quota of ports as Neutron told it, at a time (monotonic seconds), when the cluster had ``ours`` ports.

    :ivar made: calls that made ports until then.
    """

    quota: Quota
    ours: int
    made: int
    at: float

    def estimate(self, ours: int) -> Quota:
        """What it is when the cluster has that many."""
        if self.quota.used is None:
            return self.quota
        return msgspec.structs.replace(self.quota, used=max(0, self.quota.used + ours - self.ours))

    def stale(self, ours: int, made: int, now: float, percent: int) -> bool:
        """Whether it has to be read again; below twice ``percent`` free every change matters."""
        changed = abs(ours - self.ours)
        free = self.quota.free
        if free is not None and changed:
            close = Room("", "", self.estimate(ours).free or 0, self.quota.limit).low(percent, before=True)
            if close or changed >= free * GOOD_PART:
                return True
        return made != self.made and now - self.at >= LONGEST


class Capacity:
    """Reads quota and addresses, shows them as metrics, and tells the operator when they get low."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        cloud: Cloud,
        drivers: Drivers,
        subnets: Subnets,
        inventory: PortInventory,
        metrics: Metrics,
        tell: Tell,
    ) -> None:
        """Ask nothing yet."""
        self._conf = conf
        self._cloud = cloud
        self._drivers = drivers
        self._subnets = subnets
        self._inventory = inventory
        self._metrics = metrics
        self._tell = tell
        self._lock = threading.Lock()
        self._reading: Reading | None = None
        self._details = True
        self._first = True
        self._low: dict[str, Room] = {}

    def begin(self) -> None:
        """This process took the shard over: all is read anew, from the listing of the take-over."""
        with self._lock:
            self._low = {}
        self._reading, self._first = None, True

    def before_audit(self) -> None:
        """The first time, count by the listing of the take-over. Blocks."""
        if self._first:
            self._first = False
            try:
                self._inventory.ready()
            except WaitFor as listing:
                wait(listing.calls)
            self.count(self._inventory.listed())

    def count(self, snapshot: Snapshot) -> None:
        """Count what is taken of the quota and of the subnets, by a listing. Blocks."""
        self._count_ports(len(snapshot.ports))
        used, rooms = taken(snapshot), []
        for subnet_id in sorted(set(self._drivers.pod_subnets.subnet_ids())):
            try:
                subnet = self._subnets.get(subnet_id).result()
            except CloudNotFound:
                continue
            except CloudError as error:
                # As above.
                LOG.warning("Subnet %s could not be read: %s", subnet_id, error)
                return
            total = addresses(subnet)
            free = max(0, total - used[subnet_id])
            self._metrics.subnet_free.labels(subnet_id, subnet.name).set(free)
            rooms.append(Room(f"subnet {subnet.name or subnet_id}", ADDRESSES_LOW, free, total))
        self._compare(rooms, ADDRESSES_LOW)

    def _count_ports(self, ours: int) -> None:
        made, now = sum(map(self._metrics.successes, MADE)), time.monotonic()
        known, percent = self._reading, self._conf.cloud_limits.capacity_warning
        if known is None or known.stale(ours, made, now, percent):
            try:
                found = self._read_quota()
            except CloudError as error:
                # The audit that this is part of does not need it; the next one asks again.
                LOG.warning("The quota could not be read: %s", error)
                return
            self._reading = Reading(found.get("port", Quota(-1)), ours, made, now)
        else:
            found = {"port": known.estimate(ours)}
        for name, metric in RESOURCES.items():
            if name in found:
                quota = found[name]
                free = math.inf if quota.limit < 0 else quota.free
                self._metrics.quota_free.labels(metric).set(math.nan if free is None else free)
        self._compare(self._rooms(found), QUOTA_LOW)

    def _read_quota(self) -> dict[str, Quota]:
        project = self._cloud.project(self._conf.neutron_defaults.project or None)
        try:
            return quotas(project, details=self._details)
        except (CloudNotFound, CloudBadRequest):
            if not self._details:
                raise
            # An older Neutron tells limits only.
            self._details = False
            return quotas(project, details=False)

    @staticmethod
    def _rooms(found: Mapping[str, Quota]) -> list[Room]:
        quota = found.get("port")
        if quota is None or quota.free is None:
            return []
        return [Room("the project's quota of ports", QUOTA_LOW, quota.free, quota.limit)]

    def _compare(self, rooms: list[Room], reason: str) -> None:
        percent = self._conf.cloud_limits.capacity_warning
        with self._lock:
            others = {name: room for name, room in self._low.items() if room.reason != reason}
            mine = {name: room for name, room in self._low.items() if room.reason == reason}
            low, told = crossings(rooms, mine, percent)
            self._low = others | low
        for room, warning in told:
            sentence = f"{room.name}: {room.free} of {room.total} are free"
            if warning:
                LOG.warning("%s; below %d%%.", sentence, percent)
                self._tell(room.reason, f"{sentence}; pods that need more will wait", True)
            else:
                LOG.info("%s again.", sentence)
                self._tell(ENOUGH, sentence, False)

    def problems(self) -> list[str]:
        """What is used up, where [cloud_limits] capacity_readiness asks to be unready then."""
        if not self._conf.cloud_limits.capacity_readiness:
            return []
        with self._lock:
            return [f"{room.name} is used up" for room in self._low.values() if room.free == 0]
