# SPDX-License-Identifier: Apache-2.0
"""Stores are filled by watches of their own: one may be behind another, above all in a process that has just taken over."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from kuryr.errors import Retry
from kuryr.handlers.node import NodeHandler, kuryrport_key
from kuryr.handlers.vif import LOOK_AGAIN, VIFHandler
from kuryr.k8s.errors import Conflict, NotFound
from kuryr.k8s.lease import LEASES
from kuryr.k8s.store import Store
from kuryr.objects.core import Node, Pod, PodSpec
from kuryr.objects.kuryrport import KuryrPort, KuryrPortSpec
from kuryr.objects.meta import Key, KubernetesObject, ObjectMeta
from kuryr.objects.original import POD_FINALIZER
from kuryr.objects.resources import KURYRPORTS, NODES, PODS, Resource

KEY = Key("ns", "a")


class Client:
    """The API: what is there, and what was asked for."""

    def __init__(self) -> None:
        self.there: dict[tuple[str, Key], KubernetesObject] = {}
        self.asked: list[str] = []
        self.refused = 0

    def get(self, resource: Resource[Any], key: Key) -> Any:
        self.asked.append(f"get {resource.plural}")
        if (resource.plural, key) not in self.there:
            raise NotFound(f"get {resource.plural}", "not found", status=404)
        return self.there[resource.plural, key]

    def merge_patch(self, resource: Resource[Any], key: Key, patch: Any) -> None:
        self.asked.append(f"patch {resource.plural}")
        if self.refused:
            self.refused -= 1
            raise Conflict(f"patch {resource.plural}", "the object has been modified", status=409)

    def delete(self, resource: Resource[Any], key: Key, *, uid: str) -> None:
        self.asked.append(f"delete {resource.plural} {uid}")

    def create(self, resource: Resource[Any], namespace: str, body: Any) -> KubernetesObject:
        self.asked.append(f"create {resource.plural}")
        created = kuryrport(body["spec"]["podUid"])
        self.there[resource.plural, created.key] = created
        return created


class Setup:
    def __init__(self) -> None:
        self.client = Client()
        self.stores: dict[Any, Store[Any]] = {kind: Store() for kind in (PODS, NODES, KURYRPORTS, LEASES)}
        kubernetes = SimpleNamespace(lease_namespace="kube-system", use_events=False)
        conf = SimpleNamespace(kubernetes=kubernetes, node_port=SimpleNamespace(enabled=True))
        self.context: Any = SimpleNamespace(conf=conf, client=self.client, stores=self.stores)


@pytest.fixture
def setup() -> Setup:
    return Setup()


def pod(uid: str, **spec: Any) -> Pod:
    return Pod(
        metadata=ObjectMeta(name=KEY.name, namespace=KEY.namespace, uid=uid),
        spec=PodSpec(node_name="node", **spec),
    )


def kuryrport(uid: str) -> KuryrPort:
    metadata = ObjectMeta(name=KEY.name, namespace=KEY.namespace, uid=f"port-of-{uid}")
    return KuryrPort(metadata=metadata, spec=KuryrPortSpec(pod_uid=uid, pod_node_name="node"))


@pytest.mark.parametrize("stored", [None, "old"])
def test_a_kuryrport_whose_pod_the_store_does_not_have_yet_stays(setup: Setup, stored: str | None) -> None:
    """The last holder made it for a new pod, which our watch of pods has not told of yet."""
    setup.stores[KURYRPORTS].upsert(kuryrport("new"))
    if stored is not None:
        setup.stores[PODS].upsert(pod(stored))
    setup.client.there["pods", KEY] = pod("new")
    handler = VIFHandler(setup.context)
    handler.reconcile(KEY)
    assert setup.client.asked == ["get pods"]
    setup.stores[PODS].upsert(pod("new"))
    handler.reconcile(KEY)
    assert setup.client.asked == ["get pods"]


@pytest.mark.parametrize("there", [None, "another"])
def test_a_kuryrport_whose_pod_is_gone_is_deleted(setup: Setup, there: str | None) -> None:
    setup.stores[KURYRPORTS].upsert(kuryrport("gone"))
    if there is not None:
        setup.client.there["pods", KEY] = pod(there)
    VIFHandler(setup.context).reconcile(KEY)
    assert setup.client.asked == ["get pods", "delete kuryrports port-of-gone"]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda store: store.remove(KEY), id="deleted"),
        pytest.param(lambda store: store.upsert(pod("new")), id="replaced"),
    ],
)
def test_a_pod_that_was_seen_needs_no_asking(setup: Setup, change: Callable[[Store[Any]], Any]) -> None:
    """Its end was seen too: no call more than the deletion, for nearly all pods."""
    setup.stores[PODS].upsert(pod("seen"))
    setup.stores[KURYRPORTS].upsert(kuryrport("seen"))
    handler = VIFHandler(setup.context)
    handler.reconcile(KEY)
    change(setup.stores[PODS])
    handler.reconcile(KEY)
    assert setup.client.asked == ["delete kuryrports port-of-seen"]


def test_a_pod_that_no_longer_needs_one(setup: Setup) -> None:
    done = pod("done")
    done.status.phase = "Succeeded"
    setup.stores[PODS].upsert(done)
    setup.stores[KURYRPORTS].upsert(kuryrport("done"))
    VIFHandler(setup.context).reconcile(KEY)
    assert setup.client.asked == ["delete kuryrports port-of-done"]


def test_a_kuryrport_that_the_store_does_not_show_yet_is_not_created_again(setup: Setup) -> None:
    setup.stores[PODS].upsert(pod("new"))
    handler = VIFHandler(setup.context)
    assert handler.reconcile(KEY) == LOOK_AGAIN
    assert handler.reconcile(KEY) == LOOK_AGAIN
    assert setup.client.asked == ["create kuryrports", "get kuryrports"]
    del setup.client.there["kuryrports", KEY]
    handler.reconcile(KEY)
    assert setup.client.asked[2:] == ["get kuryrports", "create kuryrports"]


def test_a_pod_that_changed_unseen_is_released_at_the_next_try(setup: Setup) -> None:
    """What a kubelet reported does not show in the store, so that no change of it would bring the pod back."""
    done = pod("done")
    done.status.phase = "Succeeded"
    done.metadata.finalizers = [POD_FINALIZER]
    setup.stores[PODS].upsert(done)
    handler = VIFHandler(setup.context)
    setup.client.refused = 1
    with pytest.raises(Retry) as told:
        handler.reconcile(KEY)
    handler.report(KEY, told.value)
    handler.reconcile(KEY)
    assert setup.client.asked == ["patch pods", "patch pods"]


@pytest.mark.parametrize("there", [True, False])
def test_a_node_s_port_likewise(setup: Setup, there: bool) -> None:
    key = Key("", "node")
    port_key = kuryrport_key("kube-system", "node")
    metadata = ObjectMeta(name=port_key.name, namespace=port_key.namespace, uid="port")
    spec = KuryrPortSpec(pod_uid="uid", pod_node_name="node", owner_kind="Node")
    setup.stores[KURYRPORTS].upsert(KuryrPort(metadata=metadata, spec=spec))
    if there:
        setup.client.there["nodes", key] = Node(metadata=ObjectMeta(name="node", uid="uid"))
    NodeHandler(setup.context).reconcile(key)
    expected = ["get nodes"] if there else ["get nodes", "delete kuryrports port"]
    assert setup.client.asked == expected
