# SPDX-License-Identifier: Apache-2.0
"""Security groups, their rules, and address groups."""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Iterable
from typing import Any, Final

from kuryr.testing.fake_cloud import errors, policy
from kuryr.testing.fake_cloud.keystone import Token
from kuryr.testing.fake_cloud.resource import Item, Resource, State, timestamp, touch

RULE_KEY: Final = (
    "security_group_id",
    "direction",
    "ethertype",
    "protocol",
    "port_range_min",
    "port_range_max",
    "remote_ip_prefix",
    "remote_group_id",
    "remote_address_group_id",
)
"""Two rules that are equal in these are the same."""


class SecurityGroups(Resource):
    """Security groups. An answer shows a group with its rules."""

    singular, plural, title = "security_group", "security_groups", "Security group"
    not_found_type, missing_text = "SecurityGroupNotFound", "{title} {id} does not exist"
    defaults = {"stateful": True}

    def complete(self, token: Token, item: Item, asked: dict[str, Any]) -> None:
        """A new group lets everything out."""
        item["shared"] = False
        item["security_group_rules"] = []
        for ethertype in ("IPv4", "IPv6"):
            self._add_egress(item, ethertype)

    def release(self, item: Item) -> None:
        """Ports hold their groups."""
        if any(item["id"] in port["security_groups"] for port in self.state.of("ports").values()):
            raise errors.conflict("SecurityGroupInUse", f"Security Group {item['id']} in use.")
        for rule in item["security_group_rules"]:
            self.state.of("security_group_rules").pop(rule["id"], None)

    def default(self, project_id: str) -> Item:
        """The project's default group, made when first asked for."""
        for item in self.items.values():
            if item["project_id"] == project_id and item["name"] == "default":
                return item
        item = {
            "id": str(uuid.uuid4()),
            "name": "default",
            "description": "Default security group",
            "project_id": project_id,
            "tenant_id": project_id,
            "stateful": True,
            "shared": False,
            "security_group_rules": [],
            "tags": [],
            "created_at": timestamp(),
            "updated_at": timestamp(),
            "revision_number": 1,
        }
        self.items[item["id"]] = item
        for ethertype in ("IPv4", "IPv6"):
            self._add_egress(item, ethertype)
        return item

    def check(self, project_id: str, ids: Iterable[str]) -> None:
        """Refuse groups that the port of a project cannot have: those of others, whoever asks."""
        for group_id in ids:
            if not _is_uuid(group_id):
                raise errors.bad_request(
                    f"Invalid input for security_groups. Reason: '{group_id}' is not a valid UUID."
                )
            group = self.items.get(group_id)
            if group is None or not (group["project_id"] == project_id or group["shared"]):
                raise self.missing(group_id)

    def _add_egress(self, item: Item, ethertype: str) -> None:
        rule = {
            **dict.fromkeys(RULE_KEY),
            "id": str(uuid.uuid4()),
            "security_group_id": item["id"],
            "direction": "egress",
            "ethertype": ethertype,
            "project_id": item["project_id"],
            "tenant_id": item["project_id"],
            "description": "",
            "created_at": timestamp(),
            "updated_at": timestamp(),
            "revision_number": 1,
        }
        item["security_group_rules"].append(rule)
        self.state.of("security_group_rules")[rule["id"]] = rule


class SecurityGroupRules(Resource):
    """Rules; none is ever changed."""

    singular, plural, title = "security_group_rule", "security_group_rules", "Security group rule"
    not_found_type, missing_text = "SecurityGroupRuleNotFound", "{title} {id} does not exist"
    required = frozenset({"security_group_id", "direction"})
    defaults = {
        "ethertype": "IPv4",
        "protocol": None,
        "port_range_min": None,
        "port_range_max": None,
        "remote_ip_prefix": None,
        "remote_group_id": None,
        "remote_address_group_id": None,
    }

    def __init__(self, state: State, groups: SecurityGroups, address_groups: AddressGroups) -> None:
        super().__init__(state)
        self._groups = groups
        self._address_groups = address_groups

    def complete(self, token: Token, item: Item, asked: dict[str, Any]) -> None:
        """Refuse a rule that is there already or names what is not there."""
        group = self._groups.find(token, item["security_group_id"])
        if item["remote_group_id"]:
            self._groups.find(token, item["remote_group_id"])
        if item["remote_address_group_id"]:
            self._address_groups.find(token, item["remote_address_group_id"])
        remotes = ("remote_ip_prefix", "remote_group_id", "remote_address_group_id")
        if sum(item[name] is not None for name in remotes) > 1:
            raise errors.NeutronError(
                400,
                "SecurityGroupMultipleRemoteEntites",
                "Only one of remote_ip_prefix or remote_group_id or remote_address_group_id may be provided.",
            )
        for rule in group["security_group_rules"]:
            if all(rule[name] == item[name] for name in RULE_KEY):
                raise errors.conflict(
                    "SecurityGroupRuleExists",
                    f"Security group rule already exists. Rule id is {rule['id']}.",
                )
        item.pop("name")
        group["security_group_rules"].append(item)
        touch(group)

    def release(self, item: Item) -> None:
        """Take the rule out of its group."""
        group = self._groups.items[item["security_group_id"]]
        group["security_group_rules"] = [
            rule for rule in group["security_group_rules"] if rule["id"] != item["id"]
        ]
        touch(group)


class AddressGroups(Resource):
    """Address groups."""

    singular, plural, title = "address_group", "address_groups", "Address group"
    not_found_type = "AddressGroupNotFound"
    fixed = frozenset({"addresses"})

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self.actions = {"add_addresses": self._add, "remove_addresses": self._remove}

    def complete(self, token: Token, item: Item, asked: dict[str, Any]) -> None:
        """Addresses are prefixes, each there once."""
        item["addresses"] = _prefixes(item.get("addresses", []))
        item["shared"] = False
        del item["tags"]

    def release(self, item: Item) -> None:
        """Rules hold their address groups."""
        rules = self.state.of("security_group_rules").values()
        if any(rule["remote_address_group_id"] == item["id"] for rule in rules):
            raise errors.conflict(
                "AddressGroupInUse",
                f"Address group {item['id']} is in use on one or more security group rules.",
            )

    def _add(self, token: Token, item: Item, asked: dict[str, Any]) -> Any:
        policy.check(token, "update", self.singular, {}, item["project_id"])
        wanted = _prefixes(asked["addresses"])
        there = [address for address in wanted if address in item["addresses"]]
        if there:
            raise errors.NeutronError(
                400,
                "AddressesAlreadyExist",
                f"Addresses {there} already exist in the address group {item['id']}.",
            )
        item["addresses"] = item["addresses"] + wanted
        touch(item)
        return {self.singular: item}

    def _remove(self, token: Token, item: Item, asked: dict[str, Any]) -> Any:
        policy.check(token, "update", self.singular, {}, item["project_id"])
        leaving = _prefixes(asked["addresses"])
        absent = [address for address in leaving if address not in item["addresses"]]
        if absent:
            raise errors.not_found(
                "AddressesNotFound",
                f"Addresses {absent} not found in the address group {item['id']}.",
            )
        item["addresses"] = [address for address in item["addresses"] if address not in leaving]
        touch(item)
        return {self.singular: item}


def _prefixes(addresses: Iterable[str]) -> list[str]:
    """Addresses as Neutron keeps them: prefixes, each once."""
    return list(dict.fromkeys(str(ipaddress.ip_network(address, strict=False)) for address in addresses))


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
