# SPDX-License-Identifier: Apache-2.0
"""kuryr-cni as a file for the runtime's directory of plugins: compiled, or a script for an interpreter.

Both do the same. A pod waits some ten milliseconds less for the compiled one, and its node computes as much less.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kuryr.cni import client
from kuryr.errors import ConfigurationError

NAME = "kuryr-cni"
COMPILER = "cc"
_SOURCE = Path(client.__file__).with_name("client.c")
_FLAGS = ("-std=c11", "-O2", "-fstack-protector-strong", "-s")
_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Executable:
    """What is to be installed.

    :ivar made_by: the compiler or the interpreter, for people.
    """

    content: bytes
    made_by: str


def compiled(compiler: str) -> Executable:
    """kuryr-cni as a program of this machine; with the C library in it where that can be, so that it runs beside any other.

    :param compiler: a C compiler that takes the usual arguments.
    :raises ConfigurationError: where it does not compile, or what it made does not run here.
    """
    with tempfile.TemporaryDirectory(prefix="kuryr-cni-") as directory:
        program = Path(directory) / NAME
        try:
            _compile(compiler, program, "-static")
        except ConfigurationError:
            _compile(compiler, program)
        return Executable(program.read_bytes(), f"compiled by {compiler}")


def _compile(compiler: str, program: Path, *more: str) -> None:
    try:
        done = subprocess.run(
            [compiler, *_FLAGS, *more, "-o", program, _SOURCE],
            capture_output=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(f"{compiler} does not compile {NAME}: {error}") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise ConfigurationError(f"{compiler} does not compile {NAME}: {said}")
    if trouble := _trouble([str(program)]):
        raise ConfigurationError(f"{NAME} as {compiler} makes it does not run here: {trouble}")


def script(interpreters: Sequence[str]) -> Executable:
    """kuryr-cni for the first interpreter that runs it, isolated and without site packages.

    :raises ConfigurationError: where none does.
    """
    failures = []
    for interpreter in interpreters:
        if trouble := _trouble([interpreter, "-IS", client.__file__]):
            failures.append(f"{interpreter}: {trouble}")
            continue
        _, _, body = Path(client.__file__).read_bytes().partition(b"\n")
        return Executable(f"#!{interpreter} -IS\n".encode() + body, f"runs on {interpreter}")
    raise ConfigurationError(f"no Python interpreter runs {NAME}: {'; '.join(failures)}")


def best() -> Executable:
    """Compiled where there is a C compiler that can, else a script.

    :raises ConfigurationError: where neither works.
    """
    compiler = shutil.which(COMPILER)
    try:
        if compiler:
            return compiled(compiler)
        reason = f"there is no {COMPILER}"
    except ConfigurationError as error:
        reason = str(error)  # a compiler without the C library's headers is as good as none
    own: str = getattr(sys, "_base_executable", "") or sys.executable
    # The system's interpreter is there when no virtual environment is; then the one behind this process.
    made = script(["/usr/bin/python3", os.path.realpath(own)])
    return Executable(made.content, f"{made.made_by}, not compiled: {reason}")


def _trouble(command: Sequence[str]) -> str:
    """What is wrong with a kuryr-cni, "" where it answers."""
    try:
        done = subprocess.run(
            command,
            input=b"{}",
            env={"CNI_COMMAND": "VERSION"},
            capture_output=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except OSError as error:
        return error.strerror or str(error)
    except subprocess.TimeoutExpired:
        return "it does not answer"
    if done.returncode == 0 and b"supportedVersions" in done.stdout:
        return ""
    return done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
