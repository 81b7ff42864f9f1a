# SPDX-License-Identifier: Apache-2.0
"""The kinds of kubernetes_crds/, decoded into whatever they hold, and the objects that the original wrote."""

import json
from pathlib import Path
from typing import Any

from kuryr.objects.meta import KubernetesObject
from kuryr.objects.resources import Resource

HERE = Path(__file__).parent
WRITTEN_BY_SERVER = ("uid", "resourceVersion", "creationTimestamp", "generation")


class Anything(KubernetesObject, kw_only=True):
    """An object of any kind, with spec and status as JSON has them."""

    spec: Any = None
    status: Any = None


def _ours(plural: str, kind: str) -> Resource[Anything]:
    return Resource("openstack.org", "v1", plural, kind, Anything)


KURYRPORTS = _ours("kuryrports", "KuryrPort")
KURYRNETWORKS = _ours("kuryrnetworks", "KuryrNetwork")
KURYRNETWORKPOLICIES = _ours("kuryrnetworkpolicies", "KuryrNetworkPolicy")
KURYRLOADBALANCERS = _ours("kuryrloadbalancers", "KuryrLoadBalancer")
KURYRSECURITYGROUPS = _ours("kuryrsecuritygroups", "KuryrSecurityGroup")
NETWORK_ATTACHMENT_DEFINITIONS = Resource(
    "k8s.cni.cncf.io", "v1", "network-attachment-definitions", "NetworkAttachmentDefinition", Anything
)

ALL = (
    KURYRPORTS,
    KURYRNETWORKS,
    KURYRNETWORKPOLICIES,
    KURYRLOADBALANCERS,
    KURYRSECURITYGROUPS,
    NETWORK_ATTACHMENT_DEFINITIONS,
)


def original_objects() -> list[tuple[Resource[Anything], dict[str, Any]]]:
    """Every object of a cluster of the original's that is of one of these kinds, without what the server writes."""
    by_kind = {resource.kind: resource for resource in ALL}
    objects = []
    for item in json.loads((HERE / "original_objects.json").read_text())["items"]:
        for field in WRITTEN_BY_SERVER:
            item["metadata"].pop(field, None)
        objects.append((by_kind[item["kind"]], item))
    return objects
