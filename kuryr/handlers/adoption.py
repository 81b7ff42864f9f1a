# SPDX-License-Identifier: Apache-2.0
"""``adoption``: makes what the original left this project's own, once it was decided.

Before the decision what the original left is used as it stands, and nothing is written that the original could not live
with (see :mod:`kuryr.handlers.decision`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Any

import msgspec

from kuryr.drivers.types import Affected, Allocation, Owner
from kuryr.errors import Retry, WaitFor
from kuryr.handlers import statuses
from kuryr.handlers.base import Context, Handler
from kuryr.handlers.decision import LEASE, is_decided
from kuryr.handlers.vif import release_pod
from kuryr.k8s.conditions import micro_timestamp, set_condition
from kuryr.k8s.errors import Conflict, NotFound
from kuryr.k8s.informer import Change
from kuryr.k8s.lease import LEASES
from kuryr.objects.core import Pod
from kuryr.objects.kuryrport import UP, KuryrPort, VIFStatus
from kuryr.objects.meta import Condition, Key, KubernetesObject
from kuryr.objects.original import held, unadopted_interfaces
from kuryr.objects.resources import KURYRPORTS, PODS, Resource
from kuryr.objects.vif import decode


class AdoptionHandler(Handler):
    """One pod with its KuryrPort: ports first, then the status, and when that is seen the pod's finalizer."""

    resource = PODS

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._lease = Key(context.conf.kubernetes.lease_namespace, LEASE)
        # What is marked in the cloud already, by pod, until the store shows that it is written down.
        self._marked: dict[Key, dict[str, Allocation]] = {}

    def watches(self) -> Mapping[Resource[Any], Affected]:
        """A KuryrPort matters to its pod, the decision to all."""
        return {KURYRPORTS: lambda port: (port.key,), LEASES: self._all}

    def concerns(self, change: Change[Any]) -> bool:
        """Only pods with the original's finalizer are touched for their own sake."""
        return change.new is not None and held(change.new)

    def _all(self, lease: KubernetesObject) -> Iterable[Key]:
        stores = self.context.stores
        keys = {pod.key for pod in stores[PODS].values() if held(pod)}
        return keys | {port.key for port in stores[KURYRPORTS].values() if unadopted_interfaces(port)}

    def reconcile(self, key: Key) -> float | None:
        """Adopt what the original left of a pod, where that was decided."""
        stores = self.context.stores
        pod: Pod | None = stores[PODS].get(key)
        if pod is None or not is_decided(stores[LEASES].get(self._lease)):
            self._marked.pop(key, None)
            return None
        port: KuryrPort | None = stores[KURYRPORTS].get(key)
        if port is not None and port.spec.pod_uid == pod.metadata.uid and not port.deleting:
            names = unadopted_interfaces(port)
            if names:
                self._adopt(key, pod, port, names)
                return None
        # Not before the store shows it: a look in between would mark the ports again.
        self._marked.pop(key, None)
        # An ended pod is let go when its ports are released.
        if held(pod) and not pod.deleting:
            release_pod(self.context.client, pod)
        return None

    def _adopt(self, key: Key, pod: Pod, port: KuryrPort, names: list[str]) -> None:
        drivers = self.context.drivers
        project = drivers.pod_project.project(pod)
        expected = sorted(drivers.pod_security_groups.security_groups(pod, project))
        owner = Owner(kind="Pod", key=key, uid=port.spec.pod_uid, node=port.spec.pod_node_name)
        marked = self._marked.setdefault(key, {})
        waiting: list[Future[Any]] = []
        for name in names:
            entry = port.status.vifs[name]
            vif = decode(entry.vif)
            if name in marked and marked[name].vif.id == vif.id:
                continue
            try:
                marked[name] = drivers.vif_driver(entry.driver).adopt(owner, name, vif, project)
            except WaitFor as wait:
                waiting += wait.calls
        if waiting:
            raise WaitFor(waiting)
        vifs = dict(port.status.vifs)
        for name in names:
            vifs[name] = adopted(vifs[name], marked[name], expected, now=datetime.now(UTC))
        status = statuses.filled(port, vifs, None, now=datetime.now(UTC)) or {}
        meta = {"uid": port.metadata.uid, "resourceVersion": port.metadata.resource_version}
        try:
            self.context.client.merge_patch(
                KURYRPORTS, key, {"metadata": meta, "status": status}, subresource="status"
            )
        except NotFound:
            return
        except Conflict as error:
            raise Retry(
                f"KuryrPort {key} changed while it was adopted: {error}", reason="Conflict"
            ) from error


def adopted(entry: VIFStatus, found: Allocation, expected: list[str], *, now: datetime) -> VIFStatus:
    """The entry with what its port has.

    Groups other than ``expected`` are a policy's that the original enforced. They stay unknown to us, so that nobody
    takes them from the port before policies are enforced anew.
    """
    groups = list(found.security_groups)
    conditions = entry.conditions
    if decode(entry.vif).active:
        up = Condition(UP, "True", "Active", "kuryr-kubernetes saw the port active", micro_timestamp(now))
        conditions = set_condition(conditions, up)
    return msgspec.structs.replace(
        entry,
        project_id=found.project_id,
        security_groups=groups if groups == expected else None,
        subnet_ids=list(found.subnet_ids),
        conditions=conditions,
    )
