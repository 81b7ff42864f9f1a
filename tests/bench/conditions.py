# SPDX-License-Identifier: Apache-2.0
"""Under which conditions the figures were taken."""

from __future__ import annotations

import os
import platform
import re
import sys
from configparser import ConfigParser
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from devcloud import kuryr, paths
from devcloud.shell import CommandError, run


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """``load`` is the machine's of the last minute, before the first figure; ``options`` are the controller's."""

    date: str
    commit: str
    changed: bool
    quick: bool
    cores: int
    processor: str
    memory_gib: float
    load: float
    kernel: str
    python: str
    versions: dict[str, str]
    options: dict[str, str] = {}


def read(*, quick: bool) -> Conditions:
    """The conditions now."""
    return Conditions(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=_git("rev-parse", "HEAD"),
        changed=bool(_git("status", "--porcelain", "--untracked-files=no")),
        quick=quick,
        cores=len(os.sched_getaffinity(0)),
        processor=_field("/proc/cpuinfo", "model name"),
        memory_gib=round(int(_field("/proc/meminfo", "MemTotal").split()[0]) / 2**20, 1),
        load=os.getloadavg()[0],
        kernel=platform.release(),
        python=sys.version.split()[0],
        options=_options(),
        versions={
            "Kubernetes": paths.KUBERNETES_VERSION,
            "etcd": paths.ETCD_VERSION,
            **_locked("devcloud/requirements-openstack.txt", ("neutron", "keystone")),
            **_debian(("openvswitch-switch", "ovn-central", "containerd")),
            **_locked("requirements/run.txt", ("os-vif", "pyroute2", "kubernetes", "cotyledon")),
        },
    )


def _options() -> dict[str, str]:
    """What decides how the development cloud's controller works: its handlers and drivers."""
    parser = ConfigParser(interpolation=None)
    parser.read(kuryr.controller_configuration_file())
    if not parser.has_section("kubernetes"):
        return {}
    return {
        name: value
        for name, value in parser["kubernetes"].items()
        if name == "enabled_handlers" or name.endswith(("_driver", "_drivers"))
    }


def _git(*arguments: str) -> str:
    try:
        return run(["git", "-C", str(paths.SOURCE), *arguments]).strip()
    except CommandError:
        return ""


def _field(file: str, name: str) -> str:
    for line in Path(file).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "0" if file == "/proc/meminfo" else ""


def _locked(file: str, packages: tuple[str, ...]) -> dict[str, str]:
    text = (paths.SOURCE / file).read_text()
    found = {name: re.search(rf"^{re.escape(name)}==([^\s;\\]+)", text, re.MULTILINE) for name in packages}
    return {name: match[1].strip() for name, match in found.items() if match}


def _debian(packages: tuple[str, ...]) -> dict[str, str]:
    text = (paths.SOURCE / "devcloud" / "packages-debian.txt").read_text()
    found = {name: re.search(rf"^{re.escape(name)}=(\S+)", text, re.MULTILINE) for name in packages}
    return {name: match[1] for name, match in found.items() if match}
