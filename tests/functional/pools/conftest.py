# SPDX-License-Identifier: Apache-2.0
"""Fixtures: the controller tests' world, with pools."""

from collections.abc import Callable
from typing import Any

import pytest

from kuryr.drivers.vif_pool import planning
from kuryr.objects.kuryrport import KuryrPort
from tests.functional.controller.conftest import cloud, installed_fakes, world
from tests.functional.controller.harness import NODE, Running, World
from tests.functional.kubernetes import wait_until

__all__ = ["cloud", "installed_fakes", "pooled", "pools", "world"]

ADDRESS_REST = 1


class Pools:
    """A world whose controllers have pools; small ones, so that tests see every port."""

    def __init__(self, world: World) -> None:
        self.world = world

    def options(self, **vif_pool: Any) -> dict[str, dict[str, Any]]:
        sizes = {
            "ports_pool_min": 3,
            "ports_pool_batch": 2,
            "ports_pool_update_frequency": 1,
            "address_rest": ADDRESS_REST,
        }
        return {
            "kubernetes": {"vif_pool_driver": "neutron", "audit_period": 2, "audit_grace": 3},
            "vif_pool": {**sizes, **vif_pool},
        }

    def controller(self, **vif_pool: Any) -> Running:
        return self.world.controller(self.options(**vif_pool))

    def shown(self, node: str = NODE) -> KuryrPort | None:
        """The KuryrPort of the node's pool."""
        return self.world.kuryrport(f"kuryr-pool.{node}", "kube-system")

    def ready(self, node: str = NODE) -> set[str]:
        """Ids of the ports that the node is shown as ready."""
        shown = self.shown(node)
        return {vif.id for vif in shown.decoded_vifs().values()} if shown is not None else set()

    def ports(self, node: str = NODE) -> list[dict[str, Any]]:
        """The pool ports of the node, in use or not."""
        start = f"kuryr:{self.world.cluster}:pool:{node}"
        return [port for port in self.world.cloud.ports if port["description"] == start]

    def wait_ready(self, number: int, node: str = NODE, at_most: int | None = None) -> set[str]:
        """Wait until so many ports (at least) are shown and no more are being made."""
        wait_until(
            lambda: number <= len(self.ready(node)) <= (at_most or 1000),
            f"{number} ports are ready on {node}; there are {len(self.ready(node))}",
        )
        return self.ready(node)

    def vif_id(self, pod: str) -> str:
        """Id of the port of a pod, once it has one."""
        return self.world.wait_filled(pod).decoded_vifs()["eth0"].id

    def calls(self) -> dict[str, int]:
        """What the cloud was asked, but for listings."""
        asked = self.world.cloud.journal.counts
        return {name: number for name, number in asked.items() if name not in ("list ports", "authenticate")}


@pytest.fixture
def pools(world: World, monkeypatch: pytest.MonkeyPatch) -> Pools:
    # Each test is a burst of its own.
    monkeypatch.setattr(planning, "EASE", 0.5)
    world.create_node(NODE)
    return Pools(world)


@pytest.fixture
def pooled(pools: Pools) -> Callable[..., Running]:
    return pools.controller
