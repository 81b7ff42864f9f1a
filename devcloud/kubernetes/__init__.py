# SPDX-License-Identifier: Apache-2.0
"""Kubernetes: a control plane on the host and two nodes in network namespaces of their own."""

from functools import partial

from devcloud import processes
from devcloud.kubernetes import certificates, control_plane, images, nodes
from devcloud.kubernetes.cluster import NODES
from devcloud.kubernetes.control_plane import get, kubectl
from devcloud.steps import Step

_PROGRAMS = ("debian packages", "kubernetes programs")

__all__ = ["get", "kubectl", "status", "steps", "stop"]


def steps() -> list[Step]:
    """What brings the cluster up; the nodes stay NotReady until a CNI configuration is there."""
    control = [
        Step("certificates", certificates.make),
        Step("images", images.build, after=_PROGRAMS),
        Step("etcd", control_plane.start_etcd, after=_PROGRAMS),
        Step(
            "kube-apiserver", control_plane.start_api_server, after=("etcd", "certificates", "node network")
        ),
        Step("kube-controllers", control_plane.start_controllers, after=("kube-apiserver",)),
    ]
    for node in NODES:
        control += [
            Step(
                f"{node.name} containerd",
                partial(nodes.start_containerd, node),
                ("images", "node network"),
            ),
            Step(
                f"{node.name} kubelet",
                partial(nodes.start_kubelet, node),
                (f"{node.name} containerd", "kube-controllers"),
            ),
        ]
    return control


def stop() -> None:
    """Stop the nodes with all that runs on them, then the control plane."""
    for node in NODES:
        nodes.stop(node)
    control_plane.stop()


def status() -> list[tuple[str, bool, str]]:
    """Each part's name, whether it is well, and a remark."""
    found = [(name, processes.running(name), "") for name in reversed(control_plane.PROGRAMS)]
    for node in NODES:
        for name in (f"{node.name}-containerd", f"{node.name}-kubelet"):
            found.append((name, processes.running(name), ""))
        well = processes.running("kube-apiserver") and nodes.ready(node)
        found.append((f"{node.name} Ready", well, ", ".join(node.addresses)))
    return found
