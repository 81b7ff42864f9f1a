# SPDX-License-Identifier: Apache-2.0
"""The frame of the crash-point tests: a controller between proxies, killed before or after any of its calls.

The calls of a life are those that a first run makes: a proxy before each API writes them down. Then the life is lived
again for each of them (before it is forwarded, and after it was carried out but before it is answered), with a kill there.
By default every few points are tried; all of them by ``KURYR_CRASH_POINTS=1``, or one of them, as the test names it, by
``KURYR_CRASH_POINTS="after call 1 of POST"``.
"""

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from kuryr.k8s.client import Client
from kuryr.k8s.errors import NotFound
from kuryr.k8s.lease import LEASES
from kuryr.testing.fake_cloud import FakeCloud
from tests.functional.controller.calls_proxy import Answer, Call, CallsProxy, Observer
from tests.functional.controller.harness import LEASE, Options, World, clean
from tests.functional.controller.process import Process, wait_holder
from tests.functional.kubernetes import KubernetesApi

# Not of a pod's life: what goes on all the time, and Events, which nothing depends on.
PASSED = ("leases", "events", "selfsubjectaccessreviews", "auth/tokens")


class Point(NamedTuple):
    """Where to kill: before or after the ``number``-th call of an operation."""

    operation: str
    number: int
    after: bool

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} call {self.number} of {self.operation}"


class Killer(Observer):
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

    def close(self) -> None:
        """Kill no more; a kill that is under way is over, with its start, when this returns."""
        self.begin("nobody", None)
        self._restarts.shutdown()

    def before(self, call: Call) -> bool | Answer:
        return self._pass(call, after=False)

    def after(self, call: Call, status: int) -> bool | Answer:
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


@contextmanager
def stage(
    api: KubernetesApi,
    client: Client,
    namespace: str,
    directory: Path,
    site: Path,
    prepare: Callable[[World], Options],
) -> Iterator[tuple[World, Killer]]:
    """A world and the program between two proxies, ready; ``prepare`` furnishes the world and gives its options."""
    clean(client)
    killer = Killer(client)
    killer.begin("nobody", None)
    token = api.token_file.read_text()
    with ExitStack() as stack:
        cloud = ProxiedCloud()
        stack.enter_context(cloud)
        cloud_proxy = stack.enter_context(CallsProxy(cloud.real_url, killer))
        api_proxy = stack.enter_context(CallsProxy(api.api_root, killer, ca_file=api.ca_file, token=token))
        cloud.proxy_url = cloud_proxy.url
        world = World(api, client, cloud, namespace, directory)
        config_file = world.configuration(prepare(world), api_root=api_proxy.url)
        killer.process = stack.enter_context(Process(config_file, site=site))
        wait_holder(world)
        killer.process.wait_ready()
        stack.callback(killer.close)
        yield world, killer
    clean(client)


def live_through(killer: Killer, live: Callable[[str], None], every: int, *, reached: float) -> int:
    """Live once undisturbed, then with a kill at every so many of the points that this life had; how many it had.

    ``reached`` is the least part of the points at which the controller must have been killed: calls of several threads
    may come in another order or number than in the first run, but not most of them.
    """
    chosen = os.environ.get("KURYR_CRASH_POINTS", str(every))
    killer.begin("first", None)
    live("first")
    points = list(killer.calls)
    assert {point.operation.split()[0] for point in points} >= {"POST", "PATCH", "PUT", "DELETE"}
    print(f"{len(points)} points")
    tried = points[:: int(chosen)] if chosen.isdigit() else [p for p in points if chosen in str(p)]
    kills = 0
    for number, point in enumerate(tried):
        name = f"pod-{number}"
        killer.begin(name, point)
        try:
            live(name)
        except (AssertionError, TimeoutError) as error:
            error.add_note(f"The controller was killed {point}.")
            raise
        kills += killer.killed.is_set()
        told = "" if killer.killed.is_set() else ": not reached"
        print(f"{number + 1} of {len(tried)}: killed {point}{told}")
    assert kills >= len(tried) * reached
    return len(points)
