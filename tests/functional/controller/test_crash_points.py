# SPDX-License-Identifier: Apache-2.0
"""A controller that is killed before or after any of its calls, and started again, leaks nothing and makes nothing twice.

See crash_points.py for how to try all points, or one.
"""

from pathlib import Path

import pytest

from kuryr.k8s.client import Client
from kuryr.objects.core import Pod
from kuryr.objects.resources import PODS
from tests.functional.controller import crash_points
from tests.functional.controller.harness import World
from tests.functional.kubernetes import KubernetesApi, wait_until

AUDITED = {
    "audit_period": 1,
    "audit_grace": 1,
    "multi_vif_drivers": "annotated",
    "pod_security_groups_driver": "annotated",
}


class Lives:
    """The life of a pod."""

    def __init__(self, world: World) -> None:
        self.world = world
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


@pytest.mark.timeout(3600)
def test_every_point(
    kubernetes_api: KubernetesApi, api_client: Client, namespace: str, tmp_path: Path, installed_fakes: Path
) -> None:
    with crash_points.stage(
        kubernetes_api,
        api_client,
        namespace,
        tmp_path,
        installed_fakes,
        lambda world: {"kubernetes": AUDITED},
    ) as (world, killer):
        lives = Lives(world)
        lives.live("warm")
        assert crash_points.live_through(killer, lives.live, 5, reached=0.7) > 30
