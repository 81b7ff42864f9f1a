# SPDX-License-Identifier: Apache-2.0
"""A controller that is killed before or after any of its calls, and started again, leaks nothing and makes nothing twice.

The calls of a pod's life are those that a first run makes: a proxy before each API writes them down. Then the life is lived
again for each of them (before it is forwarded, and after it was carried out but before it is answered), with a kill there.
By default every few points are tried; all of them by::

    KURYR_CRASH_POINTS=1 pytest tests/functional/controller/test_crash_points.py

or one of them, as the test names it, by ``KURYR_CRASH_POINTS="after call 1 of POST"``.
"""

import os
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from kuryr.k8s.client import Client
from kuryr.k8s.errors import NotFound
from kuryr.k8s.lease import LEASES
from kuryr.objects.core import Pod
from kuryr.objects.resources import PODS
from kuryr.testing.fake_cloud import FakeCloud
from tests.functional.controller.calls_proxy import Call, CallsProxy
from tests.functional.controller.harness import LEASE, World, clean
from tests.functional.controller.process import Process, wait_holder
from tests.functional.kubernetes import KubernetesApi, wait_until

CHOSEN = os.environ.get("KURYR_CRASH_POINTS", "5")
AUDITED = {
    "audit_period": 1,
    "audit_grace": 1,
    "multi_vif_drivers": "annotated",
    "pod_security_groups_driver": "annotated",
}
# Not of a pod's life: what goes on all the time, and Events, which nothing depends on.
PASSED = ("leases", "events", "selfsubjectaccessreviews", "auth/tokens")


class Point(NamedTuple):
    """Where to kill: before or after the ``number``-th call of an operation."""

    operation: str
    number: int
    after: bool

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} call {self.number} of {self.operation}"


class Killer:
    """Writes calls down, and kills the controller at a point, once; then starts it again."""

    def __init__(self, client: Client) -> None:
        self._client = client
        # A thread that lasts: the process dies with the one that started it.
        self._restarts = ThreadPoolExecutor(1)
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._point: Point | None = None
        self.process: Process | None = None
        self.calls: list[Point] = []
        self.killed = threading.Event()

    def begin(self, name: str, point: Point | None) -> None:
        """A life begins; calls about pods of other names count too, since there are none."""
        with self._lock:
            self._counts.clear()
            self.calls = []
            self._point = point
            self._name = name
            self.killed.clear()

    def before(self, call: Call) -> bool:
        return self._pass(call, after=False)

    def after(self, call: Call) -> bool:
        return self._pass(call, after=True)

    def _pass(self, call: Call, *, after: bool) -> bool:
        if call.watch or "device_owner=" in call.path or any(part in call.path for part in PASSED):
            return True
        with self._lock:
            operation = call.operation.replace(self._name, "<pod>")
            key = f"{operation} {after}"
            self._counts[key] += 1
            here = Point(operation, self._counts[key], after)
            self.calls.append(here)
            if here != self._point:
                return True
            self._point = None
        self._restarts.submit(self._restart).result()
        self.killed.set()
        return False

    def _restart(self) -> None:
        """Kill and start; the dead holder's Lease is taken away, or each point would wait for its end."""
        assert self.process is not None
        self.process.kill()
        with suppress(NotFound):
            self._client.delete(LEASES, LEASE)
        self.process.start()


class ProxiedCloud(FakeCloud):
    """A fake cloud whose catalog leads through a proxy."""

    proxy_url = ""

    @property
    def real_url(self) -> str:
        return super().url

    @property
    def url(self) -> str:
        return self.proxy_url or super().url


class Stage:
    """The world, with the program between two proxies."""

    def __init__(self, world: World, killer: Killer) -> None:
        self.world = world
        self.killer = killer
        self.group: str = world.cloud.make("security_groups", name="other")["id"]

    def live(self, name: str) -> None:
        """A pod with two interfaces: made, given other security groups, replaced under its name, completed, deleted."""
        world = self.world
        annotations = {"kuryr.testing/vifs": world.cloud.subnets["pods2"][4]}
        first = world.create_pod(name, metadata={"annotations": annotations})
        ids = self.check_alive(name, first)
        changed = {"metadata": {"annotations": {"kuryr.testing/security-groups": self.group}}}
        world.client.merge_patch(PODS, world.key(name), changed)
        wait_until(lambda: self.groups_of(name) == {self.group}, f"{name} has the other group")
        assert self.check_alive(name, first) == ids, "a living pod's ports stay"
        world.delete_pod(name)
        second = world.create_pod(name)
        assert not self.check_alive(name, second) & ids, "another pod's ports are others"
        world.wait_ports(0, first.metadata.uid)
        world.set_phase(name, "Succeeded")
        world.wait_gone(name)
        world.wait_ports(0)
        world.delete_pod(name)
        wait_until(lambda: world.kuryrport(name) is None, "no KuryrPort is left")

    def groups_of(self, name: str) -> set[str]:
        port = self.world.kuryrport(name)
        entries = port.status.vifs.values() if port is not None else ()
        return {group for entry in entries for group in entry.security_groups or ()}

    def check_alive(self, name: str, pod: Pod) -> set[str]:
        """Wait until the pod has a port for each VIF, those of its KuryrPort and no others; their ids."""
        uid = pod.metadata.uid
        port = self.world.wait_filled(name, uid=uid)
        ids = {vif.id for vif in port.decoded_vifs().values()}
        wait_until(
            lambda: {made["id"] for made in self.world.ports(uid)} == ids,
            f"{name} has the ports {ids}; it has {self.world.ports(uid)}",
        )
        return ids


@pytest.fixture
def stage(
    kubernetes_api: KubernetesApi, api_client: Client, namespace: str, tmp_path: Path, installed_fakes: Path
) -> Iterator[Stage]:
    clean(api_client)
    killer = Killer(api_client)
    token = kubernetes_api.token_file.read_text()
    with ExitStack() as stack:
        cloud = stack.enter_context(ProxiedCloud())
        cloud_proxy = stack.enter_context(CallsProxy(cloud.real_url, killer))
        api_proxy = stack.enter_context(
            CallsProxy(kubernetes_api.api_root, killer, ca_file=kubernetes_api.ca_file, token=token)
        )
        cloud.proxy_url = cloud_proxy.url
        world = World(kubernetes_api, api_client, cloud, namespace, tmp_path)
        config_file = world.configuration({"kubernetes": AUDITED}, api_root=api_proxy.url)
        killer.begin("nobody", None)
        killer.process = stack.enter_context(Process(config_file, site=installed_fakes))
        wait_holder(world)
        killer.process.wait_ready()
        yield Stage(world, killer)
        killer.begin("nobody", None)
    clean(api_client)


@pytest.mark.timeout(3600)
def test_every_point(stage: Stage) -> None:
    killer = stage.killer
    stage.live("warm")
    killer.begin("first", None)
    stage.live("first")
    points = list(killer.calls)
    assert {point.operation.split()[0] for point in points} >= {"POST", "PATCH", "PUT", "DELETE"}
    assert len(points) > 30
    print(f"{len(points)} points")
    tried = points[:: int(CHOSEN)] if CHOSEN.isdigit() else [p for p in points if CHOSEN in str(p)]
    reached = 0
    for number, point in enumerate(tried):
        name = f"pod-{number}"
        killer.begin(name, point)
        try:
            stage.live(name)
        except (AssertionError, TimeoutError) as error:
            error.add_note(f"The controller was killed {point}.")
            raise
        reached += killer.killed.is_set()
        print(
            f"{number + 1} of {len(tried)}: killed {point}"
            + ("" if killer.killed.is_set() else ": not reached")
        )
    # Calls of several threads may come in another order or number than in the first run, but not most of them.
    assert reached >= len(tried) * 0.7
