# SPDX-License-Identifier: Apache-2.0
"""The node's own port and its routes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import pytest

from kuryr.cni.node_port import ROUTE_PROTOCOL, NodePort
from kuryr.net import links, offload
from kuryr.objects.kuryrport import KuryrPort, RouteStatus
from kuryr.objects.meta import Key
from tests.functional.node import namespaces
from tests.functional.node.node import MAC, PORT, TestNode, deadline, kuryrport, ovs_vif

NAME = "kuryr-node"


def run(*command: str) -> str:
    return namespaces.run("/proc/thread-self/ns/net", *command)


def eventually(condition: Callable[[], bool], what: str) -> None:
    end = deadline(20)
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def of_node(port: str = PORT, mac: str = MAC, *routes: tuple[str, str]) -> KuryrPort:
    made = kuryrport("node-uid", ovs_vif(port, dual=True, mac=mac), name="kuryr-node.node1")
    made.spec.owner_kind = "Node"
    made.status.routes = [RouteStatus(destination, hop) for destination, hop in routes]
    return made


def our_routes() -> set[tuple[str, str]]:
    found = set()
    for family in ("-4", "-6"):
        for route in json.loads(
            run("ip", family, "-json", "route", "show", "proto", str(ROUTE_PROTOCOL)) or "[]"
        ):
            found.add((route["dst"], route["gateway"]))
    return found


@pytest.fixture
def port(node: TestNode) -> Iterator[NodePort]:
    made = NodePort(node.switch, NAME, "node1", node.store.values, node.heard.attached)
    node.switch.require()
    made.start()
    yield made
    made.stop()


def test_a_nodes_port_comes_changes_and_goes(node: TestNode, port: NodePort) -> None:
    run("ip", "route", "add", "203.0.113.0/24", "dev", "lo")
    node.put(of_node(PORT, MAC, ("10.11.0.0/16", "10.10.0.1"), ("fd00:10:96::/111", "fd00:10:10::1")))
    port.look_again()
    eventually(lambda: len(our_routes()) == 2, "the routes are there")
    ids = node.ovs.external_ids(NAME)
    assert ids["iface-id"] == PORT
    assert ids["attached-mac"] == MAC
    with links.links() as link:
        state = link.state(NAME)
    assert state is not None
    assert (state.mac, state.mtu, state.up) == (MAC, 1442, True)
    assert state.addresses == {"10.10.1.7/16", "fd00:10:10::7/64"}
    assert not offload.tx_checksums(NAME)
    node.ovs.install(NAME)
    eventually(lambda: node.heard.up == [("default/kuryr-node.node1", ["eth0"])], "it is reported up")

    node.put(of_node(PORT, MAC, ("10.12.0.0/16", "10.10.0.1"), ("fd00:10:96::/111", "fd00:10:10::1")))
    port.look_again()
    wanted = {("10.12.0.0/16", "10.10.0.1"), ("fd00:10:96::/111", "fd00:10:10::1")}
    eventually(lambda: our_routes() == wanted, "routes follow")

    other = "66666666-2222-3333-4444-555555555555"
    node.put(of_node(other, "fa:16:3e:00:00:08", ("10.12.0.0/16", "10.10.0.1")))
    port.look_again()
    eventually(lambda: node.ovs.external_ids(NAME).get("iface-id") == other, "another port of Neutron")
    eventually(lambda: our_routes() == {("10.12.0.0/16", "10.10.0.1")}, "and its routes")

    node.store.remove(Key("default", "kuryr-node.node1"))
    port.look_again()
    eventually(lambda: NAME not in node.ovs.ports(), "it goes with its KuryrPort")
    assert "203.0.113.0/24" in run("ip", "route"), "others' routes are not touched"
    run("ip", "route", "del", "203.0.113.0/24", "dev", "lo")


def test_after_a_restart_of_the_switch_the_addresses_come_back(node: TestNode, port: NodePort) -> None:
    node.put(of_node(PORT, MAC, ("10.11.0.0/16", "10.10.0.1")))
    port.look_again()
    eventually(lambda: len(our_routes()) == 1, "the route is there")
    node.ovs.kill("ovs-vswitchd")
    run("ip", "link", "del", NAME)
    assert our_routes() == set()
    node.ovs.start_vswitchd()
    eventually(lambda: len(our_routes()) == 1, "the route is there again")
    with links.links() as link:
        state = link.state(NAME)
    assert state is not None
    assert "10.10.1.7/16" in state.addresses


def test_a_port_of_somebody_else_is_not_taken(node: TestNode, port: NodePort) -> None:
    node.ovs.vsctl("add-port", "br-int", NAME, "--", "set", "interface", NAME, "type=internal")
    node.switch.wait_for(lambda state: True if NAME in state.ports else None, deadline(), lambda: False)
    node.put(of_node())
    with pytest.raises(Exception, match="is not ours: name another"):
        port.reconcile()
    port.remove()
    assert NAME in node.ovs.ports()


def test_routes_that_are_none_do_not_hinder_others(node: TestNode, port: NodePort) -> None:
    node.put(of_node(PORT, MAC, ("nonsense", "10.10.0.1"), ("10.11.0.0/16", "10.10.0.1")))
    port.look_again()
    eventually(lambda: our_routes() == {("10.11.0.0/16", "10.10.0.1")}, "the good one is there")
