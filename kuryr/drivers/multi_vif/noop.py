# SPDX-License-Identifier: Apache-2.0
"""``multi_vif_drivers = noop``: pods have one interface."""

from __future__ import annotations

from collections.abc import Sequence

from kuryr.drivers.base import AdditionalVIF, MultiVIFDriver
from kuryr.objects.core import Pod


class NoopMultiVIF(MultiVIFDriver):
    """No further interfaces."""

    def additional_vifs(self, pod: Pod, project_id: str) -> Sequence[AdditionalVIF]:
        """None."""
        return ()
