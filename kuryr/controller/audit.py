# SPDX-License-Identifier: Apache-2.0
"""The audit: finds this cluster's ports that have no owner, and removes them when that is sure."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable

import msgspec
from oslo_config import cfg

from kuryr.cloud.ports import Ports
from kuryr.controller.metrics import Metrics
from kuryr.drivers.base import VIFPoolDriver
from kuryr.drivers.inventory import PortInventory, Snapshot
from kuryr.errors import KuryrError
from kuryr.k8s.store import Store
from kuryr.objects.kuryrport import KuryrPort, used_vif_ids
from kuryr.objects.vif import InvalidVIF, decode

LOG = logging.getLogger(__name__)

SHARE = "audit"


def orphans(
    snapshot: Snapshot, kuryrports: Iterable[KuryrPort], pooled: Collection[str] | None = None
) -> set[str]:
    """Ids of the ports that no KuryrPort has or is about to have. Pure.

    A port of a KuryrPort that is not filled yet, or is being deleted, is about to be dealt with.

    :param pooled: ids of the ports that wait in pools; None leaves all ports of pools alone.
    """
    kuryrports = [port for port in kuryrports if port.spec.owner_kind != "Pool"]
    by_uid = {port.spec.pod_uid: port for port in kuryrports}
    used = {vif_id for port in kuryrports for vif_id in used_vif_ids(port)}
    found = set()
    for port_id, (_, who) in snapshot.ports.items():
        if who.kind == "pool" and pooled is not None and port_id not in used and port_id not in pooled:
            found.add(port_id)
        if who.kind not in ("pod", "node"):
            continue
        owner = by_uid.get(who.uid)
        if owner is None:
            found.add(port_id)
            continue
        entry = owner.status.vifs.get(who.detail)
        if owner.deleting or entry is None:
            continue
        try:
            if decode(entry.vif).id != port_id:
                found.add(port_id)
        except InvalidVIF:
            continue
    return found


class Suspects(msgspec.Struct):
    """Ports that were found without an owner, each with the monotonic time when it was first. Pure."""

    since: dict[str, float] = {}

    def judge(self, found: set[str], now: float, grace: float) -> set[str]:
        """Remember ``found`` and return those that were found before, at least ``grace`` seconds ago."""
        sure = {port_id for port_id in found if now - self.since.get(port_id, now) >= grace}
        self.since = {port_id: self.since.get(port_id, now) for port_id in found}
        return sure


class Audit:
    """Runs every [kubernetes] audit_period seconds while this process holds the shard."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        inventory: PortInventory,
        ports: Ports,
        kuryrports: Store[KuryrPort],
        read: Callable[[], Iterable[KuryrPort]],
        may_write: Callable[[], None],
        metrics: Metrics,
        pool: VIFPoolDriver | None = None,
    ) -> None:
        """Start nothing yet.

        :param kuryrports: what is known of them; ``read`` asks the API, before anything is deleted.
        """
        self._conf = conf
        self._inventory = inventory
        self._ports = ports
        self._kuryrports = kuryrports
        self._read = read
        self._may_write = may_write
        self._metrics = metrics
        self._pool = pool
        self._suspects = Suspects()
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, with nobody under suspicion."""
        self._suspects = Suspects()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(self._stopping,), name="audit", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after what is under way."""
        self._stopping.set()
        self.wake()

    def wake(self) -> None:
        """Look at the options again: the period may have changed."""
        with self._changed:
            self._changed.notify_all()

    def _due(self, last: float, stopping: threading.Event) -> bool:
        """Wait until a period after ``last`` is over; False where it is time to end."""
        with self._changed:
            while not stopping.is_set():
                left = last + self._conf.kubernetes.audit_period - time.monotonic()
                if left <= 0:
                    return True
                self._changed.wait(left)
        return False

    def _run(self, stopping: threading.Event) -> None:
        last = time.monotonic()
        while self._due(last, stopping):
            last = time.monotonic()
            try:
                self.run_once()
            except KuryrError as error:
                LOG.warning("The audit could not be made: %s", error)
            except Exception:
                LOG.exception("The audit failed.")

    def run_once(self) -> set[str]:
        """One audit; the ids of the ports whose deletion was asked for.

        :raises CloudError: where Neutron cannot list.
        :raises ApiError: where Kubernetes cannot.
        """
        snapshot = self._inventory.refresh()
        # The stores are newer than the listing: what was made in between is not in the listing at all.
        if self._pool is not None:
            self._pool.audit(snapshot)
        found = orphans(snapshot, self._kuryrports.values(), self._pooled())
        self._metrics.audit_orphans.set(len(found))
        sure = self._suspects.judge(found, time.monotonic(), self._conf.kubernetes.audit_grace)
        if sure:
            # A watch may hang without our knowing it yet: nothing is deleted by what a store says alone.
            sure &= orphans(snapshot, self._read(), self._pooled())
        for port_id in sorted(sure):
            self._may_write()
            port, who = snapshot.ports[port_id]
            LOG.warning("Port %s of %s %s has no owner; deleting it.", port_id, who.kind, who.uid)
            self._ports.delete(port_id, SHARE, project_id=port.project_id or None)
            self._metrics.audit_deleted.inc()
        return sure

    def _pooled(self) -> Collection[str] | None:
        return self._pool.known_ports() if self._pool is not None else None
