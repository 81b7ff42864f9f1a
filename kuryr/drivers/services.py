# SPDX-License-Identifier: Apache-2.0
"""The contracts of the kinds that Services use, and what these are asked with. Re-exported by ``base``."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Sequence

import msgspec

from kuryr.drivers.contract import Driver
from kuryr.drivers.types import Choice
from kuryr.objects.meta import KubernetesObject


class Member(msgspec.Struct, frozen=True, order=True):
    """A backend: ``subnet_id`` is empty where the provider is to route to it."""

    address: str
    port: int
    subnet_id: str = ""
    name: str = ""


class Listener(msgspec.Struct, frozen=True, kw_only=True):
    """A port of a load balancer with its one pool. ``protocol``: TCP, UDP or SCTP; time-outs in milliseconds, 0: as
    the provider has them; ``allowed_cidrs`` empty: everyone."""

    name: str
    protocol: str
    port: int
    members: tuple[Member, ...] = ()
    client_timeout: int = 0
    member_timeout: int = 0
    allowed_cidrs: tuple[str, ...] = ()
    session_affinity_seconds: int = 0


class LoadBalancer(msgspec.Struct, frozen=True, kw_only=True):
    """A load balancer that is wanted: whole, so that one call can make it.

    ``uid`` is the Service's and identifies it; ``vips`` has one choice an IP family, each with its address.
    """

    uid: str
    name: str
    project_id: str
    vips: tuple[Choice, ...]
    listeners: tuple[Listener, ...]
    security_groups: tuple[str, ...] = ()
    provider: str = ""
    share: str = ""


class LoadBalancerState(msgspec.Struct, frozen=True, kw_only=True):
    """What is there. ``ready`` when every member is provisioned, not when the load balancer says ACTIVE.

    ``listeners`` maps each listener's name to its id.
    """

    id: str
    vip_port_id: str
    ready: bool
    listeners: dict[str, str] = {}
    unsupported: tuple[str, ...] = ()
    """Sentences on what the provider cannot express; told as Events."""


class PublicIP(msgspec.Struct, frozen=True, kw_only=True):
    """A public address. ``adopted``: it was there before and is never deleted."""

    id: str
    address: str
    adopted: bool = False


class ServiceSubnetsDriver(Driver):
    """Where the cluster IPs of Services are."""

    kind = "service_subnets"

    @abc.abstractmethod
    def choices(self, service: KubernetesObject, project_id: str) -> Sequence[Choice]:
        """A choice for each cluster IP of the Service, in their order, with the address itself.

        :raises Terminal: where no subnet holds an address.
        """

    @abc.abstractmethod
    def subnet_ids(self) -> Iterable[str]:
        """Ids of all subnets of cluster IPs: nodes hold routes to them."""


class ServiceSecurityGroupsDriver(Driver):
    """Which security groups a load balancer's VIP has."""

    kind = "service_security_groups"

    @abc.abstractmethod
    def security_groups(self, service: KubernetesObject, project_id: str) -> Sequence[str]:
        """Ids; empty: as the provider does without. Asked at each reconcile; a change is carried out."""


class EndpointsLBaaSDriver(Driver):
    """How a Service is balanced."""

    kind = "endpoints_lbaas"

    @abc.abstractmethod
    def ensure(self, wanted: LoadBalancer) -> LoadBalancerState:
        """Make what is there equal to ``wanted``: created in one call, members changed in one call a pool.

        Compared with what the cloud shows, by the Service's UID: a load balancer that an interrupted call made is found,
        one that was deleted or broken by hand is made anew. Called until it returns ``ready``.

        :raises WaitFor: while calls are under way. Changes that come meanwhile are merged into the next call.
        """

    @abc.abstractmethod
    def release(self, uid: str, project_id: str, share: str) -> None:
        """Delete all of it. What is already gone is a success.

        :raises WaitFor: while calls are under way; called again until it returns.
        """


class ServicePublicIPDriver(Driver):
    """Public addresses of Services of type LoadBalancer."""

    kind = "service_public_ip"

    @abc.abstractmethod
    def ensure(
        self, service: KubernetesObject, project_id: str, vip_port_id: str, requested: str
    ) -> PublicIP:
        """An address that leads to the VIP: ``requested`` (an existing one is adopted), or any where that is empty.

        :raises Terminal: where the requested one cannot be had; the message names who has it.
        :raises WaitFor: while calls are under way.
        """

    @abc.abstractmethod
    def release(self, public_ip: PublicIP, project_id: str) -> None:
        """Let go of it; an adopted one is only detached. What is already gone is a success."""
