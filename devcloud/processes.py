# SPDX-License-Identifier: Apache-2.0
"""The processes of the development cloud, known by a name.

Each has a session of its own, a log (LOGS/<name>.log) and a pid file (RUN/<name>.pid) that holds the
pid and the process's start time, so that a pid which the kernel gave to another is never signalled.
"""

import os
import select
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from devcloud import paths, shell

MARK = "KURYR_DEVCLOUD_PROCESS"
"""Set in each process's environment, and so in its children's: finds those that nobody recorded."""

_children: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True)
class Recorded:
    """What a pid file holds."""

    pid: int
    start_time: int


@dataclass(frozen=True)
class Stat:
    """A process's state letter, its process group, and its start in clock ticks since boot."""

    state: str
    group: int
    start_time: int


def log_file(name: str) -> Path:
    """Where the process of this name prints."""
    return paths.LOGS / f"{name}.log"


def start(
    name: str,
    argv: Sequence[shell.Argument],
    *,
    netns: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: shell.Argument | None = None,
) -> int:
    """Start a process, unless one of this name runs; return its pid.

    `env` is added to the caller's environment. What it prints goes to log_file(name).
    """
    if (known := _alive(name)) is not None:
        return known.pid
    extra = {**paths.environment_for(argv[0]), **(env or {})}
    command = shell.in_netns(netns, argv, extra)
    if netns is not None:
        extra.pop("LD_LIBRARY_PATH", None)
    paths.RUN.mkdir(parents=True, exist_ok=True)
    paths.LOGS.mkdir(parents=True, exist_ok=True)
    with log_file(name).open("ab") as log:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **extra, MARK: f"{paths.STATE}:{name}"},
            cwd=cwd or "/",
            start_new_session=True,
        )
    # Those that have ended are reaped here; the others outlive this program.
    _children[:] = [each for each in (*_children, child) if each.poll() is None]
    stat = _stat(child.pid)
    started = stat.start_time if stat else 0
    pid_file = _pid_file(name)
    written = pid_file.with_suffix(".tmp")
    written.write_text(f"{child.pid} {started}\n")
    written.replace(pid_file)
    return child.pid


def running(name: str) -> bool:
    """Whether the process of this name runs; one that ended and was not reaped yet does not."""
    return _alive(name) is not None


def pid(name: str) -> int | None:
    """The pid of the process of this name, None unless it runs."""
    known = _alive(name)
    return known.pid if known else None


class EndedError(Exception):
    """A process ended by itself; the message holds the end of its log."""


def wait_until(
    name: str, predicate: Callable[[], object], what: str, timeout: float, interval: float = 0.1
) -> None:
    """Like shell.wait_until for something that a process brings about: raises EndedError once it is gone."""

    def holds() -> object:
        if well := predicate():
            return well
        if not running(name):
            raise EndedError(f"{name} ended before {what}; the end of {log_file(name)}:\n{_log_end(name)}")
        return None

    shell.wait_until(holds, f"{name}: {what}", timeout, interval)


def names() -> list[str]:
    """Every name that has a pid file, running or not."""
    return sorted(file.stem for file in paths.RUN.glob("*.pid"))


def stop(name: str, timeout: float = 10) -> None:
    """End the process of this name with its process group: SIGTERM, after `timeout` seconds SIGKILL."""
    if (known := _alive(name)) is not None:
        _end(known.pid, timeout)
    end_orphans(name)
    _pid_file(name).unlink(missing_ok=True)


def stop_all(timeout: float = 10) -> None:
    """End every process that has a pid file, and then those of their children that are left."""
    for name in names():
        stop(name, timeout)
    for left in marked():
        _end(left, timeout)


def end_orphans(name: str) -> None:
    """End what is left of the process group of a process of this name that runs no more."""
    recorded = _recorded(name)
    if recorded is None or running(name):
        return
    stat = _stat(recorded.pid)
    # A pid is not given out again while it names a group; once it is, the group is another's.
    if stat is None or stat.start_time == recorded.start_time:
        for left in _group(recorded.pid):
            _end(left, 0)


def marked() -> list[int]:
    """The pids of living processes that carry this cloud's mark, recorded or not."""
    wanted = f"{MARK}={paths.STATE}:".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        if any(variable.startswith(wanted) for variable in environment.split(b"\0")):
            found.append(int(entry.name))
    return found


def _log_end(name: str) -> str:
    try:
        return log_file(name).read_text(errors="replace")[-1500:]
    except FileNotFoundError:
        return "(no log)"


def _pid_file(name: str) -> Path:
    return paths.RUN / f"{name}.pid"


def _alive(name: str) -> Recorded | None:
    recorded = _recorded(name)
    if recorded is None:
        return None
    stat = _stat(recorded.pid)
    if stat is None or stat.state in "ZX" or stat.start_time != recorded.start_time:
        return None
    return recorded


def _recorded(name: str) -> Recorded | None:
    try:
        return parse_pid_file(_pid_file(name).read_text())
    except FileNotFoundError:
        return None


def parse_pid_file(text: str) -> Recorded | None:
    """The content of a pid file; None when it was not written to its end."""
    fields = text.split()
    if len(fields) != 2 or not all(field.isdigit() for field in fields):
        return None
    return Recorded(int(fields[0]), int(fields[1]))


def parse_stat(text: str) -> Stat:
    """What is of use here out of /proc/<pid>/stat."""
    # The command's name, in parentheses, may hold spaces and parentheses.
    fields = text[text.rindex(")") + 1 :].split()
    return Stat(state=fields[0], group=int(fields[2]), start_time=int(fields[19]))


def _stat(pid: int) -> Stat | None:
    try:
        return parse_stat(Path(f"/proc/{pid}/stat").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return None


def _end(pid: int, timeout: float) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        for number, patience in ((signal.SIGTERM, timeout), (signal.SIGKILL, 10.0)):
            try:
                signal.pidfd_send_signal(descriptor, number)
            except ProcessLookupError:
                return
            if select.select([descriptor], [], [], patience)[0]:
                return
    finally:
        os.close(descriptor)
    raise TimeoutError(f"process {pid} is still there 10 s after SIGKILL")


def _group(group: int) -> list[int]:
    members = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            stat = _stat(int(entry.name))
            if stat is not None and stat.group == group and stat.state not in "ZX":
                members.append(int(entry.name))
    return members
