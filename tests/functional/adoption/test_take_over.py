# SPDX-License-Identifier: Apache-2.0
"""A cluster of the original's under our controller: nothing is written before it is decided, and then what was said."""

from datetime import UTC, datetime
from typing import Any

from kuryr.handlers import decision
from kuryr.k8s.client import Client
from kuryr.objects.kuryrport import FINALIZER
from kuryr.objects.meta import Key
from kuryr.objects.original import POD_FINALIZER, unadopted_interfaces
from kuryr.objects.resources import KURYRPORTS, PODS
from kuryr.testing.fake_cloud import FakeCloud
from kuryr.testing.fake_cloud.journal import WRITES, Call
from tests.functional.adoption.recording import (
    KINDS,
    NAMESPACE,
    OPEN_GROUP,
    OPTIONS,
    POLICY_GROUP,
    Recording,
    pods,
    versions,
)
from tests.functional.controller.harness import Running, World
from tests.functional.kubernetes import wait_until

AUDITING = {"kubernetes": {"audit_period": 1, "audit_grace": 1}}
HANDLED = ("KuryrPort", "Pod")


def controller(world: World, **groups: dict[str, Any]) -> Running:
    """A controller that was configured as the original was."""
    return world.controller({**OPTIONS, **AUDITING, **groups})


def settle(world: World, running: Running) -> None:
    """Wait until every key was looked at and several audits were made."""
    running.wait_holding()
    known = len(world.client.list(KURYRPORTS).items)
    for handler in ("vif", "kuryrport", "adoption"):
        wait_until(
            lambda handler=handler: running.reconciles(handler) >= known, f"{handler} saw all KuryrPorts"
        )
    seen = world.count("list ports")
    wait_until(lambda: world.count("list ports") >= seen + 3, "three audits are made")


def others(client: Client) -> dict[tuple[str, str], str]:
    """Versions of what no handler of ours is for."""
    return {key: version for key, version in versions(client).items() if key[0] not in HANDLED}


def ids(cloud: FakeCloud) -> set[str]:
    return {port["id"] for port in cloud.ports}


def writes(cloud: FakeCloud) -> list[Call]:
    """Calls that changed something: not tokens, and not the request by which rights are found out, which is refused."""
    return [
        call
        for call in cloud.journal.calls()
        if call.method in WRITES and call.operation != "authenticate" and call.status < 400
    ]


def test_nothing_is_written_before_it_is_decided(world: World, recorded: Recording) -> None:
    world.create_node("spike1")
    before, ports = versions(world.client), world.cloud.ports
    for _ in range(2):
        with controller(world, node_port={"enabled": "true"}) as running:
            settle(world, running)
    assert versions(world.client) == before
    assert [port.metadata.namespace for port in world.client.list(KURYRPORTS).items] == [NAMESPACE] * 12
    assert world.cloud.ports == ports
    assert not writes(world.cloud)
    assert not world.events("web")


def test_deleted_pods_give_back_exactly_their_ports(world: World, recorded: Recording) -> None:
    untouched = others(world.client)
    left = ids(world.cloud)
    with controller(world) as running:
        settle(world, running)
        for name in ("db-0", "two-nics"):
            world.delete_pod(name)
            wait_until(lambda name=name: name not in pods(world.client), f"pod {name} is gone")
            world.wait_gone(name)
            left -= recorded.port_ids(name)
            assert ids(world.cloud) == left
        settle(world, running)
    assert len(recorded.port_ids("two-nics")) == 2
    assert ids(world.cloud) == left
    assert len(writes(world.cloud)) == 3
    assert others(world.client) == untouched


def test_a_terminating_pod_keeps_its_network(world: World, recorded: Recording) -> None:
    with controller(world) as running:
        settle(world, running)
        seen = running.reconciles("vif")
        world.delete_pod("db-0", terminating=True)
        wait_until(lambda: running.reconciles("vif") > seen, "the deletion is seen")
        settle(world, running)
        port = world.kuryrport("db-0")
        assert port is not None
        assert not port.deleting
        assert POD_FINALIZER in pods(world.client)["db-0"].metadata.finalizers
        assert not writes(world.cloud)
        world.delete_pod("db-0")
        wait_until(lambda: "db-0" not in pods(world.client), "the pod is gone")
    assert not recorded.port_ids("db-0") & ids(world.cloud)


def test_a_completed_pod_is_let_go(world: World, recorded: Recording) -> None:
    with controller(world) as running:
        settle(world, running)
        world.set_phase("db-0", "Succeeded")
        world.wait_gone("db-0")
        wait_until(lambda: not pods(world.client)["db-0"].metadata.finalizers, "the finalizer is off")
    assert not recorded.port_ids("db-0") & ids(world.cloud)
    assert len(writes(world.cloud)) == 1


def test_a_pod_whose_kuryrport_the_original_was_releasing(world: World, recorded: Recording) -> None:
    world.delete_pod("db-0")
    world.client.delete(KURYRPORTS, world.key("db-0"))
    with controller(world):
        wait_until(lambda: "db-0" not in pods(world.client), "the pod is gone")
        world.wait_gone("db-0")
    assert not recorded.port_ids("db-0") & ids(world.cloud)


def test_adoption_writes_what_it_says_once(world: World, recorded: Recording) -> None:
    world.create_node("spike1")
    untouched = others(world.client)
    before = {port["id"]: port for port in world.cloud.ports}
    running_pods = {name for name, pod in pods(world.client).items() if not pod.completed}
    with controller(world, node_port={"enabled": "true"}) as running:
        settle(world, running)
        decision.decide(world.client, "kube-system", datetime.now(UTC))
        wait_until(
            lambda: not any(pod.metadata.finalizers for pod in pods(world.client).values()),
            "the finalizers are off",
        )
        world.wait_filled("kuryr-node.spike1", namespace="kube-system")
        settle(world, running)
    for name in running_pods:
        port = world.client.get(KURYRPORTS, Key(NAMESPACE, name))
        assert not unadopted_interfaces(port)
        assert FINALIZER in port.metadata.finalizers
        for ifname, entry in port.status.vifs.items():
            vif = port.decoded_vifs()[ifname]
            known = before[vif.id]
            (now,) = (port for port in world.cloud.ports if port["id"] == vif.id)
            assert now["description"] == f"kuryr:{world.cluster}:pod:{recorded.uid(name)}:{ifname}"
            changing = {"description": now["description"]}
            stamps = {field: now[field] for field in ("revision_number", "updated_at")}
            assert now == {**known, **changing, **stamps}
            assert entry.project_id == world.cloud.project_id
            assert entry.subnet_ids == [ip["subnet_id"] for ip in known["fixed_ips"]]
            # The groups of a policy that nobody of ours enforces yet are nobody's to take away.
            assert known["security_groups"] in ([OPEN_GROUP], [POLICY_GROUP])
            assert entry.security_groups == (
                [OPEN_GROUP] if known["security_groups"] == [OPEN_GROUP] else None
            )
    vifs = sum(len(port.status.vifs) for port in world.client.list(KURYRPORTS, namespace=NAMESPACE).items)
    assert vifs == 13
    assert world.cloud.journal.counts["update port"] == vifs
    assert len(writes(world.cloud)) == vifs + 1  # the node's port
    assert others(world.client) == untouched

    world.cloud.journal.clear()
    settled = versions(world.client)
    with controller(world, node_port={"enabled": "true"}) as running:
        settle(world, running)
    assert versions(world.client) == settled
    assert not writes(world.cloud)


def test_an_interrupted_adoption_is_completed(world: World, recorded: Recording) -> None:
    decision.decide(world.client, "kube-system", datetime.now(UTC))
    with world.gate("update port") as gate, controller(world) as running:
        wait_until(lambda: gate.arrived > 0, "ports are being written")
        running.controller.stop()
        gate.open()
    with controller(world):
        wait_until(
            lambda: (
                not any(pod.metadata.finalizers for pod in pods(world.client).values())
                and not any(unadopted_interfaces(port) for port in world.client.list(KURYRPORTS).items)
            ),
            "all is adopted",
        )
    assert len(world.ports()) == 13


def test_the_audit_knows_adopted_ports(world: World, recorded: Recording) -> None:
    decision.decide(world.client, "kube-system", datetime.now(UTC))
    with controller(world):
        wait_until(
            lambda: not any(pod.metadata.finalizers for pod in pods(world.client).values()), "all is adopted"
        )
    # While nobody looks a pod goes, and with it by force its KuryrPort.
    world.delete_pod("db-0")
    world.client.merge_patch(KURYRPORTS, world.key("db-0"), {"metadata": {"finalizers": None}})
    world.client.delete(KURYRPORTS, world.key("db-0"))
    with controller(world):
        wait_until(lambda: not recorded.port_ids("db-0") & ids(world.cloud), "the audit removes its port")
    assert len(world.ports()) == 12


def test_a_port_that_is_gone_is_told_and_holds_nobody_up(world: World, recorded: Recording) -> None:
    (port_id,) = recorded.port_ids("db-0")
    world.cloud.remove("ports", port_id)
    decision.decide(world.client, "kube-system", datetime.now(UTC))
    with controller(world):
        wait_until(
            lambda: {name for name, pod in pods(world.client).items() if pod.metadata.finalizers} == {"db-0"},
            "all others are adopted",
        )
        wait_until(
            lambda: "PortMissing" in {event.reason for event in world.events("db-0")}, "an Event tells of it"
        )
        world.delete_pod("db-0")
        wait_until(lambda: "db-0" not in pods(world.client), "the pod goes all the same")


def test_new_pods_beside_the_original_s(world: World, recorded: Recording) -> None:
    before = others(world.client)
    with controller(world):
        pod = world.create_pod("new")
        port = world.wait_filled("new")
        assert port.spec.pod_uid == pod.metadata.uid
        assert len(world.ports()) == 1
        assert world.client.get(PODS, world.key("new")).metadata.finalizers == []
    assert others(world.client) == before
    assert set(KINDS) > {"KuryrNetwork", "KuryrNetworkPolicy", "KuryrLoadBalancer"}


NAMESPACE_SUBNET = {**OPTIONS["neutron_defaults"], "pod_subnet": "271dfb83-1800-4c05-949b-94d8c4cbbf0f"}


def test_a_port_that_the_original_did_not_write_down_is_taken(world: World, recorded: Recording) -> None:
    world.client.merge_patch(KURYRPORTS, world.key("db-0"), {"status": {"vifs": None}}, subresource="status")
    (port_id,) = recorded.port_ids("db-0")
    with controller(world, neutron_defaults=NAMESPACE_SUBNET) as running:
        port = world.wait_filled("db-0")
        assert port.decoded_vifs()["eth0"].id == port_id
        # It has the owner's mark before long, as all ports of KuryrPorts that we filled.
        wait_until(lambda: [port["id"] for port in world.ports()] == [port_id], "an audit marks it")
        settle(world, running)
    assert [call.operation for call in writes(world.cloud)] == ["update port"]


def test_a_port_that_does_not_fit_goes_with_its_pod(world: World, recorded: Recording) -> None:
    world.client.merge_patch(KURYRPORTS, world.key("db-0"), {"status": {"vifs": None}}, subresource="status")
    with controller(world):
        world.wait_filled("db-0")
        assert len(world.ports()) == 1
        world.delete_pod("db-0")
        wait_until(
            lambda: not recorded.port_ids("db-0") & ids(world.cloud) and not world.ports(),
            "both ports are gone",
        )
    assert len(ids(world.cloud)) == 18
