# SPDX-License-Identifier: Apache-2.0
"""Where the development cloud keeps things, and where its programs are."""

import os
import shutil
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("KURYR_DEVCLOUD_CACHE", "/var/cache/kuryr-devcloud"))
STATE = Path(os.environ.get("KURYR_DEVCLOUD_STATE", "/var/lib/kuryr-devcloud"))

RUN = STATE / "run"
LOGS = STATE / "logs"
ETC = STATE / "etc"
DATA = STATE / "data"
COMMANDS = STATE / "bin"
"""Wrappers for people: `kubectl`, `openstack`, … with their credentials set."""

DEBROOT = CACHE / "debroot"
BIN = CACHE / "bin"
FACTS = STATE / "openstack.json"
CLOUDS = STATE / "clouds.yaml"

KUBERNETES_VERSION = "1.34.4"
ETCD_VERSION = "3.6.16"
CNI_VERSION = "1.3.0"
KWOK_VERSION = "0.8.0"

GO_BIN = {
    "kubernetes": BIN / f"kubernetes-{KUBERNETES_VERSION}",
    "etcd": BIN / f"etcd-{ETCD_VERSION}",
    "cni": BIN / f"cni-{CNI_VERSION}",
    "kwok": BIN / f"kwok-{KWOK_VERSION}",
}

_DEBROOT_DIRECTORIES = (
    "usr/bin",
    "usr/sbin",
    "bin",
    "sbin",
    "usr/lib/openvswitch-switch",
    "usr/lib/qemu",
)
_LIBRARIES = ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib")

NODES = ("node1", "node2")


def netns(node: str) -> str:
    """The name of a node's network namespace."""
    return f"kdev-{node}"


def node_run(node: str) -> Path:
    """The directory of a node's sockets: ``db.sock`` is its OVSDB."""
    return RUN / node


def ovsdb_socket(node: str) -> Path:
    """The socket of a node's OVSDB."""
    return node_run(node) / "db.sock"


def user_programs() -> Path | None:
    """The directory of binaries that the user names (KURYR_DEVCLOUD_BIN), or None."""
    named = os.environ.get("KURYR_DEVCLOUD_BIN")
    return Path(named) if named else None


def program(name: str) -> Path:
    """The program to run: the user's (KURYR_DEVCLOUD_BIN), the cache's, or the system's.

    Raises FileNotFoundError that lists where it was looked for.
    """
    directories = [*GO_BIN.values(), *(DEBROOT / directory for directory in _DEBROOT_DIRECTORIES)]
    if (named := user_programs()) is not None:
        directories.insert(0, named)
    for directory in directories:
        candidate = directory / name
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate
    if found := shutil.which(name):
        return Path(found)
    looked = ", ".join(str(directory) for directory in directories)
    raise FileNotFoundError(f"program {name!r} is neither in {looked} nor in PATH; `make up` puts it there")


def library_path() -> str:
    """LD_LIBRARY_PATH for the programs under DEBROOT."""
    return ":".join(str(DEBROOT / directory) for directory in _LIBRARIES)


def environment_for(argv0: str | os.PathLike[str]) -> dict[str, str]:
    """What a program needs in its environment for the place that it comes from."""
    if DEBROOT in Path(argv0).parents:
        return {"LD_LIBRARY_PATH": library_path()}
    return {}


def make_directories() -> None:
    """Create the state's directories; only root may look inside."""
    for directory in (STATE, RUN, LOGS, ETC, DATA, COMMANDS, *(node_run(node) for node in NODES)):
        directory.mkdir(parents=True, exist_ok=True)
    STATE.chmod(0o700)
