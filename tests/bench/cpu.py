# SPDX-License-Identifier: Apache-2.0
"""Who used the machine's processors, from /proc."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

import msgspec

from devcloud.processes import MARK

_TICKS = os.sysconf("SC_CLK_TCK")
_SHOWN = 0.2
"""Seconds; programs that used less are left out."""


class Snapshot(msgspec.Struct, frozen=True):
    """CPU seconds so far: of each process (pid and start time → program, seconds), and of the machine."""

    processes: dict[tuple[int, int], tuple[str, float]]
    busy: float
    stolen: float


def snapshot() -> Snapshot:
    """The state now."""
    processes: dict[tuple[int, int], tuple[str, float]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            head, _, rest = (entry / "stat").read_text().rpartition(")")
            fields = rest.split()
            program = _program(entry, head.partition("(")[2])
        except OSError:
            continue
        seconds = (int(fields[11]) + int(fields[12])) / _TICKS
        processes[(int(entry.name), int(fields[19]))] = (program, seconds)
    busy, stolen = _machine()
    return Snapshot(processes, busy, stolen)


def busy() -> float:
    """CPU seconds that the machine has used so far."""
    return _machine()[0]


def _machine() -> tuple[float, float]:
    total = [int(ticks) / _TICKS for ticks in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    user, nice, system, _, _, irq, softirq, steal = total[:8]
    return user + nice + system + irq + softirq, steal


def used(before: Snapshot, after: Snapshot) -> dict[str, float]:
    """CPU seconds by program between two snapshots, most first.

    ``ended`` is what processes used that were not there at the end, and the kernel; ``stolen`` what the machine
    did not get from its host.
    """
    seconds: defaultdict[str, float] = defaultdict(float)
    for key, (program, total) in after.processes.items():
        seconds[program] += total - before.processes.get(key, (program, 0.0))[1]
    seconds["ended"] = after.busy - before.busy - sum(seconds.values())
    seconds["stolen"] = after.stolen - before.stolen
    most_first = sorted(seconds.items(), key=lambda item: -item[1])
    return {program: round(value, 2) for program, value in most_first if value >= _SHOWN}


def _program(process: Path, command: str) -> str:
    """The development cloud's name of the process, else its command."""
    mark = f"{MARK}=".encode()
    for variable in (process / "environ").read_bytes().split(b"\0"):
        if variable.startswith(mark):
            return variable.decode(errors="replace").rpartition(":")[2]
    return command
