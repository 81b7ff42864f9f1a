# SPDX-License-Identifier: Apache-2.0
"""CNI 1.1.0 by cnitool, as a runtime newer than the nodes' would speak it."""

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from devcloud import kuryr, paths
from devcloud.kubernetes import images
from devcloud.kubernetes.cluster import NODES
from devcloud.shell import CommandError, run
from tests.e2e.namespace import Namespace, eventually, on, pod

NODE = NODES[0]


@dataclass
class Runtime:
    """cnitool on NODE with a network namespace in the place of a sandbox."""

    configurations: Path
    netns: str
    arguments: str

    def call(self, verb: str, *arguments: str) -> str:
        environment = {
            "CNI_PATH": str(NODE.cni_bin),
            "NETCONFPATH": str(self.configurations),
            "CNI_ARGS": self.arguments,
        }
        return run([paths.program("cnitool"), verb, "kuryr", *arguments], netns=NODE.netns, env=environment)

    def on_namespace(self, verb: str) -> str:
        return self.call(verb, f"/run/netns/{self.netns}")


@pytest.fixture
def runtime(namespace: Namespace, tmp_path: Path) -> Iterator[Runtime]:
    """A pod that its kubelet cannot start (a volume is missing) has a KuryrPort but no sandbox: cnitool makes one."""
    name = f"waiting-{secrets.token_hex(2)}"
    manifest = pod(name, nodeSelector=on(NODE.name))
    manifest["spec"]["volumes"] = [{"name": "v", "secret": {"secretName": "missing"}}]
    manifest["spec"]["containers"][0]["volumeMounts"] = [{"name": "v", "mountPath": "/v"}]
    namespace.create(manifest)
    uid = namespace.uid(name)
    plugin = {
        "type": "kuryr-cni",
        "kuryr_conf": str(kuryr.daemon_configuration_file(NODE)),
        "socket": str(kuryr.daemon_socket(NODE)),
    }
    configuration = {"cniVersion": "1.1.0", "name": "kuryr", "plugins": [plugin]}
    (tmp_path / "10-kuryr.conflist").write_text(json.dumps(configuration))
    netns = f"e2e-{name}"
    run(["ip", "netns", "add", netns])
    arguments = f"IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace.name};K8S_POD_NAME={name};K8S_POD_UID={uid}"
    made = Runtime(tmp_path, netns, arguments)
    yield made
    made.on_namespace("del")
    run(["ip", "netns", "delete", netns])
    namespace.delete("pod", name)


def test_status(runtime: Runtime) -> None:
    runtime.call("status", f"/run/netns/{runtime.netns}")


def test_add_gives_a_result_of_the_configured_version(runtime: Runtime) -> None:
    result = json.loads(runtime.on_namespace("add"))
    assert result["cniVersion"] == "1.1.0"
    addresses = {entry["address"].split("/")[0] for entry in result["ips"]}
    shown = run(["ip", "-json", "-n", runtime.netns, "address", "show", "eth0"])
    configured = {entry["local"] for entry in json.loads(shown)[0]["addr_info"] if entry["scope"] == "global"}
    assert addresses == configured
    assert len(addresses) == 2


def test_check_after_add_and_after_damage(runtime: Runtime) -> None:
    runtime.on_namespace("add")
    runtime.on_namespace("check")
    run(["ip", "-n", runtime.netns, "address", "flush", "dev", "eth0", "scope", "global"])
    with pytest.raises(CommandError):
        runtime.on_namespace("check")


def test_delete_twice(runtime: Runtime) -> None:
    runtime.on_namespace("add")
    runtime.on_namespace("del")
    shown = run(["ip", "-n", runtime.netns, "-o", "link", "show"])
    assert "eth0" not in shown
    runtime.on_namespace("del")


def test_collection_of_what_no_runtime_knows(namespace: Namespace, runtime: Runtime) -> None:
    """GC names every sandbox that containerd has, so that the pods of the node keep their attachments.

    cnitool would name none but its own.
    """
    runtime.on_namespace("add")
    assert interfaces_of(runtime) != []
    (plugin,) = json.loads((runtime.configurations / "10-kuryr.conflist").read_text())["plugins"]
    valid = [{"containerID": container, "ifname": "eth0"} for container in sandboxes()]
    request = {"cniVersion": "1.1.0", "name": "kuryr", **plugin, "cni.dev/valid-attachments": valid}
    run(
        [NODE.cni_bin / "kuryr-cni"],
        netns=NODE.netns,
        env={"CNI_COMMAND": "GC", "CNI_PATH": str(NODE.cni_bin)},
        input=json.dumps(request),
    )
    eventually(lambda: interfaces_of(runtime) == [], "the attachment is collected", seconds=10)


def sandboxes() -> list[str]:
    return images.ctr(NODE, "containers", "list", "-q").split()


def interfaces_of(runtime: Runtime) -> list[str]:
    """The OVS interfaces of the pod that the runtime stands for."""
    uid = runtime.arguments.rsplit("=", 1)[1]
    shown = run(
        [str(paths.program("ovs-vsctl")), f"--db=unix:{paths.ovsdb_socket(NODE.name)}", "--timeout=10"]
        + ["--format=json", "--columns=name,external_ids", "list", "Interface"]
    )
    rows = json.loads(shown)["data"]
    return [name for name, (_, pairs) in rows if uid in dict(pairs).values()]
