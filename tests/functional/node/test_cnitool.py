# SPDX-License-Identifier: Apache-2.0
"""CNI 1.1.0 as the reference implementation speaks it: cnitool calls the installed executable."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from kuryr.cni import install
from tests.functional.node.node import TestNode, kuryrport, ovs_vif

TAP = "tap11111111-22"


def cnitool() -> str:
    if found := shutil.which("cnitool"):
        return found
    cache = Path(os.environ.get("KURYR_DEVCLOUD_CACHE", "/var/cache/kuryr-devcloud"))
    return str(next(iter(cache.glob("bin/cni-*/cnitool")), ""))


pytestmark = pytest.mark.skipif(not cnitool(), reason="cnitool is nowhere to be found: `make up` builds it")


class Tool:
    """cnitool with a network configuration."""

    def __init__(self, node: TestNode, directory: Path, netns: str, version: str, form: str) -> None:
        arguments = [f"--bin-dir={directory}/bin", f"--conf-dir={directory}/net.d", f"--socket={node.path}"]
        assert install.main([*arguments, f"--cni-version={version}", f"--format={form}"]) == 0
        self.netns = netns
        self.environment = {
            "CNI_PATH": f"{directory}/bin",
            "NETCONFPATH": f"{directory}/net.d",
            "CNI_ARGS": "K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_UID=uid-1",
            "PATH": os.environ["PATH"],
        }

    def begin(self, command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [cnitool(), command, "kuryr", self.netns],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, command: str) -> str:
        return self.finish(self.begin(command))

    def finish(self, process: subprocess.Popen[str]) -> str:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        return out


@pytest.mark.parametrize(
    ("version", "form"),
    [("1.1.0", "conflist"), ("1.0.0", "conflist"), ("0.4.0", "conf"), ("0.3.0", "conf")],
)
def test_a_sandboxs_life(node: TestNode, sandbox: str, tmp_path: Path, version: str, form: str) -> None:
    tool = Tool(node, tmp_path, sandbox, version, form)
    node.put(kuryrport("uid-1", ovs_vif(dual=True)))
    if version == "1.1.0":
        node.switch.require()
        tool.run("status")
    running = tool.begin("add")
    node.wait_for_tap()
    node.ovs.install(TAP)
    result = json.loads(tool.finish(running))
    assert result["cniVersion"] == version
    assert [ip["address"] for ip in result["ips"]] == ["10.10.1.7/16", "fd00:10:10::7/64"]
    if version >= "0.4":
        tool.run("check")
    if version == "1.1.0":
        tool.run("gc")
        assert node.ovs.ports() == set(), "cnitool names nothing to keep, so libcni deletes what it added"
    tool.run("del")
    assert node.ovs.ports() == set()
    tool.run("del")
