# SPDX-License-Identifier: Apache-2.0
"""VIFOpenVSwitch: a veth pair whose host end is a port of an Open vSwitch bridge.

os-vif makes no port for such a VIF (it leaves that to hypervisors), so nothing of it is used here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from kuryr.cni.addressing import Plan
from kuryr.cni.attachments import Attachment, read
from kuryr.cni.binding import container
from kuryr.cni.binding.base import BindingDriver, BindingError
from kuryr.cni.protocol import Interface
from kuryr.cni.stages import NETLINK, OVS, Stages
from kuryr.net import links
from kuryr.net.switch import TRUNK_BRIDGE_PREFIX, NewPort
from kuryr.objects.vif import VIF, VIFOpenVSwitch, vif_name

LOG = logging.getLogger(__name__)

DATAPATHS = ("", "system", "netdev")


class OpenVSwitchBinding(BindingDriver):
    """Binds a port of the integration bridge (OVN, or the Open vSwitch agent with any but the hybrid firewall)."""

    def validate(self, vif: VIF) -> None:
        """Refuse an unknown datapath, or a bridge that this node does not have."""
        if not isinstance(vif, VIFOpenVSwitch):
            raise BindingError(f"VIF {vif.id} is a {type(vif).__name__}, expected VIFOpenVSwitch")
        if vif.datapath_type not in DATAPATHS:
            raise BindingError(
                f"VIF {vif.id}: datapath_type is {vif.datapath_type!r}, expected one of {', '.join(DATAPATHS[1:])}"
            )
        bridges = self.node.switch.require().bridges
        if vif.bridge_name not in bridges and not vif.bridge_name.startswith(TRUNK_BRIDGE_PREFIX):
            raise BindingError(
                f"VIF {vif.id}: bridge {vif.bridge_name} does not exist on this node, "
                f"which has {', '.join(sorted(bridges)) or 'none'}"
            )

    def device(self, vif: VIF) -> str:
        """The host's end of the veth pair."""
        return vif.vif_name or vif_name("tap", vif.id)

    def connect(self, vif: VIF, attachment: Attachment, plan: Plan, stages: Stages) -> tuple[Interface, ...]:
        """Make the pair, put the host's end on the bridge, and set the other up while the backend wires it."""
        assert isinstance(vif, VIFOpenVSwitch)  # noqa: S101 - validate() saw to it
        switch = self.node.switch
        device = attachment.device
        if device in switch.require().ports:
            with stages.measure(OVS):
                self._evict(device)
        with stages.measure(NETLINK):
            container.make_veth(device, attachment, plan.mtu)
        with stages.measure(OVS):
            switch.add_port(
                NewPort(
                    name=device,
                    bridge=vif.bridge_name,
                    external_ids=attachment.external_ids(),
                    datapath_type=vif.datapath_type,
                )
            )
        with stages.measure(NETLINK):
            datapath = vif.datapath_type or switch.state.bridges.get(vif.bridge_name, "")
            container.configure(attachment, plan, compute_checksums=datapath == "netdev")
        return (
            Interface(device, mtu=plan.mtu),
            Interface(attachment.ifname, mac=vif.address, sandbox=attachment.netns, mtu=plan.mtu),
        )

    def _evict(self, device: str) -> None:
        """Make room: the port belongs to a sandbox that the pod no longer has."""
        switch = self.node.switch
        LOG.info("Port %s is still attached to %s: taken over", device, read(switch.state.ports[device]))
        # ovs-vswitchd must let go of the old interface before one of the same name comes.
        switch.delete_port(device, applied=True)

    def disconnect(self, attachment: Attachment) -> None:
        """Take the port off the switch if it is still this sandbox's, and the pair away."""
        switch = self.node.switch
        if switch.delete_port(attachment.device, expected=attachment.identity()):
            with links.links() as link:
                link.delete(attachment.device)

    def check(self, attachment: Attachment) -> None:
        """Look whether the port is on the switch and the switch has no complaint."""
        port = self.node.switch.require().ports.get(attachment.device)
        if port is None or read(port) != attachment:
            raise BindingError(f"port {attachment.device} is not on the switch for {attachment.container}")
        if port.error:
            raise BindingError(f"port {attachment.device}: Open vSwitch says: {port.error}")

    def wait_up(self, attachment: Attachment, deadline: float, cancelled: Callable[[], bool]) -> bool:
        """Wait for ovn-installed, or for the agent's tag."""
        switch = self.node.switch
        up = switch.wait_for(lambda state: state.wired(attachment.device) or None, deadline, cancelled)
        return up is True

    def is_up(self, attachment: Attachment) -> bool:
        """Whether the backend has wired the port."""
        return self.node.switch.state.wired(attachment.device)
