# SPDX-License-Identifier: Apache-2.0
"""kuryr-daemon and kuryr-cni as processes, in the node's namespace, with a real API server outside of it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from kuryr.cni import install
from kuryr.k8s.client import Client
from kuryr.net import netns
from kuryr.objects.kuryrport import NODE_LABEL, KuryrPort
from kuryr.objects.resources import KURYRPORTS
from tests.functional.kubernetes import DIE_WITH_US, KubernetesApi
from tests.functional.node.node import Answer
from tests.functional.node.ovs import OpenVSwitch
from tests.functional.proxy import Proxy

NODE = "node1"


@contextmanager
def reachable(api: KubernetesApi, outside: str) -> Iterator[int]:
    """A port of this thread's 127.0.0.1 that leads to the API server in the namespace ``outside``."""
    proxy = Proxy(api.port)
    # A thread works in the namespace of the thread that started it.
    with netns.entered(outside):
        proxy.__enter__()
    try:
        yield proxy.port
    finally:
        proxy.__exit__(None, None, None)


class DaemonProcess:
    """kuryr-daemon, and kuryr-cni installed beside it."""

    def __init__(self, directory: Path, api: KubernetesApi, port: int, ovs: OpenVSwitch) -> None:
        self.directory = directory
        self.socket = directory / "run" / "daemon.sock"
        self.log = directory / "daemon.log"
        self.health_port, self.metrics_port = _free_ports(2)
        self.configuration = directory / "kuryr.conf"
        self.write_configuration(api, port, ovs)
        assert (
            install.main(
                [
                    f"--bin-dir={directory}/bin",
                    f"--conf-dir={directory}/net.d",
                    f"--kuryr-conf={self.configuration}",
                ]
            )
            == 0
        )
        self.process: subprocess.Popen[bytes] | None = None

    def write_configuration(
        self, api: KubernetesApi, port: int, ovs: OpenVSwitch, *, timeout: int = 20
    ) -> None:
        sections = {
            "DEFAULT": {"use_stderr": "true"},
            "kubernetes": {
                "api_root": f"https://127.0.0.1:{port}",
                "token_file": str(api.token_file),
                "ssl_ca_crt_file": str(api.ca_file),
            },
            "cni_daemon": {"socket_path": str(self.socket), "vif_annotation_timeout": str(timeout)},
            "os_vif_ovs": {"ovsdb_connection": ovs.remote},
            "cni_health_server": {"port": str(self.health_port), "bind_address": "127.0.0.1"},
            "prometheus_exporter": {"cni_exporter_port": str(self.metrics_port), "bind_address": "127.0.0.1"},
        }
        lines = []
        for section, options in sections.items():
            lines += [f"[{section}]", *(f"{name} = {value}" for name, value in options.items())]
        self.configuration.write_text("\n".join(lines) + "\n")

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *DIE_WITH_US,
                    str(Path(sys.executable).parent / "kuryr-daemon"),
                    "--config-file",
                    str(self.configuration),
                ],
                env={**os.environ, "KUBERNETES_NODE_NAME": NODE},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait_ready()

    def wait_ready(self) -> None:
        end = time.monotonic() + 30
        while (answer := self.get(self.health_port, "/readyz"))[0] != 200:
            assert time.monotonic() < end, f"the daemon is not ready: {answer}, {self.log.read_text()}"
            time.sleep(0.1)

    def get(self, port: int, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def stop(self) -> int:
        """Stop as systemd does; the exit code."""
        assert self.process is not None
        self.process.terminate()
        code = self.process.wait(30)
        self.process = None
        return code

    def kill(self) -> None:
        """Kill master and worker at once."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def cni(
        self, command: str, container: str, netns_path: str, uid: str, *, pod: str = "web", **config: Any
    ) -> Answer:
        """Run kuryr-cni as a container runtime does."""
        process = self.begin(command, container, netns_path, uid, pod=pod, **config)
        return self.finish(process)

    def begin(
        self, command: str, container: str, netns_path: str, uid: str, *, pod: str = "web", **config: Any
    ) -> subprocess.Popen[bytes]:
        """Start kuryr-cni."""
        netconf = {
            "cniVersion": "1.1.0",
            "name": "kuryr",
            "type": "kuryr-cni",
            "kuryr_conf": str(self.configuration),
            **config,
        }
        process = subprocess.Popen(
            [self.directory / "bin" / "kuryr-cni"],
            env={
                "CNI_COMMAND": command,
                "CNI_CONTAINERID": container,
                "CNI_NETNS": netns_path,
                "CNI_IFNAME": "eth0",
                "CNI_PATH": str(self.directory / "bin"),
                "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod};K8S_POD_UID={uid}",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(netconf).encode())
        process.stdin.close()
        process.stdin = None
        return process

    def finish(self, process: subprocess.Popen[bytes]) -> Answer:
        out, err = process.communicate(timeout=60)
        return Answer(process.returncode, json.loads(out) if out else {}, err.decode())


def create(client: Client, kuryrport: KuryrPort) -> KuryrPort:
    """Put a KuryrPort into the API, as the controller does."""
    namespace = kuryrport.metadata.namespace
    client.create(
        KURYRPORTS,
        namespace,
        {
            "metadata": {"name": kuryrport.metadata.name, "labels": {NODE_LABEL: NODE}},
            "spec": msgspec.to_builtins(kuryrport.spec),
        },
    )
    status = {"status": msgspec.to_builtins(kuryrport.status)}
    return client.merge_patch(KURYRPORTS, kuryrport.key, status, subresource="status")


def _free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [entry.getsockname()[1] for entry in sockets]
    for entry in sockets:
        entry.close()
    return ports
