# SPDX-License-Identifier: Apache-2.0
"""The commands that this program runs to their end. Each leads a process group, and none outlives the program.

What is to outlive it is started by `processes`.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

_GRACE = 5.0

_lock = threading.Lock()
_running: set["subprocess.Popen[str]"] = set()
_interrupted = threading.Event()


class Terminated(KeyboardInterrupt):
    """SIGTERM came."""


class InterruptedStep(Exception):
    """Nothing more is to be begun: the program was told to stop."""


@contextmanager
def started(argv: Sequence[str], **options: Any) -> Iterator["subprocess.Popen[str]"]:
    """A command for the length of the block, which waits for it at its end; an exception ends it with its group."""
    with _lock:
        check()
        child = subprocess.Popen(argv, text=True, errors="replace", process_group=0, **options)
        _running.add(child)
    try:
        with child:
            try:
                yield child
            except BaseException:
                _signal(child, signal.SIGKILL)
                raise
    finally:
        with _lock:
            _running.discard(child)


def check() -> None:
    """Go on; raises InterruptedStep where the program was told to stop."""
    if _interrupted.is_set():
        raise InterruptedStep("interrupted")


def stop() -> None:
    """End all commands with their groups, and let no other begin."""
    _interrupted.set()
    with _lock:
        left = set(_running)
    for child in left:
        _signal(child, signal.SIGTERM)
    deadline = time.monotonic() + _GRACE
    for child in left:
        try:
            child.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            _signal(child, signal.SIGKILL)


def _signal(child: "subprocess.Popen[str]", number: int) -> None:
    # One that was waited for gives its pid back: the group may be another's by then.
    if child.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)
