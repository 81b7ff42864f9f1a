# SPDX-License-Identifier: Apache-2.0
"""Subnets and networks: read once, shared by all that ask."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

import msgspec

from kuryr.cloud.session import Cloud, ProjectCloud

ERROR_SECONDS: Final = 5.0


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


class _SubnetFields(msgspec.Struct, frozen=True, kw_only=True):
    """What of a subnet is the same in Neutron and here."""

    id: str
    cidr: str
    ip_version: int
    name: str = ""
    project_id: str = ""
    gateway_ip: str | None = None
    enable_dhcp: bool = False
    dns_nameservers: tuple[str, ...] = ()
    host_routes: tuple[HostRoute, ...] = ()
    allocation_pools: tuple[AllocationPool, ...] = ()


class SubnetInfo(_SubnetFields, frozen=True, kw_only=True):
    """A subnet with its network."""

    network: NetworkInfo

    @property
    def network_id(self) -> str:
        """Id of the network."""
        return self.network.id


class _Subnet(_SubnetFields, frozen=True, kw_only=True):
    """As Neutron has it."""

    network_id: str

    def info(self, network: NetworkInfo) -> SubnetInfo:
        fields = msgspec.structs.asdict(self)
        del fields["network_id"]
        return SubnetInfo(network=network, **fields)


class _OneSubnet(msgspec.Struct):
    subnet: _Subnet


class _ManySubnets(msgspec.Struct):
    subnets: list[_Subnet]


class _OneNetwork(msgspec.Struct):
    network: NetworkInfo


class _Read(msgspec.Struct):
    """A reading under way or done; ``failed_at`` on the clock."""

    call: Future[SubnetInfo]
    failed_at: float | None = None


class Subnets:
    """Subnets by id, cached until :meth:`refresh`; asked for by many at once, each is read once."""

    def __init__(self, cloud: Cloud, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._cloud = cloud
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, _Read] = {}

    def get(self, subnet_id: str, *, project_id: str | None = None, share: str = "") -> Future[SubnetInfo]:
        """The subnet and its network, by two calls where they are not known.

        The future is complete where they are cached. An error is kept for :data:`ERROR_SECONDS`, so that all
        that wait for the same call learn of it.
        """
        with self._lock:
            known = self._known.get(subnet_id)
            if known is not None and (
                known.failed_at is None or self._clock() < known.failed_at + ERROR_SECONDS
            ):
                return known.call
            call = self._cloud.limiter.submit("get subnet", share, lambda: self._read(subnet_id, project_id))
            read = self._known[subnet_id] = _Read(call)
        call.add_done_callback(lambda _: self._note(read))
        return call

    def list(
        self, network_id: str, *, project_id: str | None = None, share: str = ""
    ) -> Future[list[SubnetInfo]]:
        """The subnets of a network, read now, ordered by id; fills the cache. Two calls."""

        def call() -> list[SubnetInfo]:
            project = self._cloud.project(project_id)
            network = _network(project, network_id)
            answer = project.request(
                "GET",
                "/v2.0/subnets",
                operation="list subnets",
                type=_ManySubnets,
                params={"network_id": network_id, "sort_key": "id", "sort_dir": "asc"},
            )
            found = [subnet.info(network) for subnet in answer.subnets]
            with self._lock:
                for info in found:
                    complete: Future[SubnetInfo] = Future()
                    complete.set_result(info)
                    self._known[info.id] = _Read(complete)
            return found

        return self._cloud.limiter.submit("list subnets", share, call)

    def refresh(self, subnet_id: str | None = None) -> None:
        """Forget one subnet, or all, so that the next ``get`` reads again."""
        with self._lock:
            if subnet_id is None:
                self._known.clear()
            else:
                self._known.pop(subnet_id, None)

    def _note(self, read: _Read) -> None:
        if read.call.cancelled() or read.call.exception() is not None:
            read.failed_at = self._clock()

    def _read(self, subnet_id: str, project_id: str | None) -> SubnetInfo:
        project = self._cloud.project(project_id)
        subnet = project.request(
            "GET", f"/v2.0/subnets/{subnet_id}", operation="get subnet", type=_OneSubnet
        ).subnet
        return subnet.info(_network(project, subnet.network_id))


def _network(project: ProjectCloud, network_id: str) -> NetworkInfo:
    return project.request(
        "GET", f"/v2.0/networks/{network_id}", operation="get network", type=_OneNetwork
    ).network
