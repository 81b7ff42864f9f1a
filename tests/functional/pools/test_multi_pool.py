# SPDX-License-Identifier: Apache-2.0
"""multi_pool: nodes that differ in how their VIFs are made."""

import pytest

from kuryr.conf import controller as configuration
from kuryr.controller import startup
from kuryr.errors import ConfigurationError
from kuryr.objects.meta import Key
from kuryr.objects.resources import NODES
from kuryr.objects.vif import VIFOpenVSwitch, VIFVlanNested
from tests.functional.controller.harness import NODE
from tests.functional.kubernetes import wait_until
from tests.functional.pools.conftest import Pools

NESTED = "node-2"


@pytest.fixture
def mixed(pools: Pools) -> Pools:
    """A node whose pods have VLANs of the node's trunk beside one whose pods have ports."""
    pools.world.create_node(NESTED)
    pools.world.client.merge_patch(NODES, Key("", NESTED), {"metadata": {"labels": {"pod_vif": "fake-vlan"}}})
    return pools


def options(pools: Pools, **vif_pool: str) -> dict[str, dict[str, object]]:
    found = pools.options(**vif_pool)
    found["kubernetes"]["vif_pool_driver"] = "multi_pool"
    return found


def test_each_node_has_its_own(mixed: Pools) -> None:
    world = mixed.world
    with world.controller(options(mixed, vif_pool_mapping="neutron-vif:neutron,fake-vlan:noop")) as running:
        running.wait_holding()
        ready = mixed.wait_ready(3)
        world.create_pod("a")
        world.create_pod("b", node=NESTED)
        a, b = world.wait_filled("a"), world.wait_filled("b")
        assert isinstance(a.decoded_vifs()["eth0"], VIFOpenVSwitch)
        assert isinstance(b.decoded_vifs()["eth0"], VIFVlanNested)
        assert a.decoded_vifs()["eth0"].id in ready
        assert (a.status.vifs["eth0"].driver, b.status.vifs["eth0"].driver) == ("neutron-vif", "fake-vlan")
        assert mixed.ports(NESTED) == []
        assert mixed.ready(NESTED) == set()
        # Each goes back to where it came from, whatever the node is called by now.
        world.client.merge_patch(NODES, Key("", NODE), {"metadata": {"labels": {"pod_vif": "fake-vlan"}}})
        for name in "ab":
            world.delete_pod(name)
            world.wait_gone(name)
        wait_until(lambda: world.ports() == [], "a node without pool has no ports")


def test_without_labels_all_have_the_configured_one(pools: Pools) -> None:
    with pools.world.controller(options(pools, pools_vif_drivers="neutron:neutron-vif")) as running:
        running.wait_holding()
        ready = pools.wait_ready(3)
        pools.world.create_pod("a")
        assert pools.vif_id("a") in ready


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ("", "empty"),
        ("fake-vlan:noop", "lacks 'neutron-vif'"),
        ("neutron-vif:neutron,fake-vlan:neutron", "cannot keep VIFs of pod_vif_driver 'fake-vlan'"),
        ("neutron-vif:multi_pool", "cannot be in itself"),
        ("neutron-vif:unknown", "'unknown' is not known"),
    ],
)
def test_a_mapping_that_cannot_work_is_said_at_start(pools: Pools, mapping: str, said: str) -> None:
    path = pools.world.configuration(options(pools, vif_pool_mapping=mapping))
    with pytest.raises(ConfigurationError, match=said):
        startup.check_names(configuration.load(["--config-file", str(path)]))
