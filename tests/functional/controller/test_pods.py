# SPDX-License-Identifier: Apache-2.0
"""A pod's life: what it gets, how many calls that takes, and what is left when it is gone."""

from collections.abc import Iterator

import pytest

from kuryr.objects.core import Pod
from kuryr.objects.kuryrport import FINALIZER
from kuryr.objects.meta import Key
from kuryr.objects.resources import KURYRPORTS, NODES, PODS
from tests.functional.controller.harness import NODE, Running, World
from tests.functional.kubernetes import wait_until


@pytest.fixture
def running(world: World) -> Iterator[Running]:
    with world.controller() as running:
        yield running.wait_ready()


def test_one_port_with_an_address_of_each_family(world: World, running: Running) -> None:
    pod = world.create_pod("a")
    port = world.wait_filled("a")
    (made,) = world.ports()
    vif = port.decoded_vifs()["eth0"]
    assert vif.id == made["id"]
    assert list(vif.addresses) == [ip["ip_address"] for ip in made["fixed_ips"]]
    assert [subnet.version for subnet in vif.network.subnets] == [4, 6]
    assert made["device_id"] == pod.metadata.uid
    assert made["description"] == f"kuryr:{world.cluster}:pod:{pod.metadata.uid}:eth0"
    assert made["binding:host_id"] == NODE
    assert made["security_groups"] == [world.cloud.security_group_id]
    assert port.spec.pod_uid == pod.metadata.uid
    assert port.spec.pod_node_name == NODE
    assert not port.spec.pod_static
    assert FINALIZER in port.metadata.finalizers
    assert port.metadata.owner_references[0].uid == pod.metadata.uid
    condition = world.allocated("a")
    assert condition is not None
    assert condition.status == "True"
    assert vif.addresses[0] in condition.message


def test_the_pod_itself_is_never_written(world: World, running: Running) -> None:
    created = world.create_pod("a")
    world.wait_filled("a")
    pod = world.client.get(PODS, world.key("a"))
    assert pod.metadata.resource_version == created.metadata.resource_version
    assert pod.metadata.finalizers == []


def test_calls_per_pod(world: World, running: Running) -> None:
    world.create_pod("first")
    world.wait_filled("first")
    before_kubernetes = kubernetes_writes(running)
    world.cloud.journal.clear()
    for number in range(10):
        world.create_pod(f"a{number}")
    for number in range(10):
        world.wait_filled(f"a{number}")
    assert world.cloud.journal.counts == {"create port": 10}
    # The KuryrPort and its status; the third of the budget is the node's report.
    assert kubernetes_writes(running) - before_kubernetes <= 20

    world.cloud.journal.clear()
    before_kubernetes = kubernetes_writes(running)
    for number in range(10):
        world.delete_pod(f"a{number}")
    for number in range(10):
        world.wait_gone(f"a{number}")
    assert world.cloud.journal.counts == {"delete port": 10}
    # Its deletion (asked for once more where the pod changes before the store knows of it) and its finalizer.
    assert kubernetes_writes(running) - before_kubernetes <= 30
    assert [port["device_id"] for port in world.ports()] == [world.kuryrport("first").spec.pod_uid]


def kubernetes_writes(running: Running) -> float:
    """Writes but the Lease's."""
    return sum(
        sample.value
        for family in running.controller.metrics.kubernetes_calls.collect()
        for sample in family.samples
        if sample.name.endswith("_count")
        and sample.labels["operation"].split()[0] in ("create", "patch", "apply", "replace", "delete")
        and not sample.labels["operation"].endswith(("leases", "selfsubjectaccessreviews"))
    )


def test_pods_of_the_host_s_network_and_unscheduled_ones_get_nothing(world: World, running: Running) -> None:
    world.create_pod("host", spec={"hostNetwork": True})
    world.create_pod("unscheduled", spec={"nodeName": None})
    world.create_pod("a")
    world.wait_filled("a")
    assert world.kuryrport("host") is None
    assert world.kuryrport("unscheduled") is None
    assert len(world.ports()) == 1


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_completed_pod_gives_its_port_back(world: World, running: Running, phase: str) -> None:
    world.create_pod("a")
    world.wait_filled("a")
    world.set_phase("a", phase)
    world.wait_gone("a")
    assert world.ports() == []
    # And it stays so, whatever happens to the pod.
    world.client.merge_patch(PODS, world.key("a"), {"metadata": {"labels": {"changed": "yes"}}})
    world.create_pod("b")
    world.wait_filled("b")
    assert world.kuryrport("a") is None


def test_a_terminating_pod_keeps_its_port_until_it_is_gone(world: World, running: Running) -> None:
    world.create_pod("a")
    port = world.wait_filled("a")
    world.delete_pod("a", terminating=True)
    world.create_pod("b")
    world.wait_filled("b")
    kept = world.kuryrport("a")
    assert kept is not None
    assert not kept.deleting
    world.delete_pod("a")
    world.wait_gone("a")
    assert port.decoded_vifs()["eth0"].id not in {each["id"] for each in world.ports()}


def test_a_terminating_pod_that_has_no_port_gets_none(world: World) -> None:
    world.create_pod("a")
    world.delete_pod("a", terminating=True)
    with world.controller() as running:
        running.wait_holding()
        world.create_pod("b")
        world.wait_filled("b")
        assert world.kuryrport("a") is None


def test_a_static_pod_is_marked(world: World, running: Running) -> None:
    mirror = {"annotations": {"kubernetes.io/config.mirror": "0123456789abcdef"}}
    world.create_pod("static", metadata=mirror)
    assert world.wait_filled("static").spec.pod_static


def test_deletion_of_a_pod_never_waits(world: World, running: Running) -> None:
    """Neutron does not answer, and the pod is gone all the same; its port follows."""
    world.create_pod("a")
    world.wait_filled("a")
    world.cloud.knobs.pause()
    world.delete_pod("a")
    assert [pod.metadata.name for pod in world.client.list(PODS, namespace=world.namespace).items] == []
    world.cloud.knobs.resume()
    world.wait_ports(0)


def test_a_pod_of_the_same_name_gets_a_port_of_its_own(world: World, running: Running) -> None:
    old = world.create_pod("a")
    first = world.wait_filled("a").decoded_vifs()["eth0"]
    world.delete_pod("a")
    new = world.create_pod("a")
    second = world.wait_filled("a", uid=new.metadata.uid).decoded_vifs()["eth0"]
    assert second.id != first.id
    world.wait_ports(0, old.metadata.uid)
    assert [port["id"] for port in world.ports()] == [second.id]


def test_a_pod_of_the_same_name_does_not_wait_for_a_slow_release(world: World, running: Running) -> None:
    world.create_pod("a")
    first = world.wait_filled("a").decoded_vifs()["eth0"]
    with world.gate("delete port") as gate:
        world.delete_pod("a")
        wait_until(lambda: gate.arrived > 0, "the release is under way")
        new = world.create_pod("a")
        second = world.wait_filled("a", uid=new.metadata.uid).decoded_vifs()["eth0"]
        assert second.id != first.id
        assert world.count("delete port") == 0, "the release is still under way"
    world.wait_ports(1)


def test_a_pod_of_the_same_name_does_not_wait_for_a_failing_release(world: World) -> None:
    """The port that could not be released is the audit's."""
    with world.controller({"kubernetes": {"audit_period": 1, "audit_grace": 1}}) as running:
        running.wait_holding()
        world.create_pod("a")
        world.wait_filled("a")
        world.cloud.knobs.fail("delete port", -1, status=503)
        world.delete_pod("a")
        wait_until(lambda: world.count("delete port") > 0, "the deletion was tried")
        new = world.create_pod("a")
        world.wait_filled("a", uid=new.metadata.uid)
        world.cloud.knobs.heal()
        (left,) = world.wait_ports(1)
        assert left["device_id"] == new.metadata.uid


def test_a_release_that_fails_is_tried_again(world: World, running: Running) -> None:
    world.create_pod("a")
    world.wait_filled("a")
    world.cloud.knobs.fail("delete port", 3, status=500)
    world.delete_pod("a")
    world.wait_gone("a")
    assert world.ports() == []


def test_a_port_that_is_gone_already_is_released(world: World, running: Running) -> None:
    world.create_pod("a")
    port = world.wait_filled("a")
    world.cloud.remove("ports", port.decoded_vifs()["eth0"].id)
    world.delete_pod("a")
    world.wait_gone("a")


def test_a_pod_deleted_while_its_port_is_made(world: World, running: Running) -> None:
    # The subnets are known, so that the next call is the creation.
    world.create_pod("warm")
    world.wait_filled("warm")
    with world.gate("create port") as gate:
        pod = world.create_pod("a")
        wait_until(lambda: gate.arrived > 0, "the creation is under way")
        world.delete_pod("a")
        world.wait_gone("a")
    wait_until(lambda: world.count("delete port") == 1, "what was made is deleted")
    world.wait_ports(0, pod.metadata.uid)


def test_the_same_name_deleted_and_made_again_and_again(world: World, running: Running) -> None:
    world.cloud.knobs.latency("create port", 0.05)
    last: Pod | None = None
    for _ in range(10):
        last = world.create_pod("a")
        world.delete_pod("a")
    last = world.create_pod("a")
    port = world.wait_filled("a", uid=last.metadata.uid)
    (left,) = world.wait_ports(1)
    assert left["id"] == port.decoded_vifs()["eth0"].id


def test_a_kuryrport_that_somebody_deletes_comes_back(world: World, running: Running) -> None:
    pod = world.create_pod("a")
    first = world.wait_filled("a")
    world.client.delete(KURYRPORTS, world.key("a"))
    world.wait_gone("a", uid=first.metadata.uid)
    second = world.wait_filled("a", uid=pod.metadata.uid)
    (left,) = world.wait_ports(1)
    assert left["id"] == second.decoded_vifs()["eth0"].id


def test_pods_of_a_node_that_vanishes_leave_no_port(world: World, running: Running) -> None:
    world.create_node(NODE)
    for number in range(3):
        world.create_pod(f"a{number}")
    for number in range(3):
        world.wait_filled(f"a{number}")
    world.client.delete(NODES, Key("", NODE))
    # As the pod garbage collector does.
    for number in range(3):
        world.delete_pod(f"a{number}")
    world.wait_ports(0)
    for number in range(3):
        world.wait_gone(f"a{number}")


def test_security_groups_that_change_are_set(world: World) -> None:
    other = world.cloud.make("security_groups", name="other")["id"]
    with world.controller({"kubernetes": {"pod_security_groups_driver": "annotated"}}) as running:
        running.wait_holding()
        world.create_pod("a")
        first = world.wait_filled("a")
        annotation = {"kuryr.testing/security-groups": other}
        world.client.merge_patch(PODS, world.key("a"), {"metadata": {"annotations": annotation}})
        wait_until(
            lambda: world.kuryrport("a").status.vifs["eth0"].security_groups == [other],
            "the KuryrPort has the other group",
        )
        (port,) = world.ports()
        assert port["security_groups"] == [other]
        assert port["id"] == first.decoded_vifs()["eth0"].id
        assert world.count("update port") == 1


def test_a_pod_deleted_as_soon_as_it_has_its_port(world: World, running: Running) -> None:
    """Its port is deleted once, though the creation may still be remembered."""
    for number in range(10):
        world.create_pod(f"a{number}")
        world.wait_filled(f"a{number}")
        world.delete_pod(f"a{number}")
        world.wait_gone(f"a{number}")
    assert world.ports() == []
    assert world.count("delete port") == 10
