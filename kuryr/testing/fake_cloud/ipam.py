# SPDX-License-Identifier: Apache-2.0
"""Addresses of a subnet: which are free, who has which."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class Full(Exception):
    """No free address is left in the pools."""


class Taken(Exception):
    """The address belongs to someone."""


class Addresses:
    """The addresses of one subnet. Chosen ones come from the pools in turn, so none comes back at once."""

    def __init__(self, cidr: str, pools: Iterable[tuple[str, str]]) -> None:
        self.network: IPNetwork = ipaddress.ip_network(cidr)
        self._pools = [(int(ipaddress.ip_address(a)), int(ipaddress.ip_address(b))) for a, b in pools]
        self._size = sum(last - first + 1 for first, last in self._pools)
        self._owners: dict[int, str] = {}
        self._used_of_pools = 0
        self._pool, self._next = 0, self._pools[0][0] if self._pools else 0

    @property
    def free(self) -> int:
        """Addresses left in the pools."""
        return self._size - self._used_of_pools

    @property
    def used(self) -> int:
        """Addresses that have an owner."""
        return len(self._owners)

    def owner(self, address: str) -> str | None:
        """Who has the address."""
        return self._owners.get(int(ipaddress.ip_address(address)))

    def contains(self, address: str) -> bool:
        """Whether the address is one of the subnet's."""
        parsed = ipaddress.ip_address(address)
        return parsed.version == self.network.version and parsed in self.network

    def take(self, owner: str, address: str | None = None) -> str:
        """Give ``owner`` the address, or the next free one.

        :raises Full, Taken:
        """
        if address is not None:
            number = int(ipaddress.ip_address(address))
            if number in self._owners:
                raise Taken
        else:
            number = self._choose()
        self._owners[number] = owner
        self._used_of_pools += self._in_pools(number)
        return str(type(self.network.network_address)(number))

    def give_back(self, address: str) -> None:
        """The address is free again."""
        number = int(ipaddress.ip_address(address))
        if self._owners.pop(number, None) is not None:
            self._used_of_pools -= self._in_pools(number)

    def _choose(self) -> int:
        if self.free <= 0:
            raise Full
        while True:
            number = self._next
            if number == self._pools[self._pool][1]:
                self._pool = (self._pool + 1) % len(self._pools)
                self._next = self._pools[self._pool][0]
            else:
                self._next += 1
            if number not in self._owners:
                return number

    def _in_pools(self, number: int) -> bool:
        return any(first <= number <= last for first, last in self._pools)


def default_pools(network: IPNetwork, gateway: str | None) -> list[tuple[str, str]]:
    """The pools that Neutron makes: all but the network's ends and the gateway."""
    first = int(network.network_address) + 1
    last = int(network.broadcast_address) - (1 if network.version == 4 else 0)
    address = type(network.network_address)
    if gateway is None:
        return [(str(address(first)), str(address(last)))]
    middle = int(ipaddress.ip_address(gateway))
    ranges = [(first, min(middle - 1, last)), (max(middle + 1, first), last)]
    if not first <= middle <= last:
        ranges = [(first, last)]
    return [(str(address(a)), str(address(b))) for a, b in ranges if a <= b]


def eui64(network: IPNetwork, mac: str) -> str:
    """The address that a host with this MAC gives itself in an IPv6 subnet of SLAAC."""
    octets = bytearray(int(part, 16) for part in mac.split(":"))
    octets[0] ^= 2
    interface = int.from_bytes(bytes([*octets[:3], 0xFF, 0xFE, *octets[3:]]), "big")
    return str(ipaddress.IPv6Address(int(network.network_address) | interface))
