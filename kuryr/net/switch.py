# SPDX-License-Identifier: Apache-2.0
"""Ports of Open vSwitch: adding, finding, taking away, and learning when Neutron's backend has wired them."""

from __future__ import annotations

import enum
import os
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

from kuryr.net.errors import SwitchError
from kuryr.net.ovsdb import Ovsdb

T = TypeVar("T")

DEAD_VLAN = 4095
"""The tag by which neutron-openvswitch-agent marks a port that it has not wired."""

TRUNK_BRIDGE_PREFIX = "tbr-"

LOOK_AGAIN = 5.0
"""Seconds after which those who wait look whether they are cancelled, though nothing happened."""

_UNIX = "unix:"
_ZONE = "ct-zone-"
_IN_KERNEL = ("", "system", "internal", "tap")

_TABLES = {
    "Open_vSwitch": ("bridges", "external_ids", "next_cfg", "cur_cfg"),
    "Bridge": ("name", "ports", "datapath_type", "external_ids"),
    "Port": ("name", "interfaces", "tag"),
    "Interface": ("name", "type", "external_ids", "mac", "mtu_request", "error", "options", "ifindex"),
}


class Backend(enum.Enum):
    """What wires Neutron's ports on this node."""

    OVN = "ovn"
    AGENT = "openvswitch-agent"


@dataclass(frozen=True, slots=True)
class SwitchPort:
    """A port with one interface of the same name. ``error`` is what ovs-vswitchd says of it."""

    name: str
    external_ids: Mapping[str, str]
    tag: int | None = None
    error: str = ""
    ifindex: int = 0
    """Of the kernel's interface, as ovs-vswitchd last opened it; 0 where there is none."""
    virtual: bool = False
    """Whether it is of a type that never has an interface in the kernel."""


@dataclass(frozen=True, slots=True)
class SwitchState:
    """One moment of the switch. ``bridges`` maps names to datapath types."""

    ports: Mapping[str, SwitchPort] = field(default_factory=dict)
    bridges: Mapping[str, str] = field(default_factory=dict)
    external_ids: Mapping[str, str] = field(default_factory=dict)
    applied: int = 0
    """Number of the last configuration that ovs-vswitchd has applied (cur_cfg)."""
    bridge_ids: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """external_ids of the bridges, by name."""

    @property
    def backend(self) -> Backend:
        """OVN where ovn-controller is configured on this node, else the Open vSwitch agent."""
        ovn = any(name.startswith(("ovn-remote", "ovn-bridge")) for name in self.external_ids)
        return Backend.OVN if ovn else Backend.AGENT

    def wired(self, name: str) -> bool:
        """Whether the backend has wired the port."""
        port = self.ports.get(name)
        if port is None:
            return False
        if self.backend is Backend.OVN:
            return port.external_ids.get("ovn-installed") == "true"
        return port.tag is not None and port.tag != DEAD_VLAN

    def conntrack_zone(self, port: str) -> int | None:
        """The zone in which OVN tracks the connections of a Neutron port and of no other; None where there is none."""
        for ids in self.bridge_ids.values():
            if (zone := ids.get(_ZONE + port, "")).isdecimal():
                return int(zone)
        return None

    def why_unwired(self, name: str) -> str:
        """What to look at when a port is not wired, for people."""
        port = self.ports.get(name)
        if port is None:
            return f"port {name} is not on the switch any more: somebody else took it away"
        if port.error:
            return f"Open vSwitch says of port {name}: {port.error}"
        if not port.ifindex and not port.virtual:
            return f"Open vSwitch has not opened port {name}: is ovs-vswitchd running?"
        if self.backend is Backend.OVN:
            return (
                f"port {name} is plugged but OVN has not wired it: look at ovn-controller on this node, and whether "
                "the port's binding:host_id in Neutron is this node"
            )
        return (
            f"port {name} is plugged but neutron-openvswitch-agent has not wired it: look at the agent on this node, "
            "and whether the port's binding:host_id in Neutron is this node"
        )


@dataclass(frozen=True, slots=True)
class NewPort:
    """A port to add to ``bridge``. ``mtu`` in bytes, only asked of OVS where it makes the interface itself."""

    name: str
    bridge: str
    external_ids: Mapping[str, str]
    type: str = ""
    mac: str = ""
    mtu: int = 0
    options: Mapping[str, str] = field(default_factory=dict)
    datapath_type: str = ""


class _Waiting:
    """Somebody who waits until a condition gives something."""

    def __init__(self, condition: Callable[[SwitchState], Any]) -> None:
        self._condition = condition
        self.event = threading.Event()

    def look(self, state: SwitchState) -> None:
        """Wake it where there is something; what the condition raises is for its own thread."""
        try:
            nothing = self._condition(state) is None
        except Exception:
            nothing = False
        if not nothing:
            self.event.set()


class Switch:
    """The node's Open vSwitch.

    :param remote: OVSDB connection, for instance ``unix:/run/openvswitch/db.sock``.
    :param timeout: seconds that a change may take.
    """

    def __init__(self, remote: str, *, timeout: float = 10.0) -> None:
        self.timeout = timeout
        self._lock = threading.Lock()
        self._waiting: set[_Waiting] = set()
        self._state = SwitchState()
        self._rows: dict[str, dict[UUID, Any]] = {table: {} for table in _TABLES}
        self._ovsdb = Ovsdb(remote, _TABLES, self._row_changed, self._settled)

    def start(self) -> None:
        """Connect, in the background."""
        self._ovsdb.start()

    def stop(self) -> None:
        """Disconnect."""
        self._ovsdb.stop()

    @property
    def remote(self) -> str:
        """The OVSDB connection."""
        return self._ovsdb.remote

    @property
    def connected(self) -> bool:
        """Whether :attr:`state` is complete and live."""
        return self._ovsdb.connected

    @property
    def expected(self) -> bool:
        """Whether this node has the switch: nodes whose pods are all nested may have none."""
        if self._state.applied or not self.remote.startswith(_UNIX):
            return True
        return os.path.exists(self.remote.removeprefix(_UNIX))

    @property
    def state(self) -> SwitchState:
        """The switch as last seen."""
        return self._state

    def require(self) -> SwitchState:
        """The switch as it is, or an error where the database cannot be asked.

        :raises SwitchUnavailable: without a connection for as long as a change may take.
        """
        if not self.connected:
            self._ovsdb.transact(lambda tables, transaction: None, self.timeout)
        return self._state

    def wait_for(
        self, condition: Callable[[SwitchState], T | None], deadline: float, cancelled: Callable[[], bool]
    ) -> T | None:
        """What ``condition`` gives as soon as it gives something; None at the deadline or when cancelled.

        :param condition: called here, and in the connection's thread after each change.
        :param deadline: in seconds of ``time.monotonic()``.
        :param cancelled: looked at after :meth:`wake`, and every few seconds.
        """
        waiting = _Waiting(condition)
        with self._lock:
            self._waiting.add(waiting)
        try:
            while True:
                waiting.event.clear()
                if (found := condition(self._state)) is not None:
                    return found
                left = deadline - time.monotonic()
                if left <= 0 or cancelled():
                    return None
                waiting.event.wait(min(left, LOOK_AGAIN))
        finally:
            with self._lock:
                self._waiting.discard(waiting)

    def wake(self) -> None:
        """Make all who wait look again, and whether they are cancelled."""
        with self._lock:
            for waiting in self._waiting:
                waiting.event.set()

    def add_port(self, port: NewPort) -> None:
        """Add a port, its interface and what the backend needs to know, in one transaction.

        With the Open vSwitch agent the port begins on the dead VLAN, so that it never sees foreign traffic.

        :raises SwitchError: where the bridge does not exist, or a port of that name does.
        """
        self.begin_to_add((port,))()

    def begin_to_add(self, ports: Sequence[NewPort]) -> Callable[[], None]:
        """Begin to add all ports as :meth:`add_port` adds one, or none, in one transaction.

        :returns: what waits for the end, and raises as :meth:`add_port` does.
        """
        agent = self._state.backend is Backend.AGENT

        def add(tables: Any, transaction: Any, port: NewPort) -> None:
            trunk = port.bridge.startswith(TRUNK_BRIDGE_PREFIX)
            bridge = _find(tables, "Bridge", port.bridge)
            if bridge is None and trunk:
                bridge = _add_bridge(tables, transaction, port)
            if bridge is None:
                raise SwitchError(f"bridge {port.bridge} does not exist (needed for port {port.name})")
            if _find(tables, "Port", port.name) is not None:
                raise SwitchError(f"port {port.name} exists already")
            interface = transaction.insert(tables["Interface"])
            interface.name = port.name
            interface.external_ids = dict(port.external_ids) | ({"bridge_name": port.bridge} if trunk else {})
            if port.type:
                interface.type = port.type
            if port.mac:
                interface.mac = port.mac
            if port.mtu:
                interface.mtu_request = port.mtu
            if port.options:
                interface.options = dict(port.options)
            record = transaction.insert(tables["Port"])
            record.name = port.name
            record.interfaces = [interface]
            if agent and not trunk and "iface-id" in port.external_ids:
                record.tag = DEAD_VLAN
            bridge.addvalue("ports", record)

        def build(tables: Any, transaction: Any) -> None:
            for port in ports:
                add(tables, transaction, port)

        finish = self._ovsdb.begin(build)
        return lambda: finish(self.timeout)

    def set_external_ids(self, name: str, values: Mapping[str, str]) -> None:
        """Set entries of the port's external_ids.

        :raises SwitchError: where the port does not exist.
        """

        def build(tables: Any, transaction: Any) -> None:
            interface = self._interface(tables, name)
            if interface is None:
                raise SwitchError(f"port {name} does not exist")
            for key, value in values.items():
                interface.setkey("external_ids", key, value)

        self._ovsdb.transact(build, self.timeout)

    def begin_to_replace(
        self, name: str, expected: Mapping[str, str], values: Mapping[str, str], drop: Collection[str] = ()
    ) -> Callable[[], None]:
        """Begin to set entries of the port's external_ids and take others away, in one transaction.

        :param expected: entries that it must have.
        :returns: what waits for the end; it raises :class:`SwitchError` where the port does not have what is expected.
        """

        def build(tables: Any, transaction: Any) -> None:
            interface = self._interface(tables, name)
            if interface is None or not expected.items() <= interface.external_ids.items():
                raise SwitchError(f"port {name} is gone or another's by now: expected {dict(expected)}")
            for key in drop:
                interface.delkey("external_ids", key)
            for key, value in values.items():
                interface.setkey("external_ids", key, value)

        finish = self._ovsdb.begin(build)
        return lambda: finish(self.timeout)

    def delete_port(
        self, name: str, *, expected: Mapping[str, str] | None = None, applied: bool = False
    ) -> bool:
        """Take the port away; whether there was one.

        :param expected: entries that its external_ids must have, else it is somebody else's and left alone.
        :param applied: return only when ovs-vswitchd has let go of the interface.
        """
        found = False
        target = 0

        def build(tables: Any, transaction: Any) -> None:
            nonlocal found, target
            found = False
            interface = self._interface(tables, name)
            if interface is None:
                return
            if expected is not None:
                if any(interface.external_ids.get(key) != value for key, value in expected.items()):
                    return
                interface.verify("external_ids")
            for bridge in tables["Bridge"].rows.values():
                for record in bridge.ports:
                    if record.name == name:
                        bridge.delvalue("ports", record)
                        found = True
            if found and applied:
                root = next(iter(tables["Open_vSwitch"].rows.values()))
                root.verify("next_cfg")
                target = root.next_cfg + 1
                root.next_cfg = target

        self._ovsdb.transact(build, self.timeout)
        if found and applied:
            self.wait_for(
                lambda state: True if state.applied >= target else None,
                time.monotonic() + self.timeout,
                lambda: False,
            )
        return found

    def _interface(self, tables: Any, name: str) -> Any:
        """The row of an interface that is there, None where none is. Reading every row's name would take a request's time."""
        rows = self._rows["Interface"]
        found = next((uuid for uuid, row in rows.items() if row[0] == name), None)
        return tables["Interface"].rows.get(found)

    def _row_changed(self, table: str, row: Any, gone: bool) -> None:
        if gone:
            self._rows[table].pop(row.uuid, None)
        else:
            self._rows[table][row.uuid] = _read(table, row)

    def _settled(self, tables: Any) -> None:
        for table, rows in self._rows.items():
            live = tables[table].rows
            # After a reconnection rows may be missing without a word.
            if len(rows) != len(live):
                for gone in [uuid for uuid in rows if uuid not in live]:
                    del rows[gone]
        tags: dict[str, int | None] = dict(self._rows["Port"].values())
        bridges = list(self._rows["Bridge"].values())
        root: tuple[Any, ...] = next(iter(self._rows["Open_vSwitch"].values()), ({}, 0))
        state = SwitchState(
            ports={
                row[0]: SwitchPort(
                    name=row[0],
                    external_ids=row[1],
                    tag=tags.get(row[0]),
                    error=row[2],
                    ifindex=row[3],
                    virtual=row[4],
                )
                for row in self._rows["Interface"].values()
            },
            bridges={row[0]: row[1] for row in bridges},
            external_ids=root[0],
            applied=root[1],
            bridge_ids={row[0]: row[2] for row in bridges},
        )
        self._state = state
        with self._lock:
            those = list(self._waiting)
        for waiting in those:
            waiting.look(state)


def _read(table: str, row: Any) -> tuple[Any, ...]:
    """What :class:`SwitchState` needs of a row."""
    match table:
        case "Interface":
            return (
                row.name,
                dict(row.external_ids),
                "".join(row.error),
                next(iter(row.ifindex), 0),
                row.type not in _IN_KERNEL,
            )
        case "Port":
            return row.name, next(iter(row.tag), None)
        case "Bridge":
            return row.name, row.datapath_type, dict(row.external_ids)
        case _:
            return dict(row.external_ids), row.cur_cfg


def _find(tables: Any, table: str, name: str) -> Any:
    return next((row for row in tables[table].rows.values() if row.name == name), None)


def _add_bridge(tables: Any, transaction: Any, port: NewPort) -> Any:
    """A trunk's bridge, which whoever plugs the parent makes."""
    interface = transaction.insert(tables["Interface"])
    interface.name = port.bridge
    interface.type = "internal"
    record = transaction.insert(tables["Port"])
    record.name = port.bridge
    record.interfaces = [interface]
    bridge = transaction.insert(tables["Bridge"])
    bridge.name = port.bridge
    if port.datapath_type:
        bridge.datapath_type = port.datapath_type
    bridge.ports = [record]
    root = next(iter(tables["Open_vSwitch"].rows.values()))
    root.addvalue("bridges", bridge)
    return bridge
