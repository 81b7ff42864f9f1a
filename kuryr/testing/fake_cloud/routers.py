# SPDX-License-Identifier: Apache-2.0
"""Routers and their interfaces."""

from __future__ import annotations

import ipaddress
from typing import Any

from kuryr.testing.fake_cloud import errors, policy
from kuryr.testing.fake_cloud.keystone import Token
from kuryr.testing.fake_cloud.networks import Subnets
from kuryr.testing.fake_cloud.ports import ROUTER_INTERFACE, Ports
from kuryr.testing.fake_cloud.resource import Item, Resource, State


class Routers(Resource):
    """Routers."""

    singular, plural, title, not_found_type = "router", "routers", "Router", "RouterNotFound"
    missing_text = "{title} {id} could not be found"
    defaults = {"admin_state_up": True, "external_gateway_info": None, "routes": list}

    def __init__(self, state: State, ports: Ports, subnets: Subnets) -> None:
        super().__init__(state)
        self._ports = ports
        self._subnets = subnets
        self.actions = {"add_router_interface": self._add, "remove_router_interface": self._remove}

    def complete(self, token: Token, item: Item, asked: dict[str, Any]) -> None:
        """A router works at once."""
        item["status"] = "ACTIVE"

    def release(self, item: Item) -> None:
        """Interfaces hold a router."""
        interfaces = self._interfaces(item)
        if interfaces:
            ids = ", ".join(port["id"] for port in interfaces)
            raise errors.conflict("RouterInUse", f"Router {item['id']} has ports still attached: {ids}")

    def _interfaces(self, router: Item) -> list[Item]:
        return [
            port
            for port in self._ports.items.values()
            if port["device_id"] == router["id"] and port["device_owner"] == ROUTER_INTERFACE
        ]

    def _add(self, token: Token, item: Item, asked: dict[str, Any]) -> Any:
        policy.check(token, "add_router_interface", self.singular, {}, item["project_id"])
        if asked.get("port_id"):
            port = self._ports.find(token, asked["port_id"])
            port.update(device_id=item["id"], device_owner=ROUTER_INTERFACE)
        else:
            port = self._port_for(token, item, asked.get("subnet_id", ""))
        return self._told(item, port)

    def _port_for(self, token: Token, router: Item, subnet_id: str) -> Item:
        subnet = self._subnets.find(token, subnet_id)
        if not subnet["gateway_ip"]:
            raise _bad_router("Subnet for router interface must have a gateway IP")
        for interface in self._interfaces(router):
            for ip in interface["fixed_ips"]:
                other = self._subnets.items[ip["subnet_id"]]
                if ipaddress.ip_network(other["cidr"]).overlaps(ipaddress.ip_network(subnet["cidr"])):
                    raise _bad_router(
                        f"Cidr {subnet['cidr']} of subnet {subnet_id} overlaps with cidr {other['cidr']} of subnet "
                        f"{other['id']}"
                    )
        return self._ports.create(
            token,
            {
                "network_id": subnet["network_id"],
                "project_id": router["project_id"],
                "device_id": router["id"],
                "device_owner": ROUTER_INTERFACE,
                "fixed_ips": [{"subnet_id": subnet_id, "ip_address": subnet["gateway_ip"]}],
            },
        )

    def _remove(self, token: Token, item: Item, asked: dict[str, Any]) -> Any:
        policy.check(token, "remove_router_interface", self.singular, {}, item["project_id"])
        for port in self._interfaces(item):
            subnets = [ip["subnet_id"] for ip in port["fixed_ips"]]
            if port["id"] == asked.get("port_id") or asked.get("subnet_id") in subnets:
                self._ports.forget(port)
                del self._ports.items[port["id"]]
                return self._told(item, port)
        if asked.get("subnet_id"):
            raise errors.not_found(
                "RouterInterfaceNotFoundForSubnet",
                f"Router {item['id']} has no interface on subnet {asked['subnet_id']}",
            )
        raise errors.not_found(
            "RouterInterfaceNotFound",
            f"Router {item['id']} does not have an interface with id {asked.get('port_id')}",
        )

    def _told(self, router: Item, port: Item) -> Item:
        subnets = [ip["subnet_id"] for ip in port["fixed_ips"]]
        return {
            "id": router["id"],
            "project_id": router["project_id"],
            "tenant_id": router["project_id"],
            "port_id": port["id"],
            "network_id": port["network_id"],
            "subnet_id": subnets[0] if subnets else None,
            "subnet_ids": subnets,
        }


def _bad_router(reason: str) -> errors.NeutronError:
    return errors.NeutronError(400, "BadRequest", f"Bad router request: {reason}.")
