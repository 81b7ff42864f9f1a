# SPDX-License-Identifier: Apache-2.0
"""Networks, subnets and subnet pools."""

from __future__ import annotations

import ipaddress
from typing import Any

from kuryr.testing.fake_cloud import errors
from kuryr.testing.fake_cloud.ipam import Addresses, IPNetwork, default_pools
from kuryr.testing.fake_cloud.keystone import Token
from kuryr.testing.fake_cloud.resource import Item, Resource, touch


class Networks(Resource):
    """Networks."""

    singular, plural, title, not_found_type = "network", "networks", "Network", "NetworkNotFound"
    defaults = {
        "admin_state_up": True,
        "shared": False,
        "router:external": False,
        "mtu": 1442,
        "port_security_enabled": True,
        "provider:network_type": "geneve",
        "provider:physical_network": None,
        "provider:segmentation_id": 1,
    }

    def complete(self, token: Token, item: Item, asked: dict[str, Any]) -> None:
        """A network without subnets."""
        item.update(
            status="ACTIVE",
            subnets=[],
            ipv4_address_scope=None,
            ipv6_address_scope=None,
            availability_zones=[],
        )

    def release(self, item: Item) -> None:
        """Take the subnets too; ports other than DHCP's hold a network."""
        ports = [port["id"] for port in self.state.of("ports").values() if port["network_id"] == item["id"]]
        if ports:
            raise errors.conflict(
                "NetworkInUse",
                f"Unable to complete operation on network {item['id']}. There are one or more ports still in "
                f"use on the network, id for these ports is: {','.join(ports)}.",
            )
        for subnet_id in item["subnets"]:
            del self.state.of("subnets")[subnet_id]
            del self.state.addresses[subnet_id]


class SubnetPools(Resource):
    """Subnet pools."""

    singular, plural, title, not_found_type = "subnetpool", "subnetpools", "Subnet pool", "SubnetPoolNotFound"
    required = frozenset({"prefixes"})
    defaults = {
        "default_prefixlen": None,
        "min_prefixlen": None,
        "max_prefixlen": None,
        "is_default": False,
        "address_scope_id": None,
        "default_quota": None,
    }
    fixed = frozenset({"shared"})

    def complete(self, token: Token, item: Item, asked: dict[str, Any]) -> None:
        """The prefix lengths that are not given follow from the family."""
        version = ipaddress.ip_network(item["prefixes"][0]).version
        bits = 32 if version == 4 else 128
        item["ip_version"] = version
        item["default_prefixlen"] = int(item["default_prefixlen"] or (24 if version == 4 else 64))
        item["min_prefixlen"] = str(item["min_prefixlen"] or (8 if version == 4 else 64))
        item["max_prefixlen"] = str(item["max_prefixlen"] or bits)
        item.setdefault("shared", False)

    def release(self, item: Item) -> None:
        """Subnets hold their pool."""
        if any(subnet["subnetpool_id"] == item["id"] for subnet in self.state.of("subnets").values()):
            raise errors.conflict(
                "SubnetPoolInUse",
                f"Unable to complete operation on subnet pool {item['id']}. "
                "Subnet pool has existing allocations.",
            )

    def allocate(self, item: Item, length: int | None) -> IPNetwork:
        """The next prefix of the pool that no subnet has."""
        length = length or item["default_prefixlen"]
        taken = [
            ipaddress.ip_network(subnet["cidr"])
            for subnet in self.state.of("subnets").values()
            if subnet["subnetpool_id"] == item["id"]
        ]
        for prefix in map(ipaddress.ip_network, item["prefixes"]):
            if length < prefix.prefixlen:
                continue
            step = 1 << ((32 if prefix.version == 4 else 128) - length)
            start, end = int(prefix.network_address), int(prefix.broadcast_address)
            ranges = sorted((int(net.network_address), int(net.broadcast_address)) for net in taken)
            for first, last in ranges:
                if first >= start + step:
                    break
                start = max(start, (last // step + 1) * step)
            if start + step - 1 <= end:
                return ipaddress.ip_network((start, length))
        raise errors.conflict(
            "SubnetAllocationError",
            f"Failed to allocate subnet: Insufficient prefix space to allocate subnet size /{length}.",
        )


class Subnets(Resource):
    """Subnets, with the addresses in them."""

    singular, plural, title, not_found_type = "subnet", "subnets", "Subnet", "SubnetNotFound"
    required = frozenset({"network_id"})
    defaults = {
        "gateway_ip": None,
        "enable_dhcp": True,
        "dns_nameservers": list,
        "host_routes": list,
        "allocation_pools": list,
        "service_types": list,
    }
    fixed = frozenset(
        {"cidr", "ip_version", "subnetpool_id", "prefixlen", "ipv6_address_mode", "ipv6_ra_mode"}
    )

    def __init__(self, state: Any, networks: Networks, pools: SubnetPools) -> None:
        super().__init__(state)
        self._networks = networks
        self._pools = pools

    def complete(self, token: Token, item: Item, asked: dict[str, Any]) -> None:
        """Find the prefix, the gateway and the pools."""
        network = self._networks.find(token, item["network_id"])
        cidr = self._cidr(token, item)
        for other_id in network["subnets"]:
            if cidr.overlaps(self.state.addresses[other_id].network):
                raise errors.invalid_input(
                    f"Requested subnet with cidr: {cidr} for network: {network['id']} overlaps with another "
                    "subnet"
                )
        if "gateway_ip" not in asked:
            item["gateway_ip"] = str(cidr.network_address + 1)
        pools = [(pool["start"], pool["end"]) for pool in asked.get("allocation_pools", ())]
        pools = pools or default_pools(cidr, item["gateway_ip"])
        item.pop("prefixlen", None)
        item.update(
            cidr=str(cidr),
            ip_version=cidr.version,
            allocation_pools=[{"start": start, "end": end} for start, end in pools],
            subnetpool_id=item.get("subnetpool_id"),
            ipv6_address_mode=item.get("ipv6_address_mode"),
            ipv6_ra_mode=item.get("ipv6_ra_mode"),
            segment_id=None,
            # Seen where the network is: a shared network's subnets are shared.
            shared=network["shared"],
        )
        self.state.addresses[item["id"]] = Addresses(str(cidr), pools)
        network["subnets"].append(item["id"])
        touch(network)

    def release(self, item: Item) -> None:
        """Ports hold a subnet."""
        if self.state.addresses[item["id"]].used:
            raise errors.conflict(
                "SubnetInUse",
                f"Unable to complete operation on subnet {item['id']}: One or more ports have an IP allocation "
                "from this subnet.",
            )
        network = self._networks.items[item["network_id"]]
        network["subnets"].remove(item["id"])
        touch(network)
        del self.state.addresses[item["id"]]

    def restore(self, item: Item) -> None:
        """The subnet has its addresses."""
        super().restore(item)
        pools = [(pool["start"], pool["end"]) for pool in item["allocation_pools"]]
        self.state.addresses[item["id"]] = Addresses(item["cidr"], pools)

    def _cidr(self, token: Token, item: Item) -> IPNetwork:
        if item.get("cidr"):
            return ipaddress.ip_network(item["cidr"])
        if item.get("subnetpool_id"):
            length = item.get("prefixlen")
            return self._pools.allocate(
                self._pools.find(token, item["subnetpool_id"]), length and int(length)
            )
        raise errors.bad_request(
            "Bad subnets request: a subnetpool must be specified in the absence of a cidr."
        )
