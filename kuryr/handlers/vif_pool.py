# SPDX-License-Identifier: Apache-2.0
"""``vif_pool``: shows each node the VIFs that are ready for it, so that its daemon can wire them before there is a pod."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from kuryr.drivers.types import Affected, Allocation, Stock
from kuryr.drivers.vif_pool.stockroom import PREFIX
from kuryr.errors import KuryrError, Terminal, WaitFor
from kuryr.handlers import statuses
from kuryr.handlers.base import Context, Handler
from kuryr.handlers.decision import undecided
from kuryr.handlers.node import RECHECK_UNDECIDED
from kuryr.k8s.conditions import find_condition, micro_timestamp, set_condition
from kuryr.k8s.errors import Conflict, NotFound
from kuryr.k8s.informer import Change
from kuryr.k8s.lease import LEASES
from kuryr.objects.core import POD_VIF_LABEL, Node
from kuryr.objects.kuryrport import ALLOCATED, NODE_LABEL, KuryrPort, VIFStatus
from kuryr.objects.meta import Condition, Key, KubernetesObject
from kuryr.objects.resources import KURYRPORTS, NODES, Resource
from kuryr.objects.vif import stored_id

OWNER_KIND = "Pool"
MOST_SHOWN = 64
"""VIFs of a KuryrPort, as the CRD has it: as many of a node are wired ahead."""

COALESCE = 2.0
"""Seconds between two writes of one object, which is large: a burst of pods costs a few."""


class VIFPoolHandler(Handler):
    """Keeps a KuryrPort for each node that has ready VIFs. Runs always, whatever enabled_handlers has."""

    resource = NODES

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._pool = context.drivers.vif_pool
        self._namespace: str = context.conf.kubernetes.lease_namespace

    def watches(self) -> Mapping[Resource[Any], Affected]:
        """A pool's KuryrPort matters to its node, the decision to adopt to all nodes."""
        return {KURYRPORTS: _node_of, LEASES: lambda lease: self.context.stores[NODES].keys()}

    def concerns(self, change: Change[Any]) -> bool:
        """That there is a node, which, and with what pool; not what it reports."""
        old, new = change.old, change.new
        return old is None or new is None or _identity(old) != _identity(new)

    def shard_key(self, key: Key) -> str:
        """All nodes are in one shard."""
        return self._namespace

    def reconcile(self, key: Key) -> float | None:
        """Bring the node's pool KuryrPort to what is ready."""
        node: Node | None = self.context.stores[NODES].get(key)
        port_key = Key(self._namespace, PREFIX + key.name)
        port: KuryrPort | None = self.context.stores[KURYRPORTS].get(port_key)
        if port is not None and port.spec.owner_kind != OWNER_KIND:
            raise Terminal(f"KuryrPort {port_key} belongs to a pod of that name, not to this node's pool.")
        if node is None or node.deleting:
            self._pool.node_changed(key.name)
        if node is None or node.deleting or not self._pool.keeps_vifs:
            self._delete(port)
            return None
        if port is None:
            self._pool.node_changed(key.name)
            if undecided(self.context.stores, self._namespace):
                # The original would not know what it is.
                return RECHECK_UNDECIDED
            self._create(node)
            return None
        if port.spec.pod_uid != node.metadata.uid:
            self._delete(port)
            return None
        if eased := self._pool.eased(key.name):
            # A write, and what the daemon makes of it, would take the processors from pods that wait.
            return eased
        change = self._pool.change(key.name)
        if not port.deleting and self._show(port, self._pool.stock(key.name)):
            return COALESCE
        raise WaitFor([change], "waiting for the pool to change")

    def _create(self, node: Node) -> None:
        try:
            self.context.client.create(KURYRPORTS, self._namespace, kuryrport_for(node, self._namespace))
        except Conflict as error:
            if error.reason != "AlreadyExists":
                raise

    def _delete(self, port: KuryrPort | None) -> None:
        if port is None or port.deleting:
            return
        try:
            self.context.client.delete(KURYRPORTS, port.key, uid=port.metadata.uid)
        except (NotFound, Conflict):
            # Gone, or another of the same name by now: the store will tell.
            return

    def _show(self, port: KuryrPort, stock: Stock) -> bool:
        """Whether something had to be written, so that it is to be looked at again soon."""
        status: dict[str, Any] = {}
        vifs = changes(port.status.vifs, stock, self._pool.vif_driver_name(port.spec.pod_node_name))
        if vifs:
            status["vifs"] = vifs
        condition = _condition(stock.trouble)
        known = find_condition(port.status.conditions, ALLOCATED)
        told = known is not None and (known.status, known.reason) == (condition.status, condition.reason)
        if not told:
            conditions = set_condition(port.status.conditions, condition)
            status["conditions"] = msgspec.to_builtins(conditions)
        if not status:
            return False
        patch = {"metadata": {"uid": port.metadata.uid}, "status": status}
        try:
            self.context.client.merge_patch(KURYRPORTS, port.key, patch, subresource="status")
        except NotFound:
            # The store will tell.
            return False
        except Conflict:
            # Another of the same name by now, or many wrote at once: the next look tells, and may write it.
            return True
        if not told and stock.trouble is not None:
            self.event(port, stock.trouble)
        return True


def changes(shown: Mapping[str, VIFStatus], stock: Stock, driver: str) -> dict[str, Any]:
    """What of the VIFs that are shown (by interface on the node) is to be changed; None: taken away. Pure.

    One that was handed out stays until its KuryrPort was seen. What is shown already goes before what is not.
    """
    ready = {allocation.vif.vif_name: allocation for allocation in stock.ready}
    patch: dict[str, Any] = {}
    left = MOST_SHOWN
    for name, entry in shown.items():
        known = ready.get(name)
        held = stored_id(entry.vif) in stock.handed_out
        if (known is None and not held) or left <= 0:
            patch[name] = None
            continue
        left -= 1
        if known is not None and not held:
            entry_now = _entry(known, driver)
            if _without_conditions(entry) != entry_now:
                patch[name] = msgspec.to_builtins(entry_now)
    for name, allocation in ready.items():
        if name not in shown and left > 0:
            left -= 1
            patch[name] = msgspec.to_builtins(_entry(allocation, driver))
    return patch


def _entry(allocation: Allocation, driver: str) -> VIFStatus:
    """What the node needs to wire it. Addresses are its pod's matter: with them the object is twice as large, and so is what each write costs."""
    network = msgspec.structs.replace(allocation.vif.network, subnets=())
    brief = msgspec.structs.replace(allocation, vif=msgspec.structs.replace(allocation.vif, network=network))
    return statuses.vif_status(brief, default=False, driver=driver)


def kuryrport_for(node: Node, namespace: str) -> dict[str, Any]:
    """The KuryrPort to create for a node's pool. What it shows is in nobody's use: it needs no finalizer."""
    name = node.metadata.name
    return {
        "apiVersion": KURYRPORTS.api_version,
        "kind": KURYRPORTS.kind,
        "metadata": {
            "name": PREFIX + name,
            "namespace": namespace,
            "labels": {NODE_LABEL: name},
            "ownerReferences": [
                {"apiVersion": NODES.api_version, "kind": NODES.kind, "name": name, "uid": node.metadata.uid}
            ],
        },
        "spec": {"podUid": node.metadata.uid, "podNodeName": name, "ownerKind": OWNER_KIND},
    }


def _condition(trouble: KuryrError | None) -> Condition:
    now = micro_timestamp(datetime.now(UTC))
    if trouble is None:
        return Condition(ALLOCATED, "True", "Ready", "VIFs are kept ready for this node", now)
    return Condition(ALLOCATED, "False", trouble.reason, str(trouble), now)


def _identity(node: Node) -> tuple[str, bool, str]:
    return node.metadata.uid, node.deleting, node.metadata.labels.get(POD_VIF_LABEL, "")


def _without_conditions(entry: VIFStatus) -> VIFStatus:
    return msgspec.structs.replace(entry, conditions=[])


def _node_of(port: KubernetesObject) -> Iterable[Key]:
    if isinstance(port, KuryrPort) and port.spec.owner_kind == OWNER_KIND:
        return (Key("", port.spec.pod_node_name),)
    return ()
