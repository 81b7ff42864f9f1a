# SPDX-License-Identifier: Apache-2.0
"""Running a program once and timing it, with as little of our own in the time as can be."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

import msgspec


class Run(msgspec.Struct, frozen=True):
    """How one run went; ``seconds`` from the spawn to the end of the process."""

    seconds: float
    code: int
    stdout: bytes
    stderr: bytes


def run(argv: list[str], env: Mapping[str, str], stdin: bytes = b"") -> Run:
    """Run a program to its end."""
    files = [os.memfd_create(name) for name in ("stdin", "stdout", "stderr")]
    try:
        os.write(files[0], stdin)
        os.lseek(files[0], 0, os.SEEK_SET)
        actions = [(os.POSIX_SPAWN_DUP2, file, number) for number, file in enumerate(files)]
        began = time.perf_counter()
        pid = os.posix_spawn(argv[0], argv, env, file_actions=actions)
        _, status = os.waitpid(pid, 0)
        seconds = time.perf_counter() - began
        return Run(seconds, os.waitstatus_to_exitcode(status), _content(files[1]), _content(files[2]))
    finally:
        for file in files:
            os.close(file)


def _content(file: int) -> bytes:
    os.lseek(file, 0, os.SEEK_SET)
    chunks = []
    while chunk := os.read(file, 65536):
        chunks.append(chunk)
    return b"".join(chunks)
