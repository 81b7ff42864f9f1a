# SPDX-License-Identifier: Apache-2.0
"""``vif_pool_driver = noop``: no pool; every VIF is made when it is wanted."""

from __future__ import annotations

from collections.abc import Sequence

from kuryr.drivers.base import Allocation, Choice, Owner, Release, VIFPoolDriver, VIFRequest


class NoopPool(VIFPoolDriver):
    """Passes everything on."""

    def request_vif(self, request: VIFRequest, choice: Choice) -> Allocation:
        """As the VIF driver does."""
        return self.vif_driver.request_vif(request, choice)

    def settled(self, request: VIFRequest) -> None:
        """As the VIF driver does."""
        self.vif_driver.settled(request)

    def abandon(self, owner: Owner) -> None:
        """As the VIF driver does."""
        self.vif_driver.abandon(owner)

    def release_vif(self, release: Release) -> None:
        """As the VIF driver does."""
        self.vif_driver.release_vif(release)

    def update_security_groups(self, allocation: Allocation, groups: Sequence[str], share: str) -> None:
        """As the VIF driver does."""
        self.vif_driver.update_security_groups(allocation, groups, share)

    def is_up(self, allocation: Allocation) -> bool:
        """As the VIF driver does."""
        return self.vif_driver.is_up(allocation)
