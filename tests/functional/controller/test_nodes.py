# SPDX-License-Identifier: Apache-2.0
"""The nodes' own ports."""

from collections.abc import Iterator

import pytest

from kuryr.handlers.node import kuryrport_key
from kuryr.objects.kuryrport import KuryrPort
from kuryr.objects.meta import Key
from kuryr.objects.resources import KURYRPORTS, NODES
from tests.functional.controller.harness import Running, World
from tests.functional.kubernetes import wait_until

SYSTEM = "kube-system"
ENABLED = {"node_port": {"enabled": "true"}}


@pytest.fixture
def running(world: World) -> Iterator[Running]:
    with world.controller(ENABLED) as running:
        yield running.wait_ready()


def name_of(node: str) -> str:
    return kuryrport_key(SYSTEM, node).name


def wait_node(world: World, node: str, uid: str = "") -> KuryrPort:
    return world.wait_filled(name_of(node), namespace=SYSTEM, uid=uid)


def test_every_node_has_a_port_and_routes(world: World, running: Running) -> None:
    for node in ("one", "two"):
        world.create_node(node)
    for node in ("one", "two"):
        port = wait_node(world, node)
        vif = port.decoded_vifs()["kuryr-node"]
        assert len(vif.addresses) == 2
        made = next(each for each in world.ports() if each["id"] == vif.id)
        assert made["binding:host_id"] == node
        assert made["device_owner"] == "compute:kuryr-node"
        assert made["security_groups"] == [world.cloud.security_group_id]
        # To the Services' subnets, by the pods' gateways; pods of its own subnets are on link.
        assert [(route.destination, route.next_hop) for route in port.status.routes] == [
            ("10.96.0.0/15", "10.10.0.1"),
            ("fd00:10:96::/111", "fd00:10:10::1"),
        ]
    assert len(world.ports()) == 2


def test_its_own_security_groups(world: World) -> None:
    group = world.cloud.make("security_groups", name="nodes")["id"]
    with world.controller({"node_port": {"enabled": "true", "security_groups": group}}) as running:
        running.wait_holding()
        world.create_node("one")
        wait_node(world, "one")
        (made,) = world.ports()
        assert made["security_groups"] == [group]


def test_a_node_that_goes_takes_its_port_along(world: World, running: Running) -> None:
    world.create_node("one")
    wait_node(world, "one")
    world.client.delete(NODES, Key("", "one"))
    world.wait_gone(name_of("one"), namespace=SYSTEM)
    assert world.ports() == []


def test_a_node_that_comes_back_as_another_gets_another_port(world: World, running: Running) -> None:
    world.create_node("one")
    first = wait_node(world, "one")
    world.client.delete(NODES, Key("", "one"))
    world.create_node("one")
    uid = world.client.get(NODES, Key("", "one")).metadata.uid
    second = wait_node(world, "one", uid)
    assert second.metadata.uid != first.metadata.uid
    (made,) = world.wait_ports(1)
    assert made["device_id"] == uid


def test_switched_off_it_is_removed(world: World) -> None:
    with world.controller(ENABLED) as running:
        running.wait_holding()
        world.create_node("one")
        wait_node(world, "one")
    with world.controller({"node_port": {"enabled": "false"}}) as running:
        running.wait_holding()
        world.wait_gone(name_of("one"), namespace=SYSTEM)
        world.wait_ports(0)


def test_a_node_without_pod_subnets_is_told(world: World) -> None:
    with world.controller({**ENABLED, "neutron_defaults": {"pod_subnet": ""}}) as running:
        running.wait_holding()
        world.create_node("one")
        wait_until(
            lambda: any("pod_subnet" in event.message for event in world.events("one", "default")),
            "the node has an Event that names the option",
        )


def test_a_pod_with_the_name_of_a_node_s_port(world: World) -> None:
    """Neither gets the other's KuryrPort."""
    world.namespace = SYSTEM
    with world.controller(ENABLED) as running:
        running.wait_holding()
        pod = world.create_pod(name_of("one"))
        world.wait_filled(name_of("one"), uid=pod.metadata.uid)
        world.create_node("one")
        wait_until(
            lambda: any("rename the pod" in event.message for event in world.events("one", "default")),
            "the node has an Event",
        )
        kept = world.client.get(KURYRPORTS, Key(SYSTEM, name_of("one")))
        assert kept.spec.pod_uid == pod.metadata.uid
        assert not kept.deleting
        world.delete_pod(name_of("one"))
        wait_node(world, "one", world.client.get(NODES, Key("", "one")).metadata.uid)
