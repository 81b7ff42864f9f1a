# SPDX-License-Identifier: Apache-2.0
import subprocess

from kuryr.k8s.client import Client
from kuryr.k8s.events import EVENTS, EventRecorder
from kuryr.objects.meta import Key
from kuryr.objects.resources import NAMESPACES, PODS
from tests.functional.k8s.pods import create_pod
from tests.functional.kubernetes import KubernetesApi, program


def test_kubectl_describe_shows_what_was_told(
    kubernetes_api: KubernetesApi, api_client: Client, namespace: str
) -> None:
    create_pod(api_client, namespace, "web")
    (pod,) = api_client.list(PODS, namespace=namespace).items
    recorder = EventRecorder(api_client, "kuryr-controller", "host-1")
    for _ in range(3):
        recorder.event(pod, "SubnetFull", "subnet 42 has no free address")
        assert recorder.flush(30)
    recorder.event(pod, "Allocated", "port 17", type="Normal")
    recorder.stop(30)
    assert recorder.dropped == 0
    found = {event.reason: event.count for event in api_client.list(EVENTS, namespace=namespace).items}
    assert found == {"SubnetFull": 3, "Allocated": 1}

    described = subprocess.run(
        [
            program("kubectl"),
            f"--kubeconfig={kubernetes_api.kubeconfig()}",
            "-n",
            namespace,
            "describe",
            "pod",
            "web",
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    lines = [line.split() for line in described.splitlines() if "SubnetFull" in line]
    assert lines[0][:2] == ["Warning", "SubnetFull"]
    assert "(x3" in lines[0]
    assert "kuryr-controller" in lines[0]


def test_objects_without_namespace_have_events_too(api_client: Client) -> None:
    obj = api_client.get(NAMESPACES, Key("", "default"))
    recorder = EventRecorder(api_client, "kuryr-controller", "host-1")
    recorder.event(obj, "Told", "something")
    recorder.stop(30)
    assert recorder.dropped == 0


def test_an_event_for_a_namespace_that_is_not_there_is_dropped(api_client: Client, namespace: str) -> None:
    pod = create_pod(api_client, namespace, "web")
    pod.metadata.namespace = "not-there"
    recorder = EventRecorder(api_client, "kuryr-controller", "host-1")
    recorder.event(pod, "Told", "something")
    recorder.stop(30)
    assert recorder.dropped == 1
