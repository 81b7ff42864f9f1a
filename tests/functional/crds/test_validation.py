# SPDX-License-Identifier: Apache-2.0
"""What is wrong is refused, with a message that names the field and what was expected."""

from copy import deepcopy
from typing import Any

import pytest

from kuryr.k8s.client import Client
from kuryr.k8s.errors import Invalid
from kuryr.objects.meta import Key
from kuryr.objects.resources import Resource
from tests.functional.crds.kinds import (
    KURYRLOADBALANCERS,
    KURYRNETWORKPOLICIES,
    KURYRNETWORKS,
    KURYRPORTS,
    KURYRSECURITYGROUPS,
    Anything,
)

UUID = "5242d5d3-4731-49cd-8e18-3bcc88f921ff"
OTHER_UUID = "a7096cd9-bf28-404f-b756-dd582d0c9ee1"

Spec = dict[str, Any]

# The fullest spec of each kind.
KURYRPORT: Spec = {
    "podUid": UUID,
    "podNodeName": "node-1",
    "podStatic": False,
    "ownerKind": "Pod",
    "interfaces": [
        {
            "name": "eth0",
            "default": True,
            "networks": ["blue", "shared/green"],
            "strategy": "LeastUsed",
            "ips": ["10.0.0.5", "fd00::5"],
            "macAddress": "fa:16:3e:8a:45:f8",
        },
        {
            "name": "eth1",
            "networkSelector": {
                "matchLabels": {"tier": "storage"},
                "matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}],
            },
            "addressRange": "static",
            "projectId": "320cf1f5a9cf4c50980a3944f26b8380",
            "securityGroups": [UUID],
            "driver": "nested-vlan",
            "networkAttachmentDefinition": "shop/second",
        },
    ],
}
KURYRNETWORK: Spec = {
    "nsName": "shop",
    "nsLabels": {"a/b": "c"},
    "projectId": "320cf1f5a9cf4c50980a3944f26b8380",
    "networkId": UUID,
    "cidrs": ["10.1.0.0/24", "fd00:1::/64"],
    "routerId": UUID,
    "default": True,
    "priority": 10,
    "strategy": "RoundRobin",
    "allowedNamespaces": {"names": ["other"], "selector": {"matchLabels": {"team": "a"}}},
    "addressRanges": [{"name": "static", "start": "10.1.0.10", "end": "10.1.0.20"}],
}
KURYRNETWORKPOLICY: Spec = {
    "podSelector": {"matchLabels": {"app": "web"}},
    "policyTypes": ["Ingress", "Egress"],
    "projectId": "320cf1f5a9cf4c50980a3944f26b8380",
    "ingressSgRules": [{"sgRule": {"direction": "ingress", "ethertype": "IPv4"}}],
}
KURYRLOADBALANCER: Spec = {
    "ip": "10.96.0.10",
    "ips": ["10.96.0.10", "fd00:96::a"],
    "subnetIds": [UUID, OTHER_UUID],
    "project_id": "320cf1f5a9cf4c50980a3944f26b8380",
    "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "8080"}],
    "type": "LoadBalancer",
    "loadBalancerClass": "openstack.org/octavia",
    "sessionAffinity": "ClientIP",
    "sessionAffinityTimeoutSeconds": 600,
    "sourceRanges": ["192.0.2.0/24"],
    "externalTrafficPolicy": "Cluster",
    "endpointSlices": [
        {
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.1.0.7"], "conditions": {"ready": True, "terminating": False}}],
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        }
    ],
}
KURYRSECURITYGROUP: Spec = {
    "projectId": "320cf1f5a9cf4c50980a3944f26b8380",
    "podClass": {"labels": {"app": "web"}, "absentLabels": ["tier"], "isolates": ["Ingress"]},
    "rules": [
        {
            "direction": "ingress",
            "ethertype": "IPv4",
            "protocol": "tcp",
            "portRangeMin": 80,
            "portRangeMax": 90,
            "remoteAddressGroup": "shop/clients",
        },
        {"direction": "egress", "ethertype": "IPv6"},
    ],
}
PEERS: Spec = {
    "projectId": "320cf1f5a9cf4c50980a3944f26b8380",
    "selector": {
        "podSelector": {"matchLabels": {"role": "client"}},
        "namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "Exists"}]},
        "port": {"name": "http", "protocol": "TCP", "number": 8080},
    },
}

FULL = {
    KURYRPORTS: KURYRPORT,
    KURYRNETWORKS: KURYRNETWORK,
    KURYRNETWORKPOLICIES: KURYRNETWORKPOLICY,
    KURYRLOADBALANCERS: KURYRLOADBALANCER,
    KURYRSECURITYGROUPS: KURYRSECURITYGROUP,
}


def _object(resource: Resource[Anything], spec: Spec) -> dict[str, Any]:
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": "one"},
        "spec": spec,
    }


def _ids(value: object) -> str | None:
    return value.kind if isinstance(value, Resource) else None


@pytest.mark.parametrize(("resource", "spec"), [*FULL.items(), (KURYRSECURITYGROUPS, PEERS)], ids=_ids)
def test_the_fullest_spec_is_kept_whole(
    resource: Resource[Anything], spec: Spec, api_client: Client, namespace: str
) -> None:
    assert api_client.create(resource, namespace, _object(resource, spec)).spec == spec


MISSING = object()
"""Stands for a field that is taken away."""


def _changed(spec: Spec, path: str, value: Any) -> Spec:
    """The spec with the field at ``path`` (dots, numbers for list entries) set to ``value``."""
    changed = deepcopy(spec)
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    where: Any = changed
    for part in parents:
        where = where[part]
    if value is MISSING:
        del where[last]
    else:
        where[last] = value
    return changed


@pytest.mark.parametrize(
    ("resource", "path", "value", "message"),
    [
        (KURYRPORTS, "podUid", MISSING, "spec.podUid: Required value"),
        (KURYRPORTS, "podNodeName", MISSING, "spec.podNodeName: Required value"),
        (KURYRPORTS, "ownerKind", "Service", 'spec.ownerKind: Unsupported value: "Service"'),
        (KURYRPORTS, "interfaces.0.ips", ["10.0.0.300"], "ips: expected an IPv4 or IPv6 address"),
        (KURYRPORTS, "interfaces.0.ips", ["10.0.0.1/24"], "ips: expected an IPv4 or IPv6 address"),
        (KURYRPORTS, "interfaces.0.ips", ["10.0.0.1", "10.0.0.2"], "one address of each IP family"),
        (KURYRPORTS, "interfaces.0.macAddress", "01:00:5e:00:00:01", "expected a unicast address"),
        (KURYRPORTS, "interfaces.0.name", "eth0/1", "name: expected an interface name"),
        (KURYRPORTS, "interfaces.0.name", "eth1", "Duplicate value"),
        (KURYRPORTS, "interfaces.0.addressRange", "static", "expected ips or addressRange, not both"),
        (KURYRPORTS, "interfaces.0.networkSelector", {}, "expected networks or networkSelector, not both"),
        (KURYRPORTS, "interfaces.1.default", True, "default: true on one interface at most"),
        (KURYRPORTS, "interfaces.1.networkSelector.matchExpressions.0.values", [], "values: expected"),
        (KURYRNETWORKS, "networkId", "pods", "networkId: expected the id (a UUID)"),
        (KURYRNETWORKS, "cidrs", ["10.1.0.1/24"], "expected a network without host bits"),
        (KURYRNETWORKS, "cidrs", ["10.1.0.0"], "cidrs: expected"),
        (KURYRNETWORKS, "cidrs", ["10.1.0.0/24", "10.2.0.0/24"], "one CIDR of each IP family"),
        (KURYRNETWORKS, "subnetPoolIds", [UUID], "one of subnetIds, subnetPoolIds and cidrs at most"),
        (KURYRNETWORKS, "strategy", "Random", 'spec.strategy: Unsupported value: "Random"'),
        (KURYRNETWORKS, "addressRanges.0.end", "fd00::1", "expected addresses of one IP family"),
        (KURYRNETWORKS, "addressRanges.0.start", "ten", "start: expected an IPv4 or IPv6 address"),
        (KURYRNETWORKPOLICIES, "policyTypes", ["Both"], 'Unsupported value: "Both"'),
        (KURYRNETWORKPOLICIES, "podSelector", MISSING, "spec.podSelector: Required value"),
        (KURYRLOADBALANCERS, "ports.0.port", 0, "spec.ports[0].port"),
        (KURYRLOADBALANCERS, "ports.0.targetPort", 8080, "spec.ports[0].targetPort"),
        (KURYRLOADBALANCERS, "ips", ["10.96.0.10", "10.96.0.11"], "one address of each IP family"),
        (KURYRLOADBALANCERS, "sourceRanges", ["192.0.2.1"], "sourceRanges: expected a CIDR"),
        (KURYRLOADBALANCERS, "sessionAffinity", "None", "expected with sessionAffinity ClientIP only"),
        (KURYRLOADBALANCERS, "timeout_client_data", -1, "spec.timeout_client_data"),
        (KURYRSECURITYGROUPS, "selector", {}, "expected podClass (a security group) or selector"),
        (KURYRSECURITYGROUPS, "podClass", MISSING, "expected podClass (a security group) or selector"),
        (KURYRSECURITYGROUPS, "rules.0.portRangeMax", 79, "the first not above the second"),
        (KURYRSECURITYGROUPS, "rules.0.portRangeMin", MISSING, "expected both"),
        (KURYRSECURITYGROUPS, "rules.0.protocol", MISSING, "protocol: expected where there are ports"),
        (KURYRSECURITYGROUPS, "rules.0.remoteIPPrefix", "10.0.0.0/8", "at most"),
        (KURYRSECURITYGROUPS, "rules.1.remoteIPPrefix", "10.0.0.1", "remoteIPPrefix: expected a CIDR"),
    ],
    ids=_ids,
)
def test_bad_values_are_refused(
    resource: Resource[Anything], path: str, value: Any, message: str, api_client: Client, namespace: str
) -> None:
    spec = _changed(FULL[resource], path, value)
    with pytest.raises(Invalid) as refused:
        api_client.create(resource, namespace, _object(resource, spec))
    assert message in refused.value.message


@pytest.mark.parametrize(
    ("resource", "patch", "message"),
    [
        (KURYRPORTS, {"podUid": OTHER_UUID}, "podUid cannot change"),
        (KURYRPORTS, {"podNodeName": "node-2"}, "podNodeName cannot change"),
        (KURYRPORTS, {"ownerKind": "Node"}, "ownerKind cannot change"),
        (KURYRNETWORKS, {"projectId": "other"}, "projectId cannot change"),
        (KURYRNETWORKS, {"projectId": None}, "projectId cannot be taken away"),
        (KURYRNETWORKS, {"nsName": "other"}, "nsName cannot change"),
        (KURYRNETWORKS, {"networkId": OTHER_UUID}, "networkId cannot change"),
        (KURYRNETWORKS, {"networkId": None}, "networkId cannot be added or taken away"),
        (KURYRNETWORKS, {"cidrs": ["10.9.0.0/24"]}, "cidrs cannot change"),
        (KURYRNETWORKPOLICIES, {"projectId": "other"}, "projectId cannot change"),
        (KURYRLOADBALANCERS, {"project_id": "other"}, "project_id cannot change"),
        (KURYRSECURITYGROUPS, {"projectId": "other"}, "projectId cannot change"),
        (KURYRSECURITYGROUPS, {"podClass": {"labels": {"app": "db"}}}, "labels cannot change"),
        (
            KURYRSECURITYGROUPS,
            {"podClass": None, "rules": None, "selector": {"namespace": "shop"}},
            "cannot take each other's place",
        ),
    ],
    ids=_ids,
)
def test_identities_cannot_change(
    resource: Resource[Anything], patch: Spec, message: str, api_client: Client, namespace: str
) -> None:
    api_client.create(resource, namespace, _object(resource, FULL[resource]))
    with pytest.raises(Invalid) as refused:
        api_client.merge_patch(resource, Key(namespace, "one"), {"spec": patch})
    assert message in refused.value.message


@pytest.mark.parametrize(
    ("resource", "status", "message"),
    [
        (
            KURYRPORTS,
            {"routes": [{"destination": "10.0.0.1", "nextHop": "10.0.0.1"}]},
            "destination: expected a CIDR",
        ),
        (
            KURYRPORTS,
            {"routes": [{"destination": "10.0.0.0/24", "nextHop": "gw"}]},
            "nextHop: expected an IPv4 or IPv6",
        ),
        (KURYRPORTS, {"vifs": {"eth0": {"vlanId": 4095}}}, "status.vifs.eth0.vlanId"),
        (KURYRPORTS, {"vifs": {"eth0": {"reportedBy": "pod"}}}, "status.vifs.eth0.reportedBy"),
        *(
            (resource, {"conditions": [{"type": "Ready", "status": "Yes"}]}, "status.conditions[0].status")
            for resource in FULL
        ),
    ],
    ids=_ids,
)
def test_bad_status_is_refused(
    resource: Resource[Anything], status: Spec, message: str, api_client: Client, namespace: str
) -> None:
    api_client.create(resource, namespace, _object(resource, FULL[resource]))
    with pytest.raises(Invalid) as refused:
        api_client.merge_patch(resource, Key(namespace, "one"), {"status": status}, subresource="status")
    assert message in refused.value.message


def test_node_ports_are_found_by_node(api_client: Client, namespace: str) -> None:
    api_client.create(KURYRPORTS, namespace, _object(KURYRPORTS, KURYRPORT))
    for node, expected in (("node-1", ["one"]), ("node-2", [])):
        listed = api_client.list(KURYRPORTS, namespace=namespace, field_selector=f"spec.podNodeName={node}")
        assert [obj.metadata.name for obj in listed.items] == expected
