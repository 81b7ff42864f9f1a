# SPDX-License-Identifier: Apache-2.0
"""Subnets and networks: read once, shared by all that ask."""

from __future__ import annotations

from concurrent.futures import Future

import msgspec

from kuryr.cloud.session import Cloud


class HostRoute(msgspec.Struct, frozen=True):
    """A route that a subnet gives its hosts."""

    destination: str
    nexthop: str


class AllocationPool(msgspec.Struct, frozen=True):
    """A range, both ends included, from which Neutron chooses addresses."""

    start: str
    end: str


class NetworkInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A network. ``mtu`` in bytes, 0 where unknown; the physical network is None where not visible."""

    id: str
    name: str = ""
    mtu: int = 0
    project_id: str = ""
    shared: bool = False
    provider_network_type: str | None = msgspec.field(default=None, name="provider:network_type")
    physical_network: str | None = msgspec.field(default=None, name="provider:physical_network")
    segmentation_id: int | None = msgspec.field(default=None, name="provider:segmentation_id")
    port_security_enabled: bool = True
    subnets: tuple[str, ...] = ()


class SubnetInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A subnet with its network."""

    id: str
    network: NetworkInfo
    cidr: str
    ip_version: int
    name: str = ""
    project_id: str = ""
    gateway_ip: str | None = None
    enable_dhcp: bool = False
    dns_nameservers: tuple[str, ...] = ()
    host_routes: tuple[HostRoute, ...] = ()
    allocation_pools: tuple[AllocationPool, ...] = ()

    @property
    def network_id(self) -> str:
        """Id of the network."""
        return self.network.id


class Subnets:
    """Subnets by id, cached until :meth:`refresh`; asked for by many at once, each is read once."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def get(self, subnet_id: str, *, project_id: str | None = None, share: str = "") -> Future[SubnetInfo]:
        """The subnet and its network; the future is complete already where they are cached. Errors are not cached."""
        raise NotImplementedError

    def list(
        self, network_id: str, *, project_id: str | None = None, share: str = ""
    ) -> Future[list[SubnetInfo]]:
        """The subnets of a network, read now, ordered by id; fills the cache."""
        raise NotImplementedError

    def refresh(self, subnet_id: str | None = None) -> None:
        """Forget one subnet, or all, so that the next ``get`` reads again."""
        raise NotImplementedError
