# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a cluster that has settled. Pure: of what was read, nothing is asked from here."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from kuryr.cloud import identity
from kuryr.handlers.node import PREFIX as NODE_PREFIX
from kuryr.handlers.vif import needs_port
from kuryr.handlers.vif_pool import MOST_SHOWN
from kuryr.objects.core import Node, Pod
from kuryr.objects.kuryrport import KuryrPort, used_vif_ids
from kuryr.objects.meta import KubernetesObject
from kuryr.objects.vif import VIF

NeutronPort = dict[str, Any]


class State(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster at one moment.

    :ivar ports: all of Neutron's that are marked as a pod's or node's, in Neutron's own words.
    :ivar pools: what ``kuryr-pools list`` says; None where there are none.
    :ivar node_ports: whether every node must have a port of its own.
    """

    cluster: str
    pods: Sequence[Pod]
    nodes: Sequence[Node]
    kuryrports: Sequence[KuryrPort]
    ports: Sequence[NeutronPort]
    pools: Sequence[dict[str, Any]] | None = None
    node_ports: bool = True


def violations(state: State) -> list[str]:
    """What is not as it must be, a sentence each."""
    return [
        *_finalizers([*state.pods, *state.kuryrports]),
        *_pods(state),
        *_without_owner(state),
        *_nodes(state),
        *_shared(state),
        *_nothing_else(state),
        *_pools(state),
    ]


def _finalizers(objects: Iterable[KubernetesObject]) -> list[str]:
    return [
        f"{obj.kind or type(obj).__name__} {obj.key} is being deleted, and held by {', '.join(obj.metadata.finalizers)}"
        for obj in objects
        if obj.deleting and obj.metadata.finalizers
    ]


def _pods(state: State) -> list[str]:
    """Every pod that needs it has its KuryrPort and that its own ports; no other pod has one."""
    found: list[str] = []
    kuryrports = {port.key: port for port in state.kuryrports if port.spec.owner_kind == "Pod"}
    ports = {port["id"]: port for port in state.ports}
    for pod in state.pods:
        kuryrport = kuryrports.get(pod.key)
        if not needs_port(pod):
            if kuryrport is not None:
                found.append(f"pod {pod.key} needs no port and has a KuryrPort")
            continue
        if kuryrport is None:
            if not pod.deleting:
                found.append(f"pod {pod.key} has no KuryrPort")
            continue
        if kuryrport.spec.pod_uid != pod.metadata.uid:
            found.append(f"KuryrPort {pod.key} is of {kuryrport.spec.pod_uid}, not of {pod.metadata.uid}")
            continue
        found += _filled(f"pod {pod.key}", kuryrport, ports, pod.spec.node_name)
    return found


def _filled(owner: str, kuryrport: KuryrPort, ports: dict[str, NeutronPort], node: str) -> list[str]:
    if not kuryrport.status.vifs:
        said = "; ".join(f"{each.reason}: {each.message}" for each in kuryrport.status.conditions)
        return [f"{owner} is not served ({said or 'nothing is said about it'})"]
    found: list[str] = []
    for name, vif in kuryrport.decoded_vifs().items():
        port = ports.get(vif.id)
        what = f"port {vif.id} (interface {name} of {owner})"
        if port is None:
            found.append(f"Neutron has no {what}")
            continue
        if port["binding:host_id"] != node:
            found.append(f"{what} is bound to {port['binding:host_id']}, not to {node}")
        if _addresses(port) != set(vif.addresses):
            found.append(f"{what} has the addresses {sorted(_addresses(port))}, not {sorted(vif.addresses)}")
        entry = kuryrport.status.vifs[name]
        if not entry.pool and port["device_id"] != kuryrport.spec.pod_uid:
            found.append(f"{what} has the device_id {port['device_id']}")
        if set(port["security_groups"]) != set(entry.security_groups or ()):
            found.append(f"{what} has the groups {port['security_groups']}, not {entry.security_groups}")
    return found


def _without_owner(state: State) -> list[str]:
    pods, nodes = {pod.key for pod in state.pods}, {node.metadata.uid for node in state.nodes}
    return [
        f"KuryrPort {port.key} is of a {port.spec.owner_kind} that is not there"
        for port in state.kuryrports
        if (port.key not in pods if port.spec.owner_kind == "Pod" else port.spec.pod_uid not in nodes)
    ]


def _nodes(state: State) -> list[str]:
    if not state.node_ports:
        return []
    ports = {port["id"]: port for port in state.ports}
    own = {port.spec.pod_uid: port for port in state.kuryrports if port.spec.owner_kind == "Node"}
    found: list[str] = []
    for node in state.nodes:
        name = node.metadata.name
        kuryrport = own.get(node.metadata.uid)
        if kuryrport is None:
            found.append(f"node {name} has no KuryrPort {NODE_PREFIX}{name}")
        else:
            found += _filled(f"node {name}", kuryrport, ports, name)
    return found


def _shared(state: State) -> list[str]:
    """What two have."""
    users: dict[str, list[str]] = defaultdict(list)
    addresses: Counter[str] = Counter()
    for kuryrport in state.kuryrports:
        for vif_id in used_vif_ids(kuryrport):
            users[vif_id].append(str(kuryrport.key))
        if kuryrport.spec.owner_kind != "Pool":
            addresses.update(address for vif in _vifs(kuryrport) for address in vif.addresses)
    found = [
        f"port {vif_id} is in the hands of {' and '.join(keys)}"
        for vif_id, keys in users.items()
        if len(keys) > 1
    ]
    found += [
        f"{number} KuryrPorts have the address {one}" for one, number in addresses.items() if number > 1
    ]
    return found


def _nothing_else(state: State) -> list[str]:
    """Neutron holds nothing of this cluster beyond what is used; ports that wait in pools are counted in :func:`_pools`."""
    used = {vif_id for kuryrport in state.kuryrports for vif_id in used_vif_ids(kuryrport)}
    nodes = {node.metadata.name for node in state.nodes}
    found: list[str] = []
    for port in state.ports:
        who = identity.parse(port["description"] or "")
        if who is None or who.cluster != state.cluster or port["id"] in used:
            continue
        if who.kind == "pool" and state.pools is not None and who.uid in nodes:
            continue
        found.append(f"nobody uses port {port['id']} ({port['description']}, device_id {port['device_id']})")
    return found


def _pools(state: State) -> list[str]:
    """Each pool has what Neutron has for it, and shows its node what is ready."""
    if state.pools is None:
        return []
    used = {vif_id for kuryrport in state.kuryrports for vif_id in used_vif_ids(kuryrport)}
    waiting: dict[str, set[str]] = defaultdict(set)
    for port in state.ports:
        who = identity.parse(port["description"] or "")
        if who is not None and who.cluster == state.cluster and who.kind == "pool" and port["id"] not in used:
            waiting[who.uid].add(port["id"])
    shown = {
        port.spec.pod_node_name: {vif.id for vif in _vifs(port)}
        for port in state.kuryrports
        if port.spec.owner_kind == "Pool"
    }
    found: list[str] = []
    for node in (node.metadata.name for node in state.nodes):
        pools = [pool for pool in state.pools if pool["node"] == node]
        known = sum(pool["ready"] + pool["resting"] for pool in pools)
        if known != len(waiting[node]):
            found.append(f"the pools of {node} have {known} ports, Neutron has {len(waiting[node])} for them")
        if node not in shown:
            found.append(f"the pools of {node} have no KuryrPort")
            continue
        if strange := shown[node] - waiting[node]:
            found.append(f"the pool of {node} shows ports that are used, or not there: {sorted(strange)}")
        ready = sum(pool["ready"] for pool in pools)
        if len(shown[node]) < min(ready, MOST_SHOWN):
            found.append(f"the pool of {node} has {ready} ready ports and shows {len(shown[node])}")
    return found


def _addresses(port: NeutronPort) -> set[str]:
    return {ip["ip_address"] for ip in port["fixed_ips"]}


def _vifs(kuryrport: KuryrPort) -> Iterable[VIF]:
    return kuryrport.decoded_vifs().values()
