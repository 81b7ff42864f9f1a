# SPDX-License-Identifier: Apache-2.0
"""That a network's pools were asked for is written down, whatever is written beside."""

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from kuryr.errors import Retry
from kuryr.handlers.kuryrnetwork_population import KuryrNetworkPopulationHandler
from kuryr.k8s.errors import Conflict
from kuryr.k8s.store import Store
from kuryr.objects.core import Node
from kuryr.objects.kuryrnetwork import KuryrNetwork, KuryrNetworkStatus, SubnetStatus
from kuryr.objects.meta import Key, ObjectMeta
from kuryr.objects.resources import KURYRNETWORKS, KURYRPORTS, NODES

KEY = Key("ns", "ns")


class Client:
    """Refuses as many patches as it is told to."""

    def __init__(self) -> None:
        self.refused = 1
        self.patches: list[Any] = []

    def merge_patch(self, resource: Any, key: Key, patch: Any, *, subresource: str) -> None:
        self.patches.append(patch)
        if self.refused:
            self.refused -= 1
            raise Conflict("patch kuryrnetworks", "the object has been modified", status=409)


def test_a_mark_that_met_a_conflict_is_tried_again_and_the_pools_are_asked_once() -> None:
    asked: list[str] = []
    pool = SimpleNamespace(keeps_vifs=True, populate=lambda node, count, shape: asked.append(node))
    conf = SimpleNamespace(
        kubernetes=SimpleNamespace(lease_namespace="kube-system"),
        neutron_defaults=SimpleNamespace(project="p", pod_security_groups=["g"]),
        vif_pool=SimpleNamespace(ports_pool_batch=10),
    )
    stores: dict[Any, Store[Any]] = {kind: Store() for kind in (KURYRNETWORKS, KURYRPORTS, NODES)}
    stores[NODES].upsert(Node(metadata=ObjectMeta(name="node", uid="n")))
    stores[KURYRNETWORKS].upsert(
        KuryrNetwork(
            metadata=ObjectMeta(name=KEY.name, namespace=KEY.namespace, uid="u"),
            status=KuryrNetworkStatus(subnets=[SubnetStatus(id="s", cidr="10.0.0.0/24")]),
        )
    )
    client = Client()
    context: Any = SimpleNamespace(
        conf=conf, client=client, stores=stores, drivers=SimpleNamespace(vif_pool=pool)
    )
    handler = KuryrNetworkPopulationHandler(context)
    with pytest.raises(Retry):
        handler.reconcile(KEY)
    handler.reconcile(KEY)
    assert [patch["status"] for patch in client.patches] == [{"populated": True}] * 2
    assert asked == ["node"]

    network = stores[KURYRNETWORKS].get(KEY)
    stores[KURYRNETWORKS].upsert(msgspec.structs.replace(network, status=KuryrNetworkStatus(populated=True)))
    handler.reconcile(KEY)
    stores[KURYRNETWORKS].upsert(network)
    handler.reconcile(KEY)
    assert asked == ["node", "node"], "the mark was taken away: they are asked anew"
