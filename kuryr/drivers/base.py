# SPDX-License-Identifier: Apache-2.0
"""Every driver kind's contract.

A driver answers one question. It is a class behind an entry point of ``kuryr.drivers.<kind>``, chosen by the option
``[kubernetes] <kind>_driver``, and made once in each controller process with a :class:`DriverContext`.

Common to all kinds:

* Methods are called from many threads at a time, for different objects; never twice at a time for one object.
* A method may be called again for the same object, at any time and after a restart: answers must be the same while
  nothing changed, and asking for what is already there must find it.
* To wait for the cloud, start the call and raise :class:`kuryr.errors.WaitFor`; the object is reconciled again when the
  call completes, and the method is then called again. Blocking works too, but holds a thread of the pipeline.
* Errors are those of :mod:`kuryr.errors`: ``Retry`` and ``CloudError`` are told on the object and tried again,
  ``Terminal`` is told and left alone until the object changes. Anything else counts as a bug of the driver: it is logged
  with its trace, and hurts no other object.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, ClassVar

from oslo_config import cfg

from kuryr.drivers.contract import Driver
from kuryr.drivers.policies import AddressGroup, NetworkPolicyDriver, NodesSubnetsDriver, Rule, SecurityGroup
from kuryr.drivers.services import (
    EndpointsLBaaSDriver,
    Listener,
    LoadBalancer,
    LoadBalancerState,
    Member,
    PublicIP,
    ServicePublicIPDriver,
    ServiceSecurityGroupsDriver,
    ServiceSubnetsDriver,
)
from kuryr.drivers.types import (
    AdditionalVIF,
    Affected,
    Allocation,
    Choice,
    DriverContext,
    FixedIP,
    Owner,
    PoolSize,
    Release,
    Shape,
    Stock,
    VIFRequest,
)
from kuryr.errors import Terminal
from kuryr.objects.core import Node, Pod
from kuryr.objects.meta import KubernetesObject
from kuryr.objects.vif import VIF

if TYPE_CHECKING:
    from kuryr.drivers.inventory import Snapshot

__all__ = [
    "AdditionalVIF",
    "AddressGroup",
    "Affected",
    "Allocation",
    "Choice",
    "Driver",
    "DriverContext",
    "EndpointsLBaaSDriver",
    "FixedIP",
    "Listener",
    "LoadBalancer",
    "LoadBalancerState",
    "Member",
    "MultiVIFDriver",
    "NetworkPolicyDriver",
    "NodesSubnetsDriver",
    "Owner",
    "PodSecurityGroupsDriver",
    "PodSubnetsDriver",
    "PodVIFDriver",
    "PoolSize",
    "ProjectDriver",
    "PublicIP",
    "Release",
    "Rule",
    "SecurityGroup",
    "ServicePublicIPDriver",
    "ServiceSecurityGroupsDriver",
    "ServiceSubnetsDriver",
    "Shape",
    "Stock",
    "VIFPoolDriver",
    "VIFRequest",
]


class ProjectDriver(Driver):
    """Which OpenStack project owns what is made for an object.

    Kinds ``pod_project``, ``service_project``, ``namespace_project`` and ``network_policy_project`` share this contract.
    """

    kind = "pod_project"

    @abc.abstractmethod
    def project(self, obj: KubernetesObject) -> str:
        """Id of the project of a Pod, Service, Namespace or NetworkPolicy. Must be cheap: asked at each reconcile.

        :raises Terminal: where the object names a project that cannot be used.
        """

    def projects(self) -> Iterable[str]:
        """Ids of all projects that things of this cluster may be in now: they are listed at take-over and by audits."""
        return (self.context.conf.neutron_defaults.project,)


class PodSubnetsDriver(Driver):
    """Which subnets a pod's default VIF may get its addresses from."""

    kind = "pod_subnets"

    @abc.abstractmethod
    def choices(self, pod: Pod, project_id: str) -> Sequence[Choice]:
        """Candidates, the preferred one first; at least one. Asked at each reconcile, so from stores and caches.

        A candidate that turns out to be full, or in conflict, is passed over for the next.

        :raises Retry: where none can be told yet; the reason is shown on the pod.
        """

    @abc.abstractmethod
    def node_choices(self, node: Node) -> Sequence[Choice]:
        """The same for a node's own port."""

    @abc.abstractmethod
    def subnet_ids(self) -> Iterable[str]:
        """Ids of all subnets that pods may be on now: nodes hold routes to them."""


class PodSecurityGroupsDriver(Driver):
    """Which security groups a pod's VIFs have."""

    kind = "pod_security_groups"

    @abc.abstractmethod
    def security_groups(self, pod: Pod, project_id: str) -> Sequence[str]:
        """Ids. Asked at each reconcile: where the answer differs from what a port has, the port is changed."""

    def node_security_groups(self, node: Node) -> Sequence[str]:
        """Ids of those of a node's own port; empty: as [node_port] security_groups says."""
        return ()


class PodVIFDriver(Driver):
    """How a VIF is made, changed and released."""

    kind = "pod_vif"

    needs_host_ovs: ClassVar[bool] = True
    """Whether VIFs are plugged into the Open vSwitch of the node itself (nested ones are not)."""

    @abc.abstractmethod
    def request_vif(self, request: VIFRequest, choice: Choice) -> Allocation:
        """Make (or find again) the VIF of ``request.owner`` and ``request.ifname`` on ``choice``.

        The identity (owner's UID and interface name) must be part of the creating call, and a VIF that an earlier,
        interrupted request made must be found by it and returned. Called until it returns; then :meth:`settled` is.

        :raises SubnetFull, AddressInUse, QuotaExceeded: the next candidate is tried.
        :raises WaitFor: while calls are under way.
        """

    def settled(self, request: VIFRequest) -> None:
        """Forget what was remembered of a request: its result is written down."""

    @abc.abstractmethod
    def abandon(self, owner: Owner) -> None:
        """The owner's requests will not be repeated: whatever they made, or are making, is given back in the background."""

    @abc.abstractmethod
    def release_vif(self, release: Release) -> None:
        """Give the VIF back. What is already gone is a success.

        :raises WaitFor: while calls are under way; called again until it returns.
        """

    @abc.abstractmethod
    def update_security_groups(self, allocation: Allocation, groups: Sequence[str], share: str) -> None:
        """Set the groups of a VIF that exists.

        :raises WaitFor: while calls are under way; called again until it returns.
        """

    def is_up(self, allocation: Allocation) -> bool:
        """Whether the VIF carries traffic; asked only where ``reported_by`` is ``controller``. From shared, batched
        queries, never one call a VIF."""
        return True

    def adopt(self, owner: Owner, ifname: str, vif: VIF, project_id: str) -> Allocation:
        """Mark a VIF that the original made as this cluster's, without a change to its traffic; what it has.

        :raises WaitFor: while calls are under way; called again until it returns.
        :raises Terminal: where the cloud does not have it any more, or the driver cannot.
        """
        raise Terminal(f"{type(self).__name__} cannot adopt VIFs", reason="NotAdoptable")

    def port_fields(self, owner: Owner, ifname: str, allocation: Allocation) -> Mapping[str, Any] | None:
        """What the Neutron port behind a VIF must have, named as in :class:`kuryr.cloud.ports.Port`. Pure.

        Audits compare it with what Neutron lists, and put back what others changed. None: the VIF has no Neutron port
        that is marked as this cluster's, so that nothing is compared.
        """
        return None

    def lost(self, vif_id: str) -> None:
        """An audit found that the cloud does not have a VIF any more that is in use: it must not be handed out again."""


class VIFPoolDriver(PodVIFDriver):
    """Ready VIFs in front of a :class:`PodVIFDriver`; asked instead of it, with the same contract.

    A pool hit returns at once, with no call to the cloud before the pod runs.
    """

    kind = "vif_pool"

    supported_vif_drivers: ClassVar[frozenset[str] | None] = None
    """Names of pod_vif drivers that the pool can keep VIFs of; None: any."""

    keeps_vifs: ClassVar[bool] = False
    """Whether there is ever anything ready."""

    def __init__(self, context: DriverContext, vif_driver: PodVIFDriver) -> None:
        super().__init__(context)
        self.vif_driver = vif_driver
        self.serves: Callable[[str], bool] = lambda node: True
        """Whether VIFs are to be kept ready for a node, by its name."""

    def adopt(self, owner: Owner, ifname: str, vif: VIF, project_id: str) -> Allocation:
        """As the VIF driver does: what the original made is never kept in a pool."""
        return self.vif_driver.adopt(owner, ifname, vif, project_id)

    def port_fields(self, owner: Owner, ifname: str, allocation: Allocation) -> Mapping[str, Any] | None:
        """As the VIF driver does."""
        return self.vif_driver.port_fields(owner, ifname, allocation)

    @classmethod
    def name_problems(cls, conf: cfg.ConfigOpts) -> Iterable[str]:
        """What is wrong with the names of drivers in the pool's own options. Makes no driver and no call."""
        return ()

    def vif_driver_name(self, node: str) -> str:
        """Name of the pod_vif driver that VIFs of pods on that node are made by, where nothing else says so."""
        return str(self.context.conf.kubernetes.pod_vif_driver)

    def vif_driver_names(self) -> Iterable[str]:
        """Names of all pod_vif drivers that are asked through this pool."""
        return (self.vif_driver_name(""),)

    # What the handler vif_pool shows to the daemons; a pool that keeps nothing leaves these as they are.

    def stock(self, node: str) -> Stock:
        """What is ready for the node."""
        return Stock()

    def change(self, node: str) -> Future[None]:
        """Completes when :meth:`stock` of the node may be another. Ask for it before the stock."""
        return Future()

    def eased(self, node: str) -> float:
        """Seconds for which what is ready for the node need not be shown, since pods come in a burst and go first."""
        return 0.0

    def node_changed(self, node: str) -> None:
        """The node was added or removed."""

    # What audits and people ask

    def audit(self, snapshot: Snapshot) -> None:
        """Take in what a listing shows: ready VIFs that were changed or are gone, ports of the pool that were lost."""

    def known_ports(self) -> Collection[str] | None:
        """Ids of the pool's own ports that are in nobody's use: audits leave them alone. None: not known yet."""
        return ()

    def pools(self) -> Sequence[PoolSize]:
        """What there is, by node, project, subnets and groups."""
        return ()

    def counters(self) -> Mapping[str, int]:
        """What happened since the process began: ``hits``, ``misses``, ``made``, ``failed``, ``removed``."""
        return {}

    def populate(self, node: str, number: int, shape: Shape | None = None) -> int:
        """Let the node's pool of a shape (of each that is in use, where None) grow by ``number`` in the background.

        :returns: how many VIFs were asked for.
        :raises WaitFor: while it is not known what there is.
        """
        return 0

    def free(self, node: str = "") -> int:
        """Remove the ready VIFs of a node (of all, where empty) in the background; how many.

        They are made again when a VIF of their kind is next asked for.
        """
        return 0

    def drain(self, subnet_ids: Collection[str]) -> int:
        """Remove the ready VIFs with an address of one of these subnets in the background: they are about to go; how many."""
        return 0


class MultiVIFDriver(Driver):
    """Which further interfaces a pod has."""

    kind = "multi_vif"

    @abc.abstractmethod
    def additional_vifs(self, pod: Pod, project_id: str) -> Sequence[AdditionalVIF]:
        """The pod's interfaces beside the first, in order.

        :raises Terminal: where the pod asks for something invalid; the pod then gets no further interface.
        """
