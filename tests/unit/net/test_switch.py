# SPDX-License-Identifier: Apache-2.0
"""What the switch's state tells."""

from __future__ import annotations

import pytest

from kuryr.net.switch import Backend, Switch, SwitchPort, SwitchState

OVN = {"ovn-remote": "ssl:10.0.0.1:6642"}


def state(port: SwitchPort | None, external_ids: dict[str, str]) -> SwitchState:
    return SwitchState(ports={"tap0": port} if port else {}, external_ids=external_ids)


def tap(
    tag: int | None = None, error: str = "", ifindex: int = 5, virtual: bool = False, **external_ids: str
) -> SwitchPort:
    named = {name.replace("_", "-"): value for name, value in external_ids.items()}
    return SwitchPort("tap0", named, tag, error, ifindex, virtual)


@pytest.mark.parametrize(
    "external_ids", [OVN, {"ovn-remote-node1": "x"}, {"ovn-bridge": "br-int"}, {"ovn-bridge-node1": "br-int"}]
)
def test_ovn_is_recognised_by_its_configuration(external_ids: dict[str, str]) -> None:
    assert state(None, external_ids).backend is Backend.OVN
    assert state(None, {"hostname": "node1"}).backend is Backend.AGENT


@pytest.mark.parametrize(
    ("port", "external_ids", "wired"),
    [
        (None, OVN, False),
        (tap(), OVN, False),
        (tap(tag=5), OVN, False),
        (tap(ovn_installed="true"), OVN, True),
        (tap(ovn_installed="true"), {}, False),
        (tap(), {}, False),
        (tap(tag=4095), {}, False),
        (tap(tag=0), {}, True),
        (tap(tag=7), {}, True),
    ],
)
def test_wired(port: SwitchPort | None, external_ids: dict[str, str], wired: bool) -> None:
    assert state(port, external_ids).wired("tap0") is wired


@pytest.mark.parametrize(
    ("port", "external_ids", "words"),
    [
        (None, OVN, "not on the switch any more"),
        (tap(error="no such device"), OVN, "Open vSwitch says of port tap0: no such device"),
        (tap(ifindex=0), OVN, "is ovs-vswitchd running"),
        (tap(), OVN, "look at ovn-controller"),
        (tap(ifindex=0, virtual=True), OVN, "look at ovn-controller"),
        (tap(tag=4095), {}, "look at the agent"),
    ],
)
def test_why_it_is_not(port: SwitchPort | None, external_ids: dict[str, str], words: str) -> None:
    assert words in state(port, external_ids).why_unwired("tap0")


def test_a_node_may_have_no_switch(tmp_path: object) -> None:
    assert not Switch(f"unix:{tmp_path}/db.sock").expected
    assert Switch("tcp:127.0.0.1:6640").expected
