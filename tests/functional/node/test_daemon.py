# SPDX-License-Identifier: Apache-2.0
"""kuryr-daemon and kuryr-cni as processes, with a real API server."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from kuryr.k8s.client import Client
from kuryr.k8s.conditions import find_condition
from kuryr.objects.kuryrport import ALLOCATED, UP, KuryrPort, KuryrPortSpec, KuryrPortStatus
from kuryr.objects.meta import Condition, Key
from kuryr.objects.resources import KURYRPORTS, PODS
from tests.functional.kubernetes import KubernetesApi, program
from tests.functional.node.node import kuryrport, ovs_vif
from tests.functional.node.ovs import OpenVSwitch
from tests.functional.node.process import DaemonProcess, create, reachable

TAP = "tap11111111-22"
KEY = Key("default", "web")


def eventually(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


@pytest.fixture(scope="module")
def outside() -> Iterator[str]:
    """The namespace that the test run began in."""
    fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    yield f"/proc/self/fd/{fd}"
    os.close(fd)


@pytest.fixture(scope="module")
def daemon(
    kubernetes_api: KubernetesApi, outside: str, ovs: OpenVSwitch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DaemonProcess]:
    ovs.be_ovn()
    with reachable(kubernetes_api, outside) as port:
        process = DaemonProcess(tmp_path_factory.mktemp("daemon"), kubernetes_api, port, ovs)
        process.start()
        yield process
        if process.process is not None:
            process.stop()


@pytest.fixture
def api(kubernetes_api: KubernetesApi, outside: str, daemon: DaemonProcess) -> Iterator[Client]:
    port = int(daemon.configuration.read_text().partition("127.0.0.1:")[2].split()[0])
    client = kubernetes_api.client(api_root=f"https://127.0.0.1:{port}")
    yield client
    if KEY in {item.key for item in client.list(KURYRPORTS).items}:
        client.delete(KURYRPORTS, KEY)
    client.close()


def attach(daemon: DaemonProcess, ovs: OpenVSwitch, container: str, sandbox: str, uid: str) -> None:
    running = daemon.begin("ADD", container, sandbox, uid)
    eventually(lambda: TAP in ovs.ports(), "the port is plugged")
    ovs.install(TAP)
    answer = daemon.finish(running)
    assert answer.code == 0, answer


def up(client: Client) -> bool:
    found = client.get(KURYRPORTS, KEY)
    condition = find_condition(found.status.vifs["eth0"].conditions, UP)
    return condition is not None and condition.status == "True" and found.decoded_vifs()["eth0"].active


def test_a_pods_life(daemon: DaemonProcess, api: Client, ovs: OpenVSwitch, sandbox: str) -> None:
    create(api, kuryrport("u-1", ovs_vif()))
    attach(daemon, ovs, "c1", sandbox, "u-1")
    eventually(lambda: up(api), "the KuryrPort says that the interface is up")
    status, text = daemon.get(daemon.metrics_port, "/metrics")
    assert status == 200
    assert 'kuryr_cni_request_duration_seconds_count{command="ADD",error="False"} 1.0' in text
    assert 'kuryr_cni_stage_duration_seconds_count{stage="netlink"} 1.0' in text
    for path in ("/livez", "/alive", "/readyz", "/ready"):
        assert daemon.get(daemon.health_port, path) == (200, "ok\n")
    assert daemon.cni("STATUS", "", "", "").code == 0
    assert daemon.cni("DEL", "c1", sandbox, "u-1").code == 0
    assert TAP not in ovs.ports()
    assert up(api), "DEL writes nothing"


def test_killed_and_started_again_it_finds_its_attachments(
    daemon: DaemonProcess, api: Client, ovs: OpenVSwitch, sandbox: str
) -> None:
    create(api, kuryrport("u-2", ovs_vif()))
    running = daemon.begin("ADD", "c2", sandbox, "u-2")
    eventually(lambda: TAP in ovs.ports(), "the port is plugged")
    daemon.kill()
    answer = daemon.finish(running)
    assert answer.document["code"] == 11
    assert "start kuryr-daemon" in answer.document["msg"]
    ovs.install(TAP)
    daemon.start()
    eventually(lambda: up(api), "what was attached before the restart is reported")
    assert daemon.cni("DEL", "c2", sandbox, "u-2").code == 0
    assert TAP not in ovs.ports()


def test_a_port_that_cannot_be_had_is_told(
    daemon: DaemonProcess, api: Client, kubernetes_api: KubernetesApi, sandbox: str
) -> None:
    pod = api.create(PODS, "default", _pod("web"))
    uid = pod.metadata.uid
    failed = KuryrPort(
        metadata=kuryrport(uid).metadata,
        spec=KuryrPortSpec(pod_uid=uid, pod_node_name="node1"),
        status=KuryrPortStatus(
            conditions=[
                Condition(
                    type=ALLOCATED,
                    status="False",
                    reason="SubnetFull",
                    message="subnet 10.10.0.0/16 has no free address",
                    last_transition_time="2026-01-01T00:00:00Z",
                )
            ]
        ),
    )
    create(api, failed)
    text = daemon.configuration.read_text()
    daemon.configuration.write_text(text.replace("vif_annotation_timeout = 20", "vif_annotation_timeout = 1"))
    assert daemon.process is not None
    os.kill(daemon.process.pid, signal.SIGHUP)
    eventually(
        lambda: "has no free address" in daemon.cni("ADD", "c3", sandbox, uid).document.get("msg", ""),
        "the cause is told",
    )
    eventually(
        lambda: "no free address" in _events(kubernetes_api, api, "web"),
        "an Event of the pod tells the cause too",
    )
    daemon.configuration.write_text(text)
    os.kill(daemon.process.pid, signal.SIGHUP)
    assert daemon.cni("DEL", "c3", sandbox, uid).code == 0
    api.delete(PODS, KEY, grace_period_seconds=0)


def test_it_stops_in_time_and_says_so(daemon: DaemonProcess) -> None:
    assert daemon.stop() == 0
    answer = daemon.cni("STATUS", "", "", "")
    assert answer.document["code"] == 50
    assert str(daemon.socket) in answer.document["msg"]
    daemon.start()


def _pod(name: str) -> dict[str, object]:
    return {
        "metadata": {"name": name},
        "spec": {"nodeName": "node1", "containers": [{"name": "main", "image": "none"}]},
    }


def _events(api: KubernetesApi, client: Client, pod: str) -> str:
    command = [program("kubectl"), f"--kubeconfig={api.kubeconfig()}", f"--server={client.settings.api_root}"]
    return subprocess.run(
        [*command, "describe", "pod", pod], capture_output=True, text=True, check=True
    ).stdout
