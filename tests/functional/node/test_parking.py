# SPDX-License-Identifier: Apache-2.0
"""Ports of a pool: parked on their node, moved into pods and back."""

from __future__ import annotations

import json
import pkgutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kuryr.cni import parked
from kuryr.net import conntrack, links, netns
from kuryr.net.errors import SwitchError
from kuryr.objects.vif import VIFOpenVSwitch, vif_name
from tests.functional.node import namespaces
from tests.functional.node.node import MAC, PORT, Answer, deadline, kuryrport, ovs_vif
from tests.functional.node.ovs import OpenVSwitch
from tests.functional.node.pool import POOL, PoolNode

TAP = vif_name("tap", PORT)
INNER = parked.inner_name(PORT)
SECOND = "22222222-2222-3333-4444-555555555555"
VIF = ovs_vif()
OTHER = ovs_vif(SECOND, mac="fa:16:3e:00:00:08")


@pytest.fixture
def node(ovs: OpenVSwitch, tmp_path: Path) -> Iterator[PoolNode]:
    """A node without pods or pool, whose backend is OVN."""
    ovs.be_ovn()
    made = PoolNode(ovs, tmp_path)
    made.start()
    yield made
    made.stop()
    for port in ovs.ports():
        ovs.vsctl("--if-exists", "del-port", "br-int", port)
    for name in here():
        with links.links() as link:
            link.delete(name)
    ovs.vsctl("clear", "bridge", "br-int", "external_ids")


def here() -> set[str]:
    """Names of the node's interfaces that are a pool's."""
    return {name for name in links.names() if name.startswith((parked.INNER_PREFIX, "tap"))}


def eventually_here(names: set[str]) -> None:
    """Wait until these are the pool's interfaces: they go after the switch's record."""
    end = deadline()
    while here() != names:
        assert time.monotonic() < end, here()
        time.sleep(0.02)


def shell(*command: str) -> str:
    """What a command prints that runs on the node."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def fill(node: PoolNode, *vifs: VIFOpenVSwitch) -> None:
    """Wait until the VIFs are parked, wired and reported."""
    node.list(vifs)
    node.wait_parked(*vifs)
    node.wire(*vifs)
    node.wait_reported(*(vif.vif_name for vif in vifs if vif.vif_name))


def index(name: str = TAP) -> int:
    """Index of the interface, which tells it from one that was made anew under its name."""
    return socket.if_nametoindex(name)


def add(node: PoolNode, container: str, netns: str, uid: str = "uid-1", pod: str = "web") -> Answer:
    """ADD for a pod that the pool's VIF was given to. Nobody wires anything meanwhile."""
    answer = node.call("ADD", container, netns, uid, pod=pod)
    assert answer.code == 0, answer
    return answer


def gc(node: PoolNode, *valid: dict[str, str]) -> None:
    """GC with these attachments."""
    config: dict[str, Any] = {"cni.dev/valid-attachments": list(valid)}
    assert node.call("GC", "", "", **config).code == 0


def is_parked(node: PoolNode) -> None:
    """The port waits as if it had never been a pod's."""
    node.wait_parked(VIF)
    with links.links() as link:
        state = link.state(INNER)
    assert state is not None
    assert (state.mac, state.up, state.alias, state.addresses, state.ours) == (
        MAC,
        False,
        "",
        frozenset(),
        True,
    )
    ids = node.ovs.external_ids(TAP)
    assert {name for name in ids if name not in ("ovn-installed",)} == {
        "iface-id",
        "attached-mac",
        "iface-status",
        "kuryr-pool",
        "kuryr-bridge",
        "kuryr-mtu",
        "kuryr-vif",
    }


def test_ports_of_the_pool_wait_wired(node: PoolNode) -> None:
    node.list([VIF, OTHER])
    node.wait_parked(VIF, OTHER)
    assert node.reports == [], "nobody has wired them yet"
    ids = node.ovs.external_ids(TAP)
    assert (ids["iface-id"], ids["attached-mac"], ids["iface-status"]) == (PORT, MAC, "active")
    assert ids["kuryr-pool"] == POOL
    shown = json.loads(shell("ip", "-json", "address", "show", INNER))
    assert shown[0]["addr_info"] == []
    assert shown[0]["mtu"] == 1442
    node.wire(VIF, OTHER)
    node.wait_reported(TAP, vif_name("tap", SECOND))


def test_add_moves_what_waits(node: PoolNode, sandbox: str) -> None:
    fill(node, VIF)
    before = index()
    node.give("uid-1", VIF)
    answer = add(node, "c1", sandbox)
    assert index() == before
    assert INNER not in here()
    assert [entry["name"] for entry in answer.document["interfaces"]] == [TAP, "eth0"]
    assert "10.10.1.7/16" in namespaces.run(sandbox, "ip", "address", "show", "eth0")
    assert MAC in namespaces.run(sandbox, "ip", "link", "show", "eth0")
    assert "via 10.10.0.1" in namespaces.run(sandbox, "ip", "route", "show", "default")
    ids = node.ovs.external_ids(TAP)
    assert (ids["kuryr-container"], ids["kuryr-pod"], ids["vm-uuid"]) == ("c1", "default/web", "uid-1")
    assert ids["ovn-installed"] == "true"
    assert node.call("CHECK", "c1", sandbox, prevResult=answer.document).code == 0


def test_add_waits_for_what_is_parked_and_not_wired_yet(node: PoolNode, sandbox: str) -> None:
    vif = ovs_vif(dual=True)
    node.list([vif])
    node.wait_parked(vif)
    before = index()
    node.give("uid-1", vif)
    pending = node.begin("ADD", "c1", sandbox)
    end = deadline()
    while "default" not in namespaces.run(sandbox, "ip", "route"):
        assert time.monotonic() < end, "eth0 is not set up"
        time.sleep(0.02)
    assert not pending.done()
    node.wire(vif)
    answer = pending.result()
    assert answer.code == 0, answer
    assert index() == before
    assert ipv6_setting(sandbox, "mldv2_unsolicited_report_interval") == "1000", (
        "the first reports went nowhere"
    )


def ipv6_setting(netns: str, name: str) -> str:
    """A setting of the sandbox's eth0."""
    return namespaces.run(netns, "cat", f"/proc/sys/net/ipv6/conf/eth0/{name}").strip()


@pytest.mark.parametrize(("pooled", "milliseconds"), [(True, "30000"), (False, "1000")])
def test_reports_of_multicast_groups_are_repeated_later_where_the_first_arrive(
    node: PoolNode, sandbox: str, pooled: bool, milliseconds: str
) -> None:
    """The first ones of a port that is not wired yet go nowhere, so there the repetition must come soon."""
    vif = ovs_vif(dual=True)
    if pooled:
        fill(node, vif)
    node.give("uid-1", vif)
    answer = add(node, "c1", sandbox) if pooled else node.attach("c1", sandbox)
    assert answer.code == 0, answer
    assert ipv6_setting(sandbox, "mldv2_unsolicited_report_interval") == milliseconds
    assert [ipv6_setting(sandbox, name) for name in ("disable_ipv6", "accept_dad", "accept_ra")] == ["0"] * 3
    assert "fd00:10:10::7/64" in namespaces.run(sandbox, "ip", "address", "show", "eth0")


def test_del_moves_it_back_clean_and_the_next_pod_has_it(node: PoolNode, sandbox: str) -> None:
    fill(node, VIF)
    before = index()
    node.give("uid-1", VIF)
    add(node, "c1", sandbox)
    node.list([])
    namespaces.run(sandbox, "ip", "address", "add", "192.0.2.1/24", "dev", "eth0")
    namespaces.run(sandbox, "ip", "link", "set", "eth0", "address", "02:00:00:00:00:01")
    namespaces.run(sandbox, "ip", "link", "set", "eth0", "mtu", "1000")
    assert node.call("DEL", "c1", sandbox).code == 0
    is_parked(node)
    assert index() == before
    assert "eth0" not in namespaces.run(sandbox, "ip", "link")
    assert node.call("DEL", "c1", sandbox).code == 0, "again"
    is_parked(node)
    node.take_back()
    with namespaces.namespace("next") as following:
        node.give("uid-2", VIF, name="next")
        add(node, "c2", following, "uid-2", "next")
        assert index() == before
        shown = json.loads(namespaces.run(following, "ip", "-json", "address", "show", "eth0"))[0]
        assert shown["mtu"] == 1442
        assert [entry["local"] for entry in shown["addr_info"] if entry["family"] == "inet"] == ["10.10.1.7"]


def test_a_port_whose_connections_cannot_be_forgotten_is_made_anew(
    node: PoolNode, sandbox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(node, VIF)
    before = index()
    node.give("uid-1", VIF)
    add(node, "c1", sandbox)

    def refuse(*arguments: object) -> None:
        raise SwitchError("no")

    monkeypatch.setattr(conntrack, "flush", refuse)
    assert node.call("DEL", "c1", sandbox).code == 0
    assert node.ovs.ports() == set()
    assert here() == set()
    node.take_back()
    node.wait_parked(VIF)
    assert index() != before


def test_the_connections_of_a_port_are_forgotten(node: PoolNode) -> None:
    conntrack.flush(node.switch.remote, 7)
    with pytest.raises(SwitchError, match="no control socket"):
        conntrack.flush("tcp:127.0.0.1:6640", 7)


def test_a_sandbox_that_is_gone_takes_the_interface_with_it(node: PoolNode) -> None:
    fill(node, VIF)
    node.give("uid-1", VIF)
    with namespaces.namespace("short") as short:
        add(node, "c1", short)
    assert node.call("DEL", "c1", short).code == 0
    assert node.ovs.ports() == set()
    node.take_back()
    node.wait_parked(VIF)


def test_what_is_in_place_of_the_interface_is_not_taken(node: PoolNode, sandbox: str) -> None:
    fill(node, VIF)
    node.give("uid-1", VIF)
    add(node, "c1", sandbox)
    namespaces.run(sandbox, "ip", "link", "set", "eth0", "down")
    namespaces.run(sandbox, "ip", "link", "set", "eth0", "name", "hidden")
    namespaces.run(sandbox, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "mine")
    assert node.call("DEL", "c1", sandbox).code == 0
    assert node.ovs.ports() == set()
    assert here() == set()
    assert "eth0" in namespaces.run(sandbox, "ip", "link")
    assert "hidden" not in namespaces.run(sandbox, "ip", "link"), "the pod has no way to the network left"


def test_what_looks_like_the_interface_is_not_taken(node: PoolNode, sandbox: str) -> None:
    """Whoever is root in the pod chooses the indices of interfaces there, and may hide the real one elsewhere."""
    fill(node, VIF)
    node.give("uid-1", VIF)
    add(node, "c1", sandbox)
    with netns.entered(sandbox):
        inner = index("eth0")
    with namespaces.namespace("elsewhere") as elsewhere:
        name = elsewhere.rpartition("/")[2]
        namespaces.run(sandbox, "ip", "link", "set", "eth0", "netns", name)
        pair = ["eth0", "index", str(inner), "type", "veth", "peer", "name", "mine", "index", str(index())]
        namespaces.run(sandbox, "ip", "link", "add", *pair)
        assert node.call("DEL", "c1", sandbox).code == 0
        assert node.ovs.ports() == set()
        assert here() == set()
        assert "mine" in namespaces.run(sandbox, "ip", "link")


def test_a_port_that_nobody_names_goes_and_one_that_a_pod_has_stays(node: PoolNode, sandbox: str) -> None:
    fill(node, VIF, OTHER)
    node.grace = 0.0
    node.restart()
    node.give("uid-1", VIF)
    node.list([])
    node.wait_parked(VIF)
    eventually_here({TAP, INNER})
    add(node, "c1", sandbox)
    node.take_back()
    gc(node, {"containerID": "c1", "ifname": "eth0"})
    assert node.ovs.external_ids(TAP)["kuryr-container"] == "c1", "a sandbox has it"


def test_a_restart_finds_what_waits(node: PoolNode, sandbox: str) -> None:
    fill(node, VIF)
    before = index()
    node.restart()
    node.give("uid-1", VIF)
    add(node, "c1", sandbox)
    assert index() == before
    node.restart()
    assert node.call("DEL", "c1", sandbox).code == 0
    is_parked(node)


def test_gc_takes_sandboxes_away_and_leaves_what_waits(node: PoolNode, sandbox: str) -> None:
    fill(node, VIF, OTHER)
    node.give("uid-1", VIF)
    add(node, "c1", sandbox)
    gc(node)
    node.wait_parked(VIF, OTHER)


def test_the_old_sandbox_of_a_pod_deleted_by_force(node: PoolNode, sandbox: str) -> None:
    fill(node, VIF)
    node.give("uid-1", VIF)
    add(node, "old", sandbox)
    node.take_back()
    node.give("uid-2", VIF, name="next")
    with namespaces.namespace("next") as following:
        pending = node.begin("ADD", "new", following, "uid-2", pod="next")
        node.wait_for_port(TAP, "new")
        node.wire(VIF)
        assert pending.result().code == 0
        assert node.call("DEL", "old", sandbox).code == 0
        assert node.ovs.external_ids(TAP)["kuryr-container"] == "new"
        assert "10.10.1.7" in namespaces.run(following, "ip", "address", "show", "eth0")
        assert node.call("DEL", "new", following).code == 0
        is_parked(node)


def test_what_was_broken_is_made_anew(node: PoolNode) -> None:
    fill(node, VIF)
    with links.links() as link:
        link.delete(TAP)
    node.switch.wait_for(lambda state: not state.ports[TAP].ifindex or None, 1e9, lambda: False)
    node.wait_parked(VIF)
    node.ovs.vsctl("del-port", "br-int", TAP)
    node.wait_parked(VIF)


def test_a_pool_without_a_wired_port_does_as_without_a_pool(node: PoolNode, sandbox: str) -> None:
    node.give("uid-1", VIF)
    assert node.attach("c1", sandbox).code == 0
    node.wire(VIF)
    assert node.call("DEL", "c1", sandbox).code == 0
    is_parked(node)


def test_an_add_that_fails_leaves_a_port_to_be_made_anew(node: PoolNode, sandbox: str) -> None:
    fill(node, VIF)
    node.give("uid-1", VIF)
    namespaces.run(sandbox, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "other")
    answer = node.call("ADD", "c1", sandbox)
    assert answer.document["code"] == 101
    assert INNER not in namespaces.run(sandbox, "ip", "link")
    assert "eth0" in namespaces.run(sandbox, "ip", "link")
    node.take_back()
    node.wait_parked(VIF)


def test_the_pods_own_port_is_not_parked(node: PoolNode, sandbox: str) -> None:
    node.put(kuryrport("uid-1", VIF))
    assert node.attach("c1", sandbox).code == 0
    node.wire(VIF)
    assert node.call("DEL", "c1", sandbox).code == 0
    assert node.ovs.ports() == set()


ADD_STEPS = (
    "kuryr.net.switch.Switch.begin_to_replace",
    "kuryr.cni.binding.container.take",
    "kuryr.cni.binding.container.configure",
    "kuryr.net.links.Links.add_address",
    "kuryr.net.switch.Switch.wait_for",
)
DEL_STEPS = (
    "kuryr.cni.binding.container.put_back",
    "kuryr.net.links.Links.drop_program",
    "kuryr.net.links.Links.move",
    "kuryr.net.conntrack.flush",
    "kuryr.net.switch.Switch.begin_to_replace",
)
CASES = [("ADD", step) for step in ADD_STEPS] + [("DEL", step) for step in DEL_STEPS]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("then", ["DEL", "ADD"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("command", "step"), CASES)
def test_killed_at_any_step(
    node: PoolNode,
    sandbox: str,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    step: str,
    after: bool,
    then: str,
) -> None:
    """The thread ends as if the process had; then comes a new daemon with DEL, or the next sandbox with ADD."""
    fill(node, VIF)
    node.give("uid-1", VIF)
    if command == "DEL":
        add(node, "c1", sandbox)
    node.parking.stop()
    module, _, name = step.rpartition(".")
    owner = pkgutil.resolve_name(module)
    real = getattr(owner, name)

    def killed(*arguments: object, **more: object) -> object:
        if after:
            result = real(*arguments, **more)
            if callable(result):
                result()
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, killed)
        with pytest.raises(OSError, match="without a whole answer"):
            node.call(command, "c1", sandbox)
    node.restart()
    with namespaces.namespace("new") as new:
        if then == "ADD":
            pending = node.begin("ADD", "c2", new)
            node.wait_for_port(TAP, "c2")
            node.wire(VIF)
            assert pending.result().code == 0
            assert node.call("DEL", "c1", sandbox).code == 0
            assert node.ovs.external_ids(TAP)["kuryr-container"] == "c2"
            assert "10.10.1.7" in namespaces.run(new, "ip", "address", "show", "eth0")
            assert node.call("DEL", "c2", new).code == 0
        else:
            assert node.call("DEL", "c1", sandbox).code == 0
        assert "eth0" not in namespaces.run(sandbox, "ip", "link")
        node.take_back()
        node.list([VIF])
        is_parked(node)
        node.wire(VIF)
        node.give("uid-1", VIF)
        add(node, "c3", new)
        assert node.call("DEL", "c3", new).code == 0
    is_parked(node)
    assert here() == {TAP, INNER}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_killed_while_parking(node: PoolNode, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*arguments: object) -> None:
        raise SystemExit

    node.parking.stop()
    with monkeypatch.context() as patch:
        patch.setattr(node.switch.__class__, "begin_to_add", killed)
        node.restart()
        node.list([VIF, OTHER])
        node.parking._thread.join(10)
    assert here() == {TAP, INNER, vif_name("tap", SECOND), parked.inner_name(SECOND)}
    node.list([OTHER])
    node.restart()
    node.wait_parked(OTHER)
    eventually_here({vif_name("tap", SECOND), parked.inner_name(SECOND)})
