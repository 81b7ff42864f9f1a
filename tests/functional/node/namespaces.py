# SPDX-License-Identifier: Apache-2.0
"""Network namespaces for tests."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from kuryr.net import netns

_numbers = itertools.count()


@contextmanager
def namespace(label: str) -> Iterator[str]:
    """A new namespace; its path."""
    name = f"kt-{os.getpid()}-{next(_numbers)}-{label}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        yield f"/run/netns/{name}"
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)


def delete(path: str) -> None:
    """Take a namespace away before its time."""
    subprocess.run(["ip", "netns", "del", os.path.basename(path)], check=True)


def run(path: str, *command: str) -> str:
    """What a command prints that runs in the namespace."""
    with netns.entered(path):
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
