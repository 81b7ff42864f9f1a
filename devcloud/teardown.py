# SPDX-License-Identifier: Apache-2.0
"""`down`: nothing of the development cloud is left but its cache."""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from devcloud import network, openstack, paths, processes, shell
from devcloud.steps import note


def down(stop_parts: Iterable[Callable[[], None]]) -> None:
    """Stop the parts that stand on OpenStack, OpenStack, and what is left; then remove the state."""
    for stop in stop_parts:
        stop()
    openstack.stop()
    processes.stop_all(timeout=5)
    network.down()
    for mount in mounts_under(paths.STATE, Path("/proc/self/mounts").read_text()):
        shell.run(["umount", "--lazy", mount])
    shutil.rmtree(paths.STATE, ignore_errors=True)
    if paths.STATE.exists():
        shutil.rmtree(paths.STATE)
    note("stopped; nothing is left but the cache")


def mounts_under(directory: Path, mounts: str) -> list[str]:
    """The mount points below a directory out of /proc/mounts, innermost first."""
    points = [line.split()[1].replace("\\040", " ") for line in mounts.splitlines() if line.strip()]
    return sorted((point for point in points if directory in Path(point).parents), key=len, reverse=True)
