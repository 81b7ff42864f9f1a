# SPDX-License-Identifier: Apache-2.0
"""Pods on the development cloud, to be measured."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import msgspec

from devcloud import kuryr
from devcloud.kubernetes import certificates, cluster, control_plane, images
from kuryr.k8s.client import Client
from kuryr.k8s.errors import NotFound
from kuryr.k8s.settings import ApiSettings
from kuryr.objects.meta import Key
from kuryr.objects.resources import NAMESPACES, PODS
from tests.bench import cpu, stopwatch
from tests.bench.figures import MeasurementError
from tests.bench.stopwatch import Stopwatch

NODES = tuple(node.name for node in cluster.NODES)

_CREATORS = 8
"""Pods created at the same time: faster than any part of the cluster takes them up."""

_SWEPT_TIMEOUT = 180.0
"""Seconds; three times as long as a kubelet lets what is dead lie."""

_AFTER_SWEEP = 5.0
"""Seconds for what a runtime tidies up after the last one."""

Manifest = dict[str, Any]


def client() -> Client:
    """The administrator's.

    :raises MeasurementError: where the development cloud is not up.
    """
    if not control_plane.api_server_ready():
        raise MeasurementError("the development cloud is not up: run `make up` first")
    if down := [name for name, well, _ in kuryr.status() if not well]:
        raise MeasurementError(f"not up: {', '.join(down)}; run `make up` first")
    return Client(
        ApiSettings(
            api_root=cluster.api_url(),
            ca_file=str(certificates.AUTHORITY),
            client_cert_file=str(certificates.certificate("admin")),
            client_key_file=str(certificates.key("admin")),
        )
    )


def pod(name: str, *, node: str = "", host_network: bool = False, sandbox: bool = True) -> Manifest:
    """A Pod of one container that sleeps, Ready as soon as it runs.

    :param node: where it must run; the scheduler puts it there. Empty: anywhere.
    :param sandbox: False for a pod that its kubelet accepts but never makes a sandbox for, since one of its
        volumes does not exist. It has a KuryrPort all the same, and nobody calls CNI for it.
    """
    spec: Manifest = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 0 if not sandbox else 1,
        "hostNetwork": host_network,
        "containers": [{"name": "pause", "image": images.PAUSE}],
    }
    if node:
        spec["nodeSelector"] = {"kubernetes.io/hostname": node}
    if not sandbox:
        spec["volumes"] = [{"name": "missing", "secret": {"secretName": "missing"}}]
        spec["containers"][0]["volumeMounts"] = [{"name": "missing", "mountPath": "/missing"}]
    return {"metadata": {"name": name, "labels": {"app": "kuryr-bench"}}, "spec": spec}


class Burst(msgspec.Struct, frozen=True):
    """Pods that were created together: seconds from the first one's creation, by pod.

    :ivar filled: to its KuryrPort's being filled; 0 for a pod on its host's network.
    :ivar cpu: CPU seconds of the whole machine until the last was Ready.
    """

    ready: list[float]
    filled: list[float]
    cpu: float

    @property
    def last(self) -> float:
        """Seconds to the last Ready."""
        return max(self.ready)


class Namespace:
    """A namespace of one measurement, its pods and their stages."""

    def __init__(self, client: Client, name: str, watch: Stopwatch) -> None:
        self._client = client
        self.name = name
        self.watch = watch

    def create(self, *manifests: Manifest) -> list[str]:
        """Create pods, several at a time; their names."""

        def one(manifest: Manifest) -> str:
            return self._client.create(PODS, self.name, manifest).metadata.name

        if len(manifests) == 1:
            return [one(manifests[0])]
        with ThreadPoolExecutor(_CREATORS) as creators:
            return list(creators.map(one, manifests))

    def burst(self, name: str, size: int, *, host_network: bool = False) -> Burst:
        """So many pods at once, on the nodes in turn, when the nodes are swept; deleted afterwards."""
        self.wait_swept()
        used = cpu.busy()
        names = self.create(
            *(
                pod(f"{name}-{index}", node=NODES[index % len(NODES)], host_network=host_network)
                for index in range(size)
            )
        )
        self.watch.wait(names, stopwatch.READY, timeout=300)
        used = cpu.busy() - used
        began = min(self.watch.at(each, stopwatch.CREATED) for each in names)
        burst = Burst(
            ready=[self.watch.at(each, stopwatch.READY) - began for each in names],
            filled=[0.0 if host_network else self.watch.at(each, stopwatch.FILLED) - began for each in names],
            cpu=used,
        )
        self.delete(names, timeout=300)
        return burst

    def wait_swept(self) -> None:
        """Wait until the kubelets have removed the sandboxes of pods that are gone.

        They do so once a minute, all at once: what a burst left would take its time from the next one.

        :raises MeasurementError: where they do not.
        """
        end = time.monotonic() + _SWEPT_TIMEOUT
        waited = False
        while (left := _sandboxes() - self._pods_on_nodes()) > 0:
            if time.monotonic() > end:
                raise MeasurementError(
                    f"{left} sandboxes of pods that are gone were not removed in {_SWEPT_TIMEOUT:.0f} s"
                )
            waited = True
            time.sleep(1.0)
        if waited:
            time.sleep(_AFTER_SWEEP)

    def _pods_on_nodes(self) -> int:
        return sum(bool(pod.spec.node_name) for pod in self._client.list(PODS).items)

    def delete(self, names: Sequence[str], timeout: float = 180) -> None:
        """Delete pods and wait until they and their KuryrPorts are gone."""

        def one(name: str) -> None:
            try:
                self._client.delete(PODS, Key(self.name, name))
            except NotFound:
                return

        with ThreadPoolExecutor(_CREATORS) as deleters:
            list(deleters.map(one, names))
        self.watch.wait(names, stopwatch.GONE, timeout)
        self.watch.wait(self._with_kuryrport(names), stopwatch.KURYRPORT_GONE, timeout)

    def _with_kuryrport(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if self.watch.reached(name, stopwatch.KURYRPORT)]


def _sandboxes() -> int:
    """Sandboxes that the container runtimes of all nodes have, running or not."""
    of_kind = 'labels."io.cri-containerd.kind"==sandbox'
    return sum(len(images.ctr(node, "containers", "list", "-q", of_kind).split()) for node in cluster.NODES)


@contextmanager
def namespace(client: Client) -> Iterator[Namespace]:
    """A namespace that is deleted at the end, with all its pods."""
    name = f"bench-{secrets.token_hex(3)}"
    client.create(NAMESPACES, "", {"metadata": {"name": name}})
    delete = ("delete", "namespace", name, "--wait=true", "--timeout=180s")
    try:
        control_plane.kubectl(
            "wait", "--for=create", "--timeout=60s", f"--namespace={name}", "serviceaccount/default"
        )
        with Stopwatch(client, name) as watch:
            yield Namespace(client, name, watch)
    except BaseException:
        # What went wrong matters more than what cannot be tidied up for the same reason.
        control_plane.kubectl(*delete, check=False)
        raise
    control_plane.kubectl(*delete)


@contextmanager
def running(space: Namespace, number: int) -> Iterator[list[str]]:
    """So many pods, on the nodes in turn, Ready and reported up; deleted at the end (else with the namespace)."""
    names = space.create(
        *(pod(f"running-{index}", node=NODES[index % len(NODES)]) for index in range(number))
    )
    space.watch.wait(names, stopwatch.READY)
    space.watch.wait(names, stopwatch.UP)
    yield names
    space.delete(names)
