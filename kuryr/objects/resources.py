# SPDX-License-Identifier: Apache-2.0
"""Which kinds exist where in the Kubernetes API, and the type that each is decoded into."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from kuryr.objects.core import Namespace, Node, Pod
from kuryr.objects.kuryrnetwork import KuryrNetwork
from kuryr.objects.kuryrport import KuryrPort
from kuryr.objects.meta import KubernetesObject

T = TypeVar("T", bound=KubernetesObject)


class Resource(msgspec.Struct, Generic[T], frozen=True):
    """A kind of the API. ``group`` is empty for the core group."""

    group: str
    version: str
    plural: str
    kind: str
    type: type[T]
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """As objects carry it: ``v1`` or ``openstack.org/v1``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """URL path of the collection (all namespaces where ``namespace`` is empty), object or subresource."""
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


PODS = Resource("", "v1", "pods", "Pod", Pod)
NODES = Resource("", "v1", "nodes", "Node", Node, namespaced=False)
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", Namespace, namespaced=False)
KURYRPORTS = Resource("openstack.org", "v1", "kuryrports", "KuryrPort", KuryrPort)
KURYRNETWORKS = Resource("openstack.org", "v1", "kuryrnetworks", "KuryrNetwork", KuryrNetwork)
