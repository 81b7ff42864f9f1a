# SPDX-License-Identifier: Apache-2.0
"""Running commands, and waiting for what they bring about."""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

from devcloud import children, paths

Argument = str | os.PathLike[str]


class CommandError(Exception):
    """A command ended with a code other than 0; the message holds its output."""


def in_netns(netns: str | None, argv: Sequence[Argument], env: Mapping[str, str]) -> list[str]:
    """The command line that runs argv in a named network namespace (nsenter: the mounts stay the host's)."""
    command = [os.fspath(argument) for argument in argv]
    if netns is None:
        return command
    # The variables are set behind nsenter, which must not load the program's libraries.
    library_path = env.get("LD_LIBRARY_PATH")
    setting = ["env", f"LD_LIBRARY_PATH={library_path}"] if library_path else []
    return ["nsenter", f"--net=/run/netns/{netns}", *setting, *command]


def run(
    argv: Sequence[Argument],
    *,
    netns: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Argument | None = None,
    input: str | None = None,
    check: bool = True,
    timeout: float | None = 600,
) -> str:
    """Run a command to its end and return its stdout.

    `env` is added to the caller's environment. Raises CommandError unless `check` is False.
    """
    extra = {**paths.environment_for(argv[0]), **(env or {})}
    command = in_netns(netns, argv, extra)
    if netns is not None:
        extra.pop("LD_LIBRARY_PATH", None)
    with children.started(
        command,
        stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **extra},
        cwd=cwd,
    ) as child:
        try:
            output, errors = child.communicate(input, timeout)
        except subprocess.TimeoutExpired as error:
            raise CommandError(f"`{' '.join(command)}` did not end within {timeout:.0f} s") from error
    if check and child.returncode != 0:
        said = (errors.strip() or output.strip())[-4000:]
        raise CommandError(f"`{' '.join(command)}` ended with code {child.returncode}: {said}")
    return output


def wait_until(predicate: Callable[[], object], what: str, timeout: float, interval: float = 0.1) -> None:
    """Return once the predicate holds; TimeoutError names `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not predicate():
        children.check()
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not so after {timeout:.0f} s")
        time.sleep(interval)


def listens(path: os.PathLike[str]) -> bool:
    """Whether somebody accepts connections on a unix socket (one that a killed process left does not)."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(os.fspath(path))
        except OSError:
            return False
    return True
