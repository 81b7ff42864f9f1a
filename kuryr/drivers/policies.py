# SPDX-License-Identifier: Apache-2.0
"""The contracts of the kinds that policies and nodes use, and what these are asked with. Re-exported by ``base``."""

from __future__ import annotations

import abc
from collections.abc import Iterable

import msgspec

from kuryr.drivers.contract import Driver


class Rule(msgspec.Struct, frozen=True, order=True, kw_only=True):
    """A security group rule. ``protocol`` and ports empty or 0: any. At most one of the three remotes is set;
    ``remote_address_group`` names an address group by the UID under which it was ensured."""

    direction: str
    ethertype: str
    protocol: str = ""
    port_min: int = 0
    port_max: int = 0
    remote_ip_prefix: str = ""
    remote_group_id: str = ""
    remote_address_group: str = ""


class SecurityGroup(msgspec.Struct, frozen=True, kw_only=True):
    """A group that is wanted, whole. ``uid`` identifies it (that of its KuryrSecurityGroup)."""

    uid: str
    name: str
    project_id: str
    rules: frozenset[Rule]


class AddressGroup(msgspec.Struct, frozen=True, kw_only=True):
    """A set of addresses (prefixes) that rules can name; ``uid`` identifies it."""

    uid: str
    name: str
    project_id: str
    addresses: frozenset[str]


class NetworkPolicyDriver(Driver):
    """How groups and their rules are kept in the cloud. What they have to be is not its question."""

    kind = "network_policy"

    @abc.abstractmethod
    def ensure_group(self, wanted: SecurityGroup) -> str:
        """Make the group equal to ``wanted``, by difference and in bulk; its id.

        :raises QuotaExceeded: before anything half-done is left.
        :raises WaitFor: while calls are under way; called again until it returns.
        """

    @abc.abstractmethod
    def release_group(self, uid: str, project_id: str) -> None:
        """Delete the group. What is already gone is a success; one that a port still has is a ``Retry``."""

    @abc.abstractmethod
    def ensure_addresses(self, wanted: AddressGroup) -> str:
        """Make the address group equal to ``wanted``, by difference; its id. Raises as :meth:`ensure_group`."""

    @abc.abstractmethod
    def release_addresses(self, uid: str, project_id: str) -> None:
        """Delete the address group. What is already gone is a success."""


class NodesSubnetsDriver(Driver):
    """Where the nodes themselves are: a policy lets their traffic in."""

    kind = "nodes_subnets"

    @abc.abstractmethod
    def subnet_ids(self) -> Iterable[str]:
        """Ids of the nodes' subnets, now."""
