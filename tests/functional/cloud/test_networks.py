# SPDX-License-Identifier: Apache-2.0
"""Subnets, security groups and what the cloud can do."""

from __future__ import annotations

import pytest

from kuryr import errors
from kuryr.cloud.capabilities import Quota, check_port_rights, probe
from kuryr.cloud.networks import ERROR_SECONDS, AllocationPool, Subnets
from kuryr.cloud.security_groups import SecurityGroups
from kuryr.cloud.session import Cloud
from kuryr.testing.fake_cloud import FakeCloud

from .conftest import MakeCloud

UNKNOWN = "11111111-2222-3333-4444-555555555555"


def test_a_subnet_comes_with_its_network(cloud: Cloud, fake: FakeCloud) -> None:
    subnet = Subnets(cloud).get(fake.subnets["pods"][4]).result()

    assert (subnet.cidr, subnet.ip_version, subnet.gateway_ip) == ("10.10.0.0/16", 4, "10.10.0.1")
    assert subnet.allocation_pools == (AllocationPool("10.10.0.2", "10.10.255.254"),)
    assert (subnet.network.name, subnet.network.mtu) == ("pods", 1442)
    assert subnet.network_id == subnet.network.id
    assert not subnet.enable_dhcp


def test_a_subnet_is_read_once_by_all_that_ask(cloud: Cloud, fake: FakeCloud) -> None:
    subnets = Subnets(cloud)
    subnet_id = fake.subnets["pods"][4]
    fake.knobs.pause()
    calls = [subnets.get(subnet_id) for _ in range(100)]
    fake.knobs.resume()

    assert len({id(call.result()) for call in calls}) == 1
    assert subnets.get(subnet_id).done()
    assert fake.journal.counts["get subnet"] == fake.journal.counts["get network"] == 1

    subnets.refresh(subnet_id)
    subnets.get(subnet_id).result()
    subnets.refresh()
    subnets.get(subnet_id).result()
    assert fake.journal.counts["get subnet"] == 3


def test_an_error_is_told_to_all_that_wait_and_then_read_again(cloud: Cloud, fake: FakeCloud) -> None:
    now = 100.0
    subnets = Subnets(cloud, clock=lambda: now)
    for _ in range(3):
        with pytest.raises(errors.CloudNotFound, match=UNKNOWN):
            subnets.get(UNKNOWN).result()
    assert fake.journal.counts["get subnet"] == 1

    now += ERROR_SECONDS
    with pytest.raises(errors.CloudNotFound):
        subnets.get(UNKNOWN).result()
    assert fake.journal.counts["get subnet"] == 2


def test_the_subnets_of_a_network(cloud: Cloud, fake: FakeCloud) -> None:
    subnets = Subnets(cloud)
    network_id = subnets.get(fake.subnets["pods"][4]).result().network_id

    listed = subnets.list(network_id).result()

    assert {subnet.id for subnet in listed} == set(fake.subnets["pods"].values())
    fake.journal.clear()
    assert subnets.get(fake.subnets["pods"][6]).result().cidr == "fd00:10:10::/64"
    assert fake.journal.counts == {}


def test_missing_security_groups(cloud: Cloud, fake: FakeCloud) -> None:
    groups = SecurityGroups(cloud)
    assert groups.missing([fake.security_group_id, UNKNOWN]) == {UNKNOWN}
    assert groups.missing([fake.security_group_id]) == set()
    fake.journal.clear()
    assert groups.missing([]) == set()
    assert fake.journal.counts == {}


def test_what_the_cloud_can_do(cloud: Cloud, fake: FakeCloud) -> None:
    fake.set_quota(fake.project_id, port=10, network=3)

    found = probe(cloud.project())

    assert found.project_id == fake.project_id
    assert found.roles == {"member", "service"}
    assert "trunk" in found.extensions
    assert found.quotas["port"] == Quota(limit=10, used=0)
    assert (found.quotas["port"].free, found.quotas["network"].free) == (10, 0)
    assert found.quotas["subnet"].free is None


def test_a_cloud_without_quota_details(cloud: Cloud, fake: FakeCloud) -> None:
    fake.neutron.extensions.remove("quota_details")
    fake.set_quota(fake.project_id, port=10)

    found = probe(cloud.project())

    assert found.quotas["port"] == Quota(limit=10)
    assert found.quotas["port"].free is None


def test_rights_are_found_out_without_making_anything(make_cloud: MakeCloud, fake: FakeCloud) -> None:
    network_id = fake.items("networks")[0]["id"]

    check_port_rights(make_cloud().project(), network_id)
    with pytest.raises(errors.CloudForbidden, match=r"create_port:binding:host_id"):
        check_port_rights(make_cloud(username="member").project(), network_id)
    with pytest.raises(errors.CloudNotFound, match=UNKNOWN):
        check_port_rights(make_cloud().project(), UNKNOWN)

    assert fake.ports == []
