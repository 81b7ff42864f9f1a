# SPDX-License-Identifier: Apache-2.0
"""What goes wrong in OpenStack is said on the pod, and heals by itself; nothing leaks, nothing is made twice."""

import uuid
from collections.abc import Callable, Iterator

import pytest

from kuryr.objects.resources import KURYRPORTS, PODS
from tests.functional.controller.harness import Running, World
from tests.functional.kubernetes import wait_until


@pytest.fixture
def running(world: World) -> Iterator[Running]:
    with world.controller({"neutron": {"timeout": 2}}) as running:
        yield running.wait_ready()


def neutron_error(type_: str, message: str) -> dict[str, dict[str, str]]:
    return {"NeutronError": {"type": type_, "message": message, "detail": ""}}


def healed(world: World, name: str = "a") -> None:
    """The pod has its one port, and its KuryrPort says so."""
    port = world.wait_filled(name)
    wait_until(lambda: world.allocated(name).status == "True", "the condition is True again")
    (made,) = world.wait_ports(1)
    assert made["id"] == port.decoded_vifs()["eth0"].id


def test_subnet_full(world: World) -> None:
    network = world.cloud.make("networks", name="small")
    subnet = world.cloud.make("subnets", network_id=network["id"], cidr="10.99.0.0/30", ip_version=4)["id"]
    with world.controller({"neutron_defaults": {"pod_subnet": subnet}}) as running:
        running.wait_holding()
        world.create_pod("first")
        world.wait_filled("first")
        world.create_pod("a")
        condition = world.wait_failed("a", "SubnetFull")
        assert "No more IP addresses" in condition.message
        world.delete_pod("first")
        healed(world)


def test_quota(world: World, running: Running) -> None:
    world.cloud.set_quota(world.cloud.project_id, port=len(world.cloud.ports))
    world.create_pod("a")
    assert "Quota exceeded" in world.wait_failed("a", "QuotaExceeded").message
    world.cloud.set_quota(world.cloud.project_id, port=-1)
    healed(world)


def test_security_group_missing(world: World) -> None:
    missing = str(uuid.uuid4())
    with world.controller({"kubernetes": {"pod_security_groups_driver": "annotated"}}) as running:
        running.wait_holding()
        world.create_pod("a", metadata={"annotations": {"kuryr.testing/security-groups": missing}})
        assert missing in world.wait_failed("a", "SecurityGroupNotFound").message
        annotations = {"kuryr.testing/security-groups": world.cloud.security_group_id}
        world.client.merge_patch(PODS, world.key("a"), {"metadata": {"annotations": annotations}})
        healed(world)


def test_subnet_missing(world: World) -> None:
    missing = str(uuid.uuid4())
    with world.controller({"kubernetes": {"pod_subnets_driver": "annotated"}}) as running:
        running.wait_holding()
        world.create_pod("a", metadata={"annotations": {"kuryr.testing/subnets": missing}})
        assert missing in world.wait_failed("a", "SubnetNotFound").message
        annotations = {"kuryr.testing/subnets": world.cloud.subnets["pods"][4]}
        world.client.merge_patch(PODS, world.key("a"), {"metadata": {"annotations": annotations}})
        healed(world)


def test_credentials_wrong(world: World, running: Running) -> None:
    world.create_pod("first")
    world.wait_filled("first")
    world.delete_pod("first")
    world.wait_gone("first")
    refusal = {"error": {"code": 401, "title": "Unauthorized", "message": "Requires authentication."}}
    world.cloud.knobs.fail("create port", -1, status=401, body=refusal)
    world.cloud.knobs.fail("authenticate", -1, status=401, body=refusal)
    world.create_pod("a")
    condition = world.wait_failed("a", "CloudUnauthorized")
    assert "[neutron]" in condition.message
    assert "secret" not in condition.message
    world.cloud.knobs.heal()
    healed(world)


def test_rights_missing(world: World, running: Running) -> None:
    body = neutron_error("PolicyNotAuthorized", "rule:create_port:binding:host_id is disallowed by policy")
    world.cloud.knobs.fail("create port", -1, status=403, body=body)
    world.create_pod("a")
    assert "binding:host_id" in world.wait_failed("a", "CloudForbidden").message
    world.cloud.knobs.heal()
    healed(world)


def test_a_user_that_does_not_see_bindings(world: World) -> None:
    """With Neutron's own policy a mere member can make ports but not bind them."""
    with world.controller({"neutron": {"username": "member"}}) as running:
        running.wait_holding()
        world.create_pod("a")
        assert (
            "role" in world.wait_failed("a", "CloudForbidden").message
            or "host_id" in world.allocated("a").message
        )


@pytest.mark.parametrize(
    "break_it",
    [
        pytest.param(lambda w: w.cloud.knobs.fail("create port", -1, status=503), id="503"),
        pytest.param(
            lambda w: w.cloud.knobs.fail("create port", -1, status=503, headers={"Retry-After": "1"}),
            id="503-retry-after",
        ),
        pytest.param(lambda w: w.cloud.knobs.fail("create port", -1, status=500), id="500"),
        pytest.param(lambda w: w.cloud.knobs.fail("create port", -1, kind="drop_before"), id="down"),
    ],
)
def test_neutron_down(world: World, running: Running, break_it: Callable[[World], None]) -> None:
    break_it(world)
    world.create_pod("a")
    wait_until(
        lambda: (
            (condition := world.allocated("a")) is not None
            and condition.status == "False"
            and condition.reason in ("CloudUnavailable", "CloudThrottled")
        ),
        "the KuryrPort says that Neutron does not answer",
    )
    wait_until(lambda: bool(world.events("a")), "the pod has an Event")
    world.cloud.knobs.heal()
    healed(world)


@pytest.mark.parametrize("times", [1, 3])
def test_an_answer_that_is_lost_makes_no_second_port(world: World, running: Running, times: int) -> None:
    world.cloud.knobs.fail("create port", times, kind="drop_after")
    world.create_pod("a")
    healed(world)
    assert world.count("create port") == 1, "the port was found again"


def test_a_creation_slower_than_our_patience(world: World) -> None:
    """The call times out, Neutron carries it out all the same, later: the audit finds what is too many."""
    options = {"neutron": {"timeout": 1}, "kubernetes": {"audit_period": 1, "audit_grace": 1}}
    with world.controller(options) as running:
        running.wait_holding()
        world.create_pod("warm")
        world.wait_filled("warm")
        world.delete_pod("warm")
        world.wait_ports(0)
        with world.gate("create port") as gate:
            world.create_pod("a")
            world.wait_failed("a", "CloudUnavailable")
            wait_until(lambda: gate.arrived >= 2, "it was tried again")
        port = world.wait_filled("a")
        (left,) = world.wait_ports(1)
        assert left["id"] == port.decoded_vifs()["eth0"].id


def test_a_deletion_whose_answer_is_lost(world: World, running: Running) -> None:
    world.create_pod("a")
    world.wait_filled("a")
    world.cloud.knobs.fail("delete port", 2, kind="drop_after")
    world.delete_pod("a")
    world.wait_gone("a")
    assert world.ports() == []


def test_a_port_that_cannot_be_bound(world: World, running: Running) -> None:
    """Each try makes a port, whose id is in the message: it must not go in a hot loop, and nothing is left."""
    world.cloud.neutron.state.hosts = {"another"}
    world.create_pod("a")
    condition = world.wait_failed("a", "PortNotBound")
    assert "node-1" in condition.message
    wait_until(lambda: world.count("create port") >= 4, "it is tried again")
    failures = running.metric("kuryr_reconcile_seconds_count", handler="kuryrport", result="PortNotBound")
    # A port is made by each failing reconcile, and none but a retry (after a back-off) brings the next.
    assert world.count("create port") <= failures + 1
    waiting = running.metric("kuryr_reconcile_seconds_count", handler="kuryrport", result="waiting")
    assert running.metric("kuryr_reconcile_seconds_count", handler="kuryrport", result="ok") <= 2, waiting
    world.cloud.neutron.state.hosts = None
    healed(world)


def test_one_bad_pod_hurts_no_other(world: World) -> None:
    with world.controller({"kubernetes": {"multi_vif_drivers": "annotated"}}) as running:
        running.wait_holding()
        world.create_pod("bad", metadata={"annotations": {"kuryr.testing/vifs": "invalid"}})
        world.wait_failed("bad", "Invalid")
        before = running.metric("kuryr_reconcile_seconds_count", handler="kuryrport", result="Invalid")
        world.create_pod("a")
        world.wait_filled("a")
        # A terminal error is not tried again until the pod changes.
        after = running.metric("kuryr_reconcile_seconds_count", handler="kuryrport", result="Invalid")
        assert after <= before + 1
        world.client.merge_patch(
            PODS, world.key("bad"), {"metadata": {"annotations": {"kuryr.testing/vifs": None}}}
        )
        world.wait_filled("bad")


def test_an_unknown_driver_of_a_pod_is_told(world: World) -> None:
    with world.controller({"kubernetes": {"multi_vif_drivers": "annotated"}}) as running:
        running.wait_holding()
        subnet = world.cloud.subnets["pods2"][4]
        world.create_pod("bad", metadata={"annotations": {"kuryr.testing/vifs": f"nonsense/{subnet}"}})
        condition = world.wait_failed("bad", "ConfigurationError")
        assert "neutron-vif" in condition.message, "the valid names are listed"


def test_events_do_not_multiply(world: World, running: Running) -> None:
    world.cloud.set_quota(world.cloud.project_id, port=len(world.cloud.ports))
    world.create_pod("a")
    world.wait_failed("a", "QuotaExceeded")
    wait_until(lambda: any(event.count > 2 for event in world.events("a")), "the Event is counted up")
    assert len([event for event in world.events("a") if event.reason == "QuotaExceeded"]) == 1
    assert {event.type for event in world.events("a")} == {"Warning"}


def test_a_kuryrport_that_cannot_be_read_is_released_by_the_audit(world: World) -> None:
    """Its VIF is of a class that nobody knows: the port is found by its owner's UID."""
    with world.controller({"kubernetes": {"audit_period": 1, "audit_grace": 1}}) as running:
        running.wait_holding()
        world.create_pod("a")
        world.wait_filled("a")
        broken = {"status": {"vifs": {"eth0": {"vif": {"versioned_object.name": "VIFOfTomorrow"}}}}}
        world.client.merge_patch(KURYRPORTS, world.key("a"), broken, subresource="status")
        world.delete_pod("a")
        world.wait_gone("a")
        world.wait_ports(0)
