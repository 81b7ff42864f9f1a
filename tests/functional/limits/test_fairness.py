# SPDX-License-Identifier: Apache-2.0
"""A namespace with very many pods does not hold up another's."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from kuryr.objects.resources import NAMESPACES, PODS
from tests.functional.controller.harness import NODE, World
from tests.functional.kubernetes import wait_until

MANY = 1000


class Turnstile:
    """A latency: calls wait until they are let go, one by one or all."""

    def __init__(self) -> None:
        self.arrived = 0
        self._slots = threading.Semaphore(0)
        self._open = threading.Event()

    def __call__(self) -> float:
        self.arrived += 1
        if not self._open.is_set():
            self._slots.acquire()
        return 0.0

    def let_one_go(self) -> None:
        self._slots.release()

    def open(self) -> None:
        self._open.set()
        self._slots.release(MANY)


def test_the_first_pod_of_a_namespace_is_next_after_one_call(world: World) -> None:
    """However many calls another namespace has queued: none of them begins before."""
    other = f"{world.namespace}-other"
    world.client.create(NAMESPACES, "", {"metadata": {"name": other}})
    turnstile = Turnstile()
    with world.controller() as running, ThreadPoolExecutor(4) as threads:
        running.wait_ready()
        world.cloud.journal.clear()
        world.cloud.knobs.latency("create port", turnstile)

        def queued() -> int:
            return int(running.metric("kuryr_cloud_calls_queued", operation="create port"))

        try:
            list(threads.map(lambda number: world.create_pod(f"many-{number}"), range(MANY)))
            wait_until(lambda: turnstile.arrived + queued() == MANY, "all are being made or queued", 180)
            in_flight = turnstile.arrived
            pod = {"nodeName": NODE, "containers": [{"name": "c", "image": "none"}]}
            first = world.client.create(PODS, other, {"metadata": {"name": "first"}, "spec": pod})
            wait_until(lambda: turnstile.arrived + queued() == MANY + 1, "the other namespace's is queued")
            assert turnstile.arrived == in_flight
            turnstile.let_one_go()
            wait_until(lambda: turnstile.arrived > in_flight, "the next call begins")
        finally:
            turnstile.open()
        world.wait_filled("first", namespace=other)
        wait_until(lambda: world.count("create port") == MANY + 1, "all are made", 180)
    calls = sorted(world.cloud.journal.calls("create port"), key=lambda call: call.began)
    owners = [call.body["port"]["device_id"] for call in calls]
    assert owners.index(first.metadata.uid) == in_flight
