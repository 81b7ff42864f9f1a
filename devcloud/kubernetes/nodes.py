# SPDX-License-Identifier: Apache-2.0
"""The cluster's nodes: containerd and a kubelet in each node's network namespace."""

import contextlib
import json
import os
import re
import shutil
import signal
from pathlib import Path

from devcloud import paths, processes
from devcloud.kubernetes import certificates, cgroups, control_plane, images
from devcloud.kubernetes.cluster import Node
from devcloud.shell import run, wait_until

_SHIM_DIRECTORIES = (Path("/run/containerd/s"), Path("/run/containerd"))
"""Where containerd's shims put their sockets, whatever its configuration says."""


def start_containerd(node: Node) -> None:
    """Start NODE's containerd, wait until it answers, and give it the cluster's images."""
    if not processes.running(f"{node.name}-containerd"):
        for directory in (node.directory / "containerd", node.cni_bin, node.cni_conf, node.static_pods):
            directory.mkdir(parents=True, exist_ok=True)
        # The runtime itself runs this plugin in every pod's namespace, whatever the CNI configuration says.
        shutil.copy2(paths.DEBROOT / "usr/lib/cni/loopback", node.cni_bin)
        cgroups.create(node.cgroup)
        configuration = node.directory / "containerd.toml"
        configuration.write_text(containerd_configuration(node))
        containerd = paths.program("containerd")
        processes.start(
            f"{node.name}-containerd",
            [str(containerd), "--config", str(configuration)],
            netns=node.netns,
            # It finds its shim in PATH, and hands its environment on to CNI plugins, to which the
            # library path of the unpacked packages must not get.
            env={"PATH": f"{containerd.parent}:/usr/sbin:/usr/bin:/sbin:/bin", "LD_LIBRARY_PATH": ""},
        )
    wait_until(
        lambda: "Server:" in images.ctr(node, "version", check=False),
        f"containerd of {node.name} answers",
        timeout=60,
    )
    images.load(node)


def start_kubelet(node: Node) -> None:
    """Start NODE's kubelet and wait until its Node object exists."""
    if not processes.running(f"{node.name}-kubelet"):
        configuration = node.directory / "kubelet.json"
        configuration.write_text(json.dumps(kubelet_configuration(node), indent=1))
        argv = [str(paths.program("kubelet")), f"--config={configuration}"]
        argv += [f"--kubeconfig={node.kubeconfig}", f"--hostname-override={node.name}"]
        argv += [f"--node-ip={','.join(node.addresses)}", f"--root-dir={node.directory / 'kubelet'}"]
        argv += [f"--cert-dir={node.directory / 'kubelet' / 'pki'}", "--v=2"]
        processes.start(f"{node.name}-kubelet", argv, netns=node.netns)
    wait_until(lambda: registered(node), f"node {node.name} is registered", timeout=120, interval=0.3)


def registered(node: Node) -> bool:
    """Whether NODE's object exists, with the address of each family."""
    found = control_plane.kubectl("get", "node", node.name, "--ignore-not-found", "-o", "json")
    if not found:
        return False
    addresses = {address["address"] for address in json.loads(found)["status"].get("addresses", [])}
    return set(node.addresses) <= addresses


def ready(node: Node) -> bool:
    """Whether NODE's condition Ready is True."""
    path = '{.status.conditions[?(@.type=="Ready")].status}'
    output = control_plane.kubectl("get", "node", node.name, "-o", f"jsonpath={path}", check=False)
    return output == "True"


def stop(node: Node) -> None:
    """Stop NODE's kubelet, containers and containerd, and remove its mounts, namespaces and cgroups."""
    if not node.directory.exists():
        # This cloud never had the node: a cgroup of its name is another's.
        return
    processes.stop(f"{node.name}-kubelet")
    namespaces = _pod_namespaces(node)
    if processes.running(f"{node.name}-containerd"):
        _remove_containers(node)
        processes.stop(f"{node.name}-containerd")
    # What is still in the cgroup belongs to containers of a containerd that died before.
    for pid in cgroups.processes(node.cgroup):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not cgroups.processes(node.cgroup), f"{node.name}'s containers have ended", timeout=20)
    for path in namespaces:
        run(["ip", "netns", "delete", path.name], check=False)
    _unmount(node.directory)
    cgroups.remove(node.cgroup)
    for directory in _SHIM_DIRECTORIES:
        if directory.exists() and not any(directory.iterdir()):
            directory.rmdir()


def containerd_configuration(node: Node) -> str:
    """NODE's containerd.toml."""
    values = {
        "DIRECTORY": node.directory,
        "SOCKET": node.containerd_socket,
        "PAUSE": images.PAUSE,
        "CNI_BIN": node.cni_bin,
        "CNI_CONF": node.cni_conf,
        "RUNC": paths.program("runc"),
    }
    template = Path(__file__).with_name("containerd.toml").read_text()
    return re.sub(r"@(\w+)@", lambda match: str(values[match[1]]), template)


def kubelet_configuration(node: Node) -> dict[str, object]:
    """NODE's KubeletConfiguration."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node.addresses[0],
        "healthzPort": 0,
        "tlsCertFile": str(certificates.certificate(node.name)),
        "tlsPrivateKeyFile": str(certificates.key(node.name)),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(certificates.AUTHORITY)},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{node.cgroup}",
        "clusterDomain": "cluster.local",
        "clusterDNS": ["10.96.0.10"],
        "resolvConf": "/etc/resolv.conf",
        "containerRuntimeEndpoint": f"unix://{node.containerd_socket}",
        "staticPodPath": str(node.static_pods),
        "volumePluginDir": str(node.directory / "volume-plugins"),
        "podLogsDir": str(node.directory / "pod-logs"),
        "failSwapOn": False,
        "localStorageCapacityIsolation": False,
        # Two nodes share one disk and one memory, that of the machine: leave both alone.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "nodeStatusUpdateFrequency": "5s",
        "syncFrequency": "10s",
        "shutdownGracePeriod": "0s",
    }


def _remove_containers(node: Node) -> None:
    tasks = images.ctr(node, "tasks", "list", "-q", check=False).split()
    if tasks:
        images.ctr(node, "tasks", "delete", "--force", *tasks, check=False)
    containers = images.ctr(node, "containers", "list", "-q", check=False).split()
    if containers:
        images.ctr(node, "containers", "delete", *containers, check=False)


def _pod_namespaces(node: Node) -> set[Path]:
    """The files of the network namespaces that NODE's containerd made for its pods."""
    found = set()
    inodes = {
        (entry.st_dev, entry.st_ino)
        for entry in map(_network_namespace, cgroups.processes(node.cgroup))
        if entry is not None
    }
    for path in Path("/run/netns").glob("cni-*"):
        entry = path.stat()
        if (entry.st_dev, entry.st_ino) in inodes:
            found.add(path)
    if processes.running(f"{node.name}-containerd"):
        # Those of sandboxes whose process has ended are known to containerd alone.
        for container in images.ctr(node, "containers", "list", "-q", check=False).split():
            spec = json.loads(images.ctr(node, "containers", "info", container, check=False) or "{}").get(
                "Spec"
            )
            for kind in (spec or {}).get("linux", {}).get("namespaces", []):
                path = Path(kind.get("path") or "/")
                if kind["type"] == "network" and path.name.startswith("cni-"):
                    found.add(Path("/run/netns") / path.name)
    return found


def _network_namespace(pid: int) -> os.stat_result | None:
    try:
        return os.stat(f"/proc/{pid}/ns/net")
    except OSError:
        return None


def _unmount(directory: Path) -> None:
    """Unmount everything below DIRECTORY, innermost first."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    below = [mount for mount in mounts if mount.startswith(f"{directory}/")]
    for mount in sorted(below, key=len, reverse=True):
        run(["umount", "--lazy", mount], check=False)
