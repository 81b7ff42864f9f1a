# SPDX-License-Identifier: Apache-2.0
"""The machine's own side of the network: a management bridge, and a network namespace per node.

`kdev0` on the host is 10.250.0.254 and fd00:10:250::fe; each node has `mgmt` on it. A second pair of
links joins the nodes to each other: `ul` carries the tunnels, `ex` the external network.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from devcloud import paths, shell
from devcloud.steps import Step

BRIDGE = "kdev0"
HOST_IPV4 = "10.250.0.254"
HOST_IPV6 = "fd00:10:250::fe"
EXTERNAL_CIDR = "172.24.4.0/24"
EXTERNAL_GATEWAY = "172.24.4.1"

MANAGEMENT = "mgmt"
UNDERLAY = "ul"
EXTERNAL = "ex"
UNDERLAY_MTU = 1600


@dataclass(frozen=True)
class Node:
    """A node's addresses, by its number from 1."""

    number: int

    @property
    def name(self) -> str:
        """The node's name, for Kubernetes and OVN alike."""
        return f"node{self.number}"

    @property
    def netns(self) -> str:
        """The name of its network namespace."""
        return paths.netns(self.name)

    @property
    def ipv4(self) -> str:
        """Its address on the management bridge."""
        return f"10.250.0.{self.number}"

    @property
    def ipv6(self) -> str:
        """Its address on the management bridge."""
        return f"fd00:10:250::{self.number}"

    @property
    def tunnel_ipv4(self) -> str:
        """Its end of the tunnels."""
        return f"10.250.1.{self.number}"

    @property
    def external_ipv4(self) -> str:
        """Its address on the external network."""
        return f"172.24.4.{self.number}"


NODES = tuple(Node(number) for number in range(1, len(paths.NODES) + 1))


def steps() -> list[Step]:
    """What makes the network."""
    return [Step("node network", up)]


def up() -> None:
    """Make the bridge, the namespaces and the links between them; what is there stays."""
    if not _exists(BRIDGE):
        _ip("link", "add", BRIDGE, "type", "bridge")
    _ip("address", "replace", f"{HOST_IPV4}/24", "dev", BRIDGE)
    _ip("address", "replace", f"{HOST_IPV6}/64", "dev", BRIDGE, "nodad")
    _ip("link", "set", BRIDGE, "up")
    # Of this interface only: node2 reaches the external network by way of the host.
    _sysctl(None, f"net/ipv4/conf/{BRIDGE}/forwarding", "1")
    for node in NODES:
        _node_up(node)
    first, second = NODES
    for link in (UNDERLAY, EXTERNAL):
        if not _exists(link, first.netns):
            _ip(
                "link", "add", link, "netns", first.netns, "type", "veth",
                "peer", "name", link, "netns", second.netns,
            )  # fmt: skip
        for node in NODES:
            _ip("link", "set", link, "mtu", str(UNDERLAY_MTU), "up", netns=node.netns)
    _ip("route", "replace", EXTERNAL_CIDR, "via", first.ipv4)


def down() -> None:
    """Take away the bridge and the namespaces, and with them every link."""
    for node in NODES:
        if Path(f"/run/netns/{node.netns}").exists():
            _ip("netns", "delete", node.netns)
    if _exists(BRIDGE):
        _ip("link", "delete", BRIDGE)


def status() -> list[tuple[str, bool, str]]:
    """Whether the bridge and the namespaces are there."""
    rows = [("bridge kdev0", _exists(BRIDGE), HOST_IPV4)]
    for node in NODES:
        rows.append((f"namespace {node.netns}", _exists(MANAGEMENT, node.netns), node.ipv4))
    return rows


def _node_up(node: Node) -> None:
    if not Path(f"/run/netns/{node.netns}").exists():
        _ip("netns", "add", node.netns)
    _ip("link", "set", "lo", "up", netns=node.netns)
    if not _exists(MANAGEMENT, node.netns):
        host_end = f"kdev-{node.name}"
        _ip(
            "link", "add", host_end, "type", "veth", "peer", "name", MANAGEMENT, "netns", node.netns
        )  # fmt: skip
        _ip("link", "set", host_end, "master", BRIDGE, "up")
    _ip("address", "replace", f"{node.ipv4}/24", "dev", MANAGEMENT, netns=node.netns)
    _ip("address", "replace", f"{node.ipv6}/64", "dev", MANAGEMENT, "nodad", netns=node.netns)
    _ip("link", "set", MANAGEMENT, "up", netns=node.netns)
    _ip("route", "replace", "default", "via", HOST_IPV4, netns=node.netns)
    _ip("-6", "route", "replace", "default", "via", HOST_IPV6, netns=node.netns)
    _sysctl(node.netns, "net/ipv4/ip_forward", "1")
    _sysctl(node.netns, "net/ipv6/conf/all/forwarding", "1")


def _exists(link: str, netns: str | None = None) -> bool:
    if netns is not None and not Path(f"/run/netns/{netns}").exists():
        return False
    shown = shell.run(["ip", "-json", *(["-n", netns] if netns else []), "link", "show"])
    return any(entry.get("ifname") == link for entry in json.loads(shown or "[]"))


def _ip(*arguments: str, netns: str | None = None) -> None:
    shell.run(["ip", *(["-n", netns] if netns else []), *arguments])


def _sysctl(netns: str | None, key: str, value: str) -> None:
    # /proc/sys/net shows the namespace of the process that opens it.
    if netns is None:
        Path("/proc/sys", key).write_text(value)
    else:
        shell.run(["sh", "-c", f"echo {value} > {os.path.join('/proc/sys', key)}"], netns=netns)
