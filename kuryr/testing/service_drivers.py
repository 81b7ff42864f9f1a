# SPDX-License-Identifier: Apache-2.0
"""Drivers for tests of the kinds that Services, policies and namespaces use; the cloud is a dictionary."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from typing import Any

from kuryr.drivers.base import (
    AddressGroup,
    Choice,
    DriverContext,
    EndpointsLBaaSDriver,
    FixedIP,
    LoadBalancer,
    LoadBalancerState,
    NetworkPolicyDriver,
    NodesSubnetsDriver,
    ProjectDriver,
    PublicIP,
    SecurityGroup,
    ServicePublicIPDriver,
    ServiceSecurityGroupsDriver,
    ServiceSubnetsDriver,
)
from kuryr.errors import Terminal, WaitFor
from kuryr.objects.meta import KubernetesObject

ENTRY_POINTS = """\
[kuryr.drivers.namespace_project]
fake = kuryr.testing.service_drivers:Project
[kuryr.drivers.service_project]
fake = kuryr.testing.service_drivers:Project
[kuryr.drivers.network_policy_project]
fake = kuryr.testing.service_drivers:Project
[kuryr.drivers.service_subnets]
fake = kuryr.testing.service_drivers:Subnets
[kuryr.drivers.service_security_groups]
fake = kuryr.testing.service_drivers:Groups
[kuryr.drivers.endpoints_lbaas]
fake = kuryr.testing.service_drivers:Balancers
[kuryr.drivers.service_public_ip]
fake = kuryr.testing.service_drivers:PublicIPs
[kuryr.drivers.network_policy]
fake = kuryr.testing.service_drivers:Policies
[kuryr.drivers.nodes_subnets]
fake = kuryr.testing.service_drivers:NodesSubnets
"""
"""For the entry_points.txt of a package that makes them known."""


class Project(ProjectDriver):
    """A project named after the object's namespace (or the object, where that has none)."""

    def project(self, obj: KubernetesObject) -> str:
        """``project-of-<namespace>``."""
        return f"project-of-{obj.metadata.namespace or obj.metadata.name}"


class Subnets(ServiceSubnetsDriver):
    """One subnet for all."""

    def choices(self, service: KubernetesObject, project_id: str) -> Sequence[Choice]:
        """A fixed address."""
        return (Choice(fixed_ips=(FixedIP("services", "10.96.0.9"),), reason="the only subnet of Services"),)

    def subnet_ids(self) -> Iterable[str]:
        """The one."""
        return ("services",)


class Groups(ServiceSecurityGroupsDriver):
    """One group for all."""

    def security_groups(self, service: KubernetesObject, project_id: str) -> Sequence[str]:
        """The one."""
        return ("group",)


class Balancers(EndpointsLBaaSDriver):
    """Load balancers that become ready when a test completes ``building``."""

    def __init__(self, context: DriverContext) -> None:
        super().__init__(context)
        self.lock = threading.Lock()
        self.there: dict[str, LoadBalancer] = {}
        self.building: dict[str, Future[None]] = {}
        self.calls: list[str] = []

    def ensure(self, wanted: LoadBalancer) -> LoadBalancerState:
        """Create or change in one call, which a test completes."""
        with self.lock:
            if self.there.get(wanted.uid) != wanted:
                self.calls.append("change" if wanted.uid in self.there else "create")
                self.there[wanted.uid] = wanted
                self.building[wanted.uid] = Future()
            building = self.building[wanted.uid]
        if not building.done():
            raise WaitFor([building])
        return LoadBalancerState(id=f"lb-{wanted.uid}", vip_port_id=f"vip-{wanted.uid}", ready=True)

    def release(self, uid: str, project_id: str, share: str) -> None:
        """Delete at once."""
        with self.lock:
            if self.there.pop(uid, None) is not None:
                self.calls.append("delete")


class PublicIPs(ServicePublicIPDriver):
    """Addresses by VIP port."""

    def __init__(self, context: DriverContext) -> None:
        super().__init__(context)
        self.held: dict[str, PublicIP] = {}

    def ensure(
        self, service: KubernetesObject, project_id: str, vip_port_id: str, requested: str
    ) -> PublicIP:
        """The requested address, or the next."""
        taken = {ip.address: port for port, ip in self.held.items()}
        if requested and taken.get(requested, vip_port_id) != vip_port_id:
            raise Terminal(f"{requested} belongs to {taken[requested]}")
        address = requested or f"172.24.4.{10 + len(self.held)}"
        return self.held.setdefault(
            vip_port_id, PublicIP(id=f"ip-{vip_port_id}", address=address, adopted=bool(requested))
        )

    def release(self, public_ip: PublicIP, project_id: str) -> None:
        """Forget it."""
        self.held = {port: ip for port, ip in self.held.items() if ip != public_ip}


class Policies(NetworkPolicyDriver):
    """Groups and address groups by UID."""

    def __init__(self, context: DriverContext) -> None:
        super().__init__(context)
        self.groups: dict[str, Any] = {}

    def ensure_group(self, wanted: SecurityGroup) -> str:
        """Write it down."""
        self.groups[wanted.uid] = wanted
        return f"sg-{wanted.uid}"

    def release_group(self, uid: str, project_id: str) -> None:
        """Strike it out."""
        self.groups.pop(uid, None)

    def ensure_addresses(self, wanted: AddressGroup) -> str:
        """Write it down."""
        self.groups[wanted.uid] = wanted
        return f"ag-{wanted.uid}"

    def release_addresses(self, uid: str, project_id: str) -> None:
        """Strike it out."""
        self.groups.pop(uid, None)


class NodesSubnets(NodesSubnetsDriver):
    """One subnet for all nodes."""

    def subnet_ids(self) -> Iterable[str]:
        """The one."""
        return ("nodes",)
