# SPDX-License-Identifier: Apache-2.0
"""The controller as the program that users start."""

import configparser
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

from kuryr.k8s.errors import NotFound
from kuryr.k8s.lease import LEASES
from tests.functional.controller.harness import LEASE, World, get
from tests.functional.kubernetes import DIE_WITH_US, wait_until

PROGRAM = Path(sys.executable).with_name("kuryr-k8s-controller")


class Process:
    """A context manager; ``site`` is a directory of further installed packages."""

    def __init__(self, config_file: Path, *, site: Path | None = None) -> None:
        self.log = config_file.with_suffix(".log")
        parsed = configparser.ConfigParser(interpolation=None)
        parsed.read(config_file)
        self._ready = f"http://127.0.0.1:{parsed['health_server']['port']}/readyz"
        self._command = [str(PROGRAM), "--config-file", str(config_file)]
        self._environment = dict(os.environ) | ({"PYTHONPATH": str(site)} if site is not None else {})
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def start(self) -> None:
        """Start (again)."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*DIE_WITH_US, *self._command],
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )

    def wait_ready(self) -> None:
        """Wait until it has checked what is checked at start."""
        wait_until(lambda: self.readiness == "", f"the controller is ready; it says {self.readiness}")

    @property
    def readiness(self) -> str:
        """What it says is in the way of its being ready; empty when it is."""
        status, text = get(self._ready)
        return "" if status == 200 else text or "nothing"

    @property
    def alive(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def said(self) -> str:
        """All that it logged."""
        return self.log.read_text(errors="replace")

    def signal(self, number: int) -> None:
        """To the master alone, as systemd and containers do."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """All its processes at once."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(30)

    def wait(self, timeout: float = 60) -> int:
        """Wait for its end; the exit code."""
        assert self._process is not None
        return self._process.wait(timeout)

    def end(self, timeout: float) -> None:
        """Wait for its end, and kill it where that takes longer."""
        try:
            self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()


def run(config_file: Path) -> tuple[int, str]:
    """Run until it ends by itself; exit code and what it wrote to stderr."""
    done = subprocess.run(
        [str(PROGRAM), "--config-file", str(config_file)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        start_new_session=True,
    )
    return done.returncode, done.stderr


def holder(world: World) -> str:
    """Who holds the shard's Lease; empty for nobody."""
    try:
        return world.client.get(LEASES, LEASE).holder
    except NotFound:
        return ""


def wait_holder(world: World, *, other_than: str = "") -> str:
    """Wait for a holder of the Lease."""
    found: list[str] = []

    def held() -> bool:
        found[:] = [holder(world)]
        return found[0] not in ("", other_than)

    wait_until(held, "a controller holds the Lease")
    return found[0]
