# SPDX-License-Identifier: Apache-2.0
"""Trunks and their subports."""

from __future__ import annotations

from typing import Any

from kuryr.testing.fake_cloud import errors, policy
from kuryr.testing.fake_cloud.keystone import Token
from kuryr.testing.fake_cloud.ports import Ports
from kuryr.testing.fake_cloud.resource import Item, Resource, State, touch


class Trunks(Resource):
    """Trunks."""

    singular, plural, title, not_found_type = "trunk", "trunks", "Trunk", "TrunkNotFound"
    required = frozenset({"port_id"})
    defaults = {"admin_state_up": True}
    fixed = frozenset({"sub_ports"})

    def __init__(self, state: State, ports: Ports) -> None:
        super().__init__(state)
        self._ports = ports
        ports.holds = self._holds
        self.actions = {
            "add_subports": self._add,
            "remove_subports": self._remove,
            "get_subports": lambda token, item, asked: {"sub_ports": item["sub_ports"]},
        }

    def complete(self, token: Token, item: Item, asked: dict[str, Any]) -> None:
        """Take the parent and the subports."""
        self._ports.find(token, item["port_id"])
        if any(trunk["port_id"] == item["port_id"] for trunk in self.items.values()):
            raise errors.conflict(
                "ParentPortInUse",
                f"Port {item['port_id']} is currently in use and is not eligible for use as a parent port.",
            )
        subports = item.get("sub_ports") or []
        item.update(status="ACTIVE", sub_ports=[])
        self._join(token, item, subports)

    def release(self, item: Item) -> None:
        """A bound parent holds its trunk; the subports are let go."""
        if self._ports.items[item["port_id"]]["binding:host_id"]:
            raise errors.conflict("TrunkInUse", f"Trunk {item['id']} is currently in use.")
        for subport in item["sub_ports"]:
            self._ports.items[subport["port_id"]]["device_id"] = ""

    def _add(self, token: Token, item: Item, asked: dict[str, Any]) -> Item:
        policy.check(token, "add_subports", self.singular, {}, item["project_id"])
        self._join(token, item, asked["sub_ports"])
        touch(item)
        return item

    def _join(self, token: Token, item: Item, subports: list[Item]) -> None:
        """All or none."""
        taken = {(subport["segmentation_type"], subport["segmentation_id"]) for subport in item["sub_ports"]}
        for subport in subports:
            port_id = subport["port_id"]
            self._ports.find(token, port_id)
            segment = (subport.get("segmentation_type"), subport.get("segmentation_id"))
            if segment in taken:
                raise errors.conflict(
                    "DuplicateSubPort",
                    f"segmentation_type {segment[0]} and segmentation_id {segment[1]} already in use on trunk "
                    f"{item['id']}.",
                )
            if self._trunk_of(port_id) is not None:
                raise errors.conflict("TrunkPortInUse", f"Port {port_id} is in use by another trunk.")
            taken.add(segment)
        for subport in subports:
            port = self._ports.items[subport["port_id"]]
            port.update(device_owner="trunk:subport", device_id="")
            port.update({"binding:vif_type": "unbound"})
            item["sub_ports"].append(dict(subport))

    def _remove(self, token: Token, item: Item, asked: dict[str, Any]) -> Item:
        policy.check(token, "remove_subports", self.singular, {}, item["project_id"])
        leaving = [subport["port_id"] for subport in asked["sub_ports"]]
        there = {subport["port_id"] for subport in item["sub_ports"]}
        for port_id in leaving:
            if port_id not in there:
                raise errors.not_found(
                    "SubPortNotFound", f"SubPort {port_id} on trunk {item['id']} could not be found."
                )
        item["sub_ports"] = [subport for subport in item["sub_ports"] if subport["port_id"] not in leaving]
        touch(item)
        return item

    def _trunk_of(self, port_id: str) -> Item | None:
        for trunk in self.items.values():
            if any(subport["port_id"] == port_id for subport in trunk["sub_ports"]):
                return trunk
        return None

    def _holds(self, port: Item) -> errors.NeutronError | None:
        for trunk in self.items.values():
            if trunk["port_id"] == port["id"]:
                return errors.conflict(
                    "PortInUseAsTrunkParent",
                    f"Port {port['id']} is currently a parent port for trunk {trunk['id']}.",
                )
        holder = self._trunk_of(port["id"])
        if holder is not None:
            return errors.conflict(
                "PortInUseAsSubPort", f"Port {port['id']} is currently a subport for trunk {holder['id']}."
            )
        return None
