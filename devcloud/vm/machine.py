# SPDX-License-Identifier: Apache-2.0
"""A virtual machine on the pod network: what pods share their Neutron network with.

Its port is in the security group `demo-restricted`: ICMP and TCP 8080 come in, TCP 8081 does not
although something listens there.
"""

import fcntl
import json
import secrets
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from devcloud import paths, processes
from devcloud.neutron import Neutron
from devcloud.openstack import facts
from devcloud.shell import run, wait_until
from devcloud.steps import Step
from devcloud.vm import initrd

NAME = "vm"
NODE = "node1"
OPEN_PORT, BLOCKED_PORT = 8080, 8081
BLOB_SIZE = 5 * 1024 * 1024

_RECORD = paths.STATE / "vm.json"
_SOCKET = paths.RUN / "vm-console.sock"
_MEMORY = "160"


@dataclass(frozen=True)
class Machine:
    """The VM's port, and how the guest is to configure its interface."""

    port: str
    mac: str
    addresses: tuple[str, str]
    """IPv4 and IPv6, without prefix length."""
    prefix_lengths: tuple[int, int]
    gateways: tuple[str, str]
    mtu: int

    @property
    def tap(self) -> str:
        """The tap's name on the node, as Nova would call it."""
        return f"tap{self.port[:11]}"


class ConsoleError(Exception):
    """The guest's shell did not answer in time; the message holds what it did say."""


def steps() -> list[Step]:
    """What boots the VM."""
    return [
        Step("vm image", initrd.build, after=("debian packages",)),
        Step("vm", start, after=("vm image", "openstack", f"{NODE} ovs")),
    ]


def stop() -> None:
    """Stop the VM and take its tap away; the port stays in Neutron."""
    processes.stop(NAME)
    if _RECORD.exists() and Path(f"/run/netns/{paths.netns(NODE)}").exists():
        tap = current().tap
        if paths.ovsdb_socket(NODE).exists():
            _vsctl("--if-exists", "del-port", "br-int", tap, check=False)
        run(["ip", "link", "delete", tap], netns=paths.netns(NODE), check=False)


def status() -> list[tuple[str, bool, str]]:
    """The VM's name, whether it runs, its addresses."""
    detail = ", ".join(current().addresses) if _RECORD.exists() else ""
    return [(NAME, processes.running(NAME), detail)]


def start() -> None:
    """Make the VM's port and tap, boot it, and wait until its shell answers; a VM that runs as it should stays."""
    guest = _port()
    if processes.running(NAME):
        if _RECORD.exists() and current() == guest:
            return
        stop()
    _RECORD.write_text(json.dumps(asdict(guest)))
    _plug(guest)
    _SOCKET.unlink(missing_ok=True)
    processes.start(NAME, _qemu(guest), netns=paths.netns(NODE))
    wait_until(_SOCKET.exists, "the VM's console is there", timeout=30)
    # Emulated on two busy cores it boots in 3 s at best.
    wait_until(_booted, "the VM has booted", timeout=180, interval=1)


def current() -> Machine:
    """The VM as it was last started."""
    fields = json.loads(_RECORD.read_text())
    for name in ("addresses", "prefix_lengths", "gateways"):
        fields[name] = tuple(fields[name])
    return Machine(**fields)


def console(command: str, timeout: float = 60) -> str:
    """Run a shell command in the VM by its serial console and return what it prints.

    One caller at a time; others wait. A line may not be longer than 4,000 characters.

    :raises ConsoleError: when the command has not ended after TIMEOUT seconds.
    """
    mark = secrets.token_hex(8)
    with (paths.RUN / "vm-console.lock").open("w") as lock, socket.socket(socket.AF_UNIX) as line:
        fcntl.flock(lock, fcntl.LOCK_EX)
        line.settimeout(timeout)
        line.connect(str(_SOCKET))
        # Split by quotes, so that the mark is never found in an echo of the command itself.
        line.sendall(f"echo {mark[:8]}''{mark[8:]}; {command}; echo {mark[:8]}''{mark[8:]}\n".encode())
        deadline = time.monotonic() + timeout
        said = b""
        while said.count(mark.encode()) < 2:
            line.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                received = line.recv(65536)
            except TimeoutError:
                received = b""
            if not received:
                tail = said.decode(errors="replace")[-500:]
                raise ConsoleError(
                    f"the VM did not end `{command[:200]}` within {timeout:.0f} s; it said: {tail!r}"
                )
            said += received
    return said.decode(errors="replace").replace("\r\n", "\n").split(mark)[1].strip("\n")


def kernel_arguments(guest: Machine) -> str:
    """The kernel's command line: /init configures the interface by it."""
    settings: Mapping[str, Any] = {
        "address4": f"{guest.addresses[0]}/{guest.prefix_lengths[0]}",
        "gateway4": guest.gateways[0],
        "address6": f"{guest.addresses[1]}/{guest.prefix_lengths[1]}",
        "gateway6": guest.gateways[1],
        "mtu": guest.mtu,
        "blob": BLOB_SIZE,
        "open": OPEN_PORT,
        "blocked": BLOCKED_PORT,
    }
    return "console=ttyS0 quiet panic=-1 " + " ".join(
        f"guest.{name}={value}" for name, value in settings.items()
    )


def _booted() -> bool:
    try:
        return console("echo up", timeout=3) == "up"
    except (ConsoleError, OSError):
        return False


def _port() -> Machine:
    """The VM's port: the one there is, or a new one."""
    cloud = Neutron()
    known = facts.read()
    network, subnets = known["networks"]["pods"], known["subnets"]["pods"]
    found = cloud.ports(name=NAME, network_id=network)
    port = (
        found[0]
        if found
        else cloud.create(
            "port",
            **{
                "name": NAME,
                "project_id": known["projects"]["k8s"],
                "network_id": network,
                "fixed_ips": [{"subnet_id": subnets["4"]}, {"subnet_id": subnets["6"]}],
                "security_groups": [known["security_groups"]["demo-restricted"]],
                "device_owner": "compute:nova",
                "device_id": NAME,
                "binding:host_id": NODE,
            },
        )
    )
    addresses = {address["subnet_id"]: address["ip_address"] for address in port["fixed_ips"]}
    details = [cloud.get("subnet", subnets[family]) for family in ("4", "6")]
    return Machine(
        port=port["id"],
        mac=port["mac_address"],
        addresses=(addresses[subnets["4"]], addresses[subnets["6"]]),
        prefix_lengths=(ip_network(details[0]["cidr"]).prefixlen, ip_network(details[1]["cidr"]).prefixlen),
        gateways=(details[0]["gateway_ip"], details[1]["gateway_ip"]),
        mtu=known["mtu"],
    )


def _plug(guest: Machine) -> None:
    namespace = paths.netns(NODE)
    if guest.tap not in run(["ip", "-o", "link", "show", "type", "tun"], netns=namespace):
        run(["ip", "tuntap", "add", guest.tap, "mode", "tap"], netns=namespace)
    run(["ip", "link", "set", guest.tap, "mtu", str(guest.mtu), "up"], netns=namespace)
    _vsctl(
        *("--may-exist", "add-port", "br-int", guest.tap, "--", "set", "interface", guest.tap),
        *(f"external_ids:iface-id={guest.port}", f'external_ids:attached-mac="{guest.mac}"'),
        *("external_ids:iface-status=active",),
    )


def _vsctl(*arguments: str, check: bool = True) -> str:
    program = str(paths.program("ovs-vsctl"))
    return run([program, f"--db=unix:{paths.ovsdb_socket(NODE)}", "--timeout=10", *arguments], check=check)


def _qemu(guest: Machine) -> list[str]:
    share = paths.DEBROOT / "usr" / "share"
    return [
        str(paths.program("qemu-system-x86_64")),
        *("-L", str(share / "qemu"), "-L", str(share / "seabios")),
        *("-machine", "pc", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "1", "-m", _MEMORY),
        *("-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none", "-no-reboot"),
        *("-serial", f"unix:{_SOCKET},server=on,wait=off"),
        # Without the virtio header the guest computes its checksums itself, as OVS in user space needs.
        *("-netdev", f"tap,id=n0,ifname={guest.tap},script=no,downscript=no,vnet_hdr=off"),
        *("-device", f"virtio-net-pci,netdev=n0,mac={guest.mac},romfile="),
        *("-kernel", str(initrd.kernel()), "-initrd", str(initrd.archive())),
        *("-append", kernel_arguments(guest)),
    ]
