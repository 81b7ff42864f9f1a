# SPDX-License-Identifier: Apache-2.0
"""``vif``: a KuryrPort for every pod that needs one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from kuryr.drivers.types import Affected
from kuryr.errors import Retry, Terminal
from kuryr.handlers.base import Context, Handler
from kuryr.k8s.apply import remove_finalizer
from kuryr.k8s.errors import Conflict, NotFound
from kuryr.objects.core import Pod
from kuryr.objects.kuryrport import FINALIZER, NODE_LABEL, KuryrPort
from kuryr.objects.meta import Key, KubernetesObject
from kuryr.objects.original import POD_FINALIZER, held
from kuryr.objects.resources import KURYRPORTS, PODS, Resource

if TYPE_CHECKING:
    from kuryr.k8s.client import Client

LOOK_AGAIN = 30.0
"""Seconds after which it is asked whether a KuryrPort that was created is there, where the store does not show it."""


def needs_port(pod: Pod) -> bool:
    """Whether the pod uses the pod network now: scheduled, not on the host's network, neither completed nor ended."""
    return bool(pod.spec.node_name) and not pod.spec.host_network and not (pod.completed or pod.ended)


def kuryrport_for(pod: Pod) -> dict[str, Any]:
    """The KuryrPort to create for a pod: its UID and node, and nothing else of it."""
    return {
        "apiVersion": KURYRPORTS.api_version,
        "kind": KURYRPORTS.kind,
        "metadata": {
            "name": pod.metadata.name,
            "namespace": pod.metadata.namespace,
            "labels": {NODE_LABEL: pod.spec.node_name},
            "finalizers": [FINALIZER],
            "ownerReferences": [
                {
                    "apiVersion": PODS.api_version,
                    "kind": PODS.kind,
                    "name": pod.metadata.name,
                    "uid": pod.metadata.uid,
                }
            ],
        },
        "spec": {
            "podUid": pod.metadata.uid,
            "podNodeName": pod.spec.node_name,
            "podStatic": pod.static,
        },
    }


def release_pod(client: Client, pod: Pod) -> None:
    """Take the original's finalizer off a pod.

    :raises Retry: where the pod changed since the store saw it; what changed need not show in the store.
    """
    patch = remove_finalizer(pod, POD_FINALIZER)
    if patch is None:
        return
    patch["metadata"]["uid"] = pod.metadata.uid
    try:
        client.merge_patch(PODS, pod.key, patch)
    except NotFound:
        return
    except Conflict as error:
        raise Retry(f"Pod {pod.key} changed while it was released: {error}", reason="Conflict") from error


class VIFHandler(Handler):
    """Creates and deletes KuryrPorts; of the pod it touches nothing but the original's finalizer."""

    resource = PODS

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        # UIDs of the pods that were seen: where such a one is not in the store any more, it is gone.
        self._seen: dict[Key, str] = {}
        # UIDs of the KuryrPorts that were created and that the store does not show yet.
        self._created: dict[Key, str] = {}

    def watches(self) -> Mapping[Resource[Any], Affected]:
        """A KuryrPort matters to the pod of its name: gone, it may be wanted again."""
        return {KURYRPORTS: _pod_of}

    def reconcile(self, key: Key) -> float | None:
        """Create the KuryrPort of a pod that needs one, delete that of a pod that is gone or done."""
        pod: Pod | None = self.context.stores[PODS].get(key)
        port: KuryrPort | None = self.context.stores[KURYRPORTS].get(key)
        self._remember(key, pod, port)
        if port is not None and port.spec.owner_kind != "Pod":
            if pod is not None and needs_port(pod):
                raise Terminal(
                    f"KuryrPort {key} belongs to a {port.spec.owner_kind}, not to this pod; rename the pod."
                )
            return None
        if pod is None or not needs_port(pod) or (port is not None and port.spec.pod_uid != pod.metadata.uid):
            if port is not None and not port.deleting:
                if self._out_of_use(key, pod, port):
                    self._delete(key, port)
            elif pod is not None and (pod.completed or pod.ended) and held(pod) and not _owns(pod, port):
                # Its ports are released, and nobody else would let it go.
                release_pod(self.context.client, pod)
        elif port is None and not pod.deleting:
            if not self._coming(key):
                self._create(key, pod)
            # One that others delete before the store shows it brings no change.
            return LOOK_AGAIN
        return None

    def _remember(self, key: Key, pod: Pod | None, port: KuryrPort | None) -> None:
        if port is not None or pod is None:
            self._created.pop(key, None)
        if port is None and pod is None:
            self._seen.pop(key, None)
        elif pod is not None and (port is None or port.spec.pod_uid == pod.metadata.uid):
            self._seen[key] = pod.metadata.uid

    def _out_of_use(self, key: Key, pod: Pod | None, port: KuryrPort) -> bool:
        uid = port.spec.pod_uid
        if pod is not None and pod.metadata.uid == uid:
            return True
        return self._seen.get(key) == uid or self.really_gone(PODS, key, uid)

    def _coming(self, key: Key) -> bool:
        """Whether it was created and the store is only behind: a look costs the API less than a second creation."""
        uid = self._created.get(key)
        return uid is not None and not self.really_gone(KURYRPORTS, key, uid)

    def _create(self, key: Key, pod: Pod) -> None:
        try:
            created = self.context.client.create(KURYRPORTS, key.namespace, kuryrport_for(pod))
            self._created[key] = created.metadata.uid
        except Conflict as error:
            # It is there and the store will tell; then this key is reconciled again.
            if error.reason != "AlreadyExists":
                raise

    def _delete(self, key: Key, port: KuryrPort) -> None:
        try:
            self.context.client.delete(KURYRPORTS, key, uid=port.metadata.uid)
        except (NotFound, Conflict):
            # Gone, or another of the same name by now: the store will tell.
            return


def _owns(pod: Pod, port: KuryrPort | None) -> bool:
    return port is not None and port.spec.pod_uid == pod.metadata.uid


def _pod_of(port: KubernetesObject) -> Iterable[Key]:
    return (port.key,)
