# SPDX-License-Identifier: Apache-2.0
"""A node's own cgroup, in every hierarchy of cgroup v1 or in the one of v2."""

import contextlib
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


def create(name: str) -> None:
    """Make the cgroup NAME below the root of every hierarchy, ready to hold containers."""
    if (ROOT / "cgroup.controllers").exists():
        _delegate_all()
    for directory in _directories(name):
        directory.mkdir(exist_ok=True)
        # A new cpuset of v1 is empty and admits no process until it is told its CPUs and memory nodes.
        for setting in ("cpuset.cpus", "cpuset.mems"):
            own, parent = directory / setting, directory.parent / setting
            if own.exists() and parent.exists() and not own.read_text().strip():
                own.write_text(parent.read_text())


def remove(name: str) -> None:
    """Remove the cgroup NAME and what is below it.

    :raises OSError: when a process is still in it.
    """
    for directory in _directories(name):
        below = [path for path in directory.rglob("*") if path.is_dir()]
        for path in [*sorted(below, key=lambda path: len(path.parts), reverse=True), directory]:
            # A runtime that is just ending removes its own.
            with contextlib.suppress(FileNotFoundError):
                path.rmdir()


def processes(name: str) -> set[int]:
    """Every process in the cgroup NAME or below it."""
    found: set[int] = set()
    for directory in _directories(name):
        for listing in directory.rglob("cgroup.procs"):
            found.update(int(pid) for pid in listing.read_text().split())
    return found


def _directories(name: str) -> list[Path]:
    if (ROOT / "cgroup.controllers").exists():
        return [ROOT / name]
    hierarchies = [path for path in ROOT.iterdir() if path.is_dir() and not path.is_symlink()]
    return [path / name for path in hierarchies if (path / "cgroup.procs").exists()]


def _delegate_all() -> None:
    """Let the children of the root of cgroup v2 use every controller that there is."""
    control = ROOT / "cgroup.subtree_control"
    missing = set((ROOT / "cgroup.controllers").read_text().split()) - set(control.read_text().split())
    if missing:
        control.write_text(" ".join(f"+{controller}" for controller in sorted(missing)))
