# SPDX-License-Identifier: Apache-2.0
"""The ways into a pod that people use: exec, logs, port-forward, and programs on the node."""

import subprocess
import urllib.request

import pytest

from devcloud import paths
from devcloud.kubernetes import cluster
from devcloud.kubernetes.cluster import Node
from devcloud.shell import run
from tests.e2e.namespace import Namespace, on, pod


@pytest.fixture(scope="module")
def served(namespace: Namespace) -> dict[str, str]:
    """Node name → name of a Ready pod there."""
    names = {node.name: f"web-{node.name}" for node in cluster.NODES}
    namespace.create(*(pod(name, nodeSelector=on(node)) for node, name in names.items()))
    namespace.wait_ready(*names.values())
    return names


def test_exec(namespace: Namespace, served: dict[str, str], node: Node) -> None:
    assert namespace.exec(served[node.name], "hostname").strip() == served[node.name]


def test_logs(namespace: Namespace, served: dict[str, str], node: Node) -> None:
    assert "GET /" in namespace.kubectl("logs", served[node.name])


def test_port_forward(namespace: Namespace, served: dict[str, str], node: Node) -> None:
    command = [str(paths.program("kubectl")), f"--kubeconfig={cluster.ADMIN_KUBECONFIG}"]
    command += ["--namespace", namespace.name, "port-forward", served[node.name], ":8080"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as forward:
        try:
            assert forward.stdout is not None
            # "Forwarding from 127.0.0.1:43211 -> 8080"
            local = forward.stdout.readline().split()[2]
            with urllib.request.urlopen(f"http://{local}/hostname", timeout=20) as answer:
                assert answer.read().decode() == served[node.name]
        finally:
            forward.terminate()


@pytest.mark.parametrize("family", [4, 6])
def test_program_on_a_node_reaches_pods_of_both_nodes(
    namespace: Namespace, served: dict[str, str], node: Node, family: int
) -> None:
    agnhost = str(paths.program("agnhost"))
    for name in served.values():
        address = namespace.address(name, family)
        target = f"[{address}]:8080" if family == 6 else f"{address}:8080"
        run([agnhost, "connect", target, "--timeout=5s"], netns=node.netns)


def test_pod_reaches_the_api_server(namespace: Namespace, served: dict[str, str], node: Node) -> None:
    target = f"{cluster.API_HOST_ADDRESS}:{cluster.API_PORT}"
    namespace.exec(served[node.name], f"/agnhost connect {target} --timeout=5s")
