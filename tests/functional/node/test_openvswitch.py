# SPDX-License-Identifier: Apache-2.0
"""ADD and DEL with a port of Open vSwitch."""

from __future__ import annotations

import json

from kuryr.net import links
from tests.functional.node import namespaces
from tests.functional.node.node import MAC, PORT, TestNode, kuryrport, ovs_vif

TAP = "tap11111111-22"


def test_a_pod_is_attached_and_detached(node: TestNode, sandbox: str) -> None:
    node.put(kuryrport("uid-1", ovs_vif()))
    answer = node.attach("c1", sandbox, kuryr_timings=True)
    assert answer.code == 0, answer
    assert answer.document["interfaces"] == [
        {"name": TAP, "mtu": 1442},
        {"name": "eth0", "mac": MAC, "sandbox": sandbox, "mtu": 1442},
    ]
    assert answer.document["ips"] == [{"address": "10.10.1.7/16", "gateway": "10.10.0.1", "interface": 1}]
    assert answer.document["routes"] == [{"dst": "0.0.0.0/0", "gw": "10.10.0.1"}]
    assert answer.document["dns"] == {"nameservers": ["10.10.0.2"]}
    ids = node.ovs.external_ids(TAP)
    assert ids["iface-id"] == PORT
    assert ids["attached-mac"] == MAC
    assert ids["iface-status"] == "active"
    assert ids["vm-uuid"] == "uid-1"
    assert ids["kuryr-container"] == "c1"
    assert "10.10.1.7/16" in namespaces.run(sandbox, "ip", "address", "show", "eth0")
    assert "default via 10.10.0.1" in namespaces.run(sandbox, "ip", "route")
    assert node.heard.up == [("default/web", ["eth0"])]
    print(json.loads(answer.stderr))

    assert node.call("DEL", "c1", sandbox).code == 0
    assert TAP not in node.ovs.ports()
    with links.links() as link:
        assert link.state(TAP) is None
    assert node.call("DEL", "c1", sandbox).code == 0
