# SPDX-License-Identifier: Apache-2.0
"""``kuryrnetwork_population``: pools have ports of a namespace's network ready before its first pod, and none when it goes."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from kuryr.drivers.types import Affected
from kuryr.drivers.vif_pool.stockroom import shape_of
from kuryr.errors import Retry
from kuryr.handlers.base import Context, Handler, Right
from kuryr.handlers.decision import undecided
from kuryr.handlers.node import RECHECK_UNDECIDED
from kuryr.k8s.errors import Conflict, NotFound
from kuryr.objects.kuryrnetwork import KuryrNetwork
from kuryr.objects.meta import Key, KubernetesObject
from kuryr.objects.resources import KURYRNETWORKS, NODES, Resource


class KuryrNetworkPopulationHandler(Handler):
    """Asks the pools once for each network, which ``status.populated`` then says."""

    resource = KURYRNETWORKS
    rights: ClassVar[Iterable[Right]] = (("patch", KURYRNETWORKS, "status"),)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._pool = context.drivers.vif_pool
        self._lock = threading.Lock()
        # Of networks that are there, so that it is known of those that are gone.
        self._subnets: dict[Key, tuple[str, ...]] = {}
        # UIDs of networks whose pools were asked while the store does not show the mark: asked again they would make more.
        self._asked: dict[Key, str] = {}

    def watches(self) -> Mapping[Resource[Any], Affected]:
        """A network may have been there before the first node."""
        return {NODES: self._waiting}

    def _waiting(self, node: KubernetesObject) -> Iterable[Key]:
        networks = self.context.stores[KURYRNETWORKS].values()
        return [network.key for network in networks if not network.status.populated]

    def reconcile(self, key: Key) -> float | None:
        """Have ports made for a network that is new, and those taken away of one that goes."""
        network: KuryrNetwork | None = self.context.stores[KURYRNETWORKS].get(key)
        if network is None or network.deleting:
            self._drain(key, network)
            return None
        with self._lock:
            self._subnets[key] = network.subnet_ids
        if network.status.populated:
            self._asked.pop(key, None)
            return None
        if not (network.used_by_default and network.ready):
            return None
        if undecided(self.context.stores, self.context.conf.kubernetes.lease_namespace):
            return RECHECK_UNDECIDED
        if self._asked.get(key) == network.metadata.uid or self._populate(network):
            self._asked[key] = network.metadata.uid
            self._mark(network)
        return None

    def _populate(self, network: KuryrNetwork) -> bool:
        """Whether there was a pool to ask."""
        conf = self.context.conf
        nodes = [node.metadata.name for node in self.context.stores[NODES].values() if not node.deleting]
        if not nodes or not self._pool.keeps_vifs:
            return False
        shape = shape_of(
            network.spec.project_id or conf.neutron_defaults.project,
            network.first_of_each_family,
            conf.neutron_defaults.pod_security_groups,
        )
        for node in nodes:
            self._pool.populate(node, max(1, conf.vif_pool.ports_pool_batch // 2), shape)
        return True

    def _mark(self, network: KuryrNetwork) -> None:
        patch = {"metadata": {"uid": network.metadata.uid}, "status": {"populated": True}}
        try:
            self.context.client.merge_patch(KURYRNETWORKS, network.key, patch, subresource="status")
        except NotFound:
            return
        except Conflict as error:
            raise Retry(
                f"KuryrNetwork {network.key} changed meanwhile: {error}", reason=Conflict.reason
            ) from error

    def _drain(self, key: Key, network: KuryrNetwork | None) -> None:
        self._asked.pop(key, None)
        with self._lock:
            known = self._subnets.pop(key, ())
        subnets = {*known, *(network.subnet_ids if network is not None else ())}
        if subnets:
            self._pool.drain(subnets)
