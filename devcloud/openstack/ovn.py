# SPDX-License-Identifier: Apache-2.0
"""OVN: its databases on the host, and per node an Open vSwitch (in user space) with ovn-controller.

Geneve goes from node to node in user space as well: a bridge `br-phys` holds the link between the nodes,
and its internal port the tunnel's address.
"""

import json
from pathlib import Path

from devcloud import network, paths, processes, shell
from devcloud.network import Node
from devcloud.openstack.configuration import NB_SOCKET, SB_SOCKET

INTEGRATION_BRIDGE = "br-int"
EXTERNAL_BRIDGE = "br-ex"
UNDERLAY_BRIDGE = "br-phys"
PHYSICAL_NETWORK = "physnet1"

_CENTRAL = ("ovn-nb", "ovn-sb", "ovn-northd")
_LOGGING = ("-vconsole:info", "-vsyslog:off", "-vfile:off")


def start_central() -> None:
    """The northbound and southbound databases, and the translator between them."""
    NB_SOCKET.parent.mkdir(parents=True, exist_ok=True)
    for name, socket in (("nb", NB_SOCKET), ("sb", SB_SOCKET)):
        database = paths.DATA / f"ovn-{name}.db"
        if not database.exists():
            _create(database, paths.DEBROOT / f"usr/share/ovn/ovn-{name}.ovsschema")
        _start_ovsdb(f"ovn-{name}", database, socket)
    processes.start(
        "ovn-northd",
        [
            paths.program("ovn-northd"),
            f"--ovnnb-db=unix:{NB_SOCKET}",
            f"--ovnsb-db=unix:{SB_SOCKET}",
            f"--unixctl={NB_SOCKET.parent / 'northd.ctl'}",
            *_LOGGING,
        ],
        env=_environment(NB_SOCKET.parent),
    )
    northbound("init")


def northbound(*arguments: str) -> str:
    """ovn-nbctl."""
    program: list[shell.Argument] = [paths.program("ovn-nbctl"), "--timeout=30", f"--db=unix:{NB_SOCKET}"]
    return shell.run([*program, *arguments], env=_environment(NB_SOCKET.parent))


def southbound(*arguments: str) -> str:
    """ovn-sbctl."""
    program: list[shell.Argument] = [paths.program("ovn-sbctl"), "--timeout=30", f"--db=unix:{SB_SOCKET}"]
    return shell.run([*program, *arguments], env=_environment(SB_SOCKET.parent))


def vsctl(node: str, *arguments: str) -> str:
    """ovs-vsctl on a node's Open vSwitch."""
    program: list[shell.Argument] = [
        paths.program("ovs-vsctl"),
        "--timeout=30",
        f"--db=unix:{paths.ovsdb_socket(node)}",
    ]
    return shell.run([*program, *arguments], env=_environment(paths.node_run(node)))


def start_node(node: Node) -> None:
    """A node's Open vSwitch with its bridges, and its ovn-controller, registered as a chassis."""
    directory = paths.node_run(node.name)
    database = paths.DATA / f"{node.name}-ovs.db"
    if not database.exists():
        _create(database, paths.DEBROOT / "usr/share/openvswitch/vswitch.ovsschema")
    socket = paths.ovsdb_socket(node.name)
    _start_ovsdb(f"{node.name}-ovsdb", database, socket)
    vsctl(node.name, "--no-wait", "init")
    vsctl(node.name, "--no-wait", "set", "Open_vSwitch", ".", *_chassis(node))
    if not processes.running(f"{node.name}-ovs-vswitchd"):
        _forget_capabilities(node)
    processes.start(
        f"{node.name}-ovs-vswitchd",
        [
            paths.program("ovs-vswitchd"),
            f"unix:{socket}",
            f"--unixctl={directory / 'vswitchd.ctl'}",
            "--no-chdir",
            *_LOGGING,
        ],
        netns=node.netns,
        env=_environment(directory),
    )
    _bridges(node)
    _plain_firewall_commits(node)
    processes.start(
        f"{node.name}-ovn-controller",
        [
            paths.program("ovn-controller"),
            f"unix:{socket}",
            "--no-chdir",
            *_LOGGING,
        ],
        netns=node.netns,
        env=_environment(directory),
    )
    processes.wait_until(
        f"{node.name}-ovn-controller", lambda: node.name in chassis(), f"chassis {node.name} registered", 30
    )


def chassis() -> set[str]:
    """The host names of the registered chassis."""
    shown = southbound("--format=json", "--columns=hostname", "list", "Chassis")
    return {row[0] for row in json.loads(shown)["data"]}


def stop() -> None:
    """Stop the nodes' processes, then the databases."""
    for node in network.NODES:
        for program in ("ovn-controller", "ovs-vswitchd", "ovsdb"):
            processes.stop(f"{node.name}-{program}", timeout=5)
    for name in reversed(_CENTRAL):
        processes.stop(name, timeout=5)


def status() -> list[tuple[str, bool, str]]:
    """Each process's name, and whether it runs."""
    rows = [(name, processes.running(name), "") for name in _CENTRAL]
    for node in network.NODES:
        for program in ("ovsdb", "ovs-vswitchd", "ovn-controller"):
            name = f"{node.name}-{program}"
            rows.append((name, processes.running(name), ""))
    return rows


def _chassis(node: Node) -> list[str]:
    settings = {
        "external_ids:system-id": node.name,
        "external_ids:hostname": node.name,
        "external_ids:ovn-remote": f'"unix:{SB_SOCKET}"',
        "external_ids:ovn-encap-type": "geneve",
        "external_ids:ovn-encap-ip": node.tunnel_ipv4,
        "external_ids:ovn-bridge-datapath-type": "netdev",
        "external_ids:ovn-bridge-mappings": f"{PHYSICAL_NETWORK}:{EXTERNAL_BRIDGE}",
        "other_config:userspace-tso-enable": "false",
    }
    if node is network.NODES[0]:
        settings["external_ids:ovn-cms-options"] = "enable-chassis-as-gw"
    return [f"{key}={value}" for key, value in settings.items()]


def _datapath(node: Node) -> str:
    return vsctl(node.name, "--if-exists", "get", "Open_vSwitch", ".", "datapaths:netdev").strip()


def _forget_capabilities(node: Node) -> None:
    if record := _datapath(node):
        vsctl(node.name, "--no-wait", "clear", "Datapath", record, "capabilities")


def _plain_firewall_commits(node: Node) -> None:
    """Have ovn-controller commit connections of the firewall without a null SNAT.

    With it, Open vSwitch 3.1 in user space aborts when a connection's addresses and ports are used again
    (assertion in conn_update_state of lib/conntrack.c).
    """
    if not _datapath(node):
        new = ("--id=@new", "create", "Datapath", "datapath_version=0")
        vsctl(node.name, *new, "--", "set", "Open_vSwitch", ".", "datapaths:netdev=@new")
    record = _datapath(node)
    # Written by each ovs-vswitchd once, some time after its start.
    processes.wait_until(
        f"{node.name}-ovs-vswitchd",
        lambda: "ct_zero_snat" in vsctl(node.name, "get", "Datapath", record, "capabilities"),
        "it has told its capabilities",
        20,
    )
    vsctl(node.name, "set", "Datapath", record, "capabilities:ct_zero_snat=false")


def _bridges(node: Node) -> None:
    commands = []
    for bridge, link in (
        (INTEGRATION_BRIDGE, None),
        (UNDERLAY_BRIDGE, network.UNDERLAY),
        (EXTERNAL_BRIDGE, network.EXTERNAL),
    ):
        commands += ["--", "--may-exist", "add-br", bridge, "--", "set", "bridge", bridge]
        commands += ["datapath_type=netdev"]
        if link is None:
            commands += ["fail-mode=secure"]
        else:
            commands += ["--", "--may-exist", "add-port", bridge, link]
    vsctl(node.name, *commands)
    # An ovs-vswitchd that was started again has made its internal ports anew, without an address.
    for bridge, address, mtu in (
        (UNDERLAY_BRIDGE, node.tunnel_ipv4, network.UNDERLAY_MTU),
        (EXTERNAL_BRIDGE, node.external_ipv4, 1500),
    ):
        ip = ["ip", "-n", node.netns]
        shell.run([*ip, "address", "replace", f"{address}/24", "dev", bridge])
        shell.run([*ip, "link", "set", bridge, "mtu", str(mtu), "up"])
        # The datapath in user space fills in no checksums: the kernel has to.
        shell.run([paths.program("ethtool"), "-K", bridge, "tx", "off"], netns=node.netns)


def _create(database: Path, schema: Path) -> None:
    shell.run([paths.program("ovsdb-tool"), "create", database, schema], env=_environment(paths.RUN))


def _start_ovsdb(name: str, database: Path, socket: Path) -> None:
    processes.start(
        name,
        [
            paths.program("ovsdb-server"),
            database,
            f"--remote=punix:{socket}",
            f"--unixctl={socket.with_suffix('.ctl')}",
            "--no-chdir",
            *_LOGGING,
        ],
        env=_environment(socket.parent),
    )
    processes.wait_until(name, lambda: shell.listens(socket), f"it listens on {socket}", 20, interval=0.02)


def _environment(run: Path) -> dict[str, str]:
    """Where the programs of OVS and OVN, built for one instance per machine, find this one."""
    return {
        "OVS_RUNDIR": str(run),
        "OVN_RUNDIR": str(run),
        "OVS_LOGDIR": str(paths.LOGS),
        "OVN_LOGDIR": str(paths.LOGS),
        "OVS_DBDIR": str(paths.DATA),
        "OVN_DBDIR": str(paths.DATA),
        "OVS_SYSCONFDIR": str(paths.ETC),
        "OVN_SYSCONFDIR": str(paths.ETC),
        "OVS_PKGDATADIR": str(paths.DEBROOT / "usr/share/openvswitch"),
        "OVN_PKGDATADIR": str(paths.DEBROOT / "usr/share/ovn"),
    }
