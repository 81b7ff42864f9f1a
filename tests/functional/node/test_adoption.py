# SPDX-License-Identifier: Apache-2.0
"""Pods that the original's daemon attached are taken down as our own."""

from __future__ import annotations

import pytest

from kuryr.net import links
from tests.functional.node import namespaces
from tests.functional.node.node import MAC, PORT, TestNode, deadline, kuryrport, ovs_vif
from tests.functional.node.test_openvswitch import here_namespace

TAP = "tap11111111-22"
OTHER = "tap66666666-22"


@pytest.fixture
def attached(node: TestNode, sandbox: str) -> TestNode:
    """As the original left it."""
    namespaces.run(sandbox, "ip", "link", "add", "eth0", "address", MAC, "type", "veth", "peer", "name", TAP)
    namespaces.run(sandbox, "ip", "link", "set", TAP, "netns", here_namespace())
    for name, port, mac in ((TAP, PORT, MAC), (OTHER, "66666666-2222-3333", "fa:16:3e:00:00:99")):
        node.ovs.vsctl(
            *("add-port", "br-int", name, "--", "set", "interface", name),
            *(f"external_ids:iface-id={port}", f'external_ids:attached-mac="{mac}"'),
            *("external_ids:iface-status=active", "external_ids:vm-uuid=kuryr"),
        )
    node.switch.wait_for(lambda state: True if OTHER in state.ports else None, deadline(), lambda: False)
    return node


def test_by_the_sandbox(attached: TestNode, sandbox: str) -> None:
    assert attached.call("DEL", "c1", sandbox).code == 0
    assert attached.ovs.ports() == {OTHER}
    with links.links() as link:
        assert link.state(TAP) is None


def test_by_the_kuryrport_when_the_sandbox_is_gone(attached: TestNode) -> None:
    attached.put(kuryrport("uid-1", ovs_vif()))
    assert attached.call("DEL", "c1", "", "uid-0").code == 0
    assert TAP in attached.ovs.ports(), "another pod of the name"
    assert attached.call("DEL", "c1", "").code == 0
    assert attached.ovs.ports() == {OTHER}


def test_a_new_sandbox_takes_the_port_over(attached: TestNode) -> None:
    attached.put(kuryrport("uid-1", ovs_vif()))
    with namespaces.namespace("new") as new:
        assert attached.attach("c2", new).code == 0
        assert attached.call("DEL", "c2", new).code == 0
    assert attached.ovs.ports() == {OTHER}
