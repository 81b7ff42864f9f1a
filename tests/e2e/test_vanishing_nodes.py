# SPDX-License-Identifier: Apache-2.0
"""Nodes go with pods on them: no port is left behind, and a node that comes back is as good as new."""

from collections.abc import Iterator
from functools import partial

import pytest

from devcloud import kubernetes, processes
from devcloud.kubernetes import kubectl, nodes
from devcloud.kubernetes.cluster import NODES, Node
from devcloud.neutron import Neutron
from tests.e2e.namespace import Namespace, eventually, on, pod

# The cloud's processes outlive the test that started them, and Python warns of that.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

NAMES = [f"stranded{number}" for number in range(3)]


@pytest.fixture
def stranded(namespace: Namespace, neutron: Neutron) -> Iterator[list[str]]:
    """UIDs of pods on a node whose kubelet is dead; it lives again after the test, has its own port, and runs a pod."""
    node = NODES[1]
    namespace.create(*(pod(name, nodeSelector=on(node.name)) for name in NAMES))
    namespace.wait_ready(*NAMES)
    uids = [namespace.uid(name) for name in NAMES]
    processes.stop(_kubelet(node))
    yield uids
    nodes.start_kubelet(node)
    eventually(partial(nodes.ready, node), f"{node.name} is Ready again")
    uid = kubernetes.get("node", node.name)["metadata"]["uid"]
    eventually(lambda: len(neutron.ports(device_id=uid)) == 1, f"{node.name} has its own port")
    namespace.create(pod("next", nodeSelector=on(node.name)))
    namespace.wait_ready("next")
    namespace.delete("pod", "next")


def _kubelet(node: Node) -> str:
    return f"{node.name}-kubelet"


def test_node_deleted_with_pods_on_it(namespace: Namespace, neutron: Neutron, stranded: list[str]) -> None:
    node = NODES[1].name
    uid = kubernetes.get("node", node)["metadata"]["uid"]
    assert len(neutron.ports(device_id=uid)) == 1
    kubectl("delete", "node", node)
    # Kubernetes' own garbage collector deletes the pods, once it has seen for a while that their node is gone.
    names = [f"pod/{name}" for name in NAMES]
    namespace.kubectl("wait", "--for=delete", "--timeout=180s", *names)
    namespace.wait_no_ports([*stranded, uid])


def test_pods_of_a_dead_kubelet_that_are_given_up(namespace: Namespace, stranded: list[str]) -> None:
    namespace.kubectl("delete", "pod", *NAMES, "--force", "--grace-period=0")
    namespace.wait_no_ports(stranded)
