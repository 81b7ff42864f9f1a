# SPDX-License-Identifier: Apache-2.0
"""A thousand pods on a real API server and the fake cloud, beside a plain client of the same cloud.

There are no kubelets: measured is until every KuryrPort is filled.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from configparser import ConfigParser
from contextlib import contextmanager
from pathlib import Path

from kuryr.k8s.client import Client
from kuryr.objects.resources import NAMESPACES
from tests.bench import stopwatch
from tests.bench.figures import Figure, MeasurementError
from tests.bench.pods import NODES, Namespace, pod
from tests.bench.ports import Account, PlainNeutron
from tests.bench.settings import Bench
from tests.bench.stopwatch import Stopwatch
from tests.functional.kubernetes import KubernetesApi, free_ports, wait_until

LIMIT = 1.2
LATENCY = 0.3
IN_FLIGHT = 12
"""A port takes LATENCY seconds, and so many are made at once: 40 ports a second."""

_CALLERS = 16
_SPACE = "bench"


def measure(bench: Bench) -> list[Figure]:
    """By hand, by the controller, by hand."""
    number = bench.amounts.scale
    with tempfile.TemporaryDirectory(prefix="kuryr-bench-") as name:
        directory = Path(name)
        with _fake_cloud(directory) as configuration, KubernetesApi() as api:
            api.apply_crds()
            neutron = PlainNeutron(_account(configuration))
            hand = neutron.make(number, _CALLERS, keep=True).last
            client = api.client()
            with _controller(api, configuration, directory):
                last = _fill(client, number)
            client.close()
            hand = min(hand, neutron.make(number, _CALLERS, keep=True).last)
    rate = f"{LATENCY} s a port, {IN_FLIGHT} at once"
    return [
        Figure(
            name=f"{number} KuryrPorts filled, fake cloud",
            value=last,
            unit="s",
            n=number,
            remark=f"{number / last:.1f} a second",
        ),
        Figure(name=f"{number} ports by hand, fake cloud", value=hand, unit="s", n=number, remark=rate),
        Figure(name=f"{number} pods / by hand", value=last / hand, unit="x", n=number, limit=LIMIT),
    ]


def _fill(client: Client, number: int) -> float:
    """Seconds from the first pod's creation to the last KuryrPort's being filled."""
    client.create(NAMESPACES, "", {"metadata": {"name": _SPACE}})
    with Stopwatch(client, _SPACE) as watch:
        space = Namespace(client, _SPACE, watch)
        manifests = [pod(f"pod-{index}") for index in range(number)]
        for index, manifest in enumerate(manifests):
            manifest["spec"]["nodeName"] = NODES[index % len(NODES)]
        names = space.create(*manifests)
        watch.wait(names, stopwatch.FILLED, timeout=300)
        began = min(watch.at(name, stopwatch.CREATED) for name in names)
        return max(watch.at(name, stopwatch.FILLED) for name in names) - began


@contextmanager
def _fake_cloud(directory: Path) -> Iterator[ConfigParser]:
    """The fake cloud in a process of its own; the options that lead to it."""
    file = directory / "cloud.conf"
    argv = [sys.executable, "-m", "kuryr.testing.fake_cloud", f"--write-conf={file}"]
    argv += [f"--latency={LATENCY}", f"--in-flight={IN_FLIGHT}"]
    with _process(argv, directory / "fake-cloud.log", stdout=subprocess.PIPE) as process:
        if not process.stdout or not process.stdout.readline():
            raise MeasurementError(f"the fake cloud did not start: {_end(directory / 'fake-cloud.log')}")
        configuration = ConfigParser(interpolation=None)
        configuration.read(file)
        yield configuration


@contextmanager
def _controller(api: KubernetesApi, configuration: ConfigParser, directory: Path) -> Iterator[None]:
    """The controller as a process, ready."""
    health, exporter = free_ports(2)
    configuration.read_dict(
        {
            "DEFAULT": {"use_stderr": "true"},
            "kubernetes": {
                "api_root": api.api_root,
                "ssl_ca_crt_file": str(api.ca_file),
                "token_file": str(api.token_file),
                "enabled_handlers": "vif,kuryrport",
            },
            "health_server": {"port": str(health), "bind_address": "127.0.0.1"},
            "prometheus_exporter": {
                "controller_exporter_port": str(exporter),
                "bind_address": "127.0.0.1",
            },
        }
    )
    file, log = directory / "kuryr.conf", directory / "controller.log"
    with file.open("w") as opened:
        configuration.write(opened)
    program = Path(sys.executable).with_name("kuryr-k8s-controller")
    with _process([str(program), f"--config-file={file}"], log) as process:
        _wait_ready(process, health, log)
        yield


@contextmanager
def _process(argv: Sequence[str], log: Path, stdout: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as opened:
        process = subprocess.Popen(argv, stdout=opened if stdout is None else stdout, stderr=opened)
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


def _wait_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    def ready() -> bool:
        if process.poll() is not None:
            raise MeasurementError(f"the controller ended: {_end(log)}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    try:
        wait_until(ready, "the controller is ready")
    except TimeoutError as error:
        raise MeasurementError(f"{error}: {_end(log)}") from error


def _account(configuration: ConfigParser) -> Account:
    neutron, defaults = configuration["neutron"], configuration["neutron_defaults"]
    subnets = tuple(defaults["pod_subnet"].split(","))
    return Account(
        auth_url=neutron["auth_url"],
        username=neutron["username"],
        password=neutron["password"],
        project=neutron["project_name"],
        subnets=subnets,
        security_groups=tuple(defaults["pod_security_groups"].split(",")),
        hosts=NODES,
    )


def _end(log: Path) -> str:
    return log.read_text(errors="replace")[-1000:]
