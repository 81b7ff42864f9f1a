# SPDX-License-Identifier: Apache-2.0
"""``kuryrport``: fills KuryrPorts with VIFs, keeps these as they should be, and gives them back."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Any

import msgspec

from kuryr.drivers.base import PodVIFDriver
from kuryr.drivers.types import Affected, Owner, Release, VIFRequest
from kuryr.errors import KuryrError, Retry, WaitFor
from kuryr.handlers import statuses
from kuryr.handlers.base import Context, Handler
from kuryr.handlers.choosing import Chooser
from kuryr.handlers.node import kuryrport_key, routes_of
from kuryr.handlers.vif import needs_port
from kuryr.k8s.conditions import find_condition
from kuryr.k8s.errors import Conflict, Invalid, NotFound
from kuryr.k8s.informer import Change
from kuryr.objects.core import Node, Pod
from kuryr.objects.kuryrport import (
    BY_CONTROLLER,
    FINALIZER,
    UP,
    KuryrPort,
    RouteStatus,
    VIFStatus,
)
from kuryr.objects.meta import Key, KubernetesObject
from kuryr.objects.resources import KURYRPORTS, NODES, PODS, Resource
from kuryr.objects.vif import InvalidVIF, decode

LOG = logging.getLogger(__name__)

DEFAULT_IFNAME = "eth0"
RECHECK_UP = 1.0
"""Seconds between two looks at a VIF of which the controller tells whether it is up."""


class KuryrPortHandler(Handler):
    """One KuryrPort: all its VIFs at once, each with its driver."""

    resource = KURYRPORTS

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._chooser = Chooser()
        self._lock = threading.Lock()
        # The resourceVersion that our last write replaced: while the store still shows it, there is nothing to do.
        self._replaced: dict[Key, str] = {}
        self._first_seen: dict[str, float] = {}
        # Interfaces of KuryrPorts (by UID) that are being released, given back already.
        self._released: dict[str, set[str]] = {}

    def watches(self) -> Mapping[Resource[Any], Affected]:
        """Pods and nodes matter to the KuryrPorts made for them, and what drivers watch to those that they name."""
        namespace = self.context.conf.kubernetes.lease_namespace
        affected: dict[Resource[Any], list[Affected]] = {
            PODS: [lambda pod: (pod.key,)],
            NODES: [lambda node: (kuryrport_key(namespace, node.metadata.name),)],
        }
        for driver in self.context.drivers.all():
            for resource, of in driver.watches().items():
                affected.setdefault(resource, []).append(of)
        return {resource: _union(functions) for resource, functions in affected.items()}

    def concerns(self, change: Change[Any]) -> bool:
        """Conditions tell people what happened; nothing is to be done about them."""
        old, new = change.old, change.new
        return old is None or new is None or _without_conditions(old) != _without_conditions(new)

    def reconcile(self, key: Key) -> float | None:
        """Release the VIFs of a KuryrPort that is being deleted; else make, compare and mend them."""
        port: KuryrPort | None = self.context.stores[KURYRPORTS].get(key)
        if port is None:
            with self._lock:
                self._replaced.pop(key, None)
            return None
        with self._lock:
            if self._replaced.get(key) == port.metadata.resource_version:
                return None
            self._replaced.pop(key, None)
        if port.deleting:
            self._release(key, port)
            return None
        if port.spec.owner_kind == "Node":
            return self._reconcile_node(key, port)
        if port.spec.owner_kind != "Pod":
            return None
        pod: Pod | None = self.context.stores[PODS].get(key)
        if pod is None or pod.metadata.uid != port.spec.pod_uid or not needs_port(pod):
            return None
        return self._fill(key, port, self._pod_requests(pod, port))

    # What should be

    def _pod_requests(self, pod: Pod, port: KuryrPort) -> list[VIFRequest]:
        drivers = self.context.drivers
        owner = _owner(port)
        project = drivers.pod_project.project(pod)
        groups = tuple(drivers.pod_security_groups.security_groups(pod, project))
        requests = [
            VIFRequest(
                owner=owner,
                ifname=port.default_interface or DEFAULT_IFNAME,
                project_id=project,
                choices=tuple(drivers.pod_subnets.choices(pod, project)),
                security_groups=groups,
            )
        ]
        prefix = self.context.conf.kubernetes.additional_ifname_prefix
        taken = {requests[0].ifname}
        for driver in drivers.multi_vif:
            for extra in driver.additional_vifs(pod, project):
                ifname = extra.ifname or next(
                    name for n in range(1, len(taken) + 2) if (name := f"{prefix}{n}") not in taken
                )
                taken.add(ifname)
                requests.append(
                    VIFRequest(
                        owner=owner,
                        ifname=ifname,
                        project_id=extra.project_id or project,
                        choices=extra.choices,
                        security_groups=groups if extra.security_groups is None else extra.security_groups,
                        default=False,
                        pod_vif_driver=extra.pod_vif_driver,
                    )
                )
        return requests

    def _reconcile_node(self, key: Key, port: KuryrPort) -> float | None:
        node: Node | None = self.context.stores[NODES].get(Key("", port.spec.pod_node_name))
        if node is None or node.metadata.uid != port.spec.pod_uid:
            return None
        drivers, conf = self.context.drivers, self.context.conf
        groups = (
            drivers.pod_security_groups.node_security_groups(node)
            or conf.node_port.security_groups
            or conf.neutron_defaults.pod_security_groups
        )
        request = VIFRequest(
            owner=_owner(port),
            ifname=conf.node_port.interface,
            project_id=conf.neutron_defaults.project,
            choices=tuple(drivers.pod_subnets.node_choices(node)),
            security_groups=tuple(groups),
        )
        known = port.status.vifs.get(request.ifname)
        on = known.subnet_ids if known is not None else request.choices[0].subnet_ids
        return self._fill(key, port, [request], routes_of(self.context, on))

    # Making it so

    def _fill(
        self, key: Key, port: KuryrPort, requests: list[VIFRequest], routes: list[RouteStatus] | None = None
    ) -> float | None:
        self._first_seen.setdefault(port.metadata.uid, time.monotonic())
        waiting: list[Future[Any]] = []
        failure: KuryrError | None = None
        vifs: dict[str, VIFStatus] = {}
        made: list[tuple[PodVIFDriver, VIFRequest]] = []
        for request in requests:
            known = port.status.vifs.get(request.ifname)
            name = (
                (known.driver if known is not None else "")
                or request.pod_vif_driver
                or self.context.drivers.vif_pool.vif_driver_name(request.owner.node)
            )
            driver = self.context.drivers.vif_driver(name)
            try:
                if known is None:
                    vifs[request.ifname] = statuses.vif_status(
                        self._chooser.allocate(request, driver),
                        default=request.default,
                        driver=name,
                        now=datetime.now(UTC),
                    )
                    made.append((driver, request))
                else:
                    self._chooser.forget(request.owner.uid, request.ifname)
                    driver.settled(request)
                    vifs[request.ifname] = self._mend(known, request, driver)
            except WaitFor as wait:
                waiting += wait.calls
            except Retry as error:
                failure = failure or error
        if failure is not None or waiting:
            self._write_mended(key, port, vifs)
            raise failure or WaitFor(waiting)
        status = statuses.filled(port, vifs, routes, now=datetime.now(UTC))
        if status is not None:
            fresh = not port.status.vifs
            if self._write_status(key, port, status):
                for driver, request in made:
                    driver.settled(request)
            if fresh:
                seconds = time.monotonic() - self._first_seen.get(port.metadata.uid, time.monotonic())
                self.context.observe_stage("kuryrport_allocated", seconds)
        elif port.metadata.uid in self._first_seen:
            self._first_seen.pop(port.metadata.uid, None)
        if any(entry.reported_by == BY_CONTROLLER and not _up(entry) for entry in vifs.values()):
            return RECHECK_UP
        return None

    def _mend(self, known: VIFStatus, request: VIFRequest, driver: PodVIFDriver) -> VIFStatus:
        """What is known of a VIF, with its groups as they should be and its state where the controller tells it."""
        groups = sorted(request.security_groups)
        entry = known
        # The original wrote no groups down: unknown ones are left alone until a driver answers otherwise.
        if known.security_groups is not None and sorted(known.security_groups) != groups:
            allocation = statuses.allocation_of(known)
            driver.update_security_groups(allocation, groups, request.owner.share)
            entry = msgspec.structs.replace(entry, security_groups=groups)
        if (
            entry.reported_by == BY_CONTROLLER
            and not _up(entry)
            and driver.is_up(statuses.allocation_of(entry))
        ):
            entry = statuses.with_up(entry, now=datetime.now(UTC))
        return entry

    def _write_mended(self, key: Key, port: KuryrPort, vifs: dict[str, VIFStatus]) -> None:
        """Write what was changed of VIFs that were there, though others are not ready: it would be done over else."""
        mended = {name: entry for name, entry in vifs.items() if port.status.vifs.get(name, entry) != entry}
        if mended:
            self._write_status(key, port, {"vifs": msgspec.to_builtins(mended)})

    def _write_status(self, key: Key, port: KuryrPort, status: dict[str, Any]) -> bool:
        """Write, unless somebody else did; False where the KuryrPort is gone."""
        meta = {"uid": port.metadata.uid, "resourceVersion": port.metadata.resource_version}
        patch = {"metadata": meta, "status": status}
        try:
            written = self.context.client.merge_patch(KURYRPORTS, key, patch, subresource="status")
        except NotFound:
            return False
        except (Conflict, Invalid) as error:
            raise Retry(
                f"KuryrPort {key} changed while it was written: {error}", reason="Conflict"
            ) from error
        # Conditions alone bring no reconcile (see concerns), so that none may be left out because of them.
        if status.keys() - {"conditions"} and written.metadata.resource_version != meta["resourceVersion"]:
            with self._lock:
                self._replaced[key] = port.metadata.resource_version
        return True

    # Giving it back

    def _release(self, key: Key, port: KuryrPort) -> None:
        self._first_seen.pop(port.metadata.uid, None)
        self._chooser.forget_all(port.spec.pod_uid)
        if FINALIZER not in port.metadata.finalizers:
            return
        owner = _owner(port)
        pod: Pod | None = self.context.stores[PODS].get(key)
        successor = pod is not None and pod.metadata.uid != port.spec.pod_uid
        waiting: list[Future[Any]] = []
        released = self._released.setdefault(port.metadata.uid, set())
        for ifname, entry in port.status.vifs.items():
            if ifname in released:
                continue
            try:
                vif = decode(entry.vif)
            except InvalidVIF as error:
                # The audit finds its port by the owner's UID.
                LOG.error("KuryrPort %s, interface %s: %s", key, ifname, error)
                continue
            try:
                self.context.drivers.vif_driver(entry.driver).release_vif(
                    Release(
                        owner=owner,
                        ifname=ifname,
                        vif=vif,
                        project_id=entry.project_id,
                        security_groups=tuple(entry.security_groups or ()),
                        subnet_ids=tuple(entry.subnet_ids),
                        pool=entry.pool,
                        driver=entry.driver,
                    )
                )
                released.add(ifname)
            except WaitFor as wait:
                waiting += wait.calls
            except Retry as error:
                if not successor:
                    raise
                LOG.warning("Port %s of KuryrPort %s is left to the audit: %s", vif.id, key, error)
        # A pod of the same name never waits: the deletion that is under way goes on, and the audit checks it.
        if waiting and not successor:
            raise WaitFor(waiting)
        finalizers = [name for name in port.metadata.finalizers if name != FINALIZER]
        patch = {
            "metadata": {
                "uid": port.metadata.uid,
                "resourceVersion": port.metadata.resource_version,
                "finalizers": finalizers,
            }
        }
        try:
            self.context.client.merge_patch(KURYRPORTS, key, patch)
        except NotFound:
            pass
        except (Conflict, Invalid) as error:
            raise Retry(
                f"KuryrPort {key} changed while it was released: {error}", reason="Conflict"
            ) from error
        else:
            with self._lock:
                self._replaced[key] = port.metadata.resource_version
        self._released.pop(port.metadata.uid, None)
        # Only now is it sure that the store was up to date, and that nobody has what is found under the owner's UID.
        for driver in self.context.drivers.vif_drivers():
            driver.abandon(owner)

    # Telling

    def report(self, key: Key, error: KuryrError) -> None:
        """A condition on the KuryrPort, and an Event on its pod (or node)."""
        port: KuryrPort | None = self.context.stores[KURYRPORTS].get(key)
        if port is None or error.reason == "Conflict":
            # A conflict only says that the store was not up to date.
            return
        subject: KubernetesObject | None
        if port.spec.owner_kind == "Node":
            subject = self.context.stores[NODES].get(Key("", port.spec.pod_node_name))
        else:
            subject = self.context.stores[PODS].get(key)
        self.event(subject or port, error)
        if port.status.vifs or port.deleting:
            return
        conditions = statuses.failed(port, error.reason, str(error), now=datetime.now(UTC))
        if conditions is not None:
            try:
                self._write_status(key, port, {"conditions": conditions})
            except Retry as again:
                LOG.warning("KuryrPort %s: could not write its condition: %s", key, again)


def _owner(port: KuryrPort) -> Owner:
    key = port.key if port.spec.owner_kind == "Pod" else Key("", port.spec.pod_node_name)
    return Owner(kind=port.spec.owner_kind, key=key, uid=port.spec.pod_uid, node=port.spec.pod_node_name)


def _without_conditions(port: KuryrPort) -> KuryrPort:
    return msgspec.structs.replace(
        port,
        metadata=msgspec.structs.replace(port.metadata, resource_version=""),
        status=msgspec.structs.replace(port.status, conditions=[]),
    )


def _up(entry: VIFStatus) -> bool:
    condition = find_condition(entry.conditions, UP)
    return condition is not None and condition.status == "True"


def _union(functions: list[Affected]) -> Affected:
    def affected(obj: KubernetesObject) -> Iterable[Key]:
        return {key for function in functions for key in function(obj)}

    return affected
