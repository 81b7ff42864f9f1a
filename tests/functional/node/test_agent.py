# SPDX-License-Identifier: Apache-2.0
"""Nodes of the Open vSwitch agent: tags, the dead VLAN, the hybrid firewall's bridge; and nested pods."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from kuryr.net import links
from kuryr.objects.vif import VIFBridge, VIFMacvlanNested, VIFVHostUser, VIFVlanNested
from tests.functional.node import namespaces
from tests.functional.node.node import MAC, PORT, TestNode, deadline, kuryrport, network, ovs_vif
from tests.functional.node.ovs import OpenVSwitch

TAP = "tap11111111-22"
QVO, QVB, QBR = "qvo11111111-22", "qvb11111111-22", "qbr11111111-22"


@pytest.fixture
def agent(node: TestNode) -> Iterator[TestNode]:
    """A node whose backend is the Open vSwitch agent."""
    node.ovs.vsctl("remove", "open_vswitch", ".", "external_ids", "ovn-remote")
    node.switch.wait_for(
        lambda state: True if "ovn-remote" not in state.external_ids else None, deadline(), lambda: False
    )
    yield node
    node.ovs.be_ovn()


def hybrid() -> VIFBridge:
    return VIFBridge(id=PORT, address=MAC, network=network(), vif_name=TAP, bridge_name=QBR)


def names() -> set[str]:
    with links.links() as link:
        return {state.name for state in link.states()}


def attach(agent: TestNode, sandbox: str, port: str) -> dict[str, object]:
    pending = agent.begin("ADD", "c1", sandbox)
    agent.wait_for_port(port, "c1")
    assert agent.ovs.vsctl("get", "port", port, "tag") == "4095", "no foreign traffic before it is wired"
    agent.ovs.tag(port, 7)
    answer = pending.result()
    assert answer.code == 0, answer
    return answer.document


def test_the_tag_tells_that_a_port_is_wired(agent: TestNode, sandbox: str) -> None:
    agent.put(kuryrport("uid-1", ovs_vif()))
    attach(agent, sandbox, TAP)
    assert agent.call("DEL", "c1", sandbox).code == 0


def test_a_trunks_bridge_is_made(agent: TestNode, sandbox: str) -> None:
    agent.put(kuryrport("uid-1", ovs_vif(bridge_name="tbr-12345678-9", datapath_type="netdev")))
    pending = agent.begin("ADD", "c1", sandbox)
    agent.wait_for_port(TAP, "c1")
    assert agent.ovs.vsctl("port-to-br", TAP) == "tbr-12345678-9"
    assert agent.ovs.vsctl("get", "bridge", "tbr-12345678-9", "datapath_type") == "netdev"
    assert agent.ovs.external_ids(TAP)["bridge_name"] == "tbr-12345678-9"
    agent.ovs.tag(TAP, 7)
    assert pending.result().code == 0
    assert agent.call("DEL", "c1", sandbox).code == 0
    agent.ovs.vsctl("del-br", "tbr-12345678-9")


def test_hybrid_plug_goes_through_the_bridge_that_filters(agent: TestNode, sandbox: str) -> None:
    agent.put(kuryrport("uid-1", hybrid()))
    result = attach(agent, sandbox, QVO)
    shown = {entry["ifname"]: entry for entry in json.loads(namespaces_here("ip", "-json", "link"))}
    assert shown[TAP]["master"] == QBR
    assert shown[QVB]["master"] == QBR
    assert TAP not in agent.ovs.ports(), "the pod's own end is never on the switch"
    ids = agent.ovs.external_ids(QVO)
    assert ids["iface-id"] == PORT
    assert ids["kuryr-pod-uid"] == "uid-1"
    assert ids["kuryr-container"] == "c1"
    assert agent.ovs.vsctl("get", "bridge", "br-int", "datapath_type") == "netdev", "os-vif left it as it was"
    assert agent.ovs.vsctl("get", "interface", QVO, "error") == "[]"
    assert agent.ovs.vsctl("get", "interface", QVO, "link_state") == "up"
    assert agent.call("CHECK", "c1", sandbox, prevResult=result).code == 0
    namespaces_here("ip", "link", "del", QBR)
    answer = agent.call("CHECK", "c1", sandbox, prevResult=result)
    assert "is not filtered" in answer.document["msg"]
    assert agent.call("DEL", "c1", sandbox).code == 0
    assert not {TAP, QVO, QVB, QBR} & names()
    assert agent.ovs.ports() == set()


def test_a_hybrid_plug_that_was_cut_short_is_taken_down(agent: TestNode, sandbox: str) -> None:
    agent.put(kuryrport("uid-1", hybrid()))
    pending = agent.begin("ADD", "c1", sandbox)
    agent.wait_for_port(QVO, "c1")
    assert agent.call("DEL", "c1", sandbox).code == 0
    assert pending.result().code == 1
    assert not {TAP, QVO, QVB, QBR} & names()
    assert agent.ovs.ports() == set()


def test_a_newer_sandbox_takes_a_hybrid_port_over(agent: TestNode, sandbox: str) -> None:
    agent.put(kuryrport("uid-1", hybrid()))
    attach(agent, sandbox, QVO)
    with namespaces.namespace("new") as new:
        pending = agent.begin("ADD", "c2", new)
        agent.wait_for_port(QVO, "c2")
        agent.ovs.tag(QVO, 7)
        assert pending.result().code == 0
        assert agent.call("DEL", "c1", sandbox).code == 0
        assert {TAP, QVO, QVB, QBR} <= names()
        assert agent.ovs.external_ids(QVO)["kuryr-container"] == "c2"
        assert agent.call("DEL", "c2", new).code == 0
    assert not {TAP, QVO, QVB, QBR} & names()


def test_vhost_user(agent: TestNode, sandbox: str, tmp_path: Path) -> None:
    vif = VIFVHostUser(
        id=PORT,
        address=MAC,
        network=network(),
        vif_name="vhu11111111-22",
        path="/run/vhu.sock",
        mode="server",
    )
    object.__setattr__(agent.node, "vhostuser_mount_point", str(tmp_path))
    agent.put(kuryrport("uid-1", vif))
    pending = agent.begin("ADD", "c1", sandbox)
    agent.wait_for_port("vhu11111111-22", "c1")
    assert agent.ovs.vsctl("get", "interface", "vhu11111111-22", "type") == "dpdkvhostuserclient"
    agent.ovs.tag("vhu11111111-22", 7)
    answer = pending.result()
    assert answer.document["interfaces"][0]["socketPath"] == "/run/vhu.sock"
    assert json.loads((tmp_path / "c1-eth0").read_text())["vhostuser"]["path"] == "/run/vhu.sock"
    assert agent.call("DEL", "c1", sandbox).code == 0
    assert not (tmp_path / "c1-eth0").exists()
    assert agent.ovs.ports() == set()


def test_macvlan_on_the_nodes_interface(node: TestNode, sandbox: str, ovs: OpenVSwitch) -> None:
    namespaces_here("ip", "link", "add", "trunk0", "mtu", "1400", "type", "veth", "peer", "name", "trunk1")
    namespaces_here("ip", "link", "set", "trunk0", "up")
    object.__setattr__(node.node, "link_iface", "trunk0")
    try:
        vif = VIFMacvlanNested(id=PORT, address=MAC, network=network(), vif_name=TAP)
        node.put(kuryrport("uid-1", vif))
        answer = node.call("ADD", "c1", sandbox)
        assert answer.code == 0, answer
        assert answer.document["interfaces"] == [
            {"name": "eth0", "mac": MAC, "sandbox": sandbox, "mtu": 1400}
        ], "no larger than its parent"
        assert "10.10.1.7/16" in namespaces.run(sandbox, "ip", "address", "show", "eth0")
        assert node.call("CHECK", "c1", sandbox, prevResult=answer.document).code == 0
        assert node.call("DEL", "c1", sandbox).code == 0
        assert "eth0" not in namespaces.run(sandbox, "ip", "link")
    finally:
        namespaces_here("ip", "link", "del", "trunk0")


def test_a_vif_that_the_controller_reports(node: TestNode, sandbox: str) -> None:
    namespaces_here("ip", "link", "add", "trunk0", "type", "veth", "peer", "name", "trunk1")
    namespaces_here("ip", "link", "set", "trunk0", "up")
    object.__setattr__(node.node, "link_iface", "trunk0")
    try:
        vif = VIFMacvlanNested(id=PORT, address=MAC, network=network(), vif_name=TAP)
        node.put(kuryrport("uid-1", vif, reported_by="controller"))
        node.timeout = 0.3
        answer = node.call("ADD", "c1", sandbox)
        assert "kuryr-k8s-controller does not report it as up" in answer.document["msg"]
        assert "eth0" not in namespaces.run(sandbox, "ip", "link")
        node.timeout = 10
        pending = node.begin("ADD", "c1", sandbox)
        active = VIFMacvlanNested(id=PORT, address=MAC, network=network(), vif_name=TAP, active=True)
        node.put(kuryrport("uid-1", active, reported_by="controller"))
        assert pending.result().code == 0
        assert node.heard.up == [("default/web", [])], "what the controller reports the node does not"
        assert node.call("DEL", "c1", sandbox).code == 0
    finally:
        namespaces_here("ip", "link", "del", "trunk0")


def test_a_vlan_is_refused_or_made(node: TestNode, sandbox: str) -> None:
    """Kernels without 802.1Q say so; where there is one the interface is made."""
    namespaces_here("ip", "link", "add", "trunk0", "type", "veth", "peer", "name", "trunk1")
    namespaces_here("ip", "link", "set", "trunk0", "up")
    object.__setattr__(node.node, "link_iface", "trunk0")
    try:
        node.put(
            kuryrport(
                "uid-1", VIFVlanNested(id=PORT, address=MAC, network=network(), vif_name=TAP, vlan_id=9)
            )
        )
        answer = node.call("ADD", "c1", sandbox)
        if answer.code:
            assert "VLAN 9 of trunk0: Operation not supported" in answer.document["msg"]
        else:
            assert "vlan" in namespaces.run(sandbox, "ip", "-details", "link", "show", "eth0")
        assert node.call("DEL", "c1", sandbox).code == 0
        assert "eth0" not in namespaces.run(sandbox, "ip", "link")
    finally:
        namespaces_here("ip", "link", "del", "trunk0")


def namespaces_here(*command: str) -> str:
    return namespaces.run("/proc/thread-self/ns/net", *command)
