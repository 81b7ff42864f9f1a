# SPDX-License-Identifier: Apache-2.0
"""A controller between a real Kubernetes API and the fake cloud, and what tests do with it."""

import itertools
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import msgspec
from prometheus_client import CollectorRegistry

from kuryr.conf import controller as configuration
from kuryr.controller.metrics import Metrics
from kuryr.controller.service import SHARD, Controller
from kuryr.k8s.client import Client
from kuryr.k8s.errors import Conflict, NotFound
from kuryr.k8s.lease import LEASES
from kuryr.objects.core import Pod
from kuryr.objects.kuryrport import ALLOCATED, KuryrPort
from kuryr.objects.meta import Condition, Key, KubernetesObject
from kuryr.objects.resources import KURYRPORTS, NODES, PODS, Resource
from kuryr.testing.fake_cloud import Call, FakeCloud
from tests.functional.kubernetes import KubernetesApi, free_ports, wait_until

NODE = "node-1"
LEASE = Key("kube-system", SHARD)
_CLUSTERS = itertools.count(1)

Options = Mapping[str, Mapping[str, Any]]


class InvolvedObject(msgspec.Struct, rename="camel"):
    name: str = ""
    uid: str = ""


class Event(KubernetesObject, kw_only=True):
    involved_object: InvolvedObject = msgspec.field(default_factory=InvolvedObject)
    type: str = ""
    reason: str = ""
    message: str = ""
    count: int = 0


EVENTS = Resource("", "v1", "events", "Event", Event)


def get(url: str) -> tuple[int, str]:
    """Status and body that a URL answers; 0 where nobody does."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


class Gate:
    """A latency for the fake cloud: calls wait until it is opened."""

    def __init__(self) -> None:
        self.arrived = 0
        self._open = threading.Event()

    def __call__(self) -> float:
        self.arrived += 1
        self._open.wait()
        return 0.0

    def open(self) -> None:
        """Let all calls go, those to come too."""
        self._open.set()


class Running:
    """A controller in a thread of this process."""

    def __init__(self, config_file: Path) -> None:
        self.conf = configuration.load(["--config-file", str(config_file)])
        self.controller = Controller(self.conf, Metrics(CollectorRegistry()))
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="controller", daemon=True)

    def _run(self) -> None:
        try:
            self.controller.run()
        except BaseException as error:
            self._failure = error
            raise

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Gracefully."""
        self.controller.stop()
        self._thread.join(60)
        assert not self._thread.is_alive(), "the controller did not stop"
        assert self._failure is None, self._failure

    def wait_holding(self) -> Self:
        """Wait until it reconciles."""
        wait_until(lambda: self.holding, "the controller holds the shard")
        return self

    def wait_ready(self) -> Self:
        """Wait until it reconciles and has checked what is checked at start."""
        url = f"http://127.0.0.1:{self.conf.health_server.port}/readyz"
        wait_until(lambda: get(url)[0] == 200, "the controller is ready")
        return self.wait_holding()

    @property
    def holding(self) -> bool:
        assert self._failure is None, self._failure
        return bool(self.metric("kuryr_shard_holding", shard=SHARD))

    def metric(self, name: str, **labels: str) -> float:
        """A sample's value, 0 where there is none."""
        return self.controller.metrics.registry.get_sample_value(name, labels) or 0.0

    def total(self, name: str, **labels: str) -> float:
        """The sum of the samples that have these labels, whatever others they have."""
        return sum(
            sample.value
            for family in self.controller.metrics.registry.collect()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def reconciles(self, handler: str) -> float:
        """How often a handler reconciled, whatever came of it."""
        return sum(
            sample.value
            for family in self.controller.metrics.reconciles.collect()
            for sample in family.samples
            if sample.name.endswith("_count") and sample.labels["handler"] == handler
        )


class World:
    """One test's namespace in the API, its fake cloud, and its controllers' configuration."""

    def __init__(
        self, api: KubernetesApi, client: Client, cloud: FakeCloud, namespace: str, directory: Path
    ) -> None:
        self.api = api
        self.client = client
        self.cloud = cloud
        self.namespace = namespace
        self.directory = directory
        self.cluster = f"test-{next(_CLUSTERS)}"
        self._files = itertools.count(1)

    def configuration(self, options: Options | None = None, *, api_root: str = "") -> Path:
        """A configuration file for a controller of this world; ``options`` go before what it would have."""
        health, metrics = free_ports(2)
        groups: dict[str, dict[str, Any]] = {
            "kubernetes": {
                "api_root": api_root or self.api.api_root,
                "ssl_ca_crt_file": self.api.ca_file,
                "token_file": self.api.token_file,
                "cluster_name": self.cluster,
                "graceful_timeout": 3,
            },
            "node_port": {"enabled": "false"},
            "health_server": {"port": health, "bind_address": "127.0.0.1"},
            "prometheus_exporter": {"controller_exporter_port": metrics, "bind_address": "127.0.0.1"},
        }
        for source in (self.cloud.options(), options or {}):
            for group, values in source.items():
                groups.setdefault(group, {}).update(values)
        path = self.directory / f"kuryr-{next(self._files)}.conf"
        path.write_text(
            self.cloud.configuration(
                {group: {k: str(v) for k, v in values.items()} for group, values in groups.items()}
            )
        )
        return path

    def controller(self, options: Options | None = None, *, api_root: str = "") -> Running:
        """A controller to start with ``with``."""
        return Running(self.configuration(options, api_root=api_root))

    # Kubernetes

    def key(self, name: str) -> Key:
        return Key(self.namespace, name)

    def create_pod(self, name: str, *, node: str = NODE, **changes: Any) -> Pod:
        """A pod that the scheduler has put on ``node``; ``spec`` and ``metadata`` are merged in."""
        spec = {"nodeName": node, "containers": [{"name": "c", "image": "none"}], **changes.get("spec", {})}
        metadata = {"name": name, **changes.get("metadata", {})}
        return self.client.create(PODS, self.namespace, {"metadata": metadata, "spec": spec})

    def delete_pod(self, name: str, *, terminating: bool = False) -> None:
        """Delete as the kubelet does in the end; with ``terminating`` as a user does in the beginning."""
        self.client.delete(PODS, self.key(name), grace_period_seconds=30 if terminating else 0)

    def set_phase(self, name: str, phase: str) -> None:
        self.client.merge_patch(PODS, self.key(name), {"status": {"phase": phase}}, subresource="status")

    def create_node(self, name: str) -> None:
        self.client.create(NODES, "", {"metadata": {"name": name}})

    def kuryrport(self, name: str, namespace: str = "") -> KuryrPort | None:
        try:
            return self.client.get(KURYRPORTS, Key(namespace or self.namespace, name))
        except NotFound:
            return None

    def wait_filled(self, name: str, *, namespace: str = "", uid: str = "") -> KuryrPort:
        """The KuryrPort of that pod (of that UID) once its VIFs are there."""
        found: list[KuryrPort] = []

        def filled() -> bool:
            port = self.kuryrport(name, namespace)
            if port is None or not port.status.vifs or (uid and port.spec.pod_uid != uid):
                return False
            found.append(port)
            return True

        wait_until(filled, f"KuryrPort {name} is filled")
        return found[-1]

    def wait_gone(self, name: str, *, namespace: str = "", uid: str = "") -> None:
        """Wait until there is no KuryrPort of that name (and UID)."""
        wait_until(
            lambda: (
                (port := self.kuryrport(name, namespace)) is None or bool(uid and port.metadata.uid != uid)
            ),
            f"KuryrPort {name} is gone",
        )

    def allocated(self, name: str) -> Condition | None:
        """The condition Allocated of a KuryrPort."""
        port = self.kuryrport(name)
        conditions = port.status.conditions if port is not None else []
        return next((condition for condition in conditions if condition.type == ALLOCATED), None)

    def wait_failed(self, name: str, reason: str) -> Condition:
        """Wait until the KuryrPort says that it could not be filled, and the pod has an Event, for that reason."""
        wait_until(
            lambda: (
                (condition := self.allocated(name)) is not None
                and condition.status == "False"
                and condition.reason == reason
            ),
            f"KuryrPort {name} says {reason}; it says {self.allocated(name)}",
        )
        wait_until(
            lambda: reason in {event.reason for event in self.events(name)},
            f"pod {name} has an Event {reason}",
        )
        condition = self.allocated(name)
        assert condition is not None
        return condition

    def events(self, name: str, namespace: str = "") -> list[Event]:
        """The Events about objects of that name."""
        return [
            event
            for event in self.client.list(EVENTS, namespace=namespace or self.namespace).items
            if event.involved_object.name == name
        ]

    # The cloud

    def ports(self, uid: str = "") -> list[dict[str, Any]]:
        """This cluster's ports (of the pod of that UID)."""
        return [
            port
            for port in self.cloud.ports
            if port["description"].startswith(f"kuryr:{self.cluster}:") and uid in ("", port["device_id"])
        ]

    def wait_ports(self, number: int, uid: str = "") -> list[dict[str, Any]]:
        """Wait until there are as many ports."""
        wait_until(
            lambda: len(self.ports(uid)) == number,
            f"there are {number} ports; there are {[port['description'] for port in self.ports(uid)]}",
        )
        return self.ports(uid)

    @contextmanager
    def gate(self, operation: str) -> Iterator[Gate]:
        """Calls of that operation wait until the gate is opened, at the end of the block at the latest."""
        gate = Gate()
        self.cloud.knobs.latency(operation, gate)
        try:
            yield gate
        finally:
            gate.open()
            self.cloud.knobs.latency(operation, 0.0)

    def calls(self) -> list[Call]:
        """What the cloud was asked, but for the start's question whether ports may be made (which makes none)."""
        return [
            call
            for call in self.cloud.journal.calls()
            if call.operation != "create port" or "description" in (call.body or {}).get("port", {})
        ]

    def count(self, operation: str) -> int:
        """How often the cloud was asked to do that."""
        return sum(call.operation == operation for call in self.calls())


def clean(client: Client) -> None:
    """Take away what tests leave in the API and controllers would see, whoever made it."""

    def remove(resource: Resource[Any], obj: KubernetesObject) -> None:
        with suppress(NotFound, Conflict):
            if obj.metadata.finalizers:
                client.merge_patch(resource, obj.key, {"metadata": {"finalizers": None}})
            client.delete(resource, obj.key, grace_period_seconds=0)

    with ThreadPoolExecutor(4) as threads:
        for resource in (PODS, KURYRPORTS, NODES):
            list(threads.map(partial(remove, resource), client.list(resource).items))
    with suppress(NotFound):
        client.delete(LEASES, LEASE)
