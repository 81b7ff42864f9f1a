# SPDX-License-Identifier: Apache-2.0
"""Pods come and go in every way that Kubernetes knows, and each has its own port exactly as long as it lives."""

import json
from collections.abc import Iterator

import pytest

from devcloud.kubernetes.cluster import NODES
from tests.e2e.namespace import Namespace, eventually, on, pod


def test_pod_has_one_port_with_both_families(namespace: Namespace) -> None:
    namespace.create(pod("one"))
    namespace.wait_ready("one")
    (port,) = namespace.ports(namespace.uid("one"))
    addresses = {entry["ip_address"] for entry in port["fixed_ips"]}
    assert addresses == {namespace.address("one", 4), namespace.address("one", 6)}
    assert port["binding:host_id"] == namespace.get("pod", "one")["spec"]["nodeName"]


def test_port_is_gone_after_its_pod(namespace: Namespace) -> None:
    namespace.create(pod("short"))
    namespace.wait_ready("short")
    uid = namespace.uid("short")
    namespace.delete("pod", "short")
    namespace.wait_no_ports(uid)


def test_host_network_pod_is_left_alone(namespace: Namespace) -> None:
    manifest = pod("host", hostNetwork=True, nodeSelector=on("node1"))
    container = manifest["spec"]["containers"][0]
    container["command"][2] = "--http-port=18080"
    container["readinessProbe"]["httpGet"]["port"] = 18080
    namespace.create(manifest)
    namespace.wait_ready("host")
    assert namespace.address("host") == NODES[0].addresses[0]
    assert namespace.ports(namespace.uid("host")) == []
    assert namespace.kubectl("get", "kuryrport", "host", "--ignore-not-found") == ""


def test_completed_pod_releases_its_port(namespace: Namespace) -> None:
    manifest = pod("done", restartPolicy="Never")
    container = manifest["spec"]["containers"][0]
    container["command"] = ["sh", "-c", "true"]
    del container["readinessProbe"]
    namespace.create(manifest)
    namespace.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=120s", "pod/done")
    namespace.wait_no_ports(namespace.uid("done"))
    assert namespace.get("pod", "done")["status"]["phase"] == "Succeeded"


def test_pod_recreated_under_its_name_gets_a_port_of_its_own(namespace: Namespace) -> None:
    namespace.create(pod("again"))
    namespace.wait_ready("again")
    old = namespace.uid("again")
    (old_port,) = namespace.ports(old)
    namespace.delete("pod", "again")
    namespace.create(pod("again"))
    namespace.wait_ready("again")
    (port,) = namespace.ports(namespace.uid("again"))
    assert port["id"] != old_port["id"]
    assert {entry["ip_address"] for entry in port["fixed_ips"]} >= {namespace.address("again")}
    namespace.wait_no_ports(old)


def test_forcibly_deleted_pod_leaves_no_port(namespace: Namespace) -> None:
    namespace.create(pod("forced"))
    namespace.wait_ready("forced")
    uid = namespace.uid("forced")
    namespace.kubectl("delete", "pod", "forced", "--force", "--grace-period=0")
    namespace.wait_no_ports(uid)


def test_forcibly_deleted_pod_may_be_recreated_at_once(namespace: Namespace) -> None:
    namespace.create(pod("quick", nodeSelector=on("node1")))
    namespace.wait_ready("quick")
    old = namespace.uid("quick")
    namespace.kubectl("delete", "pod", "quick", "--force", "--grace-period=0")
    namespace.create(pod("quick", nodeSelector=on("node2")))
    namespace.wait_ready("quick")
    assert len(namespace.ports(namespace.uid("quick"))) == 1
    namespace.wait_no_ports(old)


def test_pods_deleted_while_their_ports_are_made_leave_none(namespace: Namespace) -> None:
    names = [f"brief{number}" for number in range(5)]
    namespace.create(*(pod(name) for name in names))
    uids = [namespace.uid(name) for name in names]
    namespace.delete("pod", *names)
    namespace.wait_no_ports(uids)


@pytest.fixture
def static_pod(namespace: Namespace) -> Iterator[str]:
    """Name of the mirror Pod of a static pod that is placed on node2 while the test runs."""
    manifest = pod("static")
    manifest["metadata"]["namespace"] = namespace.name
    file = NODES[1].static_pods / "static.json"
    file.write_text(json.dumps(manifest))
    yield f"static-{NODES[1].name}"
    file.unlink(missing_ok=True)


def test_static_pod(namespace: Namespace, static_pod: str) -> None:
    eventually(
        lambda: namespace.kubectl("get", "pod", static_pod, "--ignore-not-found"), "the mirror Pod is there"
    )
    namespace.wait_ready(static_pod)
    uid = namespace.uid(static_pod)
    assert len(namespace.ports(uid)) == 1
    (NODES[1].static_pods / "static.json").unlink()
    eventually(
        lambda: not namespace.kubectl("get", "pod", static_pod, "--ignore-not-found"),
        "the mirror Pod is gone",
    )
    namespace.wait_no_ports(uid)


def test_deployment_to_ten_and_back(namespace: Namespace) -> None:
    template = pod("crowd")
    labels = {"app": "crowd"}
    namespace.create(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "crowd"},
            "spec": {
                "replicas": 10,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": template["spec"]},
            },
        }
    )
    namespace.kubectl("rollout", "status", "deployment/crowd", "--timeout=180s")
    pods = namespace.get("pods", "-l", "app=crowd")["items"]
    uids = [item["metadata"]["uid"] for item in pods]
    assert len(uids) == 10
    assert sorted(port["device_id"] for port in namespace.ports(uids)) == sorted(uids)
    namespace.kubectl("scale", "deployment/crowd", "--replicas=0")
    namespace.kubectl("wait", "--for=delete", "pod", "-l", "app=crowd", "--timeout=120s")
    namespace.wait_no_ports(uids)
