# SPDX-License-Identifier: Apache-2.0
"""VIFMacvlanNested: a macvlan interface of the node VM's port."""

from __future__ import annotations

from kuryr.cni.attachments import Attachment
from kuryr.cni.binding.base import BindingError
from kuryr.cni.binding.nested import NestedBinding
from kuryr.net.links import Links
from kuryr.objects.vif import VIF, VIFMacvlanNested


class MacvlanBinding(NestedBinding):
    """Binds an address pair that is allowed on the node's port."""

    def validate(self, vif: VIF) -> None:
        """Refuse a VIF of another class, and a node without the parent interface."""
        if not isinstance(vif, VIFMacvlanNested):
            raise BindingError(f"VIF {vif.id} is a {type(vif).__name__}, expected VIFMacvlanNested")
        self.parent()

    def add(
        self, link: Links, vif: VIF, attachment: Attachment, parent: str, namespace: int, mtu: int
    ) -> None:
        """Make the macvlan interface."""
        link.add_macvlan(attachment.ifname, parent, namespace, mac=attachment.mac, mtu=mtu)
