# SPDX-License-Identifier: Apache-2.0
"""The cluster's ports as Neutron lists them: one paged listing at take-over, one at each audit."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future

import msgspec

from kuryr.cloud import identity
from kuryr.cloud.ports import Port, Ports
from kuryr.errors import KuryrError, WaitFor

LOG = logging.getLogger(__name__)

OWNERS = (identity.POD, identity.NODE, identity.SUBPORT)


class Snapshot(msgspec.Struct, frozen=True):
    """What one listing found: this cluster's ports with their identities. ``taken_at``: when it began, monotonic."""

    taken_at: float
    ports: dict[str, tuple[Port, identity.Identity]]
    unmarked: list[Port] = []
    """Ports of pods in the same projects that nobody marked: the original's, of this cluster or another."""


class PortInventory:
    """Knows which ports exist that are marked as this cluster's.

    After a take-over, ports may exist that no KuryrPort names, because their maker was killed before it could write
    them down. :meth:`take` finds those by identity, so that asking for a VIF again makes no second port.

    :param projects: ids of the projects to list.
    """

    def __init__(self, ports: Ports, cluster: str, projects: Callable[[], Iterable[str]]) -> None:
        self._ports = ports
        self._cluster = cluster
        self._projects = projects
        self._lock = threading.Lock()
        self._first: Future[None] | None = None
        # By owner, then by interface.
        self._found: dict[str, dict[str, list[Port]]] = {}
        self._unmarked: dict[str, list[Port]] = {}
        self._listed: Snapshot | None = None

    def refresh(self) -> Snapshot:
        """List now, blocking.

        :raises CloudError: where the listing fails.
        """
        taken_at = time.monotonic()
        ports: dict[str, tuple[Port, identity.Identity]] = {}
        unmarked: list[Port] = []
        for project in self._projects():
            for page in self._ports.list_pages(project or None, device_owner=list(OWNERS)):
                for port in page:
                    who = identity.parse(port.description or "")
                    if who is not None and who.cluster == self._cluster:
                        ports[port.id] = (port, who)
                    elif not port.description and port.device_id and port.device_owner == identity.POD:
                        unmarked.append(port)
        return Snapshot(taken_at, ports, unmarked)

    def begin(self) -> None:
        """Start the listing of a take-over in the background; what was known before is forgotten."""
        with self._lock:
            self._found = {}
            self._unmarked = {}
            self._listed = None
            self._first = None
            self._start()

    def _start(self) -> Future[None]:
        future: Future[None] = Future()
        self._first = future
        threading.Thread(target=self._load, args=(future,), name="inventory", daemon=True).start()
        return future

    def _load(self, future: Future[None]) -> None:
        try:
            snapshot = self.refresh()
        except Exception as error:
            if not isinstance(error, KuryrError):
                LOG.exception("The listing of this cluster's ports failed.")
            future.set_exception(error)
            return
        found: dict[str, dict[str, list[Port]]] = {}
        for port, who in snapshot.ports.values():
            found.setdefault(who.uid, {}).setdefault(who.detail, []).append(port)
        unmarked: dict[str, list[Port]] = {}
        for port in snapshot.unmarked:
            unmarked.setdefault(port.device_id, []).append(port)
        with self._lock:
            self._found = found
            self._unmarked = unmarked
            self._listed = snapshot
        LOG.info("Neutron has %d ports of this cluster.", len(snapshot.ports))
        future.set_result(None)

    def ready(self) -> None:
        """Return when the listing of the take-over is there.

        :raises WaitFor: while it is under way.
        :raises CloudError: where it failed; the next call begins it anew.
        """
        with self._lock:
            future = self._first or self._start()
            if not future.done():
                raise WaitFor([future], "waiting for the listing of this cluster's ports")
            if future.exception() is not None:
                self._first = None
        future.result()

    def listed(self) -> Snapshot:
        """The listing of the take-over.

        :raises WaitFor, CloudError: as :meth:`ready`.
        """
        self.ready()
        with self._lock:
            return self._listed or Snapshot(0.0, {})

    def knows(self, uid: str, detail: str) -> bool:
        """Whether :meth:`take` would give a port.

        :raises WaitFor, CloudError: as :meth:`ready`.
        """
        self.ready()
        with self._lock:
            return bool(self._found.get(uid, {}).get(detail) or self._unmarked.get(uid))

    def take(self, uid: str, detail: str) -> list[Port]:
        """The ports of that owner and interface which were there at take-over; each is handed out once.

        :raises WaitFor, CloudError: as :meth:`ready`.
        """
        self.ready()
        with self._lock:
            return self._found.get(uid, {}).pop(detail, [])

    def take_unmarked(self, uid: str, wanted: Callable[[Port], bool]) -> Port | None:
        """A port that the original made for that pod and that is ``wanted``; each is handed out once.

        :raises WaitFor, CloudError: as :meth:`ready`.
        """
        self.ready()
        with self._lock:
            there = self._unmarked.get(uid, [])
            found = next((port for port in there if wanted(port)), None)
            if found is not None:
                there.remove(found)
            return found

    def forget(self, uid: str, port_id: str) -> None:
        """That port is dealt with: it is not handed out."""
        with self._lock:
            for ports in self._found.get(uid, {}).values():
                ports[:] = [port for port in ports if port.id != port_id]
            if uid in self._unmarked:
                self._unmarked[uid] = [port for port in self._unmarked[uid] if port.id != port_id]

    def take_all(self, uid: str) -> list[Port]:
        """All ports of that owner which were there at take-over and were not handed out yet; none before it is ready."""
        with self._lock:
            found = [port for ports in self._found.pop(uid, {}).values() for port in ports]
            return found + self._unmarked.pop(uid, [])
