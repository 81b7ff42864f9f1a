# SPDX-License-Identifier: Apache-2.0
"""Memory of the controller and of a daemon: PSS over all of a program's processes."""

from __future__ import annotations

from pathlib import Path

from devcloud import kuryr, processes
from devcloud.kubernetes.cluster import NODES
from tests.bench.figures import Figure, MeasurementError
from tests.bench.pods import namespace, running
from tests.bench.settings import Bench

LIMIT_CONTROLLER = 150.0
LIMIT_DAEMON = 120.0


def measure(bench: Bench) -> list[Figure]:
    """While pods run."""
    number = bench.amounts.standing
    with namespace(bench.client()) as space, running(space, number):
        controller = _pss(kuryr.CONTROLLER)
        daemons = [_pss(kuryr.daemon_name(node)) for node in NODES]
    remark = f"with {number} pods; the daemons: {', '.join(f'{each:.0f} MB' for each in daemons)}"
    return [
        Figure(name="controller's memory (PSS)", value=controller, unit="MB", n=1, limit=LIMIT_CONTROLLER),
        Figure(
            name="larger daemon's memory (PSS)",
            value=max(daemons),
            unit="MB",
            n=len(daemons),
            limit=LIMIT_DAEMON,
            remark=remark,
        ),
    ]


def _pss(name: str) -> float:
    """MB of a program of the development cloud."""
    root = processes.pid(name)
    if root is None:
        raise MeasurementError(f"{name} does not run")
    return pss(root)


def pss(root: int) -> float:
    """MB (10^6 bytes) of PSS of a process and all its children."""
    return sum(_kilobytes(pid) for pid in _tree(root)) * 1024 / 1e6


def _tree(root: int) -> set[int]:
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _kilobytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise MeasurementError(f"/proc/{pid}/smaps_rollup has no Pss")
