# SPDX-License-Identifier: Apache-2.0
"""A controller with pools, killed before or after any of its calls: no port in two hands, none lost.

By default every few points are tried; all of them by ``KURYR_CRASH_POINTS=1 pytest tests/functional/pools/test_crash_points.py``.
"""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from kuryr.k8s.client import Client
from kuryr.objects.resources import KURYRPORTS, PODS
from tests.functional.controller.calls_proxy import CallsProxy
from tests.functional.controller.harness import NODE, World, clean
from tests.functional.controller.process import Process, wait_holder
from tests.functional.controller.test_crash_points import Killer, ProxiedCloud
from tests.functional.kubernetes import KubernetesApi, wait_until
from tests.functional.pools.conftest import Pools

STRIDE = int(os.environ.get("KURYR_CRASH_POINTS", "6"))


class Stage:
    """Pools, with the program between two proxies."""

    def __init__(self, pools: Pools, killer: Killer) -> None:
        self.pools = pools
        self.world = pools.world
        self.killer = killer
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
        pools = Pools(World(kubernetes_api, api_client, cloud, namespace, tmp_path))
        options = pools.options(ports_pool_min=2, ports_pool_batch=1)
        options["kubernetes"] |= {
            "audit_period": 1,
            "audit_grace": 1,
            "pod_security_groups_driver": "annotated",
        }
        config_file = pools.world.configuration(options, api_root=api_proxy.url)
        pools.world.create_node(NODE)
        killer.begin("nobody", None)
        killer.process = stack.enter_context(Process(config_file, site=installed_fakes))
        wait_holder(pools.world)
        killer.process.wait_ready()
        # As long as it lives its kind of port is kept ready.
        pools.world.create_pod("anchor")
        pools.vif_id("anchor")
        pools.wait_ready(2)
        yield Stage(pools, killer)
        killer.begin("nobody", None)
    clean(api_client)


@pytest.mark.timeout(3600)
def test_every_point(stage: Stage) -> None:
    killer = stage.killer
    killer.begin("first", None)
    stage.live("first")
    points = list(killer.calls)
    assert {point.operation.split()[0] for point in points} >= {"POST", "PATCH", "PUT", "DELETE"}
    tried, reached = points[::STRIDE], 0
    for number, point in enumerate(tried):
        name = f"pod-{number}"
        killer.begin(name, point)
        try:
            stage.live(name)
        except (AssertionError, TimeoutError) as error:
            error.add_note(f"The controller was killed {point}.")
            raise
        reached += killer.killed.is_set()
        print(f"{number + 1} of {len(tried)}: killed {point}")
    assert reached >= len(tried) * 0.5
