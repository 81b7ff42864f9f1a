# SPDX-License-Identifier: Apache-2.0
"""A node as installation guides for kuryr-kubernetes leave it: a link to the console script, 10-kuryr.conf of CNI 0.3.0."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.functional.node.node import TestNode, kuryrport, ovs_vif

TAP = "tap11111111-22"
CONFIGURATION = Path(__file__).resolve().parents[3] / "etc" / "cni" / "net.d" / "10-kuryr.conf"


class Plugin:
    """kuryr-cni by a symbolic link, as the runtime starts it for the sandbox of the pod ``web``."""

    def __init__(self, directory: Path, node: TestNode, sandbox: str) -> None:
        self._link = directory / "kuryr-cni"
        self._link.symlink_to(Path(sys.executable).parent / "kuryr-cni")
        self._environment = {
            "CNI_CONTAINERID": "c1",
            "CNI_NETNS": sandbox,
            "CNI_IFNAME": "eth0",
            "CNI_PATH": str(directory),
            "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_UID=uid-1",
            "KURYR_DAEMON_SOCKET": str(node.path),
        }

    def begin(self, command: str) -> subprocess.Popen[bytes]:
        with CONFIGURATION.open("rb") as configuration:
            return subprocess.Popen(
                [self._link],
                stdin=configuration,
                stdout=subprocess.PIPE,
                env={**self._environment, "CNI_COMMAND": command},
            )

    def run(self, command: str) -> bytes:
        return self.finish(self.begin(command))

    def finish(self, process: subprocess.Popen[bytes]) -> bytes:
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0, out
        return out


@pytest.fixture
def plugin(tmp_path: Path, node: TestNode, sandbox: str) -> Plugin:
    directory = tmp_path / "opt-cni-bin"
    directory.mkdir()
    return Plugin(directory, node, sandbox)


def test_a_sandboxs_life(node: TestNode, plugin: Plugin, sandbox: str) -> None:
    node.put(kuryrport("uid-1", ovs_vif(dual=True)))
    adding = plugin.begin("ADD")
    node.wait_for_tap()
    node.ovs.install(TAP)
    result = json.loads(plugin.finish(adding))
    assert result["cniVersion"] == "0.3.0"
    assert [(ip["version"], ip["address"]) for ip in result["ips"]] == [
        ("4", "10.10.1.7/16"),
        ("6", "fd00:10:10::7/64"),
    ]
    assert {"dst": "0.0.0.0/0", "gw": "10.10.0.1"} in result["routes"]
    (inside,) = [interface for interface in result["interfaces"] if interface.get("sandbox") == sandbox]
    assert inside["name"] == "eth0"
    assert plugin.run("DEL") == b""
    assert TAP not in node.ovs.ports()
    assert plugin.run("DEL") == b"", "what is gone already is fine"
