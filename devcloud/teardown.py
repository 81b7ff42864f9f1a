# SPDX-License-Identifier: Apache-2.0
"""`down`: nothing of the development cloud is left but its cache."""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from devcloud import network, openstack, paths, processes, shell
from devcloud.steps import note


class TeardownError(Exception):
    """Something could not be stopped or taken away; the message says what."""


def down(stop_parts: Iterable[Callable[[], None]]) -> None:
    """Stop the parts that stand on OpenStack, OpenStack, and what is left; then remove the state.

    What fails is told, and does not keep the rest from being stopped; raises TeardownError in the end.
    """
    failures = []
    for stop in (*stop_parts, openstack.stop, lambda: processes.stop_all(timeout=5), network.down):
        try:
            stop()
        except (OSError, shell.CommandError) as error:
            failures.append(str(error))
            note(f"going on after: {error}")
    for mount in mounts_under(paths.STATE, Path("/proc/self/mounts").read_text()):
        shell.run(["umount", "--lazy", mount])
    shutil.rmtree(paths.STATE, ignore_errors=True)
    if paths.STATE.exists():
        shutil.rmtree(paths.STATE)
    if failures:
        raise TeardownError("; ".join(failures))
    note("stopped; nothing is left but the cache")


def mounts_under(directory: Path, mounts: str) -> list[str]:
    """The mount points below a directory out of /proc/mounts, innermost first."""
    points = [line.split()[1].replace("\\040", " ") for line in mounts.splitlines() if line.strip()]
    return sorted((point for point in points if directory in Path(point).parents), key=len, reverse=True)
