# SPDX-License-Identifier: Apache-2.0
"""Pods with what kubelets say of them, which is nothing to Kuryr's own programs."""

from __future__ import annotations

import msgspec

from kuryr.objects import resources
from kuryr.objects.core import Pod, PodStatus
from kuryr.objects.meta import Condition
from kuryr.objects.resources import Resource


class PodIP(msgspec.Struct, omit_defaults=True):
    """One of a pod's addresses."""

    ip: str = ""


class RunningStatus(PodStatus, rename="camel", omit_defaults=True):
    """Observed state of a pod, with its addresses and conditions."""

    pod_ips: list[PodIP] = msgspec.field(default_factory=list, name="podIPs")
    conditions: list[Condition] = []


class RunningPod(Pod, kw_only=True):
    """A pod."""

    status: RunningStatus = msgspec.field(default_factory=RunningStatus)

    @property
    def ready(self) -> bool:
        """Whether its condition says so."""
        return any(each.type == "Ready" and each.status == "True" for each in self.status.conditions)


PODS = Resource(
    resources.PODS.group, resources.PODS.version, resources.PODS.plural, resources.PODS.kind, RunningPod
)
