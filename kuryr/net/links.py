# SPDX-License-Identifier: Apache-2.0
"""Interfaces, addresses and routes, by netlink in the calling thread's network namespace."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute

from kuryr.net import netns, rtnetlink
from kuryr.net.errors import NetworkError
from kuryr.net.rtnetlink import Attributes, Request, Rtnetlink

GROUP = 0x4B75
"""Group of the links that are made here: it is theirs from the message on that makes them."""

_IFF_UP = 1
_IFA_F_NODAD = 0x02
_RTNH_F_ONLINK = 4
_RT_TABLE_MAIN = 254
_RTPROT_STATIC = 4
_RTN_UNICAST = 1
_RT_SCOPE_LINK = 253
_SYSCTL = "/proc/sys/net/ipv6/conf/{}/{}"
_IPV6 = {"disable_ipv6": "0", "accept_dad": "0", "accept_ra": "0"}
_REPEAT_LATER = {"mldv2_unsolicited_report_interval": "30000"}
"""In milliseconds; the repetition comes at a random moment of it."""


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
    """Netlink of the namespace in which it was opened; for one thread. Use :func:`links`."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._requests = Rtnetlink()
        stack.callback(self._requests.close)
        self._queries: Any = None
        self._gathered: list[Request] | None = None
        # Of the interfaces that the block of together() is about: it neither makes nor renames any.
        self._indices: dict[str, int] = {}

    @property
    def _dumps(self) -> Any:
        """For what is listed; opened when it is first needed."""
        if self._queries is None:
            self._queries = self._stack.enter_context(IPRoute())
        return self._queries

    @contextmanager
    def together(self) -> Iterator[None]:
        """Carry the changes of the block to interfaces that exist out at its end, all at once.

        One that is refused does not keep the others from being made.

        :raises NetworkError: for the first that was refused.
        """
        gathered: list[Request] = []
        self._gathered = gathered
        try:
            yield
        finally:
            self._gathered = None
            self._indices.clear()
        self._requests.carry_out(gathered)

    def _index(self, name: str) -> int:
        if self._gathered is None:
            return index_of(name)
        if name not in self._indices:
            self._indices[name] = index_of(name)
        return self._indices[name]

    def _change(self, request: Request) -> None:
        if self._gathered is not None:
            self._gathered.append(request)
        else:
            self._requests.carry_out([request])

    def add_veth(self, name: str, peer: str, peer_namespace: int, *, mac: str, mtu: int) -> None:
        """A pair: ``name`` here, ``peer`` (with the MAC) in the namespace of the file descriptor.

        :raises AlreadyThere: where either name is taken.
        """
        size: Attributes = [("IFLA_MTU", mtu)] if mtu else []
        other = [
            ("IFLA_IFNAME", peer),
            ("IFLA_NET_NS_FD", peer_namespace),
            ("IFLA_ADDRESS", mac),
            ("IFLA_GROUP", GROUP),
            *size,
        ]
        self._add(
            f"veth pair {name} and {peer}",
            [("IFLA_IFNAME", name), ("IFLA_GROUP", GROUP), *size],
            "veth",
            [("VETH_INFO_PEER", {"attrs": other})],
        )

    def add_vlan(self, name: str, parent: str, vlan_id: int, namespace: int, *, mac: str, mtu: int) -> None:
        """A VLAN sub-interface of ``parent``, made in the namespace of the file descriptor."""
        attributes = _child(name, parent, namespace, mac, mtu)
        self._add(f"VLAN {vlan_id} of {parent}", attributes, "vlan", [("IFLA_VLAN_ID", vlan_id)])

    def add_macvlan(self, name: str, parent: str, namespace: int, *, mac: str, mtu: int) -> None:
        """A macvlan interface (mode bridge) of ``parent``, made in the namespace of the file descriptor."""
        attributes = _child(name, parent, namespace, mac, mtu)
        data = [("IFLA_MACVLAN_MODE", "bridge")]
        self._add(f"macvlan interface of {parent}", attributes, "macvlan", data)

    def _add(self, what: str, attributes: Attributes, kind: str, data: Attributes) -> None:
        info = {"attrs": [("IFLA_INFO_KIND", kind), ("IFLA_INFO_DATA", {"attrs": list(data)})]}
        whole = [*attributes, ("IFLA_LINKINFO", info)]
        self._change(Request(what, rtnetlink.NEW_LINK, attributes=whole, flags=rtnetlink.CREATE))

    def move(
        self, name: str, new_name: str, namespace: int, *, mac: str = "", mtu: int = 0, alias: str = ""
    ) -> None:
        """Take an interface down and move it to the namespace of the file descriptor, as ``new_name``.

        Its addresses, routes, neighbours and queueing disciplines stay behind; its group goes with it.

        :raises AlreadyThere: where the name is taken there.
        """
        attributes: list[tuple[str, Any]] = [
            ("IFLA_NET_NS_FD", namespace),
            ("IFLA_IFNAME", new_name),
            ("IFLA_IFALIAS", alias),
        ]
        if mac:
            attributes.append(("IFLA_ADDRESS", mac))
        if mtu:
            attributes.append(("IFLA_MTU", mtu))
        self._set(name, f"interface {name}, to be moved as {new_name}", attributes)

    def drop_program(self, name: str) -> None:
        """Take the XDP program off an interface; fine where there is none."""
        self._set(name, f"{name}: XDP program", [("IFLA_XDP", {"attrs": [("IFLA_XDP_FD", -1)]})])

    def leads_to(self, name: str, index: int, namespace: int) -> bool:
        """Whether an interface is a veth pair's end whose other is the one of that index in the namespace of the file descriptor.

        Indices alone say little: whoever is root in a namespace chooses them there.

        :raises NetworkError: where there is no interface of that name.
        """
        message = self._requests.link(index_of(name))
        info = message.get("linkinfo")
        if info is None or info.get("kind") != "veth" or message.get("link") != index:
            return False
        there = message.get("link_netnsid")
        with netns.own() as here:
            if netns.same(here, namespace):
                return there is None
        return there is not None and there == self._requests.namespace_id(namespace)

    def set_up(self, name: str, *, master: str = "", mtu: int = 0, alias: str = "") -> None:
        """Bring an interface up, with what else is given; an alias is a note that stays with the interface."""
        attributes: list[tuple[str, Any]] = []
        if mtu:
            attributes.append(("IFLA_MTU", mtu))
        if master:
            attributes.append(("IFLA_MASTER", self._index(master)))
        if alias:
            attributes.append(("IFLA_IFALIAS", alias))
        self._set(name, name, attributes, up=True)

    def _set(self, name: str, what: str, attributes: Attributes, *, up: bool = False) -> None:
        fields = {"index": self._index(name)}
        if up:
            fields |= {"flags": _IFF_UP, "change": _IFF_UP}
        self._change(Request(what, rtnetlink.NEW_LINK, fields, attributes))

    def delete(self, name: str) -> bool:
        """Take an interface away; whether there was one."""
        try:
            index = socket.if_nametoindex(name)
        except OSError:
            return False
        gone = frozenset({errno.ENODEV})
        self._change(Request(name, rtnetlink.DELETE_LINK, {"index": index}, fine=gone))
        return True

    def add_address(self, name: str, address: str) -> None:
        """Add an address with prefix length, unless it is there.

        IPv6 ones are usable at once, Neutron having made sure they are unique.
        """
        interface = ipaddress.ip_interface(address)
        attributes: list[tuple[str, Any]] = [("IFA_ADDRESS", str(interface.ip))]
        if interface.version == 4:
            attributes.append(("IFA_LOCAL", str(interface.ip)))
        self._change(
            Request(
                f"{name}: address {address}",
                rtnetlink.NEW_ADDRESS,
                {
                    "family": _family(interface.version),
                    "prefixlen": interface.network.prefixlen,
                    "index": self._index(name),
                    "flags": _IFA_F_NODAD if interface.version == 6 else 0,
                },
                attributes,
                rtnetlink.CREATE,
                fine=frozenset({errno.EEXIST}),
            )
        )

    def add_route(
        self,
        name: str,
        route: Route,
        *,
        onlink: bool = False,
        protocol: int = _RTPROT_STATIC,
        exist_ok: bool = False,
    ) -> None:
        """Add a route by this interface.

        :param onlink: the gateway is on the link whatever addresses say.
        :param exist_ok: where there is another to the same destination it stays.
        :raises AlreadyThere: where there is one, otherwise.
        """
        what = f"{name}: route to {route.destination} via {route.gateway or 'the link'}"
        fields, attributes = _route(self._index(name), route, onlink, protocol)
        fine = frozenset({errno.EEXIST}) if exist_ok else frozenset[int]()
        self._change(Request(what, rtnetlink.NEW_ROUTE, fields, attributes, rtnetlink.CREATE, fine))

    def delete_route(self, name: str, route: Route, *, protocol: int) -> None:
        """Take a route away that :meth:`add_route` added with ``protocol``; fine if it is gone."""
        fields, attributes = _route(self._index(name), route, False, protocol)
        what, gone = f"{name}: route to {route.destination}", frozenset({errno.ESRCH})
        self._change(Request(what, rtnetlink.DELETE_ROUTE, fields, attributes, fine=gone))

    def routes(self, *, protocol: int) -> set[Route]:
        """All routes of the main table that carry ``protocol``."""
        found = set()
        for family, everything in ((socket.AF_INET, "0.0.0.0/0"), (socket.AF_INET6, "::/0")):
            for message in self._dumps.get_routes(family=family, table=_RT_TABLE_MAIN, proto=protocol):
                destination = message.get("dst")
                cidr = f"{destination}/{message['dst_len']}" if destination else everything
                found.add(Route(cidr, message.get("gateway")))
        return found

    def default_route_interface(self) -> str | None:
        """Name of the interface that carries a default route."""
        for family in (socket.AF_INET, socket.AF_INET6):
            for message in self._dumps.get_default_routes(family=family, table=_RT_TABLE_MAIN):
                if (index := message.get("oif")) is not None:
                    return socket.if_indextoname(index)
        return None

    def state(self, name: str) -> LinkState | None:
        """The interface as it is, or None."""
        try:
            index = socket.if_nametoindex(name)
        except OSError:
            return None
        return self._state(self._requests.link(index))

    def states(self) -> list[LinkState]:
        """All interfaces."""
        return [self._state(message) for message in self._dumps.get_links()]

    def _state(self, message: Any) -> LinkState:
        addresses = frozenset(
            f"{entry.get('local') or entry.get('address')}/{entry['prefixlen']}"
            for entry in self._dumps.get_addr(index=message["index"])
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
        for message in self._dumps.get_routes(family=family, table=_RT_TABLE_MAIN):
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
    with ExitStack() as stack:
        yield Links(stack)


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


def prepare_ipv6(name: str, *, wired: bool = False) -> None:
    """Set an interface of this thread's namespace, before it is up, for addresses that Neutron gave it.

    No duplicate address detection (it takes a second and Neutron makes sure), and router advertisements change
    neither addresses nor routes.

    :param wired: the port carries traffic already, so the interface's first reports of its multicast groups arrive.
        They are repeated all the same, but within half a minute instead of a second: each goes to all ports of the
        network, and while a burst of pods starts the first ones are enough.
    """
    settings = _IPV6 | _REPEAT_LATER if wired else _IPV6
    for setting, value in settings.items():
        path = Path(_SYSCTL.format(name, setting))
        try:
            # Reading is cheap; some are written under the kernel's lock of all networking.
            if path.read_text().strip() != value:
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


def _family(version: int) -> int:
    return socket.AF_INET if version == 4 else socket.AF_INET6


def _child(name: str, parent: str, namespace: int, mac: str, mtu: int) -> Attributes:
    """Attributes of a sub-interface that is made in another namespace."""
    return [
        ("IFLA_IFNAME", name),
        ("IFLA_LINK", index_of(parent)),
        ("IFLA_NET_NS_FD", namespace),
        ("IFLA_GROUP", GROUP),
        ("IFLA_ADDRESS", mac),
        *([("IFLA_MTU", mtu)] if mtu else []),
    ]


def _route(index: int, route: Route, onlink: bool, protocol: int) -> tuple[dict[str, int], Attributes]:
    """Fields and attributes of a route of the main table."""
    network = ipaddress.ip_network(route.destination)
    fields = {
        "family": _family(network.version),
        "dst_len": network.prefixlen,
        "table": _RT_TABLE_MAIN,
        "proto": protocol,
        "type": _RTN_UNICAST,
        "scope": _RT_SCOPE_LINK if route.gateway is None else 0,
        "flags": _RTNH_F_ONLINK if onlink else 0,
    }
    attributes: list[tuple[str, Any]] = [("RTA_OIF", index)]
    if network.prefixlen:
        attributes.append(("RTA_DST", str(network.network_address)))
    if route.gateway is not None:
        attributes.append(("RTA_GATEWAY", route.gateway))
    return fields, attributes
