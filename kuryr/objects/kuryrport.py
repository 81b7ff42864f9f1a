# SPDX-License-Identifier: Apache-2.0
"""KuryrPort: what one pod (or node) has of Neutron."""

from __future__ import annotations

from typing import Any

import msgspec

from kuryr.objects.meta import Condition, KubernetesObject
from kuryr.objects.vif import VIF, decode, stored_id

FINALIZER = "kuryr.openstack.org/kuryrport-finalizer"
NODE_LABEL = "kuryr.openstack.org/nodeName"

# Condition types of a KuryrPort (status.conditions) and of one of its VIFs (status.vifs.<interface>.conditions).
ALLOCATED = "Allocated"
UP = "Up"

# Values of VIFStatus.reported_by: who can tell that the VIF is up.
BY_NODE = "node"
BY_CONTROLLER = "controller"


class KuryrPortSpec(msgspec.Struct, rename="camel", omit_defaults=True):
    """Whose port this is. ``pod_uid`` is the node's UID where ``owner_kind`` is Node or Pool."""

    pod_uid: str = ""
    pod_node_name: str = ""
    pod_static: bool = False
    owner_kind: str = "Pod"


class VIFStatus(msgspec.Struct, rename="camel", omit_defaults=True):
    """One interface. ``vif`` is in the stored format of :mod:`kuryr.objects.vif`.

    What follows ``default`` is ours; the original did not write it, so it may be missing. ``security_groups`` None
    means unknown. ``choice`` says in words why these subnets were taken. ``driver`` is the pod_vif driver that made it,
    empty where it was not written down. ``pool`` names the pool that it came from, where it did.
    """

    vif: Any = None
    default: bool = False
    reported_by: str = BY_NODE
    project_id: str = ""
    security_groups: list[str] | None = None
    subnet_ids: list[str] = []
    choice: str = ""
    driver: str = ""
    pool: str = ""
    conditions: list[Condition] = []


class RouteStatus(msgspec.Struct, rename="camel", omit_defaults=True):
    """A route that the node needs: ``destination`` CIDR by ``next_hop`` address."""

    destination: str
    next_hop: str


class KuryrPortStatus(msgspec.Struct, rename="camel", omit_defaults=True):
    """What was allocated. ``vifs`` maps interface names to VIFs; empty until all are there."""

    vifs: dict[str, VIFStatus] = {}
    conditions: list[Condition] = []
    routes: list[RouteStatus] = []


class KuryrPort(KubernetesObject, kw_only=True):
    """A KuryrPort; named as its pod, in the pod's namespace.

    Those with ``owner_kind`` Node and Pool hold a node's own VIF and the ready VIFs of its pool.
    """

    spec: KuryrPortSpec = msgspec.field(default_factory=KuryrPortSpec)
    status: KuryrPortStatus = msgspec.field(default_factory=KuryrPortStatus)

    def decoded_vifs(self) -> dict[str, VIF]:
        """Interface name → VIF.

        :raises InvalidVIF: where a stored one cannot be understood.
        """
        return {name: decode(entry.vif) for name, entry in self.status.vifs.items()}

    @property
    def default_interface(self) -> str | None:
        """Name of the interface that carries the pod's default network, if allocated."""
        return next((name for name, entry in self.status.vifs.items() if entry.default), None)


VIF_IDS = "vif-ids"
"""Name of the index by the ids of VIFs that are in use."""


def used_vif_ids(port: KuryrPort) -> list[str]:
    """Ids of the VIFs that a pod or node has by this KuryrPort; a pool's are in nobody's use.

    One that cannot be understood is in use all the same.
    """
    if port.spec.owner_kind == "Pool":
        return []
    return [vif_id for entry in port.status.vifs.values() if (vif_id := stored_id(entry.vif))]
