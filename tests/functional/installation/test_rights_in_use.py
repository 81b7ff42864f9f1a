# SPDX-License-Identifier: Apache-2.0
"""The controller lives through what happens to pods, nodes and ports with no more rights than its account has."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kuryr.k8s.client import Client
from kuryr.objects.meta import Key
from kuryr.objects.resources import NODES
from kuryr.testing.fake_cloud import FakeCloud
from tests.functional.controller.harness import World, clean
from tests.functional.controller.process import Process
from tests.functional.crds.kubectl import Kubectl
from tests.functional.kubernetes import KubernetesApi, wait_until

ACCOUNTS = Path(__file__).resolve().parents[3] / "etc" / "kubernetes"
LEASE_NAMESPACE = "kube-system"


@pytest.fixture
def cloud() -> Iterator[FakeCloud]:
    with FakeCloud() as cloud:
        yield cloud


@pytest.fixture
def world(
    kubernetes_api: KubernetesApi, api_client: Client, cloud: FakeCloud, namespace: str, tmp_path: Path
) -> Iterator[World]:
    clean(api_client)
    yield World(kubernetes_api, api_client, cloud, namespace, tmp_path)
    clean(api_client)


def test_pods_nodes_and_audits(world: World) -> None:
    Kubectl(world.api)("apply", "--filename", str(ACCOUNTS))
    account = world.api.service_account_client("kube-system", "kuryr-controller")
    account.close()
    token = world.api.directory / "kube-system.kuryr-controller.token"
    options = {
        "kubernetes": {"token_file": token, "audit_period": 1, "audit_grace": 1},
        "node_port": {"enabled": "true"},
    }
    with Process(world.configuration(options)) as controller:
        controller.wait_ready()
        world.create_node("node-1")
        world.wait_filled("kuryr-node.node-1", namespace=LEASE_NAMESPACE)
        uids = {name: world.create_pod(name).metadata.uid for name in ("stays", "goes", "robbed")}
        for name in uids:
            world.wait_filled(name)
        world.delete_pod("goes")
        world.wait_gone("goes")
        world.wait_ports(0, uids["goes"])
        (port,) = world.ports(uids["robbed"])
        world.cloud.remove("ports", port["id"])
        wait_until(
            lambda: any(found["id"] != port["id"] for found in world.ports(uids["robbed"])),
            "a port that was deleted is made anew",
        )
        world.client.delete(NODES, Key("", "node-1"))
        world.wait_gone("kuryr-node.node-1", namespace=LEASE_NAMESPACE)
    assert "forbidden" not in controller.said.lower()
