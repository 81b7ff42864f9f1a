# SPDX-License-Identifier: Apache-2.0
"""What a controller that starts finds: nothing to do, something begun, something left over, an older cluster's."""

import json
from typing import Any

import pytest

from kuryr.k8s.client import Client
from kuryr.objects.kuryrport import FINALIZER
from kuryr.objects.resources import KURYRPORTS
from tests.functional.controller.harness import NODE, Running, World
from tests.functional.kubernetes import wait_until

AUDITED = {"kubernetes": {"audit_period": 1, "audit_grace": 1}}


def versions(client: Client) -> dict[str, str]:
    return {f"{port.key}": port.metadata.resource_version for port in client.list(KURYRPORTS).items}


def wait_idle(running: Running) -> None:
    """Wait until each handler has looked at everything that there was."""
    registry = running.controller.metrics.registry
    wait_until(
        lambda: all(
            sample.value == 0
            for family in registry.collect()
            if family.name == "kuryr_queue_depth"
            for sample in family.samples
        ),
        "the queues are empty",
    )


def test_with_nothing_changed_nothing_is_written(world: World) -> None:
    options = {"node_port": {"enabled": "true"}}
    world.create_node(NODE)
    with world.controller(options) as running:
        running.wait_ready()
        for number in range(5):
            world.create_pod(f"a{number}")
        for number in range(5):
            world.wait_filled(f"a{number}")
        world.wait_ports(6)
        world.wait_filled(f"kuryr-node.{NODE}", namespace="kube-system")
    before = versions(world.client)
    world.cloud.journal.clear()
    with world.controller(options) as running:
        running.wait_ready()
        # The queue is fair: when this one is filled, all that were there before were looked at.
        world.create_pod("last")
        world.wait_filled("last")
        wait_idle(running)
        after = versions(world.client)
        del after[f"{world.namespace}/last"]
        assert after == before
        assert world.cloud.journal.writes == 1, "the last pod's port"
        assert world.count("list ports") == 1, "one listing at take-over"


def test_idle_means_no_call_but_the_audit_s(world: World) -> None:
    with world.controller(AUDITED) as running:
        running.wait_ready()
        for number in range(3):
            world.create_pod(f"a{number}")
        for number in range(3):
            world.wait_filled(f"a{number}")
        wait_until(lambda: world.count("list ports") > 1, "an audit was made")
        world.cloud.journal.clear()
        wait_until(lambda: world.count("list ports") >= 3, "three audits were made")
        assert set(world.cloud.journal.counts) == {"list ports"}
        assert len(world.ports()) == 3


def test_a_port_whose_kuryrport_was_never_written_is_taken_over(world: World) -> None:
    """Made by a controller that was killed before it could write it down."""
    pod = world.create_pod("a")
    port = orphan(world, pod.metadata.uid)
    with world.controller() as running:
        running.wait_ready()
        filled = world.wait_filled("a")
        assert filled.decoded_vifs()["eth0"].id == port["id"]
        assert world.count("create port") == 0
        assert world.count("delete port") == 0
        world.delete_pod("a")
        world.wait_gone("a")
        assert world.count("delete port") == 1, "deleted once"
    assert world.ports() == []


def test_a_port_of_a_later_candidate_is_taken_over(world: World) -> None:
    subnets = world.cloud.subnets
    annotation = f"{subnets['pods2'][4]};{subnets['pods'][4]}"
    pod = world.create_pod("a", metadata={"annotations": {"kuryr.testing/subnets": annotation}})
    port = orphan(world, pod.metadata.uid, families=(4,))
    with world.controller({"kubernetes": {"pod_subnets_driver": "annotated"}}) as running:
        running.wait_ready()
        filled = world.wait_filled("a")
    assert filled.decoded_vifs()["eth0"].id == port["id"]
    assert filled.status.vifs["eth0"].subnet_ids == [subnets["pods"][4]]
    assert world.count("create port") == 0


def test_a_port_that_does_not_fit_is_replaced(world: World) -> None:
    pod = world.create_pod("a")
    port = orphan(world, pod.metadata.uid, host="another-node")
    with world.controller() as running:
        running.wait_ready()
        filled = world.wait_filled("a")
        assert filled.decoded_vifs()["eth0"].id != port["id"]
        world.wait_ports(1)


def test_of_two_ports_one_is_taken(world: World) -> None:
    pod = world.create_pod("a")
    for _ in range(2):
        orphan(world, pod.metadata.uid)
    with world.controller() as running:
        running.wait_ready()
        filled = world.wait_filled("a")
        (left,) = world.wait_ports(1)
        assert left["id"] == filled.decoded_vifs()["eth0"].id
        assert world.count("create port") == 0


def test_ports_of_pods_that_are_gone_are_removed(world: World) -> None:
    orphan(world, "00000000-0000-4000-8000-000000000001")
    with world.controller(AUDITED) as running:
        running.wait_ready()
        world.create_pod("a")
        world.wait_filled("a")
        world.wait_ports(1)
        wait_until(lambda: running.metric("kuryr_audit_deleted_total") == 1, "it is counted")
        assert len(world.ports(world.kuryrport("a").spec.pod_uid)) == 1


def test_what_is_not_this_cluster_s_is_left_alone(world: World) -> None:
    foreign = [
        world.cloud.make("ports", **attributes)["id"]
        for attributes in (
            port_attributes(world, "kuryr:another:pod:00000000-0000-4000-8000-000000000001:eth0"),
            port_attributes(world, "a port that somebody made by hand"),
            port_attributes(world, ""),
            port_attributes(world, f"kuryr:{world.cluster}"),
            {**port_attributes(world, ""), "device_owner": "compute:nova"},
        )
    ]
    orphan(world, "00000000-0000-4000-8000-000000000002")
    with world.controller(AUDITED) as running:
        running.wait_ready()
        wait_until(lambda: running.metric("kuryr_audit_deleted_total") == 1, "the orphan is found")
        wait_until(lambda: world.count("delete port") == 1, "and deleted")
        assert set(foreign) <= {port["id"] for port in world.cloud.ports}


def test_deletion_goes_on(world: World) -> None:
    """Pods that went, and KuryrPorts that were being deleted, while there was no controller."""
    with world.controller() as running:
        running.wait_ready()
        for name in ("gone", "deleted"):
            world.create_pod(name)
        for name in ("gone", "deleted"):
            world.wait_filled(name)
    for name in ("gone", "deleted"):
        world.delete_pod(name)
    world.client.delete(KURYRPORTS, world.key("deleted"))
    with world.controller() as running:
        running.wait_ready()
        for name in ("gone", "deleted"):
            world.wait_gone(name)
        assert world.ports() == []


def test_a_pod_replaced_while_there_was_no_controller(world: World) -> None:
    with world.controller() as running:
        running.wait_ready()
        world.create_pod("a")
        first = world.wait_filled("a").decoded_vifs()["eth0"]
    world.delete_pod("a")
    pod = world.create_pod("a")
    with world.controller() as running:
        running.wait_ready()
        second = world.wait_filled("a", uid=pod.metadata.uid).decoded_vifs()["eth0"]
        assert second.id != first.id
        (left,) = world.wait_ports(1)
        assert left["id"] == second.id


@pytest.mark.parametrize("extended", [False, True])
def test_what_the_original_wrote_stays_as_it_is(world: World, extended: bool) -> None:
    """A filled KuryrPort of the original: no field of ours, its port not marked; it is released all the same."""
    pod = world.create_pod("a")
    made = world.cloud.make(
        "ports",
        **port_attributes(world, "", device_id=""),
    )
    with world.controller() as running:
        running.wait_ready()
        model = world.wait_filled("a").status.vifs["eth0"].vif
    # Back to what there was before: the same KuryrPort, but as the original wrote it.
    (ours,) = world.ports()
    world.cloud.remove("ports", ours["id"])
    world.client.merge_patch(KURYRPORTS, world.key("a"), {"metadata": {"finalizers": None}})
    world.client.delete(KURYRPORTS, world.key("a"))
    stored = json.loads(json.dumps(model).replace(ours["id"], made["id"]))
    entry: dict[str, Any] = {"default": True, "vif": stored}
    if extended:
        entry |= {"projectId": world.cloud.project_id, "securityGroups": [world.cloud.security_group_id]}
    body = {
        "metadata": {
            "name": "a",
            "labels": {"kuryr.openstack.org/nodeName": NODE},
            "finalizers": [FINALIZER],
        },
        "spec": {"podUid": pod.metadata.uid, "podNodeName": NODE, "podStatic": False},
    }
    world.client.create(KURYRPORTS, world.namespace, body)
    world.client.merge_patch(
        KURYRPORTS, world.key("a"), {"status": {"vifs": {"eth0": entry}}}, subresource="status"
    )
    before = versions(world.client)
    world.cloud.journal.clear()
    with world.controller(AUDITED) as running:
        running.wait_ready()
        world.create_pod("b")
        world.wait_filled("b")
        wait_until(lambda: world.count("list ports") >= 4, "audits were made")
        assert versions(world.client)[f"{world.namespace}/a"] == before[f"{world.namespace}/a"]
        assert made["id"] in {port["id"] for port in world.cloud.ports}
        assert world.count("create port") == 1
        world.delete_pod("a")
        world.wait_gone("a")
        assert made["id"] not in {port["id"] for port in world.cloud.ports}


def port_attributes(
    world: World, description: str, *, device_id: str = "x", **changes: Any
) -> dict[str, Any]:
    subnets = world.cloud.subnets["pods"]
    network = next(n for n in world.cloud.items("networks") if n["name"] == "pods")
    return {
        "network_id": network["id"],
        "fixed_ips": [{"subnet_id": subnets[version]} for version in (4, 6)],
        "security_groups": [world.cloud.security_group_id],
        "device_owner": "compute:kuryr",
        "device_id": device_id,
        "description": description,
        "binding:host_id": NODE,
    } | changes


def orphan(world: World, uid: str, *, families: tuple[int, ...] = (4, 6), host: str = NODE) -> dict[str, Any]:
    """A port of this cluster, as an earlier controller made it."""
    subnets = world.cloud.subnets["pods"]
    return world.cloud.make(
        "ports",
        **port_attributes(
            world,
            f"kuryr:{world.cluster}:pod:{uid}:eth0",
            device_id=uid,
            fixed_ips=[{"subnet_id": subnets[version]} for version in families],
            **{"binding:host_id": host},
        ),
    )
