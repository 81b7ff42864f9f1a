# SPDX-License-Identifier: Apache-2.0
"""Interfaces, addresses and routes, by netlink in the calling thread's network namespace."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from kuryr.net.errors import AlreadyThere, NetworkError

GROUP = 0x4B75
"""Group of the links that are made here: it is theirs from the message on that makes them."""

_IFA_F_NODAD = 0x02
_RTNH_F_ONLINK = 4
_RT_TABLE_MAIN = 254
_SYSCTL = "/proc/sys/net/ipv6/conf/{}/{}"


@dataclass(frozen=True, slots=True)
class Route:
    """A route: ``destination`` CIDR, ``gateway`` None for on-link."""

    destination: str
    gateway: str | None = None


@dataclass(frozen=True, slots=True)
class LinkState:
    """An interface as it is.

    ``addresses`` with prefix length, without link-local ones; ``mtu`` in bytes; ``ours``: it was made here.
    """

    name: str
    mac: str
    mtu: int
    up: bool
    alias: str
    ours: bool
    addresses: frozenset[str]


class Links:
    """A netlink socket of the namespace in which it was opened; for one thread. Use :func:`links`."""

    def __init__(self, netlink: Any) -> None:
        self._netlink = netlink

    def add_veth(self, name: str, peer: str, peer_namespace: int, *, mac: str, mtu: int) -> None:
        """A pair: ``name`` here, ``peer`` (with the MAC) in the namespace of the file descriptor.

        :raises AlreadyThere: where either name is taken.
        """
        other: dict[str, Any] = {
            "ifname": peer,
            "net_ns_fd": peer_namespace,
            "address": mac,
            "group": GROUP,
        }
        arguments: dict[str, Any] = {"ifname": name, "kind": "veth", "group": GROUP}
        if mtu:
            other["mtu"] = arguments["mtu"] = mtu
        with _explained(f"veth pair {name} and {peer}"):
            self._netlink.link("add", peer=other, **arguments)

    def add_vlan(self, name: str, parent: str, vlan_id: int, namespace: int, *, mac: str, mtu: int) -> None:
        """A VLAN sub-interface of ``parent``, made in the namespace of the file descriptor."""
        with _explained(f"VLAN {vlan_id} of {parent}"):
            self._add_in(name, parent, namespace, mtu, kind="vlan", vlan_id=vlan_id, address=mac)

    def add_macvlan(self, name: str, parent: str, namespace: int, *, mac: str, mtu: int) -> None:
        """A macvlan interface (mode bridge) of ``parent``, made in the namespace of the file descriptor."""
        with _explained(f"macvlan interface of {parent}"):
            self._add_in(name, parent, namespace, mtu, kind="macvlan", macvlan_mode="bridge", address=mac)

    def _add_in(self, name: str, parent: str, namespace: int, mtu: int, **arguments: Any) -> None:
        if mtu:
            arguments["mtu"] = mtu
        self._netlink.link(
            "add", ifname=name, link=index_of(parent), net_ns_fd=namespace, group=GROUP, **arguments
        )

    def move(
        self, name: str, new_name: str, namespace: int, *, mac: str = "", mtu: int = 0, alias: str = ""
    ) -> None:
        """Take an interface down and move it to the namespace of the file descriptor, as ``new_name``.

        Its addresses, routes, neighbours and queueing disciplines stay behind; its group goes with it.

        :raises AlreadyThere: where the name is taken there.
        """
        arguments: dict[str, Any] = {"net_ns_fd": namespace, "ifname": new_name, "ifalias": alias}
        if mac:
            arguments["address"] = mac
        if mtu:
            arguments["mtu"] = mtu
        with _explained(f"interface {name}, to be moved as {new_name}"):
            self._netlink.link("set", index=index_of(name), **arguments)

    def drop_program(self, name: str) -> None:
        """Take the XDP program off an interface; fine where there is none."""
        with _explained(f"{name}: XDP program"):
            self._netlink.link("set", index=index_of(name), xdp={"attrs": [("IFLA_XDP_FD", -1)]})

    def peer(self, name: str) -> int:
        """Index of the other end of a veth pair, in the namespace where that is; 0 for other kinds.

        :raises NetworkError: where there is no interface of that name.
        """
        message = next(iter(self._netlink.get_links(index_of(name))))
        info = message.get("linkinfo")
        return int(message.get("link") or 0) if info is not None and info.get("kind") == "veth" else 0

    def set_up(self, name: str, *, mtu: int = 0, mac: str = "", master: str = "", alias: str = "") -> None:
        """Bring an interface up, with what else is given; an alias is a note that stays with the interface."""
        arguments: dict[str, Any] = {"state": "up"}
        if mtu:
            arguments["mtu"] = mtu
        if mac:
            arguments["address"] = mac
        if master:
            arguments["master"] = index_of(master)
        if alias:
            arguments["ifalias"] = alias
        with _explained(name):
            self._netlink.link("set", index=index_of(name), **arguments)

    def delete(self, name: str) -> bool:
        """Take an interface away; whether there was one."""
        try:
            index = socket.if_nametoindex(name)
        except OSError:
            return False
        try:
            with _explained(name):
                self._netlink.link("del", index=index)
        except NetworkError as error:
            if isinstance(error.__cause__, NetlinkError) and error.__cause__.code == errno.ENODEV:
                return False
            raise
        return True

    def add_address(self, name: str, address: str) -> None:
        """Add an address with prefix length; IPv6 ones are usable at once, Neutron having made sure they are unique."""
        interface = ipaddress.ip_interface(address)
        arguments: dict[str, Any] = {"address": str(interface.ip), "prefixlen": interface.network.prefixlen}
        if interface.version == 6:
            arguments.update(family=socket.AF_INET6, flags=_IFA_F_NODAD)
        else:
            arguments.update(family=socket.AF_INET)
        try:
            with _explained(f"{name}: address {address}"):
                self._netlink.addr("add", index=index_of(name), **arguments)
        except AlreadyThere:
            return  # it has the address already

    def add_route(
        self, name: str, route: Route, *, onlink: bool = False, protocol: int | None = None
    ) -> None:
        """Add or replace a route by this interface. ``onlink``: the gateway is on the link whatever addresses say."""
        with _explained(f"{name}: route to {route.destination} via {route.gateway or 'the link'}"):
            self._netlink.route("add", **_route_arguments(name, route, onlink, protocol))

    def delete_route(self, name: str, route: Route, *, protocol: int) -> None:
        """Take a route away that :meth:`add_route` added with ``protocol``; fine if it is gone."""
        try:
            with _explained(f"{name}: route to {route.destination}"):
                self._netlink.route("del", **_route_arguments(name, route, False, protocol))
        except NetworkError as error:
            if not (isinstance(error.__cause__, NetlinkError) and error.__cause__.code == errno.ESRCH):
                raise

    def routes(self, *, protocol: int) -> set[Route]:
        """All routes of the main table that carry ``protocol``."""
        found = set()
        for family, everything in ((socket.AF_INET, "0.0.0.0/0"), (socket.AF_INET6, "::/0")):
            for message in self._netlink.get_routes(family=family, table=_RT_TABLE_MAIN, proto=protocol):
                destination = message.get("dst")
                cidr = f"{destination}/{message['dst_len']}" if destination else everything
                found.add(Route(cidr, message.get("gateway")))
        return found

    def default_route_interface(self) -> str | None:
        """Name of the interface that carries a default route."""
        for family in (socket.AF_INET, socket.AF_INET6):
            for message in self._netlink.get_default_routes(family=family, table=_RT_TABLE_MAIN):
                if (index := message.get("oif")) is not None:
                    return socket.if_indextoname(index)
        return None

    def state(self, name: str) -> LinkState | None:
        """The interface as it is, or None."""
        try:
            index = socket.if_nametoindex(name)
        except OSError:
            return None
        message = next(iter(self._netlink.get_links(index)))
        return self._state(message)

    def states(self) -> list[LinkState]:
        """All interfaces."""
        return [self._state(message) for message in self._netlink.get_links()]

    def _state(self, message: Any) -> LinkState:
        addresses = frozenset(
            f"{entry.get('local') or entry.get('address')}/{entry['prefixlen']}"
            for entry in self._netlink.get_addr(index=message["index"])
            if not ipaddress.ip_address(entry.get("address")).is_link_local
        )
        return LinkState(
            name=str(message.get("ifname")),
            mac=str(message.get("address") or ""),
            mtu=int(message.get("mtu") or 0),
            up=bool(message["flags"] & 1),
            alias=str(message.get("ifalias") or ""),
            ours=message.get("group") == GROUP,
            addresses=addresses,
        )

    def has_route(self, route: Route) -> bool:
        """Whether the main table has the route."""
        network = ipaddress.ip_network(route.destination)
        family = socket.AF_INET if network.version == 4 else socket.AF_INET6
        for message in self._netlink.get_routes(family=family, table=_RT_TABLE_MAIN):
            if message["dst_len"] != network.prefixlen:
                continue
            destination = message.get("dst")
            same = str(network.network_address) == destination if network.prefixlen else not destination
            if same and (route.gateway is None or message.get("gateway") == route.gateway):
                return True
        return False


@contextmanager
def links() -> Iterator[Links]:
    """A netlink socket for this thread and the namespace that it is in."""
    with IPRoute() as netlink:
        yield Links(netlink)


def names() -> frozenset[str]:
    """Names of all interfaces of this thread's namespace."""
    return frozenset(name for _, name in socket.if_nameindex())


def exists(name: str) -> bool:
    """Whether this thread's namespace has an interface of that name; unlike :func:`names`, without waiting for the kernel's lock."""
    try:
        socket.if_nametoindex(name)
    except OSError:
        return False
    return True


def index_of(name: str) -> int:
    """Index of an interface in this thread's namespace.

    :raises NetworkError: where there is none.
    """
    try:
        return socket.if_nametoindex(name)
    except OSError:
        raise NetworkError(f"interface {name} does not exist") from None


def prepare_ipv6(name: str) -> None:
    """Set an interface of this thread's namespace, before it is up, for addresses that Neutron gave it.

    No duplicate address detection (it takes a second and Neutron makes sure), and router advertisements change
    neither addresses nor routes.
    """
    for setting, value in (("disable_ipv6", "0"), ("accept_dad", "0"), ("accept_ra", "0")):
        path = Path(_SYSCTL.format(name, setting))
        try:
            path.write_text(value)
        except FileNotFoundError:
            return  # a kernel without IPv6; adding an address says so
        except OSError as error:
            raise NetworkError(f"{path}: {os.strerror(error.errno or 0)}") from error


def disable_ipv6(name: str) -> None:
    """Keep an interface of this thread's namespace, before it is up, from speaking IPv6 by itself."""
    path = Path(_SYSCTL.format(name, "disable_ipv6"))
    if path.exists():
        path.write_text("1")


def _route_arguments(name: str, route: Route, onlink: bool, protocol: int | None) -> dict[str, Any]:
    network = ipaddress.ip_network(route.destination)
    arguments: dict[str, Any] = {
        "dst": str(network),
        "oif": index_of(name),
        "family": socket.AF_INET if network.version == 4 else socket.AF_INET6,
        "table": _RT_TABLE_MAIN,
    }
    if route.gateway is None:
        arguments["scope"] = "link"
    else:
        arguments["gateway"] = route.gateway
    if onlink:
        arguments["flags"] = _RTNH_F_ONLINK
    if protocol is not None:
        arguments["proto"] = protocol
    return arguments


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn netlink's numbers into errors that name what was tried."""
    try:
        yield
    except NetlinkError as error:
        reason = os.strerror(error.code)
        kind = AlreadyThere if error.code == errno.EEXIST else NetworkError
        raise kind(f"{what}: {reason}") from error
