# SPDX-License-Identifier: Apache-2.0
"""VIFVlanNested: a VLAN sub-interface of the node VM's trunk."""

from __future__ import annotations

from kuryr.cni.attachments import Attachment
from kuryr.cni.binding.base import BindingError
from kuryr.cni.binding.nested import NestedBinding
from kuryr.net.links import Links
from kuryr.objects.vif import VIF, VIFVlanNested


class VlanBinding(NestedBinding):
    """Binds a subport of the trunk."""

    def validate(self, vif: VIF) -> None:
        """Refuse a VLAN id that 802.1Q does not have."""
        if not isinstance(vif, VIFVlanNested):
            raise BindingError(f"VIF {vif.id} is a {type(vif).__name__}, expected VIFVlanNested")
        if not 1 <= vif.vlan_id <= 4094:
            raise BindingError(f"VIF {vif.id}: vlan_id is {vif.vlan_id}, expected 1 to 4094")
        self.parent()

    def add(
        self, link: Links, vif: VIF, attachment: Attachment, parent: str, namespace: int, mtu: int
    ) -> None:
        """Make the VLAN's interface."""
        assert isinstance(vif, VIFVlanNested)  # noqa: S101 - validate() saw to it
        link.add_vlan(
            attachment.ifname,
            parent,
            vif.vlan_id,
            namespace,
            mac=attachment.mac,
            mtu=mtu,
        )
