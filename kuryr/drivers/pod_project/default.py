# SPDX-License-Identifier: Apache-2.0
"""``pod_project_driver = default``: one project for all pods."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from kuryr.drivers.base import ProjectDriver
from kuryr.objects.meta import KubernetesObject


class DefaultPodProject(ProjectDriver):
    """The project of [neutron_defaults] project."""

    def validate(self) -> Iterable[str]:
        """Tell where the option is missing."""
        if not self.context.conf.neutron_defaults.project:
            yield "[neutron_defaults] project: not set, expected the id of the project that owns the pods' ports."

    def project(self, obj: KubernetesObject) -> str:
        """The same for every object."""
        return cast(str, self.context.conf.neutron_defaults.project)
