# SPDX-License-Identifier: Apache-2.0
"""What a person sees: printer columns, short names, and that applying twice changes nothing."""

from typing import Any

import pytest

from kuryr.k8s.client import Client
from kuryr.objects.meta import Key
from kuryr.objects.resources import Resource
from kuryr.objects.vif import Network, Subnet, VIFOpenVSwitch, encode
from tests.functional.crds.kinds import (
    KURYRLOADBALANCERS,
    KURYRNETWORKPOLICIES,
    KURYRNETWORKS,
    KURYRPORTS,
    KURYRSECURITYGROUPS,
    Anything,
    original_objects,
)
from tests.functional.crds.kubectl import Kubectl
from tests.functional.kubernetes import CRDS

READY = {
    "type": "Ready",
    "status": "False",
    "reason": "QuotaExceeded",
    "message": "quota reached",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}
SHOWN = {"READY": "False", "REASON": "QuotaExceeded", "MESSAGE": "quota reached"}


@pytest.fixture
def shop(api_client: Client, namespace: str) -> str:
    """A namespace with the original's objects."""
    for resource, item in original_objects():
        item["metadata"]["namespace"] = namespace
        api_client.create(resource, namespace, item)
        if "status" in item:
            key = Key(namespace, item["metadata"]["name"])
            api_client.merge_patch(resource, key, {"status": item["status"]}, subresource="status")
    return namespace


def _rows(kubectl: Kubectl, namespace: str, kind: str) -> dict[str, dict[str, str]]:
    rows = {row["NAME"]: row for row in kubectl.table(kind, "-n", namespace, "-o", "wide")}
    assert all(row.pop("AGE") for row in rows.values())
    return rows


def test_columns_of_what_the_original_wrote(kubectl: Kubectl, shop: str) -> None:
    assert _rows(kubectl, shop, "kp")["two-nics"] == {
        "NAME": "two-nics",
        "NODE": "spike2",
        "ADDRESS": "10.128.0.29",
        "MAC": "fa:16:3e:ef:47:1d",
        "PORT": "967451bd-c0f3-4c3c-95b0-9d36d1c6307d",
        "NETWORK": "67411561-01aa-493a-9550-8bd12495ce68",
        "PODUID": "bc57a9d1-28c2-4491-9c80-0db4990aa6db",
    }
    assert _rows(kubectl, shop, "kns")["shop"] == {
        "NAME": "shop",
        "SUBNET-CIDR": "10.128.0.0/24",
        "NETWORK": "67411561-01aa-493a-9550-8bd12495ce68",
        "SUBNET": "271dfb83-1800-4c05-949b-94d8c4cbbf0f",
        "PROJECT": "320cf1f5a9cf4c50980a3944f26b8380",
    }
    assert _rows(kubectl, shop, "knp")["allow-from-client"] == {
        "NAME": "allow-from-client",
        "TYPES": '["Ingress"]',
        "SG-ID": "dc62ada0-7910-40da-abd6-ac636d6f978b",
    }
    assert _rows(kubectl, shop, "klb")["web"] == {
        "NAME": "web",
        "TYPE": "ClusterIP",
        "IP": "10.96.252.170",
        "PROJECT-ID": "320cf1f5a9cf4c50980a3944f26b8380",
        "PROVIDER": "ovn",
        "LOADBALANCER": "19ecb83b-9782-4065-8c19-6a3f4f57bf1d",
    }
    assert _rows(kubectl, shop, "net-attach-def")["second"] == {
        "NAME": "second",
        "KURYR-CONFIG": '{"subnetId": "6f06802b-f12a-4573-abca-5d9536a9cfac"}',
    }


@pytest.mark.parametrize("ifname", ["eth0", "kuryr-node"])
def test_columns_of_a_dual_stack_port(
    ifname: str, kubectl: Kubectl, api_client: Client, namespace: str
) -> None:
    spec = {"podUid": "uid-1", "podNodeName": "node-1"}
    api_client.create(KURYRPORTS, namespace, {"metadata": {"name": "web"}, "spec": spec})
    subnets = (
        Subnet(cidr="10.1.0.0/24", ips=("10.1.0.5",)),
        Subnet(cidr="fd00:1::/64", ips=("fd00:1::5",)),
    )
    vif = VIFOpenVSwitch(
        id="port-1",
        address="fa:16:3e:00:00:01",
        network=Network(id="network-1", subnets=subnets),
        vif_name="tapport-1",
    )
    status: dict[str, Any] = {
        "vifs": {
            ifname: {
                "vif": encode(vif),
                "default": True,
                "projectId": "project-1",
                "conditions": [{"type": "Up", "status": "True", "reason": "Wired"}],
            },
        },
        "conditions": [
            {"type": "Allocated", "status": "True", "reason": "Allocated", "message": "as configured"}
        ],
    }
    api_client.merge_patch(KURYRPORTS, Key(namespace, "web"), {"status": status}, subresource="status")
    assert _rows(kubectl, namespace, "kp")["web"] == {
        "NAME": "web",
        "NODE": "node-1",
        "ADDRESS": "10.1.0.5",
        "ADDRESS-2": "fd00:1::5",
        "UP": "True",
        "REASON": "Allocated",
        "MAC": "fa:16:3e:00:00:01",
        "PORT": "port-1",
        "NETWORK": "network-1",
        "PROJECT": "project-1",
        "PODUID": "uid-1",
        "MESSAGE": "as configured",
    }


@pytest.mark.parametrize(
    ("resource", "short_name", "spec", "status", "expected"),
    [
        (
            KURYRNETWORKS,
            "kns",
            {},
            {
                "subnetCIDR": "10.1.0.0/24",
                "subnets": [{"id": "one", "freeAddresses": 12}, {"id": "two", "cidr": "fd00::/64"}],
            },
            {"SUBNET-CIDR": "10.1.0.0/24", "FREE": "12", "SUBNET-CIDR-2": "fd00::/64"},
        ),
        (
            KURYRNETWORKPOLICIES,
            "knp",
            {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
            {"selectedPods": 3, "classes": [{"name": "web"}]},
            {"TYPES": '["Ingress","Egress"]', "PODS": "3", "CLASSES": "web"},
        ),
        (
            KURYRLOADBALANCERS,
            "klb",
            {"type": "LoadBalancer"},
            {"service_pub_ip_info": {"ip_id": "fip", "ip_addr": "192.0.2.7", "alloc_method": "pool"}},
            {"TYPE": "LoadBalancer", "PUBLIC-IP": "192.0.2.7"},
        ),
        (
            KURYRSECURITYGROUPS,
            "ksg",
            {"projectId": "project-1", "podClass": {"labels": {"app": "web"}, "isolates": ["Ingress"]}},
            {"securityGroupId": "group-1", "members": 2},
            {"ISOLATES": '["Ingress"]', "MEMBERS": "2", "SG-ID": "group-1", "PROJECT": "project-1"},
        ),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_columns_of_our_fields(
    resource: Resource[Anything],
    short_name: str,
    spec: Any,
    status: Any,
    expected: dict[str, str],
    kubectl: Kubectl,
    api_client: Client,
    namespace: str,
) -> None:
    api_client.create(resource, namespace, {"metadata": {"name": "one"}, "spec": spec})
    patch = {"status": {**status, "conditions": [READY]}}
    api_client.merge_patch(resource, Key(namespace, "one"), patch, subresource="status")
    assert _rows(kubectl, namespace, short_name)["one"] == {"NAME": "one", **expected, **SHOWN}


def test_applying_twice_changes_nothing(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", str(CRDS))
    again = kubectl("apply", "-f", str(CRDS)).splitlines()
    assert len(again) == len(list(CRDS.glob("*.yaml")))
    assert all(line.endswith(" unchanged") for line in again), again


def test_the_category_shows_all_kinds(kubectl: Kubectl, shop: str) -> None:
    names = kubectl("get", "kuryr", "-n", shop, "-o", "name").split()
    assert {"kuryrport.openstack.org/db-0", "kuryrnetwork.openstack.org/shop"} <= set(names)


def test_explain_tells_what_a_field_is(kubectl: Kubectl) -> None:
    assert "Name of the node" in kubectl("explain", "kuryrport.spec.podNodeName")
