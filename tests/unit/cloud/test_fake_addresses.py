# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuryr.testing.fake_cloud.ipam import Addresses, Full, Taken, default_pools, eui64


@given(st.lists(st.integers(0, 9), max_size=60))
def test_no_address_has_two_owners(steps: list[int]) -> None:
    addresses = Addresses("192.0.2.0/29", [("192.0.2.2", "192.0.2.6")])
    held: list[str] = []
    for step in steps:
        if step < 6:
            try:
                held.append(addresses.take("port"))
            except Full:
                assert len(held) == 5
        elif held:
            addresses.give_back(held.pop(step % len(held)))
        assert len(set(held)) == len(held) == addresses.used
        assert addresses.free == 5 - len(held)


def test_an_address_does_not_come_back_at_once() -> None:
    addresses = Addresses("192.0.2.0/24", [("192.0.2.2", "192.0.2.254")])
    first = addresses.take("a")
    addresses.give_back(first)
    assert addresses.take("b") != first


def test_a_requested_address_is_taken_once_and_may_be_outside_the_pools() -> None:
    addresses = Addresses("192.0.2.0/24", [("192.0.2.10", "192.0.2.11")])
    assert addresses.take("a", "192.0.2.200") == "192.0.2.200"
    assert addresses.owner("192.0.2.200") == "a"
    assert addresses.free == 2
    with pytest.raises(Taken):
        addresses.take("b", "192.0.2.200")


@pytest.mark.parametrize(
    ("cidr", "gateway", "pools"),
    [
        ("10.0.0.0/24", "10.0.0.1", [("10.0.0.2", "10.0.0.254")]),
        ("10.0.0.0/24", "10.0.0.254", [("10.0.0.1", "10.0.0.253")]),
        ("10.0.0.0/24", "10.0.0.9", [("10.0.0.1", "10.0.0.8"), ("10.0.0.10", "10.0.0.254")]),
        ("10.0.0.0/24", None, [("10.0.0.1", "10.0.0.254")]),
        ("10.0.0.0/24", "10.9.9.9", [("10.0.0.1", "10.0.0.254")]),
        ("fd00::/64", "fd00::1", [("fd00::2", "fd00::ffff:ffff:ffff:ffff")]),
    ],
)
def test_default_pools(cidr: str, gateway: str | None, pools: list[tuple[str, str]]) -> None:
    assert default_pools(ipaddress.ip_network(cidr), gateway) == pools


def test_eui64() -> None:
    assert eui64(ipaddress.ip_network("fd00::/64"), "fa:16:3e:fb:d0:3c") == "fd00::f816:3eff:fefb:d03c"
