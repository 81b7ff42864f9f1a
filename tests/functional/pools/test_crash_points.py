# SPDX-License-Identifier: Apache-2.0
"""A controller with pools, killed before or after any of its calls: no port in two hands, none lost.

See tests/functional/controller/crash_points.py for how to try all points, or one.
"""

from collections import Counter
from pathlib import Path

import pytest

from kuryr.k8s.client import Client
from kuryr.objects.resources import KURYRPORTS, PODS
from tests.functional.controller import crash_points
from tests.functional.controller.harness import NODE, Options, World
from tests.functional.kubernetes import KubernetesApi, wait_until
from tests.functional.pools.conftest import Pools


class Lives:
    """The life of a pod that has its port from a pool."""

    def __init__(self, pools: Pools) -> None:
        self.pools = pools
        self.world = pools.world
        self.group: str = self.world.cloud.make("security_groups", name="other")["id"]

    def live(self, name: str) -> None:
        """A pod is made, given another group, replaced under its name, deleted."""
        world = self.world
        first = world.create_pod(name)
        vif_id = self.check_alive(name, first.metadata.uid)
        groups = {"metadata": {"annotations": {"kuryr.testing/security-groups": self.group}}}
        world.client.merge_patch(PODS, world.key(name), groups)
        wait_until(
            lambda: world.wait_filled(name).status.vifs["eth0"].security_groups == [self.group],
            f"{name} has the other group",
        )
        assert self.check_alive(name, first.metadata.uid) == vif_id, "a living pod's port stays"
        world.delete_pod(name)
        second = world.create_pod(name)
        self.check_alive(name, second.metadata.uid)
        world.delete_pod(name)
        world.wait_gone(name)
        wait_until(self.all_accounted_for, f"every port is used once or ready; {self.accounts()}")

    def check_alive(self, name: str, uid: str) -> str:
        """Wait until the pod has a port that exists and nobody else has, with the groups that it says; its id."""
        entry = self.world.wait_filled(name, uid=uid).status.vifs["eth0"]
        vif_id = self.world.wait_filled(name, uid=uid).decoded_vifs()["eth0"].id
        assert self.users()[vif_id] == 1
        (port,) = [port for port in self.world.ports() if port["id"] == vif_id]
        assert port["security_groups"] == entry.security_groups
        return vif_id

    def users(self) -> Counter[str]:
        """How many KuryrPorts of pods have a port."""
        return Counter(
            vif.id
            for port in self.world.client.list(KURYRPORTS).items
            if port.spec.owner_kind == "Pod"
            for vif in port.decoded_vifs().values()
        )

    def all_accounted_for(self) -> bool:
        made, used, ready = {p["id"] for p in self.world.ports()}, self.users(), self.pools.ready()
        assert not [vif_id for vif_id, number in used.items() if number > 1]
        return made == set(used) | ready and not set(used) & ready

    def accounts(self) -> str:
        made = {port["id"]: port["description"] for port in self.world.ports()}
        return f"made {made}, used {self.users()}, ready {self.pools.ready()}"


def furnished(world: World) -> Options:
    """One node, and small pools for it."""
    world.create_node(NODE)
    options = Pools(world).options(ports_pool_min=2, ports_pool_batch=1)
    options["kubernetes"] |= {"audit_period": 1, "audit_grace": 1, "pod_security_groups_driver": "annotated"}
    return options


@pytest.mark.timeout(3600)
def test_every_point(
    kubernetes_api: KubernetesApi, api_client: Client, namespace: str, tmp_path: Path, installed_fakes: Path
) -> None:
    with crash_points.stage(kubernetes_api, api_client, namespace, tmp_path, installed_fakes, furnished) as (
        world,
        killer,
    ):
        pools = Pools(world)
        # As long as it lives its kind of port is kept ready.
        world.create_pod("anchor")
        pools.vif_id("anchor")
        pools.wait_ready(2)
        crash_points.live_through(killer, Lives(pools).live, 6, reached=0.5)
