# SPDX-License-Identifier: Apache-2.0
"""[neutron_defaults] resource_tags, and what they cost."""

import pytest

from tests.functional.controller.harness import World
from tests.functional.kubernetes import wait_until

OPTIONS = {"neutron_defaults": {"resource_tags": "production,team-a"}}


@pytest.mark.parametrize(("kept", "calls"), [(True, {}), (False, {"update port tags": 5})])
def test_calls_of_tagged_pods(world: World, kept: bool, calls: dict[str, int]) -> None:
    """One write a pod where the cloud keeps the tags of a creating call, else one more."""
    world.cloud.neutron.state.tags_on_create = kept
    with world.controller(OPTIONS) as running:
        running.wait_ready()
        world.cloud.journal.clear()
        for number in range(5):
            world.create_pod(f"a{number}")
        for number in range(5):
            world.wait_filled(f"a{number}")
        wait_until(
            lambda: [port["tags"] for port in world.ports()] == [["production", "team-a"]] * 5,
            "all ports have the tags",
        )
        assert world.cloud.journal.counts == {"create port": 5, **calls}
