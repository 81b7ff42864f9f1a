# SPDX-License-Identifier: Apache-2.0
"""``pod_security_groups_driver = default``: the same groups for all pods."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kuryr.drivers.base import PodSecurityGroupsDriver
from kuryr.objects.core import Pod

OPTION = "[neutron_defaults] pod_security_groups"


class DefaultPodSecurityGroups(PodSecurityGroupsDriver):
    """The groups of [neutron_defaults] pod_security_groups."""

    def validate(self) -> Iterable[str]:
        """Tell which groups do not exist."""
        ids = self.context.conf.neutron_defaults.pod_security_groups
        if not ids:
            return [f"{OPTION}: not set, expected ids of security groups."]
        missing = self.context.security_groups.missing(ids)
        return [
            f"{OPTION}: security group {group} does not exist, or not for this user."
            for group in sorted(missing)
        ]

    def security_groups(self, pod: Pod, project_id: str) -> Sequence[str]:
        """The same for every pod."""
        return tuple(self.context.conf.neutron_defaults.pod_security_groups)
