# SPDX-License-Identifier: Apache-2.0
"""KuryrNetwork: a network that pods of a namespace can be on."""

from __future__ import annotations

import msgspec

from kuryr.objects.meta import Condition, KubernetesObject

READY = "Ready"
"""Type of the condition that says whether pods can be on the network."""


class KuryrNetworkSpec(msgspec.Struct, rename="camel", omit_defaults=True):
    """Whose network it is. ``default``: pods of the namespace that select no network may be on it."""

    project_id: str = ""
    default: bool = False


class SubnetStatus(msgspec.Struct, rename="camel", omit_defaults=True):
    """A subnet of the network."""

    id: str
    cidr: str = ""


class KuryrNetworkStatus(msgspec.Struct, rename="camel", omit_defaults=True):
    """What is there in Neutron. The original wrote ``subnet_id`` alone.

    ``populated``: the nodes' pools were asked to have ports of the network ready.
    """

    subnet_id: str = ""
    subnets: list[SubnetStatus] = []
    populated: bool = False
    conditions: list[Condition] = []


class KuryrNetwork(KubernetesObject, kw_only=True):
    """A network. The namespace's own has the name of the namespace."""

    spec: KuryrNetworkSpec = msgspec.field(default_factory=KuryrNetworkSpec)
    status: KuryrNetworkStatus = msgspec.field(default_factory=KuryrNetworkStatus)

    @property
    def used_by_default(self) -> bool:
        """Whether pods that select no network may be on it."""
        return self.spec.default or self.metadata.name == self.metadata.namespace

    @property
    def ready(self) -> bool:
        """Whether pods can be on it, as far as is known: the original wrote no conditions."""
        ready = next((found for found in self.status.conditions if found.type == READY), None)
        return bool(self.subnet_ids) and (ready is None or ready.status != "False")

    @property
    def subnet_ids(self) -> tuple[str, ...]:
        """Ids of all its subnets."""
        if self.status.subnets:
            return tuple(subnet.id for subnet in self.status.subnets)
        return (self.status.subnet_id,) if self.status.subnet_id else ()

    @property
    def first_of_each_family(self) -> tuple[str, ...]:
        """Ids of the subnets that a pod gets its addresses from, IPv4 first."""
        first: dict[bool, str] = {}
        for subnet in self.status.subnets:
            first.setdefault(":" in subnet.cidr, subnet.id)
        return tuple(first[is_ipv6] for is_ipv6 in sorted(first)) or self.subnet_ids
