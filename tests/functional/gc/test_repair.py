# SPDX-License-Identifier: Apache-2.0
"""What others do to ports is found by audits, put right where that can be, and told."""

from __future__ import annotations

from typing import Any

import pytest

from kuryr.objects.kuryrport import KuryrPort
from kuryr.objects.resources import KURYRPORTS
from tests.functional.controller.harness import NODE, World, get
from tests.functional.kubernetes import wait_until

AUDITED = {"kubernetes": {"audit_period": 1, "audit_grace": 1}}


def reasons(world: World, name: str) -> set[str]:
    return {event.reason for event in world.events(name)}


def meddle(world: World, port_id: str, **fields: Any) -> None:
    """Change a port as somebody with other tools does."""
    with world.cloud.neutron.state.lock:
        port = world.cloud.neutron.ports.items[port_id]
        port.update(fields)
        port["revision_number"] += 1


def say_up(world: World, port: KuryrPort) -> None:
    """What the node's daemon does once the pod has its interface."""
    up = {
        "type": "Up",
        "status": "True",
        "reason": "Wired",
        "lastTransitionTime": "2026-01-01T00:00:00.000000Z",
    }
    world.client.merge_patch(
        KURYRPORTS, port.key, {"status": {"vifs": {"eth0": {"conditions": [up]}}}}, subresource="status"
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("security_groups", []),
        ("binding:host_id", "elsewhere"),
        ("device_id", "somebody"),
        ("description", ""),
    ],
)
def test_what_was_changed_is_put_back_and_told(world: World, field: str, value: Any) -> None:
    with world.controller(AUDITED) as running:
        running.wait_ready()
        world.create_pod("a")
        port_id = world.wait_filled("a").decoded_vifs()["eth0"].id
        before = next(port for port in world.cloud.ports if port["id"] == port_id)
        meddle(world, port_id, **{field: value})
        wait_until(
            lambda: next(p for p in world.cloud.ports if p["id"] == port_id)[field] == before[field],
            f"{field} is put back",
        )
        wait_until(lambda: "PortRepaired" in reasons(world, "a"), "the pod has an Event")
        world.wait_ports(1)
        assert world.count("update port") == 1
        assert world.count("create port") == 1
        assert world.count("delete port") == 0


def test_the_port_of_a_pod_that_does_not_run_yet_is_made_anew(world: World) -> None:
    with world.controller(AUDITED) as running:
        running.wait_ready()
        pod = world.create_pod("a")
        lost = world.wait_filled("a").decoded_vifs()["eth0"].id
        world.cloud.remove("ports", lost)

        def anew() -> bool:
            port = world.kuryrport("a")
            return port is not None and bool(port.status.vifs) and port.decoded_vifs()["eth0"].id != lost

        wait_until(anew, "there is another port")
        wait_until(lambda: "PortRecreated" in reasons(world, "a"), "the pod has an Event")
        assert [port["device_id"] for port in world.wait_ports(1)] == [pod.metadata.uid]


def test_a_pod_that_runs_without_its_port_is_told_once(world: World) -> None:
    with world.controller(AUDITED) as running:
        running.wait_ready()
        world.create_pod("a")
        filled = world.wait_filled("a")
        say_up(world, filled)
        world.cloud.remove("ports", filled.decoded_vifs()["eth0"].id)
        wait_until(lambda: "PortMissing" in reasons(world, "a"), "the pod has an Event")
        told = world.kuryrport("a")
        assert told is not None
        (condition,) = [one for one in told.status.conditions if one.type == "PortPresent"]
        assert (condition.status, condition.reason) == ("False", "PortMissing")
        listings = world.count("list ports")
        wait_until(lambda: world.count("list ports") >= listings + 4, "more audits are made")
        again = world.kuryrport("a")
        assert again is not None
        assert again.metadata.resource_version == told.metadata.resource_version
        assert world.count("create port") == 1
        world.delete_pod("a")
        world.wait_gone("a")


def test_a_node_s_port_is_made_anew(world: World) -> None:
    options = {**AUDITED, "node_port": {"enabled": "true"}}
    world.create_node(NODE)
    name = f"kuryr-node.{NODE}"
    with world.controller(options) as running:
        running.wait_ready()
        first = world.wait_filled(name, namespace="kube-system")
        (vif,) = first.decoded_vifs().values()
        world.cloud.remove("ports", vif.id)
        wait_until(
            lambda: (
                (port := world.kuryrport(name, "kube-system")) is not None
                and port.metadata.uid != first.metadata.uid
                and bool(port.status.vifs)
            ),
            "the node has another port",
        )
        world.wait_ports(1)


def test_the_ports_of_another_cluster_in_the_project_are_never_touched(world: World) -> None:
    """Two controllers in one project and one API, of two clusters by name: each mends its own alone."""
    theirs = world.cloud.make(
        "ports",
        network_id=world.cloud.items("networks")[0]["id"],
        device_owner="compute:kuryr",
        device_id="00000000-0000-4000-8000-000000000001",
        description="kuryr:other:pod:00000000-0000-4000-8000-000000000001:eth0",
        security_groups=[],
    )
    with world.controller(AUDITED) as running:
        running.wait_ready()
        world.create_pod("a")
        port_id = world.wait_filled("a").decoded_vifs()["eth0"].id
        meddle(world, port_id, security_groups=[])
        wait_until(
            lambda: running.metric("kuryr_audit_repaired_total", verdict="Changed") == 1, "ours is mended"
        )
    assert theirs == next(port for port in world.cloud.ports if port["id"] == theirs["id"])


def test_the_quota_is_told_before_it_is_used_up(world: World) -> None:
    world.cloud.set_quota(world.cloud.project_id, port=10)
    options = {**AUDITED, "cloud_limits": {"capacity_warning": 25, "capacity_readiness": "true"}}
    with world.controller(options) as running:
        running.wait_ready()
        wait_until(
            lambda: running.metric("kuryr_quota_free_count", resource="ports") == 10, "it is read at start"
        )
        assert running.metric("kuryr_quota_free_count", resource="networks") > 0
        for number in range(8):
            world.create_pod(f"a{number}")
        for number in range(8):
            world.wait_filled(f"a{number}")

        def events() -> list[str]:
            return [event.reason for event in world.events("kuryr-controller-0", "kube-system")]

        wait_until(lambda: "QuotaLow" in events(), "the operator is told")
        assert running.metric("kuryr_quota_free_count", resource="ports") == 2
        (pods4, pods6) = (world.cloud.subnets["pods"][version] for version in (4, 6))
        left = {
            subnet: running.metric("kuryr_port_quota_per_subnet", subnet_id=subnet, subnet_name=f"pods-v{n}")
            for n, subnet in ((4, pods4), (6, pods6))
        }
        assert left[pods4] == 2**16 - 3 - 8
        for number in range(2):
            world.create_pod(f"b{number}")
        url = f"http://127.0.0.1:{running.conf.health_server.port}/readyz"
        wait_until(lambda: get(url)[0] != 200, "it is not ready")
        assert "the project's quota of ports is used up" in get(url)[1]
        assert events().count("QuotaLow") == 1


def test_a_pool_does_not_take_a_port_back_that_is_gone(world: World) -> None:
    options = {
        "kubernetes": {**AUDITED["kubernetes"], "vif_pool_driver": "neutron"},
        "vif_pool": {"ports_pool_min": 2, "ports_pool_update_frequency": 1, "address_rest": 1},
    }
    world.create_node(NODE)

    def ready() -> set[str]:
        pool = world.kuryrport(f"kuryr-pool.{NODE}", "kube-system")
        return {vif.id for vif in pool.decoded_vifs().values()} if pool is not None else set()

    with world.controller(options) as running:
        running.wait_ready()
        wait_until(lambda: len(ready()) >= 2, "the pool is filled")
        world.create_pod("a")
        lost = world.wait_filled("a").decoded_vifs()["eth0"].id
        assert running.metric("kuryr_pool_events_total", event="hits") == 1
        world.cloud.remove("ports", lost)
        wait_until(lambda: "PortRecreated" in reasons(world, "a"), "the pod has an Event")
        wait_until(
            lambda: (
                (port := world.kuryrport("a")) is not None
                and bool(port.status.vifs)
                and port.decoded_vifs()["eth0"].id != lost
            ),
            "there is another port",
        )
        world.create_pod("b")
        vifs = {world.wait_filled(name).decoded_vifs()["eth0"].id for name in "ab"}
        assert vifs <= {port["id"] for port in world.cloud.ports}
        wait_until(lambda: not ready() & vifs, "what was handed out is not shown as ready any more")
        assert lost not in ready()
        meddle(world, world.wait_filled("b").decoded_vifs()["eth0"].id, security_groups=[])
        wait_until(lambda: "PortRepaired" in reasons(world, "b"), "a pool's port in use is put back too")
