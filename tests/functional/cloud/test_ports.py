# SPDX-License-Identifier: Apache-2.0
"""Ports, as calls to a Neutron."""

from __future__ import annotations

import pytest

from kuryr import errors
from kuryr.cloud import identity
from kuryr.cloud.ports import FixedIP, PortRequest, Ports
from kuryr.cloud.session import Cloud
from kuryr.testing.fake_cloud import FakeCloud
from tests.functional.kubernetes import wait_until

UNKNOWN = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def ports(cloud: Cloud) -> Ports:
    return Ports(cloud)


@pytest.fixture
def request_(fake: FakeCloud) -> PortRequest:
    """What a dual-stack pod's port is made of."""
    subnets = fake.subnets["pods"]
    return PortRequest(
        project_id=fake.project_id,
        network_id=network_of(fake, subnets[4]),
        fixed_ips=(FixedIP(subnets[4]), FixedIP(subnets[6])),
        security_groups=(fake.security_group_id,),
        device_id="pod-uid",
        device_owner=identity.POD,
        description=identity.description("cluster", "pod", "pod-uid", "eth0"),
        name="namespace/pod",
        host_id="node1",
        share="namespace",
    )


def network_of(fake: FakeCloud, subnet_id: str) -> str:
    return next(str(item["network_id"]) for item in fake.items("subnets") if item["id"] == subnet_id)


def small_subnet(fake: FakeCloud, cidr: str = "192.0.2.0/30") -> tuple[str, str]:
    """A network and a subnet with one free address."""
    network = fake.make("networks", name="small")
    return network["id"], fake.make("subnets", network_id=network["id"], cidr=cidr, ip_version=4)["id"]


def changed(request: PortRequest, **fields: object) -> PortRequest:
    values = {name: getattr(request, name) for name in request.__struct_fields__}
    return PortRequest(**{**values, **fields})  # type: ignore[arg-type]


def test_a_port_is_made_in_one_call(ports: Ports, fake: FakeCloud, request_: PortRequest) -> None:
    port = ports.create(request_).result()

    assert fake.journal.writes == 1
    assert fake.journal.counts == {"authenticate": 1, "get versions": 1, "create port": 1}
    (kept,) = fake.ports
    assert kept["device_id"] == "pod-uid"
    assert kept["description"] == "kuryr:cluster:pod:pod-uid:eth0"
    assert (port.id, port.mac_address, port.name) == (kept["id"], kept["mac_address"], "namespace/pod")
    assert [ip.ip_address for ip in port.fixed_ips] == ["10.10.0.2", "fd00:10:10::2"]
    assert (port.host_id, port.vif_type, port.status) == ("node1", "ovs", "DOWN")
    assert port.vif_details is not None
    assert port.vif_details["bridge_name"] == "br-int"


def test_what_is_not_asked_for_is_not_sent(ports: Ports, fake: FakeCloud) -> None:
    network_id = network_of(fake, fake.subnets["pods"][4])
    port = ports.create(PortRequest(network_id=network_id)).result()

    (call,) = fake.journal.calls("create port")
    assert call.body == {"port": {"network_id": network_id, "admin_state_up": True}}
    assert len(port.fixed_ips) == 2


def test_no_security_group_is_not_the_default_one(ports: Ports, request_: PortRequest) -> None:
    assert ports.create(changed(request_, security_groups=())).result().security_groups == ()
    assert len(ports.create(changed(request_, security_groups=None)).result().security_groups) == 1


def test_tags_are_part_of_the_creating_call_where_they_are_kept(
    ports: Ports, fake: FakeCloud, request_: PortRequest
) -> None:
    fake.neutron.state.tags_on_create = True
    tagged = changed(request_, tags=("cluster",))
    assert ports.create(tagged).result().tags == ("cluster",)
    ports.create_bulk([tagged, request_]).result()

    assert [port["tags"] for port in fake.ports] == [["cluster"], ["cluster"], []]
    assert fake.journal.writes == 2
    assert "get extensions" not in fake.journal.counts


def test_elsewhere_tags_are_a_call_of_their_own_that_nobody_waits_for(
    ports: Ports, fake: FakeCloud, request_: PortRequest, caplog: pytest.LogCaptureFixture
) -> None:
    tagged = changed(request_, tags=("cluster", "team"))
    lone = ports.create(tagged).result()
    wait_until(lambda: fake.ports[0]["tags"] == ["cluster", "team"], "the port has its tags")
    several = ports.create_bulk([tagged, changed(request_, tags=())]).result()
    wait_until(
        lambda: [port["tags"] for port in fake.ports[1:]] == [["cluster", "team"], []],
        "those of a bulk call too",
    )
    assert fake.journal.counts["update port tags"] == 2

    fake.knobs.fail("update port tags", 1, status=500)
    refused = ports.create(tagged).result()
    wait_until(lambda: f"Port {refused.id} stays without its tags" in caplog.text, "a failure is logged")
    assert {port["id"] for port in fake.ports} == {lone.id, refused.id, *(port.id for port in several)}


def test_without_tags_nothing_is_asked(ports: Ports, fake: FakeCloud, request_: PortRequest) -> None:
    ports.create(request_).result()
    assert fake.journal.counts == {"authenticate": 1, "get versions": 1, "create port": 1}


def test_a_cloud_that_refuses_tags_there_is_asked_once(
    ports: Ports, fake: FakeCloud, request_: PortRequest
) -> None:
    body = {"NeutronError": {"type": "HTTPBadRequest", "message": "Attribute 'tags' not allowed in POST"}}
    fake.knobs.fail("create port", 1, status=400, body=body)
    tagged = changed(request_, tags=("cluster",))
    ports.create(tagged).result()
    ports.create(tagged).result()
    wait_until(lambda: [port["tags"] for port in fake.ports] == [["cluster"]] * 2, "both have their tags")
    assert ["tags" in call.body["port"] for call in fake.journal.calls("create port")] == [True, False, False]


def test_a_requested_address_and_mac(ports: Ports, fake: FakeCloud, request_: PortRequest) -> None:
    wanted = (FixedIP(fake.subnets["pods"][4], "10.10.7.7"),)
    asked = changed(request_, fixed_ips=wanted, mac_address="fa:16:3e:00:00:07")
    port = ports.create(asked).result()
    assert (port.fixed_ips, port.mac_address) == (wanted, "fa:16:3e:00:00:07")

    with pytest.raises(errors.AddressInUse, match=r"10\.10\.7\.7"):
        ports.create(changed(asked, mac_address=None)).result()
    with pytest.raises(errors.AddressInUse, match="fa:16:3e:00:00:07"):
        ports.create(changed(asked, fixed_ips=())).result()


def test_a_full_subnet_is_a_typed_error_until_an_address_comes_back(
    ports: Ports, fake: FakeCloud, request_: PortRequest
) -> None:
    network_id, subnet_id = small_subnet(fake)
    asked = changed(request_, network_id=network_id, fixed_ips=(FixedIP(subnet_id),))
    port = ports.create(asked).result()
    with pytest.raises(errors.SubnetFull, match="No more IP addresses") as caught:
        ports.create(asked).result()
    assert caught.value.operation == "create port"

    ports.delete(port.id).result()
    ports.create(asked).result()


def test_a_quota_is_a_typed_error(ports: Ports, fake: FakeCloud, request_: PortRequest) -> None:
    fake.set_quota(fake.project_id, port=1)
    ports.create(request_).result()
    with pytest.raises(errors.QuotaExceeded, match="port"):
        ports.create(request_).result()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"security_groups": (UNKNOWN,)}, "SecurityGroupNotFound"),
        ({"fixed_ips": (FixedIP(UNKNOWN),)}, "SubnetNotFound"),
        ({"network_id": UNKNOWN}, "NetworkNotFound"),
    ],
)
def test_what_does_not_exist_is_named(
    ports: Ports, request_: PortRequest, fields: dict[str, object], reason: str
) -> None:
    with pytest.raises(errors.CloudNotFound, match=UNKNOWN) as caught:
        ports.create(changed(request_, **fields)).result()
    assert caught.value.reason == reason


def test_a_missing_right_is_said(make_cloud, request_: PortRequest) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(errors.CloudForbidden, match=r"binding:host_id"):
        Ports(make_cloud(username="member")).create(request_).result()


def test_bulk_makes_all_in_order_or_none(ports: Ports, fake: FakeCloud, request_: PortRequest) -> None:
    made = ports.create_bulk([changed(request_, name=f"port-{n}") for n in range(5)]).result()
    assert [port.name for port in made] == [f"port-{n}" for n in range(5)]
    assert fake.journal.counts["create ports"] == 1

    network_id, subnet_id = small_subnet(fake, "192.0.2.0/29")
    asked = changed(request_, network_id=network_id, fixed_ips=(FixedIP(subnet_id),))
    with pytest.raises(errors.SubnetFull):
        ports.create_bulk([asked] * 6).result()
    assert len(fake.ports) == 5
    assert len(ports.create_bulk([asked] * 5).result()) == 5

    with pytest.raises(ValueError, match="one project and share"):
        ports.create_bulk([request_, changed(request_, share="other")])


def test_update_says_fields_as_the_port_has_them(
    ports: Ports, fake: FakeCloud, request_: PortRequest
) -> None:
    port = ports.create(request_).result()
    updated = ports.update(port.id, port.revision_number, host_id="node2", security_groups=[]).result()
    assert (updated.host_id, updated.security_groups) == ("node2", ())
    assert updated.revision_number > port.revision_number

    with pytest.raises(errors.CloudConflict) as caught:
        ports.update(port.id, port.revision_number, name="late").result()
    assert (caught.value.reason, caught.value.status) == ("RevisionConflict", 412)
    with pytest.raises(ValueError, match="hostid"):
        ports.update(port.id, hostid="node2")


def test_deleting_what_is_gone_succeeds(ports: Ports, fake: FakeCloud, request_: PortRequest) -> None:
    port = ports.create(request_).result()
    ports.delete(port.id, "namespace").result()
    ports.delete(port.id, "namespace").result()
    ports.delete(UNKNOWN).result()
    assert fake.ports == []
    with pytest.raises(errors.CloudNotFound):
        ports.get(port.id).result()


def test_a_port_whose_creation_had_no_answer_is_found(
    ports: Ports, fake: FakeCloud, request_: PortRequest
) -> None:
    fake.knobs.fail("create port", kind="drop_after")
    with pytest.raises(errors.CloudUnavailable):
        ports.create(request_).result()

    (port,) = ports.find(fake.project_id, description=request_.description).result()
    assert port.device_id == request_.device_id
    assert ports.find(fake.project_id, device_id=["pod-uid", "other"]).result() == [port]
    assert ports.find(fake.project_id, ids=[port.id, UNKNOWN]).result() == [port]
    assert ports.find(fake.project_id, device_id="other").result() == []
    with pytest.raises(ValueError, match="expected device_id"):
        ports.find(fake.project_id)


def test_listing_goes_page_by_page(ports: Ports, fake: FakeCloud, request_: PortRequest) -> None:
    made = {port.id for port in ports.create_bulk([request_] * 25).result()}
    ports.create(changed(request_, device_owner="compute:nova")).result()
    fake.journal.clear()

    pages = list(ports.list_pages(fake.project_id, device_owner=identity.POD, page_size=10))

    assert [len(page) for page in pages] == [10, 10, 5]
    assert {port.id for page in pages for port in page} == made
    assert pages[0][0].host_id == "node1"
    assert fake.journal.counts == {"list ports": 3}


def test_many_ids_are_asked_for_in_pieces(ports: Ports, fake: FakeCloud, request_: PortRequest) -> None:
    made = ports.create_bulk([request_] * 3).result()
    unknown = [f"11111111-2222-3333-4444-{number:012d}" for number in range(250)]
    fake.journal.clear()

    found = ports.find(fake.project_id, ids=[made[0].id, *unknown, made[1].id]).result()

    assert {port.id for port in found} == {made[0].id, made[1].id}
    assert fake.journal.counts == {"list ports": 3}


def test_only_the_projects_ports_are_found(ports: Ports, fake: FakeCloud, request_: PortRequest) -> None:
    tenant = fake.keystone.add_project("tenant")
    fake.keystone.grant(fake.user, tenant.id, "member", "service")
    theirs = ports.create(changed(request_, project_id=tenant.id, security_groups=None)).result()

    assert ports.find(fake.project_id, device_id="pod-uid").result() == []
    assert ports.find(tenant.id, device_id="pod-uid").result() == [theirs]
