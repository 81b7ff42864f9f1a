# SPDX-License-Identifier: Apache-2.0
"""Drivers for tests, one of each kind: small, but with the whole contract kept."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, ClassVar

from oslo_config import cfg

from kuryr.cloud import identity
from kuryr.cloud.calls import CallBook
from kuryr.cloud.ports import FixedIP as PortIP
from kuryr.cloud.ports import Port, PortRequest
from kuryr.drivers.base import (
    AdditionalVIF,
    Affected,
    Allocation,
    Choice,
    DriverContext,
    FixedIP,
    MultiVIFDriver,
    Owner,
    PodSecurityGroupsDriver,
    PodVIFDriver,
    ProjectDriver,
    Release,
    VIFPoolDriver,
    VIFRequest,
)
from kuryr.drivers.pod_subnets.default import DefaultPodSubnets
from kuryr.drivers.pod_vif.translate import network_of, vif_of
from kuryr.errors import Terminal, WaitFor
from kuryr.objects.core import Pod
from kuryr.objects.kuryrport import BY_CONTROLLER
from kuryr.objects.meta import Key, KubernetesObject
from kuryr.objects.resources import KURYRPORTS, NAMESPACES, Resource
from kuryr.objects.vif import VIFVlanNested, vif_name

ENTRY_POINTS = """\
[kuryr.drivers.pod_project]
annotated = kuryr.testing.drivers:AnnotatedProject
[kuryr.drivers.pod_subnets]
annotated = kuryr.testing.drivers:AnnotatedSubnets
[kuryr.drivers.pod_security_groups]
annotated = kuryr.testing.drivers:AnnotatedSecurityGroups
[kuryr.drivers.pod_vif]
fake-vlan = kuryr.testing.drivers:VlanVIF
[kuryr.drivers.vif_pool]
fake-pool = kuryr.testing.drivers:Pool
[kuryr.drivers.multi_vif]
annotated = kuryr.testing.drivers:AnnotatedVIFs
"""
"""For the entry_points.txt of a package that makes them known."""

PROJECT = "kuryr.testing/project"
"""Annotation of a namespace: id of its project."""

SUBNETS = "kuryr.testing/subnets"
"""Annotation of a pod: its candidates, such as ``id+id2=10.0.0.9;id3``; ``;`` divides candidates, ``+`` subnets."""

GROUPS = "kuryr.testing/security-groups"
"""Annotation of a pod: ids of its security groups, divided by commas."""

VIFS = "kuryr.testing/vifs"
"""Annotation of a pod: its further VIFs, each ``candidates`` or ``driver/candidates``, divided by spaces."""


def choices_of(text: str, reason: str) -> tuple[Choice, ...]:
    """The candidates that an annotation lists."""
    found = []
    for candidate in text.split(";"):
        ips = [entry.partition("=") for entry in candidate.split("+")]
        fixed_ips = tuple(FixedIP(subnet_id, address or None) for subnet_id, _, address in ips)
        found.append(Choice(fixed_ips=fixed_ips, reason=reason))
    return tuple(found)


class AnnotatedProject(ProjectDriver):
    """The project that the namespace's annotation names, else the configured one."""

    def watches(self) -> Mapping[Resource[Any], Affected]:
        """A namespace matters to all KuryrPorts in it."""
        return {NAMESPACES: self._kuryrports}

    def _kuryrports(self, namespace: KubernetesObject) -> Iterable[Key]:
        keys = self.context.stores[KURYRPORTS].keys()
        return [key for key in keys if key.namespace == namespace.metadata.name]

    def project(self, obj: KubernetesObject) -> str:
        """As the namespace says."""
        namespace = self.context.stores[NAMESPACES].get(Key("", obj.metadata.namespace))
        default = str(self.context.conf.neutron_defaults.project)
        return namespace.metadata.annotations.get(PROJECT, default) if namespace is not None else default

    def projects(self) -> Iterable[str]:
        """Those of all namespaces, and the configured one."""
        namespaces = self.context.stores[NAMESPACES].values()
        named = {namespace.metadata.annotations.get(PROJECT, "") for namespace in namespaces} - {""}
        return named | {self.context.conf.neutron_defaults.project}


class AnnotatedSubnets(DefaultPodSubnets):
    """The candidates that the pod's annotation lists, else the configured one."""

    def choices(self, pod: Pod, project_id: str) -> Sequence[Choice]:
        """As the pod says."""
        text = pod.metadata.annotations.get(SUBNETS)
        return choices_of(text, f"annotation {SUBNETS}") if text else super().choices(pod, project_id)


class AnnotatedSecurityGroups(PodSecurityGroupsDriver):
    """The groups that the pod's annotation lists, else the configured ones."""

    def security_groups(self, pod: Pod, project_id: str) -> Sequence[str]:
        """As the pod says."""
        text = pod.metadata.annotations.get(GROUPS)
        return text.split(",") if text else tuple(self.context.conf.neutron_defaults.pod_security_groups)


class AnnotatedVIFs(MultiVIFDriver):
    """The interfaces that the pod's annotation lists."""

    def additional_vifs(self, pod: Pod, project_id: str) -> Sequence[AdditionalVIF]:
        """As the pod says."""
        found = []
        for text in pod.metadata.annotations.get(VIFS, "").split():
            driver, _, candidates = text.rpartition("/")
            if candidates == "invalid":
                raise Terminal(f"annotation {VIFS}: expected subnet ids, not {candidates!r}")
            found.append(
                AdditionalVIF(choices=choices_of(candidates, f"annotation {VIFS}"), pod_vif_driver=driver)
            )
        return found


class VlanVIF(PodVIFDriver):
    """Subports of nodes that have no Open vSwitch: an unbound port each, and a VLAN id that is free on the node.

    They are up when their port's status is ACTIVE, which one query tells for all that are asked about.
    """

    needs_host_ovs: ClassVar[bool] = False

    def __init__(self, context: DriverContext) -> None:
        super().__init__(context)
        self._calls = CallBook()
        self._lock = threading.Lock()
        self._vlans: dict[str, dict[tuple[str, str], int]] = {}
        self._asked: set[str] = set()
        self._active: set[str] = set()
        self._query: Future[list[Port]] | None = None

    def request_vif(self, request: VIFRequest, choice: Choice) -> Allocation:
        """Make the port."""
        owner = request.owner
        calls = [self.context.subnets.get(subnet_id) for subnet_id in choice.subnet_ids]
        if waiting := [call for call in calls if not call.done()]:
            raise WaitFor(waiting)
        subnets = [call.result() for call in calls]
        port = self._calls.run(
            (owner.uid, request.ifname, choice),
            lambda: self._make(request, choice, subnets[0].network_id),
        )
        return Allocation(
            vif=VIFVlanNested(
                id=port.id,
                address=port.mac_address,
                network=network_of(port, subnets, bridge="", mtu=0),
                vif_name=vif_name("tap", port.id),
                vlan_id=self._vlan(owner, request.ifname),
            ),
            project_id=request.project_id,
            security_groups=tuple(sorted(request.security_groups)),
            subnet_ids=choice.subnet_ids,
            reason=choice.reason,
            reported_by=BY_CONTROLLER,
        )

    def _make(self, request: VIFRequest, choice: Choice, network_id: str) -> Future[Port]:
        owner = request.owner
        found = self.context.inventory.take(owner.uid, request.ifname)
        if found:
            complete: Future[Port] = Future()
            complete.set_result(found[0])
            return complete
        return self.context.ports.create(
            PortRequest(
                network_id=network_id,
                project_id=request.project_id,
                fixed_ips=tuple(PortIP(ip.subnet_id, ip.address) for ip in choice.fixed_ips),
                security_groups=request.security_groups,
                device_id=owner.uid,
                device_owner=identity.POD,
                description=identity.description(self.context.cluster, "pod", owner.uid, request.ifname),
                share=owner.share,
            )
        )

    def _vlan(self, owner: Owner, ifname: str) -> int:
        with self._lock:
            taken = self._vlans.setdefault(owner.node, {})
            mine = (owner.uid, ifname)
            if mine not in taken:
                taken[mine] = next(n for n in range(1, 4095) if n not in taken.values())
            return taken[mine]

    def abandon(self, owner: Owner) -> None:
        """Nothing is kept that is not written down."""
        with self._lock:
            taken = self._vlans.get(owner.node, {})
            for mine in [mine for mine in taken if mine[0] == owner.uid]:
                del taken[mine]

    def release_vif(self, release: Release) -> None:
        """Delete the port."""
        call = ("delete", release.vif.id)
        self._calls.run(call, lambda: self.context.ports.delete(release.vif.id, release.owner.share))
        self._calls.forget(call)

    def update_security_groups(self, allocation: Allocation, groups: Sequence[str], share: str) -> None:
        """Set the port's groups."""
        call = ("groups", allocation.vif.id, tuple(groups))
        self._calls.run(
            call,
            lambda: self.context.ports.update(allocation.vif.id, share=share, security_groups=tuple(groups)),
        )
        self._calls.forget(call)

    def is_up(self, allocation: Allocation) -> bool:
        """Whether the last query had it active; asks again for all that are not."""
        with self._lock:
            port_id = allocation.vif.id
            if port_id in self._active:
                return True
            self._asked.add(port_id)
            if self._query is not None and self._query.done():
                ports = self._query.result() if self._query.exception() is None else []
                self._active |= {port.id for port in ports if port.status == "ACTIVE"}
                self._query = None
            self._asked -= self._active
            if self._query is None and self._asked:
                self._query = self.context.ports.find(ids=sorted(self._asked))
            return port_id in self._active


class Pool(VIFPoolDriver):
    """Ports made before they are wanted, for the nodes and choice of its options; any other is made when wanted."""

    supported_vif_drivers: ClassVar[frozenset[str] | None] = frozenset({"neutron-vif"})

    OPTS: ClassVar[Sequence[tuple[str, Sequence[cfg.Opt]]]] = (
        (
            "fake_pool",
            [
                cfg.ListOpt("nodes", default=[], help="Nodes that have a pool."),
                cfg.IntOpt("size", default=2, help="Ports in a pool."),
            ],
        ),
    )

    def __init__(self, context: DriverContext, vif_driver: PodVIFDriver) -> None:
        super().__init__(context, vif_driver)
        self._lock = threading.Lock()
        self._ready: dict[str, list[Port]] = {}
        self._given: dict[tuple[str, str], Port] = {}

    def start(self) -> None:
        """Fill the pools, in the background."""
        self.vif_driver.start()
        threading.Thread(target=self._fill, name="fake-pool", daemon=True).start()

    def _fill(self) -> None:
        conf = self.context.conf
        subnet_ids = conf.neutron_defaults.pod_subnet
        subnets = [self.context.subnets.get(subnet_id).result() for subnet_id in subnet_ids]
        network_id = subnets[0].network_id
        for node in conf.fake_pool.nodes:
            for number in range(conf.fake_pool.size):
                port = self.context.ports.create(
                    PortRequest(
                        network_id=network_id,
                        project_id=conf.neutron_defaults.project,
                        fixed_ips=tuple(PortIP(subnet_id) for subnet_id in subnet_ids),
                        security_groups=tuple(conf.neutron_defaults.pod_security_groups),
                        device_id=f"{self.context.cluster}-{node}",
                        device_owner=identity.POD,
                        description=identity.description(self.context.cluster, "pool", node, str(number)),
                        host_id=node,
                    )
                ).result()
                with self._lock:
                    self._ready.setdefault(node, []).append(port)

    def ready(self, node: str) -> int:
        """How many ports a node's pool has."""
        with self._lock:
            return len(self._ready.get(node, []))

    def known_ports(self) -> Collection[str]:
        """All that are ready."""
        with self._lock:
            return {port.id for ready in self._ready.values() for port in ready}

    def request_vif(self, request: VIFRequest, choice: Choice) -> Allocation:
        """A ready one where the pool has one, without any call."""
        conf = self.context.conf.neutron_defaults
        calls = [self.context.subnets.get(subnet_id) for subnet_id in choice.subnet_ids]
        if waiting := [call for call in calls if not call.done()]:
            raise WaitFor(waiting)
        mine = (request.owner.uid, request.ifname)
        with self._lock:
            port = self._given.get(mine)
            ready = self._ready.get(request.owner.node, [])
            if port is None and ready and list(choice.subnet_ids) == list(conf.pod_subnet):
                port = self._given[mine] = ready.pop()
        if port is None:
            return self.vif_driver.request_vif(request, choice)
        return Allocation(
            vif=vif_of(port, [call.result() for call in calls], default_bridge=conf.ovs_bridge),
            project_id=request.project_id,
            security_groups=tuple(sorted(request.security_groups)),
            subnet_ids=choice.subnet_ids,
            reason=f"{choice.reason}, from the pool of {request.owner.node}",
        )

    def settled(self, request: VIFRequest) -> None:
        """As the VIF driver does."""
        self.vif_driver.settled(request)

    def abandon(self, owner: Owner) -> None:
        """What was given out and not used goes back."""
        with self._lock:
            for mine in [mine for mine in self._given if mine[0] == owner.uid]:
                self._ready.setdefault(owner.node, []).append(self._given.pop(mine))
        self.vif_driver.abandon(owner)

    def release_vif(self, release: Release) -> None:
        """A port of the pool goes back to it."""
        with self._lock:
            port = self._given.pop((release.owner.uid, release.ifname), None)
            if port is not None:
                self._ready.setdefault(release.owner.node, []).append(port)
                return
        self.vif_driver.release_vif(release)

    def update_security_groups(self, allocation: Allocation, groups: Sequence[str], share: str) -> None:
        """As the VIF driver does."""
        self.vif_driver.update_security_groups(allocation, groups, share)
