# SPDX-License-Identifier: Apache-2.0
"""The node's own port: the way from the node to its cluster's pods and Services.

A pod's network is Neutron's, not the node's. So that probes, port-forward, webhooks and programs of the host reach
pods, the node has a KuryrPort of its own. Its Neutron port is carried by an internal port of the integration bridge,
and the routes that its status names are kept in the node's main table.
"""

from __future__ import annotations

import ipaddress
import logging
import threading
import time
from collections.abc import Callable, Iterable

from kuryr.cni.addressing import Plan, plan
from kuryr.cni.binding.base import BindingError
from kuryr.cni.stages import Stages
from kuryr.errors import KuryrError
from kuryr.k8s.informer import Change
from kuryr.net import links, offload
from kuryr.net.links import Links, Route
from kuryr.net.switch import NewPort, Switch, SwitchState
from kuryr.objects.kuryrport import KuryrPort, RouteStatus
from kuryr.objects.vif import VIFOpenVSwitch

LOG = logging.getLogger(__name__)

ROUTE_PROTOCOL = 107
"""Marks routes in the kernel as ours (``ip route show proto 107``); others' are never touched."""

AUDIT_PERIOD = 60.0
"""Seconds after which everything is looked at without a cause."""

RETRY_AFTER = 5.0
PLUG_TIMEOUT = 10.0
WIRE_TIMEOUT = 60.0

_MARK = "kuryr-node"


def own(kuryrports: Iterable[KuryrPort]) -> KuryrPort | None:
    """The node's KuryrPort among those that are labelled with the node's name."""
    return next((k for k in kuryrports if k.spec.owner_kind == "Node" and not k.deleting), None)


def wanted_routes(routes: Iterable[RouteStatus]) -> set[Route]:
    """The routes of a status, written as the kernel writes them; what is not a route is left out and logged."""
    wanted = set()
    for route in routes:
        try:
            destination = ipaddress.ip_network(route.destination, strict=False)
            hop = ipaddress.ip_address(route.next_hop)
        except ValueError as error:
            LOG.error(
                "Route to %s via %s of the node's KuryrPort: %s", route.destination, route.next_hop, error
            )
            continue
        wanted.add(Route(str(destination), str(hop)))
    return wanted


class NodePort:
    """Keeps the node's port and routes as its KuryrPort says.

    :param interface: name of the node's interface ([node_port] interface).
    :param kuryrports: all KuryrPorts of this node.
    :param up: told when the port carries traffic: KuryrPort, interfaces, stages.
    """

    def __init__(
        self,
        switch: Switch,
        interface: str,
        node_name: str,
        kuryrports: Callable[[], Iterable[KuryrPort]],
        up: Callable[[KuryrPort, list[str], Stages], None],
    ) -> None:
        self._switch = switch
        self._interface = interface
        self._node_name = node_name
        self._kuryrports = kuryrports
        self._up = up
        self._changed = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="node-port", daemon=True)
        self._follower = threading.Thread(target=self._follow_switch, name="node-port-switch", daemon=True)

    def start(self) -> None:
        """Begin; call it when the KuryrPorts are known, or the port would be taken away for a moment."""
        self._changed.set()
        self._thread.start()
        self._follower.start()

    def stop(self) -> None:
        """End; port and routes stay."""
        self._stopped.set()
        self._changed.set()
        self._switch.wake()
        for thread in (self._thread, self._follower):
            if thread.ident is not None:
                thread.join(5.0)

    def kuryrport_changed(self, change: Change[KuryrPort]) -> None:
        """A KuryrPort of this node changed; those of pods do not matter here. Fits as an informer's listener."""
        if change.latest.spec.owner_kind == "Node":
            self.look_again()

    def look_again(self) -> None:
        """Anything that the port depends on changed."""
        self._changed.set()
        self._switch.wake()

    def _follow_switch(self) -> None:
        """Notice when the switch makes the interface anew, as after its restart: without addresses and routes."""
        known = self._ifindex(self._switch.state)

        def changed(state: SwitchState) -> bool | None:
            return True if self._ifindex(state) != known else None

        while not self._stopped.is_set():
            if self._switch.wait_for(changed, time.monotonic() + AUDIT_PERIOD, self._stopped.is_set):
                known = self._ifindex(self._switch.state)
                self.look_again()

    def _ifindex(self, state: SwitchState) -> int:
        port = state.ports.get(self._interface)
        return port.ifindex if port is not None else 0

    def _run(self) -> None:
        pause = AUDIT_PERIOD
        while not self._stopped.is_set():
            self._changed.wait(pause)
            self._changed.clear()
            if self._stopped.is_set():
                return
            pause = AUDIT_PERIOD
            try:
                self.reconcile()
            except KuryrError as error:
                LOG.warning("The node's port %s: %s", self._interface, error)
                pause = RETRY_AFTER
            except Exception:
                LOG.exception("The node's port %s", self._interface)
                pause = RETRY_AFTER

    def reconcile(self) -> None:
        """Make port and routes as the KuryrPort says.

        :raises KuryrError: naming what does not work yet.
        """
        if not self._switch.expected:
            return
        kuryrport = own(self._kuryrports())
        name = kuryrport.default_interface if kuryrport is not None else None
        if kuryrport is None:
            self.remove()
            return
        if name is None:
            return  # not allocated yet; what an earlier one left is replaced when it is
        vif = kuryrport.decoded_vifs()[name]
        if not isinstance(vif, VIFOpenVSwitch):
            raise BindingError(f"VIF {vif.id} of the node is a {vif.kind}, expected VIFOpenVSwitch")
        stages = Stages()
        self._plug(vif)
        wanted = plan(vif, default=False)
        datapath = vif.datapath_type or self._switch.state.bridges.get(vif.bridge_name, "")
        with links.links() as link:
            self._configure(link, wanted, compute_checksums=datapath == "netdev")
            self._route(link, wanted_routes(kuryrport.status.routes))
        up = self._switch.wait_for(
            lambda state: state.wired(self._interface) or None,
            time.monotonic() + WIRE_TIMEOUT,
            lambda: self._stopped.is_set() or self._changed.is_set(),
        )
        if up:
            self._up(kuryrport, [name], stages)
        elif not self._stopped.is_set() and not self._changed.is_set():
            raise BindingError(
                f"Neutron's backend has not wired the node's port {vif.id} in {WIRE_TIMEOUT:.0f} s"
            )

    def remove(self) -> None:
        """Take the port away, and with it the routes."""
        if self._switch.delete_port(self._interface, expected={_MARK: self._node_name}):
            LOG.info("The node's port %s is gone, as its KuryrPort is", self._interface)

    def _plug(self, vif: VIFOpenVSwitch) -> None:
        identity = {
            "iface-id": vif.id,
            "attached-mac": vif.address,
            "kuryr-mtu": str(vif.network.mtu),
            _MARK: self._node_name,
        }
        port = self._switch.require().ports.get(self._interface)
        if port is not None and not identity.items() <= port.external_ids.items():
            if _MARK not in port.external_ids:
                raise BindingError(
                    f"the switch has a port {self._interface} that is not ours: name another in [node_port] interface"
                )
            self._switch.delete_port(self._interface, applied=True)
            port = None
        if port is None:
            self._switch.add_port(
                NewPort(
                    name=self._interface,
                    bridge=vif.bridge_name,
                    external_ids={**identity, "iface-status": "active", "vm-uuid": self._node_name},
                    type="internal",
                    mac=vif.address,
                    mtu=vif.network.mtu,
                )
            )
        made = self._switch.wait_for(
            lambda state: self._ifindex(state) or None,
            time.monotonic() + PLUG_TIMEOUT,
            self._stopped.is_set,
        )
        if made is None:
            raise BindingError(f"ovs-vswitchd does not make the interface {self._interface}: is it running?")

    def _configure(self, link: Links, wanted: Plan, *, compute_checksums: bool) -> None:
        state = link.state(self._interface)
        if state is None:
            raise BindingError(f"interface {self._interface} is gone again")
        missing = [a.cidr for a in wanted.addresses if not _has(state.addresses, a.cidr)]
        if compute_checksums and offload.tx_checksums(self._interface):
            offload.disable_tx_checksums(self._interface)
        if state.up and not missing and wanted.mtu in (0, state.mtu):
            return
        if wanted.ipv6 and not state.up:
            links.prepare_ipv6(self._interface)
        link.set_up(self._interface, mtu=wanted.mtu)
        for cidr in missing:
            link.add_address(self._interface, cidr)

    def _route(self, link: Links, wanted: set[Route]) -> None:
        there = link.routes(protocol=ROUTE_PROTOCOL)
        for route in there - wanted:
            link.delete_route(self._interface, route, protocol=ROUTE_PROTOCOL)
        failures = []
        for route in wanted - there:
            try:
                link.add_route(self._interface, route, protocol=ROUTE_PROTOCOL)
            except KuryrError as error:
                failures.append(str(error))
        if failures:
            raise BindingError("; ".join(failures))


def _has(addresses: Iterable[str], cidr: str) -> bool:
    wanted = ipaddress.ip_interface(cidr)
    return any(ipaddress.ip_interface(address) == wanted for address in addresses)
