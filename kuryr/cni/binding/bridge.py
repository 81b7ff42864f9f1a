# SPDX-License-Identifier: Apache-2.0
"""VIFBridge: Open vSwitch through a Linux bridge on which iptables filter (``ovs_hybrid_plug``).

os-vif makes the bridge and the veth pair between it and the switch. Plugged without the bridge the port would work
and not be filtered, so nothing here falls back to that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from kuryr.cni.addressing import Plan
from kuryr.cni.attachments import Attachment, read
from kuryr.cni.binding import container, osvif
from kuryr.cni.binding.base import BindingDriver, BindingError
from kuryr.cni.protocol import Interface
from kuryr.cni.stages import NETLINK, OVS, Stages
from kuryr.net import links
from kuryr.net.switch import NewPort
from kuryr.objects.vif import VIF, VIFBridge, vif_name

LOG = logging.getLogger(__name__)

_LINUX_BRIDGE = "kuryr-linux-bridge"
_OVS_BRIDGE = "kuryr-ovs-bridge"


class BridgeBinding(BindingDriver):
    """Binds a port for the agent's hybrid firewall: pod ─ tap ─ qbr ─ qvb ─ qvo ─ br-int."""

    def validate(self, vif: VIF) -> None:
        """Refuse a VIF that names no Linux bridge, or a switch's bridge that this node does not have."""
        if not isinstance(vif, VIFBridge):
            raise BindingError(f"VIF {vif.id} is a {type(vif).__name__}, expected VIFBridge")
        if not 0 < len(vif.bridge_name) <= 15:
            raise BindingError(
                f"VIF {vif.id}: bridge_name is {vif.bridge_name!r}, expected 1 to 15 characters"
            )
        if vif.ovs_bridge not in self.node.switch.require().bridges:
            raise BindingError(f"VIF {vif.id}: bridge {vif.ovs_bridge} does not exist on this node")

    def device(self, vif: VIF) -> str:
        """The end of the pair that is on the switch."""
        return vif_name("qvo", vif.id)

    def connect(self, vif: VIF, attachment: Attachment, plan: Plan, stages: Stages) -> tuple[Interface, ...]:
        """Note the port on the switch, let os-vif build what carries it, and join the pod to the Linux bridge."""
        assert isinstance(vif, VIFBridge)  # noqa: S101 - validate() saw to it
        switch = self.node.switch
        if (old := switch.require().ports.get(attachment.device)) is not None:
            LOG.info("Port %s is still attached to %s: taken over", attachment.device, read(old))
            switch.delete_port(attachment.device, applied=True)
        tap = vif.vif_name or vif_name("tap", vif.id)
        with stages.measure(NETLINK), links.links() as link:
            # os-vif takes a pair that exists for one that it plugged before.
            link.delete(attachment.device)
        with stages.measure(OVS):
            marks = {_LINUX_BRIDGE: vif.bridge_name, _OVS_BRIDGE: vif.ovs_bridge}
            switch.add_port(
                NewPort(attachment.device, vif.ovs_bridge, {**attachment.external_ids(), **marks})
            )
            datapath = switch.state.bridges.get(vif.ovs_bridge, "")
            bridge = osvif.hybrid_bridge(
                switch.remote,
                attachment,
                vif.bridge_name,
                vif.ovs_bridge,
                datapath_type=datapath,
                mtu=plan.mtu,
            )
            osvif.plug(switch.remote, bridge, attachment)
        with stages.measure(NETLINK):
            container.make_veth(tap, attachment, plan.mtu, master=vif.bridge_name)
            container.configure(attachment, plan, compute_checksums=datapath == "netdev")
        return (
            Interface(tap, mtu=plan.mtu),
            Interface(attachment.ifname, mac=vif.address, sandbox=attachment.netns, mtu=plan.mtu),
        )

    def disconnect(self, attachment: Attachment) -> None:
        """Take the pair to the pod away, then let os-vif take down what it built."""
        switch = self.node.switch
        port = switch.require().ports.get(attachment.device)
        if port is None or not attachment.identity().items() <= port.external_ids.items():
            return
        with links.links() as link:
            link.delete(vif_name("tap", attachment.port))
        ovs_bridge = port.external_ids.get(_OVS_BRIDGE, self.node.ovs_bridge)
        bridge = osvif.hybrid_bridge(
            switch.remote,
            attachment,
            port.external_ids.get(_LINUX_BRIDGE, vif_name("qbr", attachment.port)),
            ovs_bridge,
            datapath_type=switch.state.bridges.get(ovs_bridge, ""),
        )
        osvif.unplug(switch.remote, bridge, attachment)

    def check(self, attachment: Attachment) -> None:
        """Look whether the port, the Linux bridge and the pair to the pod are there."""
        port = self.node.switch.require().ports.get(attachment.device)
        if port is None or port.error:
            raise BindingError(f"port {attachment.device}: {port.error if port else 'not on the switch'}")
        bridge = port.external_ids.get(_LINUX_BRIDGE, "")
        with links.links() as link:
            for name in (bridge, vif_name("tap", attachment.port)):
                if link.state(name) is None:
                    raise BindingError(
                        f"interface {name} is gone, so port {attachment.device} is not filtered"
                    )

    def wait_up(self, attachment: Attachment, deadline: float, cancelled: Callable[[], bool]) -> bool:
        """Wait for the agent's tag on the end that is on the switch."""
        switch = self.node.switch
        up = switch.wait_for(lambda state: state.wired(attachment.device) or None, deadline, cancelled)
        return up is True

    def is_up(self, attachment: Attachment) -> bool:
        """Whether the agent has wired the port."""
        return self.node.switch.state.wired(attachment.device)
