# SPDX-License-Identifier: Apache-2.0
"""Requests to the kernel: what is made, and what is said of what it refuses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kuryr.net import links, netns
from kuryr.net.errors import AlreadyThere, NetworkError
from kuryr.net.links import Links, Route
from tests.functional.node import namespaces

MAC = "fa:16:3e:00:00:01"


@pytest.fixture
def node(node_namespace: str, sandbox: str) -> Iterator[Links]:
    """The node's links, with a pair whose other end is in the sandbox."""
    with netns.opened(sandbox) as namespace, links.links() as link:
        link.add_veth("here", "there", namespace, mac=MAC, mtu=1400)
        yield link
        link.delete("here")


@pytest.fixture
def inside(node: Links, sandbox: str) -> Iterator[Links]:
    """The sandbox's links; this thread is in it."""
    with netns.entered(sandbox), links.links() as link:
        yield link


def test_a_pair_is_as_asked_and_ours(node: Links, node_namespace: str, sandbox: str) -> None:
    own = node.state("here")
    assert own is not None
    assert (own.mtu, own.ours, own.up, own.addresses) == (1400, True, False, frozenset())
    index = links.index_of("here")
    with netns.entered(sandbox), links.links() as inside:
        other = inside.state("there")
        assert other is not None
        assert (other.mac, other.mtu, other.ours) == (MAC, 1400, True)
        with netns.opened(node_namespace) as outside, netns.own() as own_namespace:
            assert inside.leads_to("there", index, outside)
            assert not inside.leads_to("there", index + 1, outside)
            assert not inside.leads_to("there", index, own_namespace), "an index is one of its namespace"
            assert not inside.leads_to("lo", index, outside)


def configure(link: Links) -> None:
    """Addresses and routes, one of which cannot be."""
    with link.together():
        link.set_up("there", alias="note")
        link.add_address("there", "10.1.0.5/16")
        link.add_route("there", Route("10.2.0.0/16", "192.0.2.1"))
        link.add_address("there", "fd00::5/64")
        link.add_route("there", Route("0.0.0.0/0", "10.1.0.1"))
        link.add_route("there", Route("::/0", "fd00::1"))


def test_what_is_refused_is_named_and_keeps_nothing_else_from_being_made(inside: Links, sandbox: str) -> None:
    with pytest.raises(NetworkError, match=r"there: route to 10\.2\.0\.0/16 via 192\.0\.2\.1: .*unreachable"):
        configure(inside)
    state = inside.state("there")
    assert state is not None
    assert (state.up, state.alias, state.addresses) == (True, "note", {"10.1.0.5/16", "fd00::5/64"})
    assert inside.has_route(Route("0.0.0.0/0", "10.1.0.1"))
    assert inside.has_route(Route("::/0", "fd00::1"))
    # Usable at once: nobody looks for duplicates.
    assert "tentative" not in namespaces.run(sandbox, "ip", "address", "show", "there")


def test_what_is_there_already(inside: Links) -> None:
    inside.set_up("there")
    inside.add_address("there", "10.1.0.5/16")
    inside.add_address("there", "10.1.0.5/16")
    route = Route("10.2.0.0/16", "10.1.0.1")
    inside.add_route("there", route)
    with pytest.raises(AlreadyThere, match="File exists"):
        inside.add_route("there", route)
    inside.add_route("there", Route("10.2.0.0/16", "10.1.0.2"), exist_ok=True)
    assert inside.has_route(route)


def test_a_gateway_outside_of_the_subnet_needs_to_be_said_to_be_on_the_link(inside: Links) -> None:
    inside.set_up("there")
    inside.add_address("there", "10.1.0.5/32")
    route = Route("0.0.0.0/0", "169.254.1.1")
    with pytest.raises(NetworkError):
        inside.add_route("there", route)
    inside.add_route("there", route, onlink=True)
    assert inside.has_route(route)


def test_a_name_that_is_taken(node: Links, sandbox: str) -> None:
    with netns.opened(sandbox) as namespace:
        with pytest.raises(AlreadyThere, match="veth pair here and other: File exists"):
            node.add_veth("here", "other", namespace, mac=MAC, mtu=0)
        with pytest.raises(AlreadyThere, match="veth pair new and there: File exists"):
            node.add_veth("new", "there", namespace, mac=MAC, mtu=0)
    assert not links.exists("new")


def test_what_is_gone_is_no_error(node: Links) -> None:
    assert node.delete("here")
    assert not node.delete("here")
    with pytest.raises(NetworkError, match="interface here does not exist"):
        node.set_up("here")
