# SPDX-License-Identifier: Apache-2.0
"""What the development cloud needs of the machine, told before anything is started."""

import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from devcloud import network, packages, paths, processes
from devcloud.openstack import services

MEMORY_GIB = 8
DISK_GIB = 15
DISK_GIB_CACHED = 4

TOOLS = {
    "ip": "iproute2",
    "nsenter": "util-linux",
    "mount": "mount",
    "apt-get": "apt",
    "dpkg": "dpkg",
    "tail": "coreutils",
}
BUILD_TOOLS = {"cc": "gcc", "openssl": "openssl"}

API_PORTS = {
    "keystone": services.PORTS["keystone"],
    "neutron": services.PORTS["neutron"],
    "octavia": services.PORTS["octavia"],
    "etcd": 2379,
    "kube-apiserver": 6443,
}
"""The ports of processes, by the names that they are started under."""


class MissingError(Exception):
    """What is missing, one line for each."""


def root() -> None:
    """Raises MissingError unless this is root's process."""
    if os.geteuid() != 0:
        raise MissingError("- not root: run it as root (sudo make up)")


def check() -> None:
    """Raises MissingError that names every precondition which does not hold."""
    root()
    found: list[str] = []
    for each in (
        _tools,
        _named_directory,
        _namespaces,
        _memory,
        _disk,
        ports_in_use,
        _addresses,
        _octavia_link,
        _sources,
    ):
        found += each()
    if found:
        raise MissingError("\n".join(f"- {line}" for line in found))


def _tools() -> list[str]:
    wanted = dict(TOOLS)
    if not packages.openstack_installed():
        wanted |= BUILD_TOOLS
    return missing_tools(wanted, shutil.which)


def missing_tools(wanted: Mapping[str, str], which: Callable[[str], str | None]) -> list[str]:
    """A line for each program of `wanted` (program to Debian package) that `which` does not find."""
    return [
        f"program {tool!r} not found: apt-get install {package}"
        for tool, package in wanted.items()
        if which(tool) is None
    ]


def _named_directory() -> list[str]:
    named = paths.user_programs()
    if named is None or named.is_dir():
        return []
    return [f"KURYR_DEVCLOUD_BIN names {named}, which is no directory"]


def _namespaces() -> list[str]:
    # Tried in a child, so that this process stays where it is.
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True)
    if tried.returncode != 0:
        said = tried.stderr.strip()
        return [f"no network namespaces: `unshare --net` says {said!r} (a container without CAP_SYS_ADMIN?)"]
    return []


def _memory() -> list[str]:
    if processes.running("neutron"):
        return []
    return lack_of_memory(Path("/proc/meminfo").read_text())


def lack_of_memory(meminfo: str) -> list[str]:
    """A line if /proc/meminfo tells of too little."""
    match = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo, re.MULTILINE)
    available = int(match[1]) / 2**20 if match else 0.0
    if available < MEMORY_GIB:
        return [f"memory: {available:.1f} GiB available, {MEMORY_GIB} GiB needed"]
    return []


def _disk() -> list[str]:
    cached = packages.openstack_installed() and not packages.missing_go()
    lines = []
    for directory, needed in (
        (paths.CACHE, DISK_GIB_CACHED if cached else DISK_GIB),
        (paths.STATE, DISK_GIB_CACHED),
    ):
        there = next(parent for parent in (directory, *directory.parents) if parent.exists())
        free = shutil.disk_usage(there).free / 2**30
        if free < needed:
            lines.append(f"disk: {free:.1f} GiB free under {there} (for {directory}), {needed} GiB needed")
    return lines


def ports_in_use() -> list[str]:
    """A line for each port that we need and that another process has."""
    lines = []
    for name, port in API_PORTS.items():
        if processes.running(name):
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                lines.append(f"port 127.0.0.1:{port} ({name}): {error.strerror}; `ss -ltnp` shows who has it")
    return lines


def _addresses() -> list[str]:
    if Path("/sys/class/net", network.BRIDGE).exists():
        return []
    used = subprocess.run(["ip", "route", "get", network.HOST_IPV4], capture_output=True, text=True).stdout
    shown = subprocess.run(["ip", "-brief", "address"], capture_output=True, text=True).stdout
    if "10.250.0." in shown:
        return [f"the network 10.250.0.0/24 is in use on this machine already ({used.strip()})"]
    return []


def _octavia_link() -> list[str]:
    link = services.SYSTEM_OCTAVIA_RUN
    if link.exists() and not link.is_symlink():
        return [f"{link} exists and is not ours: an Octavia runs on this machine?"]
    return []


def _sources() -> list[str]:
    lines = []
    if packages.missing_debian():
        lines += unreachable("Debian's archive", debian_archive())
    if not packages.openstack_installed():
        lines += unreachable("the Python package index", f"{python_index()}/pip/")
    if missing := packages.missing_go():
        lines += _go([program.name for program in missing])
    return lines


def python_index() -> str:
    """The index that pip is configured with."""
    pip = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    configured = subprocess.run(pip, capture_output=True, text=True).stdout.strip()
    return (os.environ.get("PIP_INDEX_URL") or configured or "https://pypi.org/simple").rstrip("/")


def debian_archive() -> str:
    """The first archive in apt's sources."""
    directory = Path("/etc/apt")
    for file in (directory / "sources.list", *sorted((directory / "sources.list.d").glob("*"))):
        if file.exists() and (url := first_archive(file.read_text(errors="replace"))):
            return url
    return "http://deb.debian.org/debian"


def first_archive(sources: str) -> str:
    """The first URL of Debian itself in a file of apt's sources, in either format; '' if there is none."""
    for line in sources.splitlines():
        match = re.search(r"https?://\S+", line) if line.lstrip().startswith(("URIs:", "deb ")) else None
        if match is not None and "debian" in match[0]:
            return match[0].rstrip("/")
    return ""


def _go(missing: list[str]) -> list[str]:
    needed = packages.go_version_needed()
    wanted = ".".join(str(part) for part in needed)
    named = f"(for {', '.join(missing)}; or name a directory that has them in KURYR_DEVCLOUD_BIN)"
    if shutil.which("go") is None:
        return [f"no Go: version {wanted} or later is needed {named}"]
    said = subprocess.run(["go", "env", "GOVERSION", "GOPROXY"], capture_output=True, text=True).stdout
    version, proxies = (said.splitlines() + ["", ""])[:2]
    if go_version(version) < needed:
        return [f"Go is {version}, {wanted} or later is needed {named}"]
    proxy = next((each for each in re.split(r"[,|]", proxies) if each.startswith("http")), None)
    return unreachable("the Go module proxy", proxy) if proxy else []


def go_version(text: str) -> tuple[int, ...]:
    """`go1.26.8` as (1, 26, 8)."""
    match = re.search(r"(\d+(?:\.\d+)*)", text)
    return tuple(int(part) for part in match[1].split(".")) if match else ()


def unreachable(what: str, url: str) -> list[str]:
    """A line unless something answers at the URL."""
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=15).close()
    except urllib.error.HTTPError:
        # It answers: that is enough.
        return []
    except OSError as error:
        host = urllib.parse.urlsplit(url).hostname
        return [f"{what} ({host}) is not reachable: {getattr(error, 'reason', error)}"]
    return []
