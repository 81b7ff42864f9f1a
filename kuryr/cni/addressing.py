# SPDX-License-Identifier: Apache-2.0
"""What a VIF means for the interface that carries it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from kuryr.net.links import Route
from kuryr.objects.vif import VIF

_EVERYTHING = {4: "0.0.0.0/0", 6: "::/0"}


@dataclass(frozen=True, slots=True)
class Address:
    """An address with prefix length, and its subnet's gateway."""

    cidr: str
    gateway: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """Addresses, routes, name servers and MTU (bytes, 0 unknown) of an interface.

    ``onlink`` are the gateways that lie outside their subnet, so that the kernel must be told where they are.
    """

    addresses: tuple[Address, ...]
    routes: tuple[Route, ...]
    nameservers: tuple[str, ...]
    mtu: int
    onlink: frozenset[str] = frozenset()

    @property
    def ipv6(self) -> bool:
        """Whether any address is of IPv6."""
        return any(":" in address.cidr for address in self.addresses)


def plan(vif: VIF, *, default: bool) -> Plan:
    """The plan of ``vif``. ``default``: it carries the default routes.

    The subnets' host routes are kept; of several subnets of a family with a gateway the first gives the default route.
    """
    addresses: list[Address] = []
    routes: list[Route] = []
    nameservers: list[str] = []
    onlink: set[str] = set()
    defaults: set[int] = set()
    for subnet in vif.network.subnets:
        network = ipaddress.ip_network(subnet.cidr)
        addresses += [Address(f"{ip}/{network.prefixlen}", subnet.gateway) for ip in subnet.ips]
        nameservers += subnet.dns
        if not subnet.ips:
            continue
        for route in subnet.routes:
            destination = str(ipaddress.ip_network(route.cidr, strict=False))
            own = route.gateway in subnet.ips
            routes.append(Route(destination, None if own else route.gateway))
        if default and subnet.gateway is not None and network.version not in defaults:
            defaults.add(network.version)
            routes.append(Route(_EVERYTHING[network.version], subnet.gateway))
            if ipaddress.ip_address(subnet.gateway) not in network:
                onlink.add(subnet.gateway)
    return Plan(
        addresses=tuple(addresses),
        routes=tuple(dict.fromkeys(routes)),
        nameservers=tuple(dict.fromkeys(nameservers)),
        mtu=vif.network.mtu,
        onlink=frozenset(onlink),
    )
