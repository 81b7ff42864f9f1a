# SPDX-License-Identifier: Apache-2.0
"""Who reaches whom: shell scripts for pods and the VM, and what their output says."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from devcloud import vm
from devcloud.demo.workloads import BLOB_PORT, BLOB_SIZE, NAMESPACE, PORT
from devcloud.kubernetes import kubectl

FAMILIES = (4, 6)


@dataclass(frozen=True)
class Endpoint:
    """A pod or the VM, as the demo sees it."""

    name: str
    node: str
    subnet: str
    addresses: tuple[str, str]
    """IPv4 and IPv6."""
    port_id: str
    is_vm: bool = False

    def address(self, family: int) -> str:
        """Its address of FAMILY, 4 or 6."""
        return self.addresses[FAMILIES.index(family)]

    def run(self, script: str) -> str:
        """Run a shell script there; gives what it prints."""
        if self.is_vm:
            return vm.console(script, timeout=120)
        return kubectl("exec", "--namespace", NAMESPACE, self.name, "--", "sh", "-c", script)


@dataclass(frozen=True)
class Check:
    """One thing that was tried, and how it went."""

    name: str
    passed: bool
    detail: str = ""


@dataclass(frozen=True)
class Reached:
    """Whether SOURCE reached TARGET by METHOD ("ping" or "tcp") and FAMILY."""

    source: str
    target: str
    method: str
    family: int
    passed: bool


def reach(source: Endpoint, targets: Sequence[Endpoint]) -> list[Reached]:
    """Ping and connect from SOURCE to every target, each family, side by side."""
    wanted = [
        (target, method, family) for target in targets for method in ("ping", "tcp") for family in FAMILIES
    ]
    output = ""
    # A line of the VM's console has its limit.
    for start in range(0, len(wanted), 8):
        output += source.run(reach_script(source.is_vm, wanted[start : start + 8])) + "\n"
    passed = set(output.split())
    return [
        Reached(source.name, target.name, method, family, _mark(target, method, family) in passed)
        for target, method, family in wanted
    ]


def reach_script(in_vm: bool, wanted: Iterable[tuple[Endpoint, str, int]]) -> str:
    """A script that prints a mark for each target that it reached."""
    commands = []
    for target, method, family in wanted:
        address = target.address(family)
        if method == "ping":
            command = f"ping -c 1 -W 3 {address}"
        elif in_vm:
            command = f"nc -w 3 {address} {PORT} < /dev/null"
        else:
            command = f"/agnhost connect {_with_port(address, PORT)} --timeout=3s"
        commands.append(f"({command} > /dev/null 2>&1 && echo {_mark(target, method, family)}) &")
    return " ".join([*commands, "wait"])


def transfer(source: Endpoint, target: Endpoint, family: int) -> list[Check]:
    """Fetch the target's blob to SOURCE and compare checksums; shows that full-sized packets pass intact."""
    address = target.address(family)
    if target.is_vm:
        own = target.run("sha256sum /www/blob")
        request = f"printf 'GET /blob HTTP/1.0\\r\\n\\r\\n' | nc -w 20 {address} {vm.OPEN_PORT}"
    else:
        own = target.run("sha256sum /tmp/blob")
        request = f"nc -w 20 {address} {BLOB_PORT} < /dev/null"
    # The tail is the blob: an HTTP answer has its headers before it.
    fetched = source.run(f"timeout 60 {_shell(request)} | tail -c {BLOB_SIZE} | sha256sum")
    name = f"5 MB {target.name} -> {source.name} IPv{family}"
    same = bool(own) and own.split()[0] == fetched.split()[0]
    return [Check(name, same, "" if same else f"sha256 there {own.strip()}, here {fetched.strip()}")]


def blocked(sources: Iterable[Endpoint], machine: Endpoint) -> list[Check]:
    """A port of the VM on which something listens, but which its security group does not let in."""
    local = machine.run(f"nc -w 3 127.0.0.1 {vm.BLOCKED_PORT} < /dev/null && echo open")
    checks = [Check(f"vm listens on {vm.BLOCKED_PORT}", "open" in local, local)]
    for source in sources:
        for family in FAMILIES:
            address = machine.address(family)
            said = source.run(
                f"nc -w 3 {address} {vm.BLOCKED_PORT} < /dev/null > /dev/null 2>&1 && echo open; true"
            )
            name = f"{source.name} -> vm:{vm.BLOCKED_PORT} IPv{family} blocked"
            checks.append(Check(name, "open" not in said, "it was let in" if "open" in said else ""))
    return checks


def guarded(name: str, check: Callable[[], Iterable[Check]]) -> list[Check]:
    """The checks' results; what they raise makes one failed check."""
    try:
        return list(check())
    except Exception as error:
        return [Check(name, False, f"{type(error).__name__}: {error}")]


def _shell(command: str) -> str:
    quoted = command.replace("'", "'\\''")
    return f"sh -c '{quoted}'"


def _mark(target: Endpoint, method: str, family: int) -> str:
    return f"{target.name}/{method}/{family}"


def _with_port(address: str, port: int) -> str:
    return f"[{address}]:{port}" if isinstance(ip_address(address), IPv6Address) else f"{address}:{port}"
