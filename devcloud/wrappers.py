# SPDX-License-Identifier: Apache-2.0
"""Commands for people, with their credentials and libraries set, in STATE/bin."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from devcloud import packages, paths

ADMIN_KUBECONFIG = paths.ETC / "admin.kubeconfig"

_DEBIAN = (
    "usr/bin/ovs-vsctl",
    "usr/bin/ovs-ofctl",
    "usr/bin/ovs-appctl",
    "usr/bin/ovsdb-client",
    "usr/bin/ovn-nbctl",
    "usr/bin/ovn-sbctl",
    "usr/bin/ovn-trace",
    "usr/bin/tcpdump",
    "usr/sbin/conntrack",
    "sbin/ethtool",
    "bin/ping",
)


def script(program: Path, environment: Mapping[str, str], arguments: str = "") -> str:
    """A shell script that runs a program; variables which the caller has set take precedence."""
    lines = ["#!/bin/sh"]
    lines += [f": ${{{name}:={value}}}; export {name}" for name, value in environment.items()]
    lines.append(f'exec {shlex.quote(str(program))} {arguments}"$@"')
    return "\n".join(lines) + "\n"


def write_debian() -> None:
    """Wrappers of the programs out of Debian packages that people and Neutron call."""
    environment = {
        "LD_LIBRARY_PATH": paths.library_path(),
        "OVN_NB_DB": f"unix:{paths.RUN / 'ovn/nb.sock'}",
        "OVN_SB_DB": f"unix:{paths.RUN / 'ovn/sb.sock'}",
        "OVS_RUNDIR": str(paths.node_run(paths.NODES[0])),
    }
    for program in _DEBIAN:
        _write(Path(program).name, script(paths.DEBROOT / program, environment))


def write_clients() -> None:
    """Wrappers of `kubectl` and `openstack`."""
    clouds = {"OS_CLIENT_CONFIG_FILE": str(paths.CLOUDS), "OS_CLOUD": "k8s"}
    # The client's own messages about deprecated parts are of no use to anybody here.
    clouds["PYTHONWARNINGS"] = "ignore"
    _write("openstack", script(packages.openstack_venv() / "bin/openstack", clouds))
    try:
        kubectl = paths.program("kubectl")
    except FileNotFoundError:
        return
    _write("kubectl", script(kubectl, {"KUBECONFIG": str(ADMIN_KUBECONFIG)}))


def environment() -> str:
    """Shell commands that put the wrappers first in PATH, and set the credentials for other clients."""
    return "\n".join(
        (
            f'export PATH="{paths.COMMANDS}:$PATH"',
            f'export KUBECONFIG="{ADMIN_KUBECONFIG}"',
            f'export OS_CLIENT_CONFIG_FILE="{paths.CLOUDS}"',
            "export OS_CLOUD=k8s",
        )
    )


def what_to_try() -> str:
    """What `up` prints at its end."""
    commands = paths.COMMANDS
    return f"""
The development cloud is up. To try (or first: eval "$(make env)"):
  {commands}/kubectl get nodes,pods -A -o wide
  {commands}/openstack --os-cloud devcloud-admin service list
  {commands}/openstack port list
  {commands}/kubectl run hello --image=kuryr.local/agnhost:2.56 --restart=Never -- netexec
  {commands}/kubectl get kuryrports
  {commands}/ovn-nbctl show
Logs: make logs ({paths.LOGS})    State: make status    Again: make demo    Stop: make down
"""


def _write(name: str, text: str) -> None:
    file = paths.COMMANDS / name
    file.write_text(text)
    file.chmod(0o755)
