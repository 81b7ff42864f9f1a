# SPDX-License-Identifier: Apache-2.0
"""Controllers as processes between an API server and a fake cloud of their own, for what the development cloud is too small for."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from configparser import ConfigParser
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench import memory, metrics
from tests.bench.figures import MeasurementError
from tests.bench.metrics import Calls
from tests.bench.ports import Account
from tests.functional.controller.harness import get
from tests.functional.controller.process import Process
from tests.functional.kubernetes import DIE_WITH_US, PATIENCE, KubernetesApi, free_ports, wait_until

_END = 1000
"""Characters of a log that an error quotes."""


class Controller(Process):
    """A controller's process; started and ended as :class:`Process` says."""

    def __init__(self, config_file: Path, health: int, exporter: int) -> None:
        super().__init__(config_file)
        self._health = f"http://127.0.0.1:{health}/readyz"
        self._metrics = f"http://127.0.0.1:{exporter}/metrics"

    def wait_ready(self, timeout: float = PATIENCE) -> None:
        """Wait until /readyz says so.

        :raises MeasurementError: with the end of its log, where it does not within ``timeout`` seconds, or ended.
        """
        try:
            wait_until(self._is_ready, "the controller is ready", timeout)
        except TimeoutError as error:
            raise MeasurementError(f"{error}; it says {get(self._health)}: {self.said[-_END:]}") from error

    def calls(self, *, done: bool = False) -> Calls:
        """Its calls so far; with ``done`` only those that succeeded."""
        return metrics.read([self._metrics], done=done)

    @property
    def memory(self) -> float:
        """MB (10^6 bytes) of PSS, with all its children."""
        return memory.pss(self.pid)

    def _is_ready(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise MeasurementError(f"the controller ended: {self.said[-_END:]}")
        return get(self._health)[0] == 200


class Testbed:
    """What controllers run between. ``cloud``: the options that lead to the fake cloud."""

    __test__ = False

    def __init__(self, api: KubernetesApi, cloud: ConfigParser, directory: Path) -> None:
        self.api = api
        self.directory = directory
        self._cloud = cloud
        self._controllers = 0

    def controller(self, options: Mapping[str, Mapping[str, Any]] | None = None) -> Controller:
        """A controller to start with ``with``; ``options`` by group go before what it has otherwise."""
        self._controllers += 1
        health, exporter = free_ports(2)
        parser = ConfigParser(interpolation=None)
        parser.read_dict(self._cloud)
        parser.read_dict(
            {
                "DEFAULT": {"use_stderr": "true"},
                "kubernetes": {
                    "api_root": self.api.api_root,
                    "ssl_ca_crt_file": str(self.api.ca_file),
                    "token_file": str(self.api.token_file),
                },
                "health_server": {"port": str(health), "bind_address": "127.0.0.1"},
                "prometheus_exporter": {
                    "controller_exporter_port": str(exporter),
                    "bind_address": "127.0.0.1",
                },
            }
        )
        parser.read_dict(options or {})
        file = self.directory / f"kuryr-{self._controllers}.conf"
        with file.open("w") as opened:
            parser.write(opened)
        return Controller(file, health, exporter)

    def account(self, hosts: Sequence[str]) -> Account:
        """Kuryr's account in the fake cloud, for a plain client of it that makes ports on ``hosts``."""
        neutron, defaults = self._cloud["neutron"], self._cloud["neutron_defaults"]
        return Account(
            auth_url=neutron["auth_url"],
            username=neutron["username"],
            password=neutron["password"],
            project=neutron["project_name"],
            subnets=tuple(defaults["pod_subnet"].split(",")),
            security_groups=tuple(defaults["pod_security_groups"].split(",")),
            hosts=tuple(hosts),
        )


@contextmanager
def make_testbed(*cloud: str) -> Iterator[Testbed]:
    """An API server with the CRDs and a fake cloud in a process of its own, with these options of its command line."""
    with tempfile.TemporaryDirectory(prefix="kuryr-bench-") as name:
        directory = Path(name)
        with _fake_cloud(directory, cloud) as options, KubernetesApi() as api:
            api.apply_crds()
            yield Testbed(api, options, directory)


@contextmanager
def _fake_cloud(directory: Path, options: Sequence[str]) -> Iterator[ConfigParser]:
    file, log = directory / "cloud.conf", directory / "fake-cloud.log"
    argv = [sys.executable, "-m", "kuryr.testing.fake_cloud", f"--write-conf={file}", *options]
    with background(argv, log, stdout=subprocess.PIPE) as process:
        if not process.stdout or not process.stdout.readline():
            raise MeasurementError(f"the fake cloud did not start: {log.read_text(errors='replace')[-_END:]}")
        configuration = ConfigParser(interpolation=None)
        configuration.read(file)
        yield configuration


@contextmanager
def background(
    argv: Sequence[str], log: Path, stdout: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended at the end; it does not outlive us."""
    with log.open("wb") as opened:
        process = subprocess.Popen(
            [*DIE_WITH_US, *argv], stdout=opened if stdout is None else stdout, stderr=opened
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()
