# SPDX-License-Identifier: Apache-2.0
"""Kuryr's processes and the API server die at bad moments: nothing leaks, and the reason is told."""

import os
import signal
from collections.abc import Callable, Iterator

import pytest

from devcloud import kuryr, processes
from devcloud.kubernetes import control_plane
from devcloud.kubernetes.cluster import NODES, Node
from tests.e2e.namespace import Namespace, eventually, on, pod

# The cloud's processes outlive the test that started them, and Python warns of that.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

BURST = [f"burst{number}" for number in range(10)]


def kill(name: str) -> None:
    """Kill a process of the cloud and its children with no warning."""
    pid = processes.pid(name)
    assert pid is not None, f"{name} does not run"
    os.killpg(pid, signal.SIGKILL)
    eventually(lambda: not processes.running(name), f"{name} is dead")


@pytest.fixture
def repair() -> Iterator[None]:
    """Whatever a test does to Kuryr, it runs again afterwards."""
    yield
    kuryr.start_controller()
    for node in NODES:
        kuryr.start_daemon(node)


def some_filled(namespace: Namespace) -> Callable[[], bool]:
    """Whether some, but not all, of the burst's KuryrPorts have their port."""

    def found() -> bool:
        items = namespace.get("kuryrports")["items"]
        filled = [
            item for item in items if item["metadata"]["name"] in BURST and item.get("status", {}).get("vifs")
        ]
        return len(filled) > 0

    return found


@pytest.mark.usefixtures("repair")
@pytest.mark.parametrize("victim", ["controller", "daemons"])
def test_killed_in_the_middle_of_a_burst(namespace: Namespace, victim: str) -> None:
    namespace.create(*(pod(name) for name in BURST))
    uids = [namespace.uid(name) for name in BURST]
    eventually(some_filled(namespace), "the burst is under way")
    if victim == "controller":
        kill(kuryr.CONTROLLER)
        kuryr.start_controller()
    else:
        for node in NODES:
            kill(kuryr.daemon_name(node))
            kuryr.start_daemon(node)
    namespace.wait_ready(*BURST, seconds=180)
    assert sorted(port["device_id"] for port in namespace.ports(uids)) == sorted(uids)
    namespace.delete("pod", *BURST)
    namespace.wait_no_ports(uids)


@pytest.mark.usefixtures("repair")
def test_controller_killed_while_pods_are_deleted(namespace: Namespace) -> None:
    namespace.create(*(pod(name) for name in BURST[:5]))
    namespace.wait_ready(*BURST[:5])
    uids = [namespace.uid(name) for name in BURST[:5]]
    namespace.kubectl("delete", "pod", *BURST[:5], "--wait=false")
    kill(kuryr.CONTROLLER)
    namespace.kubectl("wait", "--for=delete", "--timeout=60s", *(f"pod/{name}" for name in BURST[:5]))
    kuryr.start_controller()
    namespace.wait_no_ports(uids)


@pytest.mark.usefixtures("repair")
def test_pod_deletion_does_not_wait_for_the_controller(namespace: Namespace) -> None:
    namespace.create(pod("freed"))
    namespace.wait_ready("freed")
    uid = namespace.uid("freed")
    kuryr.stop_controller()
    namespace.delete("pod", "freed", seconds=60)
    kuryr.start_controller()
    namespace.wait_no_ports(uid)


@pytest.mark.usefixtures("repair")
def test_pod_says_why_it_waits_while_the_controller_is_down(namespace: Namespace) -> None:
    kuryr.stop_controller()
    namespace.create(pod("waiting"))
    eventually(lambda: "KuryrPort" in namespace.events("waiting"), "an Event tells the cause", seconds=150)
    assert "controller" in namespace.kubectl("describe", "pod", "waiting")
    kuryr.start_controller()
    namespace.wait_ready("waiting")


@pytest.mark.usefixtures("repair")
def test_pod_says_that_the_daemon_is_missing(namespace: Namespace) -> None:
    node: Node = NODES[1]
    processes.stop(kuryr.daemon_name(node))
    namespace.create(pod("undaemoned", nodeSelector=on(node.name)))
    eventually(lambda: "kuryr-daemon" in namespace.events("undaemoned"), "an Event names kuryr-daemon")
    kuryr.start_daemon(node)
    namespace.wait_ready("undaemoned")


@pytest.mark.usefixtures("repair")
def test_running_pods_outlive_a_killed_daemon(namespace: Namespace) -> None:
    node = NODES[0]
    namespace.create(pod("outliving", nodeSelector=on(node.name)))
    namespace.wait_ready("outliving")
    kill(kuryr.daemon_name(node))
    namespace.exec("outliving", "/agnhost connect 10.250.0.254:6443 --timeout=5s")
    kuryr.start_daemon(node)
    uid = namespace.uid("outliving")
    namespace.delete("pod", "outliving")
    namespace.wait_no_ports(uid)


def test_api_server_restart(namespace: Namespace) -> None:
    processes.stop("kube-apiserver")
    control_plane.start_api_server()
    namespace.create(pod("after"))
    namespace.wait_ready("after")
    assert len(namespace.ports(namespace.uid("after"))) == 1
