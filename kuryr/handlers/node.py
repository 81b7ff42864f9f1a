# SPDX-License-Identifier: Apache-2.0
"""``node``: a port on the pod network for every node, as a KuryrPort of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kuryr.drivers.types import Affected
from kuryr.errors import Terminal, WaitFor
from kuryr.handlers.base import Context, Handler
from kuryr.handlers.decision import undecided
from kuryr.k8s.errors import Conflict, NotFound
from kuryr.k8s.lease import LEASES
from kuryr.objects.core import Node
from kuryr.objects.kuryrport import FINALIZER, NODE_LABEL, KuryrPort, RouteStatus
from kuryr.objects.meta import Key, KubernetesObject
from kuryr.objects.resources import KURYRPORTS, NODES, Resource

PREFIX = "kuryr-node."
RECHECK_UNDECIDED = 60.0
"""Seconds between two looks whether anything of the original's is left, where nobody decided to adopt it."""


def kuryrport_key(namespace: str, node_name: str) -> Key:
    """The KuryrPort of a node."""
    return Key(namespace, PREFIX + node_name)


def kuryrport_for(node: Node, namespace: str) -> dict[str, Any]:
    """The KuryrPort to create for a node."""
    name = node.metadata.name
    return {
        "apiVersion": KURYRPORTS.api_version,
        "kind": KURYRPORTS.kind,
        "metadata": {
            "name": kuryrport_key(namespace, name).name,
            "namespace": namespace,
            "labels": {NODE_LABEL: name},
            "finalizers": [FINALIZER],
            "ownerReferences": [
                {"apiVersion": NODES.api_version, "kind": NODES.kind, "name": name, "uid": node.metadata.uid}
            ],
        },
        "spec": {"podUid": node.metadata.uid, "podNodeName": name, "ownerKind": "Node"},
    }


def routes_of(context: Context, own: Sequence[str]) -> list[RouteStatus]:
    """The routes of a node whose port is on the subnets ``own``: to all other pod subnets and the service subnets.

    :raises WaitFor: while Neutron describes the subnets.
    :raises CloudError: where it does not.
    """
    wanted = [*context.drivers.pod_subnets.subnet_ids(), *context.conf.neutron_defaults.service_subnet]
    calls = {subnet_id: context.subnets.get(subnet_id) for subnet_id in dict.fromkeys([*own, *wanted])}
    if waiting := [call for call in calls.values() if not call.done()]:
        raise WaitFor(waiting, "waiting for Neutron to describe the subnets")
    subnets = {subnet_id: call.result() for subnet_id, call in calls.items()}
    gateways = {
        subnets[subnet_id].ip_version: subnets[subnet_id].gateway_ip
        for subnet_id in own
        if subnets[subnet_id].gateway_ip
    }
    routes = [
        RouteStatus(destination=subnet.cidr, next_hop=gateway)
        for subnet_id, subnet in subnets.items()
        if subnet_id not in own and (gateway := gateways.get(subnet.ip_version)) is not None
    ]
    return sorted(routes, key=lambda route: route.destination)


class NodeHandler(Handler):
    """Creates and deletes the nodes' KuryrPorts, as [node_port] enabled says. Runs always, whatever enabled_handlers has."""

    resource = NODES

    def watches(self) -> Mapping[Resource[Any], Affected]:
        """A node's KuryrPort matters to the node, the decision to adopt to all nodes."""
        return {KURYRPORTS: _node_of, LEASES: lambda lease: self.context.stores[NODES].keys()}

    def shard_key(self, key: Key) -> str:
        """All nodes are in one shard."""
        return str(self.context.conf.kubernetes.lease_namespace)

    def reconcile(self, key: Key) -> float | None:
        """Create the KuryrPort of a node, delete that of one that is gone."""
        namespace = self.context.conf.kubernetes.lease_namespace
        node: Node | None = self.context.stores[NODES].get(key)
        port_key = kuryrport_key(namespace, key.name)
        port: KuryrPort | None = self.context.stores[KURYRPORTS].get(port_key)
        wanted = node is not None and not node.deleting and self.context.conf.node_port.enabled
        if port is not None and port.spec.owner_kind != "Node":
            if wanted:
                raise Terminal(
                    f"KuryrPort {port_key} belongs to a pod of that name, not to this node; rename the pod."
                )
            return None
        try:
            if port is not None and not port.deleting:
                uid = port.spec.pod_uid
                unwanted = node is not None and node.metadata.uid == uid and not wanted
                if unwanted or (
                    (node is None or node.metadata.uid != uid) and self.really_gone(NODES, key, uid)
                ):
                    self.context.client.delete(KURYRPORTS, port_key, uid=port.metadata.uid)
            elif port is None and node is not None and wanted:
                if undecided(self.context.stores, namespace):
                    # The original has no such ports, and its nodes reach their pods in another way.
                    return RECHECK_UNDECIDED
                self.context.client.create(KURYRPORTS, namespace, kuryrport_for(node, namespace))
        except NotFound:
            return None
        except Conflict as error:
            if node is not None and error.reason != "AlreadyExists":
                raise
        return None


def _node_of(port: KubernetesObject) -> Iterable[Key]:
    # By its name: a pod's KuryrPort of such a name is in the node's way until it is gone.
    name = port.metadata.name
    return (Key("", name.removeprefix(PREFIX)),) if name.startswith(PREFIX) else ()
