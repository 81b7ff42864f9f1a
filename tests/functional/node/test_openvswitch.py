# SPDX-License-Identifier: Apache-2.0
"""A pod's interface on Open vSwitch with OVN: attached, found again, and taken away."""

from __future__ import annotations

import json
import os
import pkgutil
import threading
import time

import pytest

from kuryr.cni import client
from kuryr.net import links, netns, offload
from kuryr.net.links import Route
from kuryr.objects.vif import Network, Subnet, VIFOpenVSwitch
from kuryr.objects.vif import Route as HostRoute
from tests.functional.node import namespaces
from tests.functional.node.node import MAC, PORT, TestNode, kuryrport, ovs_vif

TAP = "tap11111111-22"
SECOND = "66666666-2222-3333-4444-555555555555"
SECOND_TAP = "tap66666666-22"


def here(name: str) -> bool:
    with links.links() as link:
        return link.state(name) is not None


def test_a_pod_is_attached_and_detached(node: TestNode, sandbox: str) -> None:
    node.put(kuryrport("uid-1", ovs_vif()))
    answer = node.attach("c1", sandbox)
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

    assert node.call("DEL", "c1", sandbox).code == 0
    assert TAP not in node.ovs.ports()
    assert not here(TAP)
    assert node.call("DEL", "c1", sandbox).code == 0, "what is gone already is no error"
    assert node.call("DEL", "c1", "").code == 0
    assert node.call("DEL", "never", "/run/netns/never").code == 0


def test_both_families_are_usable_at_once(node: TestNode, sandbox: str) -> None:
    node.put(kuryrport("uid-1", ovs_vif(dual=True)))
    answer = node.attach("c1", sandbox)
    assert [ip["address"] for ip in answer.document["ips"]] == ["10.10.1.7/16", "fd00:10:10::7/64"]
    shown = json.loads(namespaces.run(sandbox, "ip", "-json", "-6", "address", "show", "eth0"))
    assert not [entry for entry in shown[0]["addr_info"] if entry.get("tentative")]
    assert "via fd00:10:10::1" in namespaces.run(sandbox, "ip", "-6", "route", "show", "default")
    with netns.entered(sandbox):
        assert not offload.tx_checksums("eth0"), "the userspace datapath passes packets on as they are"
        assert links.Links
    assert "127.0.0.1/8" in namespaces.run(sandbox, "ip", "address", "show", "lo")


def test_a_subnets_host_routes_and_a_gateway_outside_it(node: TestNode, sandbox: str) -> None:
    subnet = Subnet(
        cidr="10.10.1.7/32",
        ips=("10.10.1.7",),
        gateway="169.254.1.1",
        routes=(HostRoute(cidr="192.0.2.0/24", gateway="10.10.1.7"),),
    )
    network = Network(id="n", mtu=1400, subnets=(subnet,))
    node.put(kuryrport("uid-1", VIFOpenVSwitch(id=PORT, address=MAC, network=network, vif_name=TAP)))
    answer = node.attach("c1", sandbox)
    assert answer.code == 0, answer
    with netns.entered(sandbox), links.links() as link:
        assert link.has_route(Route("0.0.0.0/0", "169.254.1.1"))
        assert link.has_route(Route("192.0.2.0/24"))


def test_two_interfaces(node: TestNode, sandbox: str) -> None:
    second = ovs_vif(SECOND, mac="fa:16:3e:00:00:08")
    node.put(kuryrport("uid-1", ovs_vif(), second))
    pending = node.begin("ADD", "c1", sandbox)
    for name in (TAP, SECOND_TAP):
        node.wait_for_port(name, "c1")
        node.ovs.install(name)
    answer = pending.result()
    assert answer.code == 0, answer
    assert [entry["name"] for entry in answer.document["interfaces"]] == [TAP, "eth0", SECOND_TAP, "eth1"]
    assert [ip["interface"] for ip in answer.document["ips"]] == [1, 3]
    assert answer.document["routes"] == [{"dst": "0.0.0.0/0", "gw": "10.10.0.1"}], "only the first has them"
    assert node.call("CHECK", "c1", sandbox, prevResult=answer.document).code == 0
    assert node.call("DEL", "c1", sandbox).code == 0
    assert node.ovs.ports() == set()


def test_check_says_what_is_missing(node: TestNode, sandbox: str) -> None:
    node.put(kuryrport("uid-1", ovs_vif(dual=True)))
    result = node.attach("c1", sandbox).document

    def check() -> str:
        answer = node.call("CHECK", "c1", sandbox, prevResult=result)
        assert answer.code == (1 if answer.document else 0)
        return str(answer.document.get("msg", ""))

    assert check() == ""
    namespaces.run(sandbox, "ip", "route", "del", "default")
    assert "route to 0.0.0.0/0 via 10.10.0.1" in check()
    namespaces.run(sandbox, "ip", "route", "add", "default", "via", "10.10.0.1")
    namespaces.run(sandbox, "ip", "address", "add", "192.0.2.1/24", "dev", "eth0")
    assert check() == "", "what others add is fine"
    namespaces.run(sandbox, "ip", "address", "del", "10.10.1.7/16", "dev", "eth0")
    assert "does not have the address 10.10.1.7/16" in check()
    node.ovs.vsctl("del-port", "br-int", TAP)
    assert "no port" in check()
    assert node.call("DEL", "c1", sandbox).code == 0
    assert "eth0" not in namespaces.run(sandbox, "ip", "link"), (
        "the interface without a port is taken away too"
    )


def test_a_late_del_of_an_older_sandbox_changes_nothing(node: TestNode, sandbox: str) -> None:
    node.put(kuryrport("uid-1", ovs_vif()))
    assert node.attach("old", sandbox).code == 0
    with namespaces.namespace("new") as new:
        assert node.attach("new", new).code == 0, "the pod's new sandbox takes the port over"
        assert node.call("DEL", "old", sandbox).code == 0
        assert node.ovs.external_ids(TAP)["kuryr-container"] == "new"
        assert "10.10.1.7" in namespaces.run(new, "ip", "address", "show", "eth0")
        assert here(TAP)
        assert node.ovs.vsctl("get", "interface", TAP, "error") == "[]"
        assert node.ovs.vsctl("get", "interface", TAP, "link_state") == "up"
        assert node.call("DEL", "new", new).code == 0
    assert node.ovs.ports() == set()


def test_the_port_of_an_earlier_pod_of_the_name_is_never_used(node: TestNode, sandbox: str) -> None:
    node.timeout = 0.2
    node.put(kuryrport("uid-old", ovs_vif()))
    answer = node.call("ADD", "c1", sandbox, "uid-new")
    assert answer.document["code"] == 11
    assert "KuryrPort of an earlier pod of this name (UID uid-old)" in answer.document["msg"]
    assert node.ovs.ports() == set()
    assert node.heard.failures == [("default/web", answer.document["msg"])]


def test_a_static_pods_uid_is_not_looked_at(node: TestNode, sandbox: str) -> None:
    port = kuryrport("uid-of-the-mirror", ovs_vif())
    port.spec.pod_static = True
    node.put(port)
    assert node.attach("c1", sandbox, "uid-of-the-file").code == 0


def test_a_runtime_that_does_not_tell_the_uid(node: TestNode, sandbox: str) -> None:
    node.put(kuryrport(node.uid_by_api, ovs_vif()))
    assert node.attach("c1", sandbox, "").code == 0


def test_add_waits_for_the_kuryrport(node: TestNode, sandbox: str) -> None:
    pending = node.begin("ADD", "c1", sandbox)
    node.put(kuryrport("uid-1"))
    node.put(kuryrport("uid-1", ovs_vif()))
    node.wait_for_port(TAP, "c1")
    node.ovs.install(TAP)
    assert pending.result().code == 0


def test_add_waits_on_while_others_of_the_node_come(node: TestNode, sandbox: str) -> None:
    node.timeout = 2.0
    pending = node.begin("ADD", "c1", sandbox)
    for number in range(8):
        node.put(kuryrport(f"other-{number}", ovs_vif(SECOND), name=f"other-{number}"))
        time.sleep(0.5)
    assert not pending.done()
    node.timeout = 10.0
    node.put(kuryrport("uid-1", ovs_vif()))
    node.wait_for_port(TAP, "c1")
    node.ovs.install(TAP)
    assert pending.result().code == 0


def test_a_port_that_is_never_wired_leaves_nothing(node: TestNode, sandbox: str) -> None:
    node.timeout = 0.5
    node.put(kuryrport("uid-1", ovs_vif()))
    answer = node.call("ADD", "c1", sandbox)
    assert answer.document["code"] == 11
    assert "OVN has not wired it: look at ovn-controller" in answer.document["msg"]
    assert PORT in answer.document["msg"]
    assert node.ovs.ports() == set()
    assert not here(TAP)
    assert "eth0" not in namespaces.run(sandbox, "ip", "link")


def test_del_ends_an_add_that_waits(node: TestNode, sandbox: str) -> None:
    node.put(kuryrport("uid-1", ovs_vif()))
    pending = node.begin("ADD", "c1", sandbox)
    node.wait_for_port(TAP, "c1")
    assert node.call("DEL", "c1", sandbox).code == 0
    assert "the sandbox is being removed" in pending.result().document["msg"]
    assert node.ovs.ports() == set()


def test_a_newer_sandbox_ends_an_older_ones_add(node: TestNode, sandbox: str) -> None:
    node.put(kuryrport("uid-1", ovs_vif()))
    older = node.begin("ADD", "old", sandbox)
    node.wait_for_port(TAP, "old")
    with namespaces.namespace("new") as new:
        answer = node.attach("new", new)
        assert answer.code == 0, answer
        assert "sandbox new of the same pod came" in older.result().document["msg"]
        assert node.ovs.external_ids(TAP)["kuryr-container"] == "new"
        assert node.call("DEL", "new", new).code == 0


def test_an_add_whose_executable_was_killed_plugs_nothing(node: TestNode, sandbox: str) -> None:
    import _socket

    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    connection.connect(node.path)
    variables = {
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": "killed",
        "CNI_NETNS": sandbox,
        "CNI_IFNAME": "eth0",
        "CNI_ARGS": "K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_UID=uid-1",
    }
    blocks = [
        "\0".join(f"{name}={value}" for name, value in variables.items()).encode(),
        b'{"cniVersion": "1.0.0", "name": "kuryr"}',
    ]
    request = bytes((client.WIRE_VERSION,))
    for block in blocks:
        request += len(block).to_bytes(4, "big") + block
    connection.sendall(request)
    connection.close()
    node.put(kuryrport("uid-1", ovs_vif()))
    ended = threading.Event()
    node.heard.on_failure = ended.set
    if not node.heard.failures:
        assert ended.wait(10)
    assert "the container runtime gave up" in node.heard.failures[0][1]
    assert node.ovs.ports() == set()


def test_an_interface_that_is_there_already_is_an_error(node: TestNode, sandbox: str) -> None:
    namespaces.run(sandbox, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "other")
    node.put(kuryrport("uid-1", ovs_vif()))
    answer = node.call("ADD", "c1", sandbox)
    assert answer.document["code"] == 101
    assert "has an interface eth0 already" in answer.document["msg"]
    assert node.ovs.ports() == set()
    assert "eth0" in namespaces.run(sandbox, "ip", "link"), "it is not ours to take away"
    assert node.call("DEL", "c1", sandbox).code == 0
    assert "eth0" in namespaces.run(sandbox, "ip", "link")


def test_a_namespace_that_is_gone(node: TestNode, sandbox: str) -> None:
    node.put(kuryrport("uid-1", ovs_vif()))
    answer = node.call("ADD", "c1", "/run/netns/gone")
    assert answer.document["code"] == 101
    assert "/run/netns/gone does not exist" in answer.document["msg"]
    with namespaces.namespace("short") as short:
        assert node.attach("c2", short).code == 0
        namespaces.delete(short)
        assert node.call("DEL", "c2", short).code == 0
    assert node.ovs.ports() == set()
    assert not here(TAP)


@pytest.mark.parametrize(
    ("vif", "words"),
    [
        (ovs_vif(bridge_name="br-none"), "bridge br-none does not exist on this node, which has br-int"),
        (ovs_vif(datapath_type="strange"), "datapath_type is 'strange'"),
    ],
)
def test_an_unknown_detail_is_refused(node: TestNode, sandbox: str, vif: VIFOpenVSwitch, words: str) -> None:
    node.put(kuryrport("uid-1", vif))
    answer = node.call("ADD", "c1", sandbox)
    assert answer.document["code"] == 101
    assert words in answer.document["msg"]
    assert "eth0" not in namespaces.run(sandbox, "ip", "link")


def test_an_unknown_class_of_vif_is_refused(node: TestNode, sandbox: str) -> None:
    port = kuryrport("uid-1", ovs_vif())
    port.status.vifs["eth0"].vif["versioned_object.name"] = "VIFQuantum"
    node.put(port)
    answer = node.call("ADD", "c1", sandbox)
    assert answer.document["code"] == 102
    assert "unknown class 'VIFQuantum'" in answer.document["msg"]


def test_gc_removes_what_is_not_listed(node: TestNode, sandbox: str) -> None:
    node.put(kuryrport("uid-1", ovs_vif()))
    node.put(kuryrport("uid-2", ovs_vif(SECOND, mac="fa:16:3e:00:00:08"), name="other"))
    assert node.attach("c1", sandbox).code == 0
    with namespaces.namespace("other") as other:
        pending = node.begin("ADD", "c2", other, "uid-2", pod="other")
        node.wait_for_port(SECOND_TAP, "c2")
        node.ovs.install(SECOND_TAP)
        assert pending.result().code == 0
        node.ovs.vsctl("add-port", "br-int", "foreign", "--", "set", "interface", "foreign", "type=internal")
        valid = [{"containerID": "c2", "ifname": "eth0"}]
        elsewhere = node.call("GC", "", "", **{"name": "another", "cni.dev/valid-attachments": []})
        assert elsewhere.code == 0
        assert {TAP, SECOND_TAP} <= node.ovs.ports(), "another network's garbage is not ours"
        assert node.call("GC", "", "", **{"cni.dev/valid-attachments": valid}).code == 0
        assert node.ovs.ports() == {SECOND_TAP, "foreign"}
        assert not here(TAP)


def test_after_a_restart_everything_is_found(node: TestNode, sandbox: str) -> None:
    node.put(kuryrport("uid-1", ovs_vif()))
    result = node.attach("c1", sandbox).document
    node.restart()
    assert node.call("CHECK", "c1", sandbox, prevResult=result).code == 0
    assert node.call("DEL", "c1", sandbox).code == 0
    assert node.ovs.ports() == set()


def test_what_a_killed_daemon_left_does_not_hinder(node: TestNode, sandbox: str) -> None:
    """Killed between making the pair and adding the port, then the runtime starts anew without a DEL."""
    namespaces.run(sandbox, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", TAP)
    with netns.entered(sandbox), links.links() as link:
        link.set_up("eth0", alias="kuryr c1")
    namespaces.run(sandbox, "ip", "link", "set", TAP, "netns", here_namespace())
    assert here(TAP)
    node.put(kuryrport("uid-1", ovs_vif()))
    with namespaces.namespace("new") as new:
        assert node.attach("c2", new).code == 0
        assert node.call("DEL", "c1", sandbox).code == 0
        assert TAP in node.ovs.ports()
        assert node.call("DEL", "c2", new).code == 0


def here_namespace() -> str:
    """Name of the namespace that this test runs in."""
    own = os.stat("/proc/thread-self/ns/net").st_ino
    return next(name for name in os.listdir("/run/netns") if os.stat(f"/run/netns/{name}").st_ino == own)


STEPS = (
    "kuryr.cni.binding.container.make_veth",
    "kuryr.net.links.Links.add_veth",
    "kuryr.net.links.Links.set_up",
    "kuryr.net.switch.Switch.begin_to_add",
    "kuryr.cni.binding.container.configure",
    "kuryr.net.links.Links.add_address",
    "kuryr.net.links.Links.add_route",
    "kuryr.net.switch.Switch.wait_for",
)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_nothing_is_left(
    node: TestNode, sandbox: str, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    """The thread ends as if the process had, with no chance to tidy up; then comes a new daemon, and DEL or ADD."""
    node.put(kuryrport("uid-1", ovs_vif()))
    node.switch.require()
    module, _, name = step.rpartition(".")
    owner = pkgutil.resolve_name(module)
    real = getattr(owner, name)

    def killed(*arguments: object, **more: object) -> object:
        if after:
            real(*arguments, **more)
        raise SystemExit

    if name == "wait_for":
        node.timeout = 0.1
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, killed)
        with pytest.raises(OSError, match="without a whole answer"):
            node.call("ADD", "c1", sandbox)
    node.timeout = 10
    node.restart()
    assert node.call("DEL", "c1", sandbox).code == 0
    assert node.ovs.ports() == set()
    assert not here(TAP)
    assert "eth0" not in namespaces.run(sandbox, "ip", "link")
    with namespaces.namespace("new") as new:
        assert node.attach("c2", new).code == 0
        assert node.call("DEL", "c2", new).code == 0
    assert node.ovs.ports() == set()
    assert not here(TAP)


def test_the_database_comes_back(node: TestNode, sandbox: str) -> None:
    node.put(kuryrport("uid-1", ovs_vif()))
    assert node.attach("c1", sandbox).code == 0
    node.ovs.kill("ovsdb-server")
    node.switch.timeout = 1.0
    answer = node.call("DEL", "c1", sandbox)
    assert answer.code == 0 or answer.document["code"] == 11
    assert node.call("STATUS", "", "").document.get("code") in (51, None)
    node.ovs.start_database()
    node.switch.timeout = 15.0
    assert node.call("DEL", "c1", sandbox).code == 0
    assert TAP not in node.ovs.ports()
