# SPDX-License-Identifier: Apache-2.0
"""Addresses and quota that get low: told once when they do, and once when they are enough again."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from kuryr.cloud.capabilities import Quota
from kuryr.cloud.identity import Identity
from kuryr.cloud.networks import AllocationPool, NetworkInfo, SubnetInfo
from kuryr.cloud.ports import FixedIP, Port
from kuryr.controller.capacity import LONGEST, Capacity, Reading, Room, addresses, crossings, taken
from kuryr.drivers.inventory import Snapshot
from kuryr.errors import CloudNotFound, CloudUnavailable


def room(free: int, total: int = 100) -> Room:
    return Room("subnet pods", "AddressesLow", free, total)


def test_addresses_are_those_of_the_allocation_pools() -> None:
    subnet = SubnetInfo(
        id="s",
        network=NetworkInfo(id="n"),
        cidr="10.0.0.0/24",
        ip_version=4,
        allocation_pools=(AllocationPool("10.0.0.2", "10.0.0.9"), AllocationPool("10.0.0.20", "10.0.0.20")),
    )
    assert addresses(subnet) == 9


def test_each_address_of_a_port_is_taken_in_its_subnet() -> None:
    both = (FixedIP("s4", "10.0.0.2"), FixedIP("s6", "fd00::2"))
    ports = {
        "a": (Port(id="a", network_id="n", fixed_ips=both), Identity("c", "pod", "u")),
        "b": (Port(id="b", network_id="n", fixed_ips=both[:1]), Identity("c", "pod", "v")),
    }
    assert taken(Snapshot(0.0, ports)) == {"s4": 2, "s6": 1}


def test_a_crossing_is_told_once() -> None:
    low, told = crossings([room(10)], {}, 10)
    assert (low, told) == ({}, [])
    low, told = crossings([room(9)], low, 10)
    assert told == [(room(9), True)]
    low, told = crossings([room(3)], low, 10)
    assert told == []
    low, told = crossings([room(12)], low, 10)
    assert told == [], "not at the first port that is given back"
    low, told = crossings([room(20)], low, 10)
    assert (low, told) == ({}, [(room(20), False)])


def test_nothing_is_told_where_it_is_switched_off() -> None:
    assert crossings([room(0)], {}, 0) == ({}, [])


def reading(limit: int = 500, used: int | None = 100) -> Reading:
    return Reading(Quota(limit, used), ours=80, made=1000, at=0.0)


def test_the_quota_is_not_read_again_for_a_few_ports() -> None:
    assert not reading().stale(ours=80, made=1000, now=LONGEST * 10, percent=10)
    assert not reading().stale(ours=100, made=1020, now=LONGEST - 1, percent=10)
    assert reading().estimate(100).free == 380


def test_the_quota_is_read_again_for_many_ports_or_after_long() -> None:
    assert reading().stale(ours=120, made=1040, now=1, percent=10)
    assert reading().stale(ours=40, made=1000, now=1, percent=10)
    assert reading().stale(ours=80, made=1001, now=LONGEST, percent=10)


def test_the_quota_is_read_at_each_change_where_it_is_nearly_used_up() -> None:
    assert reading(used=410).stale(ours=81, made=1001, now=1, percent=10)
    assert not reading(used=410).stale(ours=80, made=1001, now=1, percent=10)


def test_a_quota_without_limit_or_use_is_read_again_after_long_only() -> None:
    for unknown in (reading(limit=-1), reading(used=None)):
        assert not unknown.stale(ours=400, made=2000, now=1, percent=10)
        assert unknown.stale(ours=80, made=1001, now=LONGEST, percent=10)


def test_an_audit_goes_on_where_the_quota_cannot_be_read(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def project(self, project: str | None) -> None:
            raise CloudUnavailable("no answer")

    conf: Any = SimpleNamespace(
        cloud_limits=SimpleNamespace(capacity_warning=10), neutron_defaults=SimpleNamespace(project="")
    )
    drivers: Any = SimpleNamespace(pod_subnets=SimpleNamespace(subnet_ids=list))
    metrics: Any = SimpleNamespace(successes=lambda operation: 0)
    nothing: Any = None
    broken: Any = Broken()
    capacity = Capacity(conf, broken, drivers, nothing, nothing, metrics, nothing)
    capacity.count(Snapshot(0.0, {}))
    assert "The quota could not be read: no answer" in caplog.text


def test_an_audit_goes_on_where_a_subnet_cannot_be_read(caplog: pytest.LogCaptureFixture) -> None:
    class Unlimited:
        def project(self, project: str | None) -> None:
            raise CloudNotFound("no quotas here")

    class Broken:
        def get(self, subnet_id: str) -> Future[SubnetInfo]:
            call: Future[SubnetInfo] = Future()
            call.set_exception(CloudUnavailable("no answer"))
            return call

    conf: Any = SimpleNamespace(
        cloud_limits=SimpleNamespace(capacity_warning=10), neutron_defaults=SimpleNamespace(project="")
    )
    drivers: Any = SimpleNamespace(pod_subnets=SimpleNamespace(subnet_ids=lambda: ["pods"]))
    metrics: Any = SimpleNamespace(successes=lambda operation: 0)
    nothing: Any = None
    cloud: Any = Unlimited()
    subnets: Any = Broken()
    Capacity(conf, cloud, drivers, subnets, nothing, metrics, nothing).count(Snapshot(0.0, {}))
    assert "Subnet pods could not be read: no answer" in caplog.text
