# SPDX-License-Identifier: Apache-2.0
"""``pod_vif_driver = neutron-vif``: a Neutron port for each VIF, bound to the pod's node."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from kuryr.cloud import identity
from kuryr.cloud.calls import CallBook
from kuryr.cloud.capabilities import check_port_rights
from kuryr.cloud.networks import SubnetInfo
from kuryr.cloud.ports import FixedIP, Port, PortRequest
from kuryr.drivers.base import Allocation, Choice, DriverContext, Owner, PodVIFDriver, Release, VIFRequest
from kuryr.drivers.pod_vif.translate import UnusablePort, vif_of
from kuryr.errors import CloudForbidden, CloudNotFound, CloudThrottled, CloudUnavailable, Terminal, WaitFor
from kuryr.objects.kuryrport import used_vif_ids
from kuryr.objects.resources import KURYRPORTS
from kuryr.objects.vif import VIF

LOG = logging.getLogger(__name__)

ADOPTION = "adoption"
"""Whose turn the calls of an adoption take: one among all namespaces."""

DEVICE_OWNERS = {"Pod": identity.POD, "Node": identity.NODE}


class NeutronVIF(PodVIFDriver):
    """One port creation a VIF and no read, unless an earlier creation's outcome is unknown."""

    def __init__(self, context: DriverContext) -> None:
        super().__init__(context)
        self._calls = CallBook()
        self._lock = threading.Lock()
        # Creations by owner and interface, so that what is under way when the owner goes is given back.
        self._requests: dict[str, dict[str, set[Hashable]]] = {}
        # The candidates that ports which were there at take-over are of.
        self._adopted: dict[tuple[str, str], Choice] = {}
        # Creations whose outcome is unknown: looked for before the next try.
        self._doubtful: set[Hashable] = set()

    def validate(self) -> Iterable[str]:
        """Tell where the user may not make ports, or not bind them to hosts, on the network of [neutron_defaults] pod_subnet."""
        conf = self.context.conf.neutron_defaults
        networks: set[str] = set()
        for subnet_id in conf.pod_subnet:
            # The driver of subnets tells of one that does not exist.
            with contextlib.suppress(CloudNotFound):
                networks.add(self.context.subnets.get(subnet_id).result().network_id)
        for network_id in sorted(networks):
            try:
                check_port_rights(self.context.cloud.project(conf.project or None), network_id)
            except CloudForbidden as error:
                yield (
                    f"Neutron: ports cannot be made and bound to hosts on network {network_id}: {error}. "
                    "The user of [neutron] needs the role 'service' (or admin) in the project."
                )

    def start(self) -> None:
        """List the cluster's ports, so that what an earlier holder made is found again."""
        with self._lock:
            # What is remembered of an earlier turn may be gone, or another's, by now.
            self._calls = CallBook()
            self._requests.clear()
            self._adopted.clear()
            self._doubtful.clear()
        self.context.inventory.begin()

    def request_vif(self, request: VIFRequest, choice: Choice) -> Allocation:
        """Make the port, or find the one that an earlier try made (which may be on another of the choices)."""
        choice = self._take_over(request) or choice
        subnets = self._subnets(request, choice)
        port = self._port(request, choice, subnets[0].network.id)
        conf = self.context.conf.neutron_defaults
        try:
            vif = vif_of(port, subnets, default_bridge=conf.ovs_bridge, mtu=conf.network_device_mtu)
        except UnusablePort:
            # Nothing is left behind: the next try makes another, which is then bound (or not) anew.
            self._give_up(request.owner, [request.ifname])
            raise
        return Allocation(
            vif=vif,
            project_id=request.project_id,
            security_groups=tuple(sorted(request.security_groups)),
            subnet_ids=choice.subnet_ids,
            reason=choice.reason,
        )

    def _subnets(self, request: VIFRequest, choice: Choice) -> list[SubnetInfo]:
        share = request.owner.share
        calls = [self.context.subnets.get(subnet_id, share=share) for subnet_id in choice.subnet_ids]
        if waiting := [call for call in calls if not call.done()]:
            raise WaitFor(waiting, "waiting for Neutron to describe the subnets")
        return [call.result() for call in calls]

    def _take_over(self, request: VIFRequest) -> Choice | None:
        """The candidate that a port which was there at take-over is of, if there is one."""
        owner, ifname = request.owner, request.ifname
        with self._lock:
            if ifname in self._requests.get(owner.uid, {}):
                return self._adopted.get((owner.uid, ifname))
        adopted: Choice | None = None
        for port in self.context.inventory.take(owner.uid, ifname):
            fitting = next((choice for choice in request.choices if _fits(port, request, choice)), None)
            if fitting is None or adopted is not None:
                self._discard(port, owner.share)
                continue
            adopted = fitting
            self._made(request, fitting, port)
        if adopted is None and (found := self._take_unmarked(request)) is not None:
            adopted, port = found
            self._made(request, adopted, port)
        if adopted is not None:
            with self._lock:
                self._adopted[owner.uid, ifname] = adopted
        return adopted

    def _made(self, request: VIFRequest, choice: Choice, port: Port) -> None:
        """As if a call of ours had made the port."""
        LOG.info("Took port %s of %s over.", port.id, request.owner.key)
        call = ("create", request.owner.uid, request.ifname, choice)
        self._remember(request.owner.uid, request.ifname, call)
        self._calls.run(call, partial(_done, port))

    def _take_unmarked(self, request: VIFRequest) -> tuple[Choice, Port] | None:
        """A port that the original made for the pod and was killed before it could write it down."""
        owner = request.owner
        if owner.kind != "Pod":
            return None
        kuryrport = self.context.stores[KURYRPORTS].get(owner.key)
        used = set(used_vif_ids(kuryrport)) if kuryrport is not None else set()
        for choice in request.choices:
            wanted = partial(_fits, request=request, choice=choice, used=used)
            if (port := self.context.inventory.take_unmarked(owner.uid, wanted)) is not None:
                return choice, port
        return None

    def _port(self, request: VIFRequest, choice: Choice, network_id: str) -> Port:
        owner = request.owner
        call = ("create", owner.uid, request.ifname, choice)
        self._remember(owner.uid, request.ifname, call)
        if call in self._doubtful and (found := self._look_again(request, choice)) is not None:
            self._doubtful.discard(call)
            return self._calls.run(call, partial(_done, found))
        self._doubtful.discard(call)
        try:
            return self._calls.run(call, lambda: self._create(request, choice, network_id))
        except CloudThrottled:
            raise
        except CloudUnavailable:
            self._doubtful.add(call)
            raise
        except CloudNotFound:
            for subnet_id in choice.subnet_ids:
                self.context.subnets.refresh(subnet_id)
            raise

    def _remember(self, uid: str, ifname: str, call: Hashable) -> None:
        with self._lock:
            self._requests.setdefault(uid, {}).setdefault(ifname, set()).add(call)

    def _forget(self, uid: str, ifnames: Iterable[str] | None = None) -> list[Future[Port]]:
        """Forget the calls for these interfaces of an owner, or for all; those that were known."""
        with self._lock:
            requests = self._requests.get(uid, {})
            calls: list[Hashable] = []
            for ifname in list(requests) if ifnames is None else ifnames:
                calls += requests.pop(ifname, ())
                self._adopted.pop((uid, ifname), None)
            if not requests:
                self._requests.pop(uid, None)
        self._doubtful.difference_update(calls)
        return [future for call in calls if (future := self._calls.forget(call)) is not None]

    def _look_again(self, request: VIFRequest, choice: Choice) -> Port | None:
        owner = request.owner
        call = ("find", owner.uid, request.ifname)
        found = self._calls.run(
            call,
            lambda: self.context.ports.find(request.project_id, device_id=owner.uid, share=owner.share),
        )
        self._calls.forget(call)
        mine = self._description(owner, request.ifname)
        return next(
            (port for port in found if port.description == mine and _fits(port, request, choice)), None
        )

    def _create(self, request: VIFRequest, choice: Choice, network_id: str) -> Future[Port]:
        owner = request.owner
        conf = self.context.conf
        return self.context.ports.create(
            PortRequest(
                network_id=choice.network_id or network_id,
                project_id=request.project_id,
                fixed_ips=tuple(FixedIP(ip.subnet_id, ip.address) for ip in choice.fixed_ips),
                security_groups=request.security_groups,
                device_id=owner.uid,
                device_owner=DEVICE_OWNERS[owner.kind],
                description=self._description(owner, request.ifname),
                name=str(owner.key) if conf.kubernetes.port_debug else "",
                host_id=owner.node,
                mac_address=choice.mac_address,
                tags=tuple(conf.neutron_defaults.resource_tags),
                share=owner.share,
            )
        )

    def _description(self, owner: Owner, ifname: str) -> str:
        return identity.description(self.context.cluster, owner.kind.lower(), owner.uid, ifname)

    def settled(self, request: VIFRequest) -> None:
        """Forget the request's calls."""
        self._forget(request.owner.uid, [request.ifname])

    def abandon(self, owner: Owner) -> None:
        """Delete what the owner's requests made, when they are through."""
        self._give_up(owner)
        for port in self.context.inventory.take_all(owner.uid):
            self._discard(port, owner.share)

    def _give_up(self, owner: Owner, ifnames: Iterable[str] | None = None) -> None:
        for future in self._forget(owner.uid, ifnames):
            future.add_done_callback(lambda done: self._discard_result(done, owner.share))

    def _discard_result(self, done: Future[Port], share: str) -> None:
        # An unknown outcome is left to the audit.
        if not done.cancelled() and done.exception() is None:
            self._discard(done.result(), share)

    def _discard(self, port: Port, share: str) -> None:
        LOG.info("Port %s is not needed any more; deleting it.", port.id)
        self.context.ports.delete(port.id, share, project_id=port.project_id or None)

    def release_vif(self, release: Release) -> None:
        """Delete the port."""
        port_id, share = release.vif.id, release.owner.share
        self.context.inventory.forget(release.owner.uid, port_id)
        call = ("delete", port_id)
        self._calls.run(
            call, lambda: self.context.ports.delete(port_id, share, project_id=release.project_id or None)
        )
        self._calls.forget(call)

    def update_security_groups(self, allocation: Allocation, groups: Sequence[str], share: str) -> None:
        """Set the port's groups."""
        call = ("groups", allocation.vif.id, tuple(sorted(groups)))
        self._calls.run(
            call,
            lambda: self.context.ports.update(
                allocation.vif.id,
                project_id=allocation.project_id or None,
                share=share,
                security_groups=tuple(groups),
            ),
        )
        self._calls.forget(call)

    def port_fields(self, owner: Owner, ifname: str, allocation: Allocation) -> Mapping[str, Any] | None:
        """Its groups and host, and whose it is: a pool's port keeps the pool's identity."""
        fields: dict[str, Any] = {
            "security_groups": tuple(sorted(allocation.security_groups)),
            "host_id": owner.node,
            "device_owner": DEVICE_OWNERS[owner.kind],
        }
        if not allocation.pool:
            fields["device_id"] = owner.uid
            fields["description"] = self._description(owner, ifname)
        return fields

    def adopt(self, owner: Owner, ifname: str, vif: VIF, project_id: str) -> Allocation:
        """Write the port's identity, as a creating call would have; nothing that a backend acts on changes."""
        call = ("adopt", vif.id)
        try:
            port = self._calls.run(
                call,
                lambda: self.context.ports.update(
                    vif.id,
                    project_id=project_id or None,
                    share=ADOPTION,
                    device_id=owner.uid,
                    description=self._description(owner, ifname),
                ),
            )
        except CloudNotFound as error:
            raise Terminal(
                f"interface {ifname} of {owner.key}: Neutron has no port {vif.id} any more, so the pod has no "
                "network: delete the pod, that another takes its place",
                reason="PortMissing",
            ) from error
        self._calls.forget(call)
        return Allocation(
            vif=vif,
            project_id=port.project_id,
            security_groups=tuple(sorted(port.security_groups)),
            subnet_ids=tuple(ip.subnet_id for ip in port.fixed_ips),
            reason="",
        )


def _done(port: Port) -> Future[Port]:
    future: Future[Port] = Future()
    future.set_result(port)
    return future


def _fits(port: Port, request: VIFRequest, choice: Choice, used: Collection[str] = ()) -> bool:
    """Whether a port that is there, and not among the ``used`` ones, is what ``choice`` would make."""
    return (
        port.id not in used
        and port.host_id == request.owner.node
        and {ip.subnet_id for ip in port.fixed_ips} == set(choice.subnet_ids)
        and all(FixedIP(ip.subnet_id, ip.address) in port.fixed_ips for ip in choice.fixed_ips if ip.address)
        and set(port.security_groups) == set(request.security_groups)
    )
