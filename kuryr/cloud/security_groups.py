# SPDX-License-Identifier: Apache-2.0
"""Security groups."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from kuryr.cloud.session import Cloud


class _Group(msgspec.Struct):
    id: str


class _Many(msgspec.Struct):
    security_groups: list[_Group]


class SecurityGroups:
    """Operations on security groups."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def missing(self, ids: Iterable[str], *, project_id: str | None = None) -> set[str]:
        """Those of ``ids`` that do not exist, or that the project cannot see. Blocks: meant for start."""
        wanted = set(ids)
        if not wanted:
            return set()
        answer = self._cloud.project(project_id).request(
            "GET",
            "/v2.0/security-groups",
            operation="list security groups",
            type=_Many,
            params={"id": sorted(wanted), "fields": "id"},
        )
        return wanted - {group.id for group in answer.security_groups}
