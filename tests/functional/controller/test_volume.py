# SPDX-License-Identifier: Apache-2.0
"""Many pods at once on a slow Neutron."""

from concurrent.futures import ThreadPoolExecutor

from kuryr.objects.resources import KURYRPORTS
from tests.functional.controller.harness import World
from tests.functional.kubernetes import wait_until

MANY = 1000


def test_a_thousand_pending_pods_delay_no_other_key(world: World) -> None:
    """Two threads for each handler; no port is made at all until everything else was shown to go on."""
    options = {"kubernetes": {"reconcile_threads": 2}, "cloud_limits": {"max_in_flight": 16}}
    with world.controller(options) as running, ThreadPoolExecutor(4) as threads:
        running.wait_ready()
        for name in ("old", "completed"):
            world.create_pod(name)
        for name in ("old", "completed"):
            world.wait_filled(name)
        with world.gate("create port") as gate:
            list(threads.map(lambda number: world.create_pod(f"many-{number}"), range(MANY)))
            wait_until(lambda: gate.arrived > 0, "ports are being made")
            wait_until(
                lambda: len(world.client.list(KURYRPORTS, namespace=world.namespace).items) == MANY + 2,
                "every pod has a KuryrPort",
            )
            wait_until(
                lambda: (
                    running.metric("kuryr_reconcile_seconds_count", handler="kuryrport", result="waiting")
                    >= MANY
                ),
                "each of them waits, without a thread",
            )
            # Releases, new KuryrPorts, completed pods: all go on, and so does another namespace's pod, in its turn.
            world.delete_pod("old")
            world.set_phase("completed", "Succeeded")
            world.wait_gone("old")
            world.wait_gone("completed")
            world.create_pod("late")
            wait_until(lambda: world.kuryrport("late") is not None, "a late pod has its KuryrPort")
            assert world.ports() == []
            assert gate.arrived <= 16
        wait_until(lambda: len(world.ports()) == MANY + 1, "all ports are there")
        wait_until(
            lambda: all(
                port.status.vifs for port in world.client.list(KURYRPORTS, namespace=world.namespace).items
            ),
            "all KuryrPorts are filled",
        )
        assert world.count("create port") == MANY + 3
