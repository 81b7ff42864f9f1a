# SPDX-License-Identifier: Apache-2.0
"""What kuryr-kubernetes, up to its last release 10.0.0, left in the Kubernetes API."""

from __future__ import annotations

from kuryr.objects.core import Pod
from kuryr.objects.kuryrport import KuryrPort, VIFStatus

POD_FINALIZER = "kuryr.openstack.org/pod-finalizer"
"""Kept its pods from going before their ports were released."""

VIF_ANNOTATION = "openstack.org/kuryr-vif"
"""Held a pod's VIFs before there were KuryrPorts (before release 3.0.0)."""


def unadopted(entry: VIFStatus) -> bool:
    """Whether a VIF is as the original wrote it: nobody has added whose port it is and what it has."""
    return entry.vif is not None and not entry.project_id and entry.security_groups is None


def unadopted_interfaces(port: KuryrPort) -> list[str]:
    """Names of the interfaces of a pod's KuryrPort that are as the original wrote them."""
    if port.spec.owner_kind != "Pod":
        return []
    return [name for name, entry in sorted(port.status.vifs.items()) if unadopted(entry)]


def held(pod: Pod) -> bool:
    """Whether the original's finalizer is on the pod."""
    return POD_FINALIZER in pod.metadata.finalizers
