# SPDX-License-Identifier: Apache-2.0
"""Where the time of a request went."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

KURYRPORT = "kuryrport"
NETLINK = "netlink"
OVS = "ovs"
UP = "up"
TOTAL = "total"


class Stages:
    """Seconds by stage, for one request; a stage may be entered several times."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the time of the block to a stage, however it ends."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - begin

    def finish(self) -> float:
        """Note and give the seconds since the request came."""
        total = time.monotonic() - self._started
        self.seconds[TOTAL] = total
        return total

    def __str__(self) -> str:
        return " ".join(f"{stage}={seconds:.4f}s" for stage, seconds in self.seconds.items())
