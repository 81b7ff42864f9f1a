# SPDX-License-Identifier: Apache-2.0
"""A pooled port's life: made ahead, handed out without a call, back again."""

from kuryr.objects.meta import Key
from kuryr.objects.resources import KURYRPORTS, NODES
from tests.functional.controller.harness import NODE
from tests.functional.kubernetes import wait_until
from tests.functional.pools.conftest import Pools


def test_filled_before_the_first_pod(pools: Pools) -> None:
    with pools.controller() as running:
        running.wait_holding()
        ready = pools.wait_ready(3)
        (port, *_) = [port for port in pools.ports() if port["id"] in ready]
        assert port["name"] == "kuryr-pool-port"
        assert port["device_owner"] == "compute:kuryr"
        assert port["device_id"] == f"kuryr-pool:{pools.world.cluster}"
        assert port["binding:host_id"] == NODE
        assert port["security_groups"] == [pools.world.cloud.security_group_id]
        shown = pools.shown()
        assert shown is not None
        assert shown.spec.owner_kind == "Pool"
        assert shown.spec.pod_node_name == NODE
        assert shown.metadata.finalizers == []


def test_a_hit_and_a_return_cost_no_call(pools: Pools) -> None:
    world = pools.world
    with pools.controller() as running:
        running.wait_holding()
        ready = pools.wait_ready(3)
        wait_until(lambda: len(pools.ports()) == len(pools.ready()), "nothing is being made")
        world.cloud.knobs.fail("*", -1, status=503)
        world.create_pod("a")
        vif_id = pools.vif_id("a")
        assert vif_id in ready
        entry = world.wait_filled("a").status.vifs["eth0"]
        assert entry.pool == f"kuryr-pool.{NODE}"
        # No node has said that it wired it ahead.
        assert entry.conditions == []
        wait_until(lambda: vif_id not in pools.ready(), "the pool shows it no more")
        world.delete_pod("a")
        world.wait_gone("a")
        wait_until(lambda: vif_id in pools.ready(), "it is ready again")
        assert running.metric("kuryr_pool_events_total", event="hits") == 1
        world.cloud.knobs.heal()


def test_what_waits_wired_is_up_from_the_first_write(pools: Pools) -> None:
    """Its node need not tell again: a pod costs two writes of a KuryrPort."""
    world = pools.world
    with pools.controller() as running:
        running.wait_holding()
        pools.wait_ready(3)
        shown = pools.shown()
        assert shown is not None
        up = {"type": "Up", "status": "True", "reason": "Wired", "message": "the port waits on its node"}
        vifs = {name: {"conditions": [up]} for name in shown.status.vifs}
        world.client.merge_patch(KURYRPORTS, shown.key, {"status": {"vifs": vifs}}, subresource="status")
        wait_until(lambda: running.total("kuryr_pool_ports", state="wired") >= 3, "the controller sees it")
        world.create_pod("a")
        entry = world.wait_filled("a").status.vifs["eth0"]
        assert [(each.type, each.status, each.reason) for each in entry.conditions] == [
            ("Up", "True", "WiredAhead")
        ]
        assert pools.world.wait_filled("a").decoded_vifs()["eth0"].active


def test_an_empty_pool_costs_what_no_pool_does(pools: Pools) -> None:
    world = pools.world
    with pools.controller(ports_pool_min=0) as running:
        running.wait_holding()
        world.create_pod("a")
        pod = world.wait_filled("a")
        (port,) = [port for port in world.ports() if port["id"] == pools.vif_id("a")]
        assert port["description"] == f"kuryr:{world.cluster}:pod:{pod.spec.pod_uid}:eth0"
        assert pod.status.vifs["eth0"].pool == ""
        # What this node wanted lately is made ahead.
        pools.wait_ready(1)
        world.delete_pod("a")
        world.wait_gone("a")
        wait_until(lambda: port["id"] not in {p["id"] for p in world.ports()}, "its own port is deleted")


def test_a_released_port_rests(pools: Pools) -> None:
    world = pools.world
    with pools.controller(address_rest=3600) as running:
        running.wait_holding()
        pools.wait_ready(3)
        world.create_pod("a")
        first = pools.vif_id("a")
        world.delete_pod("a")
        world.wait_gone("a")
        for number in range(6):
            world.create_pod(f"b{number}")
        assert first not in {pools.vif_id(f"b{number}") for number in range(6)}


def test_a_burst_grows_the_pool(pools: Pools) -> None:
    world = pools.world
    with pools.controller() as running:
        running.wait_holding()
        pools.wait_ready(3)
        for number in range(12):
            world.create_pod(f"a{number}")
        ids = {pools.vif_id(f"a{number}") for number in range(12)}
        assert len(ids) == 12
        pools.wait_ready(12)


def test_no_more_than_the_maximum(pools: Pools) -> None:
    world = pools.world
    with pools.controller(ports_pool_max=4) as running:
        running.wait_holding()
        pools.wait_ready(3)
        for number in range(8):
            world.create_pod(f"a{number}")
        for number in range(8):
            pools.vif_id(f"a{number}")
        for number in range(8):
            world.delete_pod(f"a{number}")
        for number in range(8):
            world.wait_gone(f"a{number}")
        wait_until(lambda: len(world.ports()) <= 4, f"four are left; there are {len(world.ports())}")


def test_a_node_that_goes_takes_its_pool_along(pools: Pools) -> None:
    world = pools.world
    world.create_node("node-2")
    with pools.controller() as running:
        running.wait_holding()
        pools.wait_ready(3)
        pools.wait_ready(3, "node-2")
        world.create_pod("a", node="node-2")
        taken = pools.vif_id("a")
        world.client.delete(NODES, Key("", "node-2"))
        wait_until(lambda: {p["id"] for p in pools.ports("node-2")} == {taken}, "the ready ones are deleted")
        world.delete_pod("a")
        wait_until(lambda: not pools.ports("node-2"), "the last one is deleted")
        wait_until(lambda: pools.shown("node-2") is None, "its KuryrPort is gone")
        assert len(pools.ready()) >= 3


def test_other_groups_cost_one_change(pools: Pools) -> None:
    world = pools.world
    other = world.cloud.make("security_groups", name="other")["id"]
    options = pools.options()
    options["kubernetes"]["pod_security_groups_driver"] = "annotated"
    with world.controller(options) as running:
        running.wait_holding()
        # Not the default drivers: nothing is made before the first pod.
        world.create_pod("first")
        pools.vif_id("first")
        pools.wait_ready(3)
        wait_until(lambda: len(pools.ports()) == len(pools.ready()), "nothing is being made")
        before = world.count("update port")
        annotation = {"kuryr.testing/security-groups": other}
        world.create_pod("a", metadata={"annotations": annotation})
        vif_id = pools.vif_id("a")
        (port,) = [port for port in pools.ports() if port["id"] == vif_id]
        assert port["security_groups"] == [other]
        assert world.count("update port") == before + 1
        # It comes back with the groups that it has.
        world.delete_pod("a")
        world.wait_gone("a")

        def shown_groups() -> list[list[str] | None]:
            shown = pools.shown()
            assert shown is not None
            names = {vif.id: name for name, vif in shown.decoded_vifs().items()}
            return [shown.status.vifs[names[vif_id]].security_groups] if vif_id in names else []

        wait_until(lambda: shown_groups() == [[other]], "it is ready again, with its groups")


def test_switched_off_it_leaves_nothing(pools: Pools) -> None:
    world = pools.world
    with pools.controller() as running:
        running.wait_holding()
        pools.wait_ready(3)
        world.create_pod("a")
        taken = pools.vif_id("a")
    options = pools.options()
    options["kubernetes"]["vif_pool_driver"] = "noop"
    with world.controller(options) as running:
        running.wait_holding()
        wait_until(lambda: pools.shown() is None, "the pool's KuryrPort is gone")
        wait_until(lambda: {port["id"] for port in world.ports()} == {taken}, "only the port in use is left")
        world.delete_pod("a")
        world.wait_gone("a")
        assert world.ports() == []
        assert not world.client.list(KURYRPORTS).items
