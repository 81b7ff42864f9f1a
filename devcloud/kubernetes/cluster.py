# SPDX-License-Identifier: Apache-2.0
"""The cluster's fixed facts: its nodes, addresses and where its files are."""

from dataclasses import dataclass
from pathlib import Path

from devcloud import network, paths

API_HOST_ADDRESS = network.HOST_IPV4
API_HOST_ADDRESS_V6 = network.HOST_IPV6
API_PORT = 6443
SERVICE_CIDRS = ("10.96.0.0/16", "fd00:10:96::/112")

DIRECTORY = paths.STATE / "kubernetes"
CERTIFICATES = DIRECTORY / "certificates"
ADMIN_KUBECONFIG = paths.ETC / "admin.kubeconfig"


@dataclass(frozen=True)
class Node:
    """A Kubernetes node: containerd and a kubelet in a network namespace of its own."""

    name: str
    addresses: tuple[str, str]
    """Its management addresses, IPv4 then IPv6."""

    @property
    def netns(self) -> str:
        """Name of its network namespace."""
        return paths.netns(self.name)

    @property
    def cgroup(self) -> str:
        """Name of its cgroup, directly below the root of every hierarchy."""
        return f"kdev-{self.name}"

    @property
    def directory(self) -> Path:
        """Where everything of its own is kept."""
        return DIRECTORY / self.name

    @property
    def cni_bin(self) -> Path:
        """The directory from which its runtime runs CNI plugins."""
        return self.directory / "cni" / "bin"

    @property
    def cni_conf(self) -> Path:
        """The directory in which its runtime looks for a CNI configuration."""
        return self.directory / "cni" / "net.d"

    @property
    def static_pods(self) -> Path:
        """The directory whose manifests its kubelet runs as static pods."""
        return self.directory / "manifests"

    @property
    def containerd_socket(self) -> Path:
        """The socket of its container runtime."""
        return self.directory / "containerd.sock"

    @property
    def kubeconfig(self) -> Path:
        """Its kubelet's way to the API server."""
        return self.directory / "kubelet.kubeconfig"


NODES = tuple(Node(node.name, (node.ipv4, node.ipv6)) for node in network.NODES)


def api_url(address: str = API_HOST_ADDRESS) -> str:
    """URL of the API server, by default as nodes, pods and Kuryr reach it."""
    return f"https://{address}:{API_PORT}"
