# SPDX-License-Identifier: Apache-2.0
"""Pools at the ends of what there is: quota, subnets, a Neutron in trouble, idle times, other clusters."""

import itertools

import pytest

from kuryr.drivers.vif_pool import planning
from tests.functional.controller.harness import NODE, World
from tests.functional.kubernetes import wait_until
from tests.functional.pools.conftest import Pools


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses after failures are short."""
    monkeypatch.setattr(planning, "FIRST_PAUSE", 0.2)
    monkeypatch.setattr(planning, "LONGEST_PAUSE", 1.0)


def small_subnet(world: World, addresses: int) -> str:
    """A subnet of a network of its own with so many addresses."""
    network = world.cloud.make("networks", name="small")
    pool = {"start": "10.99.0.10", "end": f"10.99.0.{9 + addresses}"}
    subnet = world.cloud.make(
        "subnets",
        name="small",
        network_id=network["id"],
        cidr="10.99.0.0/24",
        ip_version=4,
        enable_dhcp=False,
        allocation_pools=[pool],
    )
    return str(subnet["id"])


def trouble(pools: Pools, node: str = NODE) -> str:
    """The reason that the pool's KuryrPort gives."""
    shown = pools.shown(node)
    conditions = shown.status.conditions if shown is not None else []
    return next((condition.reason for condition in conditions), "")


@pytest.mark.usefixtures("impatient")
def test_a_full_subnet_is_told_and_left_alone(pools: Pools) -> None:
    options = pools.options(ports_pool_min=5)
    options["neutron_defaults"] = {"pod_subnet": small_subnet(pools.world, 3)}
    with pools.world.controller(options) as running:
        running.wait_holding()
        wait_until(lambda: trouble(pools) == "SubnetFull", "the pool says that the subnet is full")
        pools.wait_ready(3, at_most=3)
        wait_until(
            lambda: (
                "SubnetFull" in {e.reason for e in pools.world.events(f"kuryr-pool.{NODE}", "kube-system")}
            ),
            "an Event says so",
        )
        # Three pods can have what there is; then there is nothing, and nothing is lost.
        for name in "abc":
            pools.world.create_pod(name)
        assert len({pools.vif_id(name) for name in "abc"}) == 3
        pools.world.create_pod("d")
        pools.world.wait_failed("d", "SubnetFull")
        pools.world.delete_pod("a")
        pools.world.wait_filled("d")


@pytest.mark.usefixtures("impatient")
def test_a_pod_goes_before_the_pools_of_other_nodes(pools: Pools) -> None:
    world = pools.world
    options = pools.options(ports_pool_min=4, ports_pool_batch=4)
    options["neutron_defaults"] = {"pod_subnet": small_subnet(world, 4)}
    with world.controller(options) as running:
        running.wait_holding()
        pools.wait_ready(4)
        world.create_node("node-2")
        world.create_pod("a", node="node-2")
        port = world.wait_filled("a")
        assert port.spec.pod_node_name == "node-2"


@pytest.mark.usefixtures("impatient")
def test_quota(pools: Pools) -> None:
    world = pools.world
    world.cloud.set_quota(world.cloud.project_id, port=2)
    with pools.controller() as running:
        running.wait_holding()
        wait_until(lambda: trouble(pools) == "QuotaExceeded", "the pool says that the quota is used up")
        pools.wait_ready(2, at_most=2)
        world.cloud.set_quota(world.cloud.project_id, port=100)
        pools.wait_ready(3)
        wait_until(lambda: trouble(pools) == "Ready", "the trouble is over")


def test_a_neutron_in_trouble_is_spared(pools: Pools) -> None:
    world = pools.world
    world.cloud.knobs.fail("create port", -1, status=503)
    with pools.controller() as running:
        running.wait_holding()
        wait_until(lambda: running.metric("kuryr_pool_events_total", event="failed") > 0, "filling was tried")
        tried = world.count("create port")
        wait_until(lambda: world.count("list ports") >= 3, "some time has passed")
        # Those that were in flight together, and then at most one try after each pause.
        assert world.count("create port") <= tried + 4
        world.cloud.knobs.heal()
        pools.wait_ready(3)


def test_shrunk_when_idle(pools: Pools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "HALF_LIFE", 0.5)
    monkeypatch.setattr(planning, "BURST", 1.0)
    world = pools.world
    with pools.controller() as running:
        running.wait_holding()
        pools.wait_ready(3)
        for number in range(15):
            world.create_pod(f"a{number}")
        for number in range(15):
            pools.vif_id(f"a{number}")
        for number in range(15):
            world.delete_pod(f"a{number}")
        wait_until(lambda: len(world.ports()) <= 5, f"the pool is small again: {len(world.ports())}")
        pools.wait_ready(3, at_most=5)


def test_a_slow_neutron_delays_no_pod_of_a_warm_pool(pools: Pools) -> None:
    world = pools.world
    with pools.controller(ports_pool_min=20, ports_pool_batch=20) as running:
        running.wait_holding()
        pools.wait_ready(20)
        with world.gate("create port"):
            for number in range(20):
                world.create_pod(f"a{number}")
            assert len({pools.vif_id(f"a{number}") for number in range(20)}) == 20


def test_filling_leaves_room_for_pods(pools: Pools) -> None:
    """However much is to be filled, a pod that finds its pool empty has its turn at once."""
    world = pools.world
    for number in range(5):
        world.create_node(f"empty-{number}")
    with world.gate("create port") as gate:
        with pools.controller(ports_pool_min=50, ports_pool_batch=50) as running:
            running.wait_holding()
            wait_until(lambda: gate.arrived > 0, "filling has begun")
            uid = world.create_pod("a").metadata.uid
            wait_until(
                lambda: running.metric("kuryr_pool_events_total", event="misses") == 1, "the pod was served"
            )
            gate.open()
            world.wait_filled("a")
        made = [
            call.body["port"].get("device_id") == uid for call in world.cloud.journal.calls("create port")
        ]
        assert True in made
        # What was in flight before, and as much again at most.
        assert len(list(itertools.takewhile(lambda mine: not mine, made))) <= 32


def test_what_neutron_lost_or_others_changed_leaves_the_pool(pools: Pools) -> None:
    world = pools.world
    with pools.controller() as running:
        running.wait_holding()
        ready = sorted(pools.wait_ready(3))
        lost, changed = ready[:2]
        world.cloud.remove("ports", lost)
        with world.cloud.neutron.state.lock:
            world.cloud.neutron.ports.items[changed]["security_groups"] = []
        wait_until(lambda: not pools.ready() & {lost, changed}, "neither is ready")
        wait_until(
            lambda: changed not in {port["id"] for port in world.ports()}, "the changed one is deleted"
        )
        pools.wait_ready(3)


def test_two_clusters_in_one_project(pools: Pools) -> None:
    """The other's ports, of its pool as well, are nobody's business here."""
    world = pools.world
    theirs = []
    for number in range(3):
        made = world.cloud.make(
            "ports",
            network_id=world.cloud.items("networks")[0]["id"],
            device_owner="compute:kuryr",
            device_id="kuryr-pool:other",
            description=f"kuryr:other:pool:{NODE}",
            name=f"theirs-{number}",
        )
        theirs.append(made["id"])
        world.cloud.neutron.ports.items[made["id"]]["binding:host_id"] = NODE
    with pools.controller() as running:
        running.wait_holding()
        assert not pools.wait_ready(3) & set(theirs)
        for number in range(6):
            world.create_pod(f"a{number}")
        assert not {pools.vif_id(f"a{number}") for number in range(6)} & set(theirs)
        before = world.count("list ports")
        wait_until(lambda: world.count("list ports") > before + 3, "several audits were made")
        assert set(theirs) <= {port["id"] for port in world.cloud.ports}
