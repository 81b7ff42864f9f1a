# SPDX-License-Identifier: Apache-2.0
"""A whole cluster as kuryr-kubernetes 10.0.0 left it, put into a real Kubernetes API and a fake cloud.

``recorded/`` holds the objects of a namespace ``shop`` and of its cloud: a Deployment, a StatefulSet, a completed pod, a pod
with two interfaces, a Service, a NetworkPolicy; drivers: namespace subnets, policy security groups, several VIFs.
"""

import json
from pathlib import Path
from typing import Any

from kuryr.k8s.client import Client
from kuryr.objects.core import Pod
from kuryr.objects.meta import Key
from kuryr.objects.resources import PODS, Resource
from kuryr.testing.fake_cloud import FakeCloud
from tests.functional.crds.kinds import ALL, KURYRPORTS, Anything

RECORDED = Path(__file__).parent / "recorded"
NAMESPACE = "shop"
PROJECT = "320cf1f5a9cf4c50980a3944f26b8380"
WRITTEN_BY_SERVER = ("uid", "resourceVersion", "creationTimestamp", "generation")

SERVICES = Resource("", "v1", "services", "Service", Anything)
POLICIES = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", Anything)
KINDS = {resource.kind: resource for resource in (*ALL, SERVICES, POLICIES)}

OPEN_GROUP = "c8af9b0c-3749-44ff-b228-e858caf52e8c"
POLICY_GROUP = "dc62ada0-7910-40da-abd6-ac636d6f978b"
OPTIONS = {
    "neutron_defaults": {
        "pod_subnet": "79590c21-5cf3-4b84-8ebe-ff80f938158c",
        "service_subnet": "ccffb23e-f7e5-43a6-9c63-f90c45e91166",
        "pod_security_groups": OPEN_GROUP,
    }
}
"""As the recorded cluster was configured, as far as there are drivers for it."""


class Recording:
    """The recorded objects. UIDs are the API's to give: :meth:`restore` takes the new ones over everywhere."""

    def __init__(self) -> None:
        self.kubernetes: list[dict[str, Any]] = json.loads((RECORDED / "kubernetes.json").read_text())[
            "items"
        ]
        self.neutron: dict[str, list[dict[str, Any]]] = json.loads((RECORDED / "neutron.json").read_text())

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The objects of a kind, without what the API server writes."""
        found = []
        for item in self.kubernetes:
            if item["kind"] == kind and item["metadata"].get("namespace") == NAMESPACE:
                metadata = {k: v for k, v in item["metadata"].items() if k not in WRITTEN_BY_SERVER}
                found.append({**item, "metadata": metadata})
        return found

    def uid(self, name: str) -> str:
        """UID of a pod."""
        return next(
            item["metadata"]["uid"]
            for item in self.kubernetes
            if item["kind"] == "Pod" and item["metadata"]["name"] == name
        )

    def port_ids(self, pod: str) -> set[str]:
        """Ids of a pod's ports."""
        return {port["id"] for port in self.neutron["ports"] if port["device_id"] == self.uid(pod)}

    def restore(self, client: Client, cloud: FakeCloud) -> None:
        """Put everything in. The CRDs are the original's: without a status subresource."""
        uids = {PROJECT: cloud.project_id}
        for item in self.of("Pod"):
            status = item.pop("status")
            made = client.create(PODS, NAMESPACE, item)
            uids[self.uid(item["metadata"]["name"])] = made.metadata.uid
            kept = {field: status[field] for field in ("phase", "podIP", "podIPs", "hostIP", "hostIPs")}
            client.merge_patch(PODS, made.key, {"status": kept}, subresource="status")
        self.kubernetes = _replaced(self.kubernetes, uids)
        self.neutron = _replaced(self.neutron, uids)
        for kind, resource in KINDS.items():
            for item in self.of(kind):
                for field in ("clusterIP", "clusterIPs", "healthCheckNodePort"):
                    item.get("spec", {}).pop(field, None)
                client.create(resource, NAMESPACE, item)
        for plural in ("networks", "subnets", "security_groups", "ports"):
            cloud.restore(plural, self.neutron[plural])


def versions(client: Client) -> dict[tuple[str, str], str]:
    """What each object of the namespace was last changed by: (kind, name) → resourceVersion."""
    found = {
        (PODS.kind, pod.metadata.name): pod.metadata.resource_version
        for pod in client.list(PODS, namespace=NAMESPACE).items
    }
    for kind, resource in KINDS.items():
        for obj in client.list(resource, namespace=NAMESPACE).items:
            found[kind, obj.metadata.name] = obj.metadata.resource_version
    return found


def pods(client: Client) -> dict[str, Pod]:
    """The namespace's pods by name."""
    return {pod.metadata.name: pod for pod in client.list(PODS, namespace=NAMESPACE).items}


def clear(client: Client) -> None:
    """Take everything out again."""
    for resource in (PODS, *KINDS.values()):
        for obj in client.list(resource, namespace=NAMESPACE).items:
            if obj.metadata.finalizers:
                client.merge_patch(resource, obj.key, {"metadata": {"finalizers": None}})
            if resource is not PODS or obj.metadata.deletion_timestamp is None:
                client.delete(resource, obj.key, grace_period_seconds=0)


def status_is_served(client: Client) -> bool:
    """Whether KuryrPorts have the status subresource by now; changes nothing."""
    (first, *_) = client.list(KURYRPORTS, namespace=NAMESPACE).items
    try:
        client.merge_patch(KURYRPORTS, Key(NAMESPACE, first.metadata.name), {}, subresource="status")
    except Exception as error:
        if getattr(error, "status", None) == 404:
            return False
        raise
    return True


def _replaced(document: Any, names: dict[str, str]) -> Any:
    text = json.dumps(document)
    for old, new in names.items():
        text = text.replace(old, new)
    return json.loads(text)
