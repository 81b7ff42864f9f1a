# SPDX-License-Identifier: Apache-2.0
"""Ports: addresses, MACs, binding."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from kuryr.testing.fake_cloud import errors
from kuryr.testing.fake_cloud.ipam import Full, Taken, eui64
from kuryr.testing.fake_cloud.keystone import Token
from kuryr.testing.fake_cloud.networks import Networks
from kuryr.testing.fake_cloud.resource import Item, Resource, State
from kuryr.testing.fake_cloud.security import SecurityGroups

VIF_DETAILS = {
    "port_filter": True,
    "connectivity": "l2",
    "ovs_create_tap": True,
    "bridge_name": "br-int",
    "datapath_type": "netdev",
    "bound_drivers": {"0": "ovn"},
}
"""As ML2/OVN has them."""

ROUTER_INTERFACE = "network:router_interface"
MAX_FIXED_IPS = 9


class Ports(Resource):
    """Ports."""

    singular, plural, title, not_found_type = "port", "ports", "Port", "PortNotFound"
    required = frozenset({"network_id"})
    defaults = {
        "admin_state_up": True,
        "device_id": "",
        "device_owner": "",
        "mac_address": None,
        "fixed_ips": list,
        "security_groups": list,
        "allowed_address_pairs": list,
        "extra_dhcp_opts": list,
        "port_security_enabled": True,
        "binding:host_id": "",
        "binding:profile": dict,
        "binding:vnic_type": "normal",
        "qos_policy_id": None,
    }
    tags_in_post = True
    shown = frozenset({"status", "binding:vif_type", "binding:vif_details", "ip_allocation"})

    def __init__(self, state: State, networks: Networks, groups: SecurityGroups) -> None:
        super().__init__(state)
        self._networks = networks
        self._groups = groups
        self._macs: dict[tuple[str, str], str] = {}
        self.holds: Callable[[Item], errors.NeutronError | None] = lambda port: None
        """Tells why a port may not be deleted."""

    def complete(self, token: Token, item: Item, asked: dict[str, Any]) -> None:
        """Give the port its MAC, addresses, groups and binding."""
        network = self._networks.find(token, item["network_id"])
        mac = item["mac_address"] = self._mac(item)
        item["fixed_ips"] = self._take_addresses(item, network, asked.get("fixed_ips"))
        try:
            # As Neutron does, groups after addresses: a full subnet is what is told of both.
            item["security_groups"] = self._security_groups(item, asked)
        except errors.NeutronError:
            self._give_back(item["fixed_ips"])
            raise
        self._macs[item["network_id"], mac] = item["id"]
        item.update(
            status="DOWN", ip_allocation="immediate", qos_network_policy_id=None, resource_request=None
        )
        self._bind(item)

    def change(self, token: Token, item: Item, asked: dict[str, Any]) -> None:
        """Change addresses, groups, binding and the rest."""
        changed = {**item, **asked}
        if "security_groups" in asked:
            self._groups.check(item["project_id"], asked["security_groups"])
        if asked.get("mac_address", item["mac_address"]) != item["mac_address"]:
            changed["mac_address"] = None
            changed["mac_address"] = self._mac({**item, "mac_address": asked["mac_address"]})
        if "fixed_ips" in asked:
            before = item["fixed_ips"]
            self._give_back(before)
            try:
                changed["fixed_ips"] = self._take_addresses(
                    item, self._networks.items[item["network_id"]], asked["fixed_ips"]
                )
            except errors.NeutronError:
                for ip in before:
                    self.state.addresses[ip["subnet_id"]].take(item["id"], ip["ip_address"])
                raise
        del self._macs[item["network_id"], item["mac_address"]]
        self._macs[item["network_id"], changed["mac_address"]] = item["id"]
        item.update(changed)
        if "binding:host_id" in asked:
            item["status"] = "DOWN"
            self._bind(item)

    def release(self, item: Item) -> None:
        """Give back the addresses and the MAC."""
        if item["device_owner"] == ROUTER_INTERFACE:
            raise errors.conflict(
                "ServicePortInUse",
                f"Port {item['id']} cannot be deleted directly via the port API: has device owner "
                f"{ROUTER_INTERFACE}.",
            )
        held = self.holds(item)
        if held is not None:
            raise held
        self.forget(item)

    def forget(self, item: Item) -> None:
        """Give back what the port holds."""
        self._give_back(item["fixed_ips"])
        self._macs.pop((item["network_id"], item["mac_address"]), None)

    def restore(self, item: Item) -> None:
        """The port takes its addresses and its MAC."""
        super().restore(item)
        self._macs[item["network_id"], item["mac_address"]] = item["id"]
        for ip in item["fixed_ips"]:
            self.state.addresses[ip["subnet_id"]].take(item["id"], ip["ip_address"])

    def _bind(self, item: Item) -> None:
        host = item["binding:host_id"]
        known = self.state.hosts is None or host in self.state.hosts
        if not host:
            item.update({"binding:vif_type": "unbound", "binding:vif_details": {}})
        elif known:
            item.update({"binding:vif_type": "ovs", "binding:vif_details": dict(VIF_DETAILS)})
        else:
            item.update({"binding:vif_type": "binding_failed", "binding:vif_details": {}})

    def _security_groups(self, item: Item, asked: dict[str, Any]) -> list[str]:
        if asked.get("security_groups") is None:
            if item["device_owner"].startswith("network:") or not item["port_security_enabled"]:
                return []
            return [self._groups.default(item["project_id"])["id"]]
        wanted = list(asked["security_groups"])
        self._groups.check(item["project_id"], wanted)
        return wanted

    def _mac(self, item: Item) -> str:
        network_id = item["network_id"]
        if item["mac_address"]:
            mac = str(item["mac_address"]).lower()
            if self._macs.get((network_id, mac), item["id"]) != item["id"]:
                raise errors.conflict(
                    "MacAddressInUse",
                    f"Unable to complete operation for network {network_id}. The mac address {mac} is in use.",
                )
            return mac
        while True:
            mac = "fa:16:3e:" + ":".join(f"{octet:02x}" for octet in random.randbytes(3))
            if (network_id, mac) not in self._macs:
                return mac

    def _take_addresses(
        self, item: Item, network: Item, asked: list[dict[str, str]] | None
    ) -> list[dict[str, str]]:
        """Addresses for what is asked; all or none. None asks for one of each family."""
        if asked is None:
            asked = self._one_of_each_family(network)
        if len(asked) > MAX_FIXED_IPS:
            raise errors.invalid_input("Exceeded maximum amount of fixed ips per port")
        taken: list[dict[str, str]] = []
        try:
            for wanted in asked:
                taken.append(self._take(item, network, wanted))
        except errors.NeutronError:
            self._give_back(taken)
            raise
        return taken

    def _one_of_each_family(self, network: Item) -> list[dict[str, str]]:
        chosen: list[dict[str, str]] = []
        for version in (4, 6):
            subnets = [
                subnet_id
                for subnet_id in network["subnets"]
                if self.state.addresses[subnet_id].network.version == version
            ]
            if not subnets:
                continue
            free = [subnet_id for subnet_id in subnets if self.state.addresses[subnet_id].free]
            chosen.append({"subnet_id": (free or subnets)[0]})
        return chosen

    def _take(self, item: Item, network: Item, wanted: dict[str, str]) -> dict[str, str]:
        address = wanted.get("ip_address")
        subnet_id = wanted.get("subnet_id") or self._subnet_of(network, address or "")
        subnet = self.state.of("subnets").get(subnet_id)
        if subnet is None:
            raise errors.not_found("SubnetNotFound", f"Subnet {subnet_id} could not be found.")
        if subnet["network_id"] != network["id"]:
            raise errors.invalid_input(
                f"Failed to create port on network {network['id']}, because fixed_ips included invalid subnet "
                f"{subnet_id}"
            )
        addresses = self.state.addresses[subnet_id]
        if address and not addresses.contains(address):
            raise errors.NeutronError(
                400,
                "InvalidIpForSubnet",
                f"IP address {address} is not a valid IP for the specified subnet.",
            )
        if subnet["ipv6_address_mode"] in ("slaac", "dhcpv6-stateless") and not address:
            address = eui64(addresses.network, item["mac_address"])
        try:
            taken = addresses.take(item["id"], address)
        except Full:
            raise errors.conflict(
                "IpAddressGenerationFailure", f"No more IP addresses available on network {network['id']}."
            ) from None
        except Taken:
            raise errors.conflict(
                "IpAddressAlreadyAllocated", f"IP address {address} already allocated in subnet {subnet_id}"
            ) from None
        return {"subnet_id": subnet_id, "ip_address": taken}

    def _subnet_of(self, network: Item, address: str) -> str:
        for subnet_id in network["subnets"]:
            if address and self.state.addresses[subnet_id].contains(address):
                return str(subnet_id)
        raise errors.NeutronError(
            400,
            "InvalidIpForNetwork",
            f"IP address {address} is not a valid IP for any of the subnets on the specified network.",
        )

    def _give_back(self, fixed_ips: list[dict[str, str]]) -> None:
        for ip in fixed_ips:
            addresses = self.state.addresses.get(ip["subnet_id"])
            if addresses is not None:
                addresses.give_back(ip["ip_address"])
