# SPDX-License-Identifier: Apache-2.0
"""Keeps the ports of the node's pool wired before there are pods for them.

What is to be parked is told by the KuryrPort whose ``spec.ownerKind`` is Pool. A port that a pod's KuryrPort names
belongs to the requests for that pod, whatever the switch says of it; both come over one watch, the pod's first.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from kuryr.cni import attachments, parked
from kuryr.cni.activity import Activity
from kuryr.cni.binding.base import BindingDriver, BindingError, ParkingDriver
from kuryr.cni.locks import KeyedLocks
from kuryr.cni.parked import Parked
from kuryr.errors import KuryrError
from kuryr.k8s.conditions import find_condition
from kuryr.k8s.informer import Change
from kuryr.net import links
from kuryr.net.switch import Switch, SwitchState
from kuryr.objects.kuryrport import UP, KuryrPort
from kuryr.objects.vif import InvalidVIF, decode

LOG = logging.getLogger(__name__)

OWNER_KIND = "Pool"

BATCH = 8
"""Ports that are plugged in one transaction."""

COALESCE = 0.1
"""Seconds for which changes are gathered."""

CALM = 0.5
"""Seconds without a request after which what can wait is done."""

YIELD = 10.0
"""Seconds for which a batch waits at most while requests come: a burst of pods needs the processors itself."""

WIRE_TIMEOUT = 1.0
"""Seconds for which a batch is waited for, so that it is reported in one write."""

UNLISTED_GRACE = 120.0
"""Seconds for which a port waits that no KuryrPort names: one that a pod gave back rests in the pool first."""

RETRY_AFTER = 5.0
AUDIT_PERIOD = 60.0
"""Seconds after which everything is looked at without a cause."""

Report = Callable[[KuryrPort, Collection[str]], bool]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A port of the pool: its KuryrPort, its name there, and what it is when it is parked."""

    kuryrport: KuryrPort
    name: str
    parked: Parked
    driver: ParkingDriver


@dataclass(frozen=True, slots=True)
class Steps:
    """What is to be done.

    ``strays``: interfaces of pairs that never came on the switch. ``unlisted``: ports that nobody names, since when.
    """

    plug: list[Wanted] = field(default_factory=list)
    unplug: list[Parked] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    unlisted: dict[str, float] = field(default_factory=dict)


def plan(
    wanted: Mapping[str, Wanted],
    in_use: Callable[[str], bool],
    state: SwitchState,
    here: Collection[str],
    unlisted: Mapping[str, float],
    now: float,
    grace: float,
) -> Steps:
    """What is to be plugged and unplugged. Pure.

    :param wanted: ports of the pool, by id.
    :param in_use: whether a pod's or a node's KuryrPort names the port.
    :param here: names of the node's interfaces.
    :param unlisted: as the last plan had it.
    """
    steps = Steps()
    waiting = {entry.port: entry for entry in parked.all_of(state)}
    for port, entry in wanted.items():
        there = state.ports.get(entry.parked.device)
        if in_use(port) or (there is not None and attachments.read(there) is not None):
            continue
        if waiting.get(port) != entry.parked or entry.parked.inner not in here:
            steps.plug.append(entry)
    for port, parked_port in waiting.items():
        if port in wanted or in_use(port):
            continue
        since = unlisted.get(port, now)
        if parked_port.inner not in here or now - since >= grace:
            steps.unplug.append(parked_port)
        else:
            steps.unlisted[port] = since
    known = {parked.inner_name(port.external_ids.get("iface-id", "")) for port in state.ports.values()}
    coming = {entry.parked.inner for entry in steps.plug}
    steps.strays.extend(
        name for name in here if name.startswith(parked.INNER_PREFIX) and name not in known | coming
    )
    return steps


def wired(wanted: Iterable[Wanted], state: SwitchState) -> list[Wanted]:
    """Those that wait for a pod and carry traffic."""
    waiting = {entry.port: entry for entry in parked.all_of(state)}
    return [
        entry
        for entry in wanted
        if waiting.get(entry.parked.port) == entry.parked and state.wired(entry.parked.device)
    ]


class Parking:
    """Plugs, unplugs and reports in the background; requests go first.

    :param drivers: binding drivers by class of VIF.
    :param ports: the locks of requests, by id of the Neutron port.
    :param kuryrports: all KuryrPorts of this node.
    :param in_use: whether a pod's or a node's KuryrPort names the port.
    :param report: says in the API that these VIFs of a pool are up; whether it could.
    :param grace: seconds for which a port waits that no KuryrPort names.
    """

    def __init__(
        self,
        switch: Switch,
        drivers: Mapping[str, BindingDriver],
        ports: KeyedLocks,
        activity: Activity,
        kuryrports: Callable[[], Iterable[KuryrPort]],
        in_use: Callable[[str], bool],
        report: Report,
        *,
        grace: float = UNLISTED_GRACE,
    ) -> None:
        self._switch = switch
        self._drivers = drivers
        self._ports = ports
        self._activity = activity
        self._kuryrports = kuryrports
        self._in_use = in_use
        self._report = report
        self._grace = grace
        self._changed = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="parking", daemon=True)
        self._decoded: dict[tuple[str, str], dict[str, Wanted]] = {}
        self._unlisted: dict[str, float] = {}
        # When the switch's side of the pool last looked like that, nothing was left to do.
        self._seen: list[tuple[str, int, bool]] = []

    def start(self) -> None:
        """Begin; call it when the KuryrPorts are known, or what waits would be taken for forgotten."""
        self._changed.set()
        self._thread.start()

    def stop(self) -> None:
        """End; what waits goes on waiting."""
        self._stopped.set()
        self._switch.wake()
        self._activity.wake()
        if self._thread.ident is not None:
            self._thread.join(5.0)

    def kuryrport_changed(self, change: Change[KuryrPort]) -> None:
        """A KuryrPort of this node changed; those that have nothing of a pool do not matter here. Fits as an informer's listener."""
        if any(_of_pool(kuryrport) for kuryrport in (change.old, change.new) if kuryrport is not None):
            self.look_again()

    def look_again(self) -> None:
        """What should wait, or what is in use, changed."""
        self._changed.set()
        self._switch.wake()

    def _run(self) -> None:
        pause = 0.0
        while not self._stopped.is_set():
            self._switch.wait_for(self._due, time.monotonic() + pause, self._stopped.is_set)
            if self._stopped.wait(COALESCE):
                return
            self._activity.wait_quiet(CALM, YIELD, self._stopped.is_set)
            self._changed.clear()
            try:
                pause = self.reconcile()
            except KuryrError as error:
                LOG.warning("Ports of the node's pool: %s", error)
                pause = RETRY_AFTER
            except Exception:
                LOG.exception("Ports of the node's pool")
                pause = RETRY_AFTER

    def _due(self, state: SwitchState) -> bool | None:
        return True if self._changed.is_set() or _side(state) != self._seen else None

    def reconcile(self) -> float:
        """Do a part of what is to be done; seconds after which to go on, if nothing happens before.

        :raises KuryrError: naming what does not work yet.
        """
        if not self._switch.expected:
            return AUDIT_PERIOD
        state = self._switch.require()
        self._seen = _side(state)
        wanted, now = self._wanted(), time.monotonic()
        steps = plan(wanted, self._in_use, state, links.names(), self._unlisted, now, self._grace)
        self._unlisted = steps.unlisted
        self._unplug(steps.unplug)
        _remove(steps.strays)
        self._plug(steps.plug[:BATCH])
        reported = self._tell(wanted.values())
        if len(steps.plug) > BATCH:
            return 0.0
        if steps.plug or not reported:
            return RETRY_AFTER
        due = [since + self._grace - now for since in steps.unlisted.values()]
        return max(0.0, min([AUDIT_PERIOD, *due]))

    def _wanted(self) -> dict[str, Wanted]:
        """The ports of the node's pool that this node can park, by id."""
        found: dict[str, Wanted] = {}
        decoded = {}
        for kuryrport in self._kuryrports():
            if kuryrport.spec.owner_kind != OWNER_KIND or kuryrport.deleting:
                continue
            version = (kuryrport.metadata.uid, kuryrport.metadata.resource_version)
            if version not in self._decoded:
                self._decoded[version] = self._decode(kuryrport)
            decoded[version] = self._decoded[version]
            found |= decoded[version]
        self._decoded = decoded
        return found

    def _decode(self, kuryrport: KuryrPort) -> dict[str, Wanted]:
        found = {}
        for name, entry in kuryrport.status.vifs.items():
            try:
                vif = decode(entry.vif)
                driver = self._drivers.get(vif.kind)
                if isinstance(driver, ParkingDriver):
                    pool = entry.pool or kuryrport.metadata.name
                    found[vif.id] = Wanted(kuryrport, name, driver.parked(vif, pool), driver)
            except (InvalidVIF, BindingError) as error:
                LOG.warning("%s of KuryrPort %s is not plugged ahead: %s", name, kuryrport.key, error)
        return found

    def _unplug(self, unwanted: list[Parked]) -> None:
        for entry in unwanted:
            with self._ports.held_if_free([entry.port]) as free:
                driver = self._drivers.get(entry.vif)
                if free and not self._in_use(entry.port) and isinstance(driver, ParkingDriver):
                    LOG.info("Port %s of pool %s is not wanted any more", entry.device, entry.pool)
                    driver.unpark(entry)

    def _plug(self, batch: list[Wanted]) -> None:
        """Plug ahead what no request is busy with, and wait a moment for it to be wired."""
        with self._ports.held_if_free([entry.parked.port for entry in batch]) as free:
            ports = self._switch.state.ports
            by_driver: dict[ParkingDriver, list[Parked]] = {}
            for entry in batch:
                there = ports.get(entry.parked.device)
                taken = there is not None and attachments.read(there) is not None
                if entry.parked.port in free and not taken and not self._in_use(entry.parked.port):
                    by_driver.setdefault(entry.driver, []).append(entry.parked)
            for driver, wanted in by_driver.items():
                _park(driver, wanted)
        if by_driver:
            self._switch.wait_for(
                lambda state: len(wired(batch, state)) == len(batch) or None,
                time.monotonic() + WIRE_TIMEOUT,
                self._stopped.is_set,
            )

    def _tell(self, wanted: Iterable[Wanted]) -> bool:
        """Report what is wired and not reported yet; False where that is to be tried again."""
        news: dict[str, tuple[KuryrPort, list[str]]] = {}
        for entry in wired(wanted, self._switch.state):
            condition = find_condition(entry.kuryrport.status.vifs[entry.name].conditions, UP)
            if condition is None or condition.status != "True":
                news.setdefault(entry.kuryrport.metadata.uid, (entry.kuryrport, []))[1].append(entry.name)
        return all(self._report(kuryrport, names) for kuryrport, names in news.values())


def _of_pool(kuryrport: KuryrPort) -> bool:
    return kuryrport.spec.owner_kind == OWNER_KIND or any(
        entry.pool for entry in kuryrport.status.vifs.values()
    )


def _side(state: SwitchState) -> list[tuple[str, int, bool]]:
    """All that matters here of the switch."""
    return [
        (entry.device, state.ports[entry.device].ifindex, state.wired(entry.device))
        for entry in parked.all_of(state)
    ]


def _park(driver: ParkingDriver, wanted: list[Parked]) -> None:
    """Park all at a time; where that fails, one by one, so that one bad port does not keep the others from it."""
    try:
        driver.park(wanted)
    except KuryrError as error:
        if len(wanted) == 1:
            LOG.warning("Port %s of pool %s: %s", wanted[0].device, wanted[0].pool, error)
            return
        for entry in wanted:
            _park(driver, [entry])


def _remove(strays: list[str]) -> None:
    """Take away those that were made here, with their pairs."""
    if not strays:
        return
    with links.links() as link:
        for name in strays:
            state = link.state(name)
            if state is not None and state.ours:
                link.delete(name)
