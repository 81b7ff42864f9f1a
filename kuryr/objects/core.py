# SPDX-License-Identifier: Apache-2.0
"""Kubernetes' own kinds, holding only the fields in use."""

from __future__ import annotations

import msgspec

from kuryr.objects.meta import KubernetesObject


class PodSpec(msgspec.Struct, rename="camel", omit_defaults=True):
    """Scheduling and network mode of a pod."""

    node_name: str = ""
    host_network: bool = False


class PodStatus(msgspec.Struct, rename="camel", omit_defaults=True):
    """Observed state of a pod."""

    phase: str = ""


class Pod(KubernetesObject, kw_only=True):
    """A pod."""

    spec: PodSpec = msgspec.field(default_factory=PodSpec)
    status: PodStatus = msgspec.field(default_factory=PodStatus)

    @property
    def completed(self) -> bool:
        """Whether all its containers ended for good: its network is no longer used."""
        return self.status.phase in ("Succeeded", "Failed")

    @property
    def ended(self) -> bool:
        """Whether nothing but finalizers keeps it: its containers are gone, or nobody waits for them any more."""
        meta = self.metadata
        return self.deleting and meta.deletion_grace_period_seconds == 0 and bool(meta.finalizers)

    @property
    def static(self) -> bool:
        """Whether this is the mirror of a pod that a kubelet reads from a file (its sandbox knows another UID)."""
        return "kubernetes.io/config.mirror" in self.metadata.annotations


class NodeAddress(msgspec.Struct, omit_defaults=True):
    """An address of a node: type InternalIP, Hostname, ..."""

    type: str = ""
    address: str = ""


class NodeStatus(msgspec.Struct, rename="camel", omit_defaults=True):
    """Observed state of a node."""

    addresses: list[NodeAddress] = []


POD_VIF_LABEL = "pod_vif"
"""Label of a node: the name of the pod_vif driver there, where nodes differ ([vif_pool] vif_pool_mapping)."""


class Node(KubernetesObject, kw_only=True):
    """A node."""

    status: NodeStatus = msgspec.field(default_factory=NodeStatus)


class Namespace(KubernetesObject, kw_only=True):
    """A namespace."""
