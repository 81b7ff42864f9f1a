# SPDX-License-Identifier: Apache-2.0
"""Security groups."""

from __future__ import annotations

from collections.abc import Iterable

from kuryr.cloud.session import Cloud


class SecurityGroups:
    """Operations on security groups."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def missing(self, ids: Iterable[str], *, project_id: str | None = None) -> set[str]:
        """Those of ``ids`` that do not exist, or that the project cannot see. Blocks: meant for start."""
        raise NotImplementedError
