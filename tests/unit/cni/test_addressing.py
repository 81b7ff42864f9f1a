# SPDX-License-Identifier: Apache-2.0
"""Addresses and routes of a VIF."""

from __future__ import annotations

from kuryr.cni.addressing import Address, plan
from kuryr.net.links import Route
from kuryr.objects.vif import Network, Subnet, VIFOpenVSwitch
from kuryr.objects.vif import Route as HostRoute


def vif(*subnets: Subnet) -> VIFOpenVSwitch:
    return VIFOpenVSwitch(
        id="p", address="m", network=Network(id="n", mtu=1442, subnets=subnets), vif_name="t"
    )


V4 = Subnet(cidr="10.0.0.0/24", ips=("10.0.0.5",), gateway="10.0.0.1", dns=("10.0.0.2",))
V6 = Subnet(cidr="fd00::/64", ips=("fd00::5",), gateway="fd00::1", dns=("fd00::2", "10.0.0.2"))


def test_both_families() -> None:
    made = plan(vif(V4, V6), default=True)
    assert made.addresses == (Address("10.0.0.5/24", "10.0.0.1"), Address("fd00::5/64", "fd00::1"))
    assert made.routes == (Route("0.0.0.0/0", "10.0.0.1"), Route("::/0", "fd00::1"))
    assert made.nameservers == ("10.0.0.2", "fd00::2")
    assert made.mtu == 1442
    assert made.ipv6
    assert not plan(vif(V4), default=True).ipv6


def test_further_interfaces_have_no_default_route() -> None:
    assert plan(vif(V4, V6), default=False).routes == ()


def test_one_default_route_a_family() -> None:
    second = Subnet(cidr="10.1.0.0/24", ips=("10.1.0.5",), gateway="10.1.0.1")
    assert plan(vif(V4, second), default=True).routes == (Route("0.0.0.0/0", "10.0.0.1"),)


def test_a_subnet_without_an_address_of_ours_gives_no_routes() -> None:
    other = Subnet(
        cidr="10.1.0.0/24", gateway="10.1.0.1", routes=(HostRoute(cidr="192.0.2.0/24", gateway="10.1.0.9"),)
    )
    assert plan(vif(other, V4), default=True).routes == (Route("0.0.0.0/0", "10.0.0.1"),)


def test_a_subnet_without_a_gateway() -> None:
    alone = Subnet(cidr="10.0.0.0/24", ips=("10.0.0.5",))
    assert plan(vif(alone), default=True).routes == ()


def test_host_routes_and_a_gateway_outside_the_subnet() -> None:
    subnet = Subnet(
        cidr="10.0.0.5/32",
        ips=("10.0.0.5",),
        gateway="169.254.1.1",
        routes=(
            HostRoute(cidr="192.0.2.7/24", gateway="10.0.0.9"),
            HostRoute(cidr="198.51.100.0/24", gateway="10.0.0.5"),
        ),
    )
    made = plan(vif(subnet), default=True)
    assert made.routes == (
        Route("192.0.2.0/24", "10.0.0.9"),
        Route("198.51.100.0/24"),
        Route("0.0.0.0/0", "169.254.1.1"),
    )
    assert made.onlink == {"169.254.1.1"}
